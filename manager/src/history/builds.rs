//! Writing what happens to a build.

use std::collections::BTreeMap;

use image_manager_proto::v1;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::audit::{self, About, Action};
use super::follow_up::take_retry;
use super::names::{ENDS, Named as _, build_has_ended};
use super::points::Point;
use super::{History, HistoryError, NewTrial, Principal, now_ms, outbox, reports, trials};
use crate::stage::Stage;

/// A build to be queued.
#[derive(Debug, Clone)]
pub struct NewBuild {
    /// UUIDv7.
    pub id: String,
    /// The schedule's name.
    pub schedule: String,
    /// By which way it was asked for.
    pub trigger: v1::Trigger,
    /// Who asked.
    pub requested_by: Principal,
    /// Names of its own stages before its trials, and after them, in order.
    pub stages: (Vec<&'static str>, Vec<&'static str>),
    /// Its trials, in order.
    pub trials: Vec<NewTrial>,
    /// For a cron trigger: nothing up to this instant (milliseconds) is to be caught up any more. Committed
    /// together with the build, so that a crash in between neither loses a run nor doubles it.
    pub fired_at: Option<i64>,
    /// The errored build whose retry this is.
    pub retry_of: Option<String>,
    /// Whether it is to be made whether anything has changed or not.
    pub forced: bool,
    /// Of one that makes no image, but verifies the published one again: a digest of the schedule by which it does.
    pub verification: Option<String>,
}

/// How a stage ended, and what it leads to.
#[derive(Debug, Clone)]
pub struct Ending {
    /// State of the stage that ends.
    pub state: v1::StageState,
    /// One line for people.
    pub detail: String,
    /// Who ended the build; `None` when nobody did.
    pub cancelled_by: Option<Principal>,
}

impl Ending {
    /// An end that nobody asked for.
    pub fn new(state: v1::StageState, detail: impl Into<String>) -> Self {
        Self { state, detail: detail.into(), cancelled_by: None }
    }
}

impl History {
    /// Queues a build, with all its stages and checks pending.
    ///
    /// # Errors
    /// [`HistoryError::Unfinished`] with the id of the schedule's unfinished build; [`HistoryError::NoRetry`]
    /// when it is to be a retry that is not owed any more.
    pub async fn create_build(&self, build: NewBuild) -> Result<(), HistoryError> {
        self.writer()?.run("create_build", move |tx| insert_build(tx, &build)).await
    }

    /// Gives a build that waits in the queue other stages and trials than it was queued with, all pending; of a
    /// verification also the digest of the schedule by which it does.
    ///
    /// # Errors
    /// [`HistoryError::IllegalMove`] when the build is not in the queue any more.
    pub async fn requeue_build(
        &self,
        id: &str,
        stages: (Vec<&'static str>, Vec<&'static str>),
        trials: Vec<NewTrial>,
        verification: Option<String>,
    ) -> Result<(), HistoryError> {
        let id = id.to_owned();
        self.writer()?
            .run("requeue_build", move |tx| {
                let queued = v1::BuildState::Queued.word();
                let changed = tx.execute(
                    "UPDATE build SET cloud = ?2, verification = ?3 WHERE id = ?1 AND state = ?4",
                    params![id, cloud_of(&trials), verification, queued],
                )?;
                if changed == 0 {
                    let (from, to) = (queued.to_owned(), queued.to_owned());
                    return Err(HistoryError::IllegalMove { build: id, from, to });
                }
                for old in [
                    "DELETE FROM stage WHERE build_id = ?1",
                    "DELETE FROM check_result WHERE build_id = ?1",
                    "DELETE FROM trial WHERE build_id = ?1",
                ] {
                    tx.execute(old, [&id])?;
                }
                insert_parts(tx, &id, &stages, &trials, verification.is_some())
            })
            .await
    }

    /// Moves a build from one state to another, ends the stage of the first and begins the stage of the
    /// second, in one commit.
    ///
    /// # Errors
    /// [`HistoryError::IllegalMove`] when the build is not in state `from`.
    pub async fn advance(
        &self,
        id: &str,
        from: v1::BuildState,
        to: v1::BuildState,
        ending: Ending,
    ) -> Result<(), HistoryError> {
        let id = id.to_owned();
        let point = Point::Of("advance", to.word().to_owned());
        self.writer()?.run(point, move |tx| advance(tx, &id, from, to, &ending)).await
    }

    /// The same move together with the build's verdict and why it did not pass: a crash never parts them.
    pub async fn conclude(
        &self,
        id: &str,
        from: v1::BuildState,
        to: v1::BuildState,
        verdict: Option<(v1::Verdict, Option<v1::Failure>)>,
        ending: Ending,
    ) -> Result<(), HistoryError> {
        let id = id.to_owned();
        let point = Point::Of("advance", to.word().to_owned());
        self.writer()?
            .run(point, move |tx| {
                if let Some((verdict, failure)) = &verdict {
                    set_verdict(tx, &id, *verdict, failure.as_ref())?;
                }
                advance(tx, &id, from, to, &ending)
            })
            .await
    }

    /// Of a verification: the digest of the schedule by which it verifies. `None` of builds that make images.
    pub async fn verification(&self, id: &str) -> Result<Option<String>, HistoryError> {
        let id = id.to_owned();
        self.read(move |connection| {
            let found = "SELECT verification FROM build WHERE id = ?1";
            Ok(connection.query_row(found, [id], |row| row.get(0)).optional()?.flatten())
        })
        .await
    }

    /// Marks a stage that was not needed.
    pub async fn skip_stage(&self, id: &str, stage: &'static str, detail: &str) -> Result<(), HistoryError> {
        let (id, detail) = (id.to_owned(), detail.to_owned());
        self.writer()?
            .run(Point::Of("skip_stage", stage.to_owned()), move |tx| {
                tx.execute(
                    "UPDATE stage SET state = 'skipped', detail = ?3
                     WHERE build_id = ?1 AND trial IS NULL AND name = ?2",
                    params![id, stage, detail],
                )?;
                Ok(())
            })
            .await
    }

    /// Records how long each phase of disk-image-builder took, for the next build's progress.
    pub async fn record_phases(
        &self,
        schedule: &str,
        phases: BTreeMap<String, f64>,
    ) -> Result<(), HistoryError> {
        let schedule = schedule.to_owned();
        self.writer()?
            .run("record:phases", move |tx| {
                tx.execute("DELETE FROM build_phase WHERE schedule = ?1", [&schedule])?;
                for (phase, seconds) in &phases {
                    tx.execute(
                        "INSERT INTO build_phase (schedule, phase, seconds) VALUES (?1, ?2, ?3)",
                        params![schedule, phase, seconds],
                    )?;
                }
                Ok(())
            })
            .await
    }
}

pub(super) fn set_verdict(
    tx: &Transaction<'_>,
    id: &str,
    verdict: v1::Verdict,
    failure: Option<&v1::Failure>,
) -> Result<(), HistoryError> {
    let word = (verdict != v1::Verdict::Unspecified).then(|| verdict.word());
    tx.execute("UPDATE build SET verdict = ?2 WHERE id = ?1", params![id, word])?;
    if let Some(failure) = failure {
        tx.execute(
            "UPDATE build SET failure_reason = ?2, failure_stage = ?3, failure_message = ?4,
             failure_evidence = ?5 WHERE id = ?1",
            params![id, failure.reason, failure.stage, failure.message, failure.evidence],
        )?;
    }
    Ok(())
}

/// SQLite has signed integers only; no size comes near the sign bit.
pub(super) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The unfinished build of a schedule.
pub(super) fn unfinished_of(connection: &Connection, schedule: &str) -> rusqlite::Result<Option<String>> {
    connection
        .query_row(
            &format!(
                "SELECT id FROM build INDEXED BY build_one_unfinished WHERE schedule = ?1 AND state NOT IN {ENDS}"
            ),
            [schedule],
            |row| row.get(0),
        )
        .optional()
}

fn insert_build(tx: &Transaction<'_>, build: &NewBuild) -> Result<(), HistoryError> {
    let unfinished = unfinished_of(tx, &build.schedule)?;
    if let Some(id) = unfinished {
        return Err(HistoryError::Unfinished(id));
    }
    let verifies = build.verification.is_some();
    // A verification makes no retry needless.
    let attempt = if verifies { 1 } else { take_retry(tx, &build.schedule, build.retry_of.as_deref())? };
    tx.execute(
        "INSERT INTO build (id, schedule, cloud, state, trigger, created_at, retry_of, attempt, requested_by,
            forced, verification)
         VALUES (?1, ?2, ?3, 'queued', ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            build.id,
            build.schedule,
            cloud_of(&build.trials),
            build.trigger.word(),
            now_ms(),
            build.retry_of,
            attempt,
            build.requested_by.to_string(),
            build.forced,
            build.verification
        ],
    )?;
    let how = if verifies {
        format!("{}, verifies again", build.trigger.word())
    } else {
        build.trigger.word().to_owned()
    };
    let about = About { detail: &how, ..About::build(&build.schedule, &build.id) };
    audit::append(tx, &build.requested_by, Action::BuildTriggered, about)?;
    insert_parts(tx, &build.id, &build.stages, &build.trials, verifies)?;
    if let Some(fired_at) = build.fired_at {
        let passed = if verifies {
            "UPDATE schedule_state SET reverify_since = max(reverify_since, ?2) WHERE schedule = ?1"
        } else {
            "UPDATE schedule_state SET since = max(since, ?2) WHERE schedule = ?1"
        };
        tx.execute(passed, params![build.schedule, fired_at])?;
    }
    Ok(())
}

/// The cloud of all trials; empty when they are on several.
fn cloud_of(trials: &[NewTrial]) -> &str {
    let mut clouds = trials.iter().map(|trial| trial.cloud.as_str());
    let first = clouds.next().unwrap_or_default();
    if clouds.all(|cloud| cloud == first) { first } else { "" }
}

/// Inserts a build's own stages and its trials, all pending.
fn insert_parts(
    tx: &Transaction<'_>,
    id: &str,
    (before, after): &(Vec<&'static str>, Vec<&'static str>),
    trials: &[NewTrial],
    verifies: bool,
) -> Result<(), HistoryError> {
    let place = insert_stages(tx, id, before, 0)?;
    let place = trials::insert(tx, id, trials, place)?;
    insert_stages(tx, id, after, place)?;
    if verifies {
        skip_what_makes_images(tx, id)?;
    }
    Ok(())
}

/// A verification has no use for the stages that make an image and give it out.
fn skip_what_makes_images(tx: &Transaction<'_>, id: &str) -> Result<(), HistoryError> {
    for stage in [Stage::Building, Stage::Uploading, Stage::Publishing] {
        tx.execute(
            "UPDATE stage SET state = 'skipped', detail = 'the published image is verified again'
             WHERE build_id = ?1 AND name = ?2",
            params![id, stage.word()],
        )?;
    }
    Ok(())
}

/// Inserts stages of the build's own from a place on; returns the next one.
fn insert_stages(
    tx: &Transaction<'_>,
    build_id: &str,
    names: &[&'static str],
    mut place: i64,
) -> Result<i64, HistoryError> {
    for name in names {
        tx.execute(
            "INSERT INTO stage (build_id, position, name, state) VALUES (?1, ?2, ?3, 'pending')",
            params![build_id, place, name],
        )?;
        place += 1;
    }
    Ok(place)
}

pub(super) fn advance(
    tx: &Transaction<'_>,
    id: &str,
    from: v1::BuildState,
    to: v1::BuildState,
    ending: &Ending,
) -> Result<(), HistoryError> {
    let now = now_ms();
    let terminal = build_has_ended(to);
    let changed = tx.execute(
        "UPDATE build SET state = ?3,
         started_at = CASE WHEN ?3 IN ('building', 'trying') THEN coalesce(started_at, ?4) ELSE started_at END,
         finished_at = CASE WHEN ?5 THEN ?4 ELSE finished_at END WHERE id = ?1 AND state = ?2",
        params![id, from.word(), to.word(), now, terminal],
    )?;
    if changed == 0 {
        return Err(HistoryError::IllegalMove {
            build: id.to_owned(),
            from: from.word().to_owned(),
            to: to.word().to_owned(),
        });
    }
    if let Some(by) = &ending.cancelled_by {
        audit::cancelled(tx, id, by)?;
    }
    tx.execute(
        "UPDATE stage SET state = ?3, finished_at = ?4, detail = CASE WHEN ?5 = '' THEN detail ELSE ?5 END
         WHERE build_id = ?1 AND trial IS NULL AND name = ?2 AND state = 'running'",
        params![id, from.word(), ending.state.word(), now, ending.detail],
    )?;
    tx.execute(
        "UPDATE stage SET state = 'running', started_at = ?3
         WHERE build_id = ?1 AND trial IS NULL AND name = ?2",
        params![id, to.word(), now],
    )?;
    if terminal {
        trials::end_all(tx, id)?;
        tx.execute(
            "UPDATE stage SET state = 'skipped' WHERE build_id = ?1 AND state IN ('pending', 'running')",
            [id],
        )?;
        reports::refresh_day_of(tx, id)?;
        outbox::of_end(tx, id, to)?;
    }
    Ok(())
}
