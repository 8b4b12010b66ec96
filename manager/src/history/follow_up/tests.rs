//! What follows the end of a build: a retry, a pause, a verification that is needless.

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
    assert_eq!((state.failures, state.retry.unwrap().build_id.as_str()), (0, "1"), "the second one tells");
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
