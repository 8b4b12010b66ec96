//! Who changes the names of a cloud: one at a time, so that the history says what the cloud was last told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// A lock for each cloud's public names.
#[derive(Debug, Default)]
pub(super) struct Naming {
    clouds: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Naming {
    /// Waits until nobody else changes the names of this cloud. There are as many locks as clouds.
    pub(super) async fn alone(&self, cloud: &str) -> OwnedMutexGuard<()> {
        self.lock(cloud).lock_owned().await
    }

    /// The same if nobody else does now.
    pub(super) fn try_alone(&self, cloud: &str) -> Option<OwnedMutexGuard<()>> {
        self.lock(cloud).try_lock_owned().ok()
    }

    fn lock(&self, cloud: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut clouds = self.clouds.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(clouds.entry(cloud.to_owned()).or_default())
    }
}
