//! Arguments of the verbs that read the history.

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCandidates;

use super::StateArgument;
use super::values::number;
use crate::cli::completions;

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// For people
    Table,
    /// A JSON list
    Json,
    /// Comma-separated, with a header
    Csv,
}

/// Arguments of `history`.
#[derive(Debug, Args)]
pub(crate) struct HistoryArguments {
    /// Only builds of this schedule
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(completions::schedule_names))]
    pub(crate) schedule: Option<String>,
    /// A build state (queued, building, ..., succeeded, failed, errored, cancelled, skipped) lists only builds in that
    /// state; anything else is the state directory [default: IMAGE_MANAGER_STATE, else state]. May be given twice
    #[arg(long, value_name = "STATE|DIR")]
    pub(crate) state: Vec<String>,
    /// Only builds since this time: an age such as 7d, or a date such as 2026-11-01
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
    /// List at most this many builds
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = number(1_u32..=100_000),
          allow_negative_numbers = true)]
    pub(crate) limit: u32,
    /// How to print
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub(crate) format: ListFormat,
}

/// How one build is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OneFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Arguments of `show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// A build: its id, the beginning or the end of its id, its schedule (for the newest build), "latest" or
    /// "previous"
    #[arg(add = ArgValueCandidates::new(completions::builds))]
    pub(crate) build: String,
    #[command(flatten)]
    pub(crate) state: StateArgument,
    /// Also show the agent's paths, hashes, ids and every resource; JSON always has them
    #[arg(long)]
    pub(crate) details: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = OneFormat::Text)]
    pub(crate) format: OneFormat,
}

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArguments {
    /// A build: its id, the beginning or the end of its id, its schedule (for the newest build), "latest" or
    /// "previous"
    #[arg(add = ArgValueCandidates::new(completions::builds))]
    pub(crate) build: String,
    #[command(flatten)]
    pub(crate) state: StateArgument,
    #[command(flatten)]
    pub(crate) which: WhichLog,
    /// Target whose console or agent is meant, if the build has several targets
    #[arg(long, value_name = "NAME", requires = "of_target")]
    pub(crate) target: Option<String>,
    /// Keep printing until the build has ended
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Print the bytes of the file as they are; without this, nothing in the log can control a terminal, even
    /// through a pipe
    #[arg(long)]
    pub(crate) raw: bool,
}

/// Which log.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct WhichLog {
    /// Output of disk-image-builder (the default)
    #[arg(long = "build", id = "build_log")]
    pub(crate) build_log: bool,
    /// The server's serial console
    #[arg(long, group = "of_target")]
    pub(crate) console: bool,
    /// What the agent said
    #[arg(long, group = "of_target")]
    pub(crate) agent: bool,
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people
    Text,
    /// One JSON object
    Json,
    /// One HTML file with charts, which needs no other files
    Html,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    /// Only this schedule
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(completions::schedule_names))]
    pub(crate) schedule: Option<String>,
    #[command(flatten)]
    pub(crate) state: StateArgument,
    /// Builds created since this time: an age such as 7d, or a date such as 2026-11-01 [default: 30d]
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
    /// Builds created before this time: an age or a date, as for --since [default: now]
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    pub(crate) until: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub(crate) format: ReportFormat,
}

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    /// The older build, named as for `show`; "previous" is the build of the same schedule before B, "last-good" the
    /// newest of these that passed
    #[arg(add = ArgValueCandidates::new(completions::earlier_builds))]
    pub(crate) a: String,
    /// The newer build, named as for `show`. Without it, A is the newer build, and the older one is the last good one
    /// before it
    #[arg(add = ArgValueCandidates::new(completions::builds))]
    pub(crate) b: Option<String>,
    #[command(flatten)]
    pub(crate) state: StateArgument,
    /// How to print
    #[arg(long, value_enum, default_value_t = OneFormat::Text)]
    pub(crate) format: OneFormat,
}
