//! The image store: `images/<name>.qcow2` or `.raw`, each with a record `<name>.json`.
//!
//! An image is a file that nobody writes to any more (mode 0444). Servers boot from overlays on it, and
//! publishing gives the same file a second name, so removing the first takes nothing from a user.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Seek as _, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha512};

use super::{check_name, io_error};
use crate::cloud::{CloudError, Trouble};
use crate::schedules::Format;

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;
/// What a file has at its end until it is whole.
const PART: &str = ".part";

/// What is known of an image, beside its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Its name in the store.
    pub(super) name: String,
    pub(super) build_id: String,
    /// The installation that made it.
    pub(super) owner: String,
    /// Lower-case hexadecimal.
    pub(super) sha512: String,
    pub(super) size_bytes: u64,
    pub(super) virtual_size_bytes: u64,
    /// The processors that it is for, by Glance's word; empty in a record that an older version wrote.
    #[serde(default)]
    pub(super) architecture: String,
    pub(super) properties: BTreeMap<String, String>,
    /// Set once it is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) published_at: Option<DateTime<Utc>>,
    /// Why it is not to be used; set once it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) revoked: Option<String>,
}

/// The directory of images.
#[derive(Debug, Clone)]
pub(super) struct Store {
    directory: PathBuf,
}

impl Store {
    /// Makes the directories where they are missing.
    pub(super) fn open(state: &Path) -> Result<Self, CloudError> {
        let directory = state.join("images");
        let published = directory.join("published");
        fs::create_dir_all(&published).map_err(|error| io_error("cannot make", &published, &error))?;
        // Published images are for others to read, where the state directory lets them in.
        for open in [&directory, &published] {
            fs::set_permissions(open, Permissions::from_mode(0o755))
                .map_err(|error| io_error("cannot make readable", open, &error))?;
        }
        Ok(Self { directory })
    }

    /// Where the images are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where published images are.
    pub(super) fn published(&self) -> PathBuf {
        self.directory.join("published")
    }

    /// The file of an image of this format.
    pub(super) fn file(&self, name: &str, format: Format) -> PathBuf {
        self.directory.join(format!("{name}.{format}"))
    }

    /// The file of an image that is here, with its format; where there is none, that of a qcow2.
    pub(super) fn found(&self, name: &str) -> (PathBuf, Format) {
        let files = Format::ALL.map(|format| (self.file(name, format), format));
        let there = files.into_iter().find(|(file, _)| file.is_file());
        there.unwrap_or_else(|| (self.file(name, Format::Qcow2), Format::Qcow2))
    }

    fn record_file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }

    /// Takes a file in, as a second name of it or else a copy, and returns its SHA-512 and size. `progress` is told the
    /// fraction done and says whether to go on. What an upload that was broken off has left is replaced.
    pub(super) fn take_in(
        &self,
        file: &Path,
        (name, format): (&str, Format),
        progress: &mut dyn FnMut(f64) -> bool,
    ) -> Result<(String, u64), CloudError> {
        check_name(name)?;
        let target = self.file(name, format);
        remove_if_there(&target)?;
        let (sha512, size) = match fs::hard_link(file, &target) {
            // Another file system, or one that has no second names.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::CrossesDevices
                        | io::ErrorKind::PermissionDenied
                        | io::ErrorKind::Unsupported
                ) =>
            {
                let digest = copy(file, &target, progress);
                digest.map_err(|error| io_error("cannot copy to", &target, &error))?
            }
            Err(error) => return Err(io_error("cannot import", file, &error)),
            Ok(()) => {
                digest(&target, None, progress).map_err(|error| io_error("cannot read", &target, &error))?
            }
        };
        fs::set_permissions(&target, Permissions::from_mode(0o444))
            .map_err(|error| io_error("cannot protect", &target, &error))?;
        Ok((sha512, size))
    }

    /// Writes an image's record.
    pub(super) fn describe(&self, record: &Record) -> Result<(), CloudError> {
        write_record(&self.record_file(&record.name), record)
    }

    /// An image's record; `None` when there is none that can be read.
    pub(super) fn record(&self, name: &str) -> Option<Record> {
        read_record(&self.record_file(name))
    }

    /// Removes an image with everything that an upload of it may have left. What is not there is fine.
    pub(super) fn remove(&self, name: &str) -> Result<(), CloudError> {
        check_name(name)?;
        for file in
            Format::ALL.map(|format| self.file(name, format)).into_iter().chain([self.record_file(name)])
        {
            remove_if_there(&part(&file))?;
            remove_if_there(&file)?;
        }
        Ok(())
    }

    /// Names of the images, also of half uploads, that begin with `prefix`; the published ones are not here.
    pub(super) fn names(&self, prefix: &str) -> Result<Vec<String>, CloudError> {
        let entries = fs::read_dir(&self.directory)
            .map_err(|error| io_error("cannot list", &self.directory, &error))?;
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let name = name.strip_suffix(PART).unwrap_or(&name);
                let (name, end) = name.rsplit_once('.')?;
                let ours = end == "json" || Format::ALL.iter().any(|format| format.as_str() == end);
                (ours && name.starts_with(prefix)).then(|| name.to_owned())
            })
            .collect();
        names.sort();
        names.dedup();
        Ok(names)
    }
}

/// The name of a file until it is whole.
pub(super) fn part(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(PART);
    PathBuf::from(name)
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> Result<(), CloudError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| io_error("cannot sync", directory, &error))
}

/// Removes a file, or finds that it is gone.
pub(super) fn remove_if_there(path: &Path) -> Result<(), CloudError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("cannot remove", path, &error)),
        _ => Ok(()),
    }
}

/// A record that can be read, or `None`.
pub(super) fn read_record(path: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Writes a record so that there is always a whole one.
pub(super) fn write_record(path: &Path, record: &Record) -> Result<(), CloudError> {
    let write = || {
        let mut text = serde_json::to_vec_pretty(record)?;
        text.push(b'\n');
        let part = part(path);
        let mut file = File::create(&part)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    write().map_err(|error| io_error("cannot write", path, &error))
}

/// Copies to another file system; the target appears when it is whole and durable.
fn copy(from: &Path, to: &Path, progress: &mut dyn FnMut(f64) -> bool) -> io::Result<(String, u64)> {
    let part = part(to);
    let mut file = File::create(&part)?;
    let digest = digest(from, Some(&mut file), progress)?;
    file.sync_all()?;
    fs::rename(&part, to)?;
    Ok(digest)
}

/// SHA-512 and size of a file, which is copied on the way when a copy is asked for.
fn digest(
    file: &Path,
    mut copy: Option<&mut File>,
    progress: &mut dyn FnMut(f64) -> bool,
) -> io::Result<(String, u64)> {
    let mut source = File::open(file)?;
    let length = source.metadata()?.len();
    let mut hasher = Sha512::new();
    let mut buffer = vec![0; CHUNK];
    let mut done = 0_u64;
    loop {
        let count = source.read(&mut buffer)?;
        let chunk = buffer.get(..count).unwrap_or_default();
        if chunk.is_empty() {
            break;
        }
        hasher.update(chunk);
        if let Some(copy) = copy.as_deref_mut() {
            // A hole stays one: a raw image is mostly holes.
            if chunk.iter().all(|byte| *byte == 0) {
                copy.seek_relative(i64::try_from(count).unwrap_or(i64::MAX))?;
            } else {
                copy.write_all(chunk)?;
            }
        }
        done += chunk.len() as u64;
        #[expect(clippy::cast_precision_loss, reason = "a fraction for people")]
        let fraction = done as f64 / length.max(done) as f64;
        if !progress(fraction) {
            return Err(io::Error::other("broken off"));
        }
    }
    if let Some(copy) = copy {
        copy.set_len(done)?;
    }
    Ok((image_manager_proto::hex(&hasher.finalize()), done))
}

/// The error of an image that is not as it was.
pub(super) fn corrupt(message: String) -> CloudError {
    CloudError::new(Trouble::Corrupt, message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    const ABC: &str = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                       2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        (folder, store)
    }

    #[test]
    fn a_file_is_taken_in_without_a_copy_and_protected() {
        let (folder, store) = store();
        let file = folder.path().join("built");
        fs::write(&file, "abc").unwrap();
        let mut fractions = Vec::new();
        let mut note = |fraction| {
            fractions.push(fraction);
            true
        };
        assert_eq!(
            store.take_in(&file, ("image-manager-1", Format::Qcow2), &mut note).unwrap(),
            (ABC.to_owned(), 3)
        );
        assert_eq!(file.metadata().unwrap().nlink(), 2, "a second name: other trials read the artifact too");
        assert_eq!(
            store.file("image-manager-1", Format::Qcow2).metadata().unwrap().permissions().mode() & 0o777,
            0o444
        );
        let again = store.take_in(&file, ("image-manager-1", Format::Qcow2), &mut note).unwrap();
        assert_eq!(again, (ABC.to_owned(), 3), "an upload that was broken off is finished");
        assert_eq!(fractions, [1.0, 1.0]);
        fs::remove_file(&file).unwrap();
        assert!(store.take_in(&file, ("image-manager-2", Format::Raw), &mut |_| true).is_err());
    }

    #[test]
    fn a_copy_is_whole_or_not_there() {
        let (folder, store) = store();
        let (from, to) = (folder.path().join("from"), store.file("image-manager-1", Format::Qcow2));
        fs::write(&from, "abc").unwrap();
        assert!(copy(&from, &to, &mut |_| false).is_err());
        assert!(!to.exists());
        assert_eq!(store.names("image-manager-").unwrap(), ["image-manager-1"], "the part is listed");
        assert_eq!(copy(&from, &to, &mut |_| true).unwrap(), (ABC.to_owned(), 3));
        assert_eq!(fs::read(&to).unwrap(), b"abc");
        store.remove("image-manager-1").unwrap();
        store.remove("image-manager-1").unwrap();
        assert!(store.names("").unwrap().is_empty());
    }

    #[test]
    fn holes_stay_holes_in_a_copy() {
        let (folder, store) = store();
        let (from, to) = (folder.path().join("from"), store.file("image-manager-1", Format::Raw));
        let mut bytes = vec![0; 3 * CHUNK];
        bytes[CHUNK] = 1;
        fs::write(&from, &bytes).unwrap();
        let (_, size) = copy(&from, &to, &mut |_| true).unwrap();
        assert_eq!((size, fs::read(&to).unwrap() == bytes), (3 * CHUNK as u64, true));
        let room = std::os::unix::fs::MetadataExt::blocks(&to.metadata().unwrap()) * 512;
        assert!(room < 2 * CHUNK as u64, "{room} bytes of the disk");
        assert_eq!(store.found("image-manager-1"), (to, Format::Raw));
        assert_eq!(store.names("image-manager-").unwrap(), ["image-manager-1"]);
        store.remove("image-manager-1").unwrap();
        assert_eq!(store.found("image-manager-1").1, Format::Qcow2);
    }

    #[test]
    fn another_directory_cannot_be_named() {
        let (folder, store) = store();
        let file = folder.path().join("precious.qcow2");
        fs::write(&file, "x").unwrap();
        assert_eq!(store.remove("../precious").unwrap_err().trouble, Trouble::Configuration);
        assert!(store.take_in(&file, ("../../x", Format::Raw), &mut |_| true).is_err());
        assert!(file.exists());
    }
}
