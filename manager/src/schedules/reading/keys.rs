//! The keys that each table may have.

const SCHEDULE: &[&str] = &[
    "cron",
    "timezone",
    "jitter",
    "cloud",
    "image",
    "server",
    "targets",
    "checks",
    "publish",
    "timeouts",
    "retry",
    "retry_backoff",
    "pause_after",
    "skip",
    "reverify",
    "on_failure",
    "control",
    "fail_fast",
];
const IMAGE: &[&str] = &[
    "elements",
    "elements_path",
    "repositories",
    "files",
    "secrets",
    "environment",
    "packages",
    "users",
    "default_user",
    "ssh_authorized_keys",
    "ssh_password_authentication",
    "arch",
    "format",
    "compression",
    "properties",
];
const USER: &[&str] = &["name", "ssh_authorized_keys", "sudo", "groups", "shell"];
const REPOSITORY: &[&str] = &["name", "kind", "url", "suites", "components", "key_file", "keep", "auth"];
const FILE_OF_IMAGE: &[&str] = &["source", "path", "mode", "owner"];
const SERVER: &[&str] = &[
    "memory",
    "disk",
    "cpus",
    "firmware",
    "flavor",
    "network",
    "security_groups",
    "availability_zone",
    "ssh_key",
    "boot_from_volume",
    "config_drive",
    "user_data",
];
const TARGET: &[&str] = &["name", "cloud", "server", "checks", "required", "publish"];
const PUBLISH: &[&str] = &["name", "keep", "keep_for", "when", "visibility"];
const SKIP: &[&str] = &["unchanged", "max_age"];
const TIMEOUTS: &[&str] = &["build", "upload", "boot", "verify", "total"];

/// The keys of the file itself.
pub(super) const FILE: &[&str] = &["defaults", "schedule"];

/// The list of tables of targets; each has tables of the schedule again.
pub(super) const TARGETS: &str = "targets";

/// Tables by their name within a schedule, with their keys.
const TABLES: [(&str, &[&str]); 10] = [
    ("", SCHEDULE),
    ("image", IMAGE),
    ("image.users", USER),
    ("image.repositories", REPOSITORY),
    ("image.files", FILE_OF_IMAGE),
    ("server", SERVER),
    (TARGETS, TARGET),
    ("publish", PUBLISH),
    ("timeouts", TIMEOUTS),
    ("skip", SKIP),
];

/// The keys of the table `name`.
pub(super) fn known_keys(name: &str) -> &'static [&'static str] {
    TABLES.iter().find(|(table, _)| *table == name).map_or(&[], |(_, keys)| keys)
}

/// The one table that knows `key`, for a key that stands in the wrong one.
pub(super) fn home_of(key: &str) -> Option<&'static str> {
    let mut homes = TABLES
        .iter()
        .filter(|(table, keys)| *table != TARGETS && keys.contains(&key))
        .map(|(table, _)| *table);
    match (homes.next(), homes.next()) {
        (Some(""), None) => Some("[schedule.NAME]"),
        (Some(home), None) => Some(home),
        _ => None,
    }
}

/// All keys with the tables before them, for the test that compares them with the documentation.
#[cfg(test)]
pub(in crate::schedules) fn all_keys() -> Vec<String> {
    let full =
        |table: &str, key: &str| if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") };
    TABLES.iter().flat_map(|(table, keys)| keys.iter().map(move |key| full(table, key))).collect()
}
