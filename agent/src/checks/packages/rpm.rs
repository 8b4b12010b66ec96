//! rpm's database: which packages there are, and what their files should be. The manager reads an image's with the
//! same code before it is uploaded.
//!
//! SQLite's own library reads the file; what is in it, one header a package, is read here.

mod header;

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::content::{Checksum, Fate};
pub use header::{Header, Kind, Package, PackagedFile};

/// Where rpm keeps it, the newer place first; the older one is often a link to it.
pub const DIRECTORIES: [&str; 2] = ["/usr/lib/sysimage/rpm", "/var/lib/rpm"];
/// The database's file, and what SQLite has not put into it yet.
pub const FILE: &str = "rpmdb.sqlite";
/// Added to the file's name.
pub const LOG: &str = "-wal";
/// Databases of other kinds, which are not read, and of whom they are.
pub const OTHERS: [(&str, &str); 2] = [
    ("Packages.db", "an rpm database of the kind ndb, as openSUSE has it"),
    ("Packages", "an rpm database of Berkeley DB, as distributions before 2020 and RHEL 8 have it"),
];

/// Most packages that are looked at.
const MOST_PACKAGES: i64 = 50_000;
/// How long a program that writes to it is waited for.
const BUSY: Duration = Duration::from_secs(10);

/// An rpm database that is open.
#[derive(Debug)]
pub struct Database {
    connection: Connection,
}

/// Whether to go on with the next package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Yes.
    Package,
    /// No.
    Stop,
}

impl Database {
    /// Opens one that others may be using, and changes nothing: not even a file beside it is made.
    ///
    /// # Errors
    /// What SQLite says of it.
    pub fn open(file: &Path) -> Result<Self, rusqlite::Error> {
        let mut log = file.as_os_str().to_owned();
        log.push(LOG);
        let pending = fs::metadata(log).is_ok_and(|log| log.len() > 0);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = if pending {
            // Somebody installs packages just now, so the files that SQLite wants are there.
            Connection::open_with_flags(file, flags)?
        } else {
            let address = format!("file:{}?immutable=1", escaped(file));
            Connection::open_with_flags(address, flags | OpenFlags::SQLITE_OPEN_URI)?
        };
        Self::prepared(connection)
    }

    /// Opens a copy of one, which may be changed.
    ///
    /// # Errors
    /// What SQLite says of it.
    pub fn open_copy(file: &Path) -> Result<Self, rusqlite::Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Self::prepared(Connection::open_with_flags(file, flags)?)
    }

    fn prepared(connection: Connection) -> Result<Self, rusqlite::Error> {
        connection.busy_timeout(BUSY)?;
        // The image's schema is not to be believed: no functions of it are run.
        connection.pragma_update(None, "trusted_schema", false)?;
        Ok(Self { connection })
    }

    /// Hands on the header of each package, in the order in which they were installed.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn each(&self, mut take: impl FnMut(&[u8]) -> Next) -> Result<(), rusqlite::Error> {
        let mut statement = self.connection.prepare("SELECT blob FROM Packages ORDER BY hnum LIMIT ?1")?;
        let mut rows = statement.query([MOST_PACKAGES])?;
        while let Some(row) = rows.next()? {
            let blob = row.get_ref(0)?.as_blob_or_null()?.unwrap_or_default();
            if take(blob) == Next::Stop {
                break;
            }
        }
        Ok(())
    }
}

/// A path in SQLite's address of a file.
fn escaped(path: &Path) -> String {
    path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23")
}

/// Why a file could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It is not there.
    Missing,
    /// It is of another kind than it should be.
    OtherKind,
    /// The time is up.
    Stopped,
    /// It cannot be read, for this reason.
    Unreadable(String),
}

/// Files, wherever they are.
pub trait Tree {
    /// What became of the plain file at a path below the root; links are followed.
    ///
    /// # Errors
    /// Why it could not be looked at.
    fn fate(&self, path: &str, expected: &Checksum) -> Result<Fate, Trouble>;

    /// Where the link at a path points to.
    ///
    /// # Errors
    /// Why it could not be looked at.
    fn link(&self, path: &str) -> Result<Vec<u8>, Trouble>;
}

/// What became of a file of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is what it was.
    Same,
    /// It is something else.
    Changed,
    /// It is configuration, and was edited.
    Edited,
    /// It is not there, and should be.
    Missing,
    /// It is not there, and need not be.
    LeftOut,
    /// It is blank, or cannot be read.
    Damaged(String),
    /// The time is up.
    Stopped,
}

/// Looks at a file of a package.
pub fn outcome(tree: &dyn Tree, file: &PackagedFile) -> Outcome {
    let fate = match &file.kind {
        Kind::Content(checksum) => tree.fate(&file.path, checksum),
        Kind::Link(target) => {
            let same = |found: Vec<u8>| if found == *target { Fate::Same } else { Fate::Changed };
            tree.link(&file.path).map(same)
        }
    };
    match fate {
        Ok(Fate::Same) => Outcome::Same,
        Ok(Fate::Blank) => Outcome::Damaged("blank".to_owned()),
        Ok(Fate::Changed) | Err(Trouble::OtherKind) if file.configuration => Outcome::Edited,
        Ok(Fate::Changed) | Err(Trouble::OtherKind) => Outcome::Changed,
        Err(Trouble::Missing) if file.may_be_missing => Outcome::LeftOut,
        Err(Trouble::Missing) => Outcome::Missing,
        Err(Trouble::Unreadable(why)) => Outcome::Damaged(why),
        Err(Trouble::Stopped) => Outcome::Stopped,
    }
}

#[cfg(test)]
mod tests;
