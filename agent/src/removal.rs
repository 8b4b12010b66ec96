//! The agent takes itself away: idempotent, and it reports the fate of each path.
//!
//! Only these constant paths are touched, never the path of the running program: a developer's binary
//! that was started by hand stays. A folder goes only when nothing but the agent's own files was in it:
//! `/etc/image-manager` and `/var/lib/image-manager` are also where a manager would be at home, and one
//! day somebody tests an image with a manager in it, or starts the agent on a manager's host. The order
//! is such that a power failure in the middle leaves nothing that the next boot would start: the link
//! that starts the unit goes first, the program last. Until the program is gone, systemd can still start
//! it again in this boot, and it then goes on from the top.
//!
//! systemd is not told. Its copy of the unit is in memory until the next boot and has nothing left to do:
//! the agent ends with code 0, for which `Restart=on-failure` does nothing. A `daemon-reload` would need
//! a child process and a working bus, in the middle of a boot, only to forget a unit some minutes early.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use image_manager_proto::v1::{PathFate, RemovalReport, RemovedPath};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::checks::reboot::kept;
use crate::checks::script;
use crate::checks::ssh::{self, LOGIN_KEYS};
use crate::guest::Guest;
use crate::text;

/// All that an image has of the agent, in the order in which it goes. Before them goes [`script::DIRECTORY`], where a check
/// has made it.
pub const PATHS: [&str; 8] = [
    "/etc/systemd/system/sysinit.target.wants/image-manager-agent.service",
    "/etc/systemd/system/image-manager-agent.service",
    "/etc/image-manager/build",
    "/etc/image-manager/manager",
    "/etc/image-manager",
    "/var/lib/image-manager",
    "/run/image-manager",
    "/usr/local/sbin/image-manager-agent",
];

/// The agent's own in those of the paths that are folders.
const IN_FOLDERS: [&str; 8] = [
    "identity.json",
    "identity.new",
    "drive",
    LOGIN_KEYS[0],
    LOGIN_KEYS[1],
    ssh::NOTE_NAME,
    kept::FILE_NAME,
    kept::NEW_FILE_NAME,
];

/// What can be left in a file of users by an agent that was killed.
const LOGIN: &str = "the key with which the check ssh logged in";

/// Made for the link, and of no use without one. Stays, unreported, when others have links in it.
const LINKS: &str = "/etc/systemd/system/sysinit.target.wants";

/// For all of it, the writing to the disk included.
const PATIENCE: Duration = Duration::from_mins(1);

/// Removes all of the agent below `root`. What is not there counts as done.
pub fn remove(root: &Path) -> RemovalReport {
    let guest = Guest::below(root);
    let mut complete = true;
    let mut paths = Vec::with_capacity(PATHS.len());
    // Before the note of it goes.
    for (path, given_back) in ssh::give_back(&guest) {
        let (fate, detail) = match given_back {
            Ok(()) => (PathFate::Removed, LOGIN.to_owned()),
            Err(error) => (PathFate::Kept, text::one_line(&format!("{LOGIN}: {error}"))),
        };
        complete &= fate == PathFate::Removed;
        paths.push(RemovedPath { path, fate: fate.into(), detail });
    }
    let scripts = guest.has(script::DIRECTORY).then_some(script::DIRECTORY);
    for path in scripts.into_iter().chain(PATHS) {
        let (fate, detail) = match take_away(&guest.path(path)) {
            Ok(()) => (PathFate::Removed, String::new()),
            Err(error) if error.kind() == ErrorKind::NotFound => (PathFate::Absent, String::new()),
            // A parent that is no folder: the path is not there either.
            Err(error) if error.kind() == ErrorKind::NotADirectory => (PathFate::Absent, String::new()),
            // The folder is others', and nothing of the agent is in it any more.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {
                (PathFate::Absent, "it has files that are not the agent's".to_owned())
            }
            Err(error) => {
                complete = false;
                (PathFate::Kept, text::one_line(&error.to_string()))
            }
        };
        paths.push(RemovedPath { path: path.to_owned(), fate: fate.into(), detail });
    }
    // Fails when it is not empty, which is fine.
    let _ = fs::remove_dir(guest.path(LINKS));
    RemovalReport { complete, paths }
}

fn take_away(path: &Path) -> io::Result<()> {
    if path.ends_with(script::DIRECTORY.trim_start_matches('/')) {
        // Nobody else has anything there.
        return fs::remove_dir_all(path);
    }
    // Of the path itself and not of what a link points to.
    if !fs::symlink_metadata(path)?.is_dir() {
        return fs::remove_file(path);
    }
    for name in IN_FOLDERS {
        let inner = path.join(name);
        let gone = fs::remove_file(&inner).or_else(|_| fs::remove_dir(&inner));
        if let Err(error) = gone
            && fs::symlink_metadata(&inner).is_ok()
        {
            return Err(io::Error::other(format!("{name} in it: {error}")));
        }
    }
    fs::remove_dir(path)
}

/// Removes all of the agent, makes it last, and says so on the console.
pub(crate) async fn remove_and_log(root: &Path) -> RemovalReport {
    let root = root.to_owned();
    let work = spawn_blocking(move || {
        let report = remove(&root);
        // Reported only when a power failure cannot undo it. All file systems: /usr, /etc and /var may
        // be on different ones.
        nix::unistd::sync();
        report
    });
    let report = match timeout(PATIENCE, work).await {
        Ok(Ok(report)) => report,
        _ => RemovalReport { complete: false, paths: PATHS.iter().map(|path| unknown(path)).collect() },
    };
    log(&report);
    report
}

fn unknown(path: &str) -> RemovedPath {
    let detail = "the removal did not finish in time".to_owned();
    RemovedPath { path: path.to_owned(), fate: PathFate::Kept.into(), detail }
}

fn log(report: &RemovalReport) {
    for path in &report.paths {
        match path.fate() {
            PathFate::Removed => tracing::info!("removed {}", path.path),
            PathFate::Kept => tracing::warn!("{} remains: {}", path.path, path.detail),
            PathFate::Absent | PathFate::Unspecified => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn installed() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let guest = Guest::below(root.path());
        let put = |path: &str, text: &str| {
            fs::create_dir_all(guest.path(path).parent().unwrap()).unwrap();
            fs::write(guest.path(path), text).unwrap();
        };
        put(PATHS[1], "[Unit]");
        fs::create_dir_all(guest.path(LINKS)).unwrap();
        symlink(PATHS[1], guest.path(PATHS[0])).unwrap();
        put("/etc/image-manager/build", "0199");
        put("/run/image-manager/identity.json", "{}");
        fs::create_dir_all(guest.path("/run/image-manager/drive")).unwrap();
        put("/etc/image-manager/manager", "ab");
        put(PATHS[7], "ELF");
        put("/etc/systemd/system/other.service", "[Unit]");
        root
    }

    fn fates(report: &RemovalReport) -> Vec<PathFate> {
        report.paths.iter().map(RemovedPath::fate).collect()
    }

    #[test]
    fn all_goes_and_the_rest_stays() {
        use PathFate::{Absent, Removed};
        let root = installed();
        let report = remove(root.path());
        assert!(report.complete);
        assert_eq!(fates(&report), [Removed, Removed, Removed, Removed, Removed, Absent, Removed, Removed]);
        assert!(!root.path().join("usr/local/sbin/image-manager-agent").exists());
        assert!(!root.path().join("etc/systemd/system/sysinit.target.wants").exists());
        assert!(root.path().join("etc/systemd/system/other.service").exists());

        let again = remove(root.path());
        assert!(again.complete && fates(&again).iter().all(|fate| *fate == Absent));
    }

    #[test]
    fn others_files_stay() {
        let root = installed();
        let link = root.path().join("etc/systemd/system/sysinit.target.wants/other.service");
        symlink("/x", &link).unwrap();
        let state = root.path().join("var/lib/image-manager/image-manager.db");
        fs::create_dir_all(state.parent().unwrap()).unwrap();
        let schedules = root.path().join("etc/image-manager/schedules.toml");
        for file in [&state, &schedules] {
            fs::write(file, "the manager's").unwrap();
        }
        let report = remove(root.path());
        assert!(report.complete, "nothing of the agent is left");
        assert_eq!((report.paths[4].fate(), report.paths[5].fate()), (PathFate::Absent, PathFate::Absent));
        assert_eq!(report.paths[4].detail, "it has files that are not the agent's");
        assert_eq!((report.paths[2].fate(), report.paths[3].fate()), (PathFate::Removed, PathFate::Removed));
        assert!(fs::symlink_metadata(link).is_ok() && state.exists() && schedules.exists());
    }

    #[test]
    fn what_is_left_of_the_agent_in_a_folder_is_told() {
        let root = installed();
        // A folder that is not empty refuses, also for root.
        fs::create_dir_all(root.path().join("run/image-manager/drive/mounted")).unwrap();
        let report = remove(root.path());
        assert!(!report.complete);
        assert_eq!(report.paths[6].fate(), PathFate::Kept);
        assert!(report.paths[6].detail.starts_with("drive in it: "), "{}", report.paths[6].detail);
    }

    #[test]
    fn a_link_is_removed_and_not_what_it_points_to() {
        let root = installed();
        let kept = root.path().join("srv/kept");
        fs::create_dir_all(&kept).unwrap();
        fs::create_dir_all(root.path().join("var/lib")).unwrap();
        symlink(&kept, root.path().join("var/lib/image-manager")).unwrap();
        assert!(remove(root.path()).complete);
        assert!(kept.exists());
    }

    #[test]
    fn a_path_that_refuses_is_kept_with_the_reason() {
        let root = installed();
        // A link that leads round and round refuses, also for root.
        fs::remove_dir_all(root.path().join("usr/local/sbin")).unwrap();
        symlink("sbin", root.path().join("usr/local/sbin")).unwrap();
        let report = remove(root.path());
        assert!(!report.complete);
        assert_eq!(report.paths[7].fate(), PathFate::Kept);
        assert!(report.paths[7].detail.contains("symbolic link"), "{}", report.paths[7].detail);
        assert_eq!(report.paths[0].fate(), PathFate::Removed, "the others go all the same");
    }
}
