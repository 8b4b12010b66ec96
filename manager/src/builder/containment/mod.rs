//! Takes away what a build leaves: processes, mounts, loop devices, files. In this order, for each holds the
//! next one fast.
//!
//! Nothing is remembered between [`super::run`] and this: a build's processes are known by the marker in
//! their command line, its mounts and loop devices by the scratch directory that they lie in. So it works
//! the same after a success, after a failure, and in a new manager after `kill -9` of the old one; and it
//! may be repeated.

mod loops;
mod mounts;
mod processes;
mod tree;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::command::MARKER;
use loops::BackingPaths;
pub use processes::MarkedProcess;

/// How long the kernel may take for what it was asked to do.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked at meanwhile.
const GLANCE: Duration = Duration::from_millis(50);
/// How long no process may be seen until there is none: one may be between its fork and its exec, when it
/// still has the manager's command line.
const QUIET: Duration = Duration::from_millis(150);
/// How long unmounting and removing files may take.
const TREE_PATIENCE: Duration = Duration::from_mins(10);
/// How long [`clean`] may take where nothing is mounted. Whoever gives up before leaves a thread at work on the files.
pub(crate) const CLEANING: Duration = TREE_PATIENCE.saturating_add(PATIENCE.saturating_mul(2));

/// What was taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CleanReport {
    /// Processes that were killed; all others of the build died with them.
    pub killed: Vec<i32>,
    /// Mount points that were unmounted.
    pub unmounted: Vec<PathBuf>,
    /// Loop devices that were detached.
    pub detached: Vec<PathBuf>,
    /// Whether there was a scratch directory.
    pub removed: bool,
}

impl CleanReport {
    /// Whether there was nothing to take away.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Something is left of a build.
#[derive(Debug, thiserror::Error)]
#[error("build {build_id} could not be cleaned up: {}", left.join("; "))]
pub struct CleanError {
    /// The build.
    pub build_id: String,
    /// What is left, and why, one by one.
    pub left: Vec<String>,
    /// What was taken away nevertheless.
    pub report: CleanReport,
}

/// What builds have left on this host, or are using.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Directories below the one for scratch directories.
    pub scratches: Vec<PathBuf>,
    /// Processes with the marker of a build.
    pub processes: Vec<MarkedProcess>,
    /// Loop devices of files in scratch directories, with the file.
    pub loops: Vec<(PathBuf, PathBuf)>,
    /// Mount points in scratch directories, as this process sees them.
    pub mounts: Vec<PathBuf>,
}

/// Takes away everything that works or lies in a scratch directory of a build. May be repeated, and may be called for a
/// build that is still running: it is killed. What works in another directory of the build goes on.
pub async fn clean(scratch: &Path, build_id: &str) -> Result<CleanReport, CleanError> {
    let marker = marker_of(scratch, build_id);
    let mut report = CleanReport::default();
    let mut left = Vec::new();
    match resolve(scratch) {
        Err(refusal) => left.push(refusal),
        Ok(scratch) => {
            kill(marker, &mut report, &mut left).await;
            if left.is_empty() {
                unmount(&scratch, &mut report, &mut left).await;
            }
            if left.is_empty() {
                detach(&scratch, &mut report, &mut left).await;
            }
            if left.is_empty() {
                remove(&scratch, &mut report, &mut left).await;
            }
            if left.is_empty() {
                left = remains(&scratch, marker).await;
            }
        }
    }
    if left.is_empty() { Ok(report) } else { Err(CleanError { build_id: build_id.to_owned(), left, report }) }
}

/// What marks the processes that work in a scratch directory: the build's id, or the directory's own name where more
/// follows the id in it, as in `<id>--control-0`. The trials of a build make their control images at the same time.
fn marker_of<'a>(scratch: &'a Path, build_id: &'a str) -> &'a str {
    let name = scratch.file_name().and_then(OsStr::to_str);
    let has_more = |name: &&str| name.strip_prefix(build_id).is_some_and(|more| more.starts_with("--"));
    name.filter(has_more).unwrap_or(build_id)
}

/// What is there of builds whose scratch directories are made in `scratch_root`. Blocks for some milliseconds.
pub fn leftovers(scratch_root: &Path) -> io::Result<Leftovers> {
    let mut found = Leftovers { processes: processes::marked(None)?, ..Leftovers::default() };
    let root = match scratch_root.canonicalize() {
        Ok(root) => root,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in std::fs::read_dir(&root)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.scratches.push(entry.path());
        }
    }
    found.scratches.sort();
    // Each by itself, too: where the root is a file system of its own, all files might lie in it.
    let directories = std::iter::once(&root).chain(&found.scratches);
    let places: Vec<BackingPaths> =
        directories.map(|directory| BackingPaths::of(directory)).collect::<io::Result<_>>()?;
    let ours = |device: &loops::Loop| places.iter().any(|place| place.may_hold(&device.file));
    let loops = loops::attached()?.into_iter().filter(ours);
    found.loops = loops.map(|device| (device.node, device.file)).collect();
    found.mounts = mounts::below(&root)?;
    found.mounts.retain(|mount| *mount != root);
    Ok(found)
}

/// The scratch directory's path as the kernel names it, also when the directory is no more. Refuses what can
/// be none: everything below it is going to be removed.
fn resolve(scratch: &Path) -> Result<PathBuf, String> {
    let plain = scratch.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let (Some(parent), Some(name)) = (scratch.parent(), scratch.file_name()) else {
        return Err(format!("{} is not a scratch directory", scratch.display()));
    };
    if !scratch.is_absolute() || !plain || scratch.components().count() < 3 {
        return Err(format!("{} is not a scratch directory", scratch.display()));
    }
    match parent.canonicalize() {
        Ok(parent) => Ok(parent.join(name)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(scratch.to_owned()),
        Err(error) => Err(format!("cannot examine {}: {error}", parent.display())),
    }
}

/// Kills the first process of the build's namespaces, and with it all others, and waits until they are gone.
async fn kill(marker: &str, report: &mut CleanReport, left: &mut Vec<String>) {
    let end = Instant::now() + PATIENCE;
    let mut quiet_since = Instant::now();
    let mut dying: Vec<MarkedProcess> = Vec::new();
    loop {
        let found = match processes::marked(Some(marker)) {
            Ok(found) => found,
            Err(error) => return left.push(format!("cannot list the processes: {error}")),
        };
        for process in found {
            // Again and again the same one: until the kernel takes its command line away.
            process.kill();
            if !report.killed.contains(&process.pid) {
                report.killed.push(process.pid);
                dying.push(process);
            }
        }
        // The command line goes first, the namespace last.
        dying.retain(MarkedProcess::lives);
        let now = Instant::now();
        if !dying.is_empty() {
            quiet_since = now;
        }
        if now - quiet_since >= QUIET {
            return;
        }
        if now >= end {
            let pids: Vec<String> = dying.iter().map(|process| process.pid.to_string()).collect();
            return left.push(format!("processes that do not die: {}", pids.join(", ")));
        }
        sleep(GLANCE).await;
    }
}

/// Unmounts what is mounted in the scratch directory outside the build's own namespace: nothing, normally.
async fn unmount(scratch: &Path, report: &mut CleanReport, left: &mut Vec<String>) {
    let directory = scratch.to_owned();
    match apart(move || mounts::unmount_below(&directory)).await {
        Ok(Ok(unmounted)) => report.unmounted = unmounted,
        Ok(Err(error)) => left.push(error),
        Err(error) => left.push(format!("unmounting below {}: {error}", scratch.display())),
    }
}

/// Detaches the loop devices of the build's files.
async fn detach(scratch: &Path, report: &mut CleanReport, left: &mut Vec<String>) {
    let end = Instant::now() + PATIENCE;
    loop {
        let devices = match loops::of(scratch).await {
            Ok(devices) => devices,
            Err(error) => return left.push(format!("cannot list the loop devices: {error}")),
        };
        if devices.is_empty() {
            return;
        }
        let mut said = String::new();
        for device in &devices {
            // The kernel detaches a busy one when its last user lets go. Until then it stays in the list,
            // and asking again does no harm.
            if let Err(error) = device.detach().await {
                let _ = write!(said, " ({error})");
            }
            if !report.detached.contains(&device.node) {
                report.detached.push(device.node.clone());
            }
        }
        if Instant::now() >= end {
            let text =
                |device: &loops::Loop| format!("{} ({})", device.node.display(), device.file.display());
            let names: Vec<String> = devices.iter().map(text).collect();
            report.detached.retain(|node| devices.iter().all(|device| device.node != *node));
            return left.push(format!("loop devices that stay attached: {}{said}", names.join(", ")));
        }
        sleep(GLANCE).await;
    }
}

/// Removes the scratch directory.
async fn remove(scratch: &Path, report: &mut CleanReport, left: &mut Vec<String>) {
    let directory = scratch.to_owned();
    match apart(move || tree::remove(&directory)).await {
        Ok(Ok(removed)) => report.removed = removed,
        Ok(Err(error)) => left.push(error),
        Err(error) => left.push(format!("removing {}: {error}", scratch.display())),
    }
}

/// Runs what blocks on a thread of its own, for so long.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    match tokio::time::timeout(TREE_PATIENCE, tokio::task::spawn_blocking(work)).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err(format!("not finished after {} minutes", TREE_PATIENCE.as_secs() / 60)),
    }
}

/// What is left after all, as a check of the steps.
async fn remains(scratch: &Path, marker: &str) -> Vec<String> {
    let mut left = Vec::new();
    match processes::marked(Some(marker)) {
        Ok(found) => {
            left.extend(found.iter().map(|process| format!("process {} ({MARKER}{marker})", process.pid)));
        }
        Err(error) => left.push(format!("cannot list the processes: {error}")),
    }
    match mounts::below(scratch) {
        Ok(found) => left.extend(found.iter().map(|mount| format!("mount {}", mount.display()))),
        Err(error) => left.push(format!("cannot list the mounts: {error}")),
    }
    match loops::of(scratch).await {
        Ok(found) => left.extend(found.iter().map(|device| format!("loop device {}", device.node.display()))),
        Err(error) => left.push(format!("cannot list the loop devices: {error}")),
    }
    if scratch.symlink_metadata().is_ok() {
        left.push(format!("directory {}", scratch.display()));
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;

    use crate::builder::command::CONTAIN_NAME;

    #[test]
    fn what_can_be_no_scratch_directory_is_refused() {
        for path in ["/", "/tmp", "tmp/x", "", "/tmp/../etc", "/var/lib/.."] {
            assert!(resolve(Path::new(path)).is_err(), "{path}");
        }
        assert_eq!(resolve(Path::new("/gone/for/good")), Ok(PathBuf::from("/gone/for/good")));
    }

    #[tokio::test]
    async fn cleaning_what_is_not_there_takes_nothing_away() {
        let directory = tempfile::tempdir().unwrap();
        let report = clean(&directory.path().join("none"), "no-such-build").await.unwrap();
        assert!(report.is_empty(), "{report:?}");
    }

    #[tokio::test]
    async fn only_what_works_in_the_directory_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let build = format!("cleaned-{}", std::process::id());
        let worker = |name: &str| {
            tokio::process::Command::new("sh")
                .args(["-c", "read -r line", CONTAIN_NAME])
                .arg(format!("{MARKER}{name}"))
                .stdin(std::process::Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .unwrap()
        };
        let controls = [format!("{build}--control-1"), format!("{build}--control-11")];
        let mut building = worker(&build);
        let [mut first, mut other] = controls.each_ref().map(|name| worker(name));
        clean(&directory.path().join(&controls[0]), &build).await.unwrap();
        assert_eq!(first.wait().await.unwrap().signal(), Some(9));
        assert!(building.try_wait().unwrap().is_none() && other.try_wait().unwrap().is_none());
        clean(&directory.path().join(&build), &build).await.unwrap();
        assert_eq!(building.wait().await.unwrap().signal(), Some(9));
        assert!(other.try_wait().unwrap().is_none(), "a control image is made in a directory of its own");
    }

    #[tokio::test]
    async fn a_refusal_touches_nothing() {
        let error = clean(Path::new("/"), "no-such-build").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "build no-such-build could not be cleaned up: / is not a scratch directory"
        );
    }
}
