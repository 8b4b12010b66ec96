//! Observed numbers for people. What a number counts is a word of its key (`free_bytes`, `seconds_after`); programs are told
//! the number.

use std::time::Duration;

use serde_json::{Number, Value as Json};

use super::when::took;
use crate::builder::bytes;

/// What an observed number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    Seconds,
    Milliseconds,
}

impl Unit {
    /// That of a key; of one that names none, that of what it lies in: `stage_seconds` has seconds by stage.
    pub(crate) fn of(key: &str, around: Option<Self>) -> Option<Self> {
        let unit = |word| match word {
            "bytes" => Some(Self::Bytes),
            "seconds" => Some(Self::Seconds),
            "milliseconds" => Some(Self::Milliseconds),
            _ => None,
        };
        key.split('_').find_map(unit).or(around)
    }

    /// "310.0 MiB", "42 s", "-1.5 s", "0.3 ms"; `None` for what nobody counts in it.
    pub(crate) fn write(self, number: &Number) -> Option<String> {
        match self {
            Self::Bytes => number.as_u64().map(bytes),
            Self::Seconds => time(number.as_f64()?),
            Self::Milliseconds => time(number.as_f64()? / 1000.0),
        }
    }
}

/// A time in seconds. What is shorter than one is told in milliseconds: most requests take less.
fn time(seconds: f64) -> Option<String> {
    let length = Duration::try_from_secs_f64(seconds.abs()).ok()?;
    let milliseconds = seconds.abs() * 1000.0;
    let told = match milliseconds {
        // Shorter than what a tenth of a millisecond would tell of.
        ..0.05 => return Some("0 s".to_owned()),
        ..10.0 => format!("{milliseconds:.1} ms"),
        ..999.5 => format!("{milliseconds:.0} ms"),
        _ => took(length),
    };
    Some(if seconds < 0.0 { format!("-{told}") } else { told })
}

/// Observations with their numbers as people write them, however deep they lie.
pub(crate) fn told(value: &Json) -> Json {
    within(value, None)
}

fn within(value: &Json, unit: Option<Unit>) -> Json {
    match value {
        Json::Number(number) => {
            unit.and_then(|unit| unit.write(number)).map_or_else(|| value.clone(), Json::from)
        }
        Json::Array(items) => items.iter().map(|item| within(item, unit)).collect(),
        Json::Object(fields) => {
            let told = |(key, value): (&String, &Json)| (key.clone(), within(value, Unit::of(key, unit)));
            Json::Object(fields.iter().map(told).collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_observed_is_told_in_peoples_units() {
        let seen = json!({
            "free_bytes": 325_058_560,
            "root": { "total_bytes": 4_294_967_296_u64, "inodes": 262_144, "source": "/dev/vda1" },
            "below": [{ "bytes": 1536 }],
            "waited_seconds": 0.0,
            "uptime_seconds": 4000.5,
            "clock_ahead_seconds": -1.5,
            "seconds_before": 43_200,
            "stage_seconds": { "init": 12.25, "modules-final": 0.034 },
            "milliseconds": 41,
            "write_milliseconds": 0.3125,
            "exit_code": 0,
            "last_good_bytes": null,
        });
        let said = json!({
            "free_bytes": "310.0 MiB",
            "root": { "total_bytes": "4.0 GiB", "inodes": 262_144, "source": "/dev/vda1" },
            "below": [{ "bytes": "1.5 KiB" }],
            "waited_seconds": "0 s",
            "uptime_seconds": "1 h 06 min",
            "clock_ahead_seconds": "-1.5 s",
            "seconds_before": "12 h 00 min",
            "stage_seconds": { "init": "12 s", "modules-final": "34 ms" },
            "milliseconds": "41 ms",
            "write_milliseconds": "0.3 ms",
            "exit_code": 0,
            "last_good_bytes": null,
        });
        assert_eq!(told(&seen), said);
    }

    #[test]
    fn what_nobody_counts_so_stays_as_it_is() {
        let seen =
            json!({ "free_bytes": -1, "end_bytes": 1.5, "taken_bytes": 1e300, "waited_seconds": 1e300 });
        assert_eq!(told(&seen), seen);
    }
}
