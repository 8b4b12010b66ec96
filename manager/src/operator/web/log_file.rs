//! A build's log as it lies on the disk: what it is made of, parts of it, and where something stands in it.
//!
//! Lines have the numbers that they have in the whole file. All that is kept in memory is bounded; a line is cut at
//! [`LINE`](super::log_line::LINE) bytes. What came since a page was made is `log_tail`'s.

use std::io;
use std::path::PathBuf;

use chrono_tz::Tz;

use super::log_line::{Line, shown};
use super::log_pieces::{CHUNK, Reader, bytes, length, newlines};
use super::log_sections::Sections;
use crate::lifecycle::files;

/// Most of a log that is shown at once: its end, or what is around a line; in bytes.
const SHOWN: u64 = 48 * 1024;
/// Most of what is around an error that is shown besides the end, in bytes.
const ASIDE: u64 = 16 * 1024;
/// Most that is looked through, in bytes; the newest part of a longer log. Before it only lines are counted.
///
/// Less for tests: without optimization it takes minutes to look through the whole of it.
const SEARCHED: u64 = if cfg!(test) { 2 << 20 } else { 64 << 20 };
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

/// What a log is made of.
#[derive(Debug)]
pub(super) struct Outline {
    pub(super) sections: Sections,
    /// How many lines it has.
    pub(super) lines: usize,
    /// How many of them have an end.
    pub(super) whole: usize,
    /// Where the last of them ends, in bytes.
    pub(super) end: u64,
    /// Where the line begins that was asked for, if there is such a line.
    pub(super) wanted: Option<u64>,
}

/// How far a log is read, and for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    /// In bytes.
    pub(super) until: u64,
    /// Nobody writes it any more: a last line without an end counts.
    pub(super) ended: bool,
    /// The number of the line that is asked for, from 1; none is 0.
    pub(super) wanted: usize,
}

/// Some successive lines of a log.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Those of them that are not empty.
    pub(super) lines: Vec<Line>,
    /// The number of the first one, and of the one after the last.
    pub(super) first: usize,
    pub(super) next: usize,
}

/// What a search found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// At most [`FOUND`].
    pub(super) lines: Vec<Line>,
    /// There are more.
    pub(super) more: bool,
    /// So many bytes at the log's begin were not searched.
    pub(super) skipped: u64,
}

/// A log's file, for a page whose times are in this zone.
#[derive(Debug, Clone)]
pub(super) struct LogFile {
    pub(super) log: Log,
    pub(super) path: PathBuf,
    pub(super) zone: Tz,
}

impl LogFile {
    /// Reads through it; one that is not there has nothing in it.
    pub(super) fn outline(&self, reach: Reach) -> io::Result<Outline> {
        let Some(length) = length(&self.path)? else {
            let sections = Sections::new(self.log, 0);
            return Ok(Outline { sections, lines: 0, whole: 0, end: 0, wanted: None });
        };
        let length = length.min(reach.until);
        let mut reader = Reader::open(&self.path, length)?;
        let wanted = reader.skip(length.saturating_sub(SEARCHED), reach.wanted)?;
        let skipped = reader.ended;
        let sections = Sections::new(self.log, skipped);
        let mut outline = Outline { sections, lines: skipped, whole: skipped, end: reader.offset, wanted };
        while let Some(piece) = reader.read_piece()? {
            if !piece.ends && !reach.ended && (reader.bytes.len() as u64) < CHUNK {
                break;
            }
            if piece.begins {
                outline.sections.line(piece.number, piece.offset, &reader.bytes);
                if piece.number == reach.wanted {
                    outline.wanted = Some(piece.offset);
                }
            }
            outline.lines = piece.number;
            outline.whole = reader.ended;
            outline.end = reader.offset;
        }
        outline.wanted = outline.wanted.filter(|_| reach.wanted <= outline.lines);
        Ok(outline)
    }

    /// Its end.
    pub(super) fn end(&self, outline: &Outline) -> io::Result<Part> {
        let from = outline.end.saturating_sub(SHOWN);
        self.part(outline, (from, outline.end), (outline.end, outline.whole + 1))
    }

    /// What is around a line that begins at this byte and has this number.
    pub(super) fn around(&self, outline: &Outline, line: (u64, usize)) -> io::Result<Part> {
        let from = line.0.saturating_sub(SHOWN / 2);
        self.part(outline, (from, outline.end.min(from + SHOWN)), line)
    }

    /// What is around a line that its end does not have; nothing for one that is there.
    pub(super) fn aside(&self, outline: &Outline, line: (u64, usize)) -> io::Result<Option<Part>> {
        let end = outline.end.saturating_sub(SHOWN);
        if line.0 >= end {
            return Ok(None);
        }
        let from = line.0.saturating_sub(ASIDE / 2);
        self.part(outline, (from, end.min(from + ASIDE)), line).map(Some)
    }

    /// The lines between two bytes. It is known of one byte, at which a line begins, which number that line has. A line
    /// that is not whole is left out, unless there is no other or it is that line.
    fn part(&self, outline: &Outline, (from, to): (u64, u64), known: (u64, usize)) -> io::Result<Part> {
        let (place, number) = known;
        if from == to {
            return Ok(Part { first: number, next: number, ..Part::default() });
        }
        let bytes = bytes(&self.path, from, to - from)?;
        let place = usize::try_from(place - from).unwrap_or(usize::MAX).min(bytes.len());
        let skip = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let skip = if from > 0 && skip <= place && skip < bytes.len() { skip } else { 0 };
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let whole = if to < outline.end && whole > place { whole } else { bytes.len() };
        let first = number.saturating_sub(newlines(bytes.get(skip..place).unwrap_or_default()));
        let bytes = bytes.get(skip..whole).unwrap_or_default();
        let unfinished = bytes.last().is_some_and(|last| *last != b'\n');
        let next = first + newlines(bytes) + usize::from(unfinished);
        Ok(Part { lines: self.lines(bytes, first), first, next })
    }

    /// The lines in these bytes, of which the first has this number.
    pub(super) fn lines(&self, bytes: &[u8], first: usize) -> Vec<Line> {
        let lines = (first..).zip(bytes.split(|byte| *byte == b'\n'));
        let lines = lines.map(|(number, line)| shown(self.log, number, line, self.zone));
        lines.filter(|line| !line.text.is_empty() || !line.at.is_empty()).collect()
    }

    /// The lines at its end that contain `what`, whatever the case.
    pub(super) fn search(&self, what: &str) -> io::Result<Found> {
        let what = what.to_lowercase();
        let Some(length) = length(&self.path)? else { return Ok(Found::default()) };
        let mut reader = Reader::open(&self.path, length)?;
        let mut found = Found { skipped: length.saturating_sub(SEARCHED), ..Found::default() };
        reader.skip(found.skipped, 0)?;
        while let Some(piece) = reader.read_piece()? {
            let line = shown(self.log, piece.number, &reader.bytes, self.zone);
            if line.text.to_lowercase().contains(&what) {
                if found.lines.len() == FOUND {
                    return Ok(Found { more: true, ..found });
                }
                found.lines.push(line);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;

    use super::*;

    fn at(path: &Path) -> LogFile {
        LogFile { log: Log::Console, path: path.to_owned(), zone: Tz::UTC }
    }

    /// The file goes with what is given first.
    fn holding(content: &str) -> (tempfile::TempPath, LogFile) {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        std::fs::write(&path, content).unwrap();
        let log = at(&path);
        (path, log)
    }

    fn through(log: &LogFile, ended: bool, wanted: usize) -> Outline {
        log.outline(Reach { until: u64::MAX, ended, wanted }).unwrap()
    }

    fn numbered(lines: &[Line]) -> Vec<(usize, &str)> {
        lines.iter().map(|line| (line.number, line.text.as_str())).collect()
    }

    #[test]
    fn lines_have_their_numbers_and_one_without_an_end_counts_once_nobody_writes_it() {
        let (_file, log) = holding("one\n\nthree\nfou");
        for (ended, expected) in
            [(false, vec![(1, "one"), (3, "three")]), (true, vec![(1, "one"), (3, "three"), (4, "fou")])]
        {
            let outline = through(&log, ended, 4);
            let part = log.end(&outline).unwrap();
            assert_eq!(numbered(&part.lines), expected);
            assert_eq!((part.first, part.next), (1, outline.lines + 1));
            assert_eq!(outline.wanted, ended.then_some(11));
        }
        let log = at(Path::new("/nowhere"));
        let nothing = through(&log, true, 1);
        assert_eq!((nothing.lines, nothing.end, nothing.wanted), (0, 0, None));
        let part = log.end(&nothing).unwrap();
        assert_eq!((part.first, part.next, part.lines.len()), (1, 1, 0));
    }

    #[test]
    fn only_the_end_of_a_long_log_is_read_and_long_lines_are_cut() {
        let (_file, log) = holding(&format!("{}\nlast\n", format!("{}\n", "x".repeat(999)).repeat(200)));
        let outline = through(&log, false, 0);
        let part = log.end(&outline).unwrap();
        assert!(part.lines.len() < 60);
        // After 200 lines and an empty one.
        assert_eq!(numbered(&part.lines).last(), Some(&(202, "last")));
        assert_eq!((part.first, part.next), (202 - part.lines.len(), 203));
        let (_file, log) = holding(&format!("a\n{}\nz\n", "y".repeat(300_000)));
        let outline = through(&log, false, 0);
        assert_eq!(outline.lines, 3, "pieces of a line are one line");
        let part = log.end(&outline).unwrap();
        assert_eq!(numbered(&part.lines), [(3, "z")]);
    }

    #[test]
    fn a_line_is_shown_with_what_is_around_it_wherever_it_is() {
        let lines: Vec<_> = (1..=5000).map(|number| format!("line {number} of a log\n")).collect();
        let (_file, log) = holding(&lines.concat());
        for wanted in [1, 2, 700, 2500, 4999, 5000] {
            let outline = through(&log, false, wanted);
            let line = (outline.wanted.unwrap(), wanted);
            let part = log.around(&outline, line).unwrap();
            for line in &part.lines {
                assert_eq!(line.text, format!("line {} of a log", line.number));
            }
            assert!((part.first..part.next).contains(&wanted) && part.lines.len() < 3000);
            assert!(part.first == 1 || wanted - part.first > 500, "{wanted}: {}", part.first);
            assert!(part.next == 5001 || part.next - wanted > 500, "{wanted}: {}", part.next);
        }
        let outline = through(&log, false, 5001);
        assert_eq!((outline.wanted, outline.lines), (None, 5000));
        let aside = |wanted| {
            let line = (through(&log, false, wanted).wanted.unwrap(), wanted);
            log.aside(&outline, line).unwrap()
        };
        assert!(aside(4990).is_none(), "it is shown already");
        let part = aside(1000).unwrap();
        assert!((part.first..part.next).contains(&1000) && part.lines.len() < 1000);
    }

    #[test]
    fn a_line_that_is_longer_than_what_is_shown_is_there_all_the_same() {
        let (_file, log) = holding(&format!("a\n{}\nz\n", "y".repeat(300_000)));
        let outline = through(&log, false, 2);
        let part = log.around(&outline, (outline.wanted.unwrap(), 2)).unwrap();
        assert_eq!(part.lines.iter().map(|line| line.number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(part.lines[1].text.len(), super::super::log_line::LINE);
    }

    #[test]
    fn a_search_finds_lines_with_their_numbers_and_is_bounded() {
        let (_file, log) = holding("alpha\nBETA one\ngamma\nbeta two\n");
        let found = log.search("Beta").unwrap();
        assert_eq!(numbered(&found.lines), [(2, "BETA one"), (4, "beta two")]);
        assert_eq!((found.more, found.skipped), (false, 0));
        let (_file, log) = holding(&"same\n".repeat(1000));
        let found = log.search("same").unwrap();
        assert_eq!((found.lines.len(), found.more), (FOUND, true));
        let (_file, log) = holding(&format!("{}\nlast\n", "y".repeat(300_000)));
        let found = log.search("last").unwrap();
        assert_eq!(numbered(&found.lines), [(2, "last")]);
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
        let log = at(file.path());
        let found = log.search("needle").unwrap();
        assert_eq!(numbered(&found.lines), [(1000 + lines, "needle")]);
        assert_eq!((found.more, found.skipped), (false, 6000 + 7 - line.len() as u64));
        // What is not looked through has numbers, too, and can be shown.
        let outline = through(&log, false, 600);
        assert_eq!((outline.lines, outline.wanted), (1000 + lines, Some(599 * 6)));
        assert_eq!(outline.sections.list()[0].name, "earlier lines");
        let part = log.around(&outline, (599 * 6, 600)).unwrap();
        assert_eq!((part.first, numbered(&part.lines)[599]), (1, (600, "early")));
    }
}
