//! The serial console: Nova gives the last lines it has kept, the log gets what is new among them.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::OpenStackCloud;
use super::answers::ApiError;
use super::services::Service;
use super::session::{Call, RequestTimeouts};
use crate::cloud::{CUT, CloudError, Console, Server, ServerStatus, Trouble};

/// Most of a log that is compared with what comes, in bytes.
const COMPARED: usize = 4096;
/// Longest log that is kept, in bytes; of a longer one the beginning and the newest part.
const LONGEST: usize = 16 << 20;
const BEGINNING: usize = 4 << 20;
const NEWEST: usize = 8 << 20;
/// How long one fetch may take that nobody waits for.
pub(super) const IN_PASSING: Duration = Duration::from_secs(5);

impl OpenStackCloud {
    /// Brings the server's console log up to date, where Nova gives the console.
    pub(super) async fn fetch_console(&self, server: &Server) -> Result<Console, CloudError> {
        let tried = format!("fetching the console of server {}", server.id);
        let call = Call::post(
            Service::Compute,
            format!("servers/{}/action", server.id),
            json!({"os-getConsoleOutput": {}}),
        );
        let answer = match self.session.call(&call.timeouts(RequestTimeouts::SHORT)).await {
            Ok(answer) => answer,
            // Nova's driver of this hypervisor cannot read consoles.
            Err(ApiError::Refused { status: 501, message, .. }) => return Ok(Console::Never(message)),
            // Of a server that runs: ConsoleNotAvailable. Of another one: not started yet, or gone already.
            Err(ApiError::Refused { status: 404, message, .. }) => {
                let runs = self.ask_status(&server.id, RequestTimeouts::SHORT).await? == ServerStatus::Active;
                return Ok(if runs { Console::Never(message) } else { Console::NotNow(message) });
            }
            // InstanceNotReady: no host has it yet.
            Err(ApiError::Refused { status: 409, message, .. }) => return Ok(Console::NotNow(message)),
            Err(error) => return Err(error.when(&tried)),
        };
        let output = answer.get("output").and_then(Value::as_str).unwrap_or_default();
        append_new(&server.console_log, output).await.map_err(|error| {
            let message = format!("{tried}: cannot write {}: {error}", server.console_log.display());
            CloudError::new(Trouble::Fault, message)
        })?;
        Ok(Console::Given)
    }
}

async fn append_new(log: &Path, output: &str) -> std::io::Result<()> {
    let known = match tokio::fs::read(log).await {
        Ok(known) => known,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let news = new_part(&known, output.as_bytes());
    if news.is_empty() {
        return Ok(());
    }
    if known.len() + news.len() > LONGEST {
        // Whole at every instant: whoever reads it sees that it has become shorter.
        let shorter = log.with_extension("log.shorter");
        tokio::fs::write(&shorter, shortened(&[known, news].concat())).await?;
        return tokio::fs::rename(&shorter, log).await;
    }
    let mut file = tokio::fs::OpenOptions::new().create(true).append(true).open(log).await?;
    file.write_all(&news).await?;
    file.flush().await
}

/// A log that is too long, without its middle: a panic comes last. What was left out before is part of that.
fn shortened(log: &[u8]) -> Vec<u8> {
    let gap = format!("\n{CUT}\n");
    let beginning = log.get(..BEGINNING).unwrap_or(log);
    let earlier = beginning.windows(gap.len()).position(|window| window == gap.as_bytes());
    let end = earlier.or_else(|| beginning.iter().rposition(|byte| *byte == b'\n'));
    let beginning = end.and_then(|end| beginning.get(..end)).unwrap_or(beginning);
    let newest = log.get(log.len().saturating_sub(NEWEST)..).unwrap_or(log);
    let line = newest.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    [beginning, gap.as_bytes(), newest.get(line..).unwrap_or(newest)].concat()
}

/// What of `output` comes after `known`. Nova keeps the end of long consoles: where nothing fits together any
/// more, all of it is new.
fn new_part(known: &[u8], output: &[u8]) -> Vec<u8> {
    if let Some(rest) = output.strip_prefix(known) {
        return rest.to_vec();
    }
    let end = known.get(known.len().saturating_sub(COMPARED)..).unwrap_or_default();
    if end.is_empty() {
        return output.to_vec();
    }
    match output.windows(end.len()).rposition(|window| window == end) {
        Some(at) => output.get(at + end.len()..).unwrap_or_default().to_vec(),
        None => [b"\n[...]\n", output].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::openstack::stage::{self, Stage};

    #[tokio::test]
    async fn a_cloud_without_consoles_is_told_from_a_server_that_does_not_run() {
        let refused = |status: u16| {
            let body = r#"{"itemNotFound": {"message": "Guest does not have a console available."}}"#;
            format!("HTTP/1.1 {status} No\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        };
        for (status, server, never) in [
            (501, "ACTIVE", true),
            (404, "ACTIVE", true),
            (404, "BUILD", false),
            (404, "SHUTOFF", false),
            (409, "ACTIVE", false),
        ] {
            let stage = Stage::with(move |request| match request {
                "POST /servers/s/action" => refused(status),
                "GET /servers/s" => stage::json(&json!({"server": {"status": server}})),
                _ => stage::json(&json!({})),
            })
            .await;
            let folder = tempfile::tempdir().unwrap();
            let server = Server {
                id: "s".to_owned(),
                name: "image-manager-b".to_owned(),
                flavor: String::new(),
                console_log: folder.path().join("console.log"),
            };
            let given = stage.cloud().fetch_console(&server).await.unwrap();
            assert_eq!(matches!(given, Console::Never(_)), never, "{status}: {given:?}");
            assert_eq!(matches!(given, Console::NotNow(_)), !never, "{status}: {given:?}");
        }
        let stage = Stage::with(move |_| refused(403)).await;
        let server = Server {
            id: "s".to_owned(),
            name: "image-manager-b".to_owned(),
            flavor: String::new(),
            console_log: "console.log".into(),
        };
        assert!(stage.cloud().fetch_console(&server).await.is_err());
    }

    #[test]
    fn only_what_is_new_is_appended() {
        assert_eq!(new_part(b"", b"one\n"), b"one\n");
        assert_eq!(new_part(b"one\n", b"one\ntwo\n"), b"two\n");
        assert_eq!(new_part(b"one\n", b"one\n"), b"");
        let long: Vec<u8> = (0..2000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
        let window = [&long[9000..], b"more\n"].concat();
        assert_eq!(new_part(&long, &window), b"more\n");
        assert_eq!(new_part(b"one\n", b"another boot\n"), b"\n[...]\nanother boot\n");
    }

    #[tokio::test]
    async fn the_log_grows() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("console.log");
        for output in ["a\n", "a\nb\n", "a\nb\n"] {
            append_new(&log, output).await.unwrap();
        }
        assert_eq!(std::fs::read_to_string(log).unwrap(), "a\nb\n");
    }

    #[tokio::test]
    async fn a_log_that_is_too_long_keeps_its_beginning_and_what_came_last() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("console.log");
        append_new(&log, "the first line\n").await.unwrap();
        for round in 0..3 {
            let known = std::fs::read_to_string(&log).unwrap();
            // Longer than the line that tells of the gap.
            let line = format!("{round} something that the kernel says\n");
            let filler = line.repeat((LONGEST - known.len()) / line.len());
            append_new(&log, &format!("{known}{filler}")).await.unwrap();
            let panic = format!("Kernel panic - not syncing: something is wrong in round {round}\n");
            append_new(&log, &format!("{known}{filler}{panic}")).await.unwrap();
            let kept = std::fs::read_to_string(&log).unwrap();
            assert!(kept.starts_with("the first line\n") && kept.ends_with(&panic), "{round}");
            assert_eq!(kept.lines().filter(|line| *line == CUT).count(), 1, "{round}");
            assert!(kept.len() < LONGEST && kept.lines().all(|line| line.len() < 60), "{round}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
