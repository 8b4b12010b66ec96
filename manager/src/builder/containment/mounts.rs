//! Mounts, as this process sees them.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

/// Unmounted, at most, one after the other.
const MOST: usize = 1000;

/// The mount points at and below a directory, the ones on top first.
pub(super) fn below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut points: Vec<PathBuf> = all()?.into_iter().filter(|point| point.starts_with(directory)).collect();
    points.reverse();
    Ok(points)
}

/// The mount point that a path lies in.
pub(super) fn holding(path: &Path) -> io::Result<PathBuf> {
    let points = all()?.into_iter().filter(|point| path.starts_with(point));
    Ok(points.max_by_key(|point| point.components().count()).unwrap_or_else(|| PathBuf::from("/")))
}

/// Unmounts everything at and below a directory; gives what it was.
pub(super) fn unmount_below(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let mut unmounted = Vec::new();
    for _ in 0..MOST {
        let points = below(directory).map_err(|error| format!("cannot list the mounts: {error}"))?;
        let Some(point) = points.into_iter().next() else { return Ok(unmounted) };
        let plain = umount2(&point, MntFlags::UMOUNT_NOFOLLOW);
        let done = match plain {
            // Out of the way at once, and gone when its last user is.
            Err(Errno::EBUSY) => umount2(&point, MntFlags::UMOUNT_NOFOLLOW | MntFlags::MNT_DETACH),
            other => other,
        };
        done.map_err(|error| format!("cannot unmount {}: {error}", point.display()))?;
        unmounted.push(point);
    }
    Err(format!("more than {MOST} mounts below {}", directory.display()))
}

/// All mount points, in the order in which they were made.
fn all() -> io::Result<Vec<PathBuf>> {
    let table = fs::read("/proc/self/mountinfo")?;
    Ok(table.split(|byte| *byte == b'\n').filter_map(point).collect())
}

/// The mount point in a line of mountinfo: its fifth field, with blanks as `\040`.
fn point(line: &[u8]) -> Option<PathBuf> {
    let field = line.split(|byte| *byte == b' ').nth(4)?;
    let mut name = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let octal = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok();
        let escaped = if *first == b'\\' { after.get(..3).and_then(octal) } else { None };
        name.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    Some(PathBuf::from(OsString::from_vec(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_gives_its_mount_point() {
        let line = br"36 35 98:0 /mnt1 /mnt/a\040b\134c rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(point(line), Some(PathBuf::from(r"/mnt/a b\c")));
        assert_eq!(point(b""), None);
        assert_eq!(point(br"1 2 3:4 / /x\0 rw"), Some(PathBuf::from(r"/x\0")));
    }

    #[test]
    fn the_root_is_a_mount() {
        assert_eq!(holding(Path::new("/no/such/thing")).unwrap(), Path::new("/"));
        assert_eq!(holding(Path::new("/proc/1/stat")).unwrap(), Path::new("/proc"));
    }
}
