//! What another image said of a trial's target, after the trial's own had ended there without a word.

use std::ops::RangeInclusive;

use image_manager_proto::v1;
use rusqlite::{OptionalExtension as _, Row, params};

use super::names::Named as _;
use super::trials::forget_server;
use super::{History, HistoryError, TrialKey, now_ms};
use crate::clock::timestamp;

/// Another image is to be booted on the target of a trial.
#[derive(Debug, Clone)]
pub struct NewControl {
    /// Whose target it is.
    pub schedule: String,
    /// The target's name.
    pub target: String,
    /// Which attempt of the trial.
    pub attempt: u32,
    /// How the trial's own image had ended.
    pub first: v1::Failure,
    /// The answer that was given within the hour before, which is taken instead.
    pub earlier: Option<ControlAnswer>,
}

/// How the other image ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlAnswer {
    /// Whether its agent came.
    pub outcome: v1::ControlOutcome,
    /// One line for people.
    pub detail: String,
    /// What proves it.
    pub evidence: String,
    /// The build whose image it was; `None`: one that the manager made itself, or none.
    pub image_of: Option<String>,
    /// The build that asked.
    pub asked_by: String,
    /// When it was asked, in milliseconds since the epoch.
    pub at_ms: i64,
}

/// All that the history has of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlRecord {
    /// How the trial's own image had ended.
    pub first: v1::Failure,
    /// How the other one ended; `None`: nobody knows.
    pub answer: Option<ControlAnswer>,
    /// How the trial's own image ended when it was booted once more.
    pub again: Option<String>,
}

const ANSWER: &str = "outcome, detail, evidence, image_of, coalesce(answer_of, build_id), started_at";

impl History {
    /// Commits that another image is asked, before anything is done for that; or that an earlier answer is taken. Returns
    /// its handle.
    pub async fn begin_control(&self, key: &TrialKey, new: NewControl) -> Result<i64, HistoryError> {
        let key = key.clone();
        self.writer()?
            .run("control:begin", move |tx| {
                let NewControl { schedule, target, attempt, first, earlier } = new;
                tx.execute(
                    "INSERT INTO control (build_id, trial, attempt, schedule, target, first_reason, first_stage,
                        first_message, first_evidence, started_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                    params![
                        key.build_id,
                        key.position,
                        attempt,
                        schedule,
                        target,
                        first.reason,
                        first.stage,
                        first.message,
                        first.evidence,
                        now_ms()
                    ],
                )?;
                let id = tx.last_insert_rowid();
                if let Some(earlier) = earlier {
                    set_answer(tx, id, &earlier)?;
                    let taken = "UPDATE control SET answer_of = ?2, started_at = ?3 WHERE id = ?1";
                    tx.execute(taken, params![id, earlier.asked_by, earlier.at_ms])?;
                }
                Ok(id)
            })
            .await
    }

    /// Commits how the other image ended.
    pub async fn end_control(&self, id: i64, answer: ControlAnswer) -> Result<(), HistoryError> {
        self.writer()?.run("control:answer", move |tx| set_answer(tx, id, &answer)).await
    }

    /// Commits that the trial's own image is to be booted once more, before anything is done for that: nothing of the first
    /// boot is the second's, and these checks are pending again.
    pub async fn begin_second_boot(&self, key: &TrialKey, checks: Vec<String>) -> Result<(), HistoryError> {
        let key = key.clone();
        self.writer()?
            .run("control:second_boot", move |tx| {
                forget_server(tx, &key)?;
                for name in &checks {
                    tx.execute(
                        "UPDATE check_result SET outcome = NULL, duration_ms = NULL, summary = '', observations = '{}'
                         WHERE build_id = ?1 AND trial = ?2 AND name = ?3",
                        params![key.build_id, key.position, name],
                    )?;
                }
                Ok(())
            })
            .await
    }

    /// Commits how the trial's own image ended when it was booted once more: a reason, or "passed".
    pub async fn end_second_boot(&self, id: i64, again: &str) -> Result<(), HistoryError> {
        let again = again.to_owned();
        self.writer()?
            .run("control:again", move |tx| {
                tx.execute("UPDATE control SET again = ?2 WHERE id = ?1", params![id, again])?;
                Ok(())
            })
            .await
    }

    /// The last answer on a target in a time, in milliseconds since the epoch: one of the future was given before the clock
    /// was set back, nobody knows when. One that nobody knows, because its manager was killed, is there without an outcome;
    /// what could not be booted counts for nothing.
    pub async fn last_control(
        &self,
        schedule: &str,
        target: &str,
        during: RangeInclusive<i64>,
    ) -> Result<Option<ControlAnswer>, HistoryError> {
        let (schedule, target) = (schedule.to_owned(), target.to_owned());
        let (since, until) = during.into_inner();
        self.read(move |connection| {
            let sql = format!(
                "SELECT {ANSWER} FROM control WHERE schedule = ?1 AND target = ?2 AND started_at BETWEEN ?3 AND ?4
                    AND answer_of IS NULL AND outcome IS NOT 'unknown'
                 ORDER BY started_at DESC, id DESC LIMIT 1"
            );
            let found =
                connection.query_row(&sql, params![schedule, target, since, until], |row| answer(row, 0));
            Ok(found.optional()?)
        })
        .await
    }

    /// What is known of the other image that this attempt of a trial asked; `None`: it asked none.
    pub async fn control(&self, key: &TrialKey, attempt: u32) -> Result<Option<ControlRecord>, HistoryError> {
        let key = key.clone();
        self.read(move |connection| {
            let sql = format!(
                "SELECT {ANSWER}, first_reason, first_stage, first_message, first_evidence, again FROM control
                 WHERE build_id = ?1 AND trial = ?2 AND attempt = ?3 ORDER BY id DESC LIMIT 1"
            );
            let found = connection.query_row(&sql, params![key.build_id, key.position, attempt], |row| {
                let answer = answer(row, 0)?;
                Ok(ControlRecord {
                    first: super::queries::failure(row, 6)?.unwrap_or_default(),
                    answer: Some(answer).filter(|it| it.outcome != v1::ControlOutcome::Unspecified),
                    again: row.get(10)?,
                })
            });
            Ok(found.optional()?)
        })
        .await
    }
}

fn set_answer(tx: &rusqlite::Transaction<'_>, id: i64, answer: &ControlAnswer) -> Result<(), HistoryError> {
    tx.execute(
        "UPDATE control SET outcome = ?2, detail = ?3, evidence = ?4, image_of = ?5, finished_at = ?6 WHERE id = ?1",
        params![id, answer.outcome.word(), answer.detail, answer.evidence, answer.image_of, now_ms()],
    )?;
    Ok(())
}

fn answer(row: &Row<'_>, first: usize) -> rusqlite::Result<ControlAnswer> {
    let outcome: Option<String> = row.get(first)?;
    Ok(ControlAnswer {
        outcome: v1::ControlOutcome::from_word(&outcome.unwrap_or_default()).unwrap_or_default(),
        detail: row.get(first + 1)?,
        evidence: row.get(first + 2)?,
        image_of: row.get(first + 3)?,
        asked_by: row.get(first + 4)?,
        at_ms: row.get(first + 5)?,
    })
}

/// How a page of builds reads them, in their order.
pub(super) const OF_BUILDS: &str =
    "SELECT build_id, trial, attempt, first_reason, image_of, outcome, detail, started_at,
        finished_at, answer_of, again FROM control";

/// The place of the trial, which attempt of it, and what is told.
pub(super) fn row_of_build(row: &Row<'_>) -> rusqlite::Result<(usize, u32, v1::Control)> {
    let word = |index: usize| row.get::<_, Option<String>>(index).map(Option::unwrap_or_default);
    let control = v1::Control {
        because: word(3)?,
        image_of: word(4)?,
        outcome: v1::ControlOutcome::from_word(&word(5)?).unwrap_or_default().into(),
        detail: word(6)?,
        started_at: row.get::<_, Option<i64>>(7)?.map(timestamp),
        finished_at: row.get::<_, Option<i64>>(8)?.map(timestamp),
        answer_of: word(9)?,
        again: word(10)?,
    };
    let place: u32 = row.get(1)?;
    Ok((usize::try_from(place).unwrap_or(usize::MAX), row.get(2)?, control))
}

#[cfg(test)]
mod tests {
    use v1::ControlOutcome as Outcome;

    use super::super::Claim;
    use super::super::tests::{new_build, open};
    use super::*;

    fn answer(outcome: Outcome, by: &str) -> ControlAnswer {
        ControlAnswer {
            outcome,
            detail: outcome.word().to_owned(),
            evidence: "its console".to_owned(),
            image_of: Some("good".to_owned()),
            asked_by: by.to_owned(),
            at_ms: now_ms(),
        }
    }

    fn asks(earlier: Option<ControlAnswer>) -> NewControl {
        let first = v1::Failure { reason: "agent_silent".to_owned(), ..v1::Failure::default() };
        NewControl { schedule: "web".to_owned(), target: "local".to_owned(), attempt: 1, first, earlier }
    }

    #[tokio::test]
    async fn the_last_answer_is_the_last_that_somebody_gave() {
        let directory = tempfile::tempdir().unwrap();
        let history = open(&directory);
        let key = TrialKey { build_id: "01a".to_owned(), position: 0 };
        history.create_build(new_build("01a", "web")).await.unwrap();
        let within = async |during| history.last_control("web", "local", during).await.unwrap();
        let last = async |since| within(since..=i64::MAX).await;
        assert_eq!(last(0).await, None);
        // One that is under way, or whose manager was killed.
        let begun = history.begin_control(&key, asks(None)).await.unwrap();
        assert_eq!(last(0).await.unwrap().outcome, Outcome::Unspecified);
        assert_eq!(history.control(&key, 1).await.unwrap().unwrap().answer, None);
        history.end_control(begun, answer(Outcome::Passed, "01a")).await.unwrap();
        history.end_second_boot(begun, "agent_silent").await.unwrap();
        let known = last(0).await.unwrap();
        assert_eq!((known.outcome, known.image_of.as_deref()), (Outcome::Passed, Some("good")));
        assert_eq!(last(now_ms() + 1).await, None, "that was before");
        assert_eq!(within(0..=known.at_ms).await.as_ref(), Some(&known));
        let earlier = known.at_ms - 1;
        assert_eq!(within(0..=earlier).await, None, "the clock was set back since");
        // What could not be booted says nothing, and an answer that was taken over is no new one.
        let unknown = history.begin_control(&key, asks(None)).await.unwrap();
        history.end_control(unknown, answer(Outcome::Unknown, "01a")).await.unwrap();
        history.begin_control(&key, asks(Some(answer(Outcome::Failed, "01b")))).await.unwrap();
        assert_eq!(last(0).await.unwrap(), known);
        let told = history.build("01a").await.unwrap().trials.remove(0).control.unwrap();
        assert_eq!((told.outcome(), told.answer_of.as_str()), (Outcome::Failed, "01b"));
        assert_eq!((told.because.as_str(), told.again.as_str()), ("agent_silent", ""));
        assert!(history.control(&key, 2).await.unwrap().is_none(), "another attempt has asked nobody");
    }

    #[tokio::test]
    async fn a_second_boot_has_nothing_of_the_first_but_what_was_seen_in_the_artifact() {
        let directory = tempfile::tempdir().unwrap();
        let history = open(&directory);
        let key = TrialKey { build_id: "01a".to_owned(), position: 0 };
        let mut build = new_build("01a", "web");
        build.trials[0].checks.push(("artifact".to_owned(), true));
        history.create_build(build).await.unwrap();
        let server = v1::Server { id: "1".to_owned(), ..v1::Server::default() };
        history.record_server(&key, server).await.unwrap();
        let claim =
            Claim { key: String::new(), address: String::new(), boot_id: "first".to_owned(), at_ms: 1 };
        history.record_agent(&key, "0.1.0", claim).await.unwrap();
        history.record_removal(&key, v1::Removal { complete: true, paths: Vec::new() }).await.unwrap();
        let passed = |name: &str| v1::Check {
            name: name.to_owned(),
            outcome: v1::CheckOutcome::Pass.into(),
            summary: "of the first boot".to_owned(),
            ..v1::Check::default()
        };
        history.record_checks(&key, vec![passed("disk"), passed("artifact")]).await.unwrap();
        history.begin_second_boot(&key, vec!["disk".to_owned()]).await.unwrap();
        let trial = history.build("01a").await.unwrap().trials.remove(0);
        assert!(trial.server.is_none() && trial.agent.is_none(), "{trial:?}");
        assert_eq!((trial.state(), trial.attempt), (v1::TrialState::Waiting, 1), "it stays where it is");
        let outcomes: Vec<_> = trial.checks.iter().map(v1::Check::outcome).collect();
        assert_eq!(outcomes, [v1::CheckOutcome::Unspecified, v1::CheckOutcome::Pass]);
        assert_eq!(trial.checks[0].summary, "");
        assert_eq!(history.trial_record(&key).await.unwrap().claim, None);
    }
}
