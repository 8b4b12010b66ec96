//! ext2, ext3 and ext4.

use std::fs::File;
use std::io;

use ext4_view::{Ext4, Ext4Error, Ext4Read};
use image_manager_agent::checks::packages::rpm::Trouble;

use super::volume::{Next, Slice, Volume};
use super::{Opened, superblock};

/// Bytes read at a time.
const PIECE: usize = 64 * 1024;

impl Ext4Read for Slice {
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(Slice::read(self, at, into)?)
    }
}

/// The file system that begins at `start`.
pub(super) fn open(disk: &File, start: u64) -> io::Result<Opened> {
    if let Some(what) = superblock::trouble(disk, start)? {
        return Ok(Opened::Damaged(what.to_owned()));
    }
    let slice = Slice { disk: disk.try_clone()?, start };
    Ok(match Ext4::load(Box::new(slice)) {
        Ok(system) => Opened::Volume(Box::new(system)),
        Err(error @ Ext4Error::Incompatible(_)) => Opened::NotPossible(error.to_string()),
        Err(error) => Opened::Damaged(format!("the file system cannot be read: {error}")),
    })
}

impl Volume for Ext4 {
    fn names(&self, directory: &str) -> Result<Vec<String>, Trouble> {
        let entries = self.read_dir(directory).map_err(trouble)?;
        entries.map(|entry| Ok(entry.map_err(trouble)?.file_name().display().to_string())).collect()
    }

    fn read(&self, path: &str, take: &mut dyn FnMut(&[u8]) -> Next) -> Result<(), Trouble> {
        let mut file = self.open(path).map_err(trouble)?;
        let mut buffer = vec![0; PIECE];
        loop {
            let count = file.read_bytes(&mut buffer).map_err(trouble)?;
            if count == 0 {
                return Ok(());
            }
            if let Next::Stop = take(buffer.get(..count).unwrap_or_default()) {
                return Ok(());
            }
        }
    }

    fn link(&self, path: &str) -> Result<Vec<u8>, Trouble> {
        Ok(self.read_link(path).map_err(trouble)?.as_ref().to_vec())
    }
}

fn trouble(error: Ext4Error) -> Trouble {
    match error {
        Ext4Error::NotFound | Ext4Error::NotADirectory => Trouble::Missing,
        // Something of another kind in its place, which only an element can have put there.
        Ext4Error::IsADirectory
        | Ext4Error::IsASpecialFile
        | Ext4Error::NotASymlink
        | Ext4Error::TooManySymlinks => Trouble::OtherKind,
        error => Trouble::Unreadable(error.to_string()),
    }
}
