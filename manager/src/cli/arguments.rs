//! What can be given on the command line: a new flag is a field here, or in a file below.
//!
//! A flag that an installation sets once has an environment variable of the same name, which config.env.example must
//! have, too.

mod access;
mod images;
mod orders;
mod reading;
mod values;
mod webhook;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCandidates;

pub(crate) use self::access::{
    AuditArguments, CreateTokenArguments, ListTokensArguments, LoginArguments, RevokeTokenArguments,
    ServingArguments, TokenArguments, TokenVerb,
};
pub(crate) use self::images::{ImagesArguments, PromoteArguments, RevokeArguments, RollbackArguments};
pub(crate) use self::orders::{CancelArguments, OverviewArguments, PauseArguments, TriggerArguments};
pub(crate) use self::reading::{
    CompareArguments, HistoryArguments, ListFormat, LogsArguments, OneFormat, ReportArguments, ReportFormat,
    ShowArguments,
};
use self::values::{KeepLogs, LogsRoom, address, grace, keep_logs, logs_room, number, patience};
pub(crate) use self::webhook::{WebhookVerb, WebhookVerbArguments};
use super::logging::LogArguments;
use super::webhook::WebhookArguments;
use super::{completions, examples};

/// Rebuilds cloud images on a schedule and proves each one on a real server.
#[derive(Debug, Parser)]
#[command(
    name = "image-manager",
    version,
    after_help = "Exit codes: 0 passed or done, 1 the image failed, 2 errored (infrastructure), 64 wrong usage or \
                  configuration, 130 cancelled.\n\nTo get started: image-manager doctor, then image-manager run debian"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run the manager: it fires schedules, and accepts agents and operators
    #[command(after_help = examples::SERVE)]
    Serve(ServeArguments),
    /// Build, boot and verify one schedule now, and wait for the verdict
    #[command(after_help = examples::RUN)]
    Run(RunArguments),
    /// Boot a published image once more, and check it again
    #[command(after_help = examples::VERIFY)]
    #[command(mut_arg("schedule", |name| name.help("Name of the schedule, or public name of the image")))]
    Verify(FollowArguments),
    /// Show what the manager is doing, what is due next, and what needs attention
    #[command(after_help = examples::STATUS)]
    Status(OverviewArguments),
    /// List the schedules of the manager that serves, with the newest build and the next fire time of each
    #[command(after_help = examples::SCHEDULES)]
    Schedules(OverviewArguments),
    /// Queue a build with the manager that serves, without waiting for it
    #[command(after_help = examples::TRIGGER)]
    Trigger(TriggerArguments),
    /// Cancel a build, and remove what it made
    #[command(after_help = examples::CANCEL)]
    Cancel(CancelArguments),
    /// Stop a schedule from firing by itself until it is resumed
    #[command(after_help = examples::PAUSE)]
    Pause(PauseArguments),
    /// Let a paused schedule fire again
    #[command(after_help = examples::RESUME)]
    Resume(PauseArguments),
    /// Check schedules.toml: show every mistake with its line, what this host lacks, and the next fire times
    #[command(after_help = examples::CHECK)]
    Check(CheckArguments),
    /// List builds, newest first
    #[command(after_help = examples::HISTORY)]
    History(HistoryArguments),
    /// Show one build: stages, checks, resources, image, and why it failed
    #[command(after_help = examples::SHOW)]
    Show(ShowArguments),
    /// List the checks that a schedule can ask for, or describe one in full
    #[command(after_help = examples::CHECKS)]
    Checks(ChecksArguments),
    /// Print a build's logs
    #[command(after_help = examples::LOGS)]
    Logs(LogsArguments),
    /// Sum up the builds of a time range, for each schedule
    #[command(after_help = examples::REPORT)]
    Report(ReportArguments),
    /// Show what differs between two builds, or in one since the last good one: packages, size, times, checks
    #[command(after_help = examples::COMPARE)]
    Compare(CompareArguments),
    /// List what this host lacks, each with the command that fixes it
    #[command(after_help = examples::DOCTOR)]
    Doctor(DoctorArguments),
    /// Copy the history to a new file, even while a manager serves
    #[command(after_help = examples::BACKUP)]
    Backup(BackupArguments),
    /// Create, list and revoke tokens for the operator port
    #[command(after_help = examples::TOKEN)]
    Token(TokenArguments),
    /// Print a link that logs one browser in to the dashboard, once
    #[command(after_help = examples::LOGIN)]
    Login(LoginArguments),
    /// Print the audit trail: who triggered, cancelled, paused, resumed or published, and who created which token
    #[command(after_help = examples::AUDIT)]
    Audit(AuditArguments),
    /// List the images that have, or had, a public name
    #[command(after_help = examples::IMAGES)]
    Images(ImagesArguments),
    /// Give a public name back to an older verified image
    #[command(after_help = examples::ROLLBACK)]
    Rollback(RollbackArguments),
    /// Give a build's published image a further public name
    #[command(after_help = examples::PROMOTE)]
    Promote(PromoteArguments),
    /// Take a build's image out of use; its name goes back to a good one
    #[command(after_help = examples::REVOKE)]
    Revoke(RevokeArguments),
    /// Try the webhook: send one event with the settings that serve would use
    #[command(after_help = examples::WEBHOOK)]
    Webhook(WebhookVerbArguments),
    /// Find and remove what builds that have ended left in a cloud
    #[command(after_help = examples::SWEEP)]
    Sweep(SweepArguments),
    /// Print a script that lets a shell complete verbs, flags, schedules and builds
    #[command(after_help = examples::COMPLETIONS)]
    Completions(CompletionsArguments),
    /// Print the manual page, or write the pages of all verbs to a directory
    #[command(after_help = examples::MAN)]
    Man(ManArguments),
}

/// The file with the schedules.
#[derive(Debug, Clone, Args)]
pub(crate) struct SchedulesArgument {
    /// File with the schedules
    #[arg(long, value_name = "FILE", env = "IMAGE_MANAGER_SCHEDULES", default_value = "schedules.toml")]
    pub(crate) schedules: PathBuf,
}

/// The state directory.
#[derive(Debug, Clone, Args)]
pub(crate) struct StateArgument {
    /// Directory with history, logs, images and caches
    #[arg(long, value_name = "DIR", env = "IMAGE_MANAGER_STATE", default_value = "state")]
    pub(crate) state: PathBuf,
}

/// About this host, for verbs that build.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "This host")]
pub(crate) struct HostArguments {
    #[command(flatten)]
    pub(crate) schedules: SchedulesArgument,
    #[command(flatten)]
    pub(crate) state: StateArgument,
    /// The disk-image-create program of disk-image-builder [default: the one on PATH, else the one in
    /// /opt/image-manager/dib]
    #[arg(long, value_name = "PROGRAM", env = "IMAGE_MANAGER_DIB")]
    pub(crate) dib: Option<PathBuf>,
    /// Directories with your own elements, separated by colons; the elements that came with this program and those
    /// of disk-image-builder are always searched after them [default: elements beside the schedules file]
    #[arg(long, value_name = "DIR", env = "IMAGE_MANAGER_ELEMENTS", value_delimiter = ':')]
    pub(crate) elements: Vec<PathBuf>,
    /// Static agent binary to put into the images [default: the one that came with this program]
    #[arg(long, value_name = "FILE", env = "IMAGE_MANAGER_AGENT")]
    pub(crate) agent: Option<PathBuf>,
    /// Where builds get their scratch directories [default: scratch in the state directory]
    #[arg(long, value_name = "DIR", env = "IMAGE_MANAGER_SCRATCH")]
    pub(crate) scratch: Option<PathBuf>,
    /// Address that agents dial [default: 0.0.0.0:50051; 127.0.0.1:50051 if every schedule is local, and any free
    /// port for a `run` of a local schedule]
    #[arg(long, value_name = "IP:PORT", env = "IMAGE_MANAGER_GATEWAY", value_parser = address)]
    pub(crate) gateway: Option<SocketAddr>,
    /// IP:PORT that servers on clouds other than local dial, if it differs from the address of the gateway
    #[arg(long, value_name = "IP:PORT", env = "IMAGE_MANAGER_AGENT_ENDPOINT",
          value_parser = address)]
    pub(crate) agent_endpoint: Option<SocketAddr>,
    /// Silence after which an agent counts as dead
    #[arg(long, value_name = "TIME", env = "IMAGE_MANAGER_HEARTBEAT_TIMEOUT", default_value = "30s",
          value_parser = patience)]
    pub(crate) heartbeat_timeout: std::time::Duration,
    /// Time that an agent has to reconnect after its stream breaks
    #[arg(long, value_name = "TIME", env = "IMAGE_MANAGER_REATTACH", default_value = "1m",
          value_parser = patience)]
    pub(crate) reattach: std::time::Duration,
    /// Trials that may be under way at once on each cloud, across all builds; each takes a server. Further trials wait
    #[arg(long, value_name = "N", env = "IMAGE_MANAGER_CONCURRENT_TRIALS", default_value_t = 4,
          value_parser = number(1_u16..=64), allow_negative_numbers = true)]
    pub(crate) concurrent_trials: u16,
    /// Files with tokens that other flags name: no build sees them.
    #[arg(skip)]
    pub(crate) private: Vec<PathBuf>,
}

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Where operators connect: control gRPC, reflection, health, HTTP
    #[arg(long, value_name = "IP:PORT", env = "IMAGE_MANAGER_OPERATOR", default_value = "127.0.0.1:8080",
          value_parser = address)]
    pub(crate) operator: SocketAddr,
    /// File with a token that has the role admin. With it, everybody needs a token, even root; without it, root and
    /// this account need none on loopback
    #[arg(long, value_name = "FILE", env = "IMAGE_MANAGER_API_TOKEN_FILE")]
    pub(crate) api_token_file: Option<PathBuf>,
    /// Builds that may make their image at once; further builds wait. How many are tried at once is limited by
    /// --concurrent-trials
    #[arg(long, value_name = "N", env = "IMAGE_MANAGER_CONCURRENT_BUILDS", default_value_t = 1,
          value_parser = number(1_u16..=64), allow_negative_numbers = true)]
    pub(crate) concurrent_builds: u16,
    /// How long a build's logs are kept after its end, or "forever"; the build itself stays in the history
    #[arg(long, value_name = "TIME", env = "IMAGE_MANAGER_KEEP_LOGS", default_value = "90d", value_parser = keep_logs)]
    pub(crate) keep_logs: KeepLogs,
    /// Room that the logs of all builds may take before the oldest are removed, or "any" for no limit
    #[arg(long, value_name = "SIZE", env = "IMAGE_MANAGER_LOGS_ROOM", default_value = "10 GiB",
          value_parser = logs_room)]
    pub(crate) logs_room: LogsRoom,
    /// How long builds under way may take to end by themselves when the manager is told to stop (SIGTERM); after
    /// that, or at a second signal, they are ended and cleaned up, and trials that wait for a retry are left for the
    /// next start
    #[arg(long, value_name = "TIME", env = "IMAGE_MANAGER_GRACE", default_value = "20s", value_parser = grace)]
    pub(crate) grace: std::time::Duration,
    #[command(flatten)]
    pub(crate) host: HostArguments,
    #[command(flatten)]
    pub(crate) logging: LogArguments,
    #[command(flatten)]
    pub(crate) webhook: WebhookArguments,
}

/// A build that is begun now and followed to its verdict: arguments of `verify`, and those of `run` besides its own.
#[derive(Debug, Args)]
pub(crate) struct FollowArguments {
    /// Name of the schedule
    #[arg(add = ArgValueCandidates::new(completions::schedule_names))]
    pub(crate) schedule: String,
    // What `run` has besides stands between these two.
    /// Print the logs as they come
    #[arg(long, short, display_order = 0)]
    pub(crate) verbose: bool,
    /// File with the API token of the manager that serves this state directory
    #[arg(long, value_name = "FILE", env = "IMAGE_MANAGER_API_TOKEN_FILE", display_order = 2)]
    pub(crate) api_token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) host: HostArguments,
    #[command(flatten)]
    pub(crate) logging: LogArguments,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// Build even if nothing has changed since the last build (see `skip` in schedules.toml)
    #[arg(long, display_order = 1)]
    pub(crate) force: bool,
    /// Build nothing, but verify again the image that this means: by its schedule, or by its public name.
    #[arg(skip)]
    pub(crate) verify: Option<String>,
    /// After the agent has gone, shut the server down and write its disk to this file, for inspection
    #[arg(long, value_name = "FILE", display_order = 1)]
    pub(crate) keep_disk: Option<PathBuf>,
    // Behind the others, for it has headings, under which all would stand that comes after it.
    #[command(flatten)]
    pub(crate) followed: FollowArguments,
}

impl RunArguments {
    /// Those with which `verify` is run.
    pub(crate) fn of_verification(followed: FollowArguments) -> Self {
        Self { verify: Some(followed.schedule.clone()), followed, force: false, keep_disk: None }
    }
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// File to check [default: that of --schedules]
    pub(crate) file: Option<PathBuf>,
    /// Check only the file, not this host; for a host that does not build
    #[arg(long)]
    pub(crate) file_only: bool,
    #[command(flatten)]
    pub(crate) host: HostArguments,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// Examine this cloud instead (one of clouds.yaml, or local), for the schedules that use it
    #[arg(long, value_name = "NAME")]
    pub(crate) cloud: Option<String>,
    #[command(flatten)]
    pub(crate) host: HostArguments,
    #[command(flatten)]
    pub(crate) logging: LogArguments,
}

/// Arguments of `backup`.
#[derive(Debug, Args)]
pub(crate) struct BackupArguments {
    /// File to write; it must not exist yet
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) state: StateArgument,
}

/// Arguments of `sweep`.
#[derive(Debug, Args)]
pub(crate) struct SweepArguments {
    #[command(flatten)]
    pub(crate) state: StateArgument,
    /// A cloud of clouds.yaml, or local for this host
    #[arg(long, value_name = "NAME")]
    pub(crate) cloud: String,
    /// Only list what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// For local: where builds get their scratch directories [default: scratch in the state directory]
    #[arg(long, value_name = "DIR", env = "IMAGE_MANAGER_SCRATCH")]
    pub(crate) scratch: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) logging: LogArguments,
}

/// Arguments of `checks`.
#[derive(Debug, Args)]
pub(crate) struct ChecksArguments {
    /// One kind of check, such as `ssh`
    #[arg(add = ArgValueCandidates::new(completions::check_kinds))]
    pub(crate) kind: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: OneFormat,
}

/// A shell that completions are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// source <(image-manager completions bash)
    Bash,
    /// source <(image-manager completions zsh)
    Zsh,
    /// image-manager completions fish | source
    Fish,
    /// eval (image-manager completions elvish | slurp)
    Elvish,
    /// image-manager completions powershell | Out-String | Invoke-Expression
    Powershell,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell; put the line that is shown for it into its start-up file
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub(crate) struct ManArguments {
    /// Directory for image-manager.1 and a page for each verb, such as /usr/local/share/man/man1
    pub(crate) directory: Option<PathBuf>,
}
