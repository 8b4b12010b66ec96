//! What an entry of `schedules.toml` means, typed. Everything here is checked already.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use image_manager_agent::checks::descriptor::Check;
use serde_json::{Map, Value};

use super::additions::{ImageFile, Repository, Secret};
use super::cron::Cron;
use super::machine::{Arch, Firmware, Format};
use super::spans::SourceSpans;
use super::suggestions::nearest;
use crate::clock;
use crate::cloud::CloudKind;

/// All schedules of a file, in the file's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedules {
    /// The file they were read from.
    pub path: PathBuf,
    /// In the file's order; names are unique.
    pub schedules: Vec<Schedule>,
    /// Where in the file things stand, for mistakes that only the host can find.
    pub(super) spans: SourceSpans,
}

impl Schedules {
    /// A file without schedules.
    pub fn none(path: &std::path::Path) -> Self {
        Self { path: path.to_owned(), schedules: Vec::new(), spans: SourceSpans::default() }
    }

    /// The schedule with this name.
    pub fn get(&self, name: &str) -> Option<&Schedule> {
        self.schedules.iter().find(|schedule| schedule.name == name)
    }

    /// The schedules that publish under this name; in each cloud one at most.
    pub fn publishers(&self, name: &str) -> impl Iterator<Item = &Schedule> {
        let publishes =
            move |schedule: &&Schedule| schedule.publish.as_ref().is_some_and(|publish| publish.name == name);
        self.schedules.iter().filter(publishes)
    }

    /// That there is none with this name, with the one that may be meant, or all.
    pub fn no_schedule(&self, name: &str) -> String {
        let names = || self.schedules.iter().map(|schedule| schedule.name.as_str());
        match (nearest(name, names()), self.schedules.len()) {
            (Some(near), _) => format!("no schedule {name:?}; did you mean {near:?}?"),
            (None, 0) => format!("no schedule {name:?}: there are none"),
            (None, _) => {
                format!("no schedule {name:?}; the schedules are {}", names().collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// What to build, when, where to boot it, and what it must prove.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// `[schedule.NAME]`: letters, digits, `-` and `_`, at most 63 characters.
    pub name: String,
    /// When it fires by itself; `None` means on demand only.
    pub cron: Option<Cron>,
    /// The zone that `cron` is read in.
    pub timezone: chrono_tz::Tz,
    /// Each fire time is moved by a fixed, name-derived part of this, so that many schedules with the same
    /// cron entry do not start at once. Zero by default.
    pub jitter: Duration,
    /// What disk-image-builder is asked for.
    pub image: ImageSpec,
    /// Where the image must prove itself, in the file's order; at least one.
    pub targets: Vec<Target>,
    /// Under which name the verified image is given out; `None`: it is only verified.
    pub publish: Option<Publish>,
    /// How long each stage may take.
    pub timeouts: Timeouts,
    /// What follows a build that did not pass.
    pub retry: RetryPolicy,
    /// When a build is left out because it would make what the last one made; `None`: never.
    pub skip: Option<Skip>,
    /// When the published image is verified again by itself, in the zone of `timezone`; `None` means on demand only.
    pub reverify: Option<Cron>,
    /// What becomes of the name when that fails.
    pub on_failure: OnFailure,
    /// Whether another image is booted on a target where this one ended without a word. True by default.
    pub control: bool,
    /// Whether a trial ends with the first required check that failed. False by default: all are heard.
    pub fail_fast: bool,
}

/// What becomes of a name whose image fails when it is verified again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The image keeps it, and whoever listens is told.
    #[default]
    Keep,
    /// It goes back to the good image that had it last.
    RollBack,
}

/// A build is left out when nothing has changed since the last one, and that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skip {
    /// How old the last one may be.
    pub max_age: Duration,
}

impl Skip {
    /// How old it may be unless the file says.
    pub const MAX_AGE: Duration = Duration::from_hours(7 * 24);
}

/// Where an artifact must prove itself: a cloud, a server on it, and what it must prove there.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Its name, by the rule of a schedule's; unique in the schedule. By the short form that of its cloud.
    pub name: String,
    /// `local`, or a cloud of clouds.yaml.
    pub cloud: String,
    /// The server that boots the image.
    pub server: ServerSpec,
    /// Whether the build's verdict depends on it. True by default.
    pub required: bool,
    /// Whether its cloud gets the published name. True by default.
    pub publish: bool,
    /// What the agent is asked for, in the file's order.
    pub checks: Vec<CheckSpec>,
}

impl Target {
    /// What kind of cloud it is on.
    pub fn kind(&self) -> &'static CloudKind {
        CloudKind::of(&self.cloud)
    }
}

impl Schedule {
    /// The clouds of its targets, each once, in the file's order.
    pub fn clouds(&self) -> Vec<&str> {
        let mut clouds: Vec<&str> = Vec::new();
        for target in &self.targets {
            if !clouds.contains(&target.cloud.as_str()) {
                clouds.push(&target.cloud);
            }
        }
        clouds
    }

    /// Whether this cloud is to get the published name: a target there says so.
    pub fn publishes_on(&self, cloud: &str) -> bool {
        self.publish.is_some() && self.targets.iter().any(|target| target.publish && target.cloud == cloud)
    }

    /// Whether all its servers run on this host.
    pub fn is_on_this_host(&self) -> bool {
        self.targets.iter().all(|target| target.kind().on_this_host)
    }

    /// Whether a target of it is on this cloud.
    pub fn is_on(&self, cloud: &str) -> bool {
        self.targets.iter().any(|target| target.cloud == cloud)
    }
}

/// What follows a build that did not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a build that errored is queued again, each time as a new build on a fresh server. 0 by default:
    /// a retry costs another server, so the schedule must ask for it.
    pub retries: u32,
    /// The pause before the first retry; it doubles with each further one, up to
    /// [`RetryPolicy::LONGEST_PAUSE`]. 1 minute by default.
    pub backoff: Duration,
    /// The schedule pauses itself after so many builds in a row that did not pass; 0: never. 5 by default.
    pub pause_after: u32,
}

impl RetryPolicy {
    /// The longest pause before a retry.
    pub const LONGEST_PAUSE: Duration = Duration::from_hours(1);

    /// Of a build in the foreground: no retry, no pausing; what is owed in any case comes at once.
    pub const FOREGROUND: Self = Self { retries: 0, backoff: Duration::ZERO, pause_after: 0 };

    /// The pause before the retry of the `attempt`th build, counted from 1; `None` when it is not retried.
    pub fn pause_after_attempt(&self, attempt: u32) -> Option<Duration> {
        if attempt == 0 || attempt > self.retries {
            return None;
        }
        Some(clock::doubled(self.backoff, attempt, Self::LONGEST_PAUSE))
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { retries: 0, backoff: Duration::from_mins(1), pause_after: 5 }
    }
}

/// What disk-image-builder is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageSpec {
    /// DIB elements; at least one.
    pub elements: Vec<String>,
    /// Directories with elements of one's own, absolute; they come before all others.
    pub elements_path: Vec<PathBuf>,
    /// Package repositories of one's own.
    pub repositories: Vec<Repository>,
    /// Files of one's own.
    pub files: Vec<ImageFile>,
    /// Secrets of the build, in the order of their names.
    pub secrets: Vec<Secret>,
    /// Environment of the build (`DIB_RELEASE` and the like), names checked against the allow-list.
    pub environment: BTreeMap<String, String>,
    /// Extra distribution packages (DIB's `-p`).
    pub packages: Vec<String>,
    /// Users that cloud-init makes at first boot, besides the distribution's own.
    pub users: Vec<User>,
    /// Another name for the distribution's default user.
    pub default_user: Option<String>,
    /// Public keys of the default user, one line each.
    pub ssh_authorized_keys: Vec<String>,
    /// Whether sshd takes passwords. False by default.
    pub ssh_password_authentication: bool,
    /// The processors that it is for. This host's by default.
    pub arch: Arch,
    /// The kind of file that it is. A qcow2 by default.
    pub format: Format,
    /// How the qcow2 is compressed.
    pub compression: Compression,
    /// Properties of the image in Glance (`os_distro`, `hw_disk_bus`, ...).
    pub properties: BTreeMap<String, String>,
}

impl ImageSpec {
    /// The container file on this host that DIB's element `containerfile` makes the root from, when the schedule names one.
    pub fn container_file(&self) -> Option<&Path> {
        let named = self.environment.get("DIB_CONTAINERFILE_DOCKERFILE").map(Path::new);
        named.filter(|path| path.is_absolute())
    }
}

/// A user that cloud-init makes at first boot. Serializes to one entry of `IMAGE_MANAGER_USERS`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct User {
    /// Name by useradd's rule.
    pub name: String,
    /// Public keys, one line each.
    pub ssh_authorized_keys: Vec<String>,
    /// May run everything as root without a password.
    pub sudo: bool,
    /// Further groups.
    pub groups: Vec<String>,
    /// Login shell; cloud-init's default is `/bin/bash` here.
    pub shell: String,
}

/// How the qcow2 is compressed. zstd needs QEMU 5.1 on the hypervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Quick and small; QEMU 5.1 or newer reads it.
    #[default]
    Zstd,
    /// Slow, read by every QEMU.
    Zlib,
    /// Quickest and largest.
    None,
}

/// The server that boots the image.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerSpec {
    /// Bytes of memory (local cloud). 1 GiB by default.
    pub memory: u64,
    /// Bytes of the disk (local cloud). 4 GiB by default.
    pub disk: u64,
    /// Virtual CPUs (local cloud). 2 by default.
    pub cpus: u32,
    /// What starts the image, where the schedule says it.
    pub firmware: Option<Firmware>,
    /// The processors that it has: those that the image is for.
    pub arch: Arch,
    /// Flavor by name or id (OpenStack).
    pub flavor: Option<String>,
    /// Network by name, id or `auto` (OpenStack).
    pub network: Option<String>,
    /// Security groups by name or id (OpenStack); empty: one is made that lets the agent out and nobody in.
    pub security_groups: Vec<String>,
    /// Availability zone (OpenStack).
    pub availability_zone: Option<String>,
    /// The key pair of the server (OpenStack); `None`: it has none.
    pub ssh_key: Option<SshKey>,
    /// Give the metadata by config drive too. True by default.
    pub config_drive: bool,
    /// Boot from a volume that is made of the image (OpenStack with block storage). False by default.
    pub boot_from_volume: bool,
    /// user_data for cloud-init, as it stands in the file.
    pub user_data: Option<String>,
}

impl ServerSpec {
    /// What starts the image: as the schedule says, else as is usual for its processors.
    pub fn firmware(&self) -> Firmware {
        self.firmware.unwrap_or(self.arch.usual_firmware())
    }
}

/// The key pair of a server on OpenStack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SshKey {
    /// One that is made for the server and goes with it; Nova makes both halves.
    Made,
    /// The same of this public key, one line: whoever has the private half gets in.
    Public(String),
    /// The one of this name that is there, and stays.
    Named(String),
}

/// One requested check.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckSpec {
    /// Its name: the key in `checks`.
    pub name: String,
    /// What is examined.
    pub check: &'static Check,
    /// Whether the verdict depends on it. True by default.
    pub required: bool,
    /// How long it may take. Its kind's own by default.
    pub timeout: Duration,
    /// What the schedule says under the kind's keys, as it travels; of a file, its path.
    pub settings: Map<String, Value>,
}

/// Under which name the verified image is given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The name: letters, digits, `.`, `-`, `_`, at most 100 characters, not starting with a dot.
    pub name: String,
    /// How many older images stay beside the current one, whatever their age. 3 by default, and 0 with `keep_for`.
    pub keep: u32,
    /// How long older images stay, however many they are.
    pub keep_for: Option<Duration>,
    /// What must have passed for it.
    pub when: PublishWhen,
    /// Visibility in Glance once verified: `private` (default), `shared`, `community`, `public`.
    pub visibility: String,
}

/// What must have passed before a cloud gets the published name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PublishWhen {
    /// Every required trial of the build.
    #[default]
    All,
    /// Every required trial of that cloud.
    Each,
}

/// How long each stage may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// disk-image-builder. 1 hour by default.
    pub build: Duration,
    /// Upload until the image is active. 30 minutes by default.
    pub upload: Duration,
    /// Server created until the agent attaches. 10 minutes by default.
    pub boot: Duration,
    /// Agent attached until it is gone again. 10 minutes by default.
    pub verify: Duration,
    /// Everything but the queue and the clean-up. 2 hours by default.
    pub total: Duration,
}
