//! The clouds that are configured, which a reload may add to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

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
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let before = found.get(cloud).and_then(Option::as_ref).map(|silence| silence.since_ms);
        let silence = error.filter(|error| silent(error.trouble)).map(|error| CloudSilence {
            since_ms: before.unwrap_or_else(|| clock::now().timestamp_millis()),
            why: error.message.clone(),
        });
        found.insert(cloud.to_owned(), silence);
    }

    /// How each cloud was found when it was asked last; `None`: it answered. Those that nobody asked yet are not among them.
    pub(super) fn found(&self) -> BTreeMap<String, Option<CloudSilence>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
            let clouds = self.clone();
            asked.push(tokio::spawn(async move {
                let cloud =
                    cloud.map_err(|error| CloudError::new(Trouble::Configuration, error.to_string()))?;
                let late = |_| {
                    Err(CloudError::new(Trouble::Timeout, "it does not say whether it can take the build"))
                };
                let answer = tokio::time::timeout(limit, cloud.preflight(&server)).await.unwrap_or_else(late);
                clouds.note(&*cloud, &answer);
                answer
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cloud_is_silent_from_the_first_request_without_an_answer_until_the_next_with_one() {
        let clouds = Clouds::new(BTreeMap::new());
        assert!(clouds.found().is_empty(), "nobody was asked");
        clouds.heard("lab", Some(&CloudError::new(Trouble::Timeout, "late")));
        let first = clouds.found()["lab"].clone().unwrap();
        clouds.heard("lab", Some(&CloudError::new(Trouble::Unavailable, "HTTP 503")));
        let second = clouds.found()["lab"].clone().unwrap();
        assert_eq!((second.since_ms, &*second.why), (first.since_ms, "HTTP 503"));
        clouds.heard("lab", Some(&CloudError::new(Trouble::NoRoom, "quota")));
        assert_eq!(clouds.found()["lab"], None, "what it refuses it has answered");
        clouds.heard("lab", None);
        assert_eq!(clouds.found()["lab"], None);
    }
}
