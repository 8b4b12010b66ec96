//! Arguments of the verbs about images with public names.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::values::number;
use super::{OneFormat, ServingArguments, StateArgument};
use crate::cli::completions;

/// Arguments of `images`.
#[derive(Debug, Args)]
pub(crate) struct ImagesArguments {
    /// Only this public name
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) state: StateArgument,
    /// Also list images that are no longer in the cloud
    #[arg(long)]
    pub(crate) removed: bool,
    /// List at most this many images
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = number(1_u32..=1000),
          allow_negative_numbers = true)]
    pub(crate) limit: u32,
    /// How to print
    #[arg(long, value_enum, default_value_t = OneFormat::Text)]
    pub(crate) format: OneFormat,
}

/// Arguments of `rollback`.
#[derive(Debug, Args)]
pub(crate) struct RollbackArguments {
    /// The public name
    pub(crate) name: String,
    /// Build whose image gets the name [default: of the good images before the current one, that which had it last]
    #[arg(long, value_name = "BUILD", add = ArgValueCandidates::new(completions::builds))]
    pub(crate) to: Option<String>,
    /// Only in this cloud [default: in every cloud that has the name]
    #[arg(long, value_name = "CLOUD")]
    pub(crate) cloud: Option<String>,
    /// Why, for the audit trail and the webhook
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) serving: ServingArguments,
}

/// Arguments of `promote`.
#[derive(Debug, Args)]
pub(crate) struct PromoteArguments {
    /// A build: its id, the beginning or the end of its id, its schedule (for the newest build), "latest" or
    /// "previous"
    #[arg(add = ArgValueCandidates::new(completions::builds))]
    pub(crate) build: String,
    /// The further public name
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) name: String,
    /// Only in this cloud [default: in every cloud that has the image]
    #[arg(long, value_name = "CLOUD")]
    pub(crate) cloud: Option<String>,
    /// Why, for the audit trail and the webhook
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) serving: ServingArguments,
}

/// Arguments of `revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeArguments {
    /// A build: its id, the beginning or the end of its id, its schedule (for the newest build), "latest" or
    /// "previous"
    #[arg(add = ArgValueCandidates::new(completions::builds))]
    pub(crate) build: String,
    /// Why, for the image, the audit trail and the webhook
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Only in this cloud [default: in every cloud that has the image]
    #[arg(long, value_name = "CLOUD")]
    pub(crate) cloud: Option<String>,
    #[command(flatten)]
    pub(crate) serving: ServingArguments,
}
