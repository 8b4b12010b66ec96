//! The one task that owns a build and moves it along its stages; its trials have tasks of their own in between.

mod context;
mod ending;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use image_manager_proto::v1::{BuildState, StageState, Verdict};
use tokio::sync::OwnedSemaphorePermit;

pub(super) use self::context::BuildContext;

use super::artifact::HashedFile;
use super::bounds::Bounds;
use super::clouds::Clouds;
use super::events::Bus;
use super::failure::Failure;
use super::outcome::{Ended, Outcome, sum_up, to_publish};
use super::publications::Publications;
use super::resumption::{Resumed, Start, TrialStart};
use super::room::{Reservation, Room};
use super::settings::Settings;
use super::skip::{self, Decision, Reading};
use super::stages::{build, publish};
use super::state::may_move;
use super::stop::Stop;
use super::trial::{Shared, Trial};
use super::uploads::Uploads;
use crate::cloud::incidents::Incidents;
use crate::history::{Ending, History, HistoryError, Named as _, TrialKey};
use crate::reason::Reason;
use crate::schedules::{RetryPolicy, Schedule};
use crate::stage::Stage;

/// Pause before a move towards the end is tried again.
pub(super) const INSIST: Duration = Duration::from_secs(5);

/// Owns a build from the queue, or from where an earlier manager was, to its end.
pub(super) struct Driver {
    context: Arc<BuildContext>,
    pub(super) id: String,
    pub(super) schedule: Schedule,
    pub(super) keep_disk: Option<PathBuf>,
    pub(super) bounds: Bounds,
    start: Start,
    state: BuildState,
    /// Whether it makes no image, but verifies the published one again.
    verifies: bool,
    /// Why it is made although the schedule leaves builds out that would change nothing, and what was read to know it.
    pub(super) reading: Reading,
    /// That it is under way, and its room on the disk, until it is cleaned up.
    pub(super) reservation: OnceLock<Reservation>,
    /// What went wrong and was mended; goes into the stages' details.
    pub(super) incidents: Incidents,
}

/// Where a finished stage leads, and what people should read about it.
pub(super) struct Done<T> {
    pub(super) value: T,
    pub(super) detail: String,
}

impl Driver {
    pub(super) fn new(
        context: Arc<BuildContext>,
        id: String,
        schedule: Schedule,
        stop: Stop,
        start: Start,
        keep_disk: Option<PathBuf>,
    ) -> Self {
        let (state, incidents) = (start.state(), Incidents::default());
        let bounds = Bounds::new(stop, schedule.timeouts.total);
        let verifies = start.verifies();
        Self {
            context,
            id,
            schedule,
            keep_disk,
            bounds,
            start,
            state,
            verifies,
            reading: Reading::default(),
            reservation: OnceLock::new(),
            incidents,
        }
    }

    /// Waits for a place, goes through the stages, and brings the build to its end.
    pub(super) async fn run(mut self) {
        let makes_image = matches!(self.start, Start::Queue);
        // `None`: it waits on, in the history, for the next start.
        let Some(place) = self.context.place(&self.bounds, makes_image).await else {
            if self.state != BuildState::Queued {
                self.leave().await;
            }
            return;
        };
        match place.and_then(|place| self.still_wanted().map(|()| place)) {
            Ok(place) => {
                self.bounds.begin();
                let start = std::mem::replace(&mut self.start, Start::Queue);
                // In its turn: asking takes a processor and the mirrors, and the answer is for now.
                if matches!(start, Start::Queue) {
                    match skip::decide(&self).await {
                        Ok(Decision::Build(reading)) => self.reading = reading,
                        Ok(Decision::Skip(unchanged)) => {
                            let Some(reading) = self.skip(&unchanged).await else { return };
                            self.reading = reading;
                        }
                        Err(failure) => return self.leave_queue(&failure).await,
                    }
                }
                let incidents = self.incidents.clone();
                let outcome = match incidents.watch(Box::pin(self.road(start, place))).await {
                    Ok(Some(outcome)) => outcome,
                    Ok(None) => return self.leave().await,
                    Err(failure) => Outcome::of(&failure, self.state.word()),
                };
                self.conclude(outcome).await;
            }
            Err(failure) if self.state == BuildState::Queued => self.leave_queue(&failure).await,
            Err(failure) => self.conclude(Outcome::of(&failure, self.state.word())).await,
        }
    }

    /// A schedule that was taken out of the file while its build waited is not built any more.
    fn still_wanted(&self) -> Result<(), Failure> {
        if self.state == BuildState::Queued && self.context.schedules.get(&self.schedule.name).is_err() {
            let message = "the schedule was removed from schedules.toml while its build was waiting";
            return Err(Failure::new(Reason::ScheduleRemoved, message));
        }
        Ok(())
    }

    /// The stages. Each is entered, in the history, before its work starts. `place`: where it makes its image. `Err`: a
    /// stage of the build's own went wrong. `None`: the manager stops, and the next one goes on with it.
    async fn road(
        &mut self,
        start: Start,
        place: Option<OwnedSemaphorePermit>,
    ) -> Result<Option<Outcome>, Failure> {
        let fresh = matches!(start, Start::Queue);
        let (artifact, trials) = self.begin(start, place).await?;
        let rest = self.bounds.rest();
        let Some(ended) = self.try_out(artifact, trials, fresh).await? else { return Ok(None) };
        // As for each attempt of a trial: how long trials wait, for their turn or for a retry, does not count.
        self.bounds = self.bounds.of_attempt(rest);
        let outcome = sum_up(&ended);
        if self.verifies {
            self.settle_name().await;
            return Ok(Some(outcome));
        }
        let Some(publication) = self.schedule.publish.clone() else {
            self.history()
                .skip_stage(&self.id, Stage::Publishing.word(), "the schedule publishes nothing")
                .await?;
            return Ok(Some(outcome));
        };
        let images = to_publish(publication.when, &ended);
        if images.is_empty() {
            if outcome.verdict == Verdict::Passed {
                let history = self.history();
                history
                    .skip_stage(&self.id, Stage::Publishing.word(), "no target is to be published")
                    .await?;
            }
            return Ok(Some(outcome));
        }
        if self.state != BuildState::Publishing {
            self.enter(BuildState::Publishing, String::new()).await?;
        }
        let published = publish::run(self, images, &publication).await;
        Ok(Some(outcome.after_publishing(published, self.state.word())))
    }

    /// What there is to be tried: made now, or as an earlier manager left it.
    async fn begin(
        &mut self,
        start: Start,
        place: Option<OwnedSemaphorePermit>,
    ) -> Result<(Option<HashedFile>, Vec<Resumed>), Failure> {
        if !matches!(start, Start::Queue) {
            let scratch = self.settings().scratch_directory(&self.id);
            // Nothing was reserved before.
            let _ = self.reservation.set(self.room().taken_already(scratch));
        }
        Ok(match start {
            Start::Queue => {
                self.enter(BuildState::Building, String::new()).await?;
                let artifact = build::run(self, place).await?;
                let because = self.reading.because.take().map(|why| format!("; built because {why}"));
                let detail = artifact.detail + &because.unwrap_or_default();
                self.enter(BuildState::Trying, detail).await?;
                let trials = self.schedule.targets.iter().cloned().map(Resumed::fresh).collect();
                (Some(artifact.value), trials)
            }
            Start::Verify(trials) => {
                self.enter(BuildState::Trying, String::new()).await?;
                (None, trials)
            }
            Start::Trials { artifact, trials, .. } => (artifact, trials),
        })
    }

    /// Waits for a place to make an image in. `None`: the manager stops.
    pub(super) async fn place(&self) -> Option<Result<Option<OwnedSemaphorePermit>, Failure>> {
        self.context.place(&self.bounds, true).await
    }

    /// Makes the trials, side by side, and waits for the end of each. `fresh`: the artifact was made just now. `None`: the
    /// manager stops, and the next one goes on with some of them.
    async fn try_out(
        &self,
        artifact: Option<HashedFile>,
        trials: Vec<Resumed>,
        fresh: bool,
    ) -> Result<Option<Vec<Ended>>, Failure> {
        // Before the first task: none may be left alone.
        let mut clouds = Vec::with_capacity(trials.len());
        for resumed in &trials {
            let cloud = self.context.clouds.get(&resumed.target.cloud);
            clouds.push(cloud.map_err(|error| Failure::new(Reason::CloudConfiguration, error.to_string()))?);
        }
        let images = trials.iter().map(|trial| (trial.target.cloud.clone(), trial.image.clone()));
        let shared = Arc::new(Shared {
            context: Arc::clone(&self.context.trials),
            id: self.id.clone(),
            schedule: self.schedule.clone(),
            uploads: Uploads::new(artifact, images.collect::<Vec<_>>()),
            fresh,
            keep_disk: self.keep_disk.clone(),
            only: trials.len() == 1,
            rest: self.bounds.rest(),
            retry: self.context.schedules.policy(&self.schedule.name).unwrap_or(RetryPolicy::FOREGROUND),
            resumable: self.context.schedules.serves(),
        });
        let mut tasks = Vec::with_capacity(trials.len());
        for ((position, resumed), cloud) in (0_u32..).zip(trials).zip(clouds) {
            let key = TrialKey { build_id: self.id.clone(), position };
            let start = match resumed.start {
                TrialStart::Ended(ended) => {
                    tasks.push(tokio::spawn(async move { Some(ended) }));
                    continue;
                }
                start => start,
            };
            let at = (resumed.state, resumed.attempt, resumed.image_of);
            let trial =
                Trial::new(Arc::clone(&shared), key, (resumed.target, cloud), self.bounds.clone(), at);
            tasks.push(tokio::spawn(trial.run(start)));
        }
        let mut ended = Vec::with_capacity(tasks.len());
        let (mut broken, mut left) = (None, false);
        for task in tasks {
            match task.await {
                Ok(Some(end)) => ended.push(end),
                Ok(None) => left = true,
                Err(error) => broken = Some(error),
            }
        }
        match broken {
            Some(error) => Err(Failure::new(Reason::State, format!("a trial panicked: {error}"))),
            None => Ok((!left).then_some(ended)),
        }
    }

    /// Commits the move to the next state, then tells it.
    async fn enter(&mut self, to: BuildState, detail: String) -> Result<(), Failure> {
        if !may_move(self.state, to) {
            let (from, to) = (self.state.word().to_owned(), to.word().to_owned());
            return Err(HistoryError::IllegalMove { build: self.id.clone(), from, to }.into());
        }
        let ending = Ending::new(StageState::Done, self.incidents.append_to(&detail));
        self.history().advance(&self.id, self.state, to, ending).await?;
        self.arrived(to).await;
        Ok(())
    }

    /// After the commit of a move: says so.
    async fn arrived(&mut self, to: BuildState) {
        self.state = to;
        tracing::info!(build = self.id, schedule = self.schedule.name, state = to.word());
        self.context.records.tell_build(&self.id).await;
    }

    /// Whether the manager stops, and leaves to the next one what it cannot write.
    pub(super) fn is_ending(&self) -> bool {
        self.context.shutdown.is_ending()
    }

    /// The history.
    pub(super) fn history(&self) -> &History {
        self.context.records.history()
    }

    /// What happens to builds.
    pub(super) fn events(&self) -> &Bus {
        self.context.records.events()
    }

    /// About the host.
    pub(super) fn settings(&self) -> &Settings {
        &self.context.settings
    }

    /// The clouds.
    pub(super) fn clouds(&self) -> &Clouds {
        &self.context.clouds
    }

    /// Whoever changes public names.
    pub(super) fn publications(&self) -> &Publications {
        &self.context.publications
    }

    /// The room on the host's disks.
    pub(super) fn room(&self) -> &Room {
        &self.context.room
    }

    /// SHA-256 of the certificate that the agent in the image expects.
    pub(super) fn fingerprint(&self) -> &str {
        self.context.trials.fingerprint()
    }

    /// The directory of this build's logs.
    pub(super) fn directory(&self) -> PathBuf {
        self.settings().build_directory(&self.id)
    }
}

#[cfg(test)]
mod tests;
