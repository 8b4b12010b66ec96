//! Writes a little to a file system and reads it back.

use std::fs::{self, File};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::guest::Guest;
use crate::text;

/// So many bytes are written.
const SIZE: usize = 1 << 20;

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// It took so long until the bytes were on the disk and read again.
    Written(Duration),
    /// Why not.
    Failed(String),
}

/// Writes below `place`, where a file system is mounted.
pub(super) fn run(guest: &Guest, place: &str) -> Probe {
    let started = Instant::now();
    match write_and_read(&folder(guest, place)) {
        Ok(()) => Probe::Written(started.elapsed()),
        Err(error) => Probe::Failed(text::one_line(&error.to_string())),
    }
}

fn write_and_read(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".image-manager-{:016x}", random()));
    let mut file = fs::OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    // Without a name from here on: whatever happens, nothing is left behind.
    fs::remove_file(&path)?;
    exchange(&mut file)
}

fn exchange(file: &mut File) -> io::Result<()> {
    let block = random().to_le_bytes();
    let written: Vec<u8> = block.iter().copied().cycle().take(SIZE).collect();
    file.write_all(&written)?;
    file.sync_all()?;
    file.rewind()?;
    let mut read = Vec::with_capacity(SIZE);
    file.read_to_end(&mut read)?;
    if read == written { Ok(()) } else { Err(io::Error::other("the data read back is not what was written")) }
}

/// `/var/tmp` when it is on the file system.
fn folder(guest: &Guest, place: &str) -> PathBuf {
    let device = |path: &PathBuf| fs::metadata(path).map(|meta| meta.dev()).ok();
    let (tmp, top) = (guest.path("/var/tmp"), guest.path(place));
    if device(&tmp).is_some() && device(&tmp) == device(&top) { tmp } else { top }
}

/// Nothing that anybody must not guess: the standard library's seeds are random enough.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_behind() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(run(&Guest::below(root.path()), "/"), Probe::Written(_)));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_failure_is_told() {
        assert!(
            matches!(run(&Guest::below("/nowhere"), "/"), Probe::Failed(why) if why.contains("No such file"))
        );
    }
}
