//! The one task that owns a build and moves it along the road.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use image_manager_proto::v1::{self, BuildState, StageState, Verdict, build_event};
use tokio::time::{Instant, sleep_until};

use super::failure::Failure;
use super::ledger::BuildLedger;
use super::stages::boot::Booted;
use super::stages::{boot, build, publish, upload, verify};
use super::state::{end_of, is_end, may_move};
use super::stop::Stop;
use super::take_up::Start;
use super::{Manager, files};
use crate::cloud::incidents::Incidents;
use crate::cloud::{Cloud, Image};
use crate::history::{Ending, FollowUp, HistoryError, Named as _};
use crate::reason::Reason;
use crate::schedules::Schedule;

/// How long the whole clean-up of a build may take.
const CLEAN_UP: Duration = Duration::from_mins(15);

/// Pause before a move towards the end is tried again.
pub(super) const INSIST: Duration = Duration::from_secs(5);

/// Owns a build from the queue, or from where an earlier manager was, to its end.
pub(super) struct Driver {
    pub(super) manager: Manager,
    pub(super) id: String,
    pub(super) schedule: Schedule,
    pub(super) cloud: Arc<dyn Cloud>,
    pub(super) keep_disk: Option<PathBuf>,
    stop: Stop,
    start: Start,
    state: BuildState,
    /// What went wrong and was mended; goes into the stages' details.
    pub(super) incidents: Incidents,
    /// Set when the first stage begins.
    deadline: Option<Instant>,
}

/// Where a finished stage leads, and what people should read about it.
pub(super) struct Done<T> {
    pub(super) value: T,
    pub(super) detail: String,
}

impl Driver {
    pub(super) fn new(
        manager: Manager,
        id: String,
        schedule: Schedule,
        cloud: Arc<dyn Cloud>,
        stop: Stop,
        start: Start,
        keep_disk: Option<PathBuf>,
    ) -> Self {
        let (state, incidents) = (start.state(), Incidents::default());
        Self { manager, id, schedule, cloud, keep_disk, stop, start, state, incidents, deadline: None }
    }

    /// Waits for a place, takes the road, and brings the build to its end.
    pub(super) async fn run(mut self) {
        let manager = self.manager.clone();
        let place = tokio::select! {
            biased;
            failure = self.stop.requested() => Err(failure),
            // It waits on, in the history, for the next start.
            () = manager.inner().closing.cancelled() => return,
            place = manager.inner().places.acquire() => place.map_err(|_| Failure::cancelled()),
        };
        let place = place.and_then(|place| self.still_wanted().map(|()| place));
        match place {
            Ok(_place) => {
                self.deadline = Some(Instant::now() + self.schedule.timeouts.total);
                let start = std::mem::replace(&mut self.start, Start::Queue);
                let incidents = self.incidents.clone();
                let outcome = incidents.watch(Box::pin(self.road(start))).await;
                self.conclude(outcome).await;
            }
            Err(failure) if self.state == BuildState::Queued => self.leave_queue(&failure).await,
            Err(failure) => self.conclude(Err(failure)).await,
        }
    }

    /// A schedule that was taken out of the file while its build waited is not built any more.
    fn still_wanted(&self) -> Result<(), Failure> {
        if self.state == BuildState::Queued && self.manager.schedule(&self.schedule.name).is_err() {
            let message = "the schedule was taken out of schedules.toml while its build waited";
            return Err(Failure::new(Reason::ScheduleRemoved, message));
        }
        Ok(())
    }

    /// The road. Each stage is entered, in the history, before its work starts.
    async fn road(&mut self, start: Start) -> Result<String, Failure> {
        match start {
            Start::Queue => {
                self.enter(BuildState::Building, String::new()).await?;
                let artifact = build::run(self).await?;
                self.enter(BuildState::Uploading, artifact.detail).await?;
                let image = upload::run(self, &artifact.value).await?;
                self.with_image(image).await
            }
            Start::Uploading { artifact, image } => {
                let image = upload::take_up(self, &artifact, image).await?;
                self.with_image(image).await
            }
            Start::Booting { image, server, agent, claim } => {
                let booted = boot::take_up(self, server, &agent, claim.as_ref()).await?;
                self.with_server(&image, booted).await
            }
            Start::Publishing(image) => self.publish(&image).await,
        }
    }

    async fn with_image(&mut self, image: Done<Image>) -> Result<String, Failure> {
        self.enter(BuildState::Booting, image.detail).await?;
        let booted = boot::run(self, &image.value).await?;
        self.with_server(&image.value, booted).await
    }

    async fn with_server(&mut self, image: &Image, booted: Done<Booted>) -> Result<String, Failure> {
        self.enter(BuildState::Verifying, booted.detail).await?;
        let verified = verify::run(self, booted.value).await?;
        if self.schedule.publish.is_none() {
            let history = self.manager.history();
            history.skip_stage(&self.id, "publishing", "the schedule publishes nothing").await?;
            return Ok(verified.detail);
        }
        self.enter(BuildState::Publishing, verified.detail).await?;
        self.publish(image).await
    }

    async fn publish(&self, image: &Image) -> Result<String, Failure> {
        let Some(publication) = &self.schedule.publish else {
            return Err(Failure::new(Reason::PublishFailed, "the schedule says no name to publish under"));
        };
        publish::run(self, image, publication).await
    }

    /// Commits the move to the next state, then tells it.
    async fn enter(&mut self, to: BuildState, detail: String) -> Result<(), Failure> {
        if !may_move(self.state, to) {
            let (from, to) = (self.state.word().to_owned(), to.word().to_owned());
            return Err(HistoryError::IllegalMove { build: self.id.clone(), from, to }.into());
        }
        let ending = Ending::new(StageState::Done, self.incidents.append_to(&detail));
        self.manager.history().advance(&self.id, self.state, to, ending).await?;
        self.arrived(to).await;
        Ok(())
    }

    /// After the commit of a move: says so.
    async fn arrived(&mut self, to: BuildState) {
        self.state = to;
        tracing::info!(build = self.id, schedule = self.schedule.name, state = to.word());
        self.tell_build().await;
    }

    /// Tells watchers how the build stands.
    pub(super) async fn tell_build(&self) {
        if let Ok(build) = self.manager.history().build(&self.id).await {
            self.manager.events().tell(&self.id, build_event::Kind::Build(build));
        }
    }

    /// Records the verdict, takes everything away, and ends the build.
    async fn conclude(&mut self, outcome: Result<String, Failure>) {
        let stage = self.state.word();
        let (verdict, ended, detail) = match &outcome {
            Ok(detail) => (Verdict::Passed, StageState::Done, detail.clone()),
            Err(failure) => (failure.verdict(), StageState::Failed, failure.message.clone()),
        };
        if let Err(failure) = &outcome {
            tracing::warn!(build = self.id, reason = failure.reason.word(), stage, "{}", failure.message);
        }
        let detail = self.incidents.append_to(&detail);
        let failure = outcome.err().map(|failure| failure.to_message(stage));
        self.insist(BuildState::CleaningUp, Some((verdict, failure)), ended, detail).await;
        let (ended, detail) = clean_up(&self.manager, &self.id).await;
        self.insist(end_of(verdict), None, ended, detail).await;
    }

    /// Ends a build that never began: nothing was made.
    async fn leave_queue(&mut self, failure: &Failure) {
        let message = failure.to_message(BuildState::Queued.word());
        let verdict = Some((failure.verdict(), Some(message)));
        self.insist(end_of(failure.verdict()), verdict, StageState::Skipped, String::new()).await;
    }

    /// Commits a move towards the end, however often that takes: a history that cannot be written for a while
    /// (a full disk) must not leave a build that nobody ends. Only a manager that is stopping gives up; then
    /// the next start takes the build up.
    async fn insist(
        &mut self,
        to: BuildState,
        verdict: Option<(Verdict, Option<v1::Failure>)>,
        ended: StageState,
        detail: String,
    ) {
        loop {
            let cancelled = matches!(verdict, Some((Verdict::Unspecified, _)));
            let cancelled_by = if cancelled { self.stop.cancelled_by() } else { None };
            let ending = Ending { state: ended, detail: detail.clone(), cancelled_by };
            match self.move_towards_end(to, verdict.clone(), ending).await {
                Ok(follow_up) => {
                    self.arrived(to).await;
                    if is_end(to) {
                        announce_end(&self.manager, &self.id, &self.schedule.name, follow_up).await;
                    }
                    return;
                }
                Err(error) => tracing::error!(build = self.id, "cannot write the history: {error}"),
            }
            if self.manager.is_stopping() {
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
        let history = self.manager.history();
        if is_end(to) {
            // By the file as it is now: nothing follows for a schedule that was taken out meanwhile.
            let policy = self.manager.policy(&self.schedule.name);
            return history.finish(&self.id, (self.state, to), verdict, ending, policy).await;
        }
        history.conclude(&self.id, self.state, to, verdict, ending).await?;
        Ok(FollowUp::default())
    }

    /// Runs a stage's work until it is done, or its time or the build's is over, or somebody ends the build.
    /// `late` says what it means that the stage's time is over; it is asked only then.
    pub(super) async fn bounded<T>(
        &self,
        limit: Duration,
        late: impl Future<Output = Failure>,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            failure = self.interrupted() => Err(failure),
            result = work => result,
            () = tokio::time::sleep(limit) => Err(late.await),
        }
    }

    /// Waits until the build must end for a reason outside its stage.
    pub(super) async fn interrupted(&self) -> Failure {
        let overdue = async {
            match self.deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            failure = self.stop.requested() => failure,
            () = overdue => Failure::new(
                Reason::TotalTimeout,
                format!(
                    "the build took longer than timeouts.total = {}",
                    humantime::format_duration(self.schedule.timeouts.total)
                ),
            ),
        }
    }

    /// What is left of `timeouts.total`; `None` before it counts.
    pub(super) fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Whether somebody ends the build, or the manager stops.
    pub(super) fn is_told_to_stop(&self) -> bool {
        self.stop.is_requested()
    }

    /// Fails when the build must end for a reason outside its stage, now.
    pub(super) async fn not_interrupted(&self) -> Result<(), Failure> {
        tokio::select! {
            biased;
            failure = self.interrupted() => Err(failure),
            () = std::future::ready(()) => Ok(()),
        }
    }

    /// The ledger as this build's cloud sees it.
    pub(super) fn ledger(&self) -> BuildLedger {
        BuildLedger {
            history: self.manager.history().clone(),
            build_id: self.id.clone(),
            cloud: self.schedule.cloud.clone(),
        }
    }

    /// The directory of this build's logs.
    pub(super) fn directory(&self) -> PathBuf {
        self.manager.settings().build_directory(&self.id)
    }

    /// The serial console's log.
    pub(super) fn console_log(&self) -> PathBuf {
        self.directory().join(files::CONSOLE_LOG)
    }

    /// Records and tells results of checks.
    pub(super) async fn record_checks(&self, checks: Vec<v1::Check>) -> Result<(), HistoryError> {
        self.manager.history().record_checks(&self.id, checks.clone()).await?;
        for check in checks {
            self.manager.events().tell(&self.id, build_event::Kind::Check(check));
        }
        Ok(())
    }
}

/// Takes away all that a build made; says how that went. Used at a build's end and by recovery.
pub(super) async fn clean_up(manager: &Manager, id: &str) -> (StageState, String) {
    let incidents = Incidents::default();
    let work = incidents.watch(Box::pin(manager.take_away_all(id)));
    let (state, detail) = match tokio::time::timeout(CLEAN_UP, work).await {
        Ok(left) if left.is_empty() => (StageState::Done, "everything was taken away".to_owned()),
        Ok(left) => {
            tracing::warn!(build = id, "left for the reconciler: {}", left.join("; "));
            (StageState::Failed, format!("left for the reconciler: {}", left.join("; ")))
        }
        Err(_) => (StageState::Failed, "took too long; the reconciler goes on".to_owned()),
    };
    (state, incidents.append_to(&detail))
}

/// Says that a build has ended, and what follows.
pub(super) async fn announce_end(manager: &Manager, id: &str, schedule: &str, follow_up: FollowUp) {
    if let Ok(build) = manager.history().build(id).await {
        manager.metrics().ended(&build);
    }
    if let Some(at) = follow_up.retry_at.and_then(|ms| u64::try_from(ms).ok()) {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(at);
        tracing::info!(build = id, schedule, at = %humantime::format_rfc3339_seconds(at), "is retried");
    }
    if let Some(reason) = follow_up.paused {
        tracing::warn!(schedule, "paused itself: {reason}");
    }
}
