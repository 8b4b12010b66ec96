//! Free space on disk.

use std::io;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

/// The free space is too little, or not known.
#[derive(Debug, thiserror::Error)]
pub enum NoRoom {
    /// There is less than needed.
    #[error(
        "{} has {} free, and the build needs {}: make room there, or let it work elsewhere",
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
    #[error("cannot find out how much room {} has: {source}", path.display())]
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

/// A number of bytes as people write it.
pub(super) fn bytes(count: u64) -> String {
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
        assert!(error.to_string().contains("and the build needs 1073741824.0 GiB"), "{error}");
        assert!(check_room(Path::new("/does/not/exist"), 1).is_err());
    }

    #[test]
    fn bytes_are_written_as_people_write_them() {
        assert_eq!(bytes(512), "512 bytes");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
    }
}
