//! Removes a directory with everything in it, and nothing else.
//!
//! What lies in it was made by root from other people's scripts: a whole file system, with links that point
//! anywhere, and after a crash perhaps with the host's `/dev` mounted in it. So every step is taken from an
//! open directory, by a name without a slash, and the kernel is told not to follow links nor to cross into
//! another mount.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat, openat2};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::mounts;

/// The deepest that is gone down: every level holds a file descriptor.
const DEEPEST: usize = 200;
/// How often it is begun again when something new turned up.
const ROUNDS: usize = 3;

/// Removes the directory; says whether there was one.
pub(super) fn remove(directory: &Path) -> Result<bool, String> {
    match fs::symlink_metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(format!("cannot examine {}: {error}", directory.display())),
        Ok(file) if !file.is_dir() => return Err(format!("{} is not a directory", directory.display())),
        Ok(_) => {}
    }
    let mounted = mounts::below(directory).map_err(|error| format!("cannot list the mounts: {error}"))?;
    if let Some(mount) = mounted.first() {
        return Err(format!("cannot remove {}: {} is mounted", directory.display(), mount.display()));
    }
    let mut failed = None;
    for _ in 0..ROUNDS {
        match remove_whole(directory) {
            Ok(()) => return Ok(true),
            // Somebody has made a file in the meantime, or the files are marked as not to be changed.
            Err(error) => {
                if matches!(error.errno, Errno::EPERM) {
                    make_changeable(directory);
                }
                failed = Some(error);
            }
        }
    }
    let error = failed.map_or_else(String::new, |error| {
        format!("cannot remove {}: {}: {}", directory.display(), error.path.display(), error.errno.desc())
    });
    Err(error)
}

/// What could not be removed.
#[derive(Debug)]
struct NotRemoved {
    path: PathBuf,
    errno: Errno,
}

fn remove_whole(directory: &Path) -> Result<(), NotRemoved> {
    let stuck = |errno| NotRemoved { path: directory.to_owned(), errno };
    let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) else {
        return Err(stuck(Errno::EINVAL));
    };
    let above = open(parent, flags(), Mode::empty()).map_err(stuck)?;
    remove_directory(&above, name, directory, 0)
}

/// Removes the directory `name` of `parent`; `path` is what it is called in errors.
fn remove_directory(parent: &OwnedFd, name: &OsStr, path: &Path, depth: usize) -> Result<(), NotRemoved> {
    let stuck = |errno| NotRemoved { path: path.to_owned(), errno };
    if depth > DEEPEST {
        return Err(stuck(Errno::ENAMETOOLONG));
    }
    let open = match open_within(parent, name) {
        Ok(open) => open,
        Err(Errno::ENOENT) => return Ok(()),
        Err(errno) => return Err(stuck(errno)),
    };
    let list = || -> io::Result<Vec<(std::ffi::OsString, bool)>> {
        // The list of the open directory, whatever its path leads to by now.
        let entries = fs::read_dir(format!("/proc/self/fd/{}", open.as_raw_fd()))?;
        entries.map(|entry| entry.and_then(|e| Ok((e.file_name(), e.file_type()?.is_dir())))).collect()
    };
    let entries = list().map_err(|error| stuck(errno_of(&error)))?;
    for (entry, is_directory) in entries {
        let path = path.join(&entry);
        if is_directory {
            remove_directory(&open, &entry, &path, depth + 1)?;
        } else {
            unlink(&open, &entry, UnlinkatFlags::NoRemoveDir).map_err(|errno| NotRemoved { path, errno })?;
        }
    }
    drop(open);
    unlink(parent, name, UnlinkatFlags::RemoveDir).map_err(stuck)
}

/// Gone already is as good.
fn unlink(parent: &OwnedFd, name: &OsStr, flags: UnlinkatFlags) -> Result<(), Errno> {
    match unlinkat(parent, name, flags) {
        Err(Errno::ENOENT) | Ok(()) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Opens a directory in `parent` that is neither a link nor a mount.
fn open_within(parent: &impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let inside =
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS;
    match openat2(parent, name, OpenHow::new().flags(flags()).resolve(inside)) {
        // A kernel or a sandbox without it. That nothing is mounted was looked at before.
        Err(Errno::ENOSYS | Errno::EPERM) => openat(parent, name, flags(), Mode::empty()),
        other => other,
    }
}

fn flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Takes away the marks "immutable" and "append only", which root too must not override.
fn make_changeable(directory: &Path) {
    // Does not follow links. When it fails the next round says what is in the way.
    let _ = Command::new("chattr")
        .args(["-R", "-f", "-i", "-a"])
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn everything_inside_goes_and_nothing_outside() {
        let directory = tempfile::tempdir().unwrap();
        let scratch = directory.path().join("scratch");
        let outside = directory.path().join("outside");
        fs::create_dir_all(scratch.join("a/b/c")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "kept").unwrap();
        fs::write(scratch.join("a/file"), "").unwrap();
        symlink(&outside, scratch.join("a/b/link")).unwrap();
        symlink("../../..", scratch.join("a/up")).unwrap();
        fs::set_permissions(scratch.join("a/b"), fs::Permissions::from_mode(0o000)).unwrap();

        assert_eq!(remove(&scratch), Ok(true));
        assert!(!scratch.exists());
        assert_eq!(fs::read_to_string(outside.join("kept")).unwrap(), "kept");
        assert_eq!(remove(&scratch), Ok(false));
    }

    #[test]
    fn a_link_in_place_of_the_directory_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("scratch");
        symlink("/", &link).unwrap();
        assert!(remove(&link).unwrap_err().contains("is not a directory"));
    }

    #[test]
    fn too_deep_is_an_error_and_no_crash() {
        let directory = tempfile::tempdir().unwrap();
        let scratch = directory.path().join("scratch");
        fs::create_dir_all(scratch.join("d/".repeat(DEEPEST + 10))).unwrap();
        let error = remove(&scratch).unwrap_err();
        assert!(error.contains("cannot remove"), "{error}");
    }
}
