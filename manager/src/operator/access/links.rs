//! Links that let one browser in, once. Only the hashes of their codes are kept, in memory: a restart ends them.

use std::time::{Duration, Instant};

use super::Caller;
use crate::gateway::TokenHash;

/// How long a link can be used.
const LIFE: Duration = Duration::from_mins(10);
/// Links that wait to be used; the oldest makes room.
const MOST: usize = 32;

/// A link that waits to be used.
#[derive(Debug)]
pub(super) struct Link {
    code: TokenHash,
    caller: Caller,
    end: Instant,
}

impl Link {
    pub(super) fn new(code: TokenHash, caller: Caller) -> Self {
        Self { code, caller, end: Instant::now() + LIFE }
    }

    /// Until when it can be used, in milliseconds since the epoch.
    pub(super) fn expires_at(&self) -> i64 {
        let left = self.end.saturating_duration_since(Instant::now()).as_millis();
        crate::clock::now().timestamp_millis().saturating_add(i64::try_from(left).unwrap_or_default())
    }
}

/// All of them, oldest first.
#[derive(Debug, Default)]
pub(super) struct Links(Vec<Link>);

impl Links {
    pub(super) fn add(&mut self, link: Link) {
        self.forget(Instant::now());
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push(link);
    }

    /// Takes the link with this code.
    pub(super) fn take(&mut self, code: TokenHash) -> Option<Caller> {
        self.forget(Instant::now());
        let found = self.0.iter().position(|link| link.code == code)?;
        Some(self.0.remove(found).caller)
    }

    fn forget(&mut self, now: Instant) {
        self.0.retain(|link| now < link.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Principal;

    fn link(code: &str) -> Link {
        Link::new(TokenHash::of(code), Caller::by_kernel(Principal::Manager))
    }

    #[test]
    fn few_links_wait_and_none_for_long() {
        let mut links = Links::default();
        for number in 0..100 {
            links.add(link(&number.to_string()));
        }
        assert_eq!(links.0.len(), MOST);
        assert!(links.take(TokenHash::of("0")).is_none());
        assert!(links.take(TokenHash::of("99")).is_some());
        links.forget(Instant::now() + LIFE);
        assert!(links.0.is_empty());
    }
}
