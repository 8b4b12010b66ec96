//! Reading a serial console's log while it grows, and its end as evidence.

use std::io::{ErrorKind, SeekFrom};
use std::path::{Path, PathBuf};

use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::failure::Failure;
use crate::checks::console::Seen;
use crate::cloud::Console;
use crate::reason::Reason;
use crate::untrusted::log_file::plain_line;

/// Most that is read at once, in bytes.
const CHUNK: u64 = 256 * 1024;
/// Longest line that is looked at as one, in bytes.
const LONGEST_LINE: usize = 64 * 1024;
/// Most of the end that is looked at for evidence, in bytes.
const TAIL: u64 = 16 * 1024;

/// So many logs of earlier servers are kept beside the newest; one more replaces the last of them.
const EARLIER: u32 = 4;

/// Most that is told of a line, in bytes: a console may go on for ever without ending one.
const LINE: usize = 8 * 1024;

/// Moves the log of an earlier server's console away, so that nothing of it is taken for what the next server says:
/// `console.log` becomes `console.1.log`, the next one `console.2.log`.
pub(super) async fn set_aside(path: &Path) -> Result<(), Failure> {
    let earlier = |number: u32| path.with_extension(format!("{number}.log"));
    let mut number = 1;
    while number < EARLIER && tokio::fs::try_exists(earlier(number)).await.unwrap_or(false) {
        number += 1;
    }
    match tokio::fs::rename(path, earlier(number)).await {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            let message = format!("cannot move an earlier console away: {}: {error}", path.display());
            Err(Failure::new(Reason::State, message))
        }
        _ => Ok(()),
    }
}

/// Looks at a console that grows, from its beginning to its end, each time from where the last look ended.
pub(super) struct ConsoleScan {
    path: PathBuf,
    offset: u64,
    /// The line that is not whole yet.
    partial: Vec<u8>,
    nothing: Seen,
    seen: Seen,
}

impl ConsoleScan {
    /// Of the file; `nothing` is what is seen in an empty one.
    pub(super) fn new(path: &Path, nothing: Seen) -> Self {
        Self { path: path.to_owned(), offset: 0, partial: Vec::new(), seen: nothing.clone(), nothing }
    }

    /// All that was seen by now, also in a last line without an end.
    pub(super) async fn look(&mut self) -> Seen {
        let length = tokio::fs::metadata(&self.path).await.map_or(0, |metadata| metadata.len());
        if length < self.offset {
            // It was cut, or is another one.
            self.offset = 0;
            self.partial.clear();
            self.seen = self.nothing.clone();
        }
        // No further than it is long by now: it may grow as fast as it is read.
        while self.offset < length {
            let most = CHUNK.min(length - self.offset);
            let bytes = read_from(&self.path, self.offset, most).await.unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            self.offset += bytes.len() as u64;
            self.take(&bytes);
        }
        let mut seen = self.seen.clone();
        if !self.partial.is_empty() {
            seen.take(&plain_line(&String::from_utf8_lossy(&self.partial)));
        }
        seen
    }

    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.partial.len() > LONGEST_LINE {
                // Colours and the like go.
                self.seen.take(&plain_line(&String::from_utf8_lossy(&self.partial)));
                self.partial.clear();
            }
        }
    }
}

/// Follows a file that grows.
pub(super) struct ConsoleTail {
    path: PathBuf,
    offset: u64,
    partial: String,
}

impl ConsoleTail {
    /// Follows the file from its beginning; it need not be there yet.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), offset: 0, partial: String::new() }
    }

    /// The whole lines that came since the last call, without colours and empty lines.
    pub(super) async fn new_lines(&mut self) -> Vec<String> {
        let length = tokio::fs::metadata(&self.path).await.map_or(0, |metadata| metadata.len());
        if length < self.offset {
            // Its middle was left out: what is new is at its end.
            self.offset = length.saturating_sub(CHUNK);
            self.partial.clear();
        }
        let Ok(bytes) = read_from(&self.path, self.offset, CHUNK).await else { return Vec::new() };
        self.offset += bytes.len() as u64;
        self.partial.push_str(&String::from_utf8_lossy(&bytes));
        let rest = self.partial.split_off(self.partial.rfind('\n').map_or(0, |end| end + 1));
        let whole = std::mem::replace(&mut self.partial, rest);
        // One byte more than is told: what follows is not taken for a part of what is.
        self.partial.truncate(self.partial.ceil_char_boundary(LINE + 1));
        let begin = |line: &str| plain_line(line.get(..line.floor_char_boundary(LINE)).unwrap_or_default());
        whole.lines().map(begin).filter(|line| !line.is_empty()).collect()
    }
}

async fn read_from(path: &Path, offset: u64, most: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path).await?;
    file.seek(SeekFrom::Start(offset)).await?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// The last `lines` lines of a console, for evidence. `given`: what came of bringing its log up to date; `Err`: that failed.
pub(super) async fn evidence(given: &Result<Console, String>, path: &Path, lines: usize) -> String {
    let last = last_lines(path, lines).await;
    let missing = match given {
        Ok(Console::Given) if last.is_empty() => "(the console is empty)".to_owned(),
        Ok(Console::Given) => String::new(),
        Ok(Console::Never(why)) => format!("(the cloud gives no console: {})", plain_line(why)),
        Ok(Console::NotNow(why)) => format!("(the cloud did not give the console: {})", plain_line(why)),
        Err(why) => format!("(the console could not be fetched: {})", plain_line(why)),
    };
    let separator = if last.is_empty() || missing.is_empty() { "" } else { "\n" };
    format!("last lines of the console:\n{last}{separator}{missing}")
}

/// Empty where the console is.
async fn last_lines(path: &Path, lines: usize) -> String {
    let Ok(length) = tokio::fs::metadata(path).await.map(|metadata| metadata.len()) else {
        return String::new();
    };
    let bytes = read_from(path, length.saturating_sub(TAIL), TAIL).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut kept: Vec<String> =
        text.lines().map(plain_line).filter(|line| !line.is_empty()).rev().take(lines).collect();
    kept.reverse();
    kept.join("\n")
}

#[cfg(test)]
mod tests {
    use image_manager_proto::v1::CheckOutcome;

    use super::*;

    #[tokio::test]
    async fn a_line_is_told_once_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console.log");
        let mut tail = ConsoleTail::new(&path);
        assert!(tail.new_lines().await.is_empty());
        std::fs::write(&path, "one\ntw").unwrap();
        assert_eq!(tail.new_lines().await, ["one"]);
        std::fs::write(&path, "one\ntwo\n\nthree\n").unwrap();
        assert_eq!(tail.new_lines().await, ["two", "three"]);
        assert_eq!(last_lines(&path, 2).await, "two\nthree");
    }

    #[tokio::test]
    async fn a_console_that_became_shorter_is_followed_at_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console.log");
        let mut tail = ConsoleTail::new(&path);
        std::fs::write(&path, "a longer line\n").unwrap();
        assert_eq!(tail.new_lines().await, ["a longer line"]);
        std::fs::write(&path, "a\npanic\n").unwrap();
        assert_eq!(tail.new_lines().await, ["a", "panic"]);
        assert!(tail.new_lines().await.is_empty());
    }

    #[tokio::test]
    async fn a_console_is_looked_at_to_its_end_and_nothing_twice() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console.log");
        let nothing = Seen::nothing(&serde_json::Map::new()).unwrap();
        let mut scan = ConsoleScan::new(&path, nothing);
        let judged = async |scan: &mut ConsoleScan| scan.look().await.judge(&Ok(Console::Given)).judged;
        assert!(judged(&mut scan).await.summary.starts_with("nothing appeared"));
        // More than one look once took in, and no line ends where a chunk does.
        let mut said = "[    1.0] a line of the kernel\n".repeat(100_000);
        said.push_str("\nserver lo");
        std::fs::write(&path, &said).unwrap();
        let early = judged(&mut scan).await;
        assert_eq!(early.outcome, CheckOutcome::Fail);
        assert_eq!(early.observations["lines"], 100_002);
        said.push_str("gin: ");
        std::fs::write(&path, &said).unwrap();
        let asks = judged(&mut scan).await;
        assert_eq!(asks.outcome, CheckOutcome::Pass);
        assert_eq!(asks.observations["lines"], 100_002);
        said.push_str("\n[    9.0] Oops: 0002 [#1]\n");
        std::fs::write(&path, &said).unwrap();
        let oops = judged(&mut scan).await;
        assert_eq!(oops.outcome, CheckOutcome::Fail);
        assert_eq!(oops.observations["lines"], 100_003);
        assert!(oops.summary.contains("Oops"), "{}", oops.summary);
        std::fs::write(&path, "[    1.0] another boot\nserver login: ").unwrap();
        let other = judged(&mut scan).await;
        assert_eq!(other.outcome, CheckOutcome::Pass);
        assert_eq!(other.observations["lines"], 2);
        std::fs::write(&path, "x".repeat(10 * LONGEST_LINE)).unwrap();
        judged(&mut scan).await;
        assert!(scan.partial.len() <= LONGEST_LINE, "{}", scan.partial.len());
    }

    #[tokio::test]
    async fn each_server_begins_a_log_and_some_of_the_earlier_ones_stay() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console.log");
        set_aside(&path).await.unwrap();
        for server in 1..=6 {
            std::fs::write(&path, format!("server {server}\n")).unwrap();
            set_aside(&path).await.unwrap();
            assert!(!path.exists());
        }
        let kept = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        assert_eq!(kept("console.1.log"), "server 1\n");
        assert_eq!(kept("console.4.log"), "server 6\n", "the newest is kept");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 4);
    }

    #[tokio::test]
    async fn the_evidence_says_why_there_is_no_console() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console.log");
        let never = Ok(Console::Never("not supported".to_owned()));
        let failed = Err("403 Forbidden".to_owned());
        let told = evidence(&never, &path, 9).await;
        assert_eq!(told, "last lines of the console:\n(the cloud gives no console: not supported)");
        let told = evidence(&Ok(Console::Given), &path, 9).await;
        assert_eq!(told, "last lines of the console:\n(the console is empty)");
        std::fs::write(&path, "one\n").unwrap();
        let told = evidence(&Ok(Console::Given), &path, 9).await;
        assert_eq!(told, "last lines of the console:\none");
        let told = evidence(&failed, &path, 9).await;
        assert_eq!(
            told,
            "last lines of the console:\none\n(the console could not be fetched: 403 Forbidden)"
        );
    }

    #[tokio::test]
    async fn a_line_without_an_end_takes_no_more_memory_than_is_told_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console.log");
        let mut tail = ConsoleTail::new(&path);
        let mut said = "ä".repeat(2 << 20);
        std::fs::write(&path, &said).unwrap();
        for _ in 0..4 << 20 >> 18 {
            assert!(tail.new_lines().await.is_empty());
            assert!(tail.partial.len() <= LINE + 2, "{}", tail.partial.len());
        }
        said.push_str("tail\nnext\n");
        std::fs::write(&path, &said).unwrap();
        assert_eq!(tail.new_lines().await, ["ä".repeat(LINE / 2), "next".to_owned()]);
    }
}
