//! `targets`: where an image must prove itself. `cloud`, `server` and `checks` of the schedule are the short form of one
//! target, and what counts for each of several that does not say it.

use super::checks::Asked;
use super::rules::{CLOUD, TARGET_NAME};
use super::{Reader, keys};
use crate::cloud::CloudKind;
use crate::schedules::diagnostics::quoted;
use crate::schedules::layers::Table;
use crate::schedules::{Arch, Target};

/// Most targets of a schedule: each is a server at one time.
const MOST_TARGETS: usize = 16;

/// A target with its table, for what is to be looked at when the schedule is whole.
pub(super) struct Placed<'a> {
    pub(super) target: Target,
    /// What is asked for of its agent; goes into the target once the timeouts are known.
    pub(super) checks: Vec<Asked>,
    /// Its keys over those of the schedule over those of `[defaults]`.
    pub(super) table: Table<'a>,
}

impl<'a> Reader<'a> {
    /// The targets of a schedule, in the file's order; none when what is written of them is no list of targets.
    pub(super) fn targets(&mut self, schedule: &Table<'a>, arch: Arch) -> Vec<Placed<'a>> {
        // Read by itself, so that a mistake is found even where every target has a value of its own.
        let short = self.short_form(schedule, arch);
        let Some(entry) = schedule.get(keys::TARGETS) else { return vec![short] };
        let items = self.items(&entry).unwrap_or_default();
        if entry.value.get_ref().is_array() && items.is_empty() {
            let title = format!("`{}` is empty", entry.name);
            let help = "name at least one, or describe one with `cloud` and `server` instead".to_owned();
            self.findings.add(entry.value.span(), title, "no target", Some(help));
        }
        if let Some(first_too_many) = items.get(MOST_TARGETS) {
            let title = format!(
                "`{}` has {} entries, but at most {MOST_TARGETS} are allowed",
                entry.name,
                items.len()
            );
            self.findings.add(first_too_many.span(), title, "one too many", None);
            return Vec::new();
        }
        let mut targets: Vec<Placed<'a>> = Vec::new();
        for item in items {
            let Some(own) = item.get_ref().as_table() else {
                let help = "write a section `[[schedule.NAME.targets]]` for each".to_owned();
                self.refuse_type(&format!("{}[]", entry.name), item, "a table", Some(help));
                continue;
            };
            let mut fields = Table::new(Some(own), None, item.span());
            fields.name.clone_from(&entry.name);
            self.refuse_unknown_keys(&fields, keys::known_keys(&fields.name));
            let Some(target) = self.target(&fields, schedule.under(own, item.span()), arch) else { continue };
            self.refuse_second_of_a_name(&targets, &target, &fields);
            targets.push(target);
        }
        targets
    }

    /// The one target that `cloud`, `server` and `checks` of a schedule describe; it has the name of its cloud.
    fn short_form(&mut self, schedule: &Table<'a>, arch: Arch) -> Placed<'a> {
        let checks = self.checks(schedule);
        let cloud = self.cloud(schedule);
        let target = Target {
            name: cloud.clone(),
            cloud,
            server: self.server(schedule, arch),
            required: true,
            publish: true,
            checks: Vec::new(),
        };
        Placed { target, checks, table: schedule.clone() }
    }

    /// One of `targets`: `fields` are its keys alone, `table` has what counts when it does not say it.
    fn target(&mut self, fields: &Table<'a>, table: Table<'a>, arch: Arch) -> Option<Placed<'a>> {
        if fields.get("name").is_none() {
            let help =
                "write `name = \"small\"`; it is shown, and names the directory of its logs".to_owned();
            self.findings.add_absence(fields.span.clone(), "the target has no `name`", help);
        }
        let name = self.ruled_string(fields, "name", &TARGET_NAME);
        let checks = self.checks(&table);
        let target = Target {
            name: name.clone().unwrap_or_default(),
            cloud: self.cloud(&table),
            server: self.server(&table, arch),
            required: self.flag(fields, "required").unwrap_or(true),
            publish: self.flag(fields, "publish").unwrap_or(true),
            checks: Vec::new(),
        };
        name.map(|_| Placed { target, checks, table })
    }

    fn cloud(&mut self, table: &Table<'a>) -> String {
        self.ruled_string(table, "cloud", &CLOUD).unwrap_or_else(|| CloudKind::DEFAULT.to_owned())
    }

    fn refuse_second_of_a_name(&mut self, earlier: &[Placed<'a>], new: &Placed<'a>, fields: &Table<'a>) {
        let name = &new.target.name;
        if earlier.iter().any(|earlier| earlier.target.name == *name) {
            let span = fields.get("name").map_or_else(|| fields.span.clone(), |entry| entry.value.span());
            let title = format!("target {} appears twice", quoted(name));
            let help = "its logs and its trial are found by its name: give each target its own".to_owned();
            self.findings.add(span, title, "the second one", Some(help));
        }
    }
}
