//! Keys that only the other kind of cloud knows: they would be read and have no effect.

use super::Reader;
use crate::schedules::layers::Table;
use crate::schedules::{LOCAL, Schedule};

/// A table, its keys that only one kind of cloud knows, and what is right on the other.
struct Foreign {
    table: &'static str,
    keys: &'static [&'static str],
    help: &'static str,
}

/// What has no effect on `local`.
const OF_OPENSTACK: [Foreign; 2] = [
    Foreign {
        table: "server",
        keys: &[
            "flavor",
            "network",
            "security_groups",
            "availability_zone",
            "ssh_key",
            "config_drive",
            "boot_from_volume",
        ],
        help: "on `local` the server is described by `memory`, `disk` and `cpus`; on another cloud name that one with \
               `cloud`",
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
    /// Notes what the schedule itself has written for a cloud of the other kind. What `[defaults]` gives may be for
    /// other schedules.
    pub(super) fn refuse_keys_of_the_other_cloud(&mut self, table: &Table<'a>, schedule: &Schedule) {
        let local = schedule.cloud == LOCAL;
        let foreign: &[Foreign] = if local { &OF_OPENSTACK } else { &OF_LOCAL };
        for Foreign { table: name, keys, help } in foreign {
            let Some(inner) = table.get(name).and_then(|entry| entry.table()) else { continue };
            let Some(own) = inner.own() else { continue };
            for key in keys.iter().filter(|key| own.contains_key::<str>(key)) {
                let Some(entry) = inner.get(key) else { continue };
                let title = format!("`{}` has no effect on the cloud `{}`", entry.name, schedule.cloud);
                self.findings.add(
                    entry.key_span,
                    title,
                    "of another kind of cloud",
                    Some((*help).to_owned()),
                );
            }
        }
        if !local && schedule.server.flavor.is_none() && !names_flavor(table) {
            let title = format!("`server.flavor` is missing: `{}` is on OpenStack", schedule.name);
            let help = "name a flavor of the cloud: `server = { flavor = \"m1.small\" }`".to_owned();
            self.findings.add_absence(table.span.clone(), title, help);
        }
    }
}

/// Whether a flavor stands there, even a wrong one, which was told already.
fn names_flavor(schedule: &Table<'_>) -> bool {
    let server = schedule.get("server");
    server.is_some_and(|entry| entry.table().is_none_or(|server| server.get("flavor").is_some()))
}
