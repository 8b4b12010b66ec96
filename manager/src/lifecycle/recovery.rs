//! Taking up what an earlier manager left when it was killed.

use image_manager_proto::v1::{BuildState, StageState, Verdict};

use super::driver::clean_up;
use super::failure::Failure;
use super::state::{end_of, is_end};
use super::{Manager, TriggerError};
use crate::history::{Ending, HistoryError, Named as _};

impl Manager {
    /// Brings every unfinished build to its end, or queues it again when nothing had been made for it. Must
    /// run before the first trigger. Returns how many builds it took up.
    pub async fn recover(&self) -> Result<usize, HistoryError> {
        let unfinished = self.history().unfinished().await?;
        for (id, state) in &unfinished {
            if *state == BuildState::Queued {
                self.queue_again(id).await?;
            } else {
                self.end_interrupted(id, *state).await?;
            }
        }
        for left in self.reconcile().await {
            tracing::warn!("still there: {left}");
        }
        Ok(unfinished.len())
    }

    async fn queue_again(&self, id: &str) -> Result<(), HistoryError> {
        let build = self.history().build(id).await?;
        let started = self.schedule(&build.schedule).and_then(|schedule| {
            let cloud = self.cloud(&schedule.cloud)?;
            self.start(id.to_owned(), schedule, cloud, None)
        });
        match started {
            Ok(()) => {
                tracing::info!(build = id, "queued again");
                Ok(())
            }
            Err(error) => self.end_unstarted(id, &error).await,
        }
    }

    /// Its schedule has gone while it waited.
    async fn end_unstarted(&self, id: &str, error: &TriggerError) -> Result<(), HistoryError> {
        let failure = Failure::errored("interrupted", error.to_string()).to_message("queued");
        self.history().record_verdict(id, Verdict::Errored, Some(failure)).await?;
        let ending = Ending { state: StageState::Skipped, detail: String::new() };
        self.history().advance(id, BuildState::Queued, BuildState::Errored, ending).await
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
                "interrupted",
                format!(
                    "the manager was stopped or killed while the build was {}; trigger it again",
                    state.word()
                ),
            );
            history.record_verdict(id, verdict, Some(failure.to_message(state.word()))).await?;
            let ending = Ending { state: StageState::Failed, detail: "interrupted".to_owned() };
            history.advance(id, state, BuildState::CleaningUp, ending).await?;
        }
        let (ended, detail) = clean_up(self, id).await;
        tracing::warn!(build = id, state = state.word(), "ended a build that was interrupted: {detail}");
        history.advance(id, BuildState::CleaningUp, end_of(verdict), Ending { state: ended, detail }).await
    }
}
