//! The history of all builds and the ledger of everything they made, in SQLite.
//!
//! One thread owns the one writing connection; everybody else sends it work through a bounded channel and
//! waits for the commit. Reads run on read-only connections of their own and never wait for the writer
//! (write-ahead log). `history` knows nothing of clouds: it keeps words and ids.
//!
//! A new column or table is a file in `migrations/` with the next number, and its line in `schema`; a migration
//! that has been released is never changed. A new write goes through `Writer::run` with a name of its own, at which
//! the tests kill the manager; what people do leaves a row in `audit` in the same commit.

mod audit;
mod builds;
mod confirmed;
mod controls;
mod copies;
#[cfg(test)]
mod copies_tests;
mod definition;
mod follow_up;
mod handovers;
mod integrity;
mod ledger;
#[cfg(test)]
mod ledger_tests;
mod names;
mod newest;
pub mod observations;
mod outbox;
mod parts;
#[cfg(test)]
mod plan_tests;
mod points;
mod principal;
#[cfg(test)]
mod publication_tests;
mod publications;
mod queries;
mod records;
mod related;
mod reports;
mod resolution;
mod revocations;
mod room;
mod schedule_state;
mod schema;
mod successes;
#[cfg(test)]
mod tests;
mod tokens;
mod trials;
mod unchanged;
mod verified;
mod warnings;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

pub use audit::{Action, AuditRow};
pub use builds::{Ending, NewBuild};
pub use controls::{ControlAnswer, ControlRecord, NewControl};
pub use definition::{Defined, DefinitionPart, DefinitionPast};
pub use follow_up::{FollowUp, OwedRetry};
pub use handovers::{Change, Given, Handover, NewHandover};
pub use ledger::{LedgerRow, ResourceState, StuckResource};
pub use names::{Named, build_has_ended, trial_has_ended};
pub use newest::BadName;
pub use outbox::{ImageChange, OutboxEntry, OutboxKind};
pub use principal::Principal;
pub use publications::{PublicationFilter, PublicationPage};
pub use queries::{BuildFilter, Page};
pub use records::{ArtifactRecord, Claim, Introduction, TrialRecord};
pub use related::{RelatedBuild, RelatedBuilds};
pub use reports::ReportQuery;
pub use revocations::Revocation;
pub use room::{ImageSizes, RoomTaken};
pub use schedule_state::{Entries, ScheduleState};
pub use tokens::{NewToken, TokenRecord};
pub use trials::{Decided, NewTrial, TrialKey};
pub use unchanged::Before;
use writer::Writer;

/// How long a connection waits for another process's lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle read connections that are kept.
const IDLE_READERS: usize = 4;

/// The history cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// SQLite's own error.
    #[error("history database: {0}")]
    Sqlite(#[source] rusqlite::Error),
    /// Nothing can be written down, so nothing may begin.
    #[error("the disk with the history is full: make room there; until then no build begins")]
    DiskFull,
    /// The file is not whole.
    #[error(
        "the history {path} is damaged ({what}); nothing was changed. Move it away, together with the files -wal and \
         -shm beside it, and start afresh, or put a copy made by `image-manager backup` in its place"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite found.
        what: String,
    },
    /// SQLite takes only names in UTF-8.
    #[error("{0}: the name is not UTF-8")]
    NotUtf8(PathBuf),
    /// The file was written by a newer program.
    #[error(
        "history database has schema version {found}, but this program knows up to {known}: use the newer \
         image-manager that wrote it"
    )]
    NewerSchema {
        /// Version of the file.
        found: i64,
        /// Newest version that this program knows.
        known: i64,
    },
    /// The file was written by an older program and has not been brought up to date.
    #[error(
        "history database has schema version {found}, but this program reads {known}: start this version's \
         `image-manager serve` or `run` once"
    )]
    OlderSchema {
        /// Version of the file.
        found: i64,
        /// Version that this program reads.
        known: i64,
    },
    /// The schedule has an unfinished build.
    #[error("schedule already has an unfinished build: {0}")]
    Unfinished(String),
    /// The retry was made, or became needless.
    #[error("build {0} has no pending retry")]
    NoRetry(String),
    /// No build has this id.
    #[error("no build {0}")]
    NoBuild(String),
    /// The piece of an id fits several builds.
    #[error("{text:?} matches several builds: {candidates}; give more of the id")]
    Ambiguous {
        /// The piece.
        text: String,
        /// Some of the builds, newest first.
        candidates: String,
    },
    /// A build was asked to go where its state does not lead.
    #[error("build {build} cannot go from {from} to {to}")]
    IllegalMove {
        /// The build.
        build: String,
        /// Its state.
        from: String,
        /// The state asked for.
        to: String,
    },
    /// A token has this name.
    #[error(
        "there is already a token {0:?}: remove it with `image-manager token revoke {0}`, or choose another name"
    )]
    TokenThere(String),
    /// No token has this name.
    #[error("no token {0:?}; `image-manager token list` lists them")]
    NoToken(String),
    /// There are as many tokens as there may be.
    #[error("there are {most} tokens, which is the maximum: revoke those that nobody uses")]
    TooManyTokens {
        /// The bound.
        most: u32,
    },
    /// Somebody does more than the audit trail takes.
    #[error("{who} has done {most} things within a minute, which is the maximum: wait a minute")]
    TooMuch {
        /// Who.
        who: String,
        /// The bound.
        most: u32,
    },
    /// Somebody changes what has the name.
    #[error("the name {name} on {cloud} is being changed: wait until that is done")]
    NameBusy {
        /// The name.
        name: String,
        /// The cloud.
        cloud: String,
    },
    /// A change of a name is under way no more.
    #[error(
        "{name} on {cloud} has not got the image: meanwhile a build has published under the name, the name was rolled back, \
         an image was revoked, or the copy failed; the manager's log says which"
    )]
    Overtaken {
        /// The name.
        name: String,
        /// The cloud.
        cloud: String,
    },
    /// Another program has the file for itself for longer than is waited.
    #[error(
        "the history database is locked by another program, for example by a manager that brings it to its schema: try \
         again in a minute"
    )]
    Locked,
    /// A variable for tests is wrong.
    #[error("{0}")]
    TestPoints(String),
    /// The writer thread has ended.
    #[error("the history is closed")]
    Closed,
}

impl HistoryError {
    /// Whether what was to be moved is not where it was to be moved from: it does not come there by waiting.
    pub fn is_illegal_move(&self) -> bool {
        matches!(self, Self::IllegalMove { .. })
    }
}

impl From<rusqlite::Error> for HistoryError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::DiskFull,
            Some(rusqlite::ErrorCode::DatabaseBusy) => Self::Locked,
            _ => Self::Sqlite(error),
        }
    }
}

/// A handle to the history; cheap to clone.
#[derive(Clone)]
pub struct History {
    /// `None` when it was opened for reading only.
    writer: Option<Writer>,
    readers: Arc<Readers>,
}

struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl History {
    /// Opens the history for reading and writing; makes the file and its tables when they are not there.
    ///
    /// # Errors
    /// [`HistoryError::Damaged`] when the file is not whole, [`HistoryError::NewerSchema`] when a newer program
    /// wrote it: both leave it as it is.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        integrity::check(path)?;
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        schema::write_ahead(&connection, BUSY_TIMEOUT)?;
        // A commit must survive a power cut: the ledger is worth nothing otherwise.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        schema::migrate(&mut connection)?;
        Ok(Self { writer: Some(Writer::start(connection)?), readers: Readers::new(path) })
    }

    /// Opens a history that is there for reading only: changes nothing, also no older schema.
    ///
    /// # Errors
    /// [`HistoryError::OlderSchema`] until the manager has brought it up to date.
    pub fn open_to_read(path: &Path) -> Result<Self, HistoryError> {
        let readers = Readers::new(path);
        let connection = readers.take()?;
        let found = schema::version(&connection)?;
        schema::check_version(found)?;
        let known = schema::known();
        if found < known {
            return Err(HistoryError::OlderSchema { found, known });
        }
        readers.put_back(connection);
        Ok(Self { writer: None, readers })
    }

    fn writer(&self) -> Result<&Writer, HistoryError> {
        self.writer.as_ref().ok_or(HistoryError::Closed)
    }

    /// Runs a read on a read-only connection, off the async threads.
    async fn read<T, F>(&self, work: F) -> Result<T, HistoryError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, HistoryError> + Send + 'static,
    {
        let readers = Arc::clone(&self.readers);
        tokio::task::spawn_blocking(move || {
            let connection = readers.take()?;
            // All that it asks is of one state, and the file is locked once: where there are 200 schedules it asks 1000 times.
            let result = match connection.unchecked_transaction() {
                Ok(snapshot) => work(&snapshot),
                Err(error) => Err(error.into()),
            };
            readers.put_back(connection);
            result
        })
        .await
        .map_err(|_| HistoryError::Closed)?
    }

    /// This installation's id, made at first use: what the manager owns in a cloud carries it. It is kept in a file
    /// beside the history, too, so that one who begins with a new history still knows what is theirs.
    pub async fn owner(&self) -> Result<String, HistoryError> {
        let file = self.readers.path.with_file_name("owner");
        let found = self.read(|connection| Ok(owner(connection)?)).await?;
        let Some(writer) = &self.writer else { return found.ok_or(HistoryError::Closed) };
        let kept = kept_owner(&file);
        let owner = if let Some(found) = found {
            found
        } else {
            let fresh = kept.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
            writer
                .run("owner", |connection| {
                    connection
                        .execute("INSERT OR IGNORE INTO meta (key, value) VALUES ('owner', ?1)", [&fresh])?;
                    Ok(owner(connection)?.unwrap_or(fresh))
                })
                .await?
        };
        if kept.as_ref() != Some(&owner)
            && let Err(error) = std::fs::write(&file, &owner)
        {
            // The history has it.
            tracing::warn!("cannot write {}: {error}", file.display());
        }
        Ok(owner)
    }
}

fn kept_owner(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    uuid::Uuid::parse_str(text.trim()).is_ok().then(|| text.trim().to_owned())
}

fn owner(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT value FROM meta WHERE key = 'owner'", [], |row| row.get(0)).optional()
}

impl Readers {
    fn new(path: &Path) -> Arc<Self> {
        Arc::new(Self { path: path.to_owned(), idle: Mutex::new(Vec::new()) })
    }

    fn take(&self) -> Result<Connection, HistoryError> {
        let idle = self.idle.lock().ok().and_then(|mut idle| idle.pop());
        if let Some(connection) = idle {
            return Ok(connection);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        Ok(connection)
    }

    fn put_back(&self, connection: Connection) {
        if let Ok(mut idle) = self.idle.lock()
            && idle.len() < IDLE_READERS
        {
            idle.push(connection);
        }
    }
}

/// Milliseconds since the Unix epoch, by the manager's clock.
pub(crate) fn now_ms() -> i64 {
    crate::clock::now().timestamp_millis()
}
