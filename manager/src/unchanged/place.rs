//! A directory of its own for a package manager that is asked; removed with it.
//!
//! It is in the directory for temporary files: the account that is asked does not get into the state directory, and the
//! paths of gpg's sockets must be short. Before it is made, a symbolic link in the state directory names it, so that the
//! next manager removes what a killed one has left.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::Doubt;
use super::program::Account;

/// Where the random end of an id begins of which a name ends with: a short one.
const RANDOM_FROM: usize = 26;
/// How many names are tried.
const TRIES: u32 = 16;

/// Where the account that is asked gets to; others do not get into it.
pub(super) struct Place {
    directory: PathBuf,
    /// The link that names it.
    link: PathBuf,
    account: Option<Account>,
}

impl Place {
    /// A new one whose name begins so; `links`: where it is named, made when it is not there.
    pub(super) fn make(links: &Path, prefix: &str, account: Option<Account>) -> Result<Self, Doubt> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(links)?;
        let place = Self::new(links, prefix, account)?;
        place.text()?;
        place.own(&place.directory)?;
        Ok(place)
    }

    fn new(links: &Path, prefix: &str, account: Option<Account>) -> io::Result<Self> {
        let mut tries = 0;
        loop {
            let random = Uuid::now_v7().simple().to_string();
            let name: String = prefix.chars().chain(random.chars().skip(RANDOM_FROM)).collect();
            let (directory, link) = (std::env::temp_dir().join(&name), links.join(&name));
            let made = symlink(&directory, &link).and_then(|()| {
                let made = fs::DirBuilder::new().mode(0o700).create(&directory);
                // Whatever has the name is not ours.
                made.inspect_err(|_| drop(fs::remove_file(&link)))
            });
            tries += 1;
            match made {
                Err(error) if error.kind() == ErrorKind::AlreadyExists && tries < TRIES => {}
                made => return made.map(|()| Self { directory, link, account }),
            }
        }
    }

    /// Its name, which has nothing in it that would be more than a name in a package manager's settings.
    pub(super) fn text(&self) -> Result<&str, Doubt> {
        let path = self.directory.to_str().filter(|path| !path.contains(['"', ' ', '\n', '\\', '$']));
        path.ok_or_else(|| {
            Doubt::NotHere("the directory for temporary files has an unusable name".to_owned())
        })
    }

    pub(super) fn account(&self) -> Option<Account> {
        self.account
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(super) fn own(&self, path: &Path) -> std::io::Result<()> {
        self.account.map_or(Ok(()), |account| chown(path, Some(account.uid), Some(account.gid)))
    }

    /// Makes a directory in one that is there.
    pub(super) fn directory(&self, name: &str) -> std::io::Result<()> {
        let path = self.path(name);
        std::fs::create_dir(&path)?;
        self.own(&path)
    }

    pub(super) fn write(&self, name: &str, content: &[u8]) -> std::io::Result<()> {
        let path = self.path(name);
        std::fs::write(&path, content)?;
        self.own(&path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What stays is named still, and goes when the next manager starts.
        if let Err(error) = remove(&self.directory, &self.link) {
            tracing::warn!("cannot remove {}: {error}", self.directory.display());
        }
    }
}

/// The directory first, then the link that names it.
fn remove(directory: &Path, link: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => fs::remove_file(link),
    }
}

/// Removes the directories that a killed manager has left, by the links that name them. Nobody may be asked meanwhile.
/// Blocks.
pub(crate) fn remove_left(links: &Path) {
    let entries = match fs::read_dir(links) {
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        Err(error) => return tracing::warn!("cannot list {}: {error}", links.display()),
        Ok(entries) => entries,
    };
    for link in entries.flatten().map(|entry| entry.path()) {
        let removed = fs::read_link(&link).and_then(|directory| remove(&directory, &link));
        if let Err(error) = removed {
            tracing::warn!("cannot remove what {} names: {error}", link.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_manager_leaves_nothing_for_good() {
        let state = tempfile::tempdir().unwrap();
        let links = state.path().join("asking");
        remove_left(&links);
        let place = Place::make(&links, "image-manager-test-", None).unwrap();
        place.directory("lists").unwrap();
        place.write("lists/all", b"much").unwrap();
        let (directory, link) = (place.directory.clone(), place.link.clone());
        assert_eq!(fs::read_link(&link).unwrap(), directory);
        // As one that is killed: nothing of it is dropped.
        std::mem::forget(place);
        remove_left(&links);
        assert!(!directory.exists() && link.symlink_metadata().is_err());

        let place = Place::make(&links, "image-manager-test-", None).unwrap();
        let directory = place.directory.clone();
        drop(place);
        assert!(!directory.exists() && fs::read_dir(&links).unwrap().next().is_none());
    }
}
