//! Reading a serial console's log while it grows, and its end as evidence.

use std::io::{ErrorKind, SeekFrom};
use std::path::{Path, PathBuf};

use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::failure::Failure;
use crate::cloud::Console;
use crate::reason::Reason;
use crate::untrusted::log_file::plain_line;

/// Most that is read at once, in bytes.
const CHUNK: u64 = 256 * 1024;
/// Most of a whole console, in bytes.
const WHOLE: u64 = 2 << 20;
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

/// All of a console, as far as it is looked at.
pub(super) async fn whole(path: &Path) -> String {
    let bytes = read_from(path, 0, WHOLE).await.unwrap_or_default();
    // Colours and the like go, line by line.
    String::from_utf8_lossy(&bytes).lines().map(plain_line).collect::<Vec<_>>().join("\n")
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
