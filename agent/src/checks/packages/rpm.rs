//! rpm's database: which packages there are, and what their files should be. The manager reads an image's with the
//! same code before it is uploaded.
//!
//! There are three kinds of it. SQLite's own library reads the first; the other two, of which there is no kept library,
//! are walked through here from their beginning to their end. What is in each is the same, a header a package.

mod berkeley;
mod header;
mod ndb;

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::content::{Checksum, FileState};
pub use header::{Header, Kind, Package, PackagedFile};

/// Where rpm keeps it, the newer place first; the older one is often a link to it.
const DIRECTORIES: [&str; 2] = ["/usr/lib/sysimage/rpm", "/var/lib/rpm"];
/// Its file, by its kind.
const FILES: [(&str, Format); 3] =
    [("rpmdb.sqlite", Format::Sqlite), ("Packages.db", Format::Ndb), ("Packages", Format::Berkeley)];
/// Added to the name of SQLite's file: what it has not put into it yet.
pub const LOG: &str = "-wal";

/// Most packages that are looked at.
const MOST_PACKAGES: u32 = 50_000;
/// Longest header of a package.
const MOST_HEADER: usize = 256 << 20;
/// SQLite is asked after so many of its steps how it goes on, and ended when it goes on like that without a package. The
/// next package is a dozen steps away; in steps and not in time, so that a slow machine makes no database a damaged one.
const STEPS: i32 = 100_000;
const MOST_WITHOUT_PACKAGE: u32 = 200;
/// How long a program that writes to it is waited for.
const BUSY: Duration = Duration::from_secs(10);

/// The kind of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// SQLite: Fedora since 33, RHEL since 9.
    Sqlite,
    /// rpm's own: openSUSE, SLES since 15 SP3.
    Ndb,
    /// A hash of Berkeley DB: RHEL 8 and what is older.
    Berkeley,
}

/// A place where a database may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseLocation {
    /// The path of its file.
    pub path: String,
    /// What it is, when it is there.
    pub format: Format,
}

/// Where databases may be, in the order in which they are to be looked for.
pub fn locations() -> impl Iterator<Item = DatabaseLocation> {
    FILES.into_iter().flat_map(|(name, format)| {
        DIRECTORIES
            .into_iter()
            .map(move |directory| DatabaseLocation { path: format!("{directory}/{name}"), format })
    })
}

/// Why a database cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite says so.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// Its file could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is damaged.
    #[error("{0}")]
    Damaged(&'static str),
}

impl Error {
    /// It is for want of room on this disk.
    pub fn is_for_want_of_room(&self) -> bool {
        match self {
            Self::Sqlite(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            Self::Io(error) => error.kind() == io::ErrorKind::StorageFull,
            Self::Damaged(_) => false,
        }
    }
}

/// An rpm database that is open.
#[derive(Debug)]
pub struct Database {
    opened: Opened,
}

#[derive(Debug)]
enum Opened {
    /// With how often it was asked since the last package.
    Sqlite(Connection, Arc<AtomicU32>),
    Ndb(File),
    Berkeley(File),
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
    /// Why it cannot be read.
    pub fn open(file: &Path, format: Format) -> Result<Self, Error> {
        Self::opened(file, format, |file| {
            let mut log = file.as_os_str().to_owned();
            log.push(LOG);
            let pending = fs::metadata(log).is_ok_and(|log| log.len() > 0);
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            if pending {
                // Somebody installs packages just now, so the files that SQLite wants are there.
                return Connection::open_with_flags(file, flags);
            }
            let address = format!("file:{}?immutable=1", escaped(file));
            Connection::open_with_flags(address, flags | OpenFlags::SQLITE_OPEN_URI)
        })
    }

    /// Opens a copy of one, which may be changed.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn open_copy(file: &Path, format: Format) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Self::opened(file, format, |file| Connection::open_with_flags(file, flags))
    }

    fn opened(
        file: &Path,
        format: Format,
        sqlite: impl FnOnce(&Path) -> Result<Connection, rusqlite::Error>,
    ) -> Result<Self, Error> {
        let opened = match format {
            Format::Sqlite => {
                let mut connection = sqlite(file)?;
                connection.busy_timeout(BUSY)?;
                // The image's schema is not to be believed: no functions of it are run, and what it calls a table can
                // be a view without an end.
                let asked = Arc::new(AtomicU32::new(0));
                let count = Arc::clone(&asked);
                let is_enough = move || count.fetch_add(1, Ordering::Relaxed) >= MOST_WITHOUT_PACKAGE;
                connection.progress_handler(STEPS, Some(is_enough))?;
                connection.pragma_update(None, "trusted_schema", false)?;
                Opened::Sqlite(connection, asked)
            }
            Format::Ndb => Opened::Ndb(File::open(file)?),
            Format::Berkeley => Opened::Berkeley(File::open(file)?),
        };
        Ok(Self { opened })
    }

    /// Hands on the header of each package.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn each(&self, take: impl FnMut(&[u8]) -> Next) -> Result<(), Error> {
        match &self.opened {
            Opened::Sqlite(connection, asked) => {
                of_sqlite(connection, asked, take).map_err(|error| match error.sqlite_error_code() {
                    Some(rusqlite::ErrorCode::OperationInterrupted) => {
                        Error::Damaged("it yields no package, however far it is read")
                    }
                    _ => Error::Sqlite(error),
                })
            }
            Opened::Ndb(file) => ndb::each(file, take),
            Opened::Berkeley(file) => berkeley::each(file, take),
        }
    }
}

fn of_sqlite(
    connection: &Connection,
    asked: &AtomicU32,
    mut take: impl FnMut(&[u8]) -> Next,
) -> Result<(), rusqlite::Error> {
    let mut statement = connection.prepare("SELECT blob FROM Packages ORDER BY hnum LIMIT ?1")?;
    let mut rows = statement.query([MOST_PACKAGES])?;
    while let Some(row) = rows.next()? {
        asked.store(0, Ordering::Relaxed);
        let blob = row.get_ref(0)?.as_blob_or_null()?.unwrap_or_default();
        if take(blob) == Next::Stop {
            break;
        }
    }
    Ok(())
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
    fn file_state(&self, path: &str, expected: &Checksum) -> Result<FileState, Trouble>;

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
    let file_state = match &file.kind {
        Kind::Content(checksum) => tree.file_state(&file.path, checksum),
        Kind::Link(target) => {
            let same = |found: Vec<u8>| if found == *target { FileState::Same } else { FileState::Changed };
            tree.link(&file.path).map(same)
        }
    };
    match file_state {
        Ok(FileState::Same) => Outcome::Same,
        Ok(FileState::Blank) => Outcome::Damaged("blank".to_owned()),
        Ok(FileState::Changed) | Err(Trouble::OtherKind) if file.configuration => Outcome::Edited,
        Ok(FileState::Changed) | Err(Trouble::OtherKind) => Outcome::Changed,
        Err(Trouble::Missing) if file.may_be_missing => Outcome::LeftOut,
        Err(Trouble::Missing) => Outcome::Missing,
        Err(Trouble::Unreadable(why)) => Outcome::Damaged(why),
        Err(Trouble::Stopped) => Outcome::Stopped,
    }
}

#[cfg(test)]
mod tests;
