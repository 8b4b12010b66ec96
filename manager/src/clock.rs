//! What time it is, for everything that is remembered and for what is due.
//!
//! `IMAGE_MANAGER_TEST_CLOCK=<start>x<speed>` is a door for tests: from the instant `<start>` (seconds since the
//! epoch) on, a second counts `<speed>` times, so that a day of schedules goes by in minutes. The start is given,
//! not taken, so that a manager that is killed and started again is in the same time. Deadlines are not touched:
//! they go by the monotonic clock.

use std::sync::OnceLock;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// The variable that makes time go faster.
const VARIABLE: &str = "IMAGE_MANAGER_TEST_CLOCK";
/// Largest speed: a day in a second.
const FASTEST: u32 = 86_400;
/// What is done again and again is not done more often than this.
const SHORTEST: Duration = Duration::from_millis(250);

/// A clock that goes faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fast {
    start: DateTime<Utc>,
    speed: u32,
}

impl Fast {
    fn parse(text: &str) -> Option<Self> {
        let (start, speed) = text.split_once('x')?;
        let start = DateTime::from_timestamp(start.parse().ok()?, 0)?;
        let speed = speed.parse().ok().filter(|speed| (1..=FASTEST).contains(speed))?;
        Some(Self { start, speed })
    }

    fn at(self, real: DateTime<Utc>) -> DateTime<Utc> {
        let passed = (real - self.start).num_milliseconds().saturating_mul(i64::from(self.speed));
        TimeDelta::try_milliseconds(passed)
            .and_then(|passed| self.start.checked_add_signed(passed))
            .unwrap_or(real)
    }
}

/// The open door; an error when the variable is wrong.
fn fast() -> &'static Result<Option<Fast>, String> {
    static DOOR: OnceLock<Result<Option<Fast>, String>> = OnceLock::new();
    DOOR.get_or_init(|| {
        let Some(text) = std::env::var_os(VARIABLE) else { return Ok(None) };
        let read = text.to_str().and_then(Fast::parse);
        read.map(Some).ok_or_else(|| {
            format!("{VARIABLE}={} wants <seconds since the epoch>x<speed, 1 to {FASTEST}>", text.display())
        })
    })
}

/// That the test clock, if there is one, can be read.
pub(crate) fn check() -> Result<(), String> {
    if fast().clone()?.is_some() {
        tracing::warn!("a door for tests is open: {VARIABLE} is set");
    }
    Ok(())
}

/// Now.
pub(crate) fn now() -> DateTime<Utc> {
    match fast() {
        Ok(Some(fast)) => fast.at(Utc::now()),
        _ => Utc::now(),
    }
}

/// A pause between two looks at the clock, as long as it is by this clock.
pub(crate) fn pause(length: Duration) -> Duration {
    match fast() {
        Ok(Some(fast)) => length.checked_div(fast.speed).unwrap_or_default().max(SHORTEST).min(length),
        _ => length,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_goes_on_from_its_start() {
        let fast = Fast::parse("1000x720").unwrap();
        let at = |seconds: i64| fast.at(DateTime::from_timestamp(seconds, 0).unwrap()).timestamp();
        assert_eq!((at(1000), at(1001), at(1120)), (1000, 1720, 1000 + 86_400));
        for wrong in ["", "1000", "x720", "1000x0", "1000x86401", "soonx2"] {
            assert_eq!(Fast::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn without_the_variable_time_is_as_it_is() {
        assert!((now() - Utc::now()).num_seconds().abs() < 5);
        assert_eq!(pause(Duration::from_secs(5)), Duration::from_secs(5));
    }
}
