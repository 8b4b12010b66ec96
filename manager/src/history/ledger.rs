//! The ledger: what exists because of a build, written down before it is asked for.

use std::ops::Range;

use rusqlite::{Row, params};

use super::names::ENDS;
use super::points::Point;
use super::{History, HistoryError, now_ms};

/// Longer than any build: its file allows it a week.
const LONGEST_BUILD_MS: i64 = 8 * 24 * 3600 * 1000;

/// The columns of the table `resource`, as `r`, that [`ledger_row`] reads.
pub(super) const ROW: &str =
    "r.id, r.build_id, r.cloud, r.kind, r.name, r.external_id, r.trial, r.created_at";

/// What is known of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResourceState {
    /// About to be asked for, or asked for with the answer lost.
    Intended,
    /// Exists.
    Created,
    /// About to be removed, or the removal's answer was lost.
    Deleting,
    /// Is not there any more.
    Gone,
    /// Given to its users: no longer the build's to remove.
    Published,
}

impl ResourceState {
    /// The word for it in the database and the interface.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Created => "created",
            Self::Deleting => "deleting",
            Self::Gone => "gone",
            Self::Published => "published",
        }
    }
}

/// A row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRow {
    /// Its handle.
    pub id: i64,
    /// The build it belongs to.
    pub build_id: String,
    /// Place of the trial that made it; `None` for what is the whole build's.
    pub trial: Option<u32>,
    /// `host`, or the cloud's name.
    pub cloud: String,
    /// What it is.
    pub kind: String,
    /// The name it was asked for by.
    pub name: String,
    /// The cloud's id of it.
    pub external_id: Option<String>,
    /// When it was to be asked for, in milliseconds since the epoch.
    pub asked_at_ms: i64,
}

/// What an ended build left behind and whose removal did not succeed so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StuckResource {
    /// What it is.
    pub kind: String,
    /// `host`, or the cloud's name.
    pub cloud: String,
    /// The name it was asked for by.
    pub name: String,
    /// Why it was not removed the last time.
    pub note: String,
    /// When its build ended, in milliseconds since the epoch; of a copy for a further name, when it was asked for.
    pub since_ms: i64,
}

impl History {
    /// Commits that something is about to be asked for.
    pub async fn intend(
        &self,
        (build_id, trial): (&str, Option<u32>),
        cloud: &str,
        kind: &str,
        name: &str,
    ) -> Result<i64, HistoryError> {
        let row = [build_id, cloud, kind, name].map(str::to_owned);
        self.writer()?
            .run(Point::Of("intend", kind.to_owned()), move |tx| {
                let [build_id, cloud, kind, name] = row;
                tx.execute(
                    "INSERT INTO resource (build_id, cloud, kind, name, state, created_at, updated_at, trial)
                     VALUES (?1, ?2, ?3, ?4, 'intended', ?5, ?5, ?6)",
                    params![build_id, cloud, kind, name, now_ms(), trial],
                )?;
                Ok(tx.last_insert_rowid())
            })
            .await
    }

    /// Commits the id under which it exists.
    pub async fn resource_created(&self, row: i64, external_id: &str) -> Result<(), HistoryError> {
        let external_id = external_id.to_owned();
        self.writer()?
            .run(Point::Row("created", row), move |tx| {
                tx.execute(
                    "UPDATE resource SET state = 'created', external_id = ?2, updated_at = ?3 WHERE id = ?1",
                    params![row, external_id, now_ms()],
                )?;
                Ok(())
            })
            .await
    }

    /// Commits where it goes from here; `note` says why it is still there, or is empty. While its removal is tried again
    /// the note of the time before stays.
    pub async fn resource_state(
        &self,
        row: i64,
        state: ResourceState,
        note: &str,
    ) -> Result<(), HistoryError> {
        let note = note.to_owned();
        self.writer()?
            .run(Point::Row(state.as_str(), row), move |tx| {
                tx.execute(
                    "UPDATE resource SET state = ?2, updated_at = ?4,
                        note = CASE WHEN ?2 = 'deleting' AND ?3 = '' THEN note ELSE ?3 END WHERE id = ?1",
                    params![row, state.as_str(), note, now_ms()],
                )?;
                Ok(())
            })
            .await
    }

    /// What a build must still take away, newest first. Not copies of its image that were made for further names.
    pub async fn open_resources(&self, build_id: &str) -> Result<Vec<LedgerRow>, HistoryError> {
        let build_id = build_id.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, build_id, cloud, kind, name, external_id, trial, created_at FROM resource
                 WHERE build_id = ?1 AND state NOT IN ('gone', 'published') AND copy = 0 ORDER BY id DESC",
            )?;
            Ok(statement.query_map([build_id], ledger_row)?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// What builds that have ended must still take away: their clean-up did not come to its end. Not the copies that are on
    /// their way to a further name. At most 1,000 rows.
    pub async fn leftover_resources(&self) -> Result<Vec<LedgerRow>, HistoryError> {
        self.read(|connection| {
            // From the few open rows to their builds: left to itself, SQLite begins with the million that ended.
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {ROW}
                 FROM resource r INDEXED BY resource_open CROSS JOIN build b ON b.id = r.build_id
                 WHERE r.state NOT IN ('gone', 'published')
                 AND r.id NOT IN (SELECT copy FROM handover WHERE copy IS NOT NULL)
                 AND b.state IN {ENDS} ORDER BY r.id DESC LIMIT 1000",
            ))?;
            Ok(statement.query_map([], ledger_row)?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Of what builds that have ended must still take away: that whose removal failed. At most 1,000, the newest first.
    pub async fn stuck_resources(&self) -> Result<Vec<StuckResource>, HistoryError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT r.kind, r.cloud, r.name, r.note,
                    iif(r.copy, r.created_at, coalesce(b.finished_at, r.updated_at))
                 FROM resource r INDEXED BY resource_open CROSS JOIN build b ON b.id = r.build_id
                 WHERE r.state NOT IN ('gone', 'published') AND r.note <> ''
                 AND b.state IN {ENDS} ORDER BY r.id DESC LIMIT 1000",
            ))?;
            let rows = statement.query_map([], |row| {
                Ok(StuckResource {
                    kind: row.get(0)?,
                    cloud: row.get(1)?,
                    name: row.get(2)?,
                    note: row.get(3)?,
                    since_ms: row.get(4)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Of builds that ended in this span of time (milliseconds since the epoch), and of copies that were given up in it:
    /// what was closed without ever having been seen, because the answer to the request for it was lost, or it never left.
    /// Not what has the name of something that is still there. At most 1,000 rows.
    pub async fn unseen_resources(&self, ended: Range<i64>) -> Result<Vec<LedgerRow>, HistoryError> {
        self.read(move |connection| {
            // From the few rows that nobody saw to their builds: left to itself, SQLite begins with the million that ended.
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {ROW}
                 FROM resource r INDEXED BY resource_unseen CROSS JOIN build b ON b.id = r.build_id
                 WHERE r.state = 'gone' AND r.external_id IS NULL AND r.updated_at >= ?1
                 AND b.state IN {ENDS} AND iif(r.copy, r.updated_at, b.finished_at) >= ?2
                 AND iif(r.copy, r.updated_at, b.finished_at) < ?3
                 AND NOT EXISTS (SELECT 1 FROM resource l WHERE l.build_id = r.build_id AND l.cloud = r.cloud
                    AND l.kind = r.kind AND l.name = r.name AND l.state != 'gone')
                 ORDER BY r.id DESC LIMIT 1000",
            ))?;
            let rows =
                statement.query_map([ended.start - LONGEST_BUILD_MS, ended.start, ended.end], ledger_row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}

/// Reads a row of [`ROW`].
pub(super) fn ledger_row(row: &Row<'_>) -> rusqlite::Result<LedgerRow> {
    Ok(LedgerRow {
        id: row.get(0)?,
        build_id: row.get(1)?,
        cloud: row.get(2)?,
        kind: row.get(3)?,
        name: row.get(4)?,
        external_id: row.get(5)?,
        trial: row.get(6)?,
        asked_at_ms: row.get(7)?,
    })
}
