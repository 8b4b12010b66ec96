//! Loop devices, by the file behind them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::mounts;
use crate::builder::command::temporary;

/// How long one of the tools may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// An attached loop device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loop {
    /// `/dev/loop0`.
    pub(super) node: PathBuf,
    /// The file behind it, as the kernel names it.
    pub(super) file: PathBuf,
}

/// What the kernel may call files of a directory.
///
/// Once the namespace is gone in which a file was opened, its path is given from the root of its file system
/// and no longer from the root of the host: `/var/lib/x` becomes `/lib/x` where `/var` is a mount.
#[derive(Debug)]
pub(super) struct BackingPaths {
    whole: PathBuf,
    within_mount: Option<PathBuf>,
    /// A build has its scratch directory as a mount of its own, whose root it is.
    within_scratch: PathBuf,
}

impl BackingPaths {
    /// Of this directory, which need not be there any more.
    pub(super) fn of(directory: &Path) -> io::Result<Self> {
        let mount = mounts::holding(directory)?;
        let within_mount = match directory.strip_prefix(&mount) {
            Ok(rest) if mount != Path::new("/") && rest.components().next().is_some() => {
                Some(Path::new("/").join(rest))
            }
            _ => None,
        };
        let within_scratch = Path::new("/").join(temporary(directory));
        Ok(Self { whole: directory.to_owned(), within_mount, within_scratch })
    }

    /// Whether a file of this name may lie in the directory.
    pub(super) fn may_hold(&self, file: &Path) -> bool {
        self.surely_holds(file)
            || file.starts_with(&self.within_scratch)
            || self.within_mount.as_ref().is_some_and(|place| file.starts_with(place))
    }

    fn surely_holds(&self, file: &Path) -> bool {
        file.starts_with(&self.whole)
    }
}

/// All attached loop devices.
pub(super) fn attached() -> io::Result<Vec<Loop>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir("/sys/block") {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        // Only an attached one has this file.
        let Ok(text) = fs::read_to_string(entry.path().join("loop/backing_file")) else { continue };
        let name = text.trim_end_matches('\n');
        let name = name.strip_suffix(" (deleted)").unwrap_or(name);
        found.push(Loop { node: Path::new("/dev").join(entry.file_name()), file: PathBuf::from(name) });
    }
    Ok(found)
}

/// The loop devices of files in this directory.
pub(super) async fn of(directory: &Path) -> io::Result<Vec<Loop>> {
    let places = BackingPaths::of(directory)?;
    let mut found = Vec::new();
    for device in attached()? {
        let ours = places.surely_holds(&device.file)
            || places.may_hold(&device.file) && device.is_on_file_system_of(directory).await?;
        if ours {
            found.push(device);
        }
    }
    Ok(found)
}

impl Loop {
    /// Whether the file behind it lies on the same file system as this directory, or as the nearest
    /// directory above that is there.
    async fn is_on_file_system_of(&self, directory: &Path) -> io::Result<bool> {
        let Some(there) = directory.ancestors().find_map(|above| above.metadata().ok()) else {
            return Ok(false);
        };
        let (major, minor) = (nix::sys::stat::major(there.dev()), nix::sys::stat::minor(there.dev()));
        let told = run("losetup", &["--noheadings", "--output", "BACK-MAJ:MIN"], Some(&self.node)).await?;
        Ok(told.split_whitespace().collect::<String>() == format!("{major}:{minor}"))
    }

    /// Detaches it, with what is made of it: device-mapper's maps, partitions, and the links that the
    /// stand-in for kpartx makes.
    pub(super) async fn detach(&self) -> io::Result<()> {
        let Some(name) = self.node.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
        let system = Path::new("/sys/block").join(name);
        for map in maps(&system) {
            run("dmsetup", &["remove", "--retry", &map], None).await?;
        }
        // Without this the kernel would keep partitions that partx made, for the next user to find.
        if partitions(&system, name) {
            run("partx", &["--delete"], Some(&self.node)).await?;
        }
        remove_links(name);
        run("losetup", &["--detach"], Some(&self.node)).await.map(|_| ())
    }
}

/// The device-mapper maps of a device and of its partitions.
fn maps(system: &Path) -> Vec<String> {
    let Ok(holders) = fs::read_dir(system.join("holders")) else { return Vec::new() };
    let name = |holder: fs::DirEntry| fs::read_to_string(holder.path().join("dm/name")).ok();
    holders.flatten().filter_map(name).map(|name| name.trim().to_owned()).collect()
}

fn partitions(system: &Path, name: &str) -> bool {
    let Ok(mut entries) = fs::read_dir(system) else { return false };
    let prefix = format!("{name}p");
    entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)))
}

/// Removes `/dev/mapper/loop0p1` where it is a link to `/dev/loop0p1`: that is how the stand-in makes it.
fn remove_links(name: &str) {
    let Ok(entries) = fs::read_dir("/dev/mapper") else { return };
    for entry in entries.flatten() {
        let link = entry.file_name();
        let ours = link.to_string_lossy().strip_prefix(name).is_some_and(|rest| {
            rest.strip_prefix('p').is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        });
        if ours && fs::read_link(entry.path()).is_ok_and(|target| target == Path::new("/dev").join(&link)) {
            // Gone meanwhile is as good.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Runs one of util-linux's or device-mapper's tools.
async fn run(tool: &str, options: &[&str], device: Option<&Path>) -> io::Result<String> {
    let mut command = Command::new(tool);
    command.args(options).args(device).stdin(Stdio::null()).kill_on_drop(true);
    let done = tokio::time::timeout(DEADLINE, command.output()).await;
    let output = done.map_err(|_| io::Error::other(format!("{tool} does not finish")))??;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(io::Error::other(
        String::from_utf8_lossy(&output.stderr).trim().chars().take(500).collect::<String>(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_both_of_its_names() {
        let places = BackingPaths::of(Path::new("/proc/builds/b1")).unwrap();
        assert!(places.may_hold(Path::new("/proc/builds/b1/tmp/image0.raw")));
        assert!(places.may_hold(Path::new("/builds/b1/tmp/image0.raw")));
        assert!(!places.may_hold(Path::new("/builds/b10/tmp/image0.raw")));
        assert!(!places.surely_holds(Path::new("/builds/b1/tmp/image0.raw")));
        assert!(!BackingPaths::of(Path::new("/proc")).unwrap().may_hold(Path::new("/image0.raw")));
        assert!(!BackingPaths::of(Path::new("/b1")).unwrap().may_hold(Path::new("/image0.raw")));
    }
}
