//! Other schedules for a manager that runs.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use super::Manager;
use crate::cloud::Cloud;
use crate::history::HistoryError;
use crate::schedules::Schedules;

impl Manager {
    /// Takes other schedules, with the clouds that they need besides those there are. A schedule that is new or
    /// whose cron entry has changed counts from now. Builds under way keep the schedule that they began with; one
    /// that waits in the queue for a schedule that is gone is cancelled when its turn comes.
    pub async fn replace_schedules(
        &self,
        schedules: Schedules,
        added: BTreeMap<String, Arc<dyn Cloud>>,
    ) -> Result<(), HistoryError> {
        self.tell_refusal(None);
        let before = self.schedules();
        if *before == schedules {
            return Ok(());
        }
        self.remember(&schedules).await?;
        let inner = self.inner();
        inner.clouds.write().unwrap_or_else(PoisonError::into_inner).extend(added);
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
            "the schedules were read anew"
        );
        *inner.schedules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(schedules);
        Ok(())
    }

    /// Keeps the schedules as they are; `why` the file is not used stays visible until it is right again.
    pub fn refuse_schedules(&self, why: String) {
        self.tell_refusal(Some(why));
    }

    /// Why the file as it is now is not used; `None` when it is.
    pub fn schedules_error(&self) -> Option<String> {
        self.inner().schedules_error.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tell_refusal(&self, why: Option<String>) {
        *self.inner().schedules_error.write().unwrap_or_else(PoisonError::into_inner) = why;
    }
}
