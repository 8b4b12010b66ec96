//! A build's log as it lies on the disk: its end, what came since, and where something stands in it.
//!
//! Pages follow the file, not the bus: nothing is lost to a slow reader, and a page that comes back goes on where
//! it was. All that is kept in memory is bounded; a line is cut at [`LINE`] bytes.

use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use chrono::{NaiveDateTime, TimeZone as _};
use chrono_tz::Tz;
use serde::Serialize;
use serde_json::Value as Json;

use crate::lifecycle::files;
use crate::untrusted::Untrusted;
use crate::untrusted::log_file::plain_line;

/// Longest line that is shown, in bytes.
const LINE: usize = 4096;
/// Most of the end that a page begins with, in bytes.
const END: u64 = 48 * 1024;
/// Most that is read at once while following, in bytes.
const CHUNK: u64 = 64 * 1024;
/// Most that a search looks through, in bytes; the newest part of a longer log.
const SEARCHED: u64 = 64 << 20;
/// Most lines that a search finds.
pub(super) const FOUND: usize = 500;

/// Which log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Log {
    /// disk-image-builder's output.
    Build,
    /// The server's serial console.
    Console,
    /// What the agent said.
    Agent,
}

impl Log {
    pub(super) const ALL: [Self; 3] = [Self::Build, Self::Console, Self::Agent];

    /// Its word in addresses.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Console => "console",
            Self::Agent => "agent",
        }
    }

    pub(super) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|log| log.word() == word)
    }

    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Build => files::BUILD_LOG,
            Self::Console => files::CONSOLE_LOG,
            Self::Agent => files::AGENT_LOG,
        }
    }
}

/// A line as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    /// Time of day in the page's zone, when the log has it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) at: String,
    pub(super) text: String,
    /// Speaks of an error.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) bad: bool,
}

/// A part of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) lines: Vec<Line>,
    /// Where the next part begins, in bytes.
    pub(super) end: u64,
    /// Something before it was left out.
    pub(super) cut: bool,
}

/// The end of a log; empty when there is none.
pub(super) fn end_of(log: Log, path: &Path, zone: Tz) -> io::Result<Part> {
    let Some(length) = length(path)? else { return Ok(Part::default()) };
    let from = length.saturating_sub(END);
    let mut part = read(log, path, (from, END), zone)?;
    if from > 0 {
        // It begins in the middle of a line.
        part.lines = part.lines.split_off(part.lines.len().min(1));
        part.cut = true;
    }
    Ok(part)
}

/// What a log has after `from`, at most one chunk. A log that became shorter is begun again.
pub(super) fn after(log: Log, path: &Path, from: u64, zone: Tz) -> io::Result<Part> {
    let Some(length) = length(path)? else { return Ok(Part { end: from, ..Part::default() }) };
    if length == from {
        return Ok(Part { end: from, ..Part::default() });
    }
    read(log, path, (if length < from { 0 } else { from }, CHUNK), zone)
}

fn length(path: &Path) -> io::Result<Option<u64>> {
    match path.metadata() {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The whole lines in `most` bytes after `from`.
fn read(log: Log, path: &Path, (from, most): (u64, u64), zone: Tz) -> io::Result<Part> {
    let mut file = std::fs::File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    let whole = match bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => end + 1,
        // A line as long as the chunk is shown in pieces.
        None if bytes.len() as u64 == most => bytes.len(),
        None => 0,
    };
    bytes.truncate(whole);
    let lines = bytes.split(|byte| *byte == b'\n').map(|line| shown(log, line, zone));
    let lines = lines.filter(|line| !line.text.is_empty() || !line.at.is_empty()).collect();
    Ok(Part { lines, end: from + whole as u64, cut: false })
}

/// What a search found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Lines with their numbers in the log, at most [`FOUND`].
    pub(super) lines: Vec<(usize, Line)>,
    /// There are more.
    pub(super) more: bool,
    /// So many bytes at the log's begin were not searched.
    pub(super) skipped: u64,
}

/// The lines at the end of a log that contain `what`, whatever the case.
pub(super) fn search(log: Log, path: &Path, what: &str, zone: Tz) -> io::Result<Found> {
    let what = what.to_lowercase();
    let Some(length) = length(path)? else { return Ok(Found::default()) };
    let mut reader = BufReader::new(std::fs::File::open(path)?.take(length));
    let mut found = Found { skipped: length.saturating_sub(SEARCHED), ..Found::default() };
    let mut number = newlines(&mut reader, found.skipped)?;
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.by_ref().take(CHUNK).read_until(b'\n', &mut line)? == 0 {
            return Ok(found);
        }
        number += 1;
        let line = shown(log, &line, zone);
        if line.text.to_lowercase().contains(&what) {
            if found.lines.len() == FOUND {
                return Ok(Found { more: true, ..found });
            }
            found.lines.push((number, line));
        }
    }
}

/// Reads over so many bytes and counts the lines that end in them.
fn newlines(reader: &mut impl BufRead, bytes: u64) -> io::Result<usize> {
    let (mut left, mut lines) = (bytes, 0);
    while left > 0 {
        let read = reader.fill_buf()?;
        let here = read.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if here == 0 {
            break;
        }
        lines += read.iter().take(here).map(|byte| usize::from(*byte == b'\n')).sum::<usize>();
        reader.consume(here);
        left -= here as u64;
    }
    Ok(lines)
}

/// A line as it is shown: everything in it is seen, its time apart. The page's script shows such lines, too.
fn shown(log: Log, bytes: &[u8], zone: Tz) -> Line {
    let text = plain_line(&String::from_utf8_lossy(bytes));
    let mut line = match log {
        Log::Build => of_build(text, zone),
        Log::Console => Line { bad: is_bad(&text), at: String::new(), text },
        Log::Agent => of_agent(text, zone),
    };
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
        Some((at, rest)) => Line { at, bad: is_bad(rest), text: rest.to_owned() },
        None => Line { at: String::new(), bad: is_bad(&text), text },
    }
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
        return Line { at: String::new(), bad: false, text };
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
    Line { at, bad, text: out }
}

/// Whether a line speaks of an error; for its colour only.
fn is_bad(text: &str) -> bool {
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
    use std::io::Write as _;

    use super::*;

    fn log(content: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file
    }

    fn texts(part: &Part) -> Vec<&str> {
        part.lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn following_gives_each_whole_line_once() {
        let file = log("2026-11-25 03:00:07.123 | one\ntwo\nthr");
        let first = end_of(Log::Build, file.path(), Tz::UTC).unwrap();
        assert_eq!(texts(&first), ["one", "two"]);
        assert_eq!(first.lines[0].at, "03:00:07");
        std::fs::write(file.path(), "2026-11-25 03:00:07.123 | one\ntwo\nthree\n\nfour\n").unwrap();
        let second = after(Log::Build, file.path(), first.end, Tz::Asia__Tokyo).unwrap();
        assert_eq!(texts(&second), ["three", "four"]);
        assert_eq!(after(Log::Build, file.path(), second.end, Tz::UTC).unwrap().lines, []);
        assert_eq!(after(Log::Build, Path::new("/nowhere"), 7, Tz::UTC).unwrap().end, 7);
    }

    #[test]
    fn only_the_end_of_a_long_log_is_read_and_long_lines_are_cut() {
        let file = log(&format!("{}\nlast\n", format!("{}\n", "x".repeat(999)).repeat(200)));
        let part = end_of(Log::Console, file.path(), Tz::UTC).unwrap();
        assert!(part.cut);
        assert!(part.lines.len() < 60);
        assert_eq!(part.lines.last().unwrap().text, "last");
        let file = log(&format!("{}\n", "y".repeat(300_000)));
        let piece = after(Log::Console, file.path(), 0, Tz::UTC).unwrap();
        assert_eq!(piece.end, CHUNK, "a line without an end is read in pieces");
        assert_eq!(piece.lines[0].text.len(), LINE);
    }

    #[test]
    fn a_search_finds_lines_with_their_numbers_and_is_bounded() {
        let file = log("alpha\nBETA one\ngamma\nbeta two\n");
        let found = search(Log::Console, file.path(), "Beta", Tz::UTC).unwrap();
        let lines: Vec<_> = found.lines.iter().map(|(number, line)| (*number, line.text.as_str())).collect();
        assert_eq!(lines, [(2, "BETA one"), (4, "beta two")]);
        assert_eq!((found.more, found.skipped), (false, 0));
        let found = search(Log::Console, log(&"same\n".repeat(1000)).path(), "same", Tz::UTC).unwrap();
        assert_eq!((found.lines.len(), found.more), (FOUND, true));
    }

    #[test]
    fn of_a_log_that_is_too_long_the_end_is_searched_with_its_own_numbers() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let line = format!("beta {}\n", "-".repeat(1018));
        let lines = usize::try_from(SEARCHED).unwrap() / line.len();
        let mut out = std::io::BufWriter::new(&file);
        for line in std::iter::repeat_n("early\n", 1000).chain(std::iter::repeat_n(line.as_str(), lines - 1))
        {
            out.write_all(line.as_bytes()).unwrap();
        }
        out.write_all(b"needle\n").unwrap();
        drop(out);
        let found = search(Log::Console, file.path(), "needle", Tz::UTC).unwrap();
        assert_eq!(found.lines.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1000 + lines]);
        assert_eq!((found.more, found.skipped), (false, 6000 + 7 - line.len() as u64));
    }

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
    fn what_is_an_error_is_marked() {
        for bad in ["E: Unable to locate package x", "Kernel panic - not syncing", "cp: error: no room"] {
            assert!(is_bad(bad), "{bad}");
        }
        for good in ["Get:1 libgpg-error0", "Command line: panic=1 root=/dev/vda", "0 errors"] {
            assert!(!is_bad(good), "{good}");
        }
    }
}
