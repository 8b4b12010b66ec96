//! What follows the end of a build: a retry or a second build that is owed, or a schedule that pauses itself. All are part of
//! the commit that ends the build, so that a crash neither loses nor doubles them.

use image_manager_proto::v1;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::audit::{About, Action, append};
use super::builds::{Ending, advance, set_verdict};
use super::names::Named as _;
use super::points::Point;
use super::{History, HistoryError, Principal, now_ms, outbox};
use crate::reason::Reason;
use crate::schedules::RetryPolicy;
use crate::stage::Stage;

/// A build that was ended by the end of its manager says nothing about the schedule, so it does not count among those
/// that make it pause.
const INTERRUPTED: &str = Reason::Interrupted.word();

/// A build whose script failed for no known cause, though its definition is that of one that passed, is built once more
/// by itself, whatever the schedule's `retry` says.
const UNEXPLAINED: &str = Reason::DibHookUnexplained.word();

/// What follows the end of a build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FollowUp {
    /// It is queued again at this instant, in milliseconds since the epoch.
    pub retry_at: Option<i64>,
    /// The schedule has paused itself, for this reason.
    pub paused: Option<String>,
}

/// A retry that is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwedRetry {
    /// The build that errored.
    pub build_id: String,
    /// When it is due, in milliseconds since the epoch.
    pub due_at: i64,
}

impl History {
    /// Brings a build to its end: the move, for one that had no verdict yet the verdict, and what follows by
    /// the schedule's policy, in one commit. Without a policy nothing follows.
    pub async fn finish(
        &self,
        id: &str,
        (from, to): (v1::BuildState, v1::BuildState),
        verdict: Option<(v1::Verdict, Option<v1::Failure>)>,
        ending: Ending,
        policy: Option<RetryPolicy>,
    ) -> Result<FollowUp, HistoryError> {
        let id = id.to_owned();
        let point = Point::Of("advance", to.word().to_owned());
        self.writer()?
            .run(point, move |tx| {
                if let Some((verdict, failure)) = &verdict {
                    set_verdict(tx, &id, *verdict, failure.as_ref())?;
                }
                advance(tx, &id, from, to, &ending)?;
                follow_up(tx, &id, to, policy)
            })
            .await
    }

    /// The retry that is owed to a schedule.
    pub async fn owed_retry(&self, schedule: &str) -> Result<Option<OwedRetry>, HistoryError> {
        let schedule = schedule.to_owned();
        self.read(move |connection| Ok(owed(connection, &schedule)?)).await
    }

    /// Forgets a retry that cannot be made.
    pub async fn drop_retry(&self, schedule: &str) -> Result<(), HistoryError> {
        let schedule = schedule.to_owned();
        self.writer()?
            .run("retry:drop", move |tx| {
                tx.execute("DELETE FROM retry WHERE schedule = ?1", [schedule])?;
                Ok(())
            })
            .await
    }
}

/// A build that has passed and whose image has a name was verified just now: a verification that has come due while it was
/// under way is needless.
fn verified_anew(
    tx: &Transaction<'_>,
    schedule: &str,
    id: &str,
    end: v1::BuildState,
) -> Result<(), HistoryError> {
    if end == v1::BuildState::Succeeded {
        tx.execute(
            "UPDATE schedule_state SET reverify_since = max(reverify_since, ?2) WHERE schedule = ?1
                AND EXISTS (SELECT 1 FROM publication WHERE build_id = ?3 AND state = 'current')",
            params![schedule, now_ms(), id],
        )?;
    }
    Ok(())
}

fn follow_up(
    tx: &Transaction<'_>,
    id: &str,
    end: v1::BuildState,
    policy: Option<RetryPolicy>,
) -> Result<FollowUp, HistoryError> {
    // It says nothing about whether the schedule can be built: neither a retry nor a pause comes of it.
    let verifies = "SELECT verification IS NOT NULL FROM build WHERE id = ?1";
    if tx.query_row(verifies, [id], |row| row.get(0))? {
        return Ok(FollowUp::default());
    }
    let (schedule, attempt, reason, is_second, stage): (String, u32, Option<String>, bool, String) = tx
        .query_row(
            "SELECT b.schedule, b.attempt, b.failure_reason, coalesce(first.failure_reason = ?2, 0),
            coalesce(b.failure_stage, '')
         FROM build b LEFT JOIN build first ON first.id = b.retry_of WHERE b.id = ?1",
            [id, UNEXPLAINED],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)),
        )?;
    verified_anew(tx, &schedule, id, end)?;
    let reason = reason.unwrap_or_default();
    let bad = matches!(end, v1::BuildState::Failed | v1::BuildState::Errored);
    // It is the second one that tells; a third there is not.
    let second = end == v1::BuildState::Errored && reason == UNEXPLAINED && !is_second;
    let counts = bad && reason != INTERRUPTED && !second;
    if end == v1::BuildState::Succeeded || counts {
        tx.execute(
            "UPDATE schedule_state SET failures = CASE WHEN ?2 THEN failures + 1 ELSE 0 END WHERE schedule = ?1",
            params![schedule, counts],
        )?;
    }
    let Some(policy) = policy else { return Ok(FollowUp::default()) };
    let state = tx
        .query_row("SELECT failures, paused FROM schedule_state WHERE schedule = ?1", [&schedule], |row| {
            Ok((row.get::<_, u32>(0)?, row.get::<_, bool>(1)?))
        })
        .optional()?;
    let (failures, retries) = match state {
        Some((_, true)) => return Ok(FollowUp::default()),
        Some((failures, false)) => (failures, policy.retries),
        // Only a build in the foreground has a policy for a schedule that nobody remembers.
        None => (0, 0),
    };
    let policy = RetryPolicy { retries, ..policy };
    if counts && policy.pause_after > 0 && failures >= policy.pause_after {
        let paused = format!(
            "{} in a row did not pass, the last one for {reason}: fix the cause, then resume it",
            image_manager_proto::counted(failures, "build")
        );
        tx.execute(
            "UPDATE schedule_state SET paused = 1, pause_reason = ?2, paused_at = ?3, paused_by = ?4 WHERE schedule = ?1",
            params![schedule, paused, now_ms(), Principal::Manager.to_string()],
        )?;
        let about = About { detail: &paused, ..About::build(&schedule, id) };
        append(tx, &Principal::Manager, Action::SchedulePaused, about)?;
        outbox::of_pause(tx, &schedule, &paused)?;
        return Ok(FollowUp { retry_at: None, paused: Some(paused) });
    }
    // A trial that errored has been made again already, on the same artifact, as often as the schedule says. Only one that
    // the end of its manager took away from is built anew.
    let tried = reason != INTERRUPTED && Stage::parse(&stage).is_some_and(Stage::is_of_trial_alone);
    let again = end == v1::BuildState::Errored && !tried;
    let pause = if again { policy.pause_after_attempt(attempt) } else { None };
    let pause = pause.or(second.then_some(policy.backoff));
    let Some(pause) = pause else { return Ok(FollowUp::default()) };
    let due_at = now_ms().saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX));
    tx.execute(
        "INSERT OR REPLACE INTO retry (schedule, build_id, attempt, due_at) VALUES (?1, ?2, ?3, ?4)",
        params![schedule, id, attempt.saturating_add(1), due_at],
    )?;
    Ok(FollowUp { retry_at: Some(due_at), paused: None })
}

/// The retry that is owed to a schedule.
pub(super) fn owed(connection: &Connection, schedule: &str) -> rusqlite::Result<Option<OwedRetry>> {
    connection
        .query_row("SELECT build_id, due_at FROM retry WHERE schedule = ?1", [schedule], |row| {
            Ok(OwedRetry { build_id: row.get(0)?, due_at: row.get(1)? })
        })
        .optional()
}

/// Takes the retry that a new build is, or that it makes needless. Returns the new build's number.
///
/// # Errors
/// [`HistoryError::NoRetry`] when the build is to be a retry that is not owed any more.
pub(super) fn take_retry(
    tx: &Transaction<'_>,
    schedule: &str,
    retry_of: Option<&str>,
) -> Result<u32, HistoryError> {
    let owed = tx
        .query_row("DELETE FROM retry WHERE schedule = ?1 RETURNING build_id, attempt", [schedule], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?))
        })
        .optional()?;
    match (retry_of, owed) {
        (None, _) => Ok(1),
        (Some(wanted), Some((build_id, attempt))) if wanted == build_id => Ok(attempt),
        (Some(wanted), _) => Err(HistoryError::NoRetry(wanted.to_owned())),
    }
}

#[cfg(test)]
mod tests;
