//! Firing schedules. tokio-cron-scheduler gives the heartbeat; what is due at a beat is a pure question to
//! the planner, with what is remembered in the history: so a restart, a reload, a missed beat and a change of
//! the clock are one and the same case.

use std::time::Duration;

use chrono::{DateTime, Utc};
use image_manager_proto::v1::Trigger;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use super::Manager;
use super::manager::{TriggerError, TriggerOptions};
use crate::history::HistoryError;
use crate::schedules::planner;

/// How often it is looked what is due.
const BEAT: Duration = Duration::from_secs(5);
/// How often what builds left behind is taken away.
const RECONCILE: Duration = Duration::from_mins(5);

/// Starts the heartbeat. It beats until the returned scheduler is dropped.
pub async fn start_scheduler(manager: Manager) -> Result<JobScheduler, JobSchedulerError> {
    let scheduler = JobScheduler::new().await?;
    let beating = manager.clone();
    scheduler
        .add(Job::new_repeated_async(BEAT, move |_, _| {
            let manager = beating.clone();
            Box::pin(async move {
                if let Err(error) = manager.beat(Utc::now()).await {
                    tracing::error!("cannot see what is due: {error}");
                }
            })
        })?)
        .await?;
    scheduler
        .add(Job::new_repeated_async(RECONCILE, move |_, _| {
            let manager = manager.clone();
            Box::pin(async move {
                for left in manager.reconcile().await {
                    tracing::warn!("still there: {left}");
                }
            })
        })?)
        .await?;
    scheduler.start().await?;
    Ok(scheduler)
}

impl Manager {
    /// Makes the schedules known to the history, so that it is known since when each one counts.
    pub async fn remember_schedules(&self) -> Result<(), HistoryError> {
        let schedules = self.schedules();
        let entries = schedules.schedules.iter().map(|schedule| {
            let cron = schedule.cron.as_ref().map(|cron| cron.source.clone()).unwrap_or_default();
            (schedule.name.clone(), format!("{cron} {}", schedule.timezone))
        });
        self.history().remember_schedules(entries.collect()).await
    }

    /// Fires what has come due up to `now`.
    async fn beat(&self, now: DateTime<Utc>) -> Result<(), HistoryError> {
        let states = self.history().schedule_states().await?;
        let schedules = self.schedules();
        for schedule in &schedules.schedules {
            let Some(state) = states.get(&schedule.name) else { continue };
            let Some(since) = DateTime::from_timestamp_millis(state.since) else { continue };
            let Some(due) = planner::due(schedule, since, now) else { continue };
            let name = &schedule.name;
            if state.paused {
                self.history().schedule_passed(name, now.timestamp_millis()).await?;
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
                ..TriggerOptions::by(Trigger::Cron)
            };
            match self.trigger(name, options).await {
                Ok(build) => tracing::info!(build = build.id, schedule = name, due = %due.fire_time, "fired"),
                Err(TriggerError::History(error)) => return Err(error),
                Err(error) => {
                    tracing::warn!(schedule = name, due = %due.fire_time, "not fired: {error}");
                    self.history().schedule_passed(name, now.timestamp_millis()).await?;
                }
            }
        }
        Ok(())
    }
}
