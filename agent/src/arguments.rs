//! The command line. Three flags do not need a library that is larger than the rest of the agent.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::checks::script::keeper;
use crate::{Config, console};

/// Wrong usage, as `sysexits.h` numbers it.
const EXIT_USAGE: u8 = 64;

const HELP: &str = "\
Runs inside an image under test: takes checks from the manager, reports, removes itself.

Usage: image-manager-agent [--meta-data FILE]

  --meta-data FILE  read the instance metadata (Nova's meta_data.json) from this file, not from the
                    config drive or the metadata service
  --version         print the version
  --help            print this

Started without metadata from a manager, it removes itself from the paths where images have it.
";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Run {
        meta_data: Option<PathBuf>,
    },
    /// For the agent's own use: see [`keeper`].
    Keep(Vec<OsString>),
    Version,
    Help,
}

fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let mut arguments = arguments.peekable();
    if arguments.next_if(|first| first == keeper::FLAG).is_some() {
        return Ok(Command::Keep(arguments.collect()));
    }
    let mut meta_data = None;
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--version" | "-V") => return Ok(Command::Version),
            Some("--help" | "-h") => return Ok(Command::Help),
            Some("--meta-data") => {
                let file = arguments.next().ok_or("--meta-data needs a file")?;
                meta_data = Some(PathBuf::from(file));
            }
            _ => return Err(format!("unknown argument {}", argument.display())),
        }
    }
    Ok(Command::Run { meta_data })
}

/// The program, from its arguments (without its name) to its exit code.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    match parse(arguments) {
        Ok(Command::Run { meta_data }) => run(Config { meta_data, ..Config::default() }),
        Ok(Command::Keep(arguments)) => keeper::main(&arguments),
        Ok(Command::Version) => print(&format!("image-manager-agent {}\n", env!("CARGO_PKG_VERSION"))),
        Ok(Command::Help) => print(HELP),
        Err(complaint) => {
            console::install();
            tracing::error!("{complaint}; see --help");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the help and the version are ours")]
fn print(text: &str) -> ExitCode {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(config: Config) -> ExitCode {
    console::install();
    // One thread: the agent waits nearly all of its life. What blocks (files, devices) has its own.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = match runtime.block_on(async move { crate::run(&config).await }) {
        Ok(end) => {
            tracing::info!("done: {}", console::describe(end));
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    };
    // A thread that hangs on a broken disk must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Command, String> {
        parse(arguments.iter().map(OsString::from))
    }

    #[test]
    fn arguments_are_understood() {
        assert_eq!(parsed(&[]), Ok(Command::Run { meta_data: None }));
        assert_eq!(
            parsed(&["--meta-data", "/x.json"]),
            Ok(Command::Run { meta_data: Some(PathBuf::from("/x.json")) })
        );
        assert_eq!(parsed(&["--version"]), Ok(Command::Version));
        assert_eq!(parsed(&["--help"]), Ok(Command::Help));
        let kept = Command::Keep(vec!["-".into(), "--help".into()]);
        assert_eq!(parsed(&[keeper::FLAG, "-", "--help"]), Ok(kept), "what follows is not the agent's");
    }

    #[test]
    fn wrong_arguments_are_named() {
        assert_eq!(parsed(&["--meta-data"]), Err("--meta-data needs a file".to_owned()));
        assert_eq!(parsed(&["start"]), Err("unknown argument start".to_owned()));
    }
}
