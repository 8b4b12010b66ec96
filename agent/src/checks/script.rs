//! Check `script`: a program of the user's says whether the image is good.
//!
//! It comes over the stream and is written to a private directory of its own, which goes when it has ended; the removal
//! report names that directory. What it started and left behind is killed by a process of its own ([`keeper`]); should a
//! script have killed that, by a variable in the environment.
//! Lines in the Test Anything Protocol (<https://testanything.org/tap-version-14-specification.html>) are told one by one.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use image_manager_proto::v1::CheckOutcome;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use serde_json::json;

use super::commands::USER;
use super::descriptor::{BadSettings, Check, Examination, Key, Observer, Set, ValueType};
use super::program::Ended;
use super::{Judgement, LONG_TIMEOUT, accounts, boot};
use crate::guest::Guest;

pub(crate) mod keeper;
mod tap;
use keeper::Script;

/// Where scripts lie while they run. `/run` and `/tmp` are often mounted so that nothing there can be run.
pub const DIRECTORY: &str = "/var/lib/image-manager-scripts";
/// In the environment of a script: marks what it starts.
const MARK: &str = "IMAGE_MANAGER_SCRIPT";
/// Most bytes of a script.
const LARGEST: u64 = 64 << 10;
/// So long before the check's time is up the script ends, so that what it left can be taken away.
const CLEARING: Duration = Duration::from_secs(2);
/// Lines of the output that are kept from its beginning, and from its end.
const LINES: (usize, usize) = (12, 24);

/// The check.
pub static CHECK: Check = Check {
    kind: "script",
    proves: "a program of your own ends with exit code 0, or reports only passed points in the Test Anything Protocol",
    details: "The file is sent to the server and run there, in a private directory, once cloud-init has ended or most \
              of the check's time has passed. Its first line says what runs it, as in `#!/bin/sh`. Lines `ok 1 - name` \
              and `not ok 2 - name` are each shown as a point. Its output is kept, cut to a few lines. Processes that \
              it leaves behind are killed, daemons among them, and the directory is removed; a service that it starts \
              through systemd stays. If it fails while cloud-init still runs, the check is inconclusive: give it a \
              `timeout` that is twice as long as cloud-init takes.",
    set: Set::Named,
    observer: Observer::Agent,
    timeout: LONG_TIMEOUT,
    cost: "waits for cloud-init to finish; then what the script costs",
    repeatable: false,
    keys: &[
        Key {
            name: "file",
            value: ValueType::File { largest: LARGEST },
            default: "",
            help: "the path of the script, relative to the directory of the schedules file; at most 64 KiB of text",
        },
        Key {
            name: "user",
            value: ValueType::Text(&USER),
            default: "root",
            help: "the user that it runs as",
        },
    ],
    examine: Some(|asked| Box::pin(examine(asked))),
};

/// Its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The script's text.
    pub file: String,
    /// Who it runs as. Empty: root.
    pub user: String,
}

async fn examine(asked: Examination) -> Result<Judgement, BadSettings> {
    let settings: Settings = asked.settings()?;
    let settled = boot::cloud_init_ended(&asked.guest, boot::with_time_to_run(asked.deadline)).await;
    let ended = match ScriptDirectory::make(&asked.guest, &settings) {
        Ok(place) => {
            let end = asked.deadline.checked_sub(CLEARING).unwrap_or(asked.deadline);
            let ended = keeper::run(&place.script(), end).await;
            place.clear();
            ended
        }
        Err(why) => Ended { broken: why, ..Ended::default() },
    };
    Ok(judge(&settings, !settled, &ended))
}

/// The private directory of one script. It goes, and all that the script started, when this is dropped.
struct ScriptDirectory {
    directory: PathBuf,
    mark: String,
    script: PathBuf,
    user: Option<accounts::User>,
}

impl ScriptDirectory {
    fn make(guest: &Guest, settings: &Settings) -> Result<Self, String> {
        let user = match settings.user.as_str() {
            "" | "root" => None,
            name => Some(accounts::find(guest, name).ok_or_else(|| format!("the image has no user {name}"))?),
        };
        let mark = random_name();
        let parent = guest.path(DIRECTORY);
        let directory = parent.join(&mark);
        let place = Self { script: directory.join("script"), directory, mark, user };
        place.write(&parent, &settings.file).map_err(|error| {
            format!("the script cannot be written to {}: {error}", place.directory.display())
        })?;
        Ok(place)
    }

    fn write(&self, parent: &Path, script: &str) -> io::Result<()> {
        // Others may go through it to their own, and see nothing.
        match DirBuilder::new().mode(0o711).create(parent) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(&self.directory)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o700).open(&self.script)?;
        file.write_all(script.as_bytes())?;
        if let Some(user) = &self.user {
            chown(&self.script, Some(user.uid), Some(user.gid))?;
            chown(&self.directory, Some(user.uid), Some(user.gid))?;
        }
        Ok(())
    }

    fn script(&self) -> Script<'_> {
        let user = self.user.as_ref();
        Script {
            path: &self.script,
            directory: &self.directory,
            user: user.map(|user| (user.uid, user.groups.as_slice())),
            mark: &self.mark,
            environment: vec![
                ("TMPDIR", self.directory.to_str().unwrap_or("/tmp")),
                ("HOME", user.map_or("/root", |user| &user.home)),
                ("USER", user.map_or("root", |user| &user.name)),
            ],
        }
    }

    /// Kills what the script left behind, and takes its directory away. Also when it is dropped; said here so that it is
    /// seen where it happens.
    fn clear(self) {
        drop(self);
    }
}

impl Drop for ScriptDirectory {
    fn drop(&mut self) {
        let mark = format!("{MARK}={}", self.mark);
        // Again, for what a process starts while its like are being killed.
        for _ in 0..5 {
            if kill_marked(mark.as_bytes()) == 0 {
                break;
            }
        }
        // The directory above it goes with the agent, and its removal is reported.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Kills the processes that have this in their environment, and says how many there were.
fn kill_marked(mark: &[u8]) -> usize {
    let Ok(processes) = fs::read_dir("/proc") else { return 0 };
    let ids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let marked = |id: &i32| {
        let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark)
    };
    ids.filter(marked).filter(|id| kill(Pid::from_raw(*id), Signal::SIGKILL).is_ok()).count()
}

fn random_name() -> String {
    let mut bytes = [0_u8; 8];
    // Without randomness the directory is made anew, or not at all.
    let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes);
    bytes.iter().fold(String::new(), |name, byte| name + &format!("{byte:02x}"))
}

/// What the script's end and words mean. `unsettled`: cloud-init had not ended when it began.
fn judge(settings: &Settings, unsettled: bool, ended: &Ended) -> Judgement {
    let points = tap::read(&ended.out);
    let (outcome, summary) = boot::unless_unsettled(unsettled, verdict(settings, ended, points.as_ref()));
    let told: Vec<_> = points.iter().flat_map(|report| &report.points).map(tap::Point::as_json).collect();
    let observations = json!({
        "exit_code": ended.code,
        "broken": ended.broken,
        "points": told,
        "output": ends(&ended.out),
        "errors": ends(&ended.err),
        "cloud_init_ended": !unsettled,
    });
    Judgement::new(outcome, summary, &observations)
}

fn verdict(settings: &Settings, ended: &Ended, points: Option<&tap::Report>) -> (CheckOutcome, String) {
    use CheckOutcome::{Fail, Pass, Skipped};
    if settings.file.is_empty() {
        return (Skipped, "checks.script.file names no script".to_owned());
    }
    let Some(code) = ended.code else {
        return (Fail, format!("the script did not complete: {}", ended.complaint()));
    };
    if let Some(report) = points {
        if let Some(wrong) = report.wrong() {
            return (Fail, wrong);
        }
        if code == 0 {
            return (Pass, report.summary());
        }
    }
    if code == 0 {
        return (Pass, "the script ended with exit code 0".to_owned());
    }
    (Fail, format!("the script ended with exit code {code}: {}", ended.complaint()))
}

/// The first and the last lines of a text.
fn ends(said: &str) -> Vec<String> {
    let lines: Vec<&str> = said.lines().collect();
    let (first, last) = LINES;
    if lines.len() <= first + last {
        return lines.into_iter().map(str::to_owned).collect();
    }
    let left_out = lines.len() - first - last;
    let head = lines.iter().take(first).map(|line| (*line).to_owned());
    let tail = lines.iter().skip(first + left_out).map(|line| (*line).to_owned());
    head.chain([format!("({left_out} lines left out)")]).chain(tail).collect()
}

#[cfg(test)]
mod tests;
