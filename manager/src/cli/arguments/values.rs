//! Values of flags that are more than a word or a number.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// How long logs are kept: a time, or forever.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeepLogs(pub(crate) Option<Duration>);

/// How much room logs may take: a size, or any.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogsRoom(pub(crate) Option<u64>);

pub(super) fn keep_logs(text: &str) -> Result<KeepLogs, String> {
    if text == "forever" {
        return Ok(KeepLogs(None));
    }
    let time = humantime::parse_duration(text);
    time.map(|time| KeepLogs(Some(time))).map_err(|_| "expected a time such as 90d, or forever".to_owned())
}

pub(super) fn logs_room(text: &str) -> Result<LogsRoom, String> {
    if text == "any" {
        return Ok(LogsRoom(None));
    }
    crate::schedules::size(text).map(|bytes| LogsRoom(Some(bytes)))
}

/// A time that the end may take: up to a day, or none.
pub(super) fn grace(text: &str) -> Result<Duration, String> {
    if text.trim() == "0" {
        return Ok(Duration::ZERO);
    }
    match humantime::parse_duration(text) {
        Ok(time) if time <= Duration::from_hours(24) => Ok(time),
        Ok(_) => Err("expected at most 24h".to_owned()),
        Err(_) => Err("expected a time such as 90s or 2h, or 0".to_owned()),
    }
}

/// How long something is good for.
pub(super) fn lifetime(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "expected a time such as 90d or 12h".to_owned())
}

/// A number within a range. clap's own says of a word only that it has an "invalid digit".
pub(super) fn number<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text: &str| {
        let number = text.parse::<T>().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("expected a number from {} to {}", range.start(), range.end()))
    }
}

/// An address to listen on or to dial.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected IP:PORT, such as 127.0.0.1:8080 or [::1]:8080".to_owned())
}

/// A time within which a person still waits: 1 second to 1 hour.
pub(super) fn patience(text: &str) -> Result<Duration, String> {
    let range = Duration::from_secs(1)..=Duration::from_hours(1);
    match humantime::parse_duration(text) {
        Ok(time) if range.contains(&time) => Ok(time),
        Ok(_) => Err("expected 1s to 1h".to_owned()),
        Err(_) => Err("expected a time such as 30s or 2m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_time_is_answered_with_what_is_one() {
        assert_eq!(grace("forever").unwrap_err(), "expected a time such as 90s or 2h, or 0");
        assert_eq!(lifetime("never").unwrap_err(), "expected a time such as 90d or 12h");
        assert_eq!(patience("soon").unwrap_err(), "expected a time such as 30s or 2m");
        assert_eq!(keep_logs("always").unwrap_err(), "expected a time such as 90d, or forever");
    }
}
