//! A line of a log as pages show it: its number, its time apart, and nothing in it that is not seen.

use std::time::Duration;

use chrono::{NaiveDateTime, TimeZone as _};
use chrono_tz::Tz;
use serde::Serialize;
use serde_json::Value as Json;

use super::log_file::Log;
use crate::untrusted::Untrusted;
use crate::untrusted::log_file::plain_line;

/// Longest line that is shown, in bytes.
pub(super) const LINE: usize = 4096;

/// A line as it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    /// In the log, from 1.
    #[serde(rename = "n")]
    pub(super) number: usize,
    /// Time of day in the page's zone, when the log has it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) at: String,
    pub(super) text: String,
    /// Speaks of an error.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) bad: bool,
}

/// A line as it is shown: everything in it is seen, its time apart. The page's script shows such lines, too.
pub(super) fn shown(log: Log, number: usize, bytes: &[u8], zone: Tz) -> Line {
    let text = plain_line(&String::from_utf8_lossy(bytes));
    let mut line = match log {
        Log::Build => of_build(text, zone),
        Log::Console => Line { bad: is_bad(&text), text, ..Line::default() },
        Log::Agent => of_agent(text, zone),
    };
    line.number = number;
    if let Some(end) = (0..=LINE).rev().find(|end| line.text.is_char_boundary(*end))
        && line.text.len() > LINE
    {
        line.text.truncate(end);
    }
    // What the agent said may hold line breaks, once it is read as JSON.
    line.text = match log {
        Log::Agent => Untrusted::from(&line.text).in_one_line().into_owned(),
        Log::Build | Log::Console => Untrusted::from(&line.text).in_lines().into_owned(),
    };
    line
}

/// disk-image-builder's lines are `2026-11-25 03:00:07.123 | text`.
fn of_build(text: String, zone: Tz) -> Line {
    let parts = text.split_once(" | ").and_then(|(at, rest)| Some((time_of_day(at, zone)?, rest)));
    match parts {
        Some((at, rest)) => Line { at, bad: is_bad(rest), text: rest.to_owned(), ..Line::default() },
        None => Line { bad: is_bad(&text), text, ..Line::default() },
    }
}

/// When a line of disk-image-builder's was said, since 1970, and what it says.
pub(super) fn stamped(text: &str) -> Option<(Duration, &str)> {
    let (stamp, said) = text.split_once(" | ")?;
    let time = NaiveDateTime::parse_from_str(stamp, "%Y-%m-%d %H:%M:%S%.f").ok()?;
    let milliseconds = u64::try_from(time.and_utc().timestamp_millis()).ok()?;
    Some((Duration::from_millis(milliseconds), said))
}

/// The `03:00:07` of a stamp in UTC, as the zone has it.
fn time_of_day(stamp: &str, zone: Tz) -> Option<String> {
    let (date, time) = (stamp.get(..10)?, stamp.get(11..19)?);
    let time = NaiveDateTime::parse_from_str(&format!("{date} {time}"), "%Y-%m-%d %H:%M:%S").ok()?;
    (stamp.len() <= 40).then(|| zone.from_utc_datetime(&time).format("%H:%M:%S").to_string())
}

/// The agent's lines are JSON objects: the event first, then what it carries.
fn of_agent(text: String, zone: Tz) -> Line {
    let Ok(Json::Object(mut object)) = serde_json::from_str(&text) else {
        return Line { text, ..Line::default() };
    };
    let mut take = |key: &str| object.remove(key).and_then(|value| value.as_str().map(str::to_owned));
    let at = take("time").and_then(|time| time_of_day(&time, zone)).unwrap_or_default();
    let mut out = take("event").unwrap_or_default();
    let outcome = object.get("outcome").and_then(Json::as_str);
    let bad = outcome == Some("fail") || object.get("complete") == Some(&Json::Bool(false));
    for (key, value) in object {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        out.extend(["  ", &key, ": ", &value]);
    }
    Line { at, bad, text: out, ..Line::default() }
}

/// Whether a line speaks of an error; for its colour, and for what is opened first.
pub(super) fn is_bad(text: &str) -> bool {
    const SIGNS: [&str; 9] = [
        "error:",
        "error ",
        "E: ",
        "fatal",
        "FAILED",
        "panic",
        "Traceback",
        "No space left",
        "Segmentation fault",
    ];
    // What is installed or copied may have such names.
    const HARMLESS: [&str; 4] = ["libgpg-error", "Copying hooks", "panic=", "0 error"];
    SIGNS.iter().any(|sign| text.contains(sign)) && !HARMLESS.iter().any(|name| text.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_lines_read_like_sentences() {
        let line = of_agent(
            r#"{"event":"check_result","name":"dns","outcome":"fail","time":"2026-11-25T03:00:07.1+00:00"}"#
                .to_owned(),
            Tz::Asia__Tokyo,
        );
        assert_eq!(line.at, "12:00:07", "in the page's zone");
        assert_eq!(line.text, "check_result  name: dns  outcome: fail");
        assert!(line.bad);
    }

    #[test]
    fn a_line_of_a_build_has_its_time() {
        let (time, said) = stamped("1970-01-02 00:00:00.250 | a | b").unwrap();
        assert_eq!((time, said), (Duration::from_millis(86_400_250), "a | b"));
        for other in ["a | b", "1970-01-02 00:00:00.250", "1969-01-02 00:00:00.250 | a"] {
            assert_eq!(stamped(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_an_error_is_marked() {
        for bad in ["E: Unable to locate package x", "Kernel panic - not syncing", "cp: error: no room"] {
            assert!(is_bad(bad), "{bad}");
        }
        for good in ["Get:1 libgpg-error0", "Command line: panic=1 root=/dev/vda", "0 errors"] {
            assert!(!is_bad(good), "{good}");
        }
    }
}
