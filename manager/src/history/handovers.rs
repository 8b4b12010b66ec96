//! Names that go to other images: written down before a cloud is asked, and done in one commit once it has.

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row, Transaction, params};

use super::audit::{self, About, Action};
use super::outbox::{self, ImageChange};
use super::{History, HistoryError, Principal, now_ms};

/// Most that may be under way.
const MOST: u32 = 1000;
const COLUMNS: &str = "id, name, cloud, kind, to_build, revoked, why, principal, copied, copy, giving, at";

/// Why a name goes to another image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Back to an older one.
    RolledBack,
    /// To one that has another name already.
    Promoted,
    /// Away from one that is revoked.
    Revoked,
}

impl Change {
    const ALL: [Self; 3] = [Self::RolledBack, Self::Promoted, Self::Revoked];

    /// The word that is kept.
    pub fn word(self) -> &'static str {
        match self {
            Self::RolledBack => "rolled_back",
            Self::Promoted => "promoted",
            Self::Revoked => "revoked",
        }
    }

    fn action(self) -> Action {
        match self {
            Self::RolledBack => Action::ImageRolledBack,
            Self::Promoted => Action::ImagePromoted,
            Self::Revoked => Action::ImageRevoked,
        }
    }

    /// How the image that gets the name is said to have it.
    fn kind(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::RolledBack | Self::Revoked => "rolled_back",
        }
    }
}

/// A name that is to go to another image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHandover {
    /// The name.
    pub name: String,
    /// The cloud.
    pub cloud: String,
    /// Why it goes.
    pub change: Change,
    /// The build whose image gets it; `None`: it stays where it is.
    pub to_build: Option<String>,
    /// The build whose image is revoked.
    pub revoked: Option<String>,
    /// Why, in the words of whoever asked.
    pub why: String,
    /// Whether a copy of the image gets the name: the image itself has another one, and must keep it.
    pub copied: bool,
}

/// One that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    /// Its number.
    pub id: i64,
    /// What is to be done.
    pub what: NewHandover,
    /// Who asked for it.
    pub principal: String,
    /// The row of its copy in the ledger, once that was about to be asked for.
    pub copy: Option<i64>,
    /// Whether the copy may have the name already.
    pub giving: bool,
    /// When it was begun, in milliseconds since the epoch.
    pub at_ms: i64,
}

/// The image that a cloud has given a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The cloud's id of it: a build may have several images in a cloud, the copies of one.
    pub image_id: String,
    /// Where a user finds it.
    pub location: String,
    /// Whether it has no other name any more.
    pub only_name: bool,
}

impl History {
    /// Commits what is about to be done, all of it or nothing.
    ///
    /// # Errors
    /// [`HistoryError::NameBusy`] when one of the names is under way already.
    pub async fn begin_handovers(
        &self,
        by: Principal,
        new: Vec<NewHandover>,
    ) -> Result<Vec<Handover>, HistoryError> {
        self.writer()?
            .run("handover:begin", move |tx| {
                audit::not_too_much(tx, &by)?;
                new.iter().map(|what| begin(tx, &by.to_string(), what)).collect()
            })
            .await
    }

    /// Those that are under way, the oldest first.
    pub async fn open_handovers(&self) -> Result<Vec<Handover>, HistoryError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached(&format!("SELECT {COLUMNS} FROM handover ORDER BY id LIMIT ?1"))?;
            Ok(statement.query_map([MOST], handover)?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The cloud has done it: the publications say so, with who did it and why in the audit trail and for the webhook, in
    /// one commit. Does nothing for one that is done, or was overtaken by a build that published.
    ///
    /// `given`: the image that has the name now; `None` when the name stays where it is.
    pub async fn finish_handover(&self, id: i64, given: Option<Given>) -> Result<(), HistoryError> {
        self.writer()?.run("handover:done", move |tx| finish(tx, id, given)).await
    }

    /// The name goes to another image than was written down, which cannot have it any more; or, with `None`, to none: it stays
    /// where it is.
    pub async fn redirect_handover(&self, id: i64, to_build: Option<&str>) -> Result<(), HistoryError> {
        let to_build = to_build.map(str::to_owned);
        self.writer()?
            .run("handover:redirected", move |tx| {
                tx.execute("UPDATE handover SET to_build = ?2 WHERE id = ?1", params![id, to_build])?;
                Ok(())
            })
            .await
    }

    /// Nothing was done of it, and nothing will be. Another one that has its number by now stays.
    pub async fn drop_handover(&self, handover: &Handover) -> Result<(), HistoryError> {
        let (id, at_ms) = (handover.id, handover.at_ms);
        self.writer()?
            .run("handover:dropped", move |tx| {
                tx.execute("DELETE FROM handover WHERE id = ?1 AND at = ?2", [id, at_ms])?;
                Ok(())
            })
            .await
    }
}

pub(super) fn begin(tx: &Transaction<'_>, who: &str, what: &NewHandover) -> Result<Handover, HistoryError> {
    let at_ms = now_ms();
    let inserted = tx.execute(
        "INSERT INTO handover (name, cloud, kind, to_build, revoked, why, principal, at, copied)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            what.name,
            what.cloud,
            what.change.word(),
            what.to_build,
            what.revoked,
            what.why,
            who,
            at_ms,
            what.copied
        ],
    );
    match inserted {
        Ok(_) => {}
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            return Err(HistoryError::NameBusy { name: what.name.clone(), cloud: what.cloud.clone() });
        }
        Err(error) => return Err(error.into()),
    }
    let (id, principal) = (tx.last_insert_rowid(), who.to_owned());
    Ok(Handover { id, what: what.clone(), principal, copy: None, giving: false, at_ms })
}

fn finish(tx: &Transaction<'_>, id: i64, given: Option<Given>) -> Result<(), HistoryError> {
    let Some(Handover { what, principal, copy, .. }) = under_way(tx, id)? else { return Ok(()) };
    if let (Some(build), Some(given)) = (&what.to_build, given) {
        if given.only_name {
            take_other_names(tx, &what, build, &given.image_id)?;
        }
        give(tx, &what, build, &principal, &given)?;
        tx.execute(
            "UPDATE resource SET state = 'published', note = ?2, updated_at = ?3 WHERE id = ?1",
            params![copy, given.location, now_ms()],
        )?;
    }
    if let Some(build) = &what.revoked {
        tx.execute(
            "UPDATE publication SET state = iif(state = 'removed', state, 'revoked'),
                revoked_at = ?4, revoked_by = ?5, revoked_reason = ?6
             WHERE name = ?1 AND cloud = ?2 AND build_id = ?3",
            params![what.name, what.cloud, build, now_ms(), principal, what.why],
        )?;
    }
    let about = what.revoked.as_ref().or(what.to_build.as_ref()).map(String::as_str).unwrap_or_default();
    let detail = match &what.to_build {
        Some(to) if what.revoked.is_some() => {
            format!("on {}: {}; {} has the name again", what.cloud, what.why, to)
        }
        _ => format!("on {}: {}", what.cloud, what.why),
    };
    let row = About { subject: &what.name, build_id: Some(about), detail: &detail };
    audit::note(tx, &principal, what.change.action(), row)?;
    let schedule = "SELECT schedule FROM publication WHERE build_id = ?1 LIMIT 1";
    let schedule: Option<String> = tx.query_row(schedule, [about], |row| row.get(0)).optional()?;
    let change = ImageChange {
        event: what.change.action().word().to_owned(),
        name: what.name,
        cloud: what.cloud,
        build_id: what.to_build.unwrap_or_default(),
        revoked: what.revoked.unwrap_or_default(),
        by: principal,
        why: what.why,
    };
    outbox::of_image(tx, &schedule.unwrap_or_default(), &change)?;
    tx.execute("DELETE FROM handover WHERE id = ?1", [id])?;
    Ok(())
}

/// The image of `build` has the name, and the one that had it before has it no more.
fn give(
    tx: &Transaction<'_>,
    what: &NewHandover,
    build: &str,
    principal: &str,
    given: &Given,
) -> Result<(), HistoryError> {
    tx.execute(
        "UPDATE publication SET state = 'previous' WHERE name = ?1 AND cloud = ?2 AND state = 'current'",
        params![what.name, what.cloud],
    )?;
    tx.execute(
        "INSERT INTO publication (name, cloud, schedule, build_id, image_id, location, sha512, size_bytes, kind, why,
            published_at, published_by, state)
         SELECT ?1, cloud, schedule, build_id, ?9, ?4, sha512, size_bytes, ?5, ?6, ?7, ?8, 'current'
            FROM publication WHERE cloud = ?2 AND build_id = ?3 ORDER BY name <> ?1 LIMIT 1
         ON CONFLICT (name, cloud, build_id) DO UPDATE SET state = 'current', kind = excluded.kind, why = excluded.why,
            image_id = excluded.image_id, location = excluded.location, published_at = excluded.published_at,
            published_by = excluded.published_by",
        params![
            what.name,
            what.cloud,
            build,
            given.location,
            what.change.kind(),
            what.why,
            now_ms(),
            principal,
            given.image_id
        ],
    )?;
    Ok(())
}

/// Nobody finds this image of `build` under another name any more.
fn take_other_names(
    tx: &Transaction<'_>,
    what: &NewHandover,
    build: &str,
    image: &str,
) -> Result<(), HistoryError> {
    tx.execute(
        "UPDATE publication SET state = 'removed', location = '', held = ''
         WHERE cloud = ?1 AND build_id = ?2 AND name <> ?3 AND image_id = ?4 AND state <> 'revoked'",
        params![what.cloud, build, what.name, image],
    )?;
    Ok(())
}

pub(super) fn under_way(connection: &Connection, id: i64) -> rusqlite::Result<Option<Handover>> {
    let query = format!("SELECT {COLUMNS} FROM handover WHERE id = ?1");
    connection.query_row(&query, [id], handover).optional()
}

/// Reads a row of [`COLUMNS`].
fn handover(row: &Row<'_>) -> rusqlite::Result<Handover> {
    let word: String = row.get(3)?;
    let change = Change::ALL.into_iter().find(|change| change.word() == word).unwrap_or(Change::RolledBack);
    let what = NewHandover {
        name: row.get(1)?,
        cloud: row.get(2)?,
        change,
        to_build: row.get(4)?,
        revoked: row.get(5)?,
        why: row.get(6)?,
        copied: row.get(8)?,
    };
    Ok(Handover {
        id: row.get(0)?,
        what,
        principal: row.get(7)?,
        copy: row.get(9)?,
        giving: row.get(10)?,
        at_ms: row.get(11)?,
    })
}
