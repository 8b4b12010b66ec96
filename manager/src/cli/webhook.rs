//! The webhook as the command line gives it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use secrecy::SecretString;

use super::Trouble;
use crate::operator::guard_secret;
use crate::webhook::{Format, Secret, Webhook};

/// How a webhook is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WebhookFormat {
    /// A summary of the build, for programs
    Json,
    /// {"text": "..."}, for the incoming webhooks of chat programs
    Chat,
}

/// Who is told of verdicts.
#[derive(Debug, Args)]
#[command(next_help_heading = "Webhook")]
pub(crate) struct WebhookArguments {
    /// Address that is told each verdict, and when a schedule pauses itself; see docs/webhooks.md
    #[arg(long, value_name = "URL", env = "IMAGE_MANAGER_WEBHOOK_URL", hide_env_values = true,
          value_parser = secret)]
    pub(crate) webhook_url: Option<SecretString>,
    /// File with the secret that the requests are signed with (HMAC-SHA256)
    #[arg(long, value_name = "FILE", env = "IMAGE_MANAGER_WEBHOOK_SECRET_FILE")]
    pub(crate) webhook_secret_file: Option<PathBuf>,
    /// How the webhook is told
    #[arg(long, value_name = "FORMAT", value_enum, env = "IMAGE_MANAGER_WEBHOOK_FORMAT", default_value_t = WebhookFormat::Json)]
    pub(crate) webhook_format: WebhookFormat,
    /// Beginning of the links in what is told [default: the operator port]
    #[arg(long, value_name = "URL", env = "IMAGE_MANAGER_PUBLIC_URL")]
    pub(crate) public_url: Option<String>,
}

/// The webhook that is asked for.
pub(crate) fn of(arguments: &WebhookArguments, operator: SocketAddr) -> Result<Option<Webhook>, Trouble> {
    let Some(address) = arguments.webhook_url.clone() else {
        if arguments.webhook_secret_file.is_some() {
            return Err(Trouble::usage("--webhook-secret-file signs nothing without --webhook-url"));
        }
        return Ok(None);
    };
    let secret = arguments.webhook_secret_file.as_deref().map(Secret::read).transpose();
    let secret = secret.map_err(Trouble::usage)?;
    if let Some(path) = &arguments.webhook_secret_file {
        let metadata = std::fs::metadata(path).map_err(Trouble::usage)?;
        guard_secret(path, "--webhook-secret-file", &metadata).map_err(Trouble::usage)?;
    }
    let format = match arguments.webhook_format {
        WebhookFormat::Json => Format::Json,
        WebhookFormat::Chat => Format::Chat,
    };
    let public_url = arguments.public_url.clone().unwrap_or_else(|| format!("http://{operator}"));
    let webhook = Webhook::new(address, secret, format, &public_url);
    webhook.map(Some).map_err(Trouble::usage)
}

/// Text that is not to be shown.
#[expect(clippy::unnecessary_wraps, reason = "as clap wants it")]
fn secret(text: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(text.to_owned().into())
}
