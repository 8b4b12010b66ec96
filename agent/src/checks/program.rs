//! Programs of the guest, for checks that ask them. Each has a deadline and bounded output, and neither it nor what it
//! has started outlives its question.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::thread::{Gid, Uid, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};

use super::accounts::User;
use crate::guest::Guest;
use crate::text;

/// Where programs are looked for, in this order.
const PLACES: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
pub(super) const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Most bytes that are kept of what a program writes to one of its streams. More is read and dropped.
const MOST_OUTPUT: usize = 1 << 20;
/// So long what it wrote may take to come after its end. Something that it left behind may hold the pipe.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A program of the guest and its arguments. No shell sees them.
#[derive(Debug, Clone)]
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    input: String,
    user: Option<User>,
}

/// How a program ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ended {
    /// Its exit code. None: it could not be started, was killed, or the time was up.
    pub(super) code: Option<i32>,
    /// What it wrote to its standard output.
    pub(super) out: String,
    /// What it wrote to its standard error.
    pub(super) err: String,
    /// Why there is no exit code. Empty when there is one.
    pub(super) broken: String,
    /// The time was up before its end: what it would have said is not known.
    pub(super) late: bool,
}

impl Ended {
    /// It ended with exit code 0.
    pub(super) fn is_good(&self) -> bool {
        self.code == Some(0)
    }

    /// What went wrong, in one line: what it complained of, else what it said, else how it ended.
    pub(super) fn complaint(&self) -> String {
        let code = self.code.map(|code| format!("exit code {code}")).unwrap_or_default();
        let said = [&self.broken, &self.err, &self.out, &code];
        said.into_iter().map(|text| text::one_line(text)).find(|text| !text.is_empty()).unwrap_or_default()
    }
}

/// The guest's program of this name.
pub(super) fn find(guest: &Guest, name: &str) -> Option<PathBuf> {
    PLACES.iter().map(|place| guest.path(Path::new(place).join(name))).find(|path| path.is_file())
}

/// The guest's program of this name, to be given arguments and run. None: the guest has none.
pub(super) fn program(guest: &Guest, name: &str) -> Option<Program> {
    find(guest, name).map(Program::at)
}

impl Program {
    /// The program at this path, which is below the guest's root already.
    pub(super) fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            input: String::new(),
            user: None,
        }
    }

    /// With these arguments after those that it has.
    pub(super) fn with<T: Into<String>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.add(&mut arguments.into_iter().map(Into::into));
        self
    }

    /// Not generic: every list of another length would be code of its own in the agent.
    fn add(&mut self, arguments: &mut dyn Iterator<Item = String>) {
        for argument in arguments {
            self.arguments.push(argument);
        }
    }

    /// With a variable beside `PATH` and `LC_ALL=C`, which are all that it has.
    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this on its standard input. It should be short: the program need not read it before it writes.
    #[expect(dead_code, reason = "for checks that log in")]
    pub(super) fn input(mut self, input: &str) -> Self {
        input.clone_into(&mut self.input);
        self
    }

    /// As this user, with all its groups, as after a login: sudo and permissions of files go by the kernel's list.
    pub(super) fn user(mut self, user: &User) -> Self {
        self.user = Some(user.clone());
        self
    }

    /// Runs it until it ends or the deadline is there.
    pub(super) async fn run(&self, deadline: Instant) -> Ended {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .env("LC_ALL", "C")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(if self.input.is_empty() { Stdio::null() } else { Stdio::piped() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let started = match &self.user {
            Some(user) => spawn_as(user, &mut command),
            None => command.spawn(),
        };
        let mut child = match started {
            Ok(child) => child,
            Err(error) => return Ended { broken: format!("{name}: {error}"), ..Ended::default() },
        };
        let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()));
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let ended = timeout_at(deadline, self.listen(&mut child, &mut out, &mut err)).await;
        let late = ended.is_err();
        let (code, broken) = match ended {
            Ok(Ok((code, left_something))) => {
                if !left_something {
                    group.0 = None;
                }
                let broken = if code.is_none() { format!("{name} was killed") } else { String::new() };
                (code, broken)
            }
            Ok(Err(error)) => (None, format!("{name}: {error}")),
            Err(_) => (None, format!("{name} did not finish in time")),
        };
        Ended { code, out: as_text(&out), err: as_text(&err), broken, late }
    }

    /// Its exit code, and whether something still has its output open after its end.
    async fn listen(
        &self,
        child: &mut Child,
        out: &mut Vec<u8>,
        err: &mut Vec<u8>,
    ) -> io::Result<(Option<i32>, bool)> {
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not listen has its reasons.
            let _ = stdin.write_all(self.input.as_bytes()).await;
        }
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let reading = async { tokio::join!(keep(stdout, out), keep(stderr, err)) };
        tokio::pin!(reading);
        tokio::select! {
            _ = &mut reading => Ok((child.wait().await?.code(), false)),
            status = child.wait() => {
                let late = timeout(LAST_WORDS, reading).await.is_err();
                Ok((status?.code(), late))
            }
        }
    }
}

/// Starts a program as a user. The standard library can give it the user and the group, and takes all other groups away.
/// To the kernel a thread has credentials of its own, which what it starts inherits: so one becomes the user, starts the
/// program, and ends.
fn spawn_as(user: &User, command: &mut Command) -> io::Result<Child> {
    let runtime = Handle::current();
    thread::scope(|scope| {
        let starting = thread::Builder::new().name("as-user".to_owned()).spawn_scoped(scope, || {
            let _inside = runtime.enter();
            become_user(user)?;
            command.spawn()
        })?;
        starting.join().unwrap_or_else(|_| Err(io::Error::other("the thread that starts it has ended")))
    })
}

/// Only this thread becomes it, and for good.
fn become_user(user: &User) -> io::Result<()> {
    let groups: Vec<Gid> = user.groups.iter().map(|group| Gid::from_raw(*group)).collect();
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    set_thread_groups(&groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

/// The processes that a program and what it started are in; they end when this is dropped.
struct Group(Option<i32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
    }
}

/// Reads to the end, and keeps what is not too much.
pub(super) async fn keep(stream: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    let mut piece = vec![0; 8 << 10];
    while let Ok(count) = stream.read(&mut piece).await {
        if count == 0 {
            return;
        }
        let room = MOST_OUTPUT.saturating_sub(kept.len()).min(count);
        kept.extend(piece.iter().take(room));
    }
}

pub(super) fn as_text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Gives a made-up guest a program: a script for this host's shell.
#[cfg(test)]
pub(super) fn plant(guest: &Guest, name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = guest.path(Path::new("/usr/bin").join(name));
    std::fs::create_dir_all(guest.path("/usr/bin")).unwrap();
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[cfg(test)]
mod tests {
    use super::super::accounts::Accounts;
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    fn shell(script: &str) -> Program {
        program(&Guest::default(), "sh").unwrap().with(["-c", script])
    }

    #[tokio::test]
    async fn both_streams_and_the_code_are_heard() {
        let ended = shell("echo out; echo no such thing >&2; echo $LC_ALL $A; exit 3")
            .env("A", "b")
            .run(soon())
            .await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(3), "out\nC b\n"));
        assert_eq!(ended.complaint(), "no such thing");
        assert!(!ended.is_good());
        assert_eq!(shell("exit 7").run(soon()).await.complaint(), "exit code 7");
    }

    #[tokio::test]
    async fn what_cannot_be_started_says_why() {
        let ended = Program::at("/no/such/program").run(soon()).await;
        assert_eq!(ended.code, None);
        assert!(ended.complaint().starts_with("program: ") && !ended.late, "{ended:?}");
        assert!(find(&Guest::default(), "no-such-program").is_none());
    }

    #[tokio::test]
    async fn a_flood_is_cut() {
        let ended = shell("head -c 5000000 /dev/zero").run(soon()).await;
        assert_eq!((ended.code, ended.out.len()), (Some(0), MOST_OUTPUT));
    }

    #[tokio::test]
    async fn what_hangs_is_ended_with_all_that_it_started() {
        let root = tempfile::tempdir().unwrap();
        let pid = root.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", pid.display());
        let ended = shell(&script).run(Instant::now() + Duration::from_millis(500)).await;
        assert_eq!((ended.broken.as_str(), ended.late), ("sh did not finish in time", true));
        assert_gone(&pid).await;
    }

    #[tokio::test]
    async fn what_is_left_behind_is_ended() {
        let root = tempfile::tempdir().unwrap();
        let pid = root.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; echo done", pid.display());
        let ended = shell(&script).run(soon()).await;
        assert_eq!((ended.code, ended.out.as_str()), (Some(0), "done\n"));
        assert_gone(&pid).await;
    }

    #[tokio::test]
    async fn a_user_has_its_groups_as_after_a_login() {
        if !nix::unistd::getuid().is_root() {
            return;
        }
        let passwd = "ops:x:54321:54321::/:/bin/sh\n";
        let accounts = Accounts::parse(passwd, "", "ops:x:54321:\nadm:x:4:ops\ndocker:x:54399:daemon,ops\n");
        let ops = accounts.find("ops").unwrap();
        let ended = shell("id -u; id -g; id -G; grep ^CapEff: /proc/self/status").user(ops).run(soon()).await;
        assert_eq!(ended.out, "54321\n54321\n54321 4 54399\nCapEff:\t0000000000000000\n", "{ended:?}");
        let own = shell("id -u").run(soon()).await;
        assert_eq!(own.out, "0\n", "the agent is still root");
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(status.lines().any(|line| line.starts_with("Uid:\t0\t0\t0\t0")), "{status}");
    }

    /// A killed process may be seen for a moment until somebody takes note of its end.
    async fn assert_gone(pid: &Path) {
        let pid = std::fs::read_to_string(pid).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        for _ in 0..50 {
            let stat = std::fs::read_to_string(&stat).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{stat} is still there");
    }
}
