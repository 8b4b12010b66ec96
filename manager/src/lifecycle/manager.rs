//! The manager as others see it. What it does is done by its parts, each with what it uses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use image_manager_proto::v1;
use tokio_cron_scheduler::JobSchedulerError;
use tokio_util::sync::CancellationToken;

use super::cleaner::Cleaner;
use super::cloud_watch;
use super::clouds::{CloudSilence, Clouds};
use super::current_schedules::CurrentSchedules;
use super::driver::BuildContext;
use super::events::Bus;
use super::metrics::Metrics;
use super::publications::Publications;
use super::queue::Queue;
use super::reconciler::Reconciler;
use super::records::Records;
use super::recovery::{Recovering, Recovery};
use super::resumption::Resumption;
use super::running::RunningBuilds;
use super::scheduler::Scheduler;
use super::served_gateway::ServedGateway;
use super::settings::Settings;
use super::stop::Shutdown;
use super::trial::TrialContext;
use super::trigger::{TriggerError, TriggerOptions};
use crate::cloud::Cloud;
use crate::gateway::Gateway;
use crate::history::{History, HistoryError, Principal};
use crate::schedules::{Schedule, Schedules};

/// How long the removal of what others left may hold up a build in the foreground.
const CLEANING: Duration = Duration::from_mins(1);

/// The means that a manager is put together from.
pub struct Parts {
    /// About the host.
    pub settings: Settings,
    /// The open history.
    pub history: History,
    /// This installation's id.
    pub owner: String,
    /// The gateway that agents dial.
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
    /// retries nor resumes what an earlier manager left.
    pub serves: bool,
}

struct Inner {
    settings: Arc<Settings>,
    owner: String,
    gateway: Gateway,
    records: Records,
    schedules: CurrentSchedules,
    clouds: Clouds,
    publications: Publications,
    queue: Queue,
    running: RunningBuilds,
    recovery: Recovery,
    scheduler: Scheduler,
}

/// The manager; cheap to clone.
#[derive(Clone)]
pub struct Manager {
    inner: Arc<Inner>,
}

impl Manager {
    /// Puts a manager together. It does nothing by itself before [`Manager::recover`] and a trigger.
    pub fn new(parts: Parts) -> Self {
        let Parts { settings, history, owner, gateway, gateway_address, fingerprint, clouds, .. } = parts;
        let (settings, records) = (Arc::new(settings), Records::new(history.clone()));
        let (clouds, schedules) = (Clouds::new(clouds), CurrentSchedules::new(parts.schedules, parts.serves));
        let cleaner = Cleaner::new(settings.state.clone(), history.clone(), clouds.clone());
        let publications = Publications::new(history.clone(), clouds.clone(), cleaner.clone());
        let reconciler = Reconciler::new(records.clone(), cleaner.clone(), publications.clone());
        let resumption = Resumption::new(history.clone(), clouds.clone(), fingerprint.clone());
        let shutdown = Shutdown::default();
        let running = RunningBuilds::new(shutdown.clone());
        let trials = TrialContext::new(
            (Arc::clone(&settings), records.clone()),
            (publications.clone(), cleaner.clone()),
            ServedGateway { gateway: gateway.clone(), address: gateway_address, fingerprint },
            owner.clone(),
            shutdown.clone(),
        );
        let builds = BuildContext::new(
            (Arc::clone(&settings), records.clone()),
            schedules.clone(),
            clouds.clone(),
            publications.clone(),
            cleaner.clone(),
            shutdown,
            trials,
        );
        let queue = Queue::new(
            history.clone(),
            schedules.clone(),
            clouds.clone(),
            publications.clone(),
            builds,
            running.clone(),
        );
        let recovering = Recovering::default();
        let recovery = Recovery::new(
            (records.clone(), schedules.clone()),
            (cleaner, reconciler.clone()),
            resumption,
            (queue.clone(), running.clone()),
            recovering.clone(),
        );
        let scheduler = Scheduler::new(history, schedules.clone(), queue.clone(), recovering, reconciler);
        let inner = Inner {
            settings,
            owner,
            gateway,
            records,
            schedules,
            clouds,
            publications,
            queue,
            running,
            recovery,
            scheduler,
        };
        Self { inner: Arc::new(inner) }
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

    /// Refuses a filter by a schedule that is neither in the file nor was ever built. Empty: no filter.
    pub async fn expect_schedule(&self, name: &str) -> Result<(), HistoryError> {
        if name.is_empty() || self.schedule(name).is_ok() {
            return Ok(());
        }
        self.history().expect_schedule(name).await
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
        self.inner.clouds.forget_all_but(&cloud_watch::used(&schedules));
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

    /// All clouds.
    pub fn clouds(&self) -> BTreeMap<String, Arc<dyn Cloud>> {
        self.inner.clouds.all()
    }

    /// How each cloud of a schedule was found when it was asked last; `None`: it answered. Nothing is asked for this.
    pub fn found_clouds(&self) -> BTreeMap<String, Option<CloudSilence>> {
        let used = cloud_watch::used(&self.schedules());
        let mut found = self.inner.clouds.found();
        // What an older schedule left in another cloud is removed, and told of as what is left there.
        found.retain(|cloud, _| used.contains(cloud));
        found
    }

    /// The clouds that did not answer when they were asked last.
    pub fn silent_clouds(&self) -> BTreeMap<String, CloudSilence> {
        self.found_clouds().into_iter().filter_map(|(name, silence)| Some((name, silence?))).collect()
    }

    /// This installation's id.
    pub fn owner(&self) -> &str {
        &self.inner.owner
    }

    /// Sees to what an earlier manager left, for one that serves; must run before the first trigger. Returns how many
    /// unfinished builds it found.
    pub async fn recover(&self) -> Result<usize, HistoryError> {
        self.inner.recovery.recover().await
    }

    /// The same before a build of this schedule in the foreground. `tell` gets lines for people.
    pub async fn recover_for(
        &self,
        schedule: &str,
        tell: &(dyn Fn(&str) + Sync),
    ) -> Result<(), HistoryError> {
        self.inner.recovery.recover_for(schedule, CLEANING, tell).await
    }

    /// Ends the builds of a schedule that only waited, so that a new one can begin.
    pub async fn end_waiting(&self, schedule: &str) -> Result<(), HistoryError> {
        self.inner.recovery.end_waiting(schedule).await
    }

    /// Fires schedules, and reconciles, until `stop` is cancelled.
    pub async fn start_scheduler(&self, stop: CancellationToken) -> Result<(), JobSchedulerError> {
        self.inner.scheduler.clone().start(stop).await
    }

    /// Asks the clouds of the schedules now and then whether they answer, until `stop` is cancelled.
    pub fn start_watching_clouds(&self, stop: CancellationToken) {
        cloud_watch::start(self.inner.clouds.clone(), self.inner.schedules.clone(), stop);
    }

    /// Looks for older images whose time has come, until `stop` is cancelled.
    pub fn start_pruning(&self, stop: CancellationToken) {
        self.inner.publications.clone().start_pruning(self.inner.schedules.clone(), stop);
    }

    #[cfg(test)]
    pub(super) fn recovery(&self) -> &Recovery {
        &self.inner.recovery
    }

    #[cfg(test)]
    pub(super) fn scheduler(&self) -> &Scheduler {
        &self.inner.scheduler
    }

    #[cfg(test)]
    pub(super) fn queue(&self) -> &Queue {
        &self.inner.queue
    }

    /// Queues a build of a schedule and returns it. One that somebody waits for is refused at once when the
    /// cloud cannot take it; one that fires by itself gets its row in the history in any case.
    pub async fn trigger(&self, name: &str, options: TriggerOptions) -> Result<v1::Build, TriggerError> {
        self.inner.queue.trigger(name, options).await
    }

    /// Tells a build to end. False when it is not under way.
    pub fn cancel(&self, build_id: &str, by: Principal) -> bool {
        self.inner.running.cancel(build_id, by)
    }

    /// Whether a task owns this build.
    pub fn is_under_way(&self, build_id: &str) -> bool {
        self.inner.running.contains(build_id)
    }

    /// How many builds are queued or under way.
    pub fn under_way(&self) -> usize {
        self.inner.running.count()
    }

    /// Takes no more builds; what waits in the queue waits on for the next start. Then gives those under way the
    /// time to come to their end by themselves. True when all have.
    pub async fn wind_down(&self, grace: Duration) -> bool {
        self.inner.running.wind_down(grace).await
    }

    /// Ends all builds and waits until they are cleaned up, at most for `grace`. One of which the next manager can go on
    /// with a trial that waits, or is to be made again, is left to that. True when nothing of all is under way any more.
    pub async fn shut_down(&self, grace: Duration) -> bool {
        self.inner.running.shut_down(grace).await
    }
}
