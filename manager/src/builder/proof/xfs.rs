//! XFS. The library verifies the checksums of all that is not the files' content, and reads what a journal holds that
//! was not replayed as the kernel would. It follows no links and keeps nothing, so both are done here.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::rc::Rc;

use image_manager_agent::checks::packages::rpm::Trouble;
use lamxfs::{BlockRead, EntryKind, Error, Inode, Path, SuperblockReason, Xfs};

use super::Opened;
use super::volume::{Next, Slice, Volume};

/// Bytes read at a time.
const PIECE: usize = 1 << 20;
/// Links that are followed on the way to a file, as many as the kernel follows.
const MOST_LINKS: usize = 40;
/// Parts of a path, with those of the links in it.
const MOST_PARTS: usize = 4096;
/// Longest link that is read: of no more can Linux make one.
const LONGEST_LINK: u64 = 4096;
/// Most names that are kept.
const MOST_NAMES: usize = 2_000_000;

impl BlockRead for Slice {
    type Error = io::Error;

    fn read_at(&mut self, at: u64, into: &mut [u8]) -> Result<(), Self::Error> {
        Slice::read(self, at, into)
    }
}

/// The names in a directory.
type Directory = Rc<HashMap<Vec<u8>, (EntryKind, u64)>>;

/// An XFS file system, and the directories in it that were read already, by their paths without links.
struct System {
    xfs: RefCell<Xfs<Slice>>,
    directories: RefCell<HashMap<Vec<u8>, Directory>>,
    names: RefCell<usize>,
}

/// What a path leads to.
struct Resolved {
    /// Without links.
    path: Vec<u8>,
    inode: Inode,
}

/// The file system that begins at `start`.
pub(super) fn open(disk: &File, start: u64) -> io::Result<Opened> {
    let slice = Slice { disk: disk.try_clone()?, start };
    let size = disk.metadata()?.len().saturating_sub(start);
    Ok(match Xfs::open(slice, size) {
        Ok(xfs) => Opened::Volume(Box::new(System {
            xfs: RefCell::new(xfs),
            directories: RefCell::default(),
            names: RefCell::default(),
        })),
        Err(Error::UnsupportedFeature(feature)) => {
            Opened::NotPossible(format!("its xfs file system has a feature that cannot be read: {feature}"))
        }
        Err(
            error @ Error::BadSuperblock(
                SuperblockReason::ExternalLog
                | SuperblockReason::RealtimeDevice
                | SuperblockReason::UnsupportedVersion,
            ),
        ) => Opened::NotPossible(format!(
            "its xfs file system is of a kind that cannot be read: {}",
            error.token()
        )),
        Err(Error::BadSuperblock(SuperblockReason::DirtyLog)) => {
            Opened::Damaged("the file system was not unmounted: its journal must be replayed".to_owned())
        }
        Err(error) => Opened::Damaged(format!("the file system cannot be read: {}", error.token())),
    })
}

impl System {
    fn directory(&self, path: &[u8]) -> Result<Directory, Trouble> {
        if let Some(known) = self.directories.borrow().get(path) {
            return Ok(Rc::clone(known));
        }
        let entries = self.xfs.borrow_mut().read_dir(Path::new(path)).map_err(|error| trouble(&error))?;
        let count = entries.len();
        let names = entries.into_iter().map(|entry| (entry.name, (entry.kind, entry.inode_number)));
        let directory: Directory = Rc::new(names.collect());
        let mut kept = self.names.borrow_mut();
        if *kept + count <= MOST_NAMES {
            *kept += count;
            self.directories.borrow_mut().insert(path.to_owned(), Rc::clone(&directory));
        }
        Ok(directory)
    }

    /// Where the link at a path without links points to. The library would make room for as much as its inode says.
    fn target(&self, path: &[u8]) -> Result<Vec<u8>, Trouble> {
        let mut xfs = self.xfs.borrow_mut();
        let link = xfs.resolve(Path::new(path)).and_then(|inode| xfs.metadata(&inode));
        let link = link.map_err(|error| trouble(&error))?;
        if link.is_symlink() && link.size() > LONGEST_LINK {
            return Err(Trouble::Unreadable("a link in it is longer than a link can be".to_owned()));
        }
        xfs.read_link(Path::new(path)).map_err(|error| trouble(&error))
    }

    /// Follows a path, and a link at its end where that is wanted.
    fn place(&self, path: &[u8], follow_last: bool) -> Result<Resolved, Trouble> {
        // What is still to be walked, the next part last.
        let mut rest: Vec<Vec<u8>> = parts(path);
        let mut walked: Vec<Vec<u8>> = Vec::new();
        let mut place = None;
        let mut links = 0;
        while let Some(part) = rest.pop() {
            if part == b".." {
                walked.pop();
                place = None;
                continue;
            }
            let directory = self.directory(&joined(&walked))?;
            let (kind, inode) = directory.get(&part).copied().ok_or(Trouble::Missing)?;
            if kind == EntryKind::Symlink && (follow_last || !rest.is_empty()) {
                links += 1;
                walked.push(part);
                let target = self.target(&joined(&walked))?;
                walked.pop();
                if target.starts_with(b"/") {
                    walked.clear();
                }
                rest.extend(parts(&target));
                place = None;
            } else {
                walked.push(part);
                place = Some(Inode { ino: inode });
            }
            if links > MOST_LINKS || rest.len() > MOST_PARTS {
                return Err(Trouble::OtherKind);
            }
        }
        // A path that ends in `..` or at the root leads to a directory.
        let inode = place.ok_or(Trouble::OtherKind)?;
        Ok(Resolved { path: joined(&walked), inode })
    }
}

/// The parts of a path, the first one last.
fn parts(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.rev().map(<[u8]>::to_vec).collect()
}

fn joined(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut path = vec![b'/'];
    path.extend(parts.join(&b'/'));
    path
}

impl Volume for System {
    fn names(&self, directory: &str) -> Result<Vec<String>, Trouble> {
        let place = self.place(directory.as_bytes(), true)?;
        let entries = self.directory(&place.path)?;
        let names = entries.keys().filter(|name| *name != b"." && *name != b"..");
        Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
    }

    fn read(&self, path: &str, take: &mut dyn FnMut(&[u8]) -> Next) -> Result<(), Trouble> {
        let place = self.place(path.as_bytes(), true)?;
        let mut xfs = self.xfs.borrow_mut();
        let metadata = xfs.metadata(&place.inode).map_err(|error| trouble(&error))?;
        if !metadata.is_file() {
            return Err(Trouble::OtherKind);
        }
        let mut buffer = vec![0; PIECE.min(usize::try_from(metadata.size()).unwrap_or(PIECE)).max(1)];
        let mut at: u64 = 0;
        loop {
            let count = xfs.read_file_at(&place.inode, at, &mut buffer).map_err(|error| trouble(&error))?;
            if count == 0 {
                return Ok(());
            }
            if let Next::Stop = take(buffer.get(..count).unwrap_or_default()) {
                return Ok(());
            }
            at = at.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        }
    }

    fn link(&self, path: &str) -> Result<Vec<u8>, Trouble> {
        let place = self.place(path.as_bytes(), false)?;
        self.target(&place.path)
    }
}

fn trouble(error: &Error) -> Trouble {
    match error {
        Error::NotFound { .. } => Trouble::Missing,
        // Something of another kind in its place, which only an element can have put there.
        Error::NotARegularFile | Error::NotASymlink => Trouble::OtherKind,
        error => Trouble::Unreadable(error.token().to_owned()),
    }
}
