//! A directory of its own for a package manager that is asked; removed with it.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Doubt;
use super::program::Account;

/// Where the account that is asked gets to; others do not get into it.
pub(super) struct Place {
    directory: TempDir,
    account: Option<Account>,
}

impl Place {
    /// A new one whose name begins so.
    pub(super) fn make(prefix: &str, account: Option<Account>) -> Result<Self, Doubt> {
        let place = Self { directory: tempfile::Builder::new().prefix(prefix).tempdir()?, account };
        place.text()?;
        place.own(place.directory.path())?;
        Ok(place)
    }

    /// Its name, which has nothing in it that would be more than a name in a package manager's settings.
    pub(super) fn text(&self) -> Result<&str, Doubt> {
        let path = self.directory.path().to_str().filter(|path| !path.contains(['"', ' ', '\n', '\\', '$']));
        path.ok_or_else(|| {
            Doubt::NotHere("the directory for temporary files has an unusable name".to_owned())
        })
    }

    pub(super) fn account(&self) -> Option<Account> {
        self.account
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
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
