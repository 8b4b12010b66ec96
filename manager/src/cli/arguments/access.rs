//! Arguments of the verbs about who may use the operator port.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use super::values::{lifetime, number};
use super::{ListFormat, StateArgument};
use crate::operator::Role;

/// Arguments of `token`.
#[derive(Debug, Args)]
pub(crate) struct TokenArguments {
    #[command(subcommand)]
    pub(crate) what: TokenVerb,
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenVerb {
    /// Create a token and print it: it is shown only once, and only its hash is kept
    Create(CreateTokenArguments),
    /// List the tokens by name; the tokens themselves are not kept
    List(ListTokensArguments),
    /// Revoke a token, and end the browser sessions and streams that it opened
    Revoke(RevokeTokenArguments),
}

/// What a token or a browser may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleArgument {
    /// Reads everything
    Viewer,
    /// Also triggers and cancels builds, pauses and resumes schedules, gives names to other images and revokes images
    Operator,
    /// Also creates, lists and revokes tokens
    Admin,
}

impl From<RoleArgument> for Role {
    fn from(role: RoleArgument) -> Self {
        match role {
            RoleArgument::Viewer => Self::Viewer,
            RoleArgument::Operator => Self::Operator,
            RoleArgument::Admin => Self::Admin,
        }
    }
}

/// How the manager that serves the state directory is asked.
#[derive(Debug, Args)]
pub(crate) struct ServingArguments {
    #[command(flatten)]
    pub(crate) state: StateArgument,
    /// File with an API token, if the manager that serves the state directory asks for one
    #[arg(long, value_name = "FILE", env = "IMAGE_MANAGER_API_TOKEN_FILE")]
    pub(crate) api_token_file: Option<PathBuf>,
}

/// Arguments of `token create`.
#[derive(Debug, Args)]
pub(crate) struct CreateTokenArguments {
    /// Name of the token: who or what uses it, such as ci or alice
    pub(crate) name: String,
    /// What its bearer may do
    #[arg(long, value_enum)]
    pub(crate) role: RoleArgument,
    /// Time after which it expires, such as 90d [default: it is valid until it is revoked]
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    pub(crate) expires: Option<Duration>,
    #[command(flatten)]
    pub(crate) serving: ServingArguments,
}

/// Arguments of `token list`.
#[derive(Debug, Args)]
pub(crate) struct ListTokensArguments {
    #[command(flatten)]
    pub(crate) state: StateArgument,
    /// How to print
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub(crate) format: ListFormat,
}

/// Arguments of `token revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeTokenArguments {
    /// Name of the token
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) serving: ServingArguments,
}

/// Arguments of `login`.
#[derive(Debug, Args)]
pub(crate) struct LoginArguments {
    /// What the browser may do [default: as much as the caller]
    #[arg(long, value_enum)]
    pub(crate) role: Option<RoleArgument>,
    #[command(flatten)]
    pub(crate) serving: ServingArguments,
}

/// Arguments of `audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArguments {
    #[command(flatten)]
    pub(crate) state: StateArgument,
    /// Only what was done since this time: an age such as 7d, or a date such as 2026-11-01
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
    /// List at most this many rows
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = number(1_u32..=100_000),
          allow_negative_numbers = true)]
    pub(crate) limit: u32,
    /// How to print
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub(crate) format: ListFormat,
}
