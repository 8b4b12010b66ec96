//! `image-manager logs`: a build's logs, from their files.

use std::io::IsTerminal as _;
use std::time::Duration;

use super::arguments::LogsArguments;
use super::instance::open_history;
use super::show::not_found;
use super::text;
use super::{Exit, Outcome, Trouble};
use crate::lifecycle::{files, plain_line, state};

/// How often a followed log is looked at.
const LOOK: Duration = Duration::from_millis(300);
/// Most that is read at once, in bytes.
const CHUNK: u64 = 1 << 20;

pub(crate) async fn run(arguments: LogsArguments) -> Outcome {
    let history = open_history(&arguments.state.state)?;
    let id = history.resolve(&arguments.build).await.map_err(not_found)?;
    let file = match &arguments.which {
        which if which.console => files::CONSOLE_LOG,
        which if which.agent => files::AGENT_LOG,
        _ => files::BUILD_LOG,
    };
    let path = files::directory(&arguments.state.state, &id).join(file);
    let mut offset = 0;
    let mut out = Out::new();
    loop {
        // Asked before the file is read: what was written before the end is printed.
        let build = history.build(&id).await.map_err(Trouble::errored)?;
        let ended = state::is_end(build.state());
        while let Some(chunk) = read(&path, offset).await.map_err(Trouble::errored)? {
            offset += chunk.len() as u64;
            out.take(&chunk);
        }
        if ended || !arguments.follow {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    out.finish();
    if offset == 0 && !path.exists() {
        let why = if path.parent().is_some_and(std::path::Path::exists) {
            "it did not come that far"
        } else {
            "it did not come that far, or its logs were taken away meanwhile (serve --keep-logs, --logs-room)"
        };
        return Err(Trouble::errored(format!(
            "build {id} has no {file}: {why}; `image-manager show {id}` shows what is known"
        )));
    }
    Ok(Exit::Done)
}

/// Where a log goes: to a file or a pipe as it is; to a terminal line by line, without what would steer it.
struct Out {
    terminal: bool,
    /// The line that is not whole yet.
    partial: Vec<u8>,
}

impl Out {
    fn new() -> Self {
        Self { terminal: std::io::stdout().is_terminal(), partial: Vec::new() }
    }

    fn take(&mut self, chunk: &[u8]) {
        if !self.terminal {
            return text::print_bytes(chunk);
        }
        self.partial.extend_from_slice(chunk);
        if let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') {
            let rest = self.partial.split_off(end + 1);
            let whole = std::mem::replace(&mut self.partial, rest);
            text::print(&tame(&whole));
        }
    }

    fn finish(&mut self) {
        if !self.partial.is_empty() {
            text::print(&tame(&std::mem::take(&mut self.partial)));
        }
    }
}

fn tame(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).lines().fold(String::new(), |out, line| out + &plain_line(line) + "\n")
}

async fn read(path: &std::path::Path, offset: u64) -> std::io::Result<Option<Vec<u8>>> {
    use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
    let mut file = match tokio::fs::File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    file.seek(std::io::SeekFrom::Start(offset)).await?;
    let mut chunk = Vec::new();
    file.take(CHUNK).read_to_end(&mut chunk).await?;
    Ok((!chunk.is_empty()).then_some(chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_does_not_steer_the_terminal() {
        assert_eq!(tame(b"\x1b[2Jone\n\x1b]0;title\x07two\r\n\xff\n"), "one\n0;titletwo\n\u{fffd}\n");
    }
}
