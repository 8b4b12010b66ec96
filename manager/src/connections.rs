//! The open connections of a port, of which there are so many at most, and taking new ones from the system.
//!
//! Who gives way when there are too many, and how soon a connection must have said what, is each port's own.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Pause when the system gives no connection (no file descriptors, say).
const PAUSE: Duration = Duration::from_millis(100);
/// How often the log hears that it gives none.
const TELL: Duration = Duration::from_mins(1);

/// The open connections of a port; `S` is what is known of each one.
pub(crate) struct Connections<S> {
    limit: usize,
    open: Mutex<Open<S>>,
}

struct Open<S> {
    next: u64,
    /// By number, so oldest first.
    entries: BTreeMap<u64, Entry<S>>,
}

struct Entry<S> {
    state: Arc<S>,
    end: CancellationToken,
}

/// A connection that was admitted; it counts until this is dropped.
pub(crate) struct Admitted<S> {
    connections: Arc<Connections<S>>,
    number: u64,
    state: Arc<S>,
    end: CancellationToken,
    evicted: bool,
}

impl<S> Connections<S> {
    /// None yet, and never more than `limit`.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, open: Mutex::new(Open { next: 0, entries: BTreeMap::new() }) })
    }

    /// Admits a connection. When there are too many, the one is ended that `rank` puts first, the oldest of several; one
    /// without a rank never is. `None`: all others stay, and this one is not admitted.
    pub(crate) fn admit<R: Ord>(
        self: &Arc<Self>,
        state: S,
        rank: impl Fn(&S) -> Option<R>,
    ) -> Option<Admitted<S>> {
        let mut open = self.open();
        let evicted = open.entries.len() >= self.limit;
        if evicted {
            let ranked =
                open.entries.iter().filter_map(|(number, entry)| Some((rank(&entry.state)?, *number)));
            let (_, first) = ranked.min()?;
            if let Some(entry) = open.entries.remove(&first) {
                entry.end.cancel();
            }
        }
        let number = open.next;
        open.next += 1;
        let (state, end) = (Arc::new(state), CancellationToken::new());
        open.entries.insert(number, Entry { state: Arc::clone(&state), end: end.clone() });
        Some(Admitted { connections: Arc::clone(self), number, state, end, evicted })
    }

    fn open(&self) -> MutexGuard<'_, Open<S>> {
        // Whole even after a panic elsewhere: each change is a single step.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Admitted<S> {
    /// What is known of it.
    pub(crate) fn state(&self) -> &Arc<S> {
        &self.state
    }

    /// Fired when another one takes its place.
    pub(crate) fn end(&self) -> &CancellationToken {
        &self.end
    }

    /// Whether another one was ended for it.
    pub(crate) fn has_evicted(&self) -> bool {
        self.evicted
    }
}

impl<S> Drop for Admitted<S> {
    fn drop(&mut self) {
        self.connections.open().entries.remove(&self.number);
    }
}

/// Something that the log hears once in a while, however often it happens.
#[derive(Default)]
pub(crate) struct LogThrottle(Option<Instant>);

impl LogThrottle {
    /// Whether it is time to say it.
    pub(crate) fn is_due(&mut self) -> bool {
        let due = self.0.is_none_or(|told| told.elapsed() >= TELL);
        if due {
            self.0 = Some(Instant::now());
        }
        due
    }
}

/// Takes connections from the system.
pub(crate) struct Acceptor {
    listener: TcpListener,
    /// The port's name, for the log.
    port: &'static str,
    told: LogThrottle,
}

impl Acceptor {
    pub(crate) fn new(listener: TcpListener, port: &'static str) -> Self {
        Self { listener, port, told: LogThrottle::default() }
    }

    /// The next connection. When the system gives none, the log hears of it, and it is asked again.
    pub(crate) async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) => {
                    if self.told.is_due() {
                        tracing::warn!("{} cannot take a connection: {error}", self.port);
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// The lowest first; 9 never.
    fn rank(state: &AtomicU64) -> Option<u64> {
        Some(state.load(Ordering::Relaxed)).filter(|rank| *rank < 9)
    }

    #[test]
    fn whoever_ranks_first_gives_way_and_the_oldest_of_several() {
        let connections = Connections::new(3);
        let admit = |rank_of: u64| connections.admit(AtomicU64::new(rank_of), rank).unwrap();
        let (first, second, third) = (admit(5), admit(2), admit(2));
        assert!(![&first, &second, &third].iter().any(|one| one.has_evicted() || one.end().is_cancelled()));
        let fourth = admit(7);
        assert!(fourth.has_evicted() && second.end().is_cancelled());
        // What is known of one changes while it is open.
        first.state().store(0, Ordering::Relaxed);
        let fifth = admit(7);
        assert!(first.end().is_cancelled() && !third.end().is_cancelled());
        // One that was ended and goes takes no place from others.
        drop((first, second));
        assert_eq!(connections.open().entries.len(), 3);
        drop((third, fourth, fifth));
        assert!(!admit(9).has_evicted());
    }

    #[test]
    fn none_is_admitted_when_all_others_stay() {
        let connections = Connections::new(2);
        let admit = |rank_of: u64| connections.admit(AtomicU64::new(rank_of), rank);
        let (_first, second) = (admit(9).unwrap(), admit(9).unwrap());
        assert!(admit(0).is_none());
        drop(second);
        assert!(admit(0).is_some());
    }

    #[test]
    fn a_repeated_trouble_is_told_once() {
        let mut told = LogThrottle::default();
        assert_eq!([told.is_due(), told.is_due()], [true, false]);
    }
}
