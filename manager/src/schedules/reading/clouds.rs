//! Keys that only the other kind of cloud knows: they would be read and have no effect.

use super::Reader;
use super::keys::TARGETS;
use crate::cloud::{CloudKind, Foreign, Required};
use crate::schedules::Schedule;
use crate::schedules::diagnostics::quoted;
use crate::schedules::layers::Table;

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
            let kind = target.kind();
            for Required { table: inner, key, help } in
                kind.required.iter().filter(|it| !stands_in(table, it))
            {
                let who = if listed {
                    format!("target {}", quoted(&target.name))
                } else {
                    format!("`{}`", schedule.name)
                };
                let title = format!("`{inner}.{key}` is missing: {who} is on {}", kind.word);
                self.findings.add_absence(table.span.clone(), title, (*help).to_owned());
            }
        }
        if let Some(first) = schedule.targets.first()
            && schedule.targets.iter().all(|target| target.kind() == first.kind())
        {
            self.refuse_foreign(table, &first.cloud);
        }
        self.refuse_two_firmwares(schedule, tables);
    }

    /// Notes what the uppermost table itself has written that this cloud does not know.
    fn refuse_foreign(&mut self, table: &Table<'a>, cloud: &str) {
        for Foreign { table: name, keys, help } in CloudKind::of(cloud).foreign {
            let Some(inner) = table.get(name).and_then(|entry| entry.table()) else { continue };
            let Some(own) = inner.own() else { continue };
            for key in keys.iter().filter(|key| own.contains_key::<str>(key)) {
                let Some(entry) = inner.get(key) else { continue };
                let title = format!("`{}` has no effect on the cloud `{cloud}`", entry.name);
                let help = Some((*help).to_owned());
                self.findings.add(entry.key_span, title, "for another kind of cloud", help);
            }
        }
    }

    /// Where the image itself says what starts it, all targets of a cloud share it.
    fn refuse_two_firmwares(&mut self, schedule: &Schedule, tables: &[Table<'a>]) {
        for (place, (target, table)) in schedule.targets.iter().zip(tables).enumerate() {
            if !target.kind().firmware_in_image {
                continue;
            }
            let Some(other) =
                schedule.targets.iter().take(place).find(|other| {
                    other.cloud == target.cloud && other.server.firmware != target.server.firmware
                })
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
            let help = "all targets on a cloud boot the same image there, whose properties name the firmware: write \
                        the same `firmware` for all of them, or a second schedule"
                .to_owned();
            self.findings.add(span, title, "different firmware", Some(help));
        }
    }
}

/// Whether a key stands there, even with a wrong value, which was told already.
fn stands_in(table: &Table<'_>, required: &Required) -> bool {
    let inner = table.get(required.table);
    inner.is_some_and(|entry| entry.table().is_none_or(|inner| inner.get(required.key).is_some()))
}
