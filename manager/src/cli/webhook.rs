//! The webhook as the command line gives it, and `image-manager webhook test`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use reqwest::Url;
use secrecy::SecretString;

use super::arguments::{WebhookVerb, WebhookVerbArguments};
use super::text::{self, Screen, Style, line};
use super::{Exit, Outcome, Trouble, when};
use crate::operator::guard_secret;
use crate::webhook::{Format, Secret, Webhook};

/// How a webhook is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WebhookFormat {
    /// A summary of the build, for programs
    Json,
    /// {"text": "..."}, for the incoming webhooks of chat programs
    Chat,
    /// The summary in a CloudEvents 1.0 envelope
    #[value(name = "cloudevents")]
    CloudEvents,
}

impl From<WebhookFormat> for Format {
    fn from(format: WebhookFormat) -> Self {
        match format {
            WebhookFormat::Json => Self::Json,
            WebhookFormat::Chat => Self::Chat,
            WebhookFormat::CloudEvents => Self::CloudEvents,
        }
    }
}

/// Who is told of verdicts.
#[derive(Debug, Args)]
#[command(next_help_heading = "Webhook")]
pub(crate) struct WebhookArguments {
    /// URL to notify of each verdict, each schedule that pauses itself, each name that goes to another image and each
    /// image that is revoked; see docs/webhooks.md
    #[arg(long, value_name = "URL", env = "IMAGE_MANAGER_WEBHOOK_URL", hide_env_values = true,
          value_parser = secret)]
    pub(crate) webhook_url: Option<SecretString>,
    /// File with the secret that requests are signed with (HMAC-SHA256)
    #[arg(long, value_name = "FILE", env = "IMAGE_MANAGER_WEBHOOK_SECRET_FILE")]
    pub(crate) webhook_secret_file: Option<PathBuf>,
    /// Format of what is sent
    #[arg(long, value_name = "FORMAT", value_enum, env = "IMAGE_MANAGER_WEBHOOK_FORMAT", default_value_t = WebhookFormat::Json)]
    pub(crate) webhook_format: WebhookFormat,
    /// Base URL of the links in what is sent, and of the dashboard as people reach it [default: the operator port]
    #[arg(long, value_name = "URL", env = "IMAGE_MANAGER_PUBLIC_URL", value_parser = public_url)]
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
    let format = arguments.webhook_format.into();
    let webhook = Webhook::new(address, secret, format, &pages(arguments, operator));
    webhook.map(Some).map_err(Trouble::usage)
}

/// Beginning of the addresses of pages, without a slash at its end.
pub(crate) fn pages(arguments: &WebhookArguments, operator: SocketAddr) -> String {
    if let Some(url) = &arguments.public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let mut shown = operator;
    if operator.ip().is_unspecified() {
        shown.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    format!("http://{shown}")
}

/// `webhook`.
pub(crate) async fn run(arguments: WebhookVerbArguments) -> Outcome {
    let WebhookVerb::Test(asked) = arguments.what;
    let Some(webhook) = of(&asked.webhook, asked.operator)? else {
        return Err(Trouble::usage(
            "there is no webhook to test: name it with --webhook-url URL, or set IMAGE_MANAGER_WEBHOOK_URL",
        ));
    };
    let answer = webhook.test().await;
    let answer = answer.map_err(|why| Trouble::errored(format!("the webhook did not answer: {why}")))?;
    let mut out = Screen::default();
    let style = Style::of_stdout();
    let signed = if asked.webhook.webhook_secret_file.is_some() { "signed" } else { "not signed" };
    let content = Format::from(asked.webhook.webhook_format).content_type();
    line!(out, "sent the event webhook.test, ", signed, ", as ", content);
    let took = when::took(answer.took);
    line!(out, style.bold("answer"), format_args!("  {} after {took}", answer.status));
    for said in String::from_utf8_lossy(&answer.body).lines() {
        line!(out, "  ", style.dim("|"), " ", said);
    }
    text::print(&out);
    if answer.status.is_success() {
        return Ok(Exit::Done);
    }
    Err(Trouble::errored(format!(
        "the webhook did not accept it: {} is not in 200 to 299, so `serve` would send it again for a day",
        answer.status
    )))
}

fn public_url(text: &str) -> Result<String, String> {
    let expected =
        || "expected http:// or https:// with a host, such as https://images.example.org".to_owned();
    let url = Url::parse(text).map_err(|_| expected())?;
    let whole = matches!(url.scheme(), "http" | "https") && url.host().is_some();
    if !whole || url.query().is_some() || url.fragment().is_some() {
        return Err(expected());
    }
    Ok(text.to_owned())
}

/// Text that is not to be shown.
#[expect(clippy::unnecessary_wraps, reason = "as clap wants it")]
fn secret(text: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(text.to_owned().into())
}
