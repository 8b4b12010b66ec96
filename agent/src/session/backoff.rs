//! Pauses between attempts.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// Pauses that double up to a limit, less up to a half by chance: servers that lost the same manager do
/// not come back all at once.
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new((first, longest): (Duration, Duration)) -> Self {
        Self { first, longest, next: first }
    }

    pub(super) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        // The standard library's seeds are random enough.
        let chance = RandomState::new().build_hasher().finish() % 512;
        pause * (1024 - u32::try_from(chance).unwrap_or_default()) / 1024
    }

    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_limit() {
        let mut backoff = Backoff::new((Duration::from_millis(250), Duration::from_secs(5)));
        for expected in [250, 500, 1000, 2000, 4000, 5000, 5000] {
            let pause = backoff.next();
            let expected = Duration::from_millis(expected);
            assert!(pause <= expected && pause >= expected / 2, "{pause:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_millis(250));
    }
}
