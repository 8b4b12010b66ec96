//! The audit trail: who did what. A row is part of the commit that does what it tells of. Rows are neither changed
//! nor removed; triggers of the database refuse both.
//!
//! What bounds it: the manager's own rows are one for each build and pause, of which the history keeps a row anyway;
//! and nobody does more than [`MOST`] things within [`WINDOW`].

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::{History, HistoryError, Principal, now_ms};

/// Most that one principal may do within the window.
const MOST: u32 = 240;
/// The window, in milliseconds.
const WINDOW: i64 = 60_000;
/// Longest detail that is kept, in characters.
const DETAIL: usize = 300;
/// Most rows that are read at once.
const PAGE: u32 = 100_000;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A build was asked for.
    BuildTriggered,
    /// A build was ended.
    BuildCancelled,
    /// A build's image was given out under its public name.
    BuildPublished,
    /// A name went back to an older image.
    ImageRolledBack,
    /// A published image was given another name besides.
    ImagePromoted,
    /// A build's image was revoked.
    ImageRevoked,
    /// A schedule was paused.
    SchedulePaused,
    /// A schedule was let go on.
    ScheduleResumed,
    /// A token was made.
    TokenCreated,
    /// A token was made worthless.
    TokenRevoked,
    /// A link that lets a browser in was made.
    LoginLinkCreated,
}

impl Action {
    /// The word that is kept.
    pub fn word(self) -> &'static str {
        match self {
            Self::BuildTriggered => "build.triggered",
            Self::BuildCancelled => "build.cancelled",
            Self::BuildPublished => "build.published",
            Self::ImageRolledBack => "image.rolled_back",
            Self::ImagePromoted => "image.promoted",
            Self::ImageRevoked => "image.revoked",
            Self::SchedulePaused => "schedule.paused",
            Self::ScheduleResumed => "schedule.resumed",
            Self::TokenCreated => "token.created",
            Self::TokenRevoked => "token.revoked",
            Self::LoginLinkCreated => "login_link.created",
        }
    }
}

/// A row of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Its number; they rise.
    pub id: i64,
    /// When, in milliseconds since the epoch.
    pub at: i64,
    /// Who.
    pub principal: String,
    /// What, as [`Action::word`] has it.
    pub action: String,
    /// To what: the name of a schedule or a token.
    pub subject: String,
    /// The build that it is about; empty when it is about none.
    pub build_id: String,
    /// What more there is to say.
    pub detail: String,
}

/// What a row is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) subject: &'a str,
    pub(super) build_id: Option<&'a str>,
    pub(super) detail: &'a str,
}

impl<'a> About<'a> {
    /// A schedule or a token by itself.
    pub(super) fn subject(subject: &'a str) -> Self {
        Self { subject, build_id: None, detail: "" }
    }

    /// A build of a schedule.
    pub(super) fn build(schedule: &'a str, id: &'a str) -> Self {
        Self { subject: schedule, build_id: Some(id), detail: "" }
    }
}

/// Writes a row, within the commit that does what it tells of.
///
/// # Errors
/// [`HistoryError::TooMuch`] when this principal does too much: then nothing of the commit is done.
pub(super) fn append(
    tx: &Transaction<'_>,
    by: &Principal,
    action: Action,
    about: About<'_>,
) -> Result<(), HistoryError> {
    not_too_much(tx, by)?;
    note(tx, &by.to_string(), action, about)
}

/// Fails when this principal has done too much lately.
pub(super) fn not_too_much(tx: &Transaction<'_>, by: &Principal) -> Result<(), HistoryError> {
    let (now, who) = (now_ms(), by.to_string());
    if by.is_somebody() {
        let recent = "SELECT count(*) FROM audit WHERE at > ?1 AND at <= ?2 AND principal = ?3";
        let recent: u32 =
            tx.query_row(recent, params![now.saturating_sub(WINDOW), now, who], |row| row.get(0))?;
        if recent >= MOST {
            return Err(HistoryError::TooMuch { who, most: MOST });
        }
    }
    Ok(())
}

/// Writes a row of what was counted before.
pub(super) fn note(
    tx: &Transaction<'_>,
    who: &str,
    action: Action,
    about: About<'_>,
) -> Result<(), HistoryError> {
    let detail: String = about.detail.chars().take(DETAIL).collect();
    tx.execute(
        "INSERT INTO audit (at, principal, action, subject, build_id, detail) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![now_ms(), who, action.word(), about.subject, about.build_id, detail],
    )?;
    Ok(())
}

/// That a build's image was given out, by whoever asked for the build. Said once a build.
pub(super) fn published(tx: &Transaction<'_>, id: &str, name: &str) -> Result<(), HistoryError> {
    tx.execute(
        "INSERT OR IGNORE INTO audit (at, principal, action, subject, build_id, detail)
         SELECT ?2, requested_by, ?3, schedule, id, ?4 FROM build WHERE id = ?1",
        params![id, now_ms(), Action::BuildPublished.word(), name],
    )?;
    Ok(())
}

impl History {
    /// Rows since an instant (milliseconds since the epoch), newest first, at most `limit`.
    pub async fn audit(&self, since_ms: Option<i64>, limit: u32) -> Result<Vec<AuditRow>, HistoryError> {
        self.read(move |connection| read(connection, since_ms.unwrap_or(i64::MIN), limit.min(PAGE))).await
    }

    /// Notes that somebody made a link that lets a browser in. The link itself is nowhere in the history.
    pub async fn note_login_link(&self, by: Principal, role: &'static str) -> Result<(), HistoryError> {
        self.writer()?
            .run("audit:login_link", move |tx| {
                append(tx, &by, Action::LoginLinkCreated, About::subject(role))
            })
            .await
    }
}

/// Rows since an instant, newest first. Left to itself, SQLite looks for those of the last hour through all of them.
pub(super) const NEWEST: &str =
    "SELECT id, at, principal, action, subject, coalesce(build_id, ''), detail FROM audit INDEXED BY audit_by_time
     WHERE at >= ?1 ORDER BY at DESC, id DESC LIMIT ?2";

fn read(connection: &Connection, since: i64, limit: u32) -> Result<Vec<AuditRow>, HistoryError> {
    let mut statement = connection.prepare_cached(NEWEST)?;
    let rows = statement.query_map(params![since, limit], |row| {
        Ok(AuditRow {
            id: row.get(0)?,
            at: row.get(1)?,
            principal: row.get(2)?,
            action: row.get(3)?,
            subject: row.get(4)?,
            build_id: row.get(5)?,
            detail: row.get(6)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Commits who ended a build, with its row, in the commit of the build's move towards its end.
pub(super) fn cancelled(tx: &Transaction<'_>, id: &str, by: &Principal) -> Result<(), HistoryError> {
    let schedule: Option<String> =
        tx.query_row("SELECT schedule FROM build WHERE id = ?1", [id], |row| row.get(0)).optional()?;
    let Some(schedule) = schedule else { return Ok(()) };
    tx.execute("UPDATE build SET cancelled_by = ?2 WHERE id = ?1", params![id, by.to_string()])?;
    let who = by.to_string();
    // Not counted: a build that must end ends, and was counted when it was asked for.
    tx.execute(
        "INSERT INTO audit (at, principal, action, subject, build_id) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![now_ms(), who, Action::BuildCancelled.word(), schedule, id],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn somebody() -> Principal {
        Principal::Token("ci".to_owned())
    }

    #[tokio::test]
    async fn rows_stay_as_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image-manager.db");
        let history = History::open(&path).unwrap();
        history
            .remember_schedules(vec![crate::history::Entries {
                schedule: "web".to_owned(),
                ..Default::default()
            }])
            .await
            .unwrap();
        history.set_paused("web", true, somebody()).await.unwrap();
        history.set_paused("web", true, somebody()).await.unwrap();
        let rows = history.audit(None, 10).await.unwrap();
        let [row] = rows.as_slice() else { panic!("what changed nothing has no row: {rows:?}") };
        assert_eq!(
            (row.principal.as_str(), row.action.as_str(), row.subject.as_str()),
            ("token ci", "schedule.paused", "web")
        );
        let connection = Connection::open(&path).unwrap();
        for change in ["DELETE FROM audit", "UPDATE audit SET principal = 'somebody else'"] {
            let refused = connection.execute(change, []).unwrap_err().to_string();
            assert!(refused.contains("append-only"), "{refused}");
        }
        assert_eq!(history.audit(None, 10).await.unwrap(), rows);
        assert_eq!(history.audit(Some(row.at + 1), 10).await.unwrap(), []);
    }

    #[tokio::test]
    async fn nobody_fills_the_disk_by_it() {
        let directory = tempfile::tempdir().unwrap();
        let history = History::open(&directory.path().join("image-manager.db")).unwrap();
        history
            .remember_schedules(vec![crate::history::Entries {
                schedule: "web".to_owned(),
                ..Default::default()
            }])
            .await
            .unwrap();
        for turn in 0..MOST {
            history.set_paused("web", turn % 2 == 0, somebody()).await.unwrap();
        }
        let refused = history.set_paused("web", true, somebody()).await.unwrap_err();
        assert!(matches!(refused, HistoryError::TooMuch { most: MOST, .. }), "{refused}");
        assert!(!history.schedule_states().await.unwrap()["web"].paused, "nothing of it was done");
        history.set_paused("web", true, Principal::Token("other".to_owned())).await.unwrap();
    }
}
