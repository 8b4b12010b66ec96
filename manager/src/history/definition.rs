//! What builds were defined by, and what scripts failed of for no known cause.

use rusqlite::{OptionalExtension as _, params};

use super::{History, HistoryError, UNEXPLAINED};

/// Builds of a schedule that are looked through for one that passed, newest first.
const LOOKED_THROUGH: u32 = 1000;

/// What the history has of builds with the definition of one whose script failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DefinitionPast {
    /// The newest build of the schedule that passed with it.
    pub passed: Option<String>,
    /// One since then that failed in the same way.
    pub alike: Option<String>,
    /// The build whose second one this is.
    pub second_of: Option<String>,
}

impl History {
    /// Records what a build was defined by and, when a script of it failed for no known cause, of what.
    pub async fn record_definition(
        &self,
        id: &str,
        digest: &str,
        unexplained: Option<&str>,
    ) -> Result<(), HistoryError> {
        let (id, digest) = (id.to_owned(), digest.to_owned());
        let unexplained = unexplained.map(str::to_owned);
        self.writer()?
            .run("record:definition", move |tx| {
                tx.execute(
                    "UPDATE build SET definition_digest = ?2, unexplained = ?3 WHERE id = ?1",
                    params![id, digest, unexplained],
                )?;
                Ok(())
            })
            .await
    }

    /// What came of earlier builds that were defined as this one, which is recorded already.
    pub async fn definition_past(&self, id: &str) -> Result<DefinitionPast, HistoryError> {
        let id = id.to_owned();
        self.read(move |connection| {
            let passed: Option<String> = connection.query_row(
                "SELECT max(id) FROM (
                         SELECT b.id, b.state, b.definition_digest = this.definition_digest AS same
                         FROM build this JOIN build b ON b.schedule = this.schedule AND b.id < this.id
                         WHERE this.id = ?1 ORDER BY b.id DESC LIMIT ?2)
                     WHERE state = 'succeeded' AND same",
                params![id, LOOKED_THROUGH],
                |row| row.get(0),
            )?;
            let alike = connection
                .query_row(
                    "SELECT b.id FROM build this JOIN build b ON b.schedule = this.schedule AND b.id < this.id
                     WHERE this.id = ?1 AND b.id > ?2 AND b.definition_digest = this.definition_digest
                       AND b.unexplained = this.unexplained ORDER BY b.id DESC LIMIT 1",
                    params![id, passed.as_deref().unwrap_or_default()],
                    |row| row.get(0),
                )
                .optional()?;
            let second_of = connection
                .query_row(
                    "SELECT b.id FROM build this JOIN build b ON b.id = this.retry_of
                     WHERE this.id = ?1 AND b.failure_reason = ?2",
                    params![id, UNEXPLAINED],
                    |row| row.get(0),
                )
                .optional()?;
            Ok(DefinitionPast { passed, alike, second_of })
        })
        .await
    }
}
