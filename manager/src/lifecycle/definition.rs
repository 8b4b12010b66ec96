//! What an image is defined by, as one digest: two builds with the same one were asked for the same.
//!
//! The elements of the elements path with every file, the names of disk-image-builder's own with its version, what the
//! schedule says of the image, the agent, this program's version. What is downloaded meanwhile is not part of it, nor
//! what the host is: those are what may differ between two builds of one definition.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::artifact::hexadecimal;
use super::settings::Settings;
use crate::builder::Expanded;
use crate::schedules::ImageSpec;

/// Files that are read at most; with more the definition is not known.
const MOST_FILES: usize = 20_000;
/// Bytes of them at most.
const MOST_BYTES: u64 = 1 << 30;
/// Directories below one another at most.
const DEEPEST: usize = 32;

/// What is known before disk-image-builder says which elements it works with.
#[derive(Debug, Clone)]
pub(super) struct Definition {
    /// Of all but the elements.
    plain: String,
    /// Digest of each element in the elements path, by name. Of one that several directories have, all.
    elements: BTreeMap<String, String>,
}

impl Definition {
    /// Reads the elements as they are now, before anything is built from them. `None` when that cannot be: then
    /// nothing is known to be unchanged.
    pub(super) async fn read(settings: &Settings, image: &ImageSpec, agent: &Path) -> Option<Self> {
        let (directories, agent, image) = (settings.elements.clone(), agent.to_owned(), format!("{image:?}"));
        let work = tokio::task::spawn_blocking(move || read(&directories, &agent, &image));
        match work.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(definition) => Some(definition),
            Err(error) => {
                tracing::warn!("cannot tell whether the definition of the image changes: {error}");
                None
            }
        }
    }

    /// The digest of the whole, once it is known what the elements expand to.
    pub(super) fn digest(&self, expanded: &Expanded) -> String {
        let mut hasher = Sha256::new();
        add(&mut hasher, self.plain.as_bytes());
        add(&mut hasher, expanded.version.as_bytes());
        let mut names: Vec<_> = expanded.elements.iter().collect();
        names.sort();
        for name in names {
            add(&mut hasher, name.as_bytes());
            add(&mut hasher, self.elements.get(name).map(String::as_str).unwrap_or_default().as_bytes());
        }
        hexadecimal(&hasher.finalize())
    }
}

fn read(directories: &[PathBuf], agent: &Path, image: &str) -> io::Result<Definition> {
    let mut room = Room { files: MOST_FILES, bytes: MOST_BYTES };
    let mut plain = Sha256::new();
    add(&mut plain, env!("CARGO_PKG_VERSION").as_bytes());
    add(&mut plain, image.as_bytes());
    add(&mut plain, room.read(agent)?.as_bytes());
    let mut elements: BTreeMap<String, String> = BTreeMap::new();
    for directory in directories {
        for (name, path) in entries(directory)? {
            if path.is_dir() {
                let mut hasher = Sha256::new();
                room.tree(&mut hasher, &path, 0)?;
                elements.entry(name).or_default().push_str(&hexadecimal(&hasher.finalize()));
            }
        }
    }
    Ok(Definition { plain: hexadecimal(&plain.finalize()), elements })
}

/// What may still be read.
struct Room {
    files: usize,
    bytes: u64,
}

impl Room {
    /// Takes in a directory: names, modes and contents of all that is below it, links followed.
    fn tree(&mut self, hasher: &mut Sha256, directory: &Path, depth: usize) -> io::Result<()> {
        if depth > DEEPEST {
            return Err(io::Error::other(format!("{} is too deep", directory.display())));
        }
        for (name, path) in entries(directory)? {
            add(hasher, name.as_bytes());
            if let Ok(target) = fs::read_link(&path) {
                add(hasher, target.as_os_str().as_encoded_bytes());
            }
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
            return Err(io::Error::other(format!("too much to read, at {}", path.display())));
        };
        (self.files, self.bytes) = (files, bytes);
        let mut hasher = Sha256::new();
        io::copy(&mut io::Read::take(fs::File::open(path)?, size), &mut hasher)?;
        Ok(hexadecimal(&hasher.finalize()))
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
fn add(hasher: &mut Sha256, part: &[u8]) {
    hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
    hasher.update(part);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(elements: &[&str]) -> Expanded {
        let elements = elements.iter().map(|name| (*name).to_owned()).collect();
        Expanded { version: "3.43.0".to_owned(), elements }
    }

    #[test]
    fn a_change_in_what_is_used_is_a_change_and_another_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let write = |name: &str, content: &str| {
            std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            std::fs::write(at(name), content).unwrap();
        };
        write("agent", "1");
        write("elements/web/install.d/50-web", "true");
        write("elements/other/install.d/50-other", "true");
        let digest = |used: &[&str], image: &str| {
            read(&[at("elements"), at("absent")], &at("agent"), image).unwrap().digest(&expanded(used))
        };
        let used = ["web", "debian-minimal"];
        let first = digest(&used, "image");
        assert_eq!(first.len(), 64);
        assert_eq!(digest(&["debian-minimal", "web"], "image"), first, "the order says nothing");
        write("elements/other/install.d/50-other", "false");
        assert_eq!(digest(&used, "image"), first, "it is not used");
        assert_ne!(digest(&used, "another image"), first);
        assert_ne!(digest(&["web"], "image"), first);
        let mut seen = vec![first];
        let mut changed = || {
            let now = digest(&used, "image");
            assert!(!seen.contains(&now));
            seen.push(now);
        };
        write("elements/web/install.d/50-web", "false");
        changed();
        std::fs::set_permissions(at("elements/web/install.d/50-web"), std::fs::Permissions::from_mode(0o755))
            .unwrap();
        changed();
        write("elements/web/README", "");
        changed();
        write("agent", "2");
        changed();
        std::os::unix::fs::symlink(at("agent"), at("elements/web/link")).unwrap();
        changed();
        write("agent2", "2");
        std::fs::remove_file(at("elements/web/link")).unwrap();
        std::os::unix::fs::symlink(at("agent2"), at("elements/web/link")).unwrap();
        changed();
    }

    #[test]
    fn what_is_too_much_is_not_known() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a"), "12345").unwrap();
        let mut room = Room { files: 1, bytes: 4 };
        assert!(room.tree(&mut Sha256::new(), directory.path(), 0).is_err());
        let mut room = Room { files: 0, bytes: 100 };
        assert!(room.tree(&mut Sha256::new(), directory.path(), 0).is_err());
        // A link to itself does not go on for ever.
        std::os::unix::fs::symlink(directory.path(), directory.path().join("loop")).unwrap();
        let mut room = Room { files: 1000, bytes: 1000 };
        assert!(room.tree(&mut Sha256::new(), directory.path(), 0).is_err());
    }
}
