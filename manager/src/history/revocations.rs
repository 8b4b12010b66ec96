//! Images that are to be revoked: that is written down with the image, whatever else is being done with its names.

use std::collections::BTreeSet;

use image_manager_proto::v1;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::handovers::{self, Handover, NewHandover};
use super::publications::{COLUMNS, PublicationFilter, publication};
use super::{History, HistoryError, Principal, audit, now_ms};

/// Whether the images of the build of `p` in its cloud are revoked or are to be: also where the one that was revoked is not
/// there any more.
const IS_REVOKED: &str = "(EXISTS (SELECT 1 FROM publication q INDEXED BY publication_by_build
        WHERE q.build_id = p.build_id AND q.cloud = p.cloud AND q.revoked_at IS NOT NULL)
    OR EXISTS (SELECT 1 FROM handover h WHERE h.revoked = p.build_id AND h.cloud = p.cloud))";

/// The images of a build that are to be revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// The build.
    pub build: String,
    /// In this cloud only; `None`: wherever they are.
    pub cloud: Option<String>,
    /// Why, in the words of whoever asked.
    pub why: String,
}

impl History {
    /// Commits what is about to be done to revoke a build's images, all of it or nothing. Its other images are marked in the
    /// same commit: those whose names are being changed, and those that were published a moment ago. Returns what was begun,
    /// and the names, each after its cloud, of the images that were marked.
    ///
    /// # Errors
    /// [`HistoryError::NameBusy`] when one of the names of `new` is under way already.
    pub async fn begin_revocation(
        &self,
        by: Principal,
        new: Vec<NewHandover>,
        all: Revocation,
    ) -> Result<(Vec<Handover>, Vec<(String, String)>), HistoryError> {
        self.writer()?
            .run("handover:begin", move |tx| {
                audit::not_too_much(tx, &by)?;
                let who = by.to_string();
                let begun = new.iter().map(|what| handovers::begin(tx, &who, what));
                let begun = begun.collect::<Result<Vec<_>, _>>()?;
                Ok((begun, mark(tx, &who, &all, &new)?))
            })
            .await
    }

    /// Commits that an image is about to be revoked which was left; for whoever asked, where it was marked.
    ///
    /// # Errors
    /// [`HistoryError::NameBusy`] when the name is under way already.
    pub async fn begin_marked(&self, what: NewHandover) -> Result<Handover, HistoryError> {
        self.writer()?
            .run("handover:begin", move |tx| {
                let asked = "SELECT revoked_by FROM publication
                    WHERE name = ?1 AND cloud = ?2 AND build_id = ?3 AND revoked_at IS NOT NULL";
                let asked: Option<String> = tx
                    .query_row(asked, params![what.name, what.cloud, what.revoked], |row| row.get(0))
                    .optional()?;
                let who =
                    asked.filter(|who| !who.is_empty()).unwrap_or_else(|| Principal::Manager.to_string());
                handovers::begin(tx, &who, &what)
            })
            .await
    }

    /// The images that are there in a cloud and are to be revoked, but are not yet.
    pub async fn to_be_revoked(&self, cloud: &str) -> Result<Vec<v1::Publication>, HistoryError> {
        let cloud = cloud.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&to_be_revoked_question())?;
            let rows = statement.query_map(params![cloud, PublicationFilter::MOST], publication)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The builds whose images have, or had, a name in a cloud, and are revoked there or are to be.
    pub async fn revoked_builds(&self, name: &str, cloud: &str) -> Result<BTreeSet<String>, HistoryError> {
        let (name, cloud) = (name.to_owned(), cloud.to_owned());
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT p.build_id FROM publication p INDEXED BY publication_there
                 WHERE p.name = ?1 AND p.cloud = ?2 AND p.state <> 'removed' AND {IS_REVOKED}"
            ))?;
            let rows = statement.query_map(params![name, cloud], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }
}

/// The images of a cloud that are to be revoked; ?1: the cloud, ?2: how many.
fn to_be_revoked_question() -> String {
    format!(
        "SELECT {COLUMNS} FROM publication p INDEXED BY publication_there
         WHERE p.cloud = ?1 AND p.state <> 'removed' AND p.state <> 'revoked' AND {IS_REVOKED}
         ORDER BY p.name LIMIT ?2"
    )
}

/// Marks what is there of a build's images, but for what is begun.
fn mark(
    tx: &Transaction<'_>,
    who: &str,
    all: &Revocation,
    begun: &[NewHandover],
) -> Result<Vec<(String, String)>, HistoryError> {
    let mut statement = tx.prepare_cached(
        "SELECT name, cloud FROM publication WHERE build_id = ?1 AND (?2 IS NULL OR cloud = ?2)
            AND state IN ('current', 'previous') ORDER BY cloud, name",
    )?;
    let rows = statement.query_map(params![all.build, all.cloud], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let rows: Vec<(String, String)> = rows.collect::<Result<_, _>>()?;
    let mut marked = Vec::new();
    for (name, cloud) in rows {
        if begun.iter().any(|what| what.name == name && what.cloud == cloud) {
            continue;
        }
        mark_one(tx, (&name, &cloud, &all.build), (who, &all.why))?;
        marked.push((cloud, name));
    }
    Ok(marked)
}

/// A build's image was given its name while its other images were revoked, or are about to be: whoever finds it there knows
/// that.
pub(super) fn mark_if_revoked(
    tx: &Transaction<'_>,
    name: &str,
    cloud: &str,
    build: &str,
) -> Result<(), HistoryError> {
    match asked_for(tx, build)? {
        Some((who, why)) => mark_one(tx, (name, cloud, build), (&who, &why)),
        None => Ok(()),
    }
}

/// Who had images of a build revoked, and why.
fn asked_for(connection: &Connection, build: &str) -> rusqlite::Result<Option<(String, String)>> {
    let query =
        "SELECT revoked_by, revoked_reason FROM publication WHERE build_id = ?1 AND revoked_at IS NOT NULL
        UNION ALL SELECT principal, why FROM handover WHERE revoked = ?1 LIMIT 1";
    connection.query_row(query, [build], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

/// Whoever asked first is kept.
fn mark_one(
    tx: &Transaction<'_>,
    (name, cloud, build): (&str, &str, &str),
    (who, why): (&str, &str),
) -> Result<(), HistoryError> {
    tx.execute(
        "UPDATE publication SET revoked_at = ?4, revoked_by = ?5, revoked_reason = ?6
         WHERE name = ?1 AND cloud = ?2 AND build_id = ?3 AND revoked_at IS NULL",
        params![name, cloud, build, now_ms(), who, why],
    )?;
    Ok(())
}
