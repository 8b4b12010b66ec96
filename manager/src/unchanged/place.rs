//! A directory of its own for a package manager that is asked; removed with it.
//!
//! It is in the directory for temporary files: the account that is asked does not get into the state directory, and the
//! paths of gpg's sockets must be short. Before it is made, a symbolic link in the state directory names it, so that the
//! next manager removes what a killed one has left. That is not needed where the directory for temporary files belongs to
//! a unit of systemd (`PrivateTmp`), which removes it with the unit. From there, what a manager in a shell has left is
//! not seen, though: what is not there is not gone for certain, and stays named.

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
    /// The link that names it, where one is needed.
    link: Option<PathBuf>,
    account: Option<Account>,
}

impl Place {
    /// A new one whose name begins so; `links`: where it is named, made when it is not there.
    pub(super) fn make(links: &Path, prefix: &str, account: Option<Account>) -> Result<Self, Doubt> {
        let links = (is_of_a_unit() != Some(true)).then_some(links);
        let place = Self::new(links, prefix, account)?;
        place.text()?;
        place.own(&place.directory)?;
        Ok(place)
    }

    fn new(links: Option<&Path>, prefix: &str, account: Option<Account>) -> io::Result<Self> {
        if let Some(links) = links {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(links)?;
        }
        let mut tries = 0;
        loop {
            let random = Uuid::now_v7().simple().to_string();
            let name: String = prefix.chars().chain(random.chars().skip(RANDOM_FROM)).collect();
            let directory = std::env::temp_dir().join(&name);
            let link = links.map(|links| links.join(&name));
            let named = link.as_ref().map_or(Ok(()), |link| symlink(&directory, link));
            let made = named.and_then(|()| {
                let made = fs::DirBuilder::new().mode(0o700).create(&directory);
                // Whatever has the name is not ours.
                made.inspect_err(|_| drop(link.as_ref().map(fs::remove_file)))
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
        if let Err(error) = remove(&self.directory, self.link.as_deref(), true) {
            tracing::warn!("cannot remove {}: {error}", self.directory.display());
        }
    }
}

/// The directory first, then the link that names it. `sees_all`: what is not there is gone.
fn remove(directory: &Path, link: Option<&Path>, sees_all: bool) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Err(_) if !sees_all => Ok(()),
        _ => link.map_or(Ok(()), fs::remove_file),
    }
}

/// Whether the directory for temporary files is one of a unit of systemd; `None`: that is not known.
fn is_of_a_unit() -> Option<bool> {
    let mounts = fs::read("/proc/self/mountinfo").ok()?;
    Some(is_of_a_unit_in(&String::from_utf8_lossy(&mounts), &std::env::temp_dir()))
}

/// By the list of mounts, proc(5).
fn is_of_a_unit_in(mounts: &str, temporary: &Path) -> bool {
    let below = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, place) = (fields.next()?, fields.next()?);
        temporary.starts_with(place).then_some((root, place))
    });
    // The deepest one is seen there, and of those at one place the last.
    below.max_by_key(|(_, place)| place.len()).is_some_and(|(root, _)| root.contains("/systemd-private-"))
}

/// Removes the directories that a killed manager has left, by the links that name them. Nobody may be asked meanwhile.
/// Blocks.
pub(crate) fn remove_left(links: &Path) {
    remove_named(links, is_of_a_unit() == Some(false));
}

/// `sees_all`: whether what is not there is gone.
fn remove_named(links: &Path, sees_all: bool) {
    let entries = match fs::read_dir(links) {
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        Err(error) => return tracing::warn!("cannot list {}: {error}", links.display()),
        Ok(entries) => entries,
    };
    for link in entries.flatten().map(|entry| entry.path()) {
        let removed = fs::read_link(&link).and_then(|directory| remove(&directory, Some(&link), sees_all));
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
        let place = Place::new(Some(&links), "image-manager-test-", None).unwrap();
        place.directory("lists").unwrap();
        place.write("lists/all", b"much").unwrap();
        let (directory, link) = (place.directory.clone(), place.link.clone().unwrap());
        assert_eq!(fs::read_link(&link).unwrap(), directory);
        // As one that is killed: nothing of it is dropped.
        std::mem::forget(place);
        remove_left(&links);
        assert!(!directory.exists() && link.symlink_metadata().is_err());

        let place = Place::new(Some(&links), "image-manager-test-", None).unwrap();
        let directory = place.directory.clone();
        drop(place);
        assert!(!directory.exists() && fs::read_dir(&links).unwrap().next().is_none());
    }

    #[test]
    fn what_may_lie_in_another_directory_for_temporary_files_stays_named() {
        let state = tempfile::tempdir().unwrap();
        let links = state.path().join("asking");
        fs::create_dir(&links).unwrap();
        let (elsewhere, link) = (state.path().join("image-manager-apt-1"), links.join("image-manager-apt-1"));
        symlink(&elsewhere, &link).unwrap();
        // As the service with its PrivateTmp, then as the manager in a shell that sees it.
        remove_named(&links, false);
        assert_eq!(fs::read_link(&link).unwrap(), elsewhere);
        fs::create_dir(&elsewhere).unwrap();
        remove_named(&links, true);
        assert!(!elsewhere.exists() && link.symlink_metadata().is_err());

        // Who sees all knows that it is gone; what is there is removed by whoever sees it.
        symlink(&elsewhere, &link).unwrap();
        remove_named(&links, true);
        assert!(link.symlink_metadata().is_err());
        symlink(&elsewhere, &link).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        remove_named(&links, false);
        assert!(!elsewhere.exists() && link.symlink_metadata().is_err());

        let place = Place::new(None, "image-manager-test-", None).unwrap();
        let directory = place.directory.clone();
        drop(place);
        assert!(!directory.exists(), "it needs no name to go");
    }

    #[test]
    fn a_directory_of_systemds_is_known_by_the_mounts() {
        let root = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n";
        let private =
            "90 22 8:1 /tmp/systemd-private-1f-image-manager.service-Ab3/tmp /tmp rw - ext4 /dev/sda1 rw\n";
        let of_tmpfs =
            "91 22 0:30 /systemd-private-1f-image-manager.service-Ab3/tmp /tmp rw - tmpfs tmpfs rw\n";
        let shared = "40 22 0:30 / /tmp rw shared:2 - tmpfs tmpfs rw\n";
        let is_of_a_unit = |mounts: &[&str], place: &str| is_of_a_unit_in(&mounts.concat(), Path::new(place));
        assert!(is_of_a_unit(&[root, private], "/tmp"));
        assert!(is_of_a_unit(&[root, shared, of_tmpfs], "/tmp"), "the last one is seen");
        assert!(is_of_a_unit(&[root, private], "/tmp/own"));
        assert!(!is_of_a_unit(&[root, private], "/var/lib/tmp"));
        assert!(!is_of_a_unit(&[root, private], "/tmpfs"));
        assert!(!is_of_a_unit(&[root, shared], "/tmp"));
        assert!(!is_of_a_unit(&[root], "/tmp"));
        assert!(!is_of_a_unit(&["nonsense\n"], "/tmp"));
    }
}
