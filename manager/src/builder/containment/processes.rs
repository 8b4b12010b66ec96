//! The processes of builds, by the marker in their command line.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::builder::command::{CONTAIN_NAME, MARKER};

/// A process that contains a build: `unshare`, or the first process of the namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkedProcess {
    /// Its number.
    pub pid: i32,
    /// The build that its command line names, or the scratch directory that it works in.
    pub build_id: String,
    /// When it was started, in the kernel's ticks: another process of the same number has another one.
    started: u64,
}

impl MarkedProcess {
    /// Kills it, if it is still there.
    pub(super) fn kill(&self) {
        if self.lives() {
            // Fails only when it is gone meanwhile.
            let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
        }
    }

    /// Whether it is still there. The first process of a namespace becomes a zombie only when all others in
    /// the namespace are gone.
    pub(super) fn lives(&self) -> bool {
        stat(self.pid).is_some_and(|(state, started)| started == self.started && !matches!(state, 'Z' | 'X'))
    }
}

/// The processes that have exactly this marker, or any.
pub(super) fn marked(marker: Option<&str>) -> io::Result<Vec<MarkedProcess>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        // Gone meanwhile, or a kernel thread.
        let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) else { continue };
        let Some(marked_by) = build_of(&line) else { continue };
        if marker.is_some_and(|wanted| wanted != marked_by) {
            continue;
        }
        if let Some((_, started)) = stat(pid) {
            found.push(MarkedProcess { pid, build_id: marked_by, started });
        }
    }
    Ok(found)
}

/// The build that a command line names: the argument after the name of the containing script. A search for
/// the marker (`pgrep`) has it in its command line too, but not there.
fn build_of(line: &[u8]) -> Option<String> {
    let mut arguments = line.split(|byte| *byte == 0);
    arguments.find(|argument| *argument == CONTAIN_NAME.as_bytes())?;
    let marker = OsStr::from_bytes(arguments.next()?).to_str()?;
    marker.strip_prefix(MARKER).map(str::to_owned)
}

/// State and start time of a process.
fn stat(pid: i32) -> Option<(char, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses and may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_counts_only_where_the_manager_puts_it() {
        let line = b"unshare\0--pid\0bash\0-c\0exec\0contain.sh\0image-manager-build=b1\0dib\0";
        assert_eq!(build_of(line).as_deref(), Some("b1"));
        assert_eq!(build_of(b"pgrep\0-f\0image-manager-build=b1\0"), None);
        assert_eq!(build_of(b"bash\0contain.sh\0"), None);
        assert_eq!(build_of(b""), None);
    }

    #[test]
    fn a_process_is_told_from_another_of_its_number() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let (_, started) = stat(pid).unwrap();
        let mut process = MarkedProcess { pid, build_id: "b".to_owned(), started };
        assert!(process.lives());
        process.started += 1;
        assert!(!process.lives());
    }
}
