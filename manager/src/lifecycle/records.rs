//! Where it is recorded what becomes of builds: in the history, to those who watch, and in the counts.

use std::sync::Arc;

use chrono::DateTime;
use image_manager_proto::v1::build_event;

use super::events::Bus;
use super::metrics::Metrics;
use crate::clock;
use crate::history::{Entries, FollowUp, History, HistoryError};
use crate::schedules::Schedules;

/// The history, the events and the counts; cheap to clone.
#[derive(Clone)]
pub(super) struct Records {
    history: History,
    events: Bus,
    metrics: Arc<Metrics>,
}

impl Records {
    pub(super) fn new(history: History) -> Self {
        Self { history, events: Bus::default(), metrics: Arc::default() }
    }

    /// The history.
    pub(super) fn history(&self) -> &History {
        &self.history
    }

    /// What happens to builds.
    pub(super) fn events(&self) -> &Bus {
        &self.events
    }

    /// What is counted.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Tells watchers how a build stands.
    pub(super) async fn tell_build(&self, id: &str) {
        if let Ok(build) = self.history.build(id).await {
            self.events.tell(id, build_event::Kind::Build(build));
        }
    }

    /// Says that a build has ended, and what follows.
    pub(super) async fn announce_end(&self, id: &str, schedule: &str, follow_up: FollowUp) {
        if let Ok(build) = self.history.build(id).await {
            self.metrics.ended(&build);
        }
        if let Some(at) = follow_up.retry_at.and_then(DateTime::from_timestamp_millis) {
            tracing::info!(build = id, schedule, at = clock::rfc3339_seconds(at), "is retried");
        }
        if let Some(reason) = follow_up.paused {
            tracing::warn!(schedule, "paused itself: {reason}");
        }
    }

    /// Makes schedules known to the history, so that it is known since when each one counts.
    pub(super) async fn remember(&self, schedules: &Schedules) -> Result<(), HistoryError> {
        let entries = schedules.schedules.iter().map(|schedule| {
            let cron = schedule.cron.as_ref().map(|cron| cron.source.clone()).unwrap_or_default();
            let reverify = schedule.reverify.as_ref();
            Entries {
                schedule: schedule.name.clone(),
                cron: format!("{cron} {}", schedule.timezone),
                reverify: reverify
                    .map(|cron| format!("{} {}", cron.source, schedule.timezone))
                    .unwrap_or_default(),
            }
        });
        self.history.remember_schedules(entries.collect()).await?;
        let names = schedules.schedules.iter().map(|schedule| schedule.name.clone()).collect();
        self.metrics.restore(self.history.last_successes(names).await?);
        Ok(())
    }
}
