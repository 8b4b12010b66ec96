//! Taking up what an earlier manager left when it was killed.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use image_manager_proto::v1::{self, BuildState, StageState, TrialState, Verdict};

use super::cleaner::Cleaner;
use super::control;
use super::current_schedules::CurrentSchedules;
use super::driver::INSIST;
use super::failure::Failure;
use super::outcome::{Ended, Outcome, sum_up};
use super::queue::Queue;
use super::reconciler::Reconciler;
use super::records::Records;
use super::resumption::{self, Resumption};
use super::running::RunningBuilds;
use super::state::{end_of, is_end, trial as trial_state};
use crate::history::{Ending, HistoryError, Named as _, PublicationFilter, TrialKey};
use crate::reason::Reason;

/// What whoever builds in the foreground is told.
const REMOVING: &str = "removing what an earlier manager left";
const NOT_ALL: &str = "not everything could be removed within 1 minute; the next manager removes the rest";

/// Schedules whose last build is still being cleaned up for an earlier manager; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Recovering {
    schedules: Arc<Mutex<BTreeSet<String>>>,
}

impl Recovering {
    /// Whether an earlier manager's build of a schedule is still being cleaned up.
    pub(super) fn contains(&self, schedule: &str) -> bool {
        self.schedules().contains(schedule)
    }

    fn enter(&self, schedule: String) -> Cleaning {
        self.schedules().insert(schedule.clone());
        Cleaning { recovering: self.clone(), schedule }
    }

    fn schedules(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.schedules.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A schedule's entry among them.
struct Cleaning {
    recovering: Recovering,
    schedule: String,
}

impl Drop for Cleaning {
    fn drop(&mut self) {
        self.recovering.schedules().remove(&self.schedule);
    }
}

/// Sees to what an earlier manager left; cheap to clone.
#[derive(Clone)]
pub(super) struct Recovery {
    records: Records,
    schedules: CurrentSchedules,
    cleaner: Cleaner,
    reconciler: Reconciler,
    resumption: Resumption,
    queue: Queue,
    running: RunningBuilds,
    recovering: Recovering,
}

impl Recovery {
    pub(super) fn new(
        (records, schedules): (Records, CurrentSchedules),
        (cleaner, reconciler): (Cleaner, Reconciler),
        resumption: Resumption,
        (queue, running): (Queue, RunningBuilds),
        recovering: Recovering,
    ) -> Self {
        Self { records, schedules, cleaner, reconciler, resumption, queue, running, recovering }
    }

    /// Sees to every unfinished build, for a manager that serves: goes on with what can be gone on with, and queues
    /// again what had only waited. All others are brought to their end in the background: a cloud that does not
    /// answer must hold up no other's builds. Must run before the first trigger. Returns how many builds it found.
    pub(super) async fn recover(&self) -> Result<usize, HistoryError> {
        let (found, interrupted) = self.take_up().await?;
        for (id, state) in interrupted {
            self.clean_up_in_background(&id, state).await?;
        }
        Ok(found)
    }

    /// The same before a build of this schedule in the foreground. What waits in the queue waits on for the next manager
    /// that serves. The schedule's own build is brought to its end; all else is removed for so long at most, and what is
    /// left then is in the ledger for the next manager. `tell` gets lines for people.
    pub(super) async fn recover_for(
        &self,
        schedule: &str,
        limit: Duration,
        tell: &(dyn Fn(&str) + Sync),
    ) -> Result<(), HistoryError> {
        let (_, interrupted) = self.take_up().await?;
        let history = self.records.history();
        if !interrupted.is_empty() || !history.leftover_resources().await?.is_empty() {
            tell(REMOVING);
        }
        let mut others = Vec::new();
        for (id, state) in interrupted {
            if history.build(&id).await?.schedule == schedule {
                self.clean_up_after(&id, state).await?;
            } else {
                others.push((id, state));
            }
        }
        let all_else = Box::pin(self.remove_all_else(others));
        tokio::time::timeout(limit, all_else).await.unwrap_or_else(|_| {
            tell(NOT_ALL);
            Ok(())
        })
    }

    async fn remove_all_else(&self, interrupted: Vec<(String, BuildState)>) -> Result<(), HistoryError> {
        for (id, state) in interrupted {
            self.clean_up_after(&id, state).await?;
        }
        for left in self.reconciler.reconcile().await {
            tracing::warn!("not removed yet: {left}");
        }
        Ok(())
    }

    /// Goes on with unfinished builds, or decides about them. Returns how many there are, and those whose clean-up is to
    /// bring them to their end.
    async fn take_up(&self) -> Result<(usize, Vec<(String, BuildState)>), HistoryError> {
        let unfinished = self.records.history().unfinished().await?;
        let found = unfinished.len();
        let mut interrupted = Vec::new();
        for (id, state) in unfinished {
            if state == BuildState::Queued {
                if self.schedules.serves() {
                    self.queue_again(&id).await?;
                }
            } else if state == BuildState::CleaningUp {
                interrupted.push((id, state));
            } else if let Err(why) = self.resume_build(&id, state).await? {
                self.interrupt(&id, state, &why).await?;
                interrupted.push((id, state));
            }
        }
        Ok((found, interrupted))
    }

    /// Ends the builds of a schedule that only waited, so that a new one can begin.
    pub(super) async fn end_waiting(&self, schedule: &str) -> Result<(), HistoryError> {
        if let Some(id) = self.records.history().unfinished_build(schedule).await?
            && !self.running.contains(&id)
        {
            let why = "the manager that queued it is gone, and a new build was requested";
            self.end_unstarted(&id, why).await?;
        }
        Ok(())
    }

    async fn queue_again(&self, id: &str) -> Result<(), HistoryError> {
        let build = self.records.history().build(id).await?;
        match self.schedules.get(&build.schedule) {
            Ok(schedule) => {
                if !self.queue.start_again(&build, schedule).await? {
                    return self.end_unstarted(id, "its schedule has since changed").await;
                }
                tracing::info!(build = id, "queued again");
                Ok(())
            }
            Err(error) => self.end_unstarted(id, &error.to_string()).await,
        }
    }

    /// Goes on with a build that an earlier manager was at. Otherwise says why that cannot be.
    async fn resume_build(&self, id: &str, state: BuildState) -> Result<Result<(), String>, HistoryError> {
        if !self.schedules.serves() {
            return Ok(Err("a build in the foreground resumes no other".to_owned()));
        }
        let build = self.records.history().build(id).await?;
        let schedule = match self.schedules.get(&build.schedule) {
            Ok(schedule) => schedule,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let start = match self.resumption.resume_build(&schedule, state, &build).await? {
            Ok(start) => start,
            Err(why) => return Ok(Err(why)),
        };
        tracing::info!(build = id, state = start.state().word(), "resumed");
        self.queue.start(id.to_owned(), schedule, start, None);
        Ok(Ok(()))
    }

    /// Nothing was made for it yet.
    async fn end_unstarted(&self, id: &str, why: &str) -> Result<(), HistoryError> {
        let failure = Failure::new(Reason::Interrupted, why);
        let ending = Ending::new(StageState::Skipped, "");
        let verdict = Some((failure.verdict(), Some(failure.to_message("queued"))));
        let moves = (BuildState::Queued, BuildState::Errored);
        let history = self.records.history();
        let schedule = history.build(id).await?.schedule;
        let policy = self.schedules.own_policy(&schedule);
        let follow_up = history.finish(id, moves, verdict, ending, policy).await?;
        self.records.announce_end(id, &schedule, follow_up).await;
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
        self.records.history().conclude(id, state, BuildState::CleaningUp, decided, ending).await
    }

    /// Each trial that is under way gets its verdict; their build's clean-up takes away what they made, and ends them. The
    /// build's verdict is that of its trials; of one whose trials passed it is not known what was published.
    async fn interrupt_trials(
        &self,
        id: &str,
        state: BuildState,
        why: &str,
    ) -> Result<Outcome, HistoryError> {
        let build = self.records.history().build(id).await?;
        let schedule = self.schedules.get(&build.schedule).ok();
        for (position, trial) in (0_u32..).zip(&build.trials) {
            let at = trial.state();
            if at == TrialState::CleaningUp || trial_state::is_end(at) {
                continue;
            }
            let key = TrialKey { build_id: id.to_owned(), position };
            let lost = match self.records.history().control(&key, trial.attempt).await? {
                Some(asked) => control::conclusion::of_record(&asked),
                None => resumption::interrupted(at, why),
            };
            let failure = self.resumption.decided(schedule.as_ref(), &key, trial, lost).await?;
            let ending = Ending::new(StageState::Failed, failure.reason.word());
            let decided = Some((failure.verdict(), Some(failure.to_message(at.word()))));
            self.records.history().advance_trial(&key, (at, TrialState::CleaningUp), decided, ending).await?;
        }
        let build = self.records.history().build(id).await?;
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
        let schedule = self.records.history().build(id).await?.schedule;
        let cleaning = self.recovering.enter(schedule);
        let (recovery, id) = (self.clone(), id.to_owned());
        self.running.spawn(async move {
            let _cleaning = cleaning;
            while let Err(error) = recovery.clean_up_after(&id, state).await {
                tracing::error!(build = id, "cannot write the history: {error}");
                if error.is_illegal_move() {
                    return;
                }
                tokio::time::sleep(INSIST).await;
            }
        });
        Ok(())
    }

    /// It has its verdict, and keeps it.
    async fn clean_up_after(&self, id: &str, state: BuildState) -> Result<(), HistoryError> {
        let build = self.records.history().build(id).await?;
        let verdict = build.verdict();
        self.book_what_was_given(&build).await?;
        let (ended, detail) = self.cleaner.clean_up(id, None).await;
        tracing::warn!(build = id, state = state.word(), "ended an interrupted build: {detail}");
        let moves = (BuildState::CleaningUp, end_of(verdict));
        let policy = self.schedules.own_policy(&build.schedule);
        let follow_up =
            self.records.history().finish(id, moves, None, Ending::new(ended, detail), policy).await?;
        self.records.announce_end(id, &build.schedule, follow_up).await;
        Ok(())
    }

    /// Its manager may have been killed after a cloud had given an image its name, and before the history said so. The name
    /// is that of its schedule, or one that the schedule's images have where it was changed since.
    async fn book_what_was_given(&self, build: &v1::Build) -> Result<(), HistoryError> {
        if build.verification {
            return Ok(());
        }
        let publish = self.schedules.get(&build.schedule).ok().and_then(|schedule| schedule.publish);
        let mut names: BTreeSet<String> = publish.map(|publish| publish.name).into_iter().collect();
        let current = self.records.history().current_publications(PublicationFilter::MOST).await?;
        names.extend(current.into_iter().filter(|row| row.schedule == build.schedule).map(|row| row.name));
        let publications = self.reconciler.publications();
        for trial in build.trials.iter().filter(|trial| trial.verdict() == Verdict::Passed) {
            let Some(image) = &trial.image else { continue };
            let _alone = publications.alone(&trial.cloud).await;
            for name in &names {
                let image = v1::Image { name: name.clone(), ..image.clone() };
                publications.book_if_given(&build.id, &trial.cloud, image).await;
            }
        }
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
