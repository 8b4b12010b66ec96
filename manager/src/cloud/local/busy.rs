//! Work on files that outlives whoever asked for it.
//!
//! A thread that works on files cannot be broken off: when the future that waits for it is dropped, it goes on,
//! or even begins only then. A removal that came first would find nothing, and the thread would make anew what
//! was just removed. So each name has a lock that the thread holds, and a removal waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as Lock, OwnedMutexGuard};

/// The names whose files are worked on.
#[derive(Debug, Default)]
pub(super) struct Busy {
    locks: Mutex<HashMap<String, Arc<Lock<()>>>>,
}

impl Busy {
    /// To be moved into the thread's work, and dropped at its end.
    pub(super) async fn hold(&self, name: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(locks.entry(name.to_owned()).or_default())
        };
        lock.lock_owned().await
    }

    /// Waits until nothing works on the files of this name, and forgets it.
    pub(super) async fn settle(&self, name: &str) {
        let held = self.hold(name).await;
        self.locks.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        drop(held);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_removal_waits_for_work_that_nobody_waits_for_any_more() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("late");
        let busy = Arc::new(Busy::default());
        let (go, waits) = channel::<()>();
        let held = busy.hold("a").await;
        let made = file.clone();
        let work = tokio::task::spawn_blocking(move || {
            waits.recv().unwrap();
            std::fs::write(made, "").unwrap();
            drop(held);
        });
        // As when a build is cancelled while its server is being made.
        drop(work);
        let removal = tokio::spawn({
            let busy = Arc::clone(&busy);
            let file = file.clone();
            async move {
                busy.settle("a").await;
                std::fs::remove_file(file)
            }
        });
        busy.settle("another").await;
        assert!(tokio::time::timeout(Duration::from_millis(50), busy.hold("a")).await.is_err());
        go.send(()).unwrap();
        removal.await.unwrap().unwrap();
        assert!(!file.exists());
    }
}
