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
mod tests {
    use std::time::Duration;

    use image_manager_proto::v1::{BuildState as S, StageState, Trigger, Verdict};

    use super::*;
    use crate::history::NewBuild;

    struct Bench {
        history: History,
        _directory: tempfile::TempDir,
    }

    const POLICY: RetryPolicy = RetryPolicy { retries: 2, backoff: Duration::from_mins(1), pause_after: 3 };

    impl Bench {
        async fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let history = History::open(&directory.path().join("image-manager.db")).unwrap();
            history
                .remember_schedules(vec![crate::history::Entries {
                    schedule: "web".to_owned(),
                    ..Default::default()
                }])
                .await
                .unwrap();
            Self { history, _directory: directory }
        }

        async fn queue(&self, id: &str, retry_of: Option<&str>) -> Result<(), HistoryError> {
            self.history.create_build(Self::build(id, retry_of)).await
        }

        async fn queue_verification(&self, id: &str) -> Result<(), HistoryError> {
            let verification = Some("digest".to_owned());
            self.history.create_build(NewBuild { verification, ..Self::build(id, None) }).await
        }

        fn build(id: &str, retry_of: Option<&str>) -> NewBuild {
            NewBuild {
                id: id.to_owned(),
                schedule: "web".to_owned(),
                requested_by: Principal::Cron,
                trigger: if retry_of.is_some() { Trigger::Retry } else { Trigger::Cron },
                stages: (Vec::new(), Vec::new()),
                trials: Vec::new(),
                fired_at: None,
                retry_of: retry_of.map(str::to_owned),
                forced: false,
                verification: None,
            }
        }

        async fn end(&self, id: &str, end: S, reason: &str) -> FollowUp {
            self.end_by(id, end, reason, POLICY).await
        }

        async fn end_by(&self, id: &str, end: S, reason: &str, policy: RetryPolicy) -> FollowUp {
            let verdict = match end {
                S::Succeeded => Verdict::Passed,
                S::Failed => Verdict::Failed,
                S::Errored => Verdict::Errored,
                _ => Verdict::Unspecified,
            };
            let failure = v1::Failure { reason: reason.to_owned(), ..v1::Failure::default() };
            let ending = Ending::new(StageState::Done, "");
            let verdict = Some((verdict, (end != S::Succeeded).then_some(failure)));
            self.history.finish(id, (S::Queued, end), verdict, ending, Some(policy)).await.unwrap()
        }

        async fn state(&self) -> crate::history::ScheduleState {
            self.history.schedule_states().await.unwrap()["web"].clone()
        }
    }

    #[tokio::test]
    async fn an_errored_build_is_retried_as_often_as_asked_for() {
        let bench = Bench::new().await;
        bench.queue("1", None).await.unwrap();
        let before = now_ms();
        let first = bench.end("1", S::Errored, "agent_silent").await.retry_at.unwrap();
        assert!((before + 60_000..=now_ms() + 60_000).contains(&first));
        assert_eq!(bench.state().await.retry.unwrap().build_id, "1");
        bench.queue("2", Some("1")).await.unwrap();
        assert_eq!(bench.state().await.retry, None, "the retry is the build now");
        assert_eq!(bench.history.build("2").await.unwrap().retry_of, "1");
        let related = bench.history.related_builds("web", "1").await.unwrap();
        assert_eq!(related.retried_by.as_deref(), Some("2"), "the chain is followed both ways");
        let again = bench.queue("3", Some("1")).await.unwrap_err();
        assert!(matches!(again, HistoryError::Unfinished(_)), "{again}");
        let second = bench.end("2", S::Errored, "interrupted").await.retry_at.unwrap();
        assert!(second >= before + 120_000, "the pause doubles");
        bench.queue("3", Some("2")).await.unwrap();
        let end = bench.end("3", S::Errored, "interrupted").await;
        assert_eq!(end, FollowUp::default(), "two retries, not three; and an interruption pauses nothing");
        let twice = bench.queue("4", Some("3")).await.unwrap_err();
        assert!(matches!(twice, HistoryError::NoRetry(_)), "{twice}");
    }

    #[tokio::test]
    async fn only_what_errored_is_retried() {
        let bench = Bench::new().await;
        for (id, end) in [("1", S::Failed), ("2", S::Cancelled), ("3", S::Succeeded)] {
            bench.queue(id, None).await.unwrap();
            assert_eq!(bench.end(id, end, "x").await.retry_at, None);
        }
        bench.queue("4", None).await.unwrap();
        bench.end("4", S::Errored, "x").await;
        bench.queue("5", None).await.unwrap();
        assert_eq!(bench.state().await.retry, None, "a newer build makes the retry needless");
    }

    #[tokio::test]
    async fn a_row_of_failures_pauses_and_resuming_counts_anew() {
        let bench = Bench::new().await;
        let ends = [S::Failed, S::Errored, S::Cancelled, S::Succeeded, S::Failed, S::Errored, S::Cancelled];
        for (number, end) in ends.into_iter().enumerate() {
            let id = format!("a{number}");
            bench.queue(&id, None).await.unwrap();
            assert_eq!(bench.end(&id, end, "x").await.paused, None);
        }
        assert_eq!(bench.state().await.failures, 2, "a success resets, a cancelled build does not count");
        bench.queue("b", None).await.unwrap();
        let end = bench.end("b", S::Errored, "agent_silent").await;
        let why = end.paused.unwrap();
        assert!(why.contains("3 builds in a row") && why.contains("agent_silent"), "{why}");
        assert_eq!(end.retry_at, None);
        let state = bench.state().await;
        assert!(state.paused && state.pause_reason == why && state.paused_at.is_some());

        bench.queue("c", None).await.unwrap();
        assert_eq!(bench.end("c", S::Errored, "x").await, FollowUp::default(), "paused: nothing follows");
        bench.history.set_paused("web", false, Principal::Manager).await.unwrap();
        let state = bench.state().await;
        assert_eq!((state.paused, state.failures, state.pause_reason.as_str()), (false, 0, ""));
        bench.queue("d", None).await.unwrap();
        assert!(bench.end("d", S::Errored, "x").await.retry_at.is_some());
        bench.history.set_paused("web", true, Principal::Manager).await.unwrap();
        let state = bench.state().await;
        assert_eq!((state.retry, state.pause_reason.as_str()), (None, "paused on request"));
    }

    #[tokio::test]
    async fn a_verification_owes_nothing_and_makes_nothing_needless() {
        let bench = Bench::new().await;
        bench.queue("1", None).await.unwrap();
        bench.end("1", S::Errored, "interrupted").await;
        bench.queue_verification("2").await.unwrap();
        assert!(bench.queue("3", None).await.is_err(), "one unfinished build a schedule");
        assert_eq!(bench.state().await.retry.unwrap().build_id, "1", "the retry is owed still");
        for (id, end) in [("2", S::Failed), ("3", S::Errored), ("4", S::Succeeded)] {
            if id != "2" {
                bench.queue_verification(id).await.unwrap();
            }
            assert_eq!(bench.end(id, end, "interrupted").await, FollowUp::default());
        }
        let state = bench.state().await;
        assert_eq!((state.failures, state.retry.unwrap().build_id.as_str()), (0, "1"));
        assert!(bench.history.last_successes(vec!["web".to_owned()]).await.unwrap().is_empty());
        let report = bench.history.report(crate::history::ReportQuery::default()).await.unwrap();
        assert_eq!(report.schedules.iter().map(|schedule| schedule.builds).sum::<u64>(), 1);
    }

    #[tokio::test]
    async fn an_unexplained_failure_is_built_once_more_whatever_the_policy_says() {
        let none = RetryPolicy { retries: 0, pause_after: 1, ..POLICY };
        let bench = Bench::new().await;
        bench.queue("1", None).await.unwrap();
        let first = bench.end_by("1", S::Errored, UNEXPLAINED, none).await;
        assert!(first.retry_at.is_some() && first.paused.is_none(), "{first:?}");
        let state = bench.state().await;
        assert_eq!(
            (state.failures, state.retry.unwrap().build_id.as_str()),
            (0, "1"),
            "the second one tells"
        );
        assert_eq!(bench.history.owed_retry("web").await.unwrap().unwrap().build_id, "1");
        bench.queue("2", Some("1")).await.unwrap();
        assert_eq!(bench.history.owed_retry("web").await.unwrap(), None);
        let second = bench.end_by("2", S::Errored, UNEXPLAINED, RetryPolicy { pause_after: 0, ..none }).await;
        assert_eq!(second, FollowUp::default(), "and there is no third");
        assert_eq!(bench.state().await.failures, 1);
        bench.queue("3", None).await.unwrap();
        assert!(bench.end_by("3", S::Errored, UNEXPLAINED, none).await.retry_at.is_some());
        bench.queue("4", Some("3")).await.unwrap();
        let failed = bench.end_by("4", S::Failed, "dib_hook_failed", none).await;
        assert!(failed.retry_at.is_none() && failed.paused.is_some(), "{failed:?}");
    }

    #[tokio::test]
    async fn only_a_build_that_has_published_makes_a_verification_needless() {
        let bench = Bench::new().await;
        let since = async || bench.history.schedule_states().await.unwrap()["web"].reverify_since;
        let before = since().await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        bench.queue("1", None).await.unwrap();
        bench.end("1", S::Succeeded, "").await;
        assert_eq!(since().await, before);
        bench.queue("2", None).await.unwrap();
        let image = v1::Image { name: "web".to_owned(), ..v1::Image::default() };
        bench.history.record_published("2", "local", image, "/web").await.unwrap();
        bench.end("2", S::Succeeded, "").await;
        assert!(since().await > before);
    }
}
