//! The file systems of an image, each read by a library of its own.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use image_manager_agent::checks::packages::content::{Checksum, Content, FileState};
use image_manager_agent::checks::packages::rpm::{Tree, Trouble};

/// Whether to read on.
pub(super) enum Next {
    Piece,
    Stop,
}

/// What can be asked of a file system. Paths are absolute, and links in them are followed.
pub(super) trait Volume {
    /// The names in a directory.
    fn names(&self, directory: &str) -> Result<Vec<String>, Trouble>;

    /// Hands on the content of a plain file, piece by piece. Not to its end where the reader had enough.
    fn read(&self, path: &str, take: &mut dyn FnMut(&[u8]) -> Next) -> Result<(), Trouble>;

    /// Where a link points to.
    fn link(&self, path: &str) -> Result<Vec<u8>, Trouble>;
}

/// A file system somewhere on a disk.
pub(super) struct Slice {
    pub(super) disk: std::fs::File,
    pub(super) start: u64,
}

impl Slice {
    pub(super) fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let at = self.start.checked_add(at).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.disk.read_exact_at(into, at)
    }
}

/// A small text, whole.
pub(super) fn text(volume: &dyn Volume, path: &str, most: usize) -> Result<String, Trouble> {
    let mut bytes = Vec::new();
    volume.read(path, &mut |piece| {
        bytes.extend_from_slice(piece);
        if bytes.len() > most { Next::Stop } else { Next::Piece }
    })?;
    if bytes.len() > most {
        return Err(Trouble::Unreadable("file is too large".to_owned()));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The packaged files of a file system, until nobody wants to know any more.
pub(super) struct Files<'a> {
    pub(super) volume: &'a dyn Volume,
    pub(super) stop: &'a AtomicBool,
}

impl Files<'_> {
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Tree for Files<'_> {
    fn file_state(&self, path: &str, expected: &Checksum) -> Result<FileState, Trouble> {
        // Of files that are not there nothing is read.
        if self.is_stopped() {
            return Err(Trouble::Stopped);
        }
        let mut content = Content::expecting(expected);
        self.volume.read(&format!("/{path}"), &mut |piece| {
            content.push(piece);
            if self.is_stopped() { Next::Stop } else { Next::Piece }
        })?;
        if self.is_stopped() { Err(Trouble::Stopped) } else { Ok(content.file_state()) }
    }

    fn link(&self, path: &str) -> Result<Vec<u8>, Trouble> {
        if self.is_stopped() {
            return Err(Trouble::Stopped);
        }
        self.volume.link(&format!("/{path}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing is ever there.
    struct Empty;

    impl Volume for Empty {
        fn names(&self, _: &str) -> Result<Vec<String>, Trouble> {
            Err(Trouble::Missing)
        }

        fn read(&self, _: &str, _: &mut dyn FnMut(&[u8]) -> Next) -> Result<(), Trouble> {
            Err(Trouble::Missing)
        }

        fn link(&self, _: &str) -> Result<Vec<u8>, Trouble> {
            Err(Trouble::Missing)
        }
    }

    #[test]
    fn files_of_which_nothing_is_read_end_with_the_time_too() {
        let stop = AtomicBool::new(false);
        let files = Files { volume: &Empty, stop: &stop };
        let checksum = Checksum::md5(b"900150983cd24fb0d6963f7d28e17f72").unwrap();
        assert_eq!(files.file_state("x", &checksum), Err(Trouble::Missing));
        assert_eq!(files.link("x"), Err(Trouble::Missing));
        stop.store(true, Ordering::Relaxed);
        assert_eq!(files.file_state("x", &checksum), Err(Trouble::Stopped));
        assert_eq!(files.link("x"), Err(Trouble::Stopped));
    }
}
