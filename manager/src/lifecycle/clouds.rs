//! The clouds that are configured, which a reload may add to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::trigger::TriggerError;
use crate::clock;
use crate::cloud::{Cloud, CloudError, Trouble};
use crate::schedules::Target;

/// All clouds by name; cheap to clone.
#[derive(Clone)]
pub(super) struct Clouds {
    by_name: Arc<RwLock<BTreeMap<String, Arc<dyn Cloud>>>>,
    /// How each was found that was asked since the start; `None`: it answered.
    found: Arc<Mutex<BTreeMap<String, Option<CloudSilence>>>>,
}

/// A cloud does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudSilence {
    /// When that was found first, in milliseconds since the epoch.
    pub since_ms: i64,
    /// What was tried last, and what came of it.
    pub why: String,
}

impl Clouds {
    pub(super) fn new(by_name: BTreeMap<String, Arc<dyn Cloud>>) -> Self {
        Self { by_name: Arc::new(RwLock::new(by_name)), found: Arc::default() }
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

    /// Notes whether a cloud answered a request: an error that is an answer is one. This host is no cloud that could be
    /// silent.
    pub(super) fn note<T>(&self, cloud: &dyn Cloud, answer: &Result<T, CloudError>) {
        if !cloud.kind().on_this_host {
            self.heard(cloud.name(), answer.as_ref().err());
        }
    }

    fn heard(&self, cloud: &str, error: Option<&CloudError>) {
        let silent = |trouble| matches!(trouble, Trouble::Unavailable | Trouble::Timeout);
        let error = error.filter(|error| silent(error.trouble));
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let before = found.get(cloud).and_then(Option::as_ref).map(|silence| silence.since_ms);
        match (before, error) {
            (None, Some(error)) => tracing::warn!(cloud, "the cloud does not answer: {error}"),
            (Some(_), None) => tracing::info!(cloud, "the cloud answers again"),
            _ => {}
        }
        let silence = error.map(|error| CloudSilence {
            since_ms: before.unwrap_or_else(|| clock::now().timestamp_millis()),
            why: error.message.clone(),
        });
        found.insert(cloud.to_owned(), silence);
    }

    /// Forgets how others than these were found.
    pub(super) fn forget_all_but(&self, used: &BTreeSet<String>) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).retain(|cloud, _| used.contains(cloud));
    }

    /// Asks these clouds side by side whether they answer, and notes it.
    pub(super) async fn ask(&self, names: BTreeSet<String>, patience: Duration) {
        let mut asked = JoinSet::new();
        // One that is not configured was told of when its schedule was read.
        for cloud in names.iter().filter_map(|name| self.get(name).ok()) {
            let clouds = self.clone();
            asked.spawn(async move {
                let late = |_| Err(CloudError::new(Trouble::Timeout, "it does not answer in time"));
                let answer = timeout(patience, cloud.answers()).await.unwrap_or_else(late);
                clouds.note(&*cloud, &answer);
            });
        }
        while asked.join_next().await.is_some() {}
    }

    /// How each cloud was found when it was asked last; `None`: it answered. Those that nobody asked yet are not among them.
    pub(super) fn found(&self) -> BTreeMap<String, Option<CloudSilence>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks each target's cloud whether it can take its trial, until one can. Fails when none can, with what the first
    /// of them said that only lacks room, which it may have later, or else the first: one cloud that is down never keeps
    /// another from being tried.
    pub(super) async fn preflight(
        &self,
        targets: &[Target],
        limit: Duration,
    ) -> Result<(), (String, CloudError)> {
        let mut asked = JoinSet::new();
        for (place, target) in targets.iter().enumerate() {
            let (cloud, target, clouds) = (self.get(&target.cloud), target.clone(), self.clone());
            asked.spawn(async move {
                let answer = match cloud {
                    Ok(cloud) => {
                        let late = |_| {
                            let why = "it does not say whether it can take the build";
                            Err(CloudError::new(Trouble::Timeout, why))
                        };
                        let answer =
                            timeout(limit, cloud.preflight(&target.server)).await.unwrap_or_else(late);
                        clouds.note(&*cloud, &answer);
                        answer
                    }
                    Err(error) => Err(CloudError::new(Trouble::Configuration, error.to_string())),
                };
                (place, target.cloud, answer)
            });
        }
        let mut refused = BTreeMap::new();
        while let Some(answered) = asked.join_next().await {
            match answered {
                Ok((_, _, Ok(()))) => {
                    // The others go on, so that it is noted whether their clouds answer.
                    asked.detach_all();
                    return Ok(());
                }
                Ok((place, cloud, Err(error))) => drop(refused.insert(place, (cloud, error))),
                Err(error) => {
                    let error = CloudError::new(Trouble::Unavailable, error.to_string());
                    refused.insert(targets.len(), (String::new(), error));
                }
            }
        }
        let first = refused.into_values().min_by_key(|(_, error)| error.trouble != Trouble::NoRoom);
        first.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests;
