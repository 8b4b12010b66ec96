//! `image-manager logs`: a build's logs, from their files.

use std::path::PathBuf;
use std::time::Duration;

use image_manager_proto::v1;

use super::arguments::LogsArguments;
use super::instance::open_history;
use super::show::not_found;
use super::text;
use super::{Exit, Outcome, Trouble};
use crate::lifecycle::trials::several;
use crate::lifecycle::{files, state};
use crate::untrusted::log_file::{Lines, ShownLog};

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
    let build = history.build(&id).await.map_err(Trouble::errored)?;
    let path = directory(&arguments, &build, file)?.join(file);
    let lines = if file == files::AGENT_LOG { Lines::Json } else { Lines::Text };
    let begin = || if arguments.raw { LogOutput::Raw } else { LogOutput::Shown(ShownLog::new(lines)) };
    let (mut out, mut offset, mut found) = (begin(), 0, false);
    loop {
        // Asked before the file is read: what was written before the end is printed.
        let build = history.build(&id).await.map_err(Trouble::errored)?;
        let ended = state::is_end(build.state());
        if is_shorter(&path, offset).await.map_err(Trouble::errored)? {
            // The next server of a trial has a console of its own.
            out.finish();
            (out, offset) = (begin(), 0);
        }
        while let Some(chunk) = read(&path, offset).await.map_err(Trouble::errored)? {
            offset += chunk.len() as u64;
            found = true;
            out.take(&chunk);
        }
        if ended || !arguments.follow {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    out.finish();
    if !found && !path.exists() {
        let why = if files::directory(&arguments.state.state, &id).exists() {
            "it did not get that far"
        } else {
            "it did not get that far, or its logs have been removed since (serve --keep-logs, --logs-room)"
        };
        return Err(Trouble::errored(format!(
            "build {id} has no {file}: {why}; `image-manager show {id}` shows what is known"
        )));
    }
    Ok(Exit::Done)
}

/// Where the log is: at the top of the build's directory, or with the target that it is of.
fn directory(arguments: &LogsArguments, build: &v1::Build, file: &str) -> Result<PathBuf, Trouble> {
    let state = &arguments.state.state;
    let trials = several(build);
    let targets = || {
        let names: Vec<_> = build.trials.iter().map(|trial| trial.target.as_str()).collect();
        names.join(", ")
    };
    match &arguments.target {
        Some(name) if !build.trials.iter().any(|trial| trial.target == *name) => Err(Trouble::usage(
            format!("build {} has no target {name:?}; its targets are {}", build.id, targets()),
        )),
        None if file != files::BUILD_LOG && !trials.is_empty() => Err(Trouble::usage(format!(
            "build {} has a {file} for each of its targets: add --target NAME, one of {}",
            build.id,
            targets()
        ))),
        Some(name) => Ok(files::of_trial(state, &build.id, name, trials.is_empty())),
        None => Ok(files::directory(state, &build.id)),
    }
}

/// How a log is printed: as it may be shown, or as it is.
enum LogOutput {
    Shown(ShownLog),
    Raw,
}

impl LogOutput {
    fn take(&mut self, chunk: &[u8]) {
        match self {
            Self::Shown(log) => text::print_document(&log.take(chunk)),
            Self::Raw => text::print_raw(chunk),
        }
    }

    fn finish(&mut self) {
        if let Self::Shown(log) = self {
            text::print_document(&log.finish());
        }
    }
}

/// Whether the log ends before this offset, or is not there: another one takes its place.
async fn is_shorter(path: &std::path::Path, offset: u64) -> std::io::Result<bool> {
    match tokio::fs::metadata(path).await {
        Ok(metadata) => Ok(metadata.len() < offset),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(offset > 0),
        Err(error) => Err(error),
    }
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

    #[tokio::test]
    async fn a_log_that_begins_anew_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("console.log");
        assert!(!is_shorter(&path, 0).await.unwrap(), "it is not there yet");
        std::fs::write(&path, "first server\n").unwrap();
        assert!(!is_shorter(&path, 13).await.unwrap());
        std::fs::write(&path, "second\n").unwrap();
        assert!(is_shorter(&path, 13).await.unwrap());
        std::fs::remove_file(&path).unwrap();
        assert!(is_shorter(&path, 13).await.unwrap());
    }
}
