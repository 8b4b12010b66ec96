//! The output of a build: cut into lines, kept in its log, the end of it at hand as evidence.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;

use super::masking::Masks;

/// The longest line that is passed on; the rest of a longer one is dropped.
pub(super) const LONGEST_LINE: usize = 4 * 1024;
/// Lines kept as evidence.
const TAIL_LINES: usize = 200;

/// Cuts bytes that come in pieces into lines of text. Pure.
#[derive(Debug, Default)]
pub(super) struct Lines {
    open: Vec<u8>,
    masks: Masks,
}

impl Lines {
    /// Lines without the secrets that these masks know.
    pub(super) fn masked(masks: Masks) -> Self {
        Self { open: Vec::new(), masks }
    }

    /// Takes a piece; gives the lines that it ends.
    pub(super) fn push(&mut self, piece: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let (text, ended) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            // A secret must be whole to be found, also one that the line's limit would cut.
            let room = (LONGEST_LINE + self.masks.longest()).saturating_sub(self.open.len());
            self.open.extend(text.iter().take(room));
            if ended {
                lines.push(self.take());
            }
        }
        lines
    }

    /// What is left when the output ends in the middle of a line.
    pub(super) fn finish(&mut self) -> Option<String> {
        if self.open.is_empty() { None } else { Some(self.take()) }
    }

    /// Not UTF-8, or cut within a character: what cannot be read is replaced, within the limit.
    fn take(&mut self) -> String {
        let longest = self.masks.longest();
        let cut = self.open.len() >= LONGEST_LINE + longest;
        let mut bytes = self.masks.apply(std::mem::take(&mut self.open));
        if cut {
            // What was masked before it took less room, so this may be seen.
            self.masks.drop_begun(&mut bytes);
        }
        bytes.truncate(LONGEST_LINE);
        let text = bytes.strip_suffix(b"\r").unwrap_or(&bytes);
        let mut line = String::from_utf8_lossy(text).into_owned();
        while line.len() > LONGEST_LINE {
            line.pop();
        }
        line
    }
}

/// The last lines.
#[derive(Debug, Default)]
pub(super) struct Tail {
    lines: VecDeque<String>,
}

impl Tail {
    /// Takes in the next line.
    pub(super) fn push(&mut self, line: &str) {
        if self.lines.len() == TAIL_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line.to_owned());
    }

    /// The last lines, oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &str> + Clone {
        self.lines.iter().map(String::as_str)
    }
}

/// Why a line did not get into the log.
#[derive(Debug)]
pub(super) enum LogError {
    /// The log has reached its limit.
    Full,
    /// It cannot be written.
    Io(io::Error),
}

/// A build's log file, of bounded size.
#[derive(Debug)]
pub(super) struct BuildLog {
    file: File,
    path: PathBuf,
    room: u64,
}

impl BuildLog {
    /// Opens it to append at most `limit` bytes.
    pub(super) async fn open(path: &Path, limit: u64) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            tokio::fs::create_dir_all(directory).await?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path).await?;
        Ok(Self { file, path: path.to_owned(), room: limit })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends lines; they are in the file when this returns.
    pub(super) async fn append(&mut self, lines: &[String]) -> Result<(), LogError> {
        let mut text = String::new();
        let mut full = false;
        for line in lines {
            let length = line.len() as u64 + 1;
            full = length > self.room;
            if full {
                break;
            }
            self.room -= length;
            text.push_str(line);
            text.push('\n');
        }
        self.file.write_all(text.as_bytes()).await.map_err(LogError::Io)?;
        self.file.flush().await.map_err(LogError::Io)?;
        if full { Err(LogError::Full) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::inputs::Secret;
    use super::*;

    #[test]
    fn lines_come_out_whole_however_they_come_in() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"one\ntw"), ["one"]);
        assert_eq!(lines.push(b"o\r\n\nthree"), ["two", ""]);
        assert_eq!(lines.finish().as_deref(), Some("three"));
        assert_eq!(lines.finish(), None);
    }

    #[test]
    fn what_is_no_text_is_replaced_and_what_is_too_long_is_cut() {
        let mut lines = Lines::default();
        assert_eq!(lines.push(b"a\xff\xfeb\n"), ["a\u{fffd}\u{fffd}b"]);
        let long = [vec![0xff; 3 * LONGEST_LINE], b"\nnext\n".to_vec()].concat();
        let got = lines.push(&long);
        assert!(got[0].len() <= LONGEST_LINE);
        assert_eq!(got[1], "next");
    }

    #[test]
    fn a_secret_is_masked_where_pieces_or_the_limit_cut_it() {
        let secret = Secret::new("KEY".to_owned(), PathBuf::new(), b"0123456789".to_vec());
        let mut lines = Lines::masked(Masks::of(&[secret]));
        assert!(lines.push(b"a 01234").is_empty());
        assert_eq!(lines.push(b"56789 b\n"), ["a [secret KEY] b"]);
        let long = [vec![b'x'; LONGEST_LINE - 5], b"0123456789 and more\n".to_vec()].concat();
        let got = lines.push(&long);
        assert!(got[0].len() <= LONGEST_LINE && got[0].ends_with("x[secr"));
    }

    #[test]
    fn a_secret_that_comes_again_and_again_is_not_cut_into_sight() {
        let text: String = ('a'..='z').cycle().take(1000).collect();
        let secret = Secret::new("KEY".to_owned(), PathBuf::new(), text.clone().into_bytes());
        let mut lines = Lines::masked(Masks::of(&[secret]));
        let line = format!("{}\n", [text.as_str(); 12].join(" "));
        let got = lines.push(line.as_bytes());
        assert!(got[0].starts_with("[secret KEY] [secret KEY]") && !got[0].contains("abc"), "{}", got[0]);
    }

    proptest! {
        #[test]
        fn where_the_pieces_end_makes_no_difference(bytes: Vec<u8>, cut: prop::sample::Index) {
            let whole = [Lines::default().push(&bytes)].concat();
            let at = cut.index(bytes.len() + 1);
            let mut lines = Lines::default();
            let (first, second) = bytes.split_at(at);
            let parts = [lines.push(first), lines.push(second)].concat();
            prop_assert_eq!(whole, parts);
        }
    }

    #[test]
    fn the_tail_is_the_last_lines() {
        let mut tail = Tail::default();
        (0..500).for_each(|n| tail.push(&n.to_string()));
        assert_eq!(tail.iter().count(), TAIL_LINES);
        assert_eq!(tail.iter().last(), Some("499"));
    }

    #[tokio::test]
    async fn the_log_is_appended_to_up_to_its_limit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("builds/1/build.log");
        let mut log = BuildLog::open(&path, 10).await.unwrap();
        log.append(&["1234".to_owned()]).await.unwrap();
        let full = log.append(&["678".to_owned(), "overflows".to_owned()]).await;
        assert!(matches!(full, Err(LogError::Full)));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1234\n678\n");
    }
}
