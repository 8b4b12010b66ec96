//! What time it is, for everything that is remembered and for what is due.
//!
//! `IMAGE_MANAGER_TEST_CLOCK=<start>x<speed>` is for tests: from the instant `<start>` (seconds since the
//! epoch) on, a second counts `<speed>` times, so that a day of schedules goes by in minutes. The start is given,
//! not taken, so that a manager that is killed and started again is in the same time. Deadlines are not touched:
//! they go by the monotonic clock.

use std::sync::OnceLock;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use image_manager_proto::counted;
use prost_types::Timestamp;

/// The variable that makes time go faster.
const VARIABLE: &str = "IMAGE_MANAGER_TEST_CLOCK";
/// Largest speed: a day in a second.
const FASTEST: u32 = 86_400;
/// What is done again and again is not done more often than this.
const SHORTEST: Duration = Duration::from_millis(250);

/// In seconds.
pub(crate) const MINUTE: u64 = 60;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;
/// From where on a duration is told in days.
pub(crate) const TWO_DAYS: u64 = 2 * DAY;

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

/// Seconds in the unit that suits them, which is that in which `operator::when::took` begins.
pub(crate) fn about(seconds: i64) -> String {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    match seconds {
        0..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => format!("{} min", seconds / MINUTE),
        HOUR..TWO_DAYS => format!("{} h", seconds / HOUR),
        _ => counted(seconds / DAY, "day"),
    }
}

/// The clock that the variable asks for; an error when the variable is wrong.
fn fast() -> &'static Result<Option<Fast>, String> {
    static TEST_CLOCK: OnceLock<Result<Option<Fast>, String>> = OnceLock::new();
    TEST_CLOCK.get_or_init(|| {
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
        tracing::warn!("{VARIABLE} is set: the time of this manager is that of a test");
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

/// When a build began, by its id; `None`: that is not one of a build. The age of an image is counted from here on, wherever it
/// is kept and whatever name it has.
pub(crate) fn began(build_id: &str) -> Option<DateTime<Utc>> {
    let (seconds, nanos) = uuid::Uuid::parse_str(build_id).ok()?.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}

/// The pause after the `times`th failure, counted from 1: `first`, doubled each time, and `longest` at most.
pub(crate) fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times.saturating_sub(1))).min(longest)
}

/// A pause between two looks at the clock, as long as it is by this clock.
pub(crate) fn pause(length: Duration) -> Duration {
    match fast() {
        Ok(Some(fast)) => length.checked_div(fast.speed).unwrap_or_default().max(SHORTEST).min(length),
        _ => length,
    }
}

/// Milliseconds since the epoch as the interface has them.
pub(crate) fn timestamp(ms: i64) -> Timestamp {
    Timestamp { seconds: ms.div_euclid(1000), nanos: nanos(ms) }
}

/// A time as the interface has it, to the millisecond.
pub(crate) fn timestamp_of(time: DateTime<Utc>) -> Timestamp {
    timestamp(time.timestamp_millis())
}

/// Milliseconds since the epoch of a time of the interface, without what is smaller.
pub(crate) fn milliseconds(time: &Timestamp) -> i64 {
    time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos) / 1_000_000)
}

/// A time of the interface; `None` when it is none, or out of chrono's range.
pub(crate) fn utc(time: &Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?)
}

/// RFC 3339 with milliseconds, in UTC.
pub(crate) fn rfc3339(time: DateTime<Utc>) -> String {
    written(time, SecondsFormat::Millis)
}

/// The same of milliseconds since the epoch; empty when they are out of chrono's range.
pub(crate) fn rfc3339_of(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).map(rfc3339).unwrap_or_default()
}

/// RFC 3339 to the second, in UTC.
pub(crate) fn rfc3339_seconds(time: DateTime<Utc>) -> String {
    written(time, SecondsFormat::Secs)
}

#[expect(clippy::disallowed_methods, reason = "everything else comes here")]
fn written(time: DateTime<Utc>, precision: SecondsFormat) -> String {
    time.to_rfc3339_opts(precision, true)
}

/// Milliseconds as a duration of the interface.
pub(crate) fn span(ms: i64) -> prost_types::Duration {
    prost_types::Duration { seconds: ms.div_euclid(1000), nanos: nanos(ms) }
}

/// Seconds of a duration of the interface; 0 for a negative one.
pub(crate) fn seconds(span: &prost_types::Duration) -> f64 {
    Duration::try_from(*span).unwrap_or_default().as_secs_f64()
}

fn nanos(ms: i64) -> i32 {
    i32::try_from(ms.rem_euclid(1000) * 1_000_000).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_interface_come_back_as_they_went() {
        for ms in [0, 1, 999, 1000, 1_793_491_200_123, -1, -1001] {
            assert_eq!(milliseconds(&timestamp(ms)), ms);
            assert_eq!(utc(&timestamp(ms)).unwrap().timestamp_millis(), ms);
            assert!((0..1_000_000_000).contains(&timestamp(ms).nanos));
        }
        let time = utc(&timestamp(1_793_491_200_123)).unwrap();
        assert_eq!(milliseconds(&timestamp_of(time)), 1_793_491_200_123);
        assert_eq!(rfc3339(time), "2026-11-01T00:00:00.123Z");
        assert_eq!(rfc3339_of(1_793_491_200_123), "2026-11-01T00:00:00.123Z");
        assert_eq!(rfc3339_seconds(time), "2026-11-01T00:00:00Z");
        assert_eq!(rfc3339_of(i64::MAX), "");
    }

    #[test]
    fn times_that_are_none_are_told() {
        assert_eq!(utc(&Timestamp { seconds: 0, nanos: -1 }), None);
        assert_eq!(utc(&Timestamp { seconds: i64::MAX, nanos: 0 }), None);
        assert_eq!(milliseconds(&Timestamp { seconds: i64::MAX, nanos: 0 }), i64::MAX);
    }

    #[test]
    fn spans_of_the_interface_are_seconds() {
        assert!((seconds(&span(1500)) - 1.5).abs() < 1e-9);
        assert!(seconds(&span(-1500)).abs() < 1e-9);
    }

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
