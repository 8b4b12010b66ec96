//! Arguments of `webhook`.

use std::net::SocketAddr;

use clap::{Args, Subcommand};

use super::address;
use crate::cli::webhook::WebhookArguments;

/// Arguments of `webhook`.
#[derive(Debug, Args)]
pub(crate) struct WebhookVerbArguments {
    #[command(subcommand)]
    pub(crate) what: WebhookVerb,
}

/// What to do with the webhook.
#[derive(Debug, Subcommand)]
pub(crate) enum WebhookVerb {
    /// Send one test event, with the settings that serve would use, and print the answer
    Test(TestWebhookArguments),
}

/// Arguments of `webhook test`.
#[derive(Debug, Args)]
pub(crate) struct TestWebhookArguments {
    #[command(flatten)]
    pub(crate) webhook: WebhookArguments,
    /// Operator port of the manager: links lead there unless --public-url is given
    #[arg(long, value_name = "IP:PORT", env = "IMAGE_MANAGER_OPERATOR", default_value = "127.0.0.1:8080",
          value_parser = address)]
    pub(crate) operator: SocketAddr,
}
