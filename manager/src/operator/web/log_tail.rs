//! What a log has gained since a page was made of it.
//!
//! Pages follow the file, not the bus: nothing is lost to a slow reader, and a page that comes back goes on where it was.

use std::io;

use serde::Serialize;

use super::log_file::{Log, LogFile, Reach};
use super::log_line::Line;
use super::log_pieces::{CHUNK, bytes, length, newlines};
use super::log_sections::Sections;

/// A log that is followed.
#[derive(Debug)]
pub(super) struct LogTail {
    file: LogFile,
    /// How far it has been told, in bytes.
    from: u64,
    /// How many lines end before.
    lines: usize,
    /// A line begins there.
    begins: bool,
    /// What was told is not there any more: a file that comes is another one.
    gone: bool,
    sections: Sections,
}

/// What came; `assets/app.js` puts it on the page.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct News {
    /// The log became shorter, or is another one: it begins again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    again: bool,
    parts: Vec<NewPart>,
}

/// What came in one section.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct NewPart {
    /// The number of its first line. Its place among the sections depends on how much of a long log was read.
    id: usize,
    /// Empty where the log has no sections.
    name: String,
    told: String,
    lines: Vec<Line>,
}

impl LogTail {
    /// From this byte on.
    pub(super) fn open(file: LogFile, from: u64) -> io::Result<Self> {
        let outline = file.outline(Reach { until: from, ended: false, wanted: 0 })?;
        let begins = outline.end == from && outline.whole == outline.lines;
        Ok(Self { file, from, lines: outline.whole, begins, gone: false, sections: outline.sections })
    }

    /// How far it has been told, in bytes.
    pub(super) fn from(&self) -> u64 {
        self.from
    }

    /// What came since the last time, at most one chunk.
    pub(super) fn news(&mut self) -> io::Result<Option<News>> {
        let Some(length) = length(&self.file.path)? else {
            self.gone = self.from > 0;
            return Ok(None);
        };
        let again = self.gone || length < self.from;
        if again {
            let sections = Sections::new(self.file.log, 0);
            (self.from, self.lines, self.begins, self.sections) = (0, 0, true, sections);
            self.gone = false;
        } else if length == self.from {
            return Ok(None);
        }
        let mut bytes = bytes(&self.file.path, self.from, CHUNK)?;
        let whole = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            // A line as long as the chunk is shown in pieces.
            None if bytes.len() as u64 == CHUNK => bytes.len(),
            None => 0,
        };
        bytes.truncate(whole);
        if bytes.is_empty() && !again {
            return Ok(None);
        }
        Ok(Some(News { again, parts: self.take(&bytes) }))
    }

    fn take(&mut self, bytes: &[u8]) -> Vec<NewPart> {
        let before = self.sections.of(self.lines + 1);
        for (number, line) in (self.lines + 1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
            if self.begins {
                self.sections.line(number, self.from, line);
            }
            self.from += line.len() as u64;
            self.begins = line.last() == Some(&b'\n');
        }
        let lines = self.file.lines(bytes, self.lines + 1);
        self.lines += newlines(bytes);
        let total = self.lines + usize::from(!self.begins);
        self.parted(before, lines, total)
    }

    /// Lines by section. The section before a new one is told, too: it is now known how long it took.
    fn parted(&self, before: usize, lines: Vec<Line>, total: usize) -> Vec<NewPart> {
        let part = |id, name: &str, told| NewPart { id, name: name.to_owned(), told, lines: Vec::new() };
        let each = self.sections.list().iter().enumerate().skip(before);
        // A section that began in what was not read is that which the page has last.
        let unread = self.sections.skipped();
        let mut parts: Vec<_> = each
            .map(|(place, section)| {
                if section.first <= unread {
                    part(0, &section.name, String::new())
                } else {
                    part(section.first, &section.name, self.sections.told(place, total))
                }
            })
            .collect();
        if parts.is_empty() && self.file.log == Log::Agent {
            parts.push(part(0, "", String::new()));
        }
        for line in lines {
            let place = self.sections.of(line.number).saturating_sub(before);
            if let Some(part) = parts.get_mut(place) {
                part.lines.push(line);
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use chrono_tz::Tz;

    use super::*;

    fn follow(log: Log, path: &Path, from: u64) -> LogTail {
        LogTail::open(LogFile { log, path: path.to_owned(), zone: Tz::Asia__Tokyo }, from).unwrap()
    }

    /// Name of the section, what is told of it, and number, time and text of its lines.
    type Told = (String, String, Vec<(usize, String, String)>);

    fn told(news: Option<News>) -> Vec<Told> {
        let parts = news.map(|news| news.parts).unwrap_or_default();
        let line = |line: Line| (line.number, line.at, line.text);
        let part = |part: NewPart| (part.name, part.told, part.lines.into_iter().map(line).collect());
        parts.into_iter().map(part).collect()
    }

    fn part(name: &str, told: &str, lines: &[(usize, &str, &str)]) -> Told {
        let lines = lines.iter().map(|(number, at, text)| (*number, (*at).to_owned(), (*text).to_owned()));
        (name.to_owned(), told.to_owned(), lines.collect())
    }

    #[test]
    fn following_gives_each_whole_line_once_with_its_number_and_section() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("build.log");
        let mut log = "2026-11-25 03:00:07.000 | diskimage-builder version 3\ntwo\nthr".to_owned();
        std::fs::write(&path, &log).unwrap();
        let mut tail = follow(Log::Build, &path, 58);
        let first = [part("preparation", "2 lines", &[(2, "", "two")])];
        // What a stream is opened with may end within a line; what follows it has the line's number.
        assert_eq!(told(follow(Log::Build, &path, 54).news().unwrap()), first);
        assert_eq!(tail.news().unwrap(), None);
        log.push_str("ee\n\n2026-11-25 03:00:09.500 | Running hooks from /x/root.d\nfive\n");
        std::fs::write(&path, &log).unwrap();
        let expected = [
            part("preparation", "4 lines · 2.5 s", &[(3, "", "three")]),
            part("root", "2 lines", &[(5, "12:00:09", "Running hooks from /x/root.d"), (6, "", "five")]),
        ];
        assert_eq!(told(tail.news().unwrap()), expected);
        assert_eq!(tail.news().unwrap(), None);
        assert_eq!(tail.from(), log.len() as u64);
        assert_eq!(follow(Log::Build, Path::new("/nowhere"), 7).news().unwrap(), None);
    }

    #[test]
    fn a_section_is_the_same_however_much_of_the_log_was_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("build.log");
        std::fs::write(&path, "2026-11-25 03:00:09.500 | Running hooks from /x/root.d\n").unwrap();
        for (skipped, before) in [(0, 1), (90, 91), (100, 0)] {
            let mut sections = Sections::new(Log::Build, skipped);
            for number in skipped + 1..=100 {
                sections.line(number, 0, b"2026-11-25 03:00:07.000 | diskimage-builder version 3");
            }
            let file = LogFile { log: Log::Build, path: path.clone(), zone: Tz::UTC };
            let mut tail = LogTail { file, from: 0, lines: 100, begins: true, gone: false, sections };
            let parts = tail.news().unwrap().unwrap().parts;
            let ids: Vec<_> = parts.iter().map(|part| (part.id, part.lines.len())).collect();
            assert_eq!(ids, [(before, 0), (101, 1)], "{skipped} lines were not read");
        }
    }

    #[test]
    fn a_line_without_an_end_comes_in_pieces_of_one_number() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console.log");
        std::fs::write(&path, format!("{}\nz\n", "y".repeat(100_000))).unwrap();
        let mut tail = follow(Log::Console, &path, 0);
        for expected in [vec![1], vec![1, 2]] {
            let news = told(tail.news().unwrap());
            assert_eq!(news[0].2.iter().map(|(number, ..)| *number).collect::<Vec<_>>(), expected);
        }
        assert_eq!(tail.news().unwrap(), None);
    }

    #[test]
    fn a_log_that_became_shorter_is_begun_again_and_the_agent_has_no_sections() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.jsonl");
        std::fs::write(&path, "{\"event\":\"attached\"}\n{\"event\":\"report\"}\n").unwrap();
        let mut tail = follow(Log::Agent, &path, 21);
        assert_eq!(told(tail.news().unwrap()), [part("", "", &[(2, "", "report")])]);
        std::fs::write(&path, "{\"event\":\"goodbye\"}\n").unwrap();
        let news = tail.news().unwrap().unwrap();
        assert!(news.again);
        assert_eq!(told(Some(news)), [part("", "", &[(1, "", "goodbye")])]);
    }

    /// A second server's console has the name of the first one's, which was set aside.
    #[test]
    fn another_file_of_the_name_is_told_from_its_beginning_however_long_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console.log");
        std::fs::write(&path, "one\ntwo\n").unwrap();
        let mut tail = follow(Log::Console, &path, 8);
        std::fs::rename(&path, directory.path().join("console.1.log")).unwrap();
        assert_eq!(tail.news().unwrap(), None);
        std::fs::write(&path, "ten\nsix\n").unwrap();
        let news = tail.news().unwrap().unwrap();
        assert!(news.again);
        let lines: Vec<_> = told(Some(news)).into_iter().flat_map(|(.., lines)| lines).collect();
        assert_eq!(lines, [(1, String::new(), "ten".to_owned()), (2, String::new(), "six".to_owned())]);
        assert_eq!(tail.news().unwrap(), None);
    }
}
