//! Copies of published images on their way to a further name: rows of the ledger that belong to a change of a name until it is
//! done. Once no change has such a row, it is removed like whatever else a build has left.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::handovers::{self, Handover};
use super::ledger::{LedgerRow, ROW, ledger_row};
use super::{History, HistoryError, now_ms};

/// Rows of copies that are to be removed: no change has them.
const ABANDONED: &str = "r.copy = 1 AND r.state NOT IN ('gone', 'published')
    AND r.id NOT IN (SELECT copy FROM handover WHERE copy IS NOT NULL)";

impl History {
    /// Commits that a copy is about to be asked for. From now on its row is the change's; what that had before is to be
    /// removed.
    ///
    /// # Errors
    /// [`HistoryError::Overtaken`] when the change is under way no more.
    pub async fn intend_copy(&self, handover: &Handover, name: &str) -> Result<i64, HistoryError> {
        let (handover, name) = (handover.clone(), name.to_owned());
        self.writer()?
            .run("copy:intend", move |tx| {
                let Handover { id, what, at_ms, .. } = handover;
                tx.execute(
                    "INSERT INTO resource (build_id, cloud, kind, name, state, created_at, updated_at, copy)
                     VALUES (?1, ?2, 'image', ?3, 'intended', ?4, ?4, 1)",
                    params![what.to_build, what.cloud, name, now_ms()],
                )?;
                let row = tx.last_insert_rowid();
                let noted = tx.execute(
                    "UPDATE handover SET copy = ?3, giving = 0 WHERE id = ?1 AND at = ?2 AND copied = 1",
                    params![id, at_ms, row],
                )?;
                if noted == 1 { Ok(row) } else { Err(overtaken(what.name, what.cloud)) }
            })
            .await
    }

    /// Commits that the copy of a change is about to be given the name. From here on it may have it, and is not removed before
    /// the change is done.
    ///
    /// # Errors
    /// [`HistoryError::Overtaken`] when the change is under way no more, or has no copy.
    pub async fn give_copy(&self, handover: &Handover) -> Result<(), HistoryError> {
        let handover = handover.clone();
        self.writer()?
            .run("copy:give", move |tx| {
                let Handover { id, what, at_ms, copy, .. } = handover;
                let noted = tx.execute(
                    "UPDATE handover SET giving = 1 WHERE id = ?1 AND at = ?2 AND copy = ?3",
                    params![id, at_ms, copy],
                )?;
                if noted == 1 { Ok(()) } else { Err(overtaken(what.name, what.cloud)) }
            })
            .await
    }

    /// Commits that a change comes to nothing: what it has copied is to be removed. False: its copy may have the name by now,
    /// which the caller did not know.
    pub async fn give_up_copy(&self, handover: &Handover) -> Result<bool, HistoryError> {
        let (id, at_ms, giving) = (handover.id, handover.at_ms, handover.giving);
        self.writer()?
            .run("copy:given_up", move |tx| {
                let one = "DELETE FROM handover WHERE id = ?1 AND at = ?2 AND giving <= ?3";
                tx.execute(one, params![id, at_ms, giving])?;
                let left = "SELECT EXISTS (SELECT 1 FROM handover WHERE id = ?1 AND at = ?2)";
                let left: bool = tx.query_row(left, params![id, at_ms], |row| row.get(0))?;
                Ok(!left)
            })
            .await
    }

    /// A change as it is now; `None` when it is under way no more. Numbers of changes are used again.
    pub async fn still_open(&self, handover: &Handover) -> Result<Option<Handover>, HistoryError> {
        let (id, at_ms) = (handover.id, handover.at_ms);
        self.read(move |connection| {
            let found = handovers::under_way(connection, id)?;
            Ok(found.filter(|found| found.at_ms == at_ms))
        })
        .await
    }

    /// A copy's row while the copy is there or may be, and whether it is known to have been made and is not being removed.
    pub async fn copy(&self, row: i64) -> Result<Option<(LedgerRow, bool)>, HistoryError> {
        self.read(move |connection| {
            let query = format!(
                "SELECT {ROW}, r.state = 'created' FROM resource r
                 WHERE r.id = ?1 AND r.copy = 1 AND r.state NOT IN ('gone', 'published')"
            );
            let read = |row: &rusqlite::Row<'_>| Ok((ledger_row(row)?, row.get(8)?));
            Ok(connection.query_row(&query, [row], read).optional()?)
        })
        .await
    }

    /// Copies of a build's image that no change has any more and that are there still.
    pub async fn abandoned_copies(&self, build_id: &str) -> Result<Vec<LedgerRow>, HistoryError> {
        let build_id = build_id.to_owned();
        self.read(move |connection| {
            let query =
                format!("SELECT {ROW} FROM resource r WHERE r.build_id = ?1 AND {ABANDONED} LIMIT 1000");
            rows(connection, &query, params![build_id])
        })
        .await
    }

    /// The copies that changes have now.
    pub async fn copies_under_way(&self) -> Result<Vec<LedgerRow>, HistoryError> {
        self.read(|connection| {
            let query = format!(
                "SELECT {ROW} FROM handover h JOIN resource r ON r.id = h.copy ORDER BY h.id LIMIT 1000"
            );
            rows(connection, &query, params![])
        })
        .await
    }
}

fn rows(
    connection: &Connection,
    query: &str,
    values: &[&dyn rusqlite::ToSql],
) -> Result<Vec<LedgerRow>, HistoryError> {
    let mut statement = connection.prepare_cached(query)?;
    Ok(statement.query_map(values, ledger_row)?.collect::<Result<_, _>>()?)
}

fn overtaken(name: String, cloud: String) -> HistoryError {
    HistoryError::Overtaken { name, cloud }
}
