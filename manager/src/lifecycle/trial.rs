//! A trial: one artifact on one target. Owns it from its first stage to its end, attempt by attempt.

mod next_attempt;
mod surroundings;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use image_manager_proto::v1::{StageState, TrialState, Verdict};

use super::bounds::Bounds;
use super::cleaner::Cleaner;
use super::control;
use super::driver::{Done, INSIST};
use super::failure::Failure;
use super::outcome::Ended;
use super::places::Places;
use super::publications::Publications;
use super::records::Records;
use super::resumption::TrialStart;
use super::served_gateway::ServedGateway;
use super::settings::Settings;
use super::stages::boot::Booted;
use super::stages::{boot, judgement, observed, upload, verify};
use super::state::trial::{end_of, may_move};
use super::stop::Shutdown;
use super::uploads::Uploads;
use crate::checks::artifact;
use crate::cloud::incidents::Incidents;
use crate::cloud::{Cloud, Image};
use crate::history::{Decided, Ending, HistoryError, Named as _, TrialKey};
use crate::reason::Reason;
use crate::schedules::{RetryPolicy, Schedule, Target};

/// What the tasks of trials share, whatever build they are of.
pub(super) struct TrialContext {
    settings: Arc<Settings>,
    records: Records,
    publications: Publications,
    cleaner: Cleaner,
    gateway: ServedGateway,
    /// This installation's id.
    owner: String,
    /// For trials under way.
    places: Places,
    /// For targets on which an image said nothing.
    control_images: control::Maker,
    shutdown: Shutdown,
}

impl TrialContext {
    pub(super) fn new(
        (settings, records): (Arc<Settings>, Records),
        (publications, cleaner): (Publications, Cleaner),
        gateway: ServedGateway,
        owner: String,
        shutdown: Shutdown,
    ) -> Self {
        let places = Places::new(settings.concurrent_trials);
        let control_images = control::Maker::default();
        Self { settings, records, publications, cleaner, gateway, owner, places, control_images, shutdown }
    }

    /// Whoever knows what is published.
    pub(super) fn publications(&self) -> &Publications {
        &self.publications
    }

    /// SHA-256 of the gateway's certificate.
    pub(super) fn fingerprint(&self) -> &str {
        &self.gateway.fingerprint
    }
}

/// What all trials of a build share.
pub(super) struct Shared {
    pub(super) context: Arc<TrialContext>,
    /// The build's id.
    pub(super) id: String,
    pub(super) schedule: Schedule,
    pub(super) uploads: Uploads,
    /// Whether this manager has made the artifact, a moment ago.
    pub(super) fresh: bool,
    /// For the disk of the server on the one target whose cloud keeps disks.
    pub(super) keep_disk: Option<PathBuf>,
    /// Whether the build has but one trial: its files lie at the top of the build's directory.
    pub(super) only: bool,
    /// What an attempt may take.
    pub(super) rest: Duration,
    /// Whether and when a trial that errored is made again.
    pub(super) retry: RetryPolicy,
    /// Whether the next manager goes on with what this one leaves when it stops.
    pub(super) resumable: bool,
}

/// The one task that owns a trial.
pub(super) struct Trial {
    pub(super) shared: Arc<Shared>,
    pub(super) key: TrialKey,
    pub(super) target: Target,
    pub(super) cloud: Arc<dyn Cloud>,
    pub(super) bounds: Bounds,
    /// What went wrong and was mended; goes into the stages' details.
    pub(super) incidents: Incidents,
    /// Of a verification: the build that made the image.
    pub(super) image_of: Option<String>,
    state: TrialState,
    attempt: u32,
    /// Whether the image is booted for the second time in this attempt.
    again: bool,
}

impl Trial {
    pub(super) fn new(
        shared: Arc<Shared>,
        key: TrialKey,
        (target, cloud): (Target, Arc<dyn Cloud>),
        bounds: Bounds,
        (state, attempt, image_of): (TrialState, u32, Option<String>),
    ) -> Self {
        let incidents = Incidents::default();
        Self { shared, key, target, cloud, bounds, incidents, image_of, state, attempt, again: false }
    }

    /// Brings the trial to its end. One that errored is made again on the same artifact, as often as the schedule says.
    /// `None`: the manager stops while it waits or uploads, and the next one goes on with it.
    pub(super) async fn run(mut self, mut start: TrialStart) -> Option<Ended> {
        loop {
            if let TrialStart::Waiting { retry_at: Some(at) } = &start {
                self.wait_until(*at).await;
            }
            let shared = Arc::clone(&self.shared);
            // One that is told to end while it waits needs no place for that.
            let place = tokio::select! {
                biased;
                place = shared.context.places.enter(&self.target.cloud) => place,
                _ = self.bounds.stop().requested() => None,
            };
            let waits = matches!(start, TrialStart::Waiting { .. } | TrialStart::Uploading);
            if waits && self.may_be_left() {
                return None;
            }
            let (ended, cleaned) = match start {
                TrialStart::CleaningUp(ended) => (ended, self.clean().await),
                start => {
                    self.bounds = self.bounds.of_attempt(self.shared.rest);
                    let incidents = self.incidents.clone();
                    let outcome = incidents.watch(Box::pin(self.attempt_with_control(start))).await;
                    if self.is_cut_upload(&outcome) {
                        return None;
                    }
                    let ended = self.decide(outcome).await;
                    (ended, self.clean().await)
                }
            };
            drop(place);
            if let Some(pause) = self.pause_before_retry(&ended).await
                && let Some(at) = self.plan_retry(pause).await
            {
                start = TrialStart::Waiting { retry_at: Some(at) };
                continue;
            }
            self.insist(end_of(ended.verdict), None, cleaned).await;
            return Some(ended);
        }
    }

    /// Whether the manager stops, and the next one can go on with what waits. Nothing of this attempt is in the cloud; what
    /// is left of an earlier one, such as the image, is in the ledger, and the next manager's.
    fn may_be_left(&self) -> bool {
        self.shared.resumable && self.bounds.stop().is_shutdown()
    }

    /// Whether the manager's stop has cut an upload off: the next one removes what came of it, and uploads again.
    fn is_cut_upload(&self, outcome: &Result<(Image, String), Failure>) -> bool {
        let cut = outcome.as_ref().is_err_and(|failure| failure.reason == Reason::Interrupted);
        cut && self.state == TrialState::Uploading && self.may_be_left()
    }

    /// One attempt. An image that ends without a word is told from a target that does not work.
    async fn attempt_with_control(&mut self, start: TrialStart) -> Result<(Image, String), Failure> {
        // Its end is known, and another image was asked already if one was to be.
        let begun = !matches!(start, TrialStart::Broken(_));
        match Box::pin(self.attempt(start)).await {
            Err(failure) if begun => {
                // An image that is known to be bad needs nobody beside it.
                let failure = judgement::outweigh(failure, &observed::look_at_artifact(self).await);
                Box::pin(control::ask(self, failure)).await
            }
            outcome => outcome,
        }
    }

    /// The image is booted and asked once more, in the state in which its first boot has ended. Whatever that has shown is
    /// forgotten first, so that none of it is taken for the second's: a required check that is known to have failed ended the
    /// trial. What was seen in the artifact stays, for it is of the image and not of a boot.
    pub(super) async fn attempt_again(&mut self) -> Result<(Image, String), Failure> {
        let there = self.shared.uploads.enter(&self.target.cloud).await;
        let image = there.and_then(|upload| upload.image.clone());
        let unknown = || Failure::new(Reason::State, "the image is no longer known".to_owned());
        let image = image.ok_or_else(unknown)?;
        let of_boots = self.target.checks.iter().filter(|spec| spec.check.kind != artifact::CHECK.kind);
        let of_boots: Vec<String> = of_boots.map(|spec| spec.name.clone()).collect();
        self.history().begin_second_boot(&self.key, of_boots).await?;
        self.tell().await;
        self.again = true;
        let booted = boot::run(self, &image).await?;
        if self.state == TrialState::Booting {
            return self.with_server(image, booted).await;
        }
        let verified = Box::pin(verify::run(self, booted.value)).await?;
        Ok((image, verified.detail))
    }

    /// The stages, from where they are to be gone on with. Each is entered, in the history, before its work starts.
    async fn attempt(&mut self, start: TrialStart) -> Result<(Image, String), Failure> {
        if !matches!(start, TrialStart::Broken(_)) {
            self.make_directory().await?;
        }
        match start {
            TrialStart::Waiting { .. } if self.image_of.is_some() => {
                self.enter(TrialState::Booting, String::new()).await?;
                let image = self.published_image().await?;
                let booted = boot::run(self, &image).await?;
                self.with_server(image, booted).await
            }
            TrialStart::Waiting { .. } => {
                self.enter(TrialState::Uploading, String::new()).await?;
                self.judge_artifact().await?;
                let image = upload::run(self).await?;
                self.with_image(image).await
            }
            TrialStart::Uploading => {
                // Whoever was killed here may not have come to it.
                self.judge_artifact().await?;
                let image = upload::run(self).await?;
                self.with_image(image).await
            }
            TrialStart::Booting { image, server, agent, claim } => {
                let booted = boot::resume(self, server, &agent, claim.as_ref()).await?;
                self.with_server(image, booted).await
            }
            TrialStart::Broken(failure) => Err(failure),
            TrialStart::CleaningUp(_) | TrialStart::Ended(_) => {
                Err(Failure::new(Reason::State, "a trial that has its verdict was started again"))
            }
        }
    }

    /// Makes the directory of this trial's logs. Nobody else does: a build makes its own one only, a verification does not
    /// build, and not every cloud has a file of its own to put there.
    async fn make_directory(&self) -> Result<(), Failure> {
        let directory = self.directory();
        let made = tokio::fs::create_dir_all(&directory).await;
        made.map_err(|error| Failure::new(Reason::State, format!("{}: {error}", directory.display())))
    }

    /// The image as it was made is judged before any cloud has it. Other checks are heard all the same, unless the
    /// schedule says that the first failure ends the trial.
    async fn judge_artifact(&self) -> Result<(), Failure> {
        let checks = observed::look_at_artifact(self).await;
        if checks.is_empty() {
            return Ok(());
        }
        self.record_checks(checks.clone()).await?;
        let failure = judgement::known_failure(&checks).filter(|_| self.shared.schedule.fail_fast);
        failure.map_or(Ok(()), |failure| {
            Err(Failure {
                message: format!("{}; fail_fast: it was not uploaded", failure.message),
                ..failure
            })
        })
    }

    async fn with_image(&mut self, image: Done<Image>) -> Result<(Image, String), Failure> {
        self.enter(TrialState::Booting, image.detail).await?;
        let booted = boot::run(self, &image.value).await?;
        self.with_server(image.value, booted).await
    }

    async fn with_server(&mut self, image: Image, booted: Done<Booted>) -> Result<(Image, String), Failure> {
        self.enter(TrialState::Verifying, booted.detail).await?;
        let verified = Box::pin(verify::run(self, booted.value)).await?;
        Ok((image, verified.detail))
    }

    /// Records the verdict.
    async fn decide(&mut self, outcome: Result<(Image, String), Failure>) -> Ended {
        let stage = self.state.word();
        let (verdict, ended, detail, image, failure) = match outcome {
            Ok((image, detail)) => (Verdict::Passed, StageState::Done, detail, Some(image), None),
            Err(failure) => {
                let (id, target) = (&self.shared.id, &self.target.name);
                tracing::warn!(
                    build = id,
                    target,
                    reason = failure.reason.word(),
                    stage,
                    "{}",
                    failure.message
                );
                let said = failure.to_message(stage);
                (failure.verdict(), StageState::Failed, failure.message, None, Some(said))
            }
        };
        let told = self.incidents.append_to(&detail);
        self.insist(TrialState::CleaningUp, Some((verdict, failure.clone())), Ending::new(ended, told)).await;
        let Target { name, cloud, required, publish, .. } = self.target.clone();
        Ended { target: name, cloud, required, publish, image, failure, verdict, detail }
    }

    /// Takes away what this trial made; the image stays for the build.
    async fn clean(&self) -> Ending {
        let (state, left) =
            self.shared.context.cleaner.clean_up(&self.shared.id, Some(self.key.position)).await;
        Ending::new(state, left)
    }

    /// Commits the move to the next state, then tells it.
    async fn enter(&mut self, to: TrialState, detail: String) -> Result<(), Failure> {
        if !may_move(self.state, to) {
            let (from, to) = (self.state.word().to_owned(), to.word().to_owned());
            return Err(HistoryError::IllegalMove { build: self.shared.id.clone(), from, to }.into());
        }
        let ending = Ending::new(StageState::Done, self.incidents.append_to(&detail));
        self.history().advance_trial(&self.key, (self.state, to), None, ending).await?;
        self.arrived(to).await;
        Ok(())
    }

    /// Commits a move towards the end, however often that takes. A manager that is stopping gives up; then the next start
    /// takes the trial up. So does one that finds the trial elsewhere, or not at all: the end of its build ends it.
    async fn insist(&mut self, to: TrialState, decided: Option<Decided>, ending: Ending) {
        loop {
            let moves = (self.state, to);
            let moved = self.history().advance_trial(&self.key, moves, decided.clone(), ending.clone());
            let Err(error) = moved.await else { return self.arrived(to).await };
            tracing::error!(build = self.shared.id, "cannot write the history: {error}");
            if error.is_illegal_move() || self.shared.context.shutdown.is_ending() {
                return;
            }
            tokio::time::sleep(INSIST).await;
        }
    }

    async fn arrived(&mut self, to: TrialState) {
        self.state = to;
        tracing::info!(build = self.shared.id, target = self.target.name, state = to.word());
        self.shared.context.records.tell_build(&self.shared.id).await;
    }
}
