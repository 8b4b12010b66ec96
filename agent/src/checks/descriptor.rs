//! What is known of a kind of check before it runs. `schedules.toml` is read by it, `image-manager checks` and
//! docs/checks.md are written from it, and the agent runs what it names.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use image_manager_proto::v1::ServerFacts;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use tokio::time::Instant;

use super::Judgement;
use crate::guest::Guest;

/// A kind of check.
pub struct Check {
    /// Its name in `checks` and on the wire.
    pub kind: &'static str,
    /// What a pass proves: one line, without a capital letter and a full stop.
    pub proves: &'static str,
    /// What a user may want to know beyond that, in Markdown; paragraphs are kept apart by an empty line.
    pub details: &'static str,
    /// The smallest set that has it.
    pub set: Set,
    /// Who looks.
    pub observer: Observer,
    /// How long it may take when the schedule does not say.
    pub timeout: Duration,
    /// What it costs, in words: "under a second", "reads the whole disk".
    pub cost: &'static str,
    /// It can fail because of a network: the manager looks for itself before the image is blamed.
    pub repeatable: bool,
    /// Its keys, beside `required`, `timeout` and `kind`.
    pub keys: &'static [Key],
    /// Looks and judges. None: the manager does, or, for `reboot`, which ends the agent's process, its session.
    pub examine: Option<Examine>,
}

/// A kind is known by its name.
impl fmt::Debug for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.kind)
    }
}

impl PartialEq for Check {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

/// The function that looks and judges.
pub type Examine = fn(Examination) -> Pin<Box<dyn Future<Output = Result<Judgement, BadSettings>> + Send>>;

/// The sets of checks; each has those of the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Set {
    /// The image has grown to its disk, has a network and has been through cloud-init.
    Minimal,
    /// What every cloud image must hold, and costs seconds.
    Cloud,
    /// What takes a while: packages are read and installed, the power button is tried.
    Thorough,
    /// In no set: only where a schedule names it, because it says nothing without its keys.
    Named,
}

impl Set {
    /// Those that a schedule can ask for, with their words.
    pub const WORDS: [(&'static str, Self); 3] =
        [("minimal", Self::Minimal), ("cloud", Self::Cloud), ("thorough", Self::Thorough)];

    /// Its word in `checks.set`; empty of [`Set::Named`].
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, set)| *set == self).map_or("", |(word, _)| word)
    }
}

/// Who looks at what a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observer {
    /// The agent, in the server.
    Agent,
    /// The manager: at the artifact, at the server's console or power, or at the time that things took.
    Manager,
}

/// A key of a check in `schedules.toml`.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What may stand behind it.
    pub value: ValueType,
    /// What counts when it is missing, as it would be written, or in words. Empty: it must be there, in each table of a list.
    pub default: &'static str,
    /// What it means, for people.
    pub help: &'static str,
}

/// What may stand behind a key, and how it travels.
#[derive(Debug)]
pub enum ValueType {
    /// Bytes, written "500 MiB". Travels as a number.
    Size {
        /// The most, in bytes.
        largest: u64,
    },
    /// A whole number. Travels as one.
    Number {
        /// The least.
        smallest: u64,
        /// The most; at most 2^53, what JSON holds exactly.
        largest: u64,
    },
    /// A time, written "30s". Travels as a number of seconds.
    Duration {
        /// The least.
        shortest: Duration,
        /// The most.
        longest: Duration,
    },
    /// `true` or `false`.
    Flag,
    /// One of these words. Travels as a text.
    Choice(&'static [&'static str]),
    /// A text that obeys a rule.
    Text(&'static Rule),
    /// A list of such texts, none twice.
    Texts(&'static Rule),
    /// The path of a file beside the schedules file. Its content travels, as a text.
    File {
        /// Most bytes.
        largest: u64,
    },
    /// A list of tables with these keys.
    Tables(&'static [Key]),
}

impl ValueType {
    /// What it is called in the documentation.
    pub fn noun(&self) -> &'static str {
        match self {
            Self::Size { .. } => "size",
            Self::Number { .. } => "number",
            Self::Duration { .. } => "duration",
            Self::Flag => "true or false",
            Self::Choice(_) | Self::Text(_) => "string",
            Self::Texts(_) => "list of strings",
            Self::File { .. } => "path",
            Self::Tables(_) => "list of tables",
        }
    }
}

/// A rule for a text.
#[derive(Debug)]
pub struct Rule {
    /// What an obeying text is: "an element's name".
    pub what: &'static str,
    /// What would be right.
    pub help: &'static str,
    /// Whether a text obeys.
    pub holds: fn(&str) -> bool,
}

/// Whether `text` has 1 to `longest` bytes: ASCII letters, digits and `others`, not beginning with any of
/// `not_first` (a program would take `-x` for an option).
pub fn is_plain(text: &str, longest: usize, others: &str, not_first: &str) -> bool {
    (1..=longest).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
        && !text.starts_with(|c| not_first.contains(c))
}

/// What a check has to go by.
#[derive(Debug, Clone)]
pub struct Examination {
    /// What the schedule says under the check's keys.
    pub(crate) settings: Json,
    /// What the manager knows of the server.
    pub server: ServerFacts,
    /// The guest.
    pub guest: Guest,
    /// When it has to be over.
    pub deadline: Instant,
    /// The guest's clock beside the manager's. None: the manager has not said its time.
    pub clock_ahead: Option<Clock>,
}

/// A clock beside the manager's, by a message of the manager's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clock {
    /// How much it is ahead, in seconds. The way of the message is in it.
    pub ahead: f64,
    /// So long the message was on its way at most: the clock is ahead by so much less, at least.
    pub longest_way: Duration,
    /// When the message came, by this clock and by one that nobody sets.
    pub at: (SystemTime, Instant),
}

/// The manager's settings cannot be read: they are a newer manager's.
#[derive(Debug, thiserror::Error)]
#[error("this agent cannot read the check's settings: {0}")]
pub struct BadSettings(#[from] serde_json::Error);

impl Examination {
    /// The settings in the check's own form.
    pub(crate) fn settings<T: DeserializeOwned>(&self) -> Result<T, BadSettings> {
        Ok(T::deserialize(&self.settings)?)
    }
}

/// A duration in a check's settings, which travels as seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Seconds(pub Duration);

impl<'de> serde::Deserialize<'de> for Seconds {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        let wrong = |_| serde::de::Error::custom("not a number of seconds");
        Duration::try_from_secs_f64(seconds).map(Self).map_err(wrong)
    }
}
