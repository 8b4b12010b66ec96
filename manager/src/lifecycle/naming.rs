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
        let lock = {
            let mut clouds = self.clouds.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(clouds.entry(cloud.to_owned()).or_default())
        };
        lock.lock_owned().await
    }
}
