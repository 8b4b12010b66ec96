//! Finding and ending the processes of a server, also those that another manager process started.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How often a process that was told to end is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A process as `/proc` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    pid: i32,
    /// Clock ticks after the machine's start: tells it from a later process with the same id.
    started: u64,
    /// Its command line.
    arguments: Vec<Vec<u8>>,
}

impl Process {
    /// The number by which people and signals know it.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Clock ticks after the machine's start, and the number for those of one tick: a process that was started by
    /// another comes after it.
    pub(super) fn age(&self) -> (u64, i32) {
        (self.started, self.pid)
    }

    /// The process that started it, or that took it over.
    pub(super) fn parent(&self) -> Option<i32> {
        stat(self.pid).map(|stat| stat.parent)
    }

    /// The value after `-name`.
    pub(super) fn name(&self) -> Option<String> {
        let value = self.arguments.iter().skip_while(|argument| *argument != b"-name").nth(1)?;
        String::from_utf8(value.clone()).ok()
    }

    /// Whether an argument is a path below this directory.
    pub(super) fn mentions(&self, directory: &Path) -> bool {
        let directory = directory.as_os_str().as_bytes();
        self.arguments
            .iter()
            .any(|argument| argument.strip_prefix(directory).is_some_and(|rest| rest.first() == Some(&b'/')))
    }

    /// Whether an argument is this path.
    pub(super) fn names(&self, path: &Path) -> bool {
        self.arguments.iter().any(|argument| argument == path.as_os_str().as_bytes())
    }

    /// Whether it was started by this program's path.
    pub(super) fn is(&self, program: &Path) -> bool {
        self.arguments.first().is_some_and(|first| first == program.as_os_str().as_bytes())
    }

    /// Whether it still runs. A zombie does not.
    pub(super) fn runs(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started && !matches!(stat.state, 'Z' | 'X'))
    }

    /// Sends a signal until the end comes. True when it has.
    pub(super) async fn end(&self, signal: Signal, patience: Duration) -> bool {
        // Again and again: the first process of a namespace does not hear one before it has said that it will.
        // It may end between the look and the signal.
        let tell = || {
            let _ = kill(Pid::from_raw(self.pid), signal);
        };
        self.wait(patience, tell).await
    }

    /// Waits for the end. True when it has come.
    pub(super) async fn ended_within(&self, patience: Duration) -> bool {
        self.wait(patience, || ()).await
    }

    async fn wait(&self, patience: Duration, at_each_look: impl Fn()) -> bool {
        let deadline = Instant::now() + patience;
        while self.runs() {
            at_each_look();
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(LOOK).await;
        }
        true
    }
}

/// All processes that have a command line. Those that end meanwhile are left out.
pub(super) fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| read(entry.file_name().to_str()?.parse().ok()?)).collect()
}

fn read(pid: i32) -> Option<Process> {
    let started = stat(pid)?.started;
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let arguments: Vec<Vec<u8>> =
        line.strip_suffix(b"\0")?.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    Some(Process { pid, started, arguments })
}

/// What `/proc/<pid>/stat` says.
struct Stat {
    state: char,
    parent: i32,
    started: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before the last parenthesis may have blanks in it.
    let mut fields = text.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    Some(Stat { state, parent, started: fields.nth(17)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn names_and_directories_are_matched_exactly() {
        let words = ["/usr/bin/qemu", "-name", "image-manager-1", "-pidfile", "/state/servers/a/qemu.pid"];
        let arguments = words.map(|word| word.as_bytes().to_vec()).to_vec();
        let process = Process { pid: 1, started: 0, arguments };
        assert_eq!(process.name().as_deref(), Some("image-manager-1"));
        assert!(process.is(Path::new("/usr/bin/qemu")) && !process.is(Path::new("qemu")));
        assert!(process.mentions(Path::new("/state")));
        assert!(process.mentions(Path::new("/state/servers/a")));
        assert!(!process.mentions(Path::new("/stat")));
        assert!(!process.mentions(Path::new("/state/servers/a/qemu.pid")));
    }

    #[tokio::test]
    async fn a_process_is_found_and_ended() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let process = all().into_iter().find(|process| process.pid() == pid).unwrap();
        assert!(process.runs());
        assert!(!process.ended_within(Duration::from_millis(60)).await);
        assert!(process.end(Signal::SIGKILL, Duration::from_secs(5)).await, "a zombie has ended");
        child.wait().unwrap();
        assert!(!process.runs());
        let stranger = Process { started: 1, pid: i32::try_from(std::process::id()).unwrap(), ..process };
        assert!(!stranger.runs(), "another process has the id now");
    }
}
