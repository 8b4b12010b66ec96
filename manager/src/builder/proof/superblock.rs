//! What an ext4 file system says of itself. The kernel notes there what it could not write; DIB does not look.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// Where it is in its file system, and how much of it is read.
const PLACE: u64 = 1024;
const LENGTH: usize = 1024;
/// `s_state`, and its bit for errors.
const STATE: usize = 0x3a;
const ERRORS: u16 = 2;
/// `s_feature_incompat`, and its bit for a journal that must be replayed: it was not unmounted.
const INCOMPATIBLE: usize = 0x60;
const RECOVERY: u32 = 4;
/// `s_error_count`.
const ERROR_COUNT: usize = 0x194;

/// What is wrong with the file system that begins at `start`, when it says so.
pub(super) fn trouble(disk: &File, start: u64) -> io::Result<Option<&'static str>> {
    let mut block = [0; LENGTH];
    disk.read_exact_at(&mut block, start.saturating_add(PLACE))?;
    let short =
        |at: usize| block.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).map(u16::from_le_bytes);
    let long =
        |at: usize| block.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    if short(STATE).is_some_and(|state| state & ERRORS != 0)
        || long(ERROR_COUNT).is_some_and(|count| count > 0)
    {
        return Ok(Some("the kernel recorded errors in the file system while it was being written"));
    }
    if long(INCOMPATIBLE).is_some_and(|features| features & RECOVERY != 0) {
        return Ok(Some("the file system was not unmounted: its journal must be replayed"));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(at: usize, bytes: &[u8]) -> Option<&'static str> {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 20).unwrap();
        file.write_all_at(bytes, 4096 + PLACE + at as u64).unwrap();
        trouble(&file, 4096).unwrap()
    }

    #[test]
    fn errors_and_an_open_journal_are_told() {
        assert_eq!(says(STATE, &[1, 0]), None);
        assert!(says(STATE, &[3, 0]).unwrap().contains("errors"));
        assert!(says(ERROR_COUNT, &[7]).unwrap().contains("errors"));
        assert!(says(INCOMPATIBLE, &[0x46]).unwrap().contains("journal"));
        assert!(trouble(&tempfile::tempfile().unwrap(), 0).is_err());
    }
}
