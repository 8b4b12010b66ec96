//! Taking up what an earlier manager left when it was killed.

use std::collections::BTreeSet;
use std::sync::{MutexGuard, PoisonError};

use image_manager_proto::v1::{BuildState, StageState, TrialState, Verdict};

use super::Manager;
use super::driver::INSIST;
use super::failure::Failure;
use super::outcome::{Outcome, sum_up};
use super::state::{end_of, is_end, trial as trial_state};
use super::take_up::{self, Start};
use super::trial::Ended;
use crate::history::{Ending, HistoryError, Named as _, TrialKey};
use crate::reason::Reason;

/// A schedule's entry among those whose last build is still being cleaned up.
struct Cleaning {
    manager: Manager,
    schedule: String,
}

impl Cleaning {
    fn enter(manager: &Manager, schedule: String) -> Self {
        manager.recovering().insert(schedule.clone());
        Self { manager: manager.clone(), schedule }
    }
}

impl Drop for Cleaning {
    fn drop(&mut self) {
        self.manager.recovering().remove(&self.schedule);
    }
}

impl Manager {
    /// Sees to every unfinished build. A manager that serves goes on with what can be gone on with, and queues
    /// again what had only waited; otherwise that waits on for the next one that does. All others are brought
    /// to their end, of a manager that serves in the background: a cloud that does not answer must hold up no
    /// other's builds. Must run before the first trigger. Returns how many builds it found.
    pub async fn recover(&self) -> Result<usize, HistoryError> {
        let unfinished = self.history().unfinished().await?;
        let mut interrupted = Vec::new();
        for (id, state) in &unfinished {
            if *state == BuildState::Queued {
                if self.inner().serves {
                    self.queue_again(id).await?;
                }
            } else if *state == BuildState::CleaningUp {
                interrupted.push((id, *state));
            } else if let Err(why) = self.take_up(id, *state).await? {
                self.interrupt(id, *state, &why).await?;
                interrupted.push((id, *state));
            }
        }
        if self.inner().serves {
            for (id, state) in interrupted {
                self.clean_up_in_background(id, state).await?;
            }
            return Ok(unfinished.len());
        }
        for (id, state) in interrupted {
            self.clean_up_after(id, state).await?;
        }
        for left in self.inner().reconciler.reconcile().await {
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
        match self.schedule(&build.schedule) {
            Ok(schedule) => {
                let Some(start) = Start::of_queued(&schedule, &build) else {
                    return self.end_unstarted(id, "its schedule has changed since").await;
                };
                self.start(id.to_owned(), schedule, start, None);
                tracing::info!(build = id, "queued again");
                Ok(())
            }
            Err(error) => self.end_unstarted(id, &error.to_string()).await,
        }
    }

    /// Nothing was made for it yet.
    async fn end_unstarted(&self, id: &str, why: &str) -> Result<(), HistoryError> {
        let failure = Failure::new(Reason::Interrupted, why);
        let ending = Ending::new(StageState::Skipped, "");
        let verdict = Some((failure.verdict(), Some(failure.to_message("queued"))));
        let moves = (BuildState::Queued, BuildState::Errored);
        self.history().finish(id, moves, verdict, ending, None).await?;
        self.metrics().ended(&self.history().build(id).await?);
        Ok(())
    }

    /// Nobody can go on with it. What it made is still to be taken away.
    async fn interrupt(&self, id: &str, state: BuildState, why: &str) -> Result<(), HistoryError> {
        debug_assert!(!is_end(state), "only unfinished builds are recovered");
        let outcome = match state {
            BuildState::Trying | BuildState::Publishing => self.interrupt_trials(id, state, why).await?,
            _ => interrupted(state, &while_it_was(state), why),
        };
        let reason = outcome.failure.as_ref().map(|failure| failure.reason.clone()).unwrap_or_default();
        let ending = Ending::new(StageState::Failed, reason);
        let decided = Some((outcome.verdict, outcome.failure));
        self.history().conclude(id, state, BuildState::CleaningUp, decided, ending).await
    }

    /// Each trial that is under way gets its verdict; their build's clean-up takes away what they made, and ends them. The
    /// build's verdict is that of its trials; of one whose trials passed it is not known what was published.
    async fn interrupt_trials(
        &self,
        id: &str,
        state: BuildState,
        why: &str,
    ) -> Result<Outcome, HistoryError> {
        let build = self.history().build(id).await?;
        let schedule = self.schedule(&build.schedule).ok();
        for (position, trial) in (0_u32..).zip(&build.trials) {
            let at = trial.state();
            if at == TrialState::CleaningUp || trial_state::is_end(at) {
                continue;
            }
            let key = TrialKey { build_id: id.to_owned(), position };
            let lost = take_up::interrupted(at, why);
            let failure = self.decided(schedule.as_ref(), &key, trial, lost).await?;
            let ending = Ending::new(StageState::Failed, failure.reason.word());
            let decided = Some((failure.verdict(), Some(failure.to_message(at.word()))));
            self.history().advance_trial(&key, (at, TrialState::CleaningUp), decided, ending).await?;
        }
        let build = self.history().build(id).await?;
        let ended: Vec<_> = build.trials.iter().map(|trial| Ended::of_record(trial, false, None)).collect();
        let outcome = sum_up(&ended);
        // Nothing was to be published of a verification.
        if outcome.verdict != Verdict::Passed || build.verification {
            return Ok(outcome);
        }
        // All had passed: the image is good, and was not given out, or perhaps not everywhere.
        Ok(match state {
            BuildState::Publishing => interrupted(state, &while_it_was(state), why),
            _ => interrupted(state, "before the image was published", why),
        })
    }

    /// Brings a build to its end in a task of its own; its schedule does not fire before. A manager that stops leaves
    /// the rest to the next start.
    async fn clean_up_in_background(&self, id: &str, state: BuildState) -> Result<(), HistoryError> {
        let schedule = self.history().build(id).await?.schedule;
        let cleaning = Cleaning::enter(self, schedule);
        let (manager, id) = (self.clone(), id.to_owned());
        self.inner().tasks.spawn(async move {
            let _cleaning = cleaning;
            let cleaned = async {
                while let Err(error) = manager.clean_up_after(&id, state).await {
                    tracing::error!(build = id, "cannot write the history: {error}");
                    tokio::time::sleep(INSIST).await;
                }
            };
            tokio::select! {
                () = cleaned => {}
                () = manager.inner().closing.cancelled() => {}
            }
        });
        Ok(())
    }

    /// Whether an earlier manager's build of a schedule is still being cleaned up.
    pub(super) fn is_recovering(&self, schedule: &str) -> bool {
        self.recovering().contains(schedule)
    }

    fn recovering(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.inner().recovering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has its verdict, and keeps it.
    async fn clean_up_after(&self, id: &str, state: BuildState) -> Result<(), HistoryError> {
        let build = self.history().build(id).await?;
        let verdict = build.verdict();
        let (ended, detail) = self.inner().cleaner.clean_up(id, None).await;
        tracing::warn!(build = id, state = state.word(), "ended a build that was interrupted: {detail}");
        let moves = (BuildState::CleaningUp, end_of(verdict));
        let policy = self.inner().schedules.policy(&build.schedule);
        let follow_up = self.history().finish(id, moves, None, Ending::new(ended, detail), policy).await?;
        self.inner().records.announce_end(id, &build.schedule, follow_up).await;
        Ok(())
    }
}

fn while_it_was(state: BuildState) -> String {
    format!("while the build was {}", state.word())
}

/// Of a build that nobody can go on with.
fn interrupted(state: BuildState, when: &str, why: &str) -> Outcome {
    let message = format!("the manager was stopped or killed {when}, and {why}");
    Outcome::of(&Failure::new(Reason::Interrupted, message), state.word())
}
