//! A program of the host's package manager: as an account without rights, with a deadline and bounds.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, User};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::time::{Instant, timeout_at};

use super::Doubt;
use crate::builder::PASSED_ON;
use crate::programs;

/// apt's account for what it does with others' data.
const ACCOUNT: &str = "_apt";
/// What a program may say, in bytes.
const MOST_SAID: u64 = 8 << 20;
/// The largest file that it may write, in bytes, and its seconds of CPU.
const LARGEST_FILE: u64 = 1 << 30;
const MOST_CPU: u64 = 120;

/// Whom the programs run as.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Account {
    /// `None`: as who this process is. A manager that is root takes apt's own.
    pub(super) fn choose() -> Result<Option<Self>, Doubt> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(None);
        }
        let user = User::from_name(ACCOUNT).ok().flatten();
        let user = user.ok_or_else(|| Doubt::NotHere(format!("there is no account {ACCOUNT}")))?;
        Ok(Some(Self { uid: user.uid.as_raw(), gid: user.gid.as_raw() }))
    }
}

/// What a program said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) status: ExitStatus,
    pub(super) out: String,
    pub(super) err: String,
}

/// When there has to be an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    at: Instant,
    patience: Duration,
}

impl Deadline {
    pub(super) fn after(patience: Duration) -> Self {
        Self { at: Instant::now() + patience, patience }
    }

    pub(super) fn missed(self) -> Doubt {
        Doubt::NotInTime(self.patience)
    }
}

/// Its process group; killed when nobody waits any more.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Fails only when nothing of the group is left.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// Runs a program that is found by its name, or is at this path, to its end.
pub(super) async fn run(
    name: &str,
    arguments: &[impl AsRef<OsStr>],
    environment: &[(&str, PathBuf)],
    account: Option<Account>,
    deadline: Deadline,
) -> Result<Said, Doubt> {
    let missing = |name: &str| Doubt::NotHere(format!("{name} is not installed"));
    let program = programs::find(name).ok_or_else(|| missing(name))?;
    let limits = programs::find("prlimit").ok_or_else(|| missing("prlimit"))?;
    let bound = programs::find("setpriv").ok_or_else(|| missing("setpriv"))?;
    let mut command = Command::new(bound);
    command
        // With a manager that is killed it ends, too.
        .args(["--pdeathsig=KILL", "--"])
        .arg(limits)
        .args([format!("--fsize={LARGEST_FILE}"), format!("--cpu={MOST_CPU}"), "--core=0".to_owned()])
        .arg("--")
        .arg(program)
        .args(arguments)
        .env_clear()
        .envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .envs(environment.iter().map(|(name, value)| (*name, value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(Account { uid, gid }) = account {
        command.uid(uid).gid(gid);
    }
    let mut child = command.spawn()?;
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let work = async {
        let (out, err) = tokio::join!(all(out), all(err));
        // Without its reader it ends; with it, it has ended already.
        Ok::<_, std::io::Error>(Said { out: out?, err: err?, status: child.wait().await? })
    };
    let Ok(said) = timeout_at(deadline.at, work).await else {
        drop(group);
        // The directory that it writes to is removed next.
        let _ = child.wait().await;
        return Err(deadline.missed());
    };
    // Reaped: its number may be another's.
    if said.is_ok() {
        group.0 = None;
    }
    Ok(said?)
}

/// All that comes, up to a bound, after which it is an error.
async fn all(from: Option<impl AsyncRead + Unpin>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(MOST_SAID + 1).read_to_end(&mut bytes).await?;
    }
    if bytes.len() as u64 > MOST_SAID {
        return Err(std::io::Error::other("it prints too much"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_runs_without_rights_and_not_for_ever() {
        let account = Account::choose().unwrap();
        let deadline = Deadline::after(Duration::from_secs(20));
        let said = run("sh", &["-c", "id -u; echo no >&2; exit 3"], &[], account, deadline).await.unwrap();
        assert_ne!(said.out.trim(), "0");
        assert_eq!((said.err.trim(), said.status.code()), ("no", Some(3)));

        let began = Instant::now();
        let deadline = Deadline::after(Duration::from_millis(300));
        let late = run("sh", &["-c", "sleep 57.31 & wait"], &[], account, deadline).await.unwrap_err();
        assert!(matches!(late, Doubt::NotInTime(_)), "{late}");
        assert!(began.elapsed() < Duration::from_secs(10));
        let left = std::process::Command::new("pgrep").args(["-f", "^sleep 57.31"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&left.stdout), "", "what it started is left");
        let none = run("no-such-program", &[""; 0], &[], account, deadline).await.unwrap_err();
        assert!(none.to_string().contains("not installed"), "{none}");
    }

    #[test]
    fn it_ends_with_whoever_started_it() {
        let running = || {
            let found =
                std::process::Command::new("pgrep").args(["-f", r"^[^ ]*/sleep 57\.32$"]).output().unwrap();
            !found.stdout.is_empty()
        };
        let wait_until = |wanted: bool| {
            let end = std::time::Instant::now() + Duration::from_secs(10);
            while running() != wanted {
                assert!(std::time::Instant::now() < end, "it is running: {}", !wanted);
                std::thread::park_timeout(Duration::from_millis(50));
            }
        };
        let (seen, ends) = std::sync::mpsc::channel::<()>();
        let starter = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let deadline = Deadline::after(Duration::from_secs(50));
            let mut work =
                Box::pin(async move { run("sleep", &["57.32"], &[], None, deadline).await.map(|_| ()) });
            runtime.block_on(async {
                let _ = tokio::time::timeout(Duration::from_millis(200), &mut work).await;
            });
            ends.recv().unwrap();
            // As in a manager that is killed: nothing is dropped, and nobody signals.
            std::mem::forget(work);
            std::mem::forget(runtime);
        });
        wait_until(true);
        seen.send(()).unwrap();
        starter.join().unwrap();
        wait_until(false);
    }
}
