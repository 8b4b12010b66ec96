//! The schedules as they are now. A reload of their file puts others in their place.

use std::sync::{Arc, PoisonError, RwLock};

use super::trigger::TriggerError;
use crate::schedules::{RetryPolicy, Schedule, Schedules};

/// The schedules that builds are made of; cheap to clone.
#[derive(Clone)]
pub(super) struct CurrentSchedules {
    schedules: Arc<RwLock<Arc<Schedules>>>,
    /// Why the file as it is now is not used.
    refused: Arc<RwLock<Option<String>>>,
    /// Whether the manager serves, or builds one schedule in the foreground.
    serves: bool,
}

impl CurrentSchedules {
    pub(super) fn new(schedules: Schedules, serves: bool) -> Self {
        Self { schedules: Arc::new(RwLock::new(Arc::new(schedules))), refused: Arc::default(), serves }
    }

    /// Whether the manager serves, or builds one schedule in the foreground.
    pub(super) fn serves(&self) -> bool {
        self.serves
    }

    /// All of them.
    pub(super) fn all(&self) -> Arc<Schedules> {
        Arc::clone(&self.schedules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The schedule with this name.
    pub(super) fn get(&self, name: &str) -> Result<Schedule, TriggerError> {
        let schedules = self.all();
        schedules.get(name).cloned().ok_or_else(|| {
            let mut why = schedules.no_schedule(name);
            if self.refused().is_some() {
                why += " (the file has changed and is not in use: `image-manager status` says why)";
            }
            TriggerError::NoSchedule(why)
        })
    }

    /// What follows the end of a schedule's build; nothing where it is in the file no more. In the foreground nothing
    /// but the second build of one whose failure is unexplained.
    pub(super) fn policy(&self, name: &str) -> Option<RetryPolicy> {
        let own = self.own_policy(name)?;
        Some(if self.serves { own } else { RetryPolicy::FOREGROUND })
    }

    /// The same of a build that an earlier manager began: as the schedule has it, whoever ends the build.
    pub(super) fn own_policy(&self, name: &str) -> Option<RetryPolicy> {
        self.get(name).ok().map(|schedule| schedule.retry)
    }

    /// From now on these count, in place of the others; tells which have changed.
    pub(super) fn replace(&self, schedules: Schedules) {
        let before = self.all();
        let names = |of: &Schedules, not_in: &Schedules| {
            let names = of.schedules.iter().map(|schedule| schedule.name.as_str());
            names.filter(|name| not_in.get(name).is_none()).collect::<Vec<_>>().join(", ")
        };
        let changed = schedules
            .schedules
            .iter()
            .filter(|schedule| before.get(&schedule.name).is_some_and(|earlier| earlier != *schedule));
        let changed: Vec<&str> = changed.map(|schedule| schedule.name.as_str()).collect();
        tracing::info!(
            schedules = schedules.schedules.len(),
            added = names(&schedules, &before),
            removed = names(&before, &schedules),
            changed = changed.join(", "),
            "the schedules were reloaded"
        );
        *self.schedules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(schedules);
    }

    /// Why the file as it is now is not used; `None` when it is.
    pub(super) fn refused(&self) -> Option<String> {
        self.refused.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says whether the file as it is now is used.
    pub(super) fn refuse(&self, why: Option<String>) {
        *self.refused.write().unwrap_or_else(PoisonError::into_inner) = why;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_that_is_missing_may_be_in_a_file_that_is_not_in_use() {
        let schedules = CurrentSchedules::new(Schedules::none("schedules.toml".as_ref()), true);
        let said = || schedules.get("new").unwrap_err().to_string();
        assert_eq!(said(), "no schedule \"new\": there are none");
        schedules.refuse(Some("it has mistakes".to_owned()));
        assert!(said().contains("the file has changed and is not in use"), "{}", said());
    }
}
