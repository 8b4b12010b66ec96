//! Free space on disk.

use std::io;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

/// The free space is too little, or not known.
#[derive(Debug, thiserror::Error)]
pub enum NoRoom {
    /// There is less than needed.
    #[error(
        "{} has {} free, but the build needs {}: make room there, or let it work elsewhere",
        path.display(), bytes(*free), bytes(*need)
    )]
    TooLittle {
        /// Where.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are needed.
        need: u64,
    },
    /// The file system cannot be asked.
    #[error("cannot find out how much free space {} has: {source}", path.display())]
    Unknown {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The bytes that root can still write to the file system of `path`.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = statvfs(path)?;
    Ok(stat.blocks_free().saturating_mul(stat.fragment_size()))
}

/// Whether the file system of `scratch_parent` has `need` bytes free.
pub fn check_room(scratch_parent: &Path, need: u64) -> Result<(), NoRoom> {
    let path = scratch_parent.to_owned();
    match free_bytes(scratch_parent) {
        Ok(free) if free >= need => Ok(()),
        Ok(free) => Err(NoRoom::TooLittle { path, free, need }),
        Err(source) => Err(NoRoom::Unknown { path, source }),
    }
}

/// Watches the free space while a build runs: how much it used at most, and how low the room ever was.
///
/// Other builds on the same file system count too; what matters is whether there was room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    at_start: Option<u64>,
    lowest: Option<u64>,
}

impl Watch {
    /// Begins to watch the file system of `path`.
    pub(super) fn start(path: &Path) -> Self {
        let free = free_bytes(path).ok();
        Self { at_start: free, lowest: free }
    }

    /// Looks again; gives what is free, when that can be told.
    pub(super) fn look(&mut self, path: &Path) -> Option<u64> {
        let free = free_bytes(path).ok()?;
        self.lowest = Some(self.lowest.map_or(free, |lowest| lowest.min(free)));
        Some(free)
    }

    /// What it came to.
    pub(super) fn used(self) -> RoomUsed {
        let lowest = self.lowest.unwrap_or(u64::MAX);
        RoomUsed { most: self.at_start.map_or(0, |start| start.saturating_sub(lowest)), lowest }
    }
}

/// How a build used the room that it worked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomUsed {
    /// Most bytes that were taken at one time.
    pub most: u64,
    /// Least bytes that were free at one time.
    pub lowest: u64,
}

/// A number of bytes as people write it.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    for (unit, name) in UNITS {
        if count >= unit {
            let tenths = u128::from(count) * 10 / u128::from(unit);
            return format!("{}.{} {name}", tenths / 10, tenths % 10);
        }
    }
    format!("{count} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_little_room_names_both_numbers() {
        let here = Path::new("/");
        assert!(check_room(here, 1).is_ok());
        let error = check_room(here, 1 << 60).unwrap_err();
        assert!(matches!(error, NoRoom::TooLittle { need, free, .. } if need == 1 << 60 && free > 0));
        assert!(error.to_string().contains("but the build needs 1073741824.0 GiB"), "{error}");
        assert!(check_room(Path::new("/does/not/exist"), 1).is_err());
    }

    #[test]
    fn the_most_and_the_least_are_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let mut watch = Watch::start(directory.path());
        assert!(watch.look(directory.path()).unwrap() > 0);
        let low = Watch { at_start: Some(100), lowest: Some(100) };
        assert_eq!(low.used(), RoomUsed { most: 0, lowest: 100 });
        let low = Watch { at_start: Some(100), lowest: Some(30) };
        assert_eq!(low.used(), RoomUsed { most: 70, lowest: 30 });
        // Another build has ended meanwhile.
        assert_eq!(Watch { at_start: Some(10), lowest: Some(30) }.used().most, 0);
        assert_eq!(Watch::start(Path::new("/does/not/exist")).used(), RoomUsed { most: 0, lowest: u64::MAX });
    }

    #[test]
    fn bytes_are_written_as_people_write_them() {
        assert_eq!(bytes(512), "512 bytes");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
    }
}
