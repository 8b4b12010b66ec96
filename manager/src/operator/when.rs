//! Times and durations for people and programs.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime};
use prost_types::Timestamp;

use crate::clock;

/// "2026-11-23 08:19:24Z", or "-".
pub(crate) fn exact(time: Option<&Timestamp>) -> String {
    time.and_then(clock::utc)
        .map_or_else(|| "-".to_owned(), |time| time.format("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// "3 h ago", or empty.
pub(crate) fn ago(time: Option<&Timestamp>) -> String {
    let Some(time) = time.and_then(clock::utc) else { return String::new() };
    format!("{} ago", about((clock::now() - time).num_seconds()))
}

/// "in 3 h", or empty.
pub(crate) fn until(time: Option<&Timestamp>) -> String {
    let Some(time) = time.and_then(clock::utc) else { return String::new() };
    format!("in {}", about((time - clock::now()).num_seconds()))
}

/// Seconds in the unit that suits them.
fn about(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match seconds {
        0..100 => format!("{seconds} s"),
        100..6000 => format!("{} min", seconds / 60),
        6000..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// "2026-11-23 08:19:24Z (3 h ago)", or "-".
pub(crate) fn both(time: Option<&Timestamp>) -> String {
    if time.is_none() { "-".to_owned() } else { format!("{} ({})", exact(time), ago(time)) }
}

/// RFC 3339 with milliseconds, or empty.
pub(crate) fn rfc3339(time: Option<&Timestamp>) -> String {
    time.and_then(clock::utc).map(clock::rfc3339).unwrap_or_default()
}

/// How long it took, up to now when it is not over: "1m 42s", or "-" when it has not begun.
pub(crate) fn between(from: Option<&Timestamp>, to: Option<&Timestamp>) -> String {
    let Some(from) = from.and_then(clock::utc) else { return "-".to_owned() };
    let to = to.and_then(clock::utc).unwrap_or_else(clock::now);
    took((to - from).to_std().unwrap_or_default())
}

/// "0.4 s", "42.0 s", "3 min 12 s", "1 h 02 min", "14 days 17 h".
pub(crate) fn took(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 100 {
        format!("{:.1} s", duration.as_secs_f64())
    } else if seconds < 3600 {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    } else if seconds < 172_800 {
        format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60)
    } else {
        format!("{} days {} h", seconds / 86_400, seconds % 86_400 / 3600)
    }
}

/// An instant in milliseconds since the epoch from an age ("7d") or a date ("2026-11-01", RFC 3339).
pub(crate) fn parse_time(text: &str, flag: &str) -> Result<i64, String> {
    if let Ok(age) = humantime::parse_duration(text) {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        return Ok(clock::now().timestamp_millis().saturating_sub(age));
    }
    if let Some(age) = text.strip_prefix('-').filter(|age| humantime::parse_duration(age).is_ok()) {
        return Err(format!("{flag} {text}: an age counts back from now by itself; write {flag} {age}"));
    }
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Ok(date.and_time(NaiveTime::MIN).and_utc().timestamp_millis());
    }
    DateTime::parse_from_rfc3339(text).map(|time| time.timestamp_millis()).map_err(|_| {
        format!("{flag} {text}: expected an age such as 7d or 12h, or a date such as 2026-11-01 (UTC)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let cases = [
            (400, "0.4 s"),
            (42_000, "42.0 s"),
            (192_000, "3 min 12 s"),
            (3_720_000, "1 h 02 min"),
            (353 * 3_600_000, "14 days 17 h"),
        ];
        for (ms, text) in cases {
            assert_eq!(took(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn ages_read_well() {
        let age = |seconds| ago(Some(&Timestamp { seconds: clock::now().timestamp() - seconds, nanos: 0 }));
        assert!(["5 s ago", "6 s ago"].contains(&age(5).as_str()));
        assert_eq!(age(7 * 60), "7 min ago");
        assert_eq!(age(3 * 3600), "3 h ago");
        assert_eq!(age(12 * 86_400), "12 d ago");
        assert_eq!(ago(None), "");
        let later = clock::now().timestamp() + 4 * 3600 + 5;
        assert_eq!(until(Some(&Timestamp { seconds: later, nanos: 0 })), "in 4 h");
        assert_eq!(until(Some(&Timestamp::default())), "in 0 s", "what is late is due");
    }

    #[test]
    fn since_takes_ages_and_dates() {
        assert_eq!(parse_time("2026-11-01", "--since").unwrap(), 1_793_491_200_000);
        let day_ago = clock::now().timestamp_millis() - 86_400_000;
        assert!((parse_time("1d", "--since").unwrap() - day_ago).abs() < 5_000);
        assert!(
            parse_time("yesterday", "--until").unwrap_err().starts_with("--until yesterday: expected an age")
        );
    }
}
