//! Taking up what an earlier manager left when it was killed.

use image_manager_proto::v1::{BuildState, StageState, Verdict};

use super::driver::{announce_end, clean_up};
use super::failure::Failure;
use super::state::{end_of, is_end};
use super::{Manager, TriggerError};
use crate::history::{Ending, HistoryError, INTERRUPTED, Named as _};
use crate::schedules::RetryPolicy;

impl Manager {
    /// Brings every unfinished build to its end. One that had only waited is queued again by a manager that
    /// serves; otherwise it waits on for the next one that does. Must run before the first trigger. Returns how
    /// many builds it took up.
    pub async fn recover(&self) -> Result<usize, HistoryError> {
        let unfinished = self.history().unfinished().await?;
        for (id, state) in &unfinished {
            if *state == BuildState::Queued {
                if self.inner().serves {
                    self.queue_again(id).await?;
                }
            } else {
                self.end_interrupted(id, *state).await?;
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
            self.start(id.to_owned(), schedule, cloud, None);
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
        Ok(())
    }

    /// A build that had its verdict keeps it; any other is interrupted.
    async fn end_interrupted(&self, id: &str, state: BuildState) -> Result<(), HistoryError> {
        debug_assert!(!is_end(state), "only unfinished builds are recovered");
        let history = self.history();
        let build = history.build(id).await?;
        let decided = state == BuildState::CleaningUp;
        let verdict = if decided { build.verdict() } else { Verdict::Errored };
        if !decided {
            let failure = Failure::errored(
                INTERRUPTED,
                format!(
                    "the manager was stopped or killed while the build was {}; trigger it again",
                    state.word()
                ),
            );
            let ending = Ending { state: StageState::Failed, detail: "interrupted".to_owned() };
            let decided = Some((verdict, Some(failure.to_message(state.word()))));
            history.conclude(id, state, BuildState::CleaningUp, decided, ending).await?;
        }
        let (ended, detail) = clean_up(self, id).await;
        tracing::warn!(build = id, state = state.word(), "ended a build that was interrupted: {detail}");
        let moves = (BuildState::CleaningUp, end_of(verdict));
        let policy = self.policy(&build.schedule);
        let follow_up = history.finish(id, moves, None, Ending { state: ended, detail }, policy).await?;
        announce_end(self, id, &build.schedule, follow_up).await;
        Ok(())
    }

    /// What follows the end of a schedule's build; nothing where it is in the file no more.
    fn policy(&self, schedule: &str) -> Option<RetryPolicy> {
        let schedule = self.schedule(schedule).ok().filter(|_| self.inner().serves)?;
        Some(schedule.retry)
    }
}
