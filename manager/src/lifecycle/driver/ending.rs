//! How a build ends, or is left to the next manager.

use image_manager_proto::v1::{self, BuildState, StageState, Verdict};

use super::{Driver, INSIST};
use crate::history::{Ending, FollowUp, HistoryError, Named as _};
use crate::lifecycle::failure::Failure;
use crate::lifecycle::outcome::Outcome;
use crate::lifecycle::skip::{self, Reading, Unchanged};
use crate::lifecycle::state::{end_of, is_end};

impl Driver {
    /// Records the verdict, takes everything away, and ends the build.
    pub(super) async fn conclude(&mut self, outcome: Outcome) {
        let stage = self.state.word();
        let ended = if outcome.failed_in(stage) { StageState::Failed } else { StageState::Done };
        if let Some(failure) = &outcome.failure {
            let (reason, stage) = (&failure.reason, &failure.stage);
            tracing::warn!(build = self.id, reason, stage, "{}", failure.message);
        }
        let detail = self.incidents.append_to(&outcome.detail);
        let decided = Some((outcome.verdict, outcome.failure));
        self.insist(BuildState::CleaningUp, decided, ended, detail).await;
        let (ended, detail) = self.context.cleaner.clean_up(&self.id, None).await;
        self.insist(end_of(outcome.verdict), None, ended, detail).await;
        skip::drop_superseded(self).await;
    }

    /// Ends a build that need not be made, however often that takes. `Some`: it is to be made after all.
    pub(super) async fn skip(&mut self, unchanged: &Unchanged) -> Option<Reading> {
        let Unchanged { since, published, sentence } = unchanged;
        loop {
            let error = match self.history().skip_build(&self.id, since, published, sentence).await {
                Ok(true) => break,
                Ok(false) => {
                    let because = format!("the published image of build {since} lost a name meanwhile");
                    tracing::info!(build = self.id, "building: {because}");
                    return Some(Reading { because: Some(because), elements: None });
                }
                Err(error) => error,
            };
            tracing::error!(build = self.id, "cannot write the history: {error}");
            if error.is_illegal_move() || self.context.shutdown.is_ending() {
                return None;
            }
            tokio::time::sleep(INSIST).await;
        }
        self.arrived(BuildState::Skipped).await;
        self.context.records.announce_end(&self.id, &self.schedule.name, FollowUp::default()).await;
        None
    }

    /// Leaves the build to the next start. It has not brought its manager down, so being resumed has cost it nothing.
    pub(super) async fn leave(&self) {
        if let Err(error) = self.history().leave_build(&self.id).await {
            tracing::error!(build = self.id, "cannot write the history: {error}");
        }
        tracing::info!(build = self.id, "left for the next start to go on with");
    }

    /// Ends a build that never began: nothing was made.
    pub(super) async fn leave_queue(&mut self, failure: &Failure) {
        let message = failure.to_message(BuildState::Queued.word());
        let verdict = Some((failure.verdict(), Some(message)));
        self.insist(end_of(failure.verdict()), verdict, StageState::Skipped, String::new()).await;
    }

    /// Commits a move towards the end, however often that takes: a history that cannot be written for a while
    /// (a full disk) must not leave a build that nobody ends. A manager that is stopping gives up; then the next
    /// start takes the build up. So does one that finds the build elsewhere: it does not come back by waiting.
    async fn insist(
        &mut self,
        to: BuildState,
        verdict: Option<(Verdict, Option<v1::Failure>)>,
        ended: StageState,
        detail: String,
    ) {
        loop {
            let cancelled = matches!(verdict, Some((Verdict::Unspecified, _)));
            let cancelled_by = if cancelled { self.bounds.stop().cancelled_by() } else { None };
            let ending = Ending { state: ended, detail: detail.clone(), cancelled_by };
            let error = match self.move_towards_end(to, verdict.clone(), ending).await {
                Ok(follow_up) => {
                    self.arrived(to).await;
                    if is_end(to) {
                        self.context.records.announce_end(&self.id, &self.schedule.name, follow_up).await;
                    }
                    return;
                }
                Err(error) => error,
            };
            tracing::error!(build = self.id, "cannot write the history: {error}");
            if error.is_illegal_move() || self.context.shutdown.is_ending() {
                return;
            }
            tokio::time::sleep(INSIST).await;
        }
    }

    async fn move_towards_end(
        &self,
        to: BuildState,
        verdict: Option<(Verdict, Option<v1::Failure>)>,
        ending: Ending,
    ) -> Result<FollowUp, HistoryError> {
        let history = self.history();
        if is_end(to) {
            // By the file as it is now: nothing follows for a schedule that was taken out meanwhile.
            let policy = self.context.schedules.policy(&self.schedule.name);
            return history.finish(&self.id, (self.state, to), verdict, ending, policy).await;
        }
        history.conclude(&self.id, self.state, to, verdict, ending).await?;
        Ok(FollowUp::default())
    }
}
