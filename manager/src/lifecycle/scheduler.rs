//! Firing schedules. tokio-cron-scheduler gives the heartbeat; what is due at a beat is a pure question to
//! the planner, with what is remembered in the history: so a restart, a reload, a missed beat and a change of
//! the clock are one and the same case.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use image_manager_proto::v1::Trigger;
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};
use tokio_util::sync::CancellationToken;

use super::current_schedules::CurrentSchedules;
use super::queue::Queue;
use super::reconciler::Reconciler;
use super::recovery::Recovering;
use super::trigger::{TriggerError, TriggerOptions};
use crate::clock;
use crate::history::{History, HistoryError, OwedRetry, Principal};
use crate::schedules::{RetryPolicy, planner};

/// How often it is looked what is due.
const BEAT: Duration = Duration::from_secs(5);
/// The same by the monotonic clock, whatever happens to the wall clock.
const SLOW_BEAT: Duration = Duration::from_secs(30);
/// A remembered instant this far ahead was written under a wrong clock.
const FUTURE: TimeDelta = TimeDelta::days(1);
/// How often what builds left behind is taken away; the first time at once.
const RECONCILE: Duration = Duration::from_mins(5);

/// Fires schedules; cheap to clone.
#[derive(Clone)]
pub(super) struct Scheduler {
    history: History,
    schedules: CurrentSchedules,
    queue: Queue,
    recovering: Recovering,
    reconciler: Reconciler,
}

impl Scheduler {
    pub(super) fn new(
        history: History,
        schedules: CurrentSchedules,
        queue: Queue,
        recovering: Recovering,
        reconciler: Reconciler,
    ) -> Self {
        Self { history, schedules, queue, recovering, reconciler }
    }

    /// Starts the heartbeat; it ends when `stop` is cancelled.
    ///
    /// tokio-cron-scheduler beats by the wall clock: set back, it stands still for as long; set forward, it makes
    /// up for every beat that it thinks it missed. So a slower beat by the monotonic clock goes beside it, and a
    /// beat that comes while another is at work, or right after one, does nothing.
    pub(super) async fn start(self, stop: CancellationToken) -> Result<(), JobSchedulerError> {
        let mut scheduler = JobScheduler::new().await?;
        let last_beat = Arc::new(Mutex::new(None::<Instant>));
        let (beating, at, ended) = (self.clone(), Arc::clone(&last_beat), stop.clone());
        scheduler
            .add(Job::new_repeated_async(BEAT, move |_, _| {
                let (beating, last_beat, stop) = (beating.clone(), Arc::clone(&at), ended.clone());
                Box::pin(async move {
                    if !stop.is_cancelled() {
                        beating.beat_once(&last_beat).await;
                    }
                })
            })?)
            .await?;
        scheduler.start().await?;
        tokio::spawn(async move {
            let mut beat = interval(clock::pause(SLOW_BEAT));
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let pause = clock::pause(RECONCILE);
            let mut reconcile = interval(pause);
            reconcile.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stop.cancelled() => break,
                    _ = beat.tick() => self.beat_once(&last_beat).await,
                    _ = reconcile.tick() => {
                        // A cloud that hangs holds up neither the beat nor the next look at the others.
                        let reconciler = self.reconciler.clone();
                        tokio::spawn(async move {
                            for left in reconciler.reconcile().await {
                                tracing::warn!("not removed yet: {left}");
                            }
                        });
                    }
                }
            }
            if let Err(error) = scheduler.shutdown().await {
                tracing::warn!("the heartbeat did not stop: {error}");
            }
        });
        Ok(())
    }

    async fn beat_once(&self, last_beat: &Mutex<Option<Instant>>) {
        let Ok(mut last) = last_beat.try_lock() else { return };
        if last.is_some_and(|last| last.elapsed() < clock::pause(BEAT) / 2) {
            return;
        }
        if let Err(error) = self.beat(clock::now()).await {
            tracing::error!("cannot find out what is due: {error}");
        }
        *last = Some(Instant::now());
    }

    /// Fires what has come due up to `now`.
    async fn beat(&self, now: DateTime<Utc>) -> Result<(), HistoryError> {
        let states = self.history.schedule_states().await?;
        let schedules = self.schedules.all();
        for schedule in &schedules.schedules {
            let Some(state) = states.get(&schedule.name) else { continue };
            let Some(since) = DateTime::from_timestamp_millis(state.since) else { continue };
            let latest = state.since.max(state.reverify_since);
            if latest > (now + FUTURE).timestamp_millis() {
                tracing::warn!(schedule = schedule.name, %since, "the clock was wrong; counting from now");
                self.history.reset_since(&schedule.name, now.timestamp_millis()).await?;
                continue;
            }
            let name = &schedule.name;
            let Some(due) = planner::due(schedule, since, now) else {
                if let Some(retry) = state.retry.as_ref().filter(|retry| is_due(retry, now)) {
                    self.retry(name, retry).await?;
                }
                continue;
            };
            if self.recovering.contains(name) {
                // Its turn comes when an earlier manager's build has ended, with one run for all that it missed.
                continue;
            }
            if state.paused {
                self.history.schedule_passed(name, now.timestamp_millis()).await?;
                continue;
            }
            if due.missed > 0 {
                tracing::warn!(
                    schedule = name,
                    "caught up once; {} earlier fire times were missed",
                    due.missed
                );
            }
            let options = TriggerOptions {
                fired_at: Some(now.timestamp_millis()),
                ..TriggerOptions::new(Trigger::Cron, Principal::Cron)
            };
            match self.queue.trigger(name, options).await {
                Ok(build) => tracing::info!(build = build.id, schedule = name, due = %due.fire_time, "fired"),
                Err(TriggerError::History(error)) => return Err(error),
                // The next start catches up.
                Err(TriggerError::Stopping) => return Ok(()),
                // Its turn comes when that has ended.
                Err(TriggerError::AlreadyRunning { build_id, .. })
                    if self.history.verification(&build_id).await?.is_some() => {}
                Err(error) => {
                    tracing::warn!(schedule = name, due = %due.fire_time, "not fired: {error}");
                    self.history.schedule_passed(name, now.timestamp_millis()).await?;
                }
            }
        }
        for schedule in &schedules.schedules {
            if let Some(state) = states.get(&schedule.name)
                && let Some(since) = DateTime::from_timestamp_millis(state.reverify_since)
                && let Some(due) = planner::reverify_due(schedule, since, now)
            {
                self.reverify(&schedule.name, state.paused, (due.fire_time, now)).await?;
            }
        }
        Ok(())
    }

    /// Verifies a published image again that has come due. One that is being verified is not asked twice.
    async fn reverify(
        &self,
        name: &str,
        paused: bool,
        (due, now): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<(), HistoryError> {
        if self.recovering.contains(name) {
            return Ok(());
        }
        let until = now.timestamp_millis();
        if paused {
            return self.history.reverify_passed(name, until).await;
        }
        let options = TriggerOptions {
            fired_at: Some(until),
            verify: true,
            ..TriggerOptions::new(Trigger::Cron, Principal::Cron)
        };
        match self.queue.trigger(name, options).await {
            Ok(build) => {
                tracing::info!(build = build.id, schedule = name, %due, "fired: verifying again");
                Ok(())
            }
            Err(TriggerError::History(error)) => Err(error),
            Err(TriggerError::Stopping) => Ok(()),
            // Its turn comes when that has ended, unless it passes and has the name then.
            Err(TriggerError::AlreadyRunning { build_id, .. })
                if self.history.verification(&build_id).await?.is_none() =>
            {
                Ok(())
            }
            Err(error) => {
                tracing::warn!(schedule = name, %due, "not verified again: {error}");
                self.history.reverify_passed(name, until).await
            }
        }
    }

    /// Queues an errored build again. A fire of the cron entry that comes first makes it needless.
    async fn retry(&self, schedule: &str, retry: &OwedRetry) -> Result<(), HistoryError> {
        let options = TriggerOptions {
            retry_of: Some(retry.build_id.clone()),
            ..TriggerOptions::new(Trigger::Retry, Principal::Retry)
        };
        match self.queue.trigger(schedule, options).await {
            Ok(build) => {
                tracing::info!(build = build.id, schedule, retry_of = retry.build_id, "retried");
                Ok(())
            }
            // Another build came first, which takes the retry away; or the next start makes it.
            Err(
                TriggerError::Stopping
                | TriggerError::AlreadyRunning { .. }
                | TriggerError::History(HistoryError::NoRetry(_)),
            ) => Ok(()),
            Err(TriggerError::History(error)) => Err(error),
            Err(error) => {
                tracing::warn!(schedule, retry_of = retry.build_id, "not retried: {error}");
                self.history.drop_retry(schedule).await
            }
        }
    }
}

/// Whether a retry is due. One further ahead than any pause was planned under a wrong clock.
fn is_due(retry: &OwedRetry, now: DateTime<Utc>) -> bool {
    let ahead = retry.due_at.saturating_sub(now.timestamp_millis());
    ahead <= 0 || u128::from(ahead.unsigned_abs()) > RetryPolicy::LONGEST_PAUSE.as_millis()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use image_manager_proto::v1;

    use super::*;
    use crate::cloud::Cloud;
    use crate::cloud::local::{LocalCloud, LocalSettings};
    use crate::gateway::{Gateway, GatewaySettings};
    use crate::history::NewBuild;
    use crate::lifecycle::{Manager, Parts, Settings};
    use crate::schedules;

    /// A manager that serves with these schedules.
    fn manager(directory: &Path, text: &str) -> Manager {
        let at = |name: &str| directory.join(name);
        let local = LocalCloud::new(LocalSettings::new(at("state"), "owner".to_owned())).unwrap();
        let clouds = BTreeMap::from([("local".to_owned(), Arc::new(local) as Arc<dyn Cloud>)]);
        let gateway = GatewaySettings::default();
        Manager::new(Parts {
            settings: Settings {
                state: at("state"),
                scratch: at("scratch"),
                dib: at("disk-image-create"),
                elements: Vec::new(),
                shipped: Vec::new(),
                agent: at("agent"),
                control_image: None,
                private: Vec::new(),
                concurrent_builds: 1,
                concurrent_trials: 1,
                gateway,
                reattach: Duration::from_secs(1),
                agent_endpoint: None,
                room: 0,
            },
            history: History::open(&at("history.db")).unwrap(),
            owner: "owner".to_owned(),
            gateway: Gateway::new(gateway),
            gateway_address: "127.0.0.1:50051".parse().unwrap(),
            fingerprint: String::new(),
            clouds,
            schedules: schedules::parse(Path::new("schedules.toml"), text).unwrap(),
            serves: true,
        })
    }

    #[tokio::test]
    async fn a_run_that_falls_due_while_the_manager_stops_is_caught_up() {
        let directory = tempfile::tempdir().unwrap();
        let text = "[schedule.web]\ncron = \"* * * * *\"\nimage.elements = [\"debian\"]\n";
        let manager = manager(directory.path(), text);
        manager.remember_schedules().await.unwrap();
        let since = || async { manager.history().schedule_states().await.unwrap()["web"].since };
        let before = since().await;
        assert!(manager.wind_down(Duration::from_secs(1)).await);
        manager.scheduler().beat(clock::now() + TimeDelta::hours(1)).await.unwrap();
        assert_eq!(since().await, before, "the next start fires it");
        assert!(manager.history().unfinished().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_verification_that_falls_due_during_a_build_waits_for_its_end() {
        let directory = tempfile::tempdir().unwrap();
        let text = "[schedule.web]\nreverify = \"* * * * *\"\nimage.elements = [\"debian\"]\npublish = { name = \"web\" }\n";
        let manager = manager(directory.path(), text);
        manager.remember_schedules().await.unwrap();
        let since = async || manager.history().schedule_states().await.unwrap()["web"].reverify_since;
        let before = since().await;
        let build = NewBuild {
            id: "01a".to_owned(),
            schedule: "web".to_owned(),
            trigger: Trigger::Cron,
            requested_by: Principal::Cron,
            stages: (vec!["building"], Vec::new()),
            trials: Vec::new(),
            fired_at: None,
            retry_of: None,
            forced: false,
            verification: None,
        };
        manager.history().create_build(build).await.unwrap();
        let image = v1::Image { name: "web".to_owned(), ..v1::Image::default() };
        manager.history().record_published("01a", "local", image, "/web").await.unwrap();
        manager.scheduler().beat(clock::now() + TimeDelta::hours(1)).await.unwrap();
        assert_eq!(since().await, before, "it is still to be made");
        assert_eq!(manager.history().unfinished().await.unwrap().len(), 1);
    }
}
