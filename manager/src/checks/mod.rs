//! The checks that a schedule can ask for: those that the agent runs, and those that the manager looks after itself.

mod document;
mod sending;

use image_manager_agent::checks::descriptor::{Check, Key, Set};

pub(crate) use document::key_rows;
#[cfg(test)]
pub(crate) use document::document;
pub(crate) use sending::{content, request};

/// Those of the manager, in the order in which people see them, after the agent's.
static OF_THE_MANAGER: &[&Check] = &[];

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

/// The keys that every check has.
pub(crate) const EVERY: [(&str, &str, &str, &str); 3] = [
    ("kind", "string", "the check's name", "what is examined, where the check has a name of its own"),
    ("required", "true or false", "true", "whether the verdict depends on it"),
    ("timeout", "duration", "as said below", "how long it may take, from 1s to 1h; then the agent ends it"),
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
