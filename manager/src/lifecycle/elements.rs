//! The elements of the elements path, as one digest each.
//!
//! They are read when it is asked whether a build would change anything, and are needed again when it is made. What was read
//! counts then as well where nothing has been touched in between, by what the file system says of each file and directory.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use image_manager_proto::hex;
use sha2::{Digest as _, Sha256};

/// Files that are read at most; with more the definition is not known.
const MOST_FILES: usize = 20_000;
/// Bytes of them at most.
const MOST_BYTES: u64 = 1 << 30;
/// Directories below one another at most.
const DEEPEST: usize = 32;
/// What was touched so shortly before it was read may have been changed once more without another time.
const TICK: Duration = Duration::from_secs(1);

/// The elements of the elements path.
#[derive(Debug, Clone)]
pub(super) struct Elements {
    /// Digest and source of each, by name: of the directory that comes first.
    by_name: BTreeMap<String, (String, &'static str)>,
    directories: Vec<(PathBuf, &'static str)>,
    seen: Vec<Seen>,
    read_at: SystemTime,
}

impl Elements {
    /// Reads all of them.
    pub(super) fn read(directories: &[(PathBuf, &'static str)]) -> io::Result<Self> {
        let read_at = SystemTime::now();
        let mut room = Room { files: MOST_FILES, bytes: MOST_BYTES, seen: Vec::new() };
        let mut by_name: BTreeMap<String, (String, &'static str)> = BTreeMap::new();
        for (directory, source) in directories {
            room.seen.push(Seen::at(directory.clone()));
            for (name, path) in entries(directory)? {
                room.seen.push(Seen::at(path.clone()));
                // disk-image-builder takes that of the first directory.
                if path.is_dir() && !by_name.contains_key(&name) {
                    let mut hasher = Sha256::new();
                    room.tree(&mut hasher, &path, 0)?;
                    by_name.insert(name, (hex(&hasher.finalize()), source));
                }
            }
        }
        Ok(Self { by_name, directories: directories.to_vec(), seen: room.seen, read_at })
    }

    /// Whether reading these directories now would say the same, as far as the file system can tell. In doubt not.
    pub(super) fn are_as_they_were(&self, directories: &[(PathBuf, &'static str)]) -> bool {
        let settled = self.read_at.checked_sub(TICK);
        self.directories == directories
            && self
                .seen
                .iter()
                .all(|seen| seen.is_older_than(settled) && *seen == Seen::at(seen.path.clone()))
    }

    /// Digest and source of one.
    pub(super) fn get(&self, name: &str) -> Option<(&str, &'static str)> {
        self.by_name.get(name).map(|(digest, source)| (digest.as_str(), *source))
    }
}

/// The digest of a file.
pub(super) fn digest_of(file: &Path) -> io::Result<String> {
    Room { files: 1, bytes: MOST_BYTES, seen: Vec::new() }.read(file)
}

/// A path, and what the file system said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    path: PathBuf,
    link: Option<PathBuf>,
    /// Device, inode, mode, size, and when content and anything of it changed last; `None`: nothing is there.
    is: Option<(u64, u64, u32, u64, [i64; 4])>,
}

impl Seen {
    fn at(path: PathBuf) -> Self {
        let is = fs::metadata(&path).ok().map(|it| {
            let times = [it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec()];
            (it.dev(), it.ino(), it.mode(), it.size(), times)
        });
        Self { link: fs::read_link(&path).ok(), is, path }
    }

    fn is_older_than(&self, settled: Option<SystemTime>) -> bool {
        let Some((.., [_, _, seconds, nanos])) = self.is else { return true };
        let changed = u64::try_from(seconds).ok().zip(u32::try_from(nanos).ok());
        let changed = changed.map(|(seconds, nanos)| SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos));
        changed.zip(settled).is_some_and(|(changed, settled)| changed < settled)
    }
}

/// What may still be read.
struct Room {
    files: usize,
    bytes: u64,
    /// What was looked at.
    seen: Vec<Seen>,
}

impl Room {
    /// Takes in a directory: names, modes and contents of all that is below it, links followed.
    fn tree(&mut self, hasher: &mut Sha256, directory: &Path, depth: usize) -> io::Result<()> {
        if depth > DEEPEST {
            return Err(io::Error::other(format!("{} is nested too deeply", directory.display())));
        }
        for (name, path) in entries(directory)? {
            add(hasher, name.as_bytes());
            if let Ok(target) = fs::read_link(&path) {
                add(hasher, target.as_os_str().as_encoded_bytes());
            }
            self.seen.push(Seen::at(path.clone()));
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => {
                    add(hasher, b"directory");
                    self.tree(hasher, &path, depth + 1)?;
                    add(hasher, b"end");
                }
                Ok(metadata) if metadata.is_file() => {
                    add(hasher, &metadata.permissions().mode().to_be_bytes());
                    let content = self.read(&path)?;
                    add(hasher, content.as_bytes());
                }
                // A link that leads nowhere, or what is no file.
                _ => add(hasher, b"other"),
            }
        }
        Ok(())
    }

    /// The digest of a file.
    fn read(&mut self, path: &Path) -> io::Result<String> {
        let size = fs::metadata(path)?.len();
        let left = self.files.checked_sub(1).zip(self.bytes.checked_sub(size));
        let Some((files, bytes)) = left else {
            return Err(io::Error::other(format!("too much to read: stopped at {}", path.display())));
        };
        (self.files, self.bytes) = (files, bytes);
        let mut hasher = Sha256::new();
        io::copy(&mut io::Read::take(fs::File::open(path)?, size), &mut hasher)?;
        Ok(hex(&hasher.finalize()))
    }
}

/// The entries of a directory by name; none when it is not there.
fn entries(directory: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let found = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        found => found?,
    };
    let mut entries = BTreeMap::new();
    for entry in found.take(MOST_FILES) {
        let entry = entry?;
        entries.insert(entry.file_name().to_string_lossy().into_owned(), entry.path());
    }
    Ok(entries)
}

/// With its length before it, so that two parts cannot be taken for two others.
pub(super) fn add(hasher: &mut Sha256, part: &[u8]) {
    hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
    hasher.update(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if all of it had been read long after it was written.
    fn read(directories: &[(PathBuf, &'static str)]) -> Elements {
        let read = Elements::read(directories).unwrap();
        Elements { read_at: SystemTime::now() + Duration::from_hours(1), ..read }
    }

    #[test]
    fn what_nobody_touched_need_not_be_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("own/web/install.d")).unwrap();
        fs::write(at("own/web/install.d/50-web"), "true").unwrap();
        fs::write(at("elsewhere"), "1").unwrap();
        std::os::unix::fs::symlink(at("elsewhere"), at("own/web/link")).unwrap();
        let path = [(at("own"), "own"), (at("absent"), "shipped")];
        let just_written = Elements::read(&path).unwrap();
        assert!(!just_written.are_as_they_were(&path), "it may be changed within the same tick");
        let mut before = read(&path);
        assert!(before.are_as_they_were(&path));
        assert!(!before.are_as_they_were(&path[..1]), "another elements path");
        let mut changed = |what: &str| {
            assert!(!before.are_as_they_were(&path), "{what}");
            before = read(&path);
            assert!(before.are_as_they_were(&path), "{what}");
        };
        let file = at("own/web/install.d/50-web");
        let written = fs::metadata(&file).unwrap().modified().unwrap();
        fs::write(&file, "here").unwrap();
        fs::File::options().write(true).open(&file).unwrap().set_modified(written).unwrap();
        changed("a content of the same length, with the time put back");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        changed("a mode");
        fs::write(at("own/web/install.d/60-web"), "").unwrap();
        changed("a new file");
        fs::remove_file(at("own/web/install.d/60-web")).unwrap();
        changed("a file less");
        fs::write(at("elsewhere"), "2").unwrap();
        changed("the content that a link leads to");
        fs::create_dir(at("absent")).unwrap();
        changed("a directory of the path that was not there");
        fs::create_dir(at("absent/other")).unwrap();
        changed("another element");
    }

    #[test]
    fn what_is_too_much_is_not_known() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), "12345").unwrap();
        let mut room = Room { files: 1, bytes: 4, seen: Vec::new() };
        assert!(room.tree(&mut Sha256::new(), directory.path(), 0).is_err());
        let mut room = Room { files: 0, bytes: 100, seen: Vec::new() };
        assert!(room.tree(&mut Sha256::new(), directory.path(), 0).is_err());
        // A link to itself does not go on for ever.
        std::os::unix::fs::symlink(directory.path(), directory.path().join("loop")).unwrap();
        let mut room = Room { files: 1000, bytes: 1000, seen: Vec::new() };
        assert!(room.tree(&mut Sha256::new(), directory.path(), 0).is_err());
    }
}
