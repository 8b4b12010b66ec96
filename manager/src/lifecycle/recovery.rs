//! Taking up what an earlier manager left when it was killed.

use image_manager_proto::v1::{BuildState, StageState, Verdict};

use super::driver::{announce_end, clean_up};
use super::failure::Failure;
use super::state::{end_of, is_end};
use super::take_up::Start;
use super::{Manager, TriggerError};
use crate::history::{Ending, HistoryError, INTERRUPTED, Named as _};
use crate::schedules::RetryPolicy;

impl Manager {
    /// Sees to every unfinished build. A manager that serves goes on with what can be gone on with, and queues
    /// again what had only waited; otherwise that waits on for the next one that does. All others are brought
    /// to their end. Must run before the first trigger. Returns how many builds it found.
    pub async fn recover(&self) -> Result<usize, HistoryError> {
        let unfinished = self.history().unfinished().await?;
        for (id, state) in &unfinished {
            if *state == BuildState::Queued {
                if self.inner().serves {
                    self.queue_again(id).await?;
                }
            } else if *state == BuildState::CleaningUp {
                self.clean_up_after(id, BuildState::CleaningUp).await?;
            } else if let Err(why) = self.take_up(id, *state).await? {
                self.end_interrupted(id, *state, &why).await?;
            }
        }
        for left in self.reconcile().await {
            tracing::warn!("still there: {left}");
        }
        Ok(unfinished.len())
    }

    /// Ends the builds of a schedule that only waited, so that a new one can begin.
    pub async fn end_waiting(&self, schedule: &str) -> Result<(), HistoryError> {
        if let Some(id) = self.history().unfinished_build(schedule).await?
            && !self.is_under_way(&id)
        {
            let why = "the manager that had queued it is gone, and a new build was asked for";
            self.end_unstarted(&id, why).await?;
        }
        Ok(())
    }

    async fn queue_again(&self, id: &str) -> Result<(), HistoryError> {
        let build = self.history().build(id).await?;
        let started = self.schedule(&build.schedule).and_then(|schedule| -> Result<(), TriggerError> {
            let cloud = self.cloud(&schedule.cloud)?;
            self.start(id.to_owned(), schedule, cloud, Start::Queue, None);
            Ok(())
        });
        match started {
            Ok(()) => {
                tracing::info!(build = id, "queued again");
                Ok(())
            }
            Err(error) => self.end_unstarted(id, &error.to_string()).await,
        }
    }

    /// Nothing was made for it yet.
    async fn end_unstarted(&self, id: &str, why: &str) -> Result<(), HistoryError> {
        let failure = Failure::errored(INTERRUPTED, why).to_message("queued");
        let ending = Ending { state: StageState::Skipped, detail: String::new() };
        let verdict = Some((Verdict::Errored, Some(failure)));
        let moves = (BuildState::Queued, BuildState::Errored);
        self.history().finish(id, moves, verdict, ending, None).await?;
        self.metrics().ended(&self.history().build(id).await?);
        Ok(())
    }

    /// Nobody can go on with it.
    async fn end_interrupted(&self, id: &str, state: BuildState, why: &str) -> Result<(), HistoryError> {
        debug_assert!(!is_end(state), "only unfinished builds are recovered");
        let message = format!(
            "the manager was stopped or killed while the build was {}, and {why}; trigger it again",
            state.word()
        );
        let failure = Failure::errored(INTERRUPTED, message);
        let ending = Ending { state: StageState::Failed, detail: INTERRUPTED.to_owned() };
        let decided = Some((Verdict::Errored, Some(failure.to_message(state.word()))));
        self.history().conclude(id, state, BuildState::CleaningUp, decided, ending).await?;
        self.clean_up_after(id, state).await
    }

    /// It has its verdict, and keeps it.
    async fn clean_up_after(&self, id: &str, state: BuildState) -> Result<(), HistoryError> {
        let build = self.history().build(id).await?;
        let verdict = build.verdict();
        let (ended, detail) = clean_up(self, id).await;
        tracing::warn!(build = id, state = state.word(), "ended a build that was interrupted: {detail}");
        let moves = (BuildState::CleaningUp, end_of(verdict));
        let policy = self.policy(&build.schedule);
        let follow_up =
            self.history().finish(id, moves, None, Ending { state: ended, detail }, policy).await?;
        announce_end(self, id, &build.schedule, follow_up).await;
        Ok(())
    }

    /// What follows the end of a schedule's build; nothing where it is in the file no more.
    fn policy(&self, schedule: &str) -> Option<RetryPolicy> {
        let schedule = self.schedule(schedule).ok().filter(|_| self.inner().serves)?;
        Some(schedule.retry)
    }
}
