//! What the webhook must be told: the outbox. A notice is part of the commit that ends a build or makes a
//! schedule pause itself, and stays until the receiver has taken it: a crash in between loses none.

use image_manager_proto::v1::BuildState;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use super::{History, HistoryError, now_ms};

/// Notices that are kept while the receiver does not answer; the oldest go first.
const KEPT: i64 = 1000;
/// The row of `meta` that says whether anybody wants notices.
const WANTED: &str = "outbox";

/// What a notice tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboxKind {
    /// A build has ended with a verdict.
    BuildEnded {
        /// Its id.
        build_id: String,
    },
    /// A schedule has paused itself.
    SchedulePaused {
        /// Why.
        reason: String,
    },
    /// A name went to another image, or an image was revoked.
    ImageChanged(Box<ImageChange>),
    /// Nothing has happened: somebody wants to see whether a notice arrives. Never in the outbox.
    Test,
}

/// What became of a published image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageChange {
    /// As the audit trail has it: `image.rolled_back`, `image.promoted`, `image.revoked`.
    pub event: String,
    /// The public name.
    pub name: String,
    /// The cloud.
    pub cloud: String,
    /// The build whose image has the name now; empty when the name stayed where it was.
    pub build_id: String,
    /// The build whose image was revoked; empty when none was.
    pub revoked: String,
    /// Who did it.
    pub by: String,
    /// Why.
    pub why: String,
}

/// Something that the webhook must be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Its number; the same however often it is sent.
    pub id: i64,
    /// The schedule that it is about.
    pub schedule: String,
    /// What it tells.
    pub kind: OutboxKind,
    /// When it happened, in milliseconds since the epoch.
    pub created_at: i64,
    /// How often it has been sent in vain.
    pub tries: u32,
}

impl History {
    /// Says whether notices are wanted from now on. When they are not, those that wait are dropped.
    pub async fn want_notices(&self, wanted: bool) -> Result<(), HistoryError> {
        self.writer()?
            .run("outbox:want", move |tx| {
                if wanted {
                    tx.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, 'on')", [WANTED])?;
                } else {
                    tx.execute("DELETE FROM meta WHERE key = ?1", [WANTED])?;
                    tx.execute("DELETE FROM outbox", [])?;
                }
                Ok(())
            })
            .await
    }

    /// Whether the last manager that served had a webhook.
    pub async fn notices_wanted(&self) -> Result<bool, HistoryError> {
        self.read(|connection| {
            let found = "SELECT EXISTS (SELECT 1 FROM meta WHERE key = ?1)";
            Ok(connection.query_row(found, [WANTED], |row| row.get(0))?)
        })
        .await
    }

    /// Notices that are to be sent now, oldest first, at most `limit`. One that is due later than the `longest` pause from now,
    /// in milliseconds, was written down under a wrong clock.
    pub async fn due_notices(
        &self,
        now: i64,
        longest: i64,
        limit: u32,
    ) -> Result<Vec<OutboxEntry>, HistoryError> {
        let ahead = now.saturating_add(longest);
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, schedule, build_id, reason, created_at, tries, publication
                 FROM outbox
                 WHERE due_at <= ?1 OR due_at > ?3 ORDER BY id LIMIT ?2",
            )?;
            Ok(statement.query_map(params![now, limit, ahead], notice)?.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The receiver has taken a notice, or is not asked any more.
    pub async fn notice_done(&self, id: i64) -> Result<(), HistoryError> {
        self.writer()?
            .run("outbox:done", move |tx| {
                tx.execute("DELETE FROM outbox WHERE id = ?1", [id])?;
                Ok(())
            })
            .await
    }

    /// The receiver has not taken a notice; it is sent again at `due_at`.
    pub async fn notice_again(&self, id: i64, due_at: i64) -> Result<(), HistoryError> {
        self.writer()?
            .run("outbox:again", move |tx| {
                tx.execute(
                    "UPDATE outbox SET tries = tries + 1, due_at = ?2 WHERE id = ?1",
                    params![id, due_at],
                )?;
                Ok(())
            })
            .await
    }
}

/// Within the commit that ends a build. One that was cancelled has no verdict, and whoever cancelled it knows.
pub(super) fn of_end(tx: &Transaction<'_>, build_id: &str, end: BuildState) -> Result<(), HistoryError> {
    if matches!(end, BuildState::Succeeded | BuildState::Failed | BuildState::Errored) && wanted(tx)? {
        tx.execute(
            "INSERT INTO outbox (schedule, build_id, created_at, due_at)
             SELECT schedule, id, ?2, ?2 FROM build WHERE id = ?1",
            params![build_id, now_ms()],
        )?;
        limit(tx)?;
    }
    Ok(())
}

/// Within the commit by which a schedule pauses itself.
pub(super) fn of_pause(tx: &Transaction<'_>, schedule: &str, reason: &str) -> Result<(), HistoryError> {
    if wanted(tx)? {
        tx.execute(
            "INSERT INTO outbox (schedule, reason, created_at, due_at) VALUES (?1, ?2, ?3, ?3)",
            params![schedule, reason, now_ms()],
        )?;
        limit(tx)?;
    }
    Ok(())
}

/// Within the commit by which a published image's name changes hands.
pub(super) fn of_image(
    tx: &Transaction<'_>,
    schedule: &str,
    change: &ImageChange,
) -> Result<(), HistoryError> {
    if wanted(tx)? {
        let change = serde_json::to_string(change).unwrap_or_default();
        tx.execute(
            "INSERT INTO outbox (schedule, publication, created_at, due_at) VALUES (?1, ?2, ?3, ?3)",
            params![schedule, change, now_ms()],
        )?;
        limit(tx)?;
    }
    Ok(())
}

fn wanted(tx: &Transaction<'_>) -> rusqlite::Result<bool> {
    let found = tx.query_row("SELECT 1 FROM meta WHERE key = ?1", [WANTED], |_| Ok(())).optional()?;
    Ok(found.is_some())
}

fn limit(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    let newest = tx.last_insert_rowid();
    tx.execute("DELETE FROM outbox WHERE id <= ?1", [newest.saturating_sub(KEPT)])?;
    Ok(())
}

fn notice(row: &Row<'_>) -> rusqlite::Result<OutboxEntry> {
    let build_id: Option<String> = row.get(2)?;
    let change: Option<String> = row.get(6)?;
    let change = change.and_then(|change| serde_json::from_str(&change).ok());
    let kind = match (change, build_id) {
        (Some(change), _) => OutboxKind::ImageChanged(Box::new(change)),
        (None, Some(build_id)) => OutboxKind::BuildEnded { build_id },
        (None, None) => OutboxKind::SchedulePaused { reason: row.get(3)? },
    };
    Ok(OutboxEntry {
        id: row.get(0)?,
        schedule: row.get(1)?,
        kind,
        created_at: row.get(4)?,
        tries: row.get(5)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_notice_of_a_wrong_clock_does_not_wait_until_that_time_comes() {
        let directory = tempfile::tempdir().unwrap();
        let history = History::open(&directory.path().join("image-manager.db")).unwrap();
        history.want_notices(true).await.unwrap();
        let paused = history.writer().unwrap().run("paused", |tx| of_pause(tx, "web", "it failed"));
        paused.await.unwrap();
        let due = async |now: i64| history.due_notices(now, 600_000, 10).await.unwrap();
        let notice = due(i64::MAX).await.remove(0);
        for (after, sent) in [(-1, false), (0, true), (-600_000, false), (-600_001, true)] {
            let found = due(notice.created_at + after).await;
            assert_eq!(!found.is_empty(), sent, "{after} ms");
        }
    }
}
