//! The packaged files of an image against the image's own package database.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use ext4_view::{Ext4, Ext4Error, Ext4Read};
use image_manager_agent::checks::packages::database::{
    self, Content, DIRECTORY, DIVERSIONS, Diversions, EXTENSION, Fate, expected,
};

use super::{Proof, superblock};

/// Most packages and files that are looked at; a desktop has 3,000 and 300,000.
const MOST_PACKAGES: usize = 20_000;
const MOST_FILES: u64 = 2_000_000;
/// Largest text of the database that is read.
const LARGEST_TEXT: u64 = 32 << 20;
/// Names that are kept of each kind.
const NAMES: usize = 20;
/// Bytes read at a time.
const PIECE: usize = 64 * 1024;
/// So many hundredths of the files may an image's elements have changed; more is no element's doing.
const MOST_CHANGED: u64 = 5;
/// And so many in any case.
const IN_ANY_CASE: u64 = 25;

/// What came of the look at all packaged files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// They hold what their packages say.
    pub same: u64,
    /// They hold something else: an element changed them.
    pub changed: u64,
    /// They are not there, and are no documentation.
    pub missing: u64,
    /// Documentation and translations that the image goes without.
    pub left_out: u64,
    /// They hold nothing but zeros, or cannot be read.
    pub damaged: u64,
    /// Some of the changed and missing, and some of the damaged.
    pub names: Vec<String>,
}

impl Counts {
    /// All that were looked for.
    pub fn total(&self) -> u64 {
        self.same + self.changed + self.missing + self.left_out + self.damaged
    }

    /// More is wrong than elements do.
    pub(super) fn is_damaged(&self) -> bool {
        let there = self.same + self.changed;
        self.damaged > 0
            || self.changed > IN_ANY_CASE && self.changed * 100 > there * MOST_CHANGED
            || database::are_too_many_missing(there, self.missing)
    }

    fn note(&mut self, what: &str, path: &str) {
        if self.names.len() < NAMES {
            self.names.push(format!("{what}: /{path}"));
        }
    }
}

/// A file system somewhere on a disk.
struct Slice {
    disk: File,
    start: u64,
}

impl Ext4Read for Slice {
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let at = self.start.checked_add(at).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.disk.read_exact_at(into, at)?)
    }
}

/// Looks at the packaged files of the file system that begins at `start`. `None`: there is no dpkg in it.
pub(super) fn verify(disk: &File, start: u64, stop: &AtomicBool) -> io::Result<Option<Proof>> {
    if let Some(what) = superblock::trouble(disk, start)? {
        return Ok(Some(Proof::Looked(Counts {
            damaged: 1,
            names: vec![what.to_owned()],
            ..Counts::default()
        })));
    }
    let slice = Slice { disk: disk.try_clone()?, start };
    let system = match Ext4::load(Box::new(slice)) {
        Ok(system) => system,
        Err(error @ Ext4Error::Incompatible(_)) => return Ok(Some(Proof::not_possible(&error))),
        Err(error) => return Ok(Some(damage("the file system", &error))),
    };
    let packages = match packages(&system) {
        Ok(packages) => packages,
        Err(Ext4Error::NotFound) => return Ok(None),
        Err(error) => return Ok(Some(damage(DIRECTORY, &error))),
    };
    let diversions = match text(&system, DIVERSIONS) {
        Ok(text) => Diversions::parse(&text),
        Err(Ext4Error::NotFound) => Diversions::default(),
        Err(error) => return Ok(Some(damage(DIVERSIONS, &error))),
    };
    let mut counts = Counts::default();
    let lists = packages.len();
    for package in packages {
        if stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        one_package(&system, &package, &diversions, &mut counts);
    }
    if counts.total() > 0 {
        return Ok(Some(Proof::Looked(counts)));
    }
    if lists == 0 {
        return Ok(Some(Proof::NotPossible("its package database has no checksums".to_owned())));
    }
    // Some packages have no files; that none has any is what a full disk leaves.
    let names = vec![format!("all {lists} lists of checksums in {DIRECTORY} are empty")];
    Ok(Some(Proof::Looked(Counts { damaged: 1, names, ..counts })))
}

fn damage(what: &str, error: &Ext4Error) -> Proof {
    let names = vec![format!("{what} cannot be read: {error}")];
    Proof::Looked(Counts { damaged: 1, names, ..Counts::default() })
}

fn packages(system: &Ext4) -> Result<Vec<String>, Ext4Error> {
    let mut names = Vec::new();
    for entry in system.read_dir(DIRECTORY)? {
        let name = entry?.file_name().display().to_string();
        if let Some(package) = name.strip_suffix(EXTENSION)
            && names.len() < MOST_PACKAGES
        {
            names.push(package.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn one_package(system: &Ext4, package: &str, diversions: &Diversions, counts: &mut Counts) {
    let file = format!("{DIRECTORY}/{package}{EXTENSION}");
    let text = match text(system, &file) {
        Ok(text) => text,
        Err(error) => {
            counts.damaged += 1;
            return counts.note(&error.to_string(), file.trim_start_matches('/'));
        }
    };
    // A package with a list of no files has an empty one; zeros are what a full disk leaves.
    if text.contains('\0') {
        counts.damaged += 1;
        return counts.note("blank", file.trim_start_matches('/'));
    }
    let package = package.split(':').next().unwrap_or(package);
    for one in expected(&text) {
        if counts.total() >= MOST_FILES {
            return;
        }
        let path = diversions.place(package, one.path);
        match fate(system, path, one.md5) {
            Ok(Fate::Same) => counts.same += 1,
            Ok(Fate::Blank) => {
                counts.damaged += 1;
                counts.note("blank", path);
            }
            Err(Ext4Error::NotFound | Ext4Error::NotADirectory) if database::is_left_out(path) => {
                counts.left_out += 1;
            }
            Err(Ext4Error::NotFound | Ext4Error::NotADirectory) => {
                counts.missing += 1;
                counts.note("missing", path);
            }
            // Or something of another kind in its place, which only an element can have put there.
            Ok(Fate::Changed)
            | Err(Ext4Error::IsADirectory | Ext4Error::IsASpecialFile | Ext4Error::TooManySymlinks) => {
                counts.changed += 1;
                counts.note("changed", path);
            }
            Err(error) => {
                counts.damaged += 1;
                counts.note(&error.to_string(), path);
            }
        }
    }
}

fn fate(system: &Ext4, path: &str, md5: [u8; 16]) -> Result<Fate, Ext4Error> {
    let path = format!("/{path}");
    let mut file = system.open(&path)?;
    let mut content = Content::default();
    let mut buffer = vec![0; PIECE];
    loop {
        let read = file.read_bytes(&mut buffer)?;
        if read == 0 {
            return Ok(content.fate(md5));
        }
        content.push(buffer.get(..read).unwrap_or_default());
    }
}

fn text(system: &Ext4, path: &str) -> Result<String, Ext4Error> {
    let mut file = system.open(path)?;
    if file.metadata().len() > LARGEST_TEXT {
        return Err(Ext4Error::FileTooLarge);
    }
    let mut bytes = Vec::new();
    let mut buffer = vec![0; PIECE];
    loop {
        let read = file.read_bytes(&mut buffer)?;
        if read == 0 {
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
        bytes.extend_from_slice(buffer.get(..read).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(same: u64, changed: u64, damaged: u64) -> Counts {
        Counts { same, changed, damaged, ..Counts::default() }
    }

    #[test]
    fn elements_may_change_a_few_files_and_no_disk_may_lose_one() {
        assert!(!counts(10_000, 0, 0).is_damaged());
        assert!(!counts(10_000, 400, 0).is_damaged());
        assert!(!counts(100, 20, 0).is_damaged());
        assert!(counts(10_000, 600, 0).is_damaged());
        assert!(counts(10_000, 0, 1).is_damaged());
        assert!(!Counts { missing: 5_000, left_out: 5_000, ..counts(10_000, 3, 0) }.is_damaged());
        assert!(Counts { missing: 15_000, ..counts(10_000, 3, 0) }.is_damaged());
    }
}
