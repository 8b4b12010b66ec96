//! Says who was refused, without letting whoever floods the door flood the log: of each kind one line at once,
//! and then one a minute that counts the rest.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So long further refusals of a kind are only counted.
const WINDOW: Duration = Duration::from_mins(1);

/// Why somebody was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refused {
    /// There were too many connections, and this one had shown no token.
    Crowd,
    /// It did not speak TLS, or not in time.
    Tls,
    /// It brought no token.
    NoToken,
    /// No running build has handed out its token.
    UnknownToken,
    /// Its token is bound to another agent.
    SecondAgent,
    /// What it said first was no Hello, or did not come in time.
    NoHello,
    /// It did not prove its key, or not in time.
    NoProof,
}

impl Refused {
    fn words(self) -> &'static str {
        match self {
            Self::Crowd => "ended a connection: too many are open, and it had shown no token",
            Self::Tls => "ended a connection: no TLS",
            Self::NoToken => "refused an agent: it brought no bearer token",
            Self::UnknownToken => "refused an agent: no running build has handed out its token",
            Self::SecondAgent => {
                "refused an agent: its token is bound to another agent, or its proof is wrong"
            }
            Self::NoHello => "refused an agent: it did not say Hello",
            Self::NoProof => "refused an agent: it did not prove its key",
        }
    }
}

/// What has been said of a kind.
#[derive(Debug, Clone, Copy)]
struct Said {
    at: Instant,
    unsaid: u64,
}

/// All refusals; shared by everything at the door.
#[derive(Debug, Default)]
pub(super) struct RefusalLog {
    said: Mutex<BTreeMap<Refused, Said>>,
}

impl RefusalLog {
    /// Notes one, and says so when nothing was said of its kind for a while.
    pub(super) fn note(&self, kind: Refused, peer: Option<SocketAddr>, detail: &str) {
        if self.count(kind, Instant::now()) {
            let peer = peer.map(tracing::field::display);
            tracing::warn!(peer, "{}{}{detail}", kind.words(), if detail.is_empty() { "" } else { ": " });
        }
    }

    /// True: to be said now.
    fn count(&self, kind: Refused, now: Instant) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = said.get_mut(&kind) {
            before.unsaid = before.unsaid.saturating_add(1);
            return false;
        }
        said.insert(kind, Said { at: now, unsaid: 0 });
        true
    }

    /// Says what was only counted, of the kinds whose window has ended, or of all of them.
    pub(super) fn sum_up(&self, all: bool) {
        for (kind, unsaid) in self.due(Instant::now(), all) {
            tracing::warn!(times = unsaid, "again: {}", kind.words());
        }
    }

    fn due(&self, now: Instant, all: bool) -> Vec<(Refused, u64)> {
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

/// How often it is looked whether there is something to sum up.
pub(super) const SUM_UP: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

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
