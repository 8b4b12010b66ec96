//! The builds that have a task, and the end of all tasks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::task::TaskTracker;

use super::stop::{Shutdown, Stop, StopReason};
use crate::history::Principal;

/// The builds that are queued or under way, each with the means to end it; cheap to clone.
#[derive(Clone)]
pub(super) struct RunningBuilds {
    stops: Arc<Mutex<HashMap<String, Stop>>>,
    tasks: TaskTracker,
    shutdown: Shutdown,
}

/// A build's entry among those under way; leaves when its task ends, even by a panic.
struct Entry {
    running: RunningBuilds,
    id: String,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.running.stops().remove(&self.id);
    }
}

impl RunningBuilds {
    pub(super) fn new(shutdown: Shutdown) -> Self {
        Self { stops: Arc::default(), tasks: TaskTracker::new(), shutdown }
    }

    /// Runs the task that owns a build; `stop` ends it. When the manager is stopping already it is told so at once.
    pub(super) fn start(&self, id: String, stop: &Stop, task: impl Future<Output = ()> + Send + 'static) {
        let entry = self.enter(id, stop);
        self.tasks.spawn(async move {
            task.await;
            drop(entry);
        });
    }

    fn enter(&self, id: String, stop: &Stop) -> Entry {
        let mut stops = self.stops();
        stops.insert(id.clone(), stop.clone());
        // Under the lock that `shut_down` goes through: one of the two sees the other.
        if self.shutdown.is_ending() {
            stop.because(StopReason::Shutdown);
        }
        drop(stops);
        Entry { running: self.clone(), id }
    }

    /// Runs a task that takes away what an earlier manager's build left. It ends, unfinished, when the manager stops.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = shutdown.closing() => {}
            }
        });
    }

    /// Whether a task owns this build.
    pub(super) fn contains(&self, id: &str) -> bool {
        self.stops().contains_key(id)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.stops().len()
    }

    /// Whether no build is begun any more.
    pub(super) fn is_closing(&self) -> bool {
        self.shutdown.is_closing()
    }

    /// Tells a build to end. False when it is not under way.
    pub(super) fn cancel(&self, id: &str, by: Principal) -> bool {
        let stop = self.stops().get(id).cloned();
        stop.inspect(|stop| stop.because(StopReason::Cancelled(by))).is_some()
    }

    /// Begins no more builds, and gives those under way the time to come to their end by themselves. True when all have.
    pub(super) async fn wind_down(&self, grace: Duration) -> bool {
        self.shutdown.close();
        self.all_ended(grace).await
    }

    /// Ends all builds and waits until they are cleaned up, at most for `grace`. One of which the next manager can go on
    /// with a trial that waits, or is to be made again, is left to that. True when nothing of all is under way any more.
    pub(super) async fn shut_down(&self, grace: Duration) -> bool {
        self.shutdown.end();
        for stop in self.stops().values() {
            stop.because(StopReason::Shutdown);
        }
        self.all_ended(grace).await
    }

    async fn all_ended(&self, grace: Duration) -> bool {
        self.tasks.close();
        tokio::time::timeout(grace, self.tasks.wait()).await.is_ok()
    }

    fn stops(&self) -> MutexGuard<'_, HashMap<String, Stop>> {
        self.stops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
