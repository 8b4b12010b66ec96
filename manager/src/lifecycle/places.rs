//! How many trials, or copies of images, are under way at once in each cloud.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for what takes long. Each cloud has as many of its own: one that hangs keeps what it has for as long as its
/// deadlines let it, and must not keep what another cloud is to do waiting.
#[derive(Debug)]
pub(super) struct Places {
    of_each: usize,
    /// By the names of the clouds, as the first comes to each.
    by_cloud: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

impl Places {
    /// So many in each cloud, and one at least.
    pub(super) fn new(of_each: usize) -> Self {
        Self { of_each: of_each.max(1), by_cloud: Mutex::default() }
    }

    /// Waits for a place in a cloud, which is free again when what is returned is dropped. Whoever waits longest is next.
    pub(super) async fn enter(&self, cloud: &str) -> Option<OwnedSemaphorePermit> {
        // Nobody closes one: there is always a place in the end.
        self.of(cloud).acquire_owned().await.ok()
    }

    /// The same if a place is free now.
    pub(super) fn try_enter(&self, cloud: &str) -> Option<OwnedSemaphorePermit> {
        self.of(cloud).try_acquire_owned().ok()
    }

    fn of(&self, cloud: &str) -> Arc<Semaphore> {
        let mut by_cloud = self.by_cloud.lock().unwrap_or_else(PoisonError::into_inner);
        let places =
            by_cloud.entry(cloud.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(self.of_each)));
        Arc::clone(places)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_cloud_that_has_taken_all_of_its_places_takes_none_of_another() {
        let places = Places::new(2);
        let hanging = [places.enter("far").await, places.enter("far").await];
        assert!(hanging.iter().all(Option::is_some));
        let soon = Duration::from_millis(100);
        assert!(tokio::time::timeout(soon, places.enter("far")).await.is_err(), "there are two");
        let other = tokio::time::timeout(soon, places.enter("local")).await.unwrap();
        assert!(other.is_some());
        assert!(places.try_enter("local").is_some() && places.try_enter("far").is_none());
        drop(hanging);
        assert!(tokio::time::timeout(soon, places.enter("far")).await.is_ok(), "free again");
        assert!(tokio::time::timeout(soon, Places::new(0).enter("far")).await.is_ok());
    }
}
