//! The clouds that are configured, which a reload may add to.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::trigger::TriggerError;
use crate::cloud::{Cloud, CloudError, Trouble};
use crate::schedules::Target;

/// All clouds by name; cheap to clone.
#[derive(Clone)]
pub(super) struct Clouds {
    by_name: Arc<RwLock<BTreeMap<String, Arc<dyn Cloud>>>>,
}

impl Clouds {
    pub(super) fn new(by_name: BTreeMap<String, Arc<dyn Cloud>>) -> Self {
        Self { by_name: Arc::new(RwLock::new(by_name)) }
    }

    /// The cloud with this name.
    pub(super) fn get(&self, name: &str) -> Result<Arc<dyn Cloud>, TriggerError> {
        self.all().remove(name).ok_or_else(|| TriggerError::NoCloud(name.to_owned()))
    }

    /// All of them.
    pub(super) fn all(&self) -> BTreeMap<String, Arc<dyn Cloud>> {
        self.by_name.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes others besides those there are.
    pub(super) fn add(&self, others: BTreeMap<String, Arc<dyn Cloud>>) {
        self.by_name.write().unwrap_or_else(PoisonError::into_inner).extend(others);
    }

    /// Asks each target's cloud whether it can take its trial. Fails when none can: one cloud that is down never keeps
    /// another from being tried.
    pub(super) async fn preflight(
        &self,
        targets: &[Target],
        limit: Duration,
    ) -> Result<(), (String, CloudError)> {
        let mut asked = Vec::with_capacity(targets.len());
        for target in targets {
            let (cloud, server) = (self.get(&target.cloud), target.server.clone());
            asked.push(tokio::spawn(async move {
                let cloud =
                    cloud.map_err(|error| CloudError::new(Trouble::Configuration, error.to_string()))?;
                let late = |_| {
                    Err(CloudError::new(Trouble::Timeout, "it does not say whether it can take the build"))
                };
                tokio::time::timeout(limit, cloud.preflight(&server)).await.unwrap_or_else(late)
            }));
        }
        let mut first = None;
        for (target, asked) in targets.iter().zip(asked) {
            match asked
                .await
                .unwrap_or_else(|error| Err(CloudError::new(Trouble::Unavailable, error.to_string())))
            {
                Ok(()) => return Ok(()),
                Err(error) => drop(first.get_or_insert_with(|| (target.cloud.clone(), error))),
            }
        }
        first.map_or(Ok(()), Err)
    }
}
