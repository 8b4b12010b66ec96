//! Says who was refused, without letting whoever floods a port flood the log: of each kind one line at once,
//! and then one a minute that counts the rest.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So long further refusals of a kind are only counted.
const WINDOW: Duration = Duration::from_mins(1);

/// How often it is looked whether there is something to sum up.
pub(crate) const SUM_UP: Duration = Duration::from_secs(15);

/// Why somebody was refused: one of a few kinds.
pub(crate) trait Refusal: Copy + Ord {
    /// What the log says of it.
    fn words(self) -> &'static str;
}

/// What has been said of a kind.
#[derive(Debug, Clone, Copy)]
struct Said {
    at: Instant,
    unsaid: u64,
}

/// All refusals; shared by everything that listens on a port.
#[derive(Debug)]
pub(crate) struct RefusalLog<K> {
    said: Mutex<BTreeMap<K, Said>>,
}

impl<K> Default for RefusalLog<K> {
    fn default() -> Self {
        Self { said: Mutex::new(BTreeMap::new()) }
    }
}

impl<K: Refusal> RefusalLog<K> {
    /// Notes one, and says so when nothing was said of its kind for a while.
    pub(crate) fn note(&self, kind: K, peer: Option<SocketAddr>, detail: &str) {
        if self.count(kind, Instant::now()) {
            let peer = peer.map(tracing::field::display);
            tracing::warn!(peer, "{}{}{detail}", kind.words(), if detail.is_empty() { "" } else { ": " });
        }
    }

    /// True: to be said now.
    fn count(&self, kind: K, now: Instant) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = said.get_mut(&kind) {
            before.unsaid = before.unsaid.saturating_add(1);
            return false;
        }
        said.insert(kind, Said { at: now, unsaid: 0 });
        true
    }

    /// Says what was only counted, of the kinds whose window has ended, or of all of them.
    pub(crate) fn sum_up(&self, all: bool) {
        for (kind, unsaid) in self.due(Instant::now(), all) {
            tracing::warn!(times = unsaid, "again: {}", kind.words());
        }
    }

    fn due(&self, now: Instant, all: bool) -> Vec<(K, u64)> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        said.retain(|kind, before| {
            if !all && now.saturating_duration_since(before.at) < WINDOW {
                return true;
            }
            if before.unsaid == 0 {
                return false;
            }
            due.push((*kind, before.unsaid));
            *before = Said { at: now, unsaid: 0 };
            !all
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Refused {
        Tls,
        NoToken,
    }

    impl Refusal for Refused {
        fn words(self) -> &'static str {
            "refused"
        }
    }

    #[test]
    fn a_kind_is_said_once_a_window_and_nothing_is_lost() {
        let refusals = RefusalLog::default();
        let start = Instant::now();
        assert!(refusals.count(Refused::Tls, start));
        assert!((0..500).all(|_| !refusals.count(Refused::Tls, start)));
        assert!(refusals.count(Refused::NoToken, start), "another kind is said by itself");
        assert_eq!(refusals.due(start + WINDOW / 2, false), []);
        assert_eq!(refusals.due(start + WINDOW, false), [(Refused::Tls, 500)]);
        assert!(!refusals.count(Refused::Tls, start + WINDOW), "the sum was said just now");
        assert!(refusals.count(Refused::NoToken, start + WINDOW), "that one was over");
        assert_eq!(refusals.due(start + WINDOW, true), [(Refused::Tls, 1)]);
        assert!(refusals.count(Refused::Tls, start + WINDOW));
    }
}
