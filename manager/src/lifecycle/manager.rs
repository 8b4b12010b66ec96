//! Taking triggers, queueing builds, and the means that all builds share.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use image_manager_proto::v1;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::artifact::digest_of;
use super::cleaner::{Cleaner, Reconciler};
use super::clouds::Clouds;
use super::current_schedules::CurrentSchedules;
use super::driver::Driver;
use super::events::Bus;
use super::metrics::Metrics;
use super::publications::Publications;
use super::records::Records;
use super::room::Reservations;
use super::settings::Settings;
use super::stop::{Stop, StopReason};
use super::take_up::Start;
use super::trigger::{TriggerError, TriggerOptions};
use crate::cloud::Cloud;
use crate::gateway::Gateway;
use crate::history::{History, HistoryError, NewBuild, NewTrial, Principal};
use crate::schedules::{Schedule, Schedules, Target};
use crate::stage::Stage;

/// How long whoever asks for a build waits for the cloud to say whether it can take it.
pub const PREFLIGHT: Duration = Duration::from_mins(1);

pub(super) struct Inner {
    pub(super) settings: Arc<Settings>,
    pub(super) records: Records,
    pub(super) owner: String,
    pub(super) gateway: Gateway,
    pub(super) gateway_address: SocketAddr,
    pub(super) fingerprint: String,
    pub(super) clouds: Clouds,
    pub(super) schedules: CurrentSchedules,
    publications: Publications,
    pub(super) cleaner: Cleaner,
    pub(super) reconciler: Reconciler,
    pub(super) places: Semaphore,
    /// For trials under way.
    pub(super) trial_places: Semaphore,
    pub(super) serves: bool,
    /// Takes no more builds.
    pub(super) closing: CancellationToken,
    /// Ends those under way.
    ending: CancellationToken,
    pub(super) reservations: Arc<Reservations>,
    /// Schedules whose last build is still being cleaned up for an earlier manager.
    pub(super) recovering: Mutex<BTreeSet<String>>,
    stops: Mutex<HashMap<String, Stop>>,
    pub(super) tasks: TaskTracker,
}

/// A build's entry among those under way; leaves when its task ends, even by a panic.
struct UnderWay {
    manager: Manager,
    id: String,
}

impl UnderWay {
    fn enter(manager: &Manager, id: &str, stop: &Stop) -> Self {
        let mut stops = manager.stops();
        stops.insert(id.to_owned(), stop.clone());
        // Under the lock that `shut_down` goes through: one of the two sees the other.
        if manager.is_stopping() {
            stop.because(StopReason::Shutdown);
        }
        drop(stops);
        Self { manager: manager.clone(), id: id.to_owned() }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.manager.stops().remove(&self.id);
    }
}

/// The means that a manager is put together from.
pub struct Parts {
    /// About the host.
    pub settings: Settings,
    /// The open history.
    pub history: History,
    /// This installation's id.
    pub owner: String,
    /// The agents' door.
    pub gateway: Gateway,
    /// Where it listens.
    pub gateway_address: SocketAddr,
    /// SHA-256 of its certificate, lower-case hexadecimal.
    pub fingerprint: String,
    /// The clouds by name.
    pub clouds: BTreeMap<String, Arc<dyn Cloud>>,
    /// The schedules.
    pub schedules: Schedules,
    /// Whether it serves until it is told to stop, or builds one schedule in the foreground: then it neither
    /// retries nor takes up what an earlier manager left.
    pub serves: bool,
}

/// The manager; cheap to clone.
#[derive(Clone)]
pub struct Manager {
    inner: Arc<Inner>,
}

impl Manager {
    /// Puts a manager together. It does nothing by itself before [`Manager::recover`] and a trigger.
    pub fn new(parts: Parts) -> Self {
        let places = Semaphore::new(parts.settings.concurrent_builds.max(1));
        let trial_places = Semaphore::new(parts.settings.concurrent_trials.max(1));
        let settings = Arc::new(parts.settings);
        let records = Records::new(parts.history);
        let clouds = Clouds::new(parts.clouds);
        let publications = Publications::new(records.history().clone(), clouds.clone());
        let cleaner = Cleaner::new(Arc::clone(&settings), records.history().clone(), clouds.clone());
        let reconciler = Reconciler::new(records.clone(), cleaner.clone(), publications.clone());
        Self {
            inner: Arc::new(Inner {
                settings,
                records,
                owner: parts.owner,
                gateway: parts.gateway,
                gateway_address: parts.gateway_address,
                fingerprint: parts.fingerprint,
                clouds,
                schedules: CurrentSchedules::new(parts.schedules, parts.serves),
                publications,
                cleaner,
                reconciler,
                places,
                trial_places,
                serves: parts.serves,
                closing: CancellationToken::new(),
                ending: CancellationToken::new(),
                reservations: Arc::default(),
                recovering: Mutex::default(),
                stops: Mutex::default(),
                tasks: TaskTracker::new(),
            }),
        }
    }

    /// The history.
    pub fn history(&self) -> &History {
        self.inner.records.history()
    }

    /// What happens to builds.
    pub fn events(&self) -> &Bus {
        self.inner.records.events()
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        self.inner.records.metrics()
    }

    /// How many agents are attached now.
    pub fn attached_agents(&self) -> usize {
        self.inner.gateway.attached()
    }

    /// About the host.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// Whoever changes public names.
    pub fn publications(&self) -> &Publications {
        &self.inner.publications
    }

    /// The schedules as they are now.
    pub fn schedules(&self) -> Arc<Schedules> {
        self.inner.schedules.all()
    }

    /// The schedule with this name.
    pub fn schedule(&self, name: &str) -> Result<Schedule, TriggerError> {
        self.inner.schedules.get(name)
    }

    /// Makes the schedules known to the history, so that it is known since when each one counts.
    pub async fn remember_schedules(&self) -> Result<(), HistoryError> {
        self.inner.records.remember(&self.schedules()).await
    }

    /// Takes other schedules, with the clouds that they need besides those there are. A schedule that is new or
    /// whose cron entry has changed counts from now. Builds under way keep the schedule that they began with; one
    /// that waits in the queue for a schedule that is gone is cancelled when its turn comes.
    pub async fn replace_schedules(
        &self,
        schedules: Schedules,
        added: BTreeMap<String, Arc<dyn Cloud>>,
    ) -> Result<(), HistoryError> {
        self.inner.schedules.refuse(None);
        if *self.schedules() == schedules {
            return Ok(());
        }
        self.inner.records.remember(&schedules).await?;
        self.inner.clouds.add(added);
        self.inner.schedules.replace(schedules);
        Ok(())
    }

    /// Keeps the schedules as they are; `why` the file is not used stays visible until it is right again.
    pub fn refuse_schedules(&self, why: String) {
        self.inner.schedules.refuse(Some(why));
    }

    /// Why the file as it is now is not used; `None` when it is.
    pub fn schedules_error(&self) -> Option<String> {
        self.inner.schedules.refused()
    }

    /// The cloud with this name.
    pub fn cloud(&self, name: &str) -> Result<Arc<dyn Cloud>, TriggerError> {
        self.inner.clouds.get(name)
    }

    /// All clouds.
    pub fn clouds(&self) -> BTreeMap<String, Arc<dyn Cloud>> {
        self.inner.clouds.all()
    }

    /// This installation's id.
    pub fn owner(&self) -> &str {
        &self.inner.owner
    }

    /// Queues a build of a schedule and returns it. One that somebody waits for is refused at once when the
    /// cloud cannot take it; one that fires by itself gets its row in the history in any case.
    pub async fn trigger(&self, name: &str, options: TriggerOptions) -> Result<v1::Build, TriggerError> {
        let schedule = self.schedule(name)?;
        let images = if options.verify {
            self.inner.publications.published_images(&schedule).await?
        } else {
            BTreeMap::new()
        };
        let mut targets = schedule.targets.clone();
        // Where nothing is published there is nothing to verify again.
        targets.retain(|target| !options.verify || images.contains_key(&target.cloud));
        for target in &targets {
            self.cloud(&target.cloud)?;
        }
        if !matches!(options.trigger, v1::Trigger::Cron | v1::Trigger::Retry) {
            if let Some(build_id) = self.history().unfinished_build(name).await? {
                return Err(TriggerError::AlreadyRunning { schedule: name.to_owned(), build_id });
            }
            self.inner
                .clouds
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
        let manager = self.clone();
        let created = tokio::spawn(async move { manager.create(build, schedule, options.keep_disk).await });
        created.await.map_err(|_| TriggerError::Stopping)?
    }

    async fn create(
        &self,
        new: NewBuild,
        schedule: Schedule,
        keep_disk: Option<PathBuf>,
    ) -> Result<v1::Build, TriggerError> {
        if self.inner.closing.is_cancelled() {
            return Err(TriggerError::Stopping);
        }
        let (id, name) = (new.id.clone(), schedule.name.clone());
        let verifies = new.verification.is_some();
        match self.history().create_build(new).await {
            Ok(()) => {}
            Err(HistoryError::Unfinished(build_id)) => {
                return Err(TriggerError::AlreadyRunning { schedule: name, build_id });
            }
            Err(error) => return Err(error.into()),
        }
        tracing::info!(build = id, schedule = name, verifies, "queued");
        let build = self.history().build(&id).await?;
        let start = Start::of_queued(&schedule, &build);
        let changed =
            || TriggerError::NotPublished { schedule: name, why: "its targets have changed".to_owned() };
        let start = start.ok_or_else(changed)?;
        self.start(id, schedule, start, keep_disk);
        Ok(build)
    }

    /// Starts the task that owns a build, from the queue or from where an earlier manager was. When the manager is stopping already, the build is told so at
    /// once, and ends.
    pub(super) fn start(&self, id: String, schedule: Schedule, start: Start, keep_disk: Option<PathBuf>) {
        let stop = Stop::default();
        let under_way = UnderWay::enter(self, &id, &stop);
        let manager = self.clone();
        self.inner.tasks.spawn(async move {
            Driver::new(manager, id, schedule, stop, start, keep_disk).run().await;
            drop(under_way);
        });
    }

    /// Whether a task owns this build.
    pub fn is_under_way(&self, build_id: &str) -> bool {
        self.stops().contains_key(build_id)
    }

    /// Whether the manager ends the builds that are under way.
    pub(super) fn is_stopping(&self) -> bool {
        self.inner.ending.is_cancelled()
    }

    /// Tells a build to end. False when it is not under way.
    pub fn cancel(&self, build_id: &str, by: Principal) -> bool {
        let stop = self.stops().get(build_id).cloned();
        stop.inspect(|stop| stop.because(StopReason::Cancelled(by))).is_some()
    }

    /// Takes no more builds; what waits in the queue waits on for the next start. Then gives those under way the
    /// time to come to their end by themselves. True when all have.
    pub async fn wind_down(&self, grace: Duration) -> bool {
        self.inner.closing.cancel();
        self.inner.tasks.close();
        tokio::time::timeout(grace, self.inner.tasks.wait()).await.is_ok()
    }

    /// Ends all builds and waits until they are cleaned up, at most for `grace`. True when all came to an end.
    pub async fn shut_down(&self, grace: Duration) -> bool {
        self.inner.closing.cancel();
        self.inner.ending.cancel();
        self.inner.tasks.close();
        for stop in self.stops().values() {
            stop.because(StopReason::Shutdown);
        }
        tokio::time::timeout(grace, self.inner.tasks.wait()).await.is_ok()
    }

    /// How many builds are queued or under way.
    pub fn under_way(&self) -> usize {
        self.stops().len()
    }

    fn stops(&self) -> MutexGuard<'_, HashMap<String, Stop>> {
        self.inner.stops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn words(stages: &[Stage]) -> Vec<&'static str> {
    stages.iter().map(|stage| stage.word()).collect()
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
