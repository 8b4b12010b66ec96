//! Keys that only the other kind of cloud knows: they would be read and have no effect.

use super::Reader;
use super::keys::TARGETS;
use crate::schedules::diagnostics::quoted;
use crate::schedules::layers::Table;
use crate::schedules::{LOCAL, Schedule};

/// A table, its keys that only one kind of cloud knows, and what is right on the other.
struct Foreign {
    table: &'static str,
    keys: &'static [&'static str],
    help: &'static str,
}

/// What has no effect on `local`.
const OF_OPENSTACK: [Foreign; 3] = [
    Foreign {
        table: "server",
        keys: &[
            "flavor",
            "network",
            "security_groups",
            "availability_zone",
            "config_drive",
            "boot_from_volume",
        ],
        help: "on `local` the server is described by `memory`, `disk` and `cpus`; on another cloud name that one with \
               `cloud`",
    },
    Foreign {
        table: "server",
        keys: &["ssh_key"],
        help: "`local` has no key pairs: `ssh_authorized_keys` in `image` puts a public key into the image, and `user_data` \
               in `server` gives one to this server alone",
    },
    Foreign {
        table: "publish",
        keys: &["visibility"],
        help: "an image of `local` is a file: who may read it is the directory's business",
    },
];

/// What has no effect on OpenStack.
const OF_LOCAL: [Foreign; 1] = [Foreign {
    table: "server",
    keys: &["memory", "disk", "cpus"],
    help: "on OpenStack the flavor says how large the server is: `flavor = \"m1.small\"`",
}];

impl<'a> Reader<'a> {
    /// Notes what a schedule and its targets themselves have written for a cloud of the other kind. What `[defaults]`
    /// gives may be for other schedules, and what a schedule gives for others of its targets. `tables` are the targets'.
    pub(super) fn refuse_keys_of_the_other_cloud(
        &mut self,
        table: &Table<'a>,
        schedule: &Schedule,
        tables: &[Table<'a>],
    ) {
        let listed = table.get(TARGETS).is_some();
        for (target, table) in schedule.targets.iter().zip(tables) {
            self.refuse_foreign(table, &target.cloud);
            if target.cloud != LOCAL && target.server.flavor.is_none() && !names_flavor(table) {
                let who = if listed {
                    format!("target {}", quoted(&target.name))
                } else {
                    format!("`{}`", schedule.name)
                };
                let title = format!("`server.flavor` is missing: {who} is on OpenStack");
                let help = "name a flavor of the cloud: `server = { flavor = \"m1.small\" }`".to_owned();
                self.findings.add_absence(table.span.clone(), title, help);
            }
        }
        if let Some(first) = schedule.targets.first()
            && schedule.targets.iter().all(|target| (target.cloud == LOCAL) == (first.cloud == LOCAL))
        {
            self.refuse_foreign(table, &first.cloud);
        }
        self.refuse_two_firmwares(schedule, tables);
    }

    /// Notes what the uppermost table itself has written that this cloud does not know.
    fn refuse_foreign(&mut self, table: &Table<'a>, cloud: &str) {
        let foreign: &[Foreign] = if cloud == LOCAL { &OF_OPENSTACK } else { &OF_LOCAL };
        for Foreign { table: name, keys, help } in foreign {
            let Some(inner) = table.get(name).and_then(|entry| entry.table()) else { continue };
            let Some(own) = inner.own() else { continue };
            for key in keys.iter().filter(|key| own.contains_key::<str>(key)) {
                let Some(entry) = inner.get(key) else { continue };
                let title = format!("`{}` has no effect on the cloud `{cloud}`", entry.name);
                let help = Some((*help).to_owned());
                self.findings.add(entry.key_span, title, "of another kind of cloud", help);
            }
        }
    }

    /// On OpenStack the image itself says what starts it, and all targets of a cloud share it.
    fn refuse_two_firmwares(&mut self, schedule: &Schedule, tables: &[Table<'a>]) {
        for (place, (target, table)) in schedule.targets.iter().zip(tables).enumerate() {
            let mut before = schedule.targets.iter().take(place).filter(|_| target.cloud != LOCAL);
            let Some(other) = before
                .find(|other| other.cloud == target.cloud && other.server.firmware != target.server.firmware)
            else {
                continue;
            };
            let server = table.get("server").and_then(|entry| entry.table());
            let written = server.and_then(|server| server.get("firmware"));
            let span = written.map_or_else(|| table.span.clone(), |entry| entry.value.span());
            let title = format!(
                "targets {} and {} are both on {} and have different firmware",
                quoted(&other.name),
                quoted(&target.name),
                quoted(&target.cloud)
            );
            let help = "all targets of a cloud boot the same image there, whose properties name the firmware: write one \
                        `firmware` for them, or a second schedule"
                .to_owned();
            self.findings.add(span, title, "another firmware", Some(help));
        }
    }
}

/// Whether a flavor stands there, even a wrong one, which was told already.
fn names_flavor(table: &Table<'_>) -> bool {
    let server = table.get("server");
    server.is_some_and(|entry| entry.table().is_none_or(|server| server.get("flavor").is_some()))
}
