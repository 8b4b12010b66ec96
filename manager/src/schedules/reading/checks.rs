//! `checks`: what the image must prove.

use std::time::Duration;

use image_manager_agent::checks::LONGEST_TIMEOUT;

use super::Reader;
use super::keys::known_keys;
use super::rules::{DATASOURCE, HOST_NAME, TARGET};
use crate::schedules::layers::{Entry, Table};
use crate::schedules::{CheckKind, CheckSpec};

const DEFAULT_TIMEOUT: Duration = Duration::from_mins(2);
/// cloud-init waits for the network, and `packages` reads the whole disk.
const LONG_TIMEOUT: Duration = Duration::from_mins(10);
/// Costs much and is seldom needed: the manager looks at the same before the upload.
const ONLY_WHEN_NAMED: [&str; 1] = ["packages"];
/// So many packaged files elements change at most, as experience has it.
const USUALLY_CHANGED: u32 = 25;
const LARGEST_SIZE: u64 = 1 << 50;
const MOST_INODES: u64 = 1 << 40;

/// A check that is asked for.
pub(super) struct Asked {
    pub(super) spec: CheckSpec,
    /// Its timeout is written down, here or in `[defaults]`.
    pub(super) timed: bool,
}

impl Asked {
    /// The check in a stage of that length. A timeout that nobody has written adapts to it.
    pub(super) fn within(self, verify: Duration) -> CheckSpec {
        let timeout = if self.timed { self.spec.timeout } else { self.spec.timeout.min(verify) };
        CheckSpec { timeout, ..self.spec }
    }
}

impl<'a> Reader<'a> {
    /// `checks` of a schedule or a target, by these rules: nothing given asks for all of the usual ones; an empty table
    /// asks for none, whatever is said below it; else those that are named, here or below; `false` takes one away.
    pub(super) fn checks(&mut self, schedule: &Table<'a>) -> Vec<Asked> {
        let empty = Table::new(None, None, schedule.span.clone());
        let all = known_keys("checks");
        let usual = || all.iter().filter(|name| !ONLY_WHEN_NAMED.contains(name));
        let Some(checks) = self.table(schedule, "checks") else {
            return usual().filter_map(|name| self.check(name, &empty)).collect();
        };
        let (checks, cleared) = checks.down_to_an_empty_one();
        let entries: Vec<Entry<'a>> =
            checks.entries().into_iter().filter(|entry| all.contains(&entry.key)).collect();
        let (off, on): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.value.get_ref().as_bool() == Some(false));
        if on.is_empty() && !off.is_empty() && !cleared {
            let left = usual().filter(|name| !off.iter().any(|entry| entry.key == **name));
            return left.filter_map(|name| self.check(name, &empty)).collect();
        }
        on.iter()
            .filter_map(|entry| {
                let Some(table) = entry.table() else {
                    let help = format!("write `{0} = {{}}`, or `{0} = false` for none", entry.key);
                    self.refuse_type(&entry.name, entry.value, "a table", Some(help));
                    return None;
                };
                self.refuse_unknown_keys(&table, known_keys(&table.name));
                self.check(entry.key, &table)
            })
            .collect()
    }

    fn check(&mut self, name: &str, table: &Table<'a>) -> Option<Asked> {
        let kind = match name {
            "disk" => CheckKind::Disk {
                min_free: self.size(table, "min_free", 0..=LARGEST_SIZE).unwrap_or(0),
                min_free_inodes: self.number(table, "min_free_inodes", 0..=MOST_INODES).unwrap_or(0),
            },
            "dns" => CheckKind::Dns {
                names: self.ruled_strings(table, "names", &HOST_NAME).unwrap_or_default(),
                fixed_servers: self.flag(table, "fixed_servers").unwrap_or(false),
            },
            "internet" => CheckKind::Internet {
                targets: self.ruled_strings(table, "targets", &TARGET).unwrap_or_default(),
            },
            "cloud_init" => CheckKind::CloudInit {
                fail_on_recoverable_errors: self.flag(table, "fail_on_recoverable_errors").unwrap_or(false),
                datasource: self.ruled_string(table, "datasource", &DATASOURCE),
            },
            "packages" => CheckKind::Packages {
                max_changed: self
                    .number(table, "max_changed", 0..=u64::from(u32::MAX))
                    .and_then(|number| u32::try_from(number).ok())
                    .unwrap_or(USUALLY_CHANGED),
            },
            _ => return None,
        };
        let default_timeout = match kind {
            CheckKind::CloudInit { .. } | CheckKind::Packages { .. } => LONG_TIMEOUT,
            _ => DEFAULT_TIMEOUT,
        };
        let allowed = Duration::from_secs(1)..=LONGEST_TIMEOUT;
        let timeout = self.duration(table, "timeout", allowed);
        let spec = CheckSpec {
            name: name.to_owned(),
            required: self.flag(table, "required").unwrap_or(true),
            timeout: timeout.unwrap_or(default_timeout),
            kind,
        };
        Some(Asked { spec, timed: timeout.is_some() })
    }
}
