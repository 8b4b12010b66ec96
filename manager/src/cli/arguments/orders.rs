//! Arguments of the verbs that ask the manager which serves what it does, and tell it what to do.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::{OneFormat, ServingArguments};
use crate::cli::completions;

/// Arguments of `status` and `schedules`.
#[derive(Debug, Args)]
pub(crate) struct OverviewArguments {
    #[command(flatten)]
    pub(crate) serving: ServingArguments,
    /// How to print
    #[arg(long, value_enum, default_value_t = OneFormat::Text)]
    pub(crate) format: OneFormat,
}

/// Arguments of `trigger`.
#[derive(Debug, Args)]
pub(crate) struct TriggerArguments {
    /// Name of the schedule
    #[arg(add = ArgValueCandidates::new(completions::schedule_names))]
    pub(crate) schedule: String,
    /// Build even if nothing has changed since the last build (see `skip` in schedules.toml)
    #[arg(long)]
    pub(crate) force: bool,
    /// Build nothing, but verify the published image again; then a public name does as well
    #[arg(long, conflicts_with = "force")]
    pub(crate) verify: bool,
    #[command(flatten)]
    pub(crate) serving: ServingArguments,
}

/// Arguments of `cancel`.
#[derive(Debug, Args)]
pub(crate) struct CancelArguments {
    /// A build: its id, the beginning or the end of its id, its schedule (for the newest build), or
    /// "latest"
    #[arg(add = ArgValueCandidates::new(completions::builds))]
    pub(crate) build: String,
    #[command(flatten)]
    pub(crate) serving: ServingArguments,
}

/// Arguments of `pause` and `resume`.
#[derive(Debug, Args)]
pub(crate) struct PauseArguments {
    /// Name of the schedule
    #[arg(add = ArgValueCandidates::new(completions::schedule_names))]
    pub(crate) schedule: String,
    #[command(flatten)]
    pub(crate) serving: ServingArguments,
}
