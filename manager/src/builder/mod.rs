//! Runs disk-image-builder (DIB) in containment and reads its progress.
//!
//! [`run`] makes the scratch directory, starts DIB in mount and PID namespaces of its own and follows its
//! output to the end:
//!
//! ```text
//!  run ── command: arguments, allow-listed environment
//!   │     containers: the build's own storage for podman
//!   │     contained: the process group; asks it to stop, kills it, also when run's future is dropped
//!   │     inputs: files for our elements, secrets through a pipe into a tmpfs; masking: not into the log
//!   ├──── output: lines from the pipe, into build.log, into the tail
//!   │     log_reader, phases: progress, phase seconds, the running script          (pure)
//!   ├──── diagnosis: what went wrong, from exit code, tail and reader               (pure)
//!   ├──── artifact: is there an image, is its structure sound
//!   ├──── proof: is in it what was put there
//!   └──── bases: what its bootstrap made, for builds that would bootstrap from the same
//! ```
//!
//! It leaves the scratch directory behind, with the image in it or with what a failure left. [`clean`] takes
//! it away, with every process, mount and loop device of that build; it needs nothing but the directory and
//! the build's id, so it also serves a manager that comes back after a crash.
//!
//! DIB is kept from working in a tmpfs (`DIB_NO_TMPFS=1`, whatever the schedule says): a loop device whose
//! file lies in a tmpfs of a namespace that is gone can be traced to no build, and what the tmpfs takes no
//! check of free disk space sees. Where memory is to spare the scratch directory itself may lie in a tmpfs: that
//! is faster, and both can be told.

mod artifact;
mod bases;
mod command;
mod contained;
mod containers;
mod containment;
mod diagnosis;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod inputs;
mod log_reader;
mod masking;
mod output;
mod phases;
mod proof;
mod proxies;
mod room;
mod run;
mod staleness;
mod stand_ins;
mod version;
mod view;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::reason::Reason;
use crate::schedules::{Arch, Format};
use crate::unchanged::Kept;

pub(crate) use artifact::HASH_DEADLINE;
pub use artifact::sha512_of;
pub(crate) use command::marked;
pub(crate) use containment::CLEANING;
pub use containment::{CleanError, CleanReport, Leftovers, MarkedProcess, clean, leftovers};
pub use image_manager_agent::checks::packages::rpm::Package;
pub use inputs::{InputFile, Inputs, Secret};
pub(crate) use phases::Phase;
pub use proof::{Counts, HostKey, Inspection, Leak, MissingMount, Proof};
pub(crate) use proxies::{PASSED_ON, remark_on_passwords};
pub(crate) use room::bytes;
pub use room::{NoRoom, RoomUsed, check_room, free_bytes};
pub use run::{Limits, run, run_within};
pub use stand_ins::install_stand_ins;
pub use version::version;

/// Names, in [`Order::environment`], the directory with the stand-ins for `kpartx` and `dmsetup`, for hosts
/// without device-mapper, and for `mount` and `umount`, for hosts without vfat. On other hosts they are not used. In it
/// too: `without-fsync`, which DIB is run by.
pub const STAND_INS: &str = "IMAGE_MANAGER_STAND_INS";

/// What disk-image-builder is to make.
#[derive(Debug, Clone)]
pub struct Order {
    /// The build's id; baked into the image and visible in the command line of the contained processes as
    /// `image-manager-build=<id>`.
    pub build_id: String,
    /// `disk-image-create`, as a path.
    pub program: PathBuf,
    /// Elements in the order of the schedule.
    pub elements: Vec<String>,
    /// Where elements are looked for besides DIB's own (DIB's `ELEMENTS_PATH`).
    pub elements_path: Vec<PathBuf>,
    /// Extra packages (`-p`).
    pub packages: Vec<String>,
    /// The schedule's environment, already checked, and what the elements of ours want.
    pub environment: BTreeMap<String, String>,
    /// Files and secrets that it is given otherwise.
    pub inputs: Inputs,
    /// The kind of file that the image is to be.
    pub format: Format,
    /// The processors that it is for.
    pub arch: Arch,
    /// Options of `qemu-img` for the qcow2 (DIB's `--qemu-img-options`), empty for DIB's defaults.
    pub qemu_img_options: String,
    /// A directory that belongs to this build alone; made here, removed by [`clean`].
    pub scratch: PathBuf,
    /// DIB's image cache, shared by builds.
    pub cache: PathBuf,
    /// The kept bases, shared by builds, which only read them.
    pub bases: PathBuf,
    /// Where the output goes, as it comes.
    pub log: PathBuf,
    /// The static agent binary.
    pub agent: PathBuf,
    /// The fingerprint of the manager's certificate; baked into the image: the agent obeys no other manager.
    pub fingerprint: String,
    /// What no hook may see, besides home directories and other places of credentials: the state directory, other
    /// builds, files with tokens. What of it the build needs is seen all the same.
    pub private: Vec<PathBuf>,
    /// How long it may take.
    pub timeout: Duration,
    /// Seconds that each phase took in this schedule's last builds; empty: built-in weights.
    pub phase_weights: BTreeMap<String, f64>,
}

/// What disk-image-builder made.
#[derive(Debug, Clone, PartialEq)]
pub struct Artifact {
    /// The image, inside the scratch directory.
    pub file: PathBuf,
    /// SHA-512 of it, lower-case hexadecimal.
    pub sha512: String,
    /// The package manifest that DIB wrote, when there is one.
    pub manifest: Option<PathBuf>,
    /// The packages that the image's own database lists, where DIB lists none: those of rpm.
    pub packages: Vec<Package>,
    /// What the image's mirrors can be asked with later, whether a build would make another one; or why that is not known.
    pub kept: Result<Kept, String>,
    /// What of its build and of the build's host is in it; or why that is not known.
    pub inspection: Result<Inspection, String>,
    /// Seconds that each phase took.
    pub phase_seconds: BTreeMap<String, f64>,
    /// Whether the packaged files in it are what their packages say.
    pub proof: Proof,
    /// Seconds that the look at them took.
    pub proof_seconds: f64,
    /// How it used the room of the scratch directory.
    pub room: RoomUsed,
}

/// What is told while it runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A line of output, without its end, at most 4 KiB.
    Line(String),
    /// 0 to 1, and the phase with its script.
    Progress(f64, String),
    /// Which elements it works with; told once, before the first script runs.
    Expanded(Expanded),
}

/// What DIB works with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expanded {
    /// DIB's version, as it says it.
    pub version: String,
    /// The elements, those that others depend on included.
    pub elements: Vec<String>,
}

/// disk-image-builder made nothing.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct BuilderError {
    /// Why; with it, whether the image definition is to blame or the host.
    pub reason: Reason,
    /// What happened, with element and script where there is one.
    pub message: String,
    /// The last lines of what failed.
    pub evidence: String,
}

impl BuilderError {
    /// An error without evidence.
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), evidence: String::new() }
    }
}
