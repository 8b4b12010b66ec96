//! Reads the values of a table one by one, and notes every mistake instead of stopping at it.

mod additions;
mod checks;
mod clouds;
mod environment;
mod image;
mod keys;
mod machine;
mod rules;
mod schedule;
mod server;
mod targets;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use self::keys::{home_of, known_keys};
use self::rules::Rule;
use super::diagnostics::{Findings, quoted};
use super::layers::{Entry, Table};
use super::quantities::{QuantityError, parse_duration, parse_size, show_duration, show_size};
use super::spans::ImageSpans;
use super::suggestions::nearest;

/// Whether an image can have this public name.
pub(super) fn is_publish_name(text: &str) -> bool {
    (rules::PUBLISH_NAME.holds)(text)
}

#[cfg(test)]
pub(super) use self::keys::all_keys;
pub(super) use self::schedule::read_schedules;

/// Most items of a list, and most keys of a free table.
const LONGEST_LIST: usize = 100;

/// Most bytes of a string.
const LONGEST_STRING: usize = 4096;

/// What only private keys have: the armour of PEM, and the beginning of OpenSSH's format in base64.
const PRIVATE_KEY_MARKS: [&str; 2] = ["PRIVATE KEY", "b3BlbnNzaC1rZXktdj"];

/// Reads typed values and collects what is wrong with them.
pub(super) struct Reader<'a> {
    /// The file.
    text: &'a str,
    /// The directory that relative paths count from.
    base: PathBuf,
    /// The mistakes.
    pub findings: Findings,
    /// Where the parts of each schedule's image stand.
    pub images: BTreeMap<String, ImageSpans>,
}

/// A string of the file.
#[derive(Debug, Clone)]
struct Text<'a> {
    value: &'a str,
    /// The string with its quotation marks.
    span: Range<usize>,
    /// Its key with the tables before it.
    name: String,
}

impl<'a> Reader<'a> {
    /// Reads from the file `text` at `path`.
    pub(super) fn new(text: &'a str, path: &Path) -> Self {
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let base = whole.parent().unwrap_or(Path::new("/")).to_owned();
        Self { text, base, findings: Findings::default(), images: BTreeMap::new() }
    }

    /// The table `key`, with its unknown keys noted.
    fn table(&mut self, parent: &Table<'a>, key: &str) -> Option<Table<'a>> {
        let table = self.free_table(parent, key)?;
        self.refuse_unknown_keys(&table, known_keys(&table.name));
        Some(table)
    }

    /// The table `key`, whose keys anybody may choose.
    fn free_table(&mut self, parent: &Table<'a>, key: &str) -> Option<Table<'a>> {
        let entry = parent.get(key)?;
        let table = entry.table();
        if table.is_none() {
            let help = format!("write `{key} = {{ ... }}`, or a section of its own");
            self.refuse_type(&entry.name, entry.value, "a table", Some(help));
        }
        table
    }

    fn refuse_unknown_keys(&mut self, table: &Table<'a>, known: &[&'static str]) {
        for Entry { key, key_span, .. } in table.entries() {
            if known.contains(&key) {
                continue;
            }
            let place = if table.name.is_empty() { String::new() } else { format!(" in `{}`", table.name) };
            let help = match (nearest(key, known.iter().copied()), home_of(key)) {
                (Some(known), _) => format!("did you mean `{known}`?"),
                (None, Some(home)) => format!("`{key}` belongs in `{home}`"),
                (None, None) => format!("the keys here are {}", known.join(", ")),
            };
            self.findings.add(
                key_span,
                format!("unknown key {}{place}", quoted(key)),
                "unknown key",
                Some(help),
            );
        }
    }

    fn refuse_type(&mut self, name: &str, value: &Spanned<DeValue<'a>>, wanted: &str, help: Option<String>) {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let title = format!("`{name}` must be {wanted}, not {found}");
        self.findings.add(value.span(), title, format!("expected {wanted}"), help);
    }

    /// The string `key`.
    fn string(&mut self, table: &Table<'a>, key: &str) -> Option<Text<'a>> {
        let entry = table.get(key)?;
        let text = self.string_value(&entry.name, entry.value)?;
        self.limit_string(&text).then_some(text)
    }

    fn string_value(&mut self, name: &str, value: &'a Spanned<DeValue<'a>>) -> Option<Text<'a>> {
        let span = value.span();
        let Some(string) = value.get_ref().as_str() else {
            let written = self.text.get(span).unwrap_or_default();
            let single = !value.get_ref().is_array() && !value.get_ref().is_table();
            let help = single.then(|| format!("write \"{written}\""));
            self.refuse_type(name, value, "a string", help);
            return None;
        };
        if PRIVATE_KEY_MARKS.iter().any(|mark| string.contains(mark)) {
            self.findings.hide(span.clone());
            self.findings.add(
                span,
                format!("a private key in `{name}`"),
                "a secret",
                Some(
                    "a secret must not be in this file; give the public key (`ssh-ed25519 AAAA...`), and \
                      treat the private key as known to others"
                        .to_owned(),
                ),
            );
            return None;
        }
        Some(Text { value: string, span, name: name.to_owned() })
    }

    /// Whether the string is short and without control characters.
    fn limit_string(&mut self, text: &Text<'a>) -> bool {
        if text.value.len() > LONGEST_STRING {
            let title = format!("`{}` is longer than {LONGEST_STRING} bytes", text.name);
            self.findings.add(text.span.clone(), title, "too long", None);
            return false;
        }
        if text.value.contains(char::is_control) {
            let title = format!("`{}` has a control character", text.name);
            let help = "line breaks, tabs and other control characters are not allowed here".to_owned();
            self.findings.add(text.span.clone(), title, "a control character", Some(help));
            return false;
        }
        true
    }

    /// The string `key`, which must obey the rule.
    fn ruled_string(&mut self, table: &Table<'a>, key: &str, rule: &Rule) -> Option<String> {
        let text = self.string(table, key)?;
        self.obeys(&text, rule).then(|| text.value.to_owned())
    }

    fn obeys(&mut self, text: &Text<'a>, rule: &Rule) -> bool {
        let obeys = (rule.holds)(text.value);
        if !obeys {
            let title = format!("`{}`: {} is not {}", text.name, quoted(text.value), rule.what);
            self.findings.add(
                text.span.clone(),
                title,
                format!("not {}", rule.what),
                Some(rule.help.to_owned()),
            );
        }
        obeys
    }

    /// The list of strings `key`, each of which must obey the rule, and none may come twice.
    fn ruled_strings(&mut self, table: &Table<'a>, key: &str, rule: &Rule) -> Option<Vec<String>> {
        let entry = table.get(key)?;
        let mut strings: Vec<String> = Vec::new();
        for item in self.items(&entry)? {
            let Some(text) = self.string_value(&format!("{}[]", entry.name), item) else { continue };
            if !self.limit_string(&text) || !self.obeys(&text, rule) {
                continue;
            }
            if strings.iter().any(|earlier| earlier == text.value) {
                let title = format!("{} appears twice in `{}`", quoted(text.value), entry.name);
                self.findings.add(text.span, title, "once is enough", None);
            } else {
                strings.push(text.value.to_owned());
            }
        }
        Some(strings)
    }

    /// The items of a list, if it is one and not too long.
    fn items(&mut self, entry: &Entry<'a>) -> Option<&'a [Spanned<DeValue<'a>>]> {
        let Some(array) = entry.value.get_ref().as_array() else {
            let written = self.text.get(entry.value.span()).unwrap_or_default();
            let single = !entry.value.get_ref().is_table();
            let help = single.then(|| format!("write `{} = [{written}]`", entry.key));
            self.refuse_type(&entry.name, entry.value, "a list", help);
            return None;
        };
        self.limit_length(&entry.name, &entry.key_span, array.len()).then_some(array)
    }

    /// Whether a list or table is not too long.
    fn limit_length(&mut self, name: &str, span: &Range<usize>, length: usize) -> bool {
        let fits = length <= LONGEST_LIST;
        if !fits {
            let title = format!("`{name}` has {length} entries, but at most {LONGEST_LIST} are allowed");
            self.findings.add(span.clone(), title, "too many", None);
        }
        fits
    }

    /// `true` or `false`.
    fn flag(&mut self, table: &Table<'a>, key: &str) -> Option<bool> {
        let entry = table.get(key)?;
        let flag = entry.value.get_ref().as_bool();
        if flag.is_none() {
            let help = "write `true` or `false`, without quotation marks".to_owned();
            self.refuse_type(&entry.name, entry.value, "true or false", Some(help));
        }
        flag
    }

    /// One of a few words.
    fn choice<T: Copy>(&mut self, table: &Table<'a>, key: &str, choices: &[(&'static str, T)]) -> Option<T> {
        let text = self.string(table, key)?;
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text.value) {
            return Some(*choice);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let help = match nearest(text.value, words.iter().copied()) {
            Some(word) => format!("did you mean \"{word}\"?"),
            None => format!("expected one of {}", words.join(", ")),
        };
        let title = format!("`{}`: {} is not one of its values", text.name, quoted(text.value));
        self.findings.add(text.span, title, "unknown value", Some(help));
        None
    }

    /// A whole number.
    fn number<T>(&mut self, table: &Table<'a>, key: &str, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let entry = table.get(key)?;
        let Some(integer) = entry.value.get_ref().as_integer() else {
            let written = entry.value.get_ref().as_str().filter(|text| text.parse::<i64>().is_ok());
            let help = match written {
                Some(written) => format!("write `{key} = {written}`, without quotation marks"),
                None => format!("expected a number from {} to {}", range.start(), range.end()),
            };
            self.refuse_type(&entry.name, entry.value, "a whole number", Some(help));
            return None;
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .and_then(|number| T::try_from(number).ok())
            .filter(|number| range.contains(number));
        if number.is_none() {
            let title = format!("`{}` must be from {} to {}", entry.name, range.start(), range.end());
            self.findings.add(entry.value.span(), title, "out of range", None);
        }
        number
    }

    /// A duration, such as `1h 30m`.
    fn duration(
        &mut self,
        table: &Table<'a>,
        key: &str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let bare = |number: &str| format!("write \"{number}s\" for seconds or \"{number}m\" for minutes");
        self.quantity(table, key, ("duration", bare), parse_duration, show_duration, range)
    }

    /// A number of bytes, such as `500 MiB`.
    fn size(&mut self, table: &Table<'a>, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let bare = |number: &str| format!("write \"{number} MiB\" or \"{number} GiB\"");
        self.quantity(table, key, ("size", bare), parse_size, show_size, range)
    }

    fn quantity<T: PartialOrd + Copy>(
        &mut self,
        table: &Table<'a>,
        key: &str,
        (noun, help_for_bare): (&str, impl Fn(&str) -> String),
        parse: impl Fn(&str) -> Result<T, QuantityError>,
        show: impl Fn(T) -> String,
        range: RangeInclusive<T>,
    ) -> Option<T> {
        let entry = table.get(key)?;
        if entry.value.get_ref().is_integer() || entry.value.get_ref().is_float() {
            let written = self.text.get(entry.value.span()).unwrap_or_default();
            let help = help_for_bare(written.trim_start_matches('-'));
            self.refuse_type(&entry.name, entry.value, &format!("a {noun} with its unit"), Some(help));
            return None;
        }
        let text = self.string(table, key)?;
        let value = match parse(text.value) {
            Ok(value) => value,
            Err(error) => {
                let span = self.within(&text, error.span);
                let title = format!("`{}`: {} is not a {noun}", text.name, quoted(text.value));
                self.findings.add(span, title, error.label, Some(error.help));
                return None;
            }
        };
        if !range.contains(&value) {
            let (from, to) = (show(*range.start()), show(*range.end()));
            let label = if value < *range.start() { "too little" } else { "too much" };
            self.findings.add(text.span, format!("`{}` must be from {from} to {to}", text.name), label, None);
            return None;
        }
        Some(value)
    }

    /// Where a part of a string stands in the file; the whole string when escapes move the letters about.
    fn within(&self, text: &Text<'a>, part: Range<usize>) -> Range<usize> {
        let start = text.span.start + 1;
        let end = start + text.value.len();
        if end + 1 == text.span.end && self.text.get(start..end) == Some(text.value) {
            start + part.start..start + part.end
        } else {
            text.span.clone()
        }
    }
}
