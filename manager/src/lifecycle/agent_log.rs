//! What the agent said, a JSON object a line, in a file that has a bound: the agent is inside an image that nobody
//! has proved yet.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};

use serde_json::json;
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

/// Most bytes of the file. A report with all its observations has some ten thousand.
const MOST: u64 = 8 << 20;
/// The event of the last line of a file that was cut.
const CUT: &str = "cut";
/// Longest such line, in bytes.
const CUT_LINE: u64 = 512;

/// Appends to the file.
pub(super) struct AgentLog {
    path: PathBuf,
    /// Nothing is added any more; `None` before an earlier manager's file was looked at.
    cut: Option<bool>,
}

impl AgentLog {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, cut: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line. One that does not fit is left out and ends the file, with a line that says so.
    pub(super) async fn append(&mut self, line: &str) -> std::io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(&self.path).await?;
        let length = file.metadata().await?.len();
        let cut = match self.cut {
            Some(cut) => cut,
            None => *self.cut.insert(was_cut(&mut file, length).await?),
        };
        if cut {
            return Ok(());
        }
        let fits = length + line.len() as u64 + CUT_LINE < MOST;
        if fits {
            file.write_all(format!("{line}\n").as_bytes()).await?;
        } else {
            self.cut = Some(true);
            let detail =
                format!("the agent said more than this file may hold ({MOST} bytes); the rest is left out");
            let last = json!({"event": CUT, "detail": detail});
            file.write_all(format!("{last}\n").as_bytes()).await?;
        }
        file.flush().await
    }
}

/// Whether the file's last line says that it was cut.
async fn was_cut(file: &mut File, length: u64) -> std::io::Result<bool> {
    file.seek(SeekFrom::Start(length.saturating_sub(CUT_LINE))).await?;
    let mut end = Vec::new();
    file.take(CUT_LINE).read_to_end(&mut end).await?;
    let end = String::from_utf8_lossy(&end);
    let last = end.lines().last().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    Ok(last.is_some_and(|last| last.get("event").is_some_and(|event| event == CUT)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_talkative_agent_does_not_fill_the_disk() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.jsonl");
        let mut log = AgentLog::new(path.clone());
        log.append("{\"event\":\"attached\"}").await.unwrap();
        let report = json!({"event": "report", "observations": "x".repeat(1 << 20)}).to_string();
        for _ in 0..20 {
            log.append(&report).await.unwrap();
        }
        log.append("{\"event\":\"goodbye\"}").await.unwrap();
        // Another manager takes the build up.
        AgentLog::new(path.clone()).append("{\"event\":\"detached\"}").await.unwrap();

        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.len() as u64 <= MOST, "{}", text.len());
        let events: Vec<String> = text
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["event"].as_str().unwrap().to_owned()
            })
            .collect();
        let reports = ["report"; 7];
        assert_eq!(events, [&["attached"], &reports[..], &["cut"]].concat());
    }

    #[tokio::test]
    async fn what_fits_is_all_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.jsonl");
        for line in ["{\"event\":\"attached\"}", "{\"event\":\"goodbye\"}"] {
            AgentLog::new(path.clone()).append(line).await.unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\"event\":\"attached\"}\n{\"event\":\"goodbye\"}\n"
        );
    }
}
