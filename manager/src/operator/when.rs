//! Times and durations for people and programs.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime};
use image_manager_proto::counted;
use prost_types::Timestamp;

use crate::clock::{self, DAY, HOUR, MINUTE, TWO_DAYS};

/// From where on a duration is told without its hours.
const TEN_DAYS: u64 = 10 * DAY;

/// "2026-11-23 08:19:24Z", or "-".
pub(crate) fn exact(time: Option<&Timestamp>) -> String {
    time.and_then(clock::utc)
        .map_or_else(|| "-".to_owned(), |time| time.format("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// "3 h ago", or empty.
pub(crate) fn ago(time: Option<&Timestamp>) -> String {
    let Some(time) = time.and_then(clock::utc) else { return String::new() };
    format!("{} ago", clock::about((clock::now() - time).num_seconds()))
}

/// "in 3 h", or empty.
pub(crate) fn until(time: Option<&Timestamp>) -> String {
    let Some(time) = time.and_then(clock::utc) else { return String::new() };
    format!("in {}", clock::about((time - clock::now()).num_seconds()))
}

/// "2026-11-23 08:19:24Z (3 h ago)", or "-".
pub(crate) fn both(time: Option<&Timestamp>) -> String {
    if time.is_none() { "-".to_owned() } else { format!("{} ({})", exact(time), ago(time)) }
}

/// RFC 3339 with milliseconds, or empty.
pub(crate) fn rfc3339(time: Option<&Timestamp>) -> String {
    time.and_then(clock::utc).map(clock::rfc3339).unwrap_or_default()
}

/// How long it took, up to now when it is not over: "1 min 42 s", or "-" when it has not begun.
pub(crate) fn between(from: Option<&Timestamp>, to: Option<&Timestamp>) -> String {
    let Some(from) = from.and_then(clock::utc) else { return "-".to_owned() };
    let to = to.and_then(clock::utc).unwrap_or_else(clock::now);
    took((to - from).to_std().unwrap_or_default())
}

/// "0.4 s", "42 s", "3 min 12 s", "1 h 02 min", "3 days 4 h", "15 days". The pages' script counts on in the same form.
pub(crate) fn took(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..MINUTE => format!("{seconds} s"),
        MINUTE..HOUR => format!("{} min {:02} s", seconds / MINUTE, seconds % MINUTE),
        HOUR..TWO_DAYS => format!("{} h {:02} min", seconds / HOUR, seconds % HOUR / MINUTE),
        TWO_DAYS..TEN_DAYS => format!("{} {} h", counted(seconds / DAY, "day"), seconds % DAY / HOUR),
        _ => counted(seconds / DAY, "day"),
    }
}

/// An instant in milliseconds since the epoch from an age ("7d") or a date ("2026-11-01", RFC 3339).
pub(crate) fn parse_time(text: &str, flag: &str) -> Result<i64, String> {
    if let Ok(age) = humantime::parse_duration(text) {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        return Ok(clock::now().timestamp_millis().saturating_sub(age));
    }
    if let Some(age) = text.strip_prefix('-').filter(|age| humantime::parse_duration(age).is_ok()) {
        return Err(format!("{flag} {text}: an age already counts back from now; write {flag} {age}"));
    }
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Ok(date.and_time(NaiveTime::MIN).and_utc().timestamp_millis());
    }
    DateTime::parse_from_rfc3339(text).map(|time| time.timestamp_millis()).map_err(|_| {
        format!("{flag} {text}: expected an age such as 7d or 12h, or a date such as 2026-11-01 (UTC)")
    })
}

/// The same where a list is asked for of what is since then: one of what is to come would be empty.
pub(crate) fn parse_since(text: &str, flag: &str) -> Result<i64, String> {
    let since = parse_time(text, flag)?;
    if since > clock::now().timestamp_millis() {
        return Err(format!(
            "{flag} {text}: that time is still to come; expected an age such as 7d or 12h, or a date that has passed (UTC)"
        ));
    }
    Ok(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let cases = [
            (440, "0.4 s"),
            (42_900, "42 s"),
            (60_000, "1 min 00 s"),
            (192_000, "3 min 12 s"),
            (3_720_000, "1 h 02 min"),
            (47 * 3_600_000, "47 h 00 min"),
            (50 * 3_600_000, "2 days 2 h"),
            (353 * 3_600_000, "14 days"),
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
        assert_eq!(age(12 * 86_400), "12 days ago");
        assert_eq!(age(90), "1 min ago");
        assert_eq!(age(100 * 60), "1 h ago");
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
        assert!(parse_since("1d", "--since").is_ok() && parse_since("2020-01-01", "--since").is_ok());
        let future = parse_since("9999-01-01", "--since").unwrap_err();
        assert!(future.starts_with("--since 9999-01-01: that time is still to come"), "{future}");
        assert!(parse_time("9999-01-01", "--until").is_ok(), "a range may end later");
        assert!(
            parse_time("yesterday", "--until").unwrap_err().starts_with("--until yesterday: expected an age")
        );
    }
}
