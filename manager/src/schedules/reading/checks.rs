//! `checks`: what the image must prove.

use std::time::Duration;

use image_manager_agent::MOST_CHECKS;
use image_manager_agent::checks::LONGEST_TIMEOUT;
use image_manager_agent::checks::descriptor::{Check, Key, Set, ValueType};
use serde_json::{Map, Value};

use super::Reader;
use super::rules::{CHECK_NAME, HOST_PATH};
use crate::checks;
use crate::schedules::CheckSpec;
use crate::schedules::diagnostics::quoted;
use crate::schedules::layers::{Entry, Table};
use crate::schedules::suggestions::nearest;

/// The key that names a set.
const SET: &str = "set";
/// The key that says of which kind a check with a name of its own is.
const KIND: &str = "kind";

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
    /// `checks` of a schedule or a target, by these rules: a set's checks, where one is named, and those that are named,
    /// here or below; `false` takes one away. Nothing given, or only what is taken away: the usual set. An empty table
    /// asks for none, whatever is said below it.
    pub(super) fn checks(&mut self, schedule: &Table<'a>) -> Vec<Asked> {
        let empty = Table::new(None, None, schedule.span.clone());
        let Some(table) = self.free_table(schedule, "checks") else {
            return self.of_set(Set::Cloud, &[], &empty);
        };
        let (table, cleared) = table.down_to_an_empty_one();
        let words: Vec<(&'static str, Set)> = Set::WORDS.to_vec();
        let set = self.choice(&table, SET, &words);
        let entries = table.entries().into_iter().filter(|entry| entry.key != SET);
        let (off, on): (Vec<_>, Vec<_>) =
            entries.partition(|entry| entry.value.get_ref().as_bool() == Some(false));
        let on: Vec<(Entry<'a>, &'static Check)> =
            on.into_iter().filter_map(|entry| Some((entry.clone(), self.kind(&entry)?))).collect();
        let known = |entry: &Entry<'a>| {
            checks::find(entry.key).is_some()
                || entry.key.contains('-')
                || on.iter().any(|(on, _)| on.key == entry.key)
        };
        for entry in off.iter().filter(|entry| !known(entry)) {
            self.refuse_unknown_check(entry);
        }
        let usual = (on.is_empty() && !off.is_empty() && !cleared).then_some(Set::Cloud);
        let left_out: Vec<&str> =
            off.iter().chain(on.iter().map(|(entry, _)| entry)).map(|entry| entry.key).collect();
        let mut asked = match set.or(usual) {
            Some(set) => self.of_set(set, &left_out, &empty),
            None => Vec::new(),
        };
        for (entry, check) in &on {
            let Some(fields) = entry.table() else {
                let help = format!("write `{0} = {{}}`, or `{0} = false` to leave it out", entry.key);
                self.refuse_type(&entry.name, entry.value, "a table", Some(help));
                continue;
            };
            let known = checks::key_names(check);
            self.refuse_unknown_keys(&fields, &known);
            asked.push(self.check(entry.key, check, &fields));
        }
        for one in &mut asked {
            let further = set.and_then(|set| checks::of_set_for(set, one.spec.check));
            if let Some((key, value)) = further {
                one.spec.settings.entry(key).or_insert_with(|| Value::from(value));
            }
        }
        if asked.len() > MOST_CHECKS {
            let title =
                format!("{} checks are asked for, but an agent runs at most {MOST_CHECKS}", asked.len());
            self.findings.add(table.span, title, "too many", None);
        }
        asked
    }

    /// The checks of a set, but for those that are spoken of by themselves.
    fn of_set(&mut self, set: Set, but: &[&str], empty: &Table<'a>) -> Vec<Asked> {
        let kinds: Vec<_> = checks::of_set(set).filter(|check| !but.contains(&check.kind)).collect();
        kinds.into_iter().map(|check| self.check(check.kind, check, empty)).collect()
    }

    /// Of which kind the check under a key of `checks` is.
    fn kind(&mut self, entry: &Entry<'a>) -> Option<&'static Check> {
        let own = checks::find(entry.key);
        let said = entry.table().and_then(|table| table.get(KIND));
        let Some(said) = said else {
            if own.is_none() {
                self.refuse_unknown_check(entry);
            }
            return own;
        };
        let text = self.string_value(&said.name, said.value)?;
        let Some(kind) = checks::find(text.value) else {
            let kinds = checks::all().map(|check| check.kind);
            let help = match nearest(text.value, kinds) {
                Some(kind) => format!("did you mean \"{kind}\"?"),
                None => "`image-manager checks` lists all kinds".to_owned(),
            };
            let title = format!("`{}`: {} is not a kind of check", said.name, quoted(text.value));
            self.findings.add(said.value.span(), title, "unknown kind", Some(help));
            return None;
        };
        if let Some(own) = own.filter(|own| own.kind != kind.kind) {
            let title = format!("`{}` is a check of the kind \"{}\"", entry.name, own.kind);
            let help = format!("give the check of the kind \"{}\" another name", kind.kind);
            self.findings.add(said.value.span(), title, "another kind", Some(help));
            return None;
        }
        if !(CHECK_NAME.holds)(entry.key) {
            let title = format!("`{}`: {} is not {}", entry.name, quoted(entry.key), CHECK_NAME.what);
            self.findings.add(entry.key_span.clone(), title, "not a name", Some(CHECK_NAME.help.to_owned()));
            return None;
        }
        Some(kind)
    }

    fn refuse_unknown_check(&mut self, entry: &Entry<'a>) {
        let kinds = checks::all().map(|check| check.kind).chain([SET]);
        let help = match nearest(entry.key, kinds) {
            Some(kind) => format!("did you mean `{kind}`?"),
            None => format!(
                "`image-manager checks` lists all kinds; a check with a name of its own needs its kind: \
                 `{} = {{ kind = \"dns\" }}`",
                entry.key
            ),
        };
        let title = format!("unknown key {} in `checks`", quoted(entry.key));
        self.findings.add(entry.key_span.clone(), title, "unknown key", Some(help));
    }

    fn check(&mut self, name: &str, check: &'static Check, table: &Table<'a>) -> Asked {
        let timeout = self.duration(table, "timeout", Duration::from_secs(1)..=LONGEST_TIMEOUT);
        let spec = CheckSpec {
            name: name.to_owned(),
            required: self.flag(table, "required").unwrap_or(true),
            timeout: timeout.unwrap_or(check.timeout),
            settings: self.settings(table, check.keys),
            check,
        };
        Asked { spec, timed: timeout.is_some() }
    }

    /// What is written under these keys, as it travels.
    fn settings(&mut self, table: &Table<'a>, keys: &'static [Key]) -> Map<String, Value> {
        let mut settings = Map::new();
        for key in keys {
            if let Some(value) = self.setting(table, key) {
                settings.insert(key.name.to_owned(), value);
            }
        }
        settings
    }

    fn setting(&mut self, table: &Table<'a>, key: &'static Key) -> Option<Value> {
        match &key.value {
            ValueType::Size { largest } => self.size(table, key.name, 0..=*largest).map(Value::from),
            ValueType::Number { smallest, largest } => {
                self.number(table, key.name, *smallest..=*largest).map(Value::from)
            }
            ValueType::Duration { shortest, longest } => self
                .duration(table, key.name, *shortest..=*longest)
                .map(|duration| Value::from(duration.as_secs_f64())),
            ValueType::Flag => self.flag(table, key.name).map(Value::from),
            ValueType::Choice(words) => {
                let choices: Vec<(&'static str, &'static str)> =
                    words.iter().map(|word| (*word, *word)).collect();
                self.choice(table, key.name, &choices).map(Value::from)
            }
            ValueType::Text(rule) => self.ruled_string(table, key.name, rule).map(Value::from),
            ValueType::Texts(rule) => self.ruled_strings(table, key.name, rule).map(Value::from),
            ValueType::File { largest } => self.file_of_check(table, key.name, *largest),
            ValueType::Tables(inner) => self.tables_of_check(table, key.name, inner),
        }
    }

    /// The path of a file beside the schedules file. It must be readable now, so that a mistake is found before a build.
    fn file_of_check(&mut self, table: &Table<'a>, key: &str, largest: u64) -> Option<Value> {
        let path = self.ruled_string(table, key, &HOST_PATH).map(|path| self.beside(&path))?;
        if let Err(why) = checks::content(&path, largest)
            && let Some(entry) = table.get(key)
        {
            let title = format!("`{}`: {why}", entry.name);
            self.findings.add(entry.value.span(), title, "cannot be used", None);
            return None;
        }
        path.to_str().map(Value::from)
    }

    fn tables_of_check(&mut self, table: &Table<'a>, key: &str, keys: &'static [Key]) -> Option<Value> {
        let entry = table.get(key)?;
        let known: Vec<&'static str> = checks::names(keys).collect();
        let mut tables = Vec::new();
        for item in self.items(&entry)? {
            let Some(fields) = item.get_ref().as_table() else {
                let help = format!("write `{key} = [{{ {} = ... }}]`", known.first().unwrap_or(&""));
                self.refuse_type(&format!("{}[]", entry.name), item, "a table", Some(help));
                continue;
            };
            let mut fields = Table::new(Some(fields), None, item.span());
            fields.name.clone_from(&entry.name);
            self.refuse_unknown_keys(&fields, &known);
            for needed in keys.iter().filter(|key| key.default.is_empty() && fields.get(key.name).is_none()) {
                let title = format!("an entry of `{}` has no `{}`", entry.name, needed.name);
                self.findings.add_absence(
                    fields.span.clone(),
                    &title,
                    format!("write `{} = ...`", needed.name),
                );
            }
            tables.push(Value::Object(self.settings(&fields, keys)));
        }
        Some(Value::Array(tables))
    }
}
