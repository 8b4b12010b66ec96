//! Taking triggers and queueing builds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use image_manager_proto::v1;

use super::artifact::digest_of;
use super::clouds::Clouds;
use super::current_schedules::CurrentSchedules;
use super::driver::{BuildContext, Driver};
use super::publications::Publications;
use super::resumption::Start;
use super::running::RunningBuilds;
use super::stop::Stop;
use super::trigger::{TriggerError, TriggerOptions};
use crate::history::{History, HistoryError, NewBuild, NewTrial};
use crate::schedules::{Schedule, Target};
use crate::stage::Stage;

/// How long whoever asks for a build waits for the cloud to say whether it can take it.
pub const PREFLIGHT: Duration = Duration::from_mins(1);

/// Where builds are queued; cheap to clone.
#[derive(Clone)]
pub(super) struct Queue {
    history: History,
    schedules: CurrentSchedules,
    clouds: Clouds,
    /// For the images that are verified again.
    publications: Publications,
    /// What each build is given.
    builds: Arc<BuildContext>,
    running: RunningBuilds,
}

impl Queue {
    pub(super) fn new(
        history: History,
        schedules: CurrentSchedules,
        clouds: Clouds,
        publications: Publications,
        builds: BuildContext,
        running: RunningBuilds,
    ) -> Self {
        Self { history, schedules, clouds, publications, builds: Arc::new(builds), running }
    }

    /// Queues a build of a schedule and returns it; a verification is asked for by a public name, too. One that somebody waits
    /// for is refused at once when the cloud cannot take it; one that fires by itself gets its row in the history in any case.
    pub(super) async fn trigger(
        &self,
        name: &str,
        options: TriggerOptions,
    ) -> Result<v1::Build, TriggerError> {
        let (schedule, images) = if options.verify {
            let meant = self.publications.meant(&self.schedules.all(), name).await?;
            let schedule = self.schedules.get(&meant.schedule)?;
            let images = self.publications.published_images(&schedule, &meant.name).await?;
            (schedule, images)
        } else {
            (self.schedules.get(name)?, BTreeMap::new())
        };
        let mut targets = schedule.targets.clone();
        // Where nothing is published there is nothing to verify again.
        targets.retain(|target| !options.verify || images.contains_key(&target.cloud));
        for target in &targets {
            self.clouds.get(&target.cloud)?;
        }
        if !matches!(options.trigger, v1::Trigger::Cron | v1::Trigger::Retry) {
            if let Some(build_id) = self.history.unfinished_build(&schedule.name).await? {
                return Err(TriggerError::AlreadyRunning { schedule: schedule.name, build_id });
            }
            self.clouds
                .preflight(&targets, PREFLIGHT)
                .await
                .map_err(|(cloud, error)| TriggerError::Cloud { cloud, error })?;
        }
        let build = NewBuild {
            id: uuid::Uuid::now_v7().to_string(),
            schedule: schedule.name.clone(),
            trigger: options.trigger,
            requested_by: options.by,
            stages: (words(&Stage::BEFORE_TRIALS), words(&Stage::AFTER_TRIALS)),
            trials: targets.iter().map(|target| new_trial(target, images.get(&target.cloud))).collect(),
            fired_at: options.fired_at,
            retry_of: options.retry_of,
            forced: options.force,
            verification: options.verify.then(|| digest_of(&schedule)),
        };
        // In a task of its own: the row is committed even if whoever asks goes away meanwhile, and a row
        // without a driver would block its schedule.
        let queue = self.clone();
        let created = tokio::spawn(async move { queue.create(build, schedule, options.keep_disk).await });
        created.await.map_err(|_| TriggerError::Stopping)?
    }

    async fn create(
        &self,
        new: NewBuild,
        schedule: Schedule,
        keep_disk: Option<PathBuf>,
    ) -> Result<v1::Build, TriggerError> {
        if self.running.is_closing() {
            return Err(TriggerError::Stopping);
        }
        let (id, name) = (new.id.clone(), schedule.name.clone());
        let verifies = new.verification.is_some();
        // Before the commit: from then on nothing may come between the row and its driver.
        let start = Start::of_queued(&schedule, &to_begin(&new)).ok_or_else(|| {
            TriggerError::NotPublished { schedule: name.clone(), why: "its targets have changed".to_owned() }
        })?;
        match self.history.create_build(new).await {
            Ok(()) => {}
            Err(HistoryError::Unfinished(build_id)) => {
                return Err(TriggerError::AlreadyRunning { schedule: name, build_id });
            }
            Err(error) => return Err(error.into()),
        }
        tracing::info!(build = id, schedule = name, verifies, "queued");
        // As it is in the queue; whoever asked may not get to see it, but it is made.
        let build = self.history.build(&id).await;
        self.start(id, schedule, start, keep_disk);
        Ok(build?)
    }

    /// Queues again what an earlier manager had queued. Nothing of it has begun, so it has the trials of its schedule as that
    /// is now. False: it is a verification, and a target of it is gone.
    pub(super) async fn start_again(
        &self,
        build: &v1::Build,
        schedule: Schedule,
    ) -> Result<bool, HistoryError> {
        let Some(mut start) = Start::of_queued(&schedule, build) else { return Ok(false) };
        let published = build
            .trials
            .iter()
            .filter_map(|trial| Some((trial.cloud.clone(), (trial.image.clone()?, trial.image_of.clone()))));
        let images: BTreeMap<String, (v1::Image, String)> = published.collect();
        let mut targets = schedule.targets.clone();
        targets.retain(|target| !build.verification || images.contains_key(&target.cloud));
        let trials: Vec<NewTrial> =
            targets.iter().map(|target| new_trial(target, images.get(&target.cloud))).collect();
        let verification = build.verification.then(|| digest_of(&schedule));
        let known = self.history.verification(&build.id).await?;
        if !are_same(&trials, &build.trials) || verification != known {
            let stages = (words(&Stage::BEFORE_TRIALS), words(&Stage::AFTER_TRIALS));
            self.history.requeue_build(&build.id, stages, trials, verification).await?;
            tracing::info!(build = build.id, "its schedule has since changed: it is made by it as it is now");
            let build = self.history.build(&build.id).await?;
            let Some(changed) = Start::of_queued(&schedule, &build) else { return Ok(false) };
            start = changed;
        }
        self.start(build.id.clone(), schedule, start, None);
        Ok(true)
    }

    #[cfg(test)]
    pub(super) fn builds(&self) -> &BuildContext {
        &self.builds
    }

    /// Starts the task that owns a build, from the queue or from where an earlier manager was.
    pub(super) fn start(&self, id: String, schedule: Schedule, start: Start, keep_disk: Option<PathBuf>) {
        let stop = Stop::default();
        let driver =
            Driver::new(Arc::clone(&self.builds), id.clone(), schedule, stop.clone(), start, keep_disk);
        self.running.start(id, &stop, driver.run());
    }
}

/// Of a build that is about to be queued, what says where it begins.
fn to_begin(new: &NewBuild) -> v1::Build {
    let trial = |trial: &NewTrial| {
        let (image, image_of) = trial.image.clone().unzip();
        v1::Trial {
            target: trial.target.clone(),
            cloud: trial.cloud.clone(),
            image,
            image_of: image_of.unwrap_or_default(),
            ..v1::Trial::default()
        }
    };
    v1::Build {
        id: new.id.clone(),
        verification: new.verification.is_some(),
        trials: new.trials.iter().map(trial).collect(),
        ..v1::Build::default()
    }
}

fn words(stages: &[Stage]) -> Vec<&'static str> {
    stages.iter().map(|stage| stage.word()).collect()
}

/// Whether trials are those that a build has already, with the same checks.
fn are_same(new: &[NewTrial], known: &[v1::Trial]) -> bool {
    let same = |(new, known): (&NewTrial, &v1::Trial)| {
        let asked = new.checks.iter().map(|(name, required)| (name.as_str(), *required));
        let checks = known.checks.iter().map(|check| (check.name.as_str(), check.required));
        new.target == known.target
            && new.cloud == known.cloud
            && new.required == known.required
            && asked.eq(checks)
    };
    new.len() == known.len() && new.iter().zip(known).all(same)
}

fn new_trial(target: &Target, image: Option<&(v1::Image, String)>) -> NewTrial {
    NewTrial {
        target: target.name.clone(),
        cloud: target.cloud.clone(),
        required: target.required,
        stages: words(&Stage::OF_TRIAL),
        checks: target.checks.iter().map(|check| (check.name.clone(), check.required)).collect(),
        image: image.cloned(),
    }
}
