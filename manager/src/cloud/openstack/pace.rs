//! Not too fast, not too often: the space between requests, and the wait before one is repeated.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Least time between two requests to one cloud.
const APART: Duration = Duration::from_millis(50);
/// The first wait before a repetition; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait before a repetition that the cloud did not ask for.
const LONGEST: Duration = Duration::from_secs(10);
/// The longest wait that a cloud may ask for.
pub(super) const LONGEST_ASKED: Duration = Duration::from_mins(1);

/// Spaces requests out.
#[derive(Debug, Default)]
pub(super) struct Pace {
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// Waits for this request's turn.
    pub(super) async fn turn(&self) {
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let turn = next.map_or(now, |next| next.max(now));
            *next = Some(turn + APART);
            turn
        };
        sleep_until(turn).await;
    }
}

/// The wait before repetition `number` (from 0): doubling, cut off, and between half and all of it so that
/// many who failed together do not come back together. What the cloud asked for is a lower limit.
pub(super) fn back_off(number: u32, asked: Option<Duration>) -> Duration {
    let whole = FIRST.saturating_mul(1 << number.min(10)).min(LONGEST);
    let jitter = f64::from(getrandom::u32().unwrap_or(u32::MAX)) / f64::from(u32::MAX);
    let wait = whole.mul_f64(0.5 + jitter / 2.0);
    asked.map_or(wait, |asked| asked.min(LONGEST_ASKED).max(wait))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_limit() {
        for number in 0..40 {
            let wait = back_off(number, None);
            assert!(wait >= FIRST / 2 && wait <= LONGEST, "{wait:?}");
        }
        assert!(back_off(9, None) >= LONGEST / 2);
        assert!(back_off(0, Some(Duration::from_secs(7))) >= Duration::from_secs(7));
        assert_eq!(back_off(0, Some(Duration::from_secs(9999))), LONGEST_ASKED);
    }

    #[tokio::test]
    async fn requests_keep_apart() {
        let (pace, began) = (Pace::default(), Instant::now());
        for _ in 0..5 {
            pace.turn().await;
        }
        assert!(began.elapsed() >= APART * 4);
    }
}
