//! A process between the agent and a script, which leaves nothing of it behind.
//!
//! A process whose parent has ended belongs to the next ancestor that is a subreaper (prctl(2),
//! `PR_SET_CHILD_SUBREAPER`), else to the first process of the system, among whose children nobody could tell it from
//! others. It may have taken a session, a process group and an environment of its own, and closed its output. So each
//! script has such an ancestor to itself, which is this program once more: when the script has ended, or the agent says
//! so, it kills all that is below it until nothing is left, and ends as the script did. The agent says so by closing the
//! pipe that is the keeper's standard input: also by its own death.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant as Steady};

use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
#[cfg(not(test))]
use tokio::process::Command;
use tokio::time::{Instant, sleep_until, timeout};

use super::{CLEARING, MARK};
use crate::checks::program::{Ended, SEARCH_PATH, as_text, keep};

/// The agent's first argument that makes it a keeper; after it come user, mark and script.
pub(crate) const FLAG: &str = "--keep-script";
/// In place of a user with its groups, as in `1000:1000,4`: those of the agent.
const OWN: &str = "-";
/// So long what a script left behind may go on after its end: a `tee` of its output has something to write yet.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// So long killing may take. What the kernel does not end by then it may never end.
const KILLING: Duration = Duration::from_millis(1500);
const PAUSE: Duration = Duration::from_millis(10);
/// The script could not be started, as shells number it.
const NOT_STARTED: u8 = 127;

/// A script that is to be run.
pub(super) struct Script<'a> {
    /// The file.
    pub(super) path: &'a Path,
    /// Where it runs.
    pub(super) directory: &'a Path,
    /// Who it runs as, with its groups, the first one in front. None: as the agent.
    pub(super) user: Option<(u32, &'a [u32])>,
    /// The value of [`MARK`] in its environment, and not in the keeper's.
    pub(super) mark: &'a str,
    /// Variables beside `PATH` and `LC_ALL=C`.
    pub(super) environment: Vec<(&'static str, &'a str)>,
}

/// Runs a script until it ends or the time is there, and ends all that it started. So does dropping this.
pub(super) async fn run(script: &Script<'_>, end: Instant) -> Ended {
    let user = script.user.map_or_else(
        || OWN.to_owned(),
        |(user, groups)| {
            let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
            format!("{user}:{}", groups.join(","))
        },
    );
    let mut command = keeper(&[user.as_str(), script.mark], script.path);
    command
        .env_clear()
        .env("PATH", SEARCH_PATH)
        .env("LC_ALL", "C")
        .envs(script.environment.iter().copied())
        .current_dir(script.directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            return Ended { broken: format!("it cannot be watched over: {error}"), ..Ended::default() };
        }
    };
    // Its end is the order to kill all.
    let order = child.stdin.take();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let ended = {
        let over = async {
            let ((), (), status) = tokio::join!(keep(stdout, &mut out), keep(stderr, &mut err), child.wait());
            status
        };
        tokio::pin!(over);
        tokio::select! {
            status = &mut over => Some(status),
            () = sleep_until(end) => {
                drop(order);
                let _ = timeout(CLEARING, over).await;
                None
            }
        }
    };
    let late = ended.is_none();
    let (code, broken) = match ended {
        Some(Ok(status)) if status.code().is_none() => (None, "it was killed".to_owned()),
        Some(Ok(status)) => (status.code(), String::new()),
        Some(Err(error)) => (None, format!("its end is not known: {error}")),
        None => (None, "it did not finish in time".to_owned()),
    };
    Ended { code, out: as_text(&out), err: as_text(&err), broken, late }
}

/// This program once more, by what it was started from: its file may be gone.
#[cfg(not(test))]
fn keeper(arguments: &[&str], script: &Path) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg(FLAG).args(arguments).arg(script);
    command
}

#[cfg(test)]
use super::tests::keeper;

/// The keeper, from its arguments to its exit code.
pub(crate) fn main(arguments: &[OsString]) -> ExitCode {
    ExitCode::from(keep_script(arguments))
}

/// Ends with the script's exit code. A script that was killed has none, nor has then the keeper.
pub(super) fn keep_script(arguments: &[OsString]) -> u8 {
    let _ = set_child_subreaper(true);
    let (tell, told) = mpsc::channel();
    let (give, given) = mpsc::channel::<Child>();
    let tell_order = tell.clone();
    // Neither can be waited for beside the other, and this process does nothing else. Made before the script, which may
    // leave no room for another thread.
    let order = thread::Builder::new().spawn(move || {
        let _ = io::stdin().lock().read_to_end(&mut Vec::new());
        let _ = tell_order.send(None);
    });
    let wait = thread::Builder::new().spawn(move || {
        if let Ok(mut script) = given.recv() {
            let _ = tell.send(script.wait().ok());
        }
    });
    if let Err(error) = order.and(wait) {
        return not_started(&format!("it cannot be watched over: {error}"));
    }
    match start(arguments) {
        // Somebody takes it: the thread waits for it.
        Ok(script) => drop(give.send(script)),
        Err(why) => return not_started(&why),
    }
    let status: Option<ExitStatus> = told.recv().ok().flatten();
    if status.is_some() {
        let latest = Steady::now() + LAST_WORDS;
        while Steady::now() < latest && !below_this_process().is_empty() {
            if told.try_recv().is_ok() {
                break;
            }
            rest();
        }
    }
    end_all();
    let code = status.and_then(|status| u8::try_from(status.code()?).ok());
    if status.is_some_and(|status| status.signal().is_some()) {
        let _ = raise(Signal::SIGKILL);
    }
    code.unwrap_or(1)
}

fn start(arguments: &[OsString]) -> Result<Child, String> {
    let [user, mark, script] = arguments else {
        return Err(format!("{FLAG} needs a user, a mark and a script"));
    };
    let mut command = std::process::Command::new(script);
    command.env(MARK, mark).stdin(Stdio::null()).process_group(0);
    let started = if user == OWN {
        command.spawn()
    } else {
        let user = user.to_str().and_then(credentials).ok_or("the user must be as in 1000:1000,4, or `-`")?;
        spawn_as(user, &mut command)
    };
    started.map_err(|error| error.to_string())
}

/// A user and its groups.
fn credentials(text: &str) -> Option<(Uid, Vec<Gid>)> {
    let (user, groups) = text.split_once(':')?;
    let groups: Option<Vec<Gid>> =
        groups.split(',').map(|group| group.parse().ok().map(Gid::from_raw)).collect();
    Some((Uid::from_raw(user.parse().ok()?), groups?))
}

/// The standard library can give a program a user and one group, and takes all other groups away. To the kernel a thread
/// has credentials of its own, which what it starts inherits: so one becomes the user, starts the program, and ends.
fn spawn_as((user, groups): (Uid, Vec<Gid>), command: &mut std::process::Command) -> io::Result<Child> {
    let first = groups.first().copied().ok_or(io::ErrorKind::InvalidInput)?;
    thread::scope(|scope| {
        let starting = scope.spawn(move || {
            set_thread_groups(&groups)?;
            set_thread_res_gid(first, first, first)?;
            set_thread_res_uid(user, user, user)?;
            command.spawn()
        });
        starting.join().unwrap_or_else(|_| Err(io::Error::other("the thread that starts it has ended")))
    })
}

#[expect(clippy::disallowed_methods, reason = "an error of the kernel's, in a process without a log")]
fn not_started(why: &str) -> u8 {
    let _ = writeln!(io::stderr(), "the script could not be started: {why}");
    NOT_STARTED
}

/// Kills all that is below this process, and what that starts meanwhile, until nothing is left.
fn end_all() {
    let latest = Steady::now() + KILLING;
    loop {
        let left = below_this_process();
        if left.is_empty() || Steady::now() >= latest {
            return;
        }
        for process in left {
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
        rest();
    }
}

/// The children of this process, theirs, and so on. Those of its own that have ended are taken note of, and are gone.
fn below_this_process() -> Vec<i32> {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            break;
        }
    }
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let parents: Vec<(i32, i32)> = numbers.filter_map(|process| Some((process, parent(process)?))).collect();
    let mut found = vec![Pid::this().as_raw()];
    let mut next = 0;
    while let Some(of) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, parent)| *parent == of).map(|(process, _)| *process));
        next += 1;
    }
    found.split_off(1)
}

/// The parent of a process, from a line like `7 (a name) S 1 ...`; the name may be anything.
fn parent(process: i32) -> Option<i32> {
    let stat = fs::read(format!("/proc/{process}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[expect(clippy::disallowed_methods, reason = "no runtime runs in this process")]
fn rest() {
    thread::sleep(PAUSE);
}
