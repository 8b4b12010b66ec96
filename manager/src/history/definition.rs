//! What builds were defined by, and what scripts failed of for no known cause.

use image_manager_proto::v1;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{History, HistoryError};
use crate::reason::Reason;

/// Reads the digest of a build's definition and its parts.
pub(super) fn add(connection: &Connection, build: &mut v1::Build) -> Result<(), HistoryError> {
    let digest = connection
        .query_row("SELECT definition_digest FROM build WHERE id = ?1", [&build.id], |row| row.get(0))
        .optional()?;
    build.definition_digest = digest.flatten().unwrap_or_default();
    let message = |part: DefinitionPart| {
        let DefinitionPart { kind, name, value, source } = part;
        v1::DefinitionPart { kind, name, value, source }
    };
    build.definition = parts(connection, &build.id)?.into_iter().map(message).collect();
    Ok(())
}

/// The parts of what a build was defined by, in their order.
pub(super) fn parts(connection: &Connection, id: &str) -> rusqlite::Result<Vec<DefinitionPart>> {
    let mut statement = connection.prepare_cached(
        "SELECT kind, name, value, source FROM definition_part WHERE build_id = ?1 ORDER BY position",
    )?;
    let parts = statement.query_map([id], |row| {
        Ok(DefinitionPart { kind: row.get(0)?, name: row.get(1)?, value: row.get(2)?, source: row.get(3)? })
    })?;
    parts.collect()
}

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

/// What a build's image was defined by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Defined {
    /// SHA-256 over all of it, in lower-case hexadecimal.
    pub digest: String,
    /// Its parts.
    pub parts: Vec<DefinitionPart>,
}

/// A part of what a build's image was defined by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DefinitionPart {
    /// "program", "agent", "settings", "element", "file", "repository".
    pub kind: String,
    /// The program, element, path in the image, repository.
    pub name: String,
    /// A version, or a digest of the content; empty for an element of disk-image-builder, whose version says it.
    pub value: String,
    /// "own", "shipped", "disk-image-builder", or empty.
    pub source: String,
}

impl History {
    /// Records what a build was defined by and, when a script of it failed for no known cause, of what.
    pub async fn record_definition(
        &self,
        id: &str,
        defined: &Defined,
        unexplained: Option<&str>,
    ) -> Result<(), HistoryError> {
        let (id, Defined { digest, parts }) = (id.to_owned(), defined.clone());
        let unexplained = unexplained.map(str::to_owned);
        self.writer()?
            .run("record:definition", move |tx| {
                tx.execute(
                    "UPDATE build SET definition_digest = ?2, unexplained = ?3 WHERE id = ?1",
                    params![id, digest, unexplained],
                )?;
                tx.execute("DELETE FROM definition_part WHERE build_id = ?1", [&id])?;
                let mut insert = tx.prepare_cached(
                    "INSERT INTO definition_part (build_id, position, kind, name, value, source)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?;
                for (position, part) in (0_i64..).zip(&parts) {
                    insert.execute(params![id, position, part.kind, part.name, part.value, part.source])?;
                }
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
                    params![id, Reason::DibHookUnexplained.word()],
                    |row| row.get(0),
                )
                .optional()?;
            Ok(DefinitionPast { passed, alike, second_of })
        })
        .await
    }
}
