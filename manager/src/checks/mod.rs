//! The checks that a schedule can ask for: those that the agent runs, and those that the manager looks after itself.
//!
//! A new kind that the manager looks after is a file here with its `CHECK` (`examine: None`) and `judge`, a
//! place in `OF_THE_MANAGER`, and an arm of `one` in `lifecycle/stages/observed.rs`, which gathers what it judges.
//! Kinds that the agent runs are in the agent's `checks`.

pub(crate) mod artifact;
pub(crate) mod boot_time;
pub(crate) mod console;
#[cfg(test)]
mod document;
pub(crate) mod guest_agent;
mod keys;
pub(crate) mod poweroff;
mod sending;

use std::time::Duration;

use image_manager_agent::checks::descriptor::{Check, Key, Set};
use image_manager_agent::checks::package_manager;
use image_manager_proto::v1::CheckOutcome;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

pub(crate) use keys::key_rows;
pub(crate) use sending::{content, request};

/// Those of the manager, in the order in which people see them, after the agent's.
static OF_THE_MANAGER: &[&Check] =
    &[&artifact::CHECK, &console::CHECK, &boot_time::CHECK, &guest_agent::CHECK, &poweroff::CHECK];

/// What the manager found of a check of its own.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judged {
    /// How it ended.
    pub(crate) outcome: CheckOutcome,
    /// One line for people.
    pub(crate) summary: String,
    /// What was seen, a JSON object.
    pub(crate) observations: Value,
}

impl Judged {
    /// It did not end within the check's timeout.
    pub(crate) fn late(timeout: Duration) -> Self {
        let summary = format!("it did not finish within {}", humantime::format_duration(timeout));
        Self { outcome: CheckOutcome::Inconclusive, summary, observations: json!({}) }
    }

    /// Nobody looks after this kind of check.
    pub(crate) fn unknown(kind: &str) -> Self {
        let summary = format!("this manager does not support the check kind {kind}");
        Self { outcome: CheckOutcome::Skipped, summary, observations: json!({}) }
    }
}

/// The settings of a check of the manager's own form. They were read by its own keys, so that what cannot be read is this
/// program's mistake.
fn typed<T: DeserializeOwned>(settings: &Map<String, Value>) -> Result<T, Judged> {
    T::deserialize(Value::Object(settings.clone())).map_err(|error| Judged {
        outcome: CheckOutcome::Inconclusive,
        summary: format!("the check's settings cannot be read: {error}"),
        observations: json!({}),
    })
}

/// All kinds of checks.
pub(crate) fn all() -> impl Iterator<Item = &'static Check> {
    image_manager_agent::checks::CHECKS.iter().chain(OF_THE_MANAGER).copied()
}

/// The kind of this name.
pub(crate) fn find(kind: &str) -> Option<&'static Check> {
    all().find(|check| check.kind == kind)
}

/// The kinds of a set.
pub(crate) fn of_set(set: Set) -> impl Iterator<Item = &'static Check> {
    all().filter(move |check| check.set <= set)
}

/// A key that a set gives to a check where the schedule does not, with its value.
pub(crate) fn of_set_for(set: Set, check: &Check) -> Option<(&'static str, &'static str)> {
    let installs = set == Set::Thorough && *check == package_manager::CHECK;
    installs.then_some(("install", package_manager::OF_THOROUGH))
}

/// The keys that every check has.
pub(crate) const EVERY: [(&str, &str, &str, &str); 3] = [
    ("kind", "string", "the check's name", "what is examined, if the check has a name of its own"),
    ("required", "true or false", "true", "whether the verdict depends on it"),
    ("timeout", "duration", "as given below", "how long it may take, from 1s to 1h; then the agent ends it"),
];

/// The names of a check's keys, those of every check among them.
pub(crate) fn key_names(check: &'static Check) -> Vec<&'static str> {
    names(check.keys).chain(EVERY.iter().map(|(name, ..)| *name)).collect()
}

/// The names of some keys.
pub(crate) fn names(keys: &'static [Key]) -> impl Iterator<Item = &'static str> {
    keys.iter().map(|key| key.name)
}

#[cfg(test)]
mod tests;
