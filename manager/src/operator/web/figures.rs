//! Times, durations and sizes as the pages show them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use prost_types::Timestamp;

use super::zone;
use crate::clock::{self, utc};
pub(super) use crate::operator::when::took;

/// A point in time, in the page's zone.
pub(super) fn instant(time: Option<&Timestamp>) -> Markup {
    stamp(time.and_then(utc), None)
}

/// The same of a time that is not protobuf's.
pub(super) fn exact(time: Option<DateTime<Utc>>) -> Markup {
    stamp(time, None)
}

/// The same; the script tells its distance ("in 3 hours"), with the exact time in the tool tip.
pub(super) fn distance(time: Option<DateTime<Utc>>) -> Markup {
    stamp(time, Some("distance"))
}

/// The same of a time to come. What is late begins as soon as there is a place for it: it is due now.
pub(super) fn due(time: Option<DateTime<Utc>>) -> Markup {
    stamp(time, Some("due"))
}

fn stamp(time: Option<DateTime<Utc>>, show: Option<&str>) -> Markup {
    html! {
        @if let Some(time) = time {
            time datetime=(clock::rfc3339(time)) data-show=[show] {
                (zone::told(time))
            }
        } @else {
            span.none { "–" }
        }
    }
}

/// How long it took; while it is not over, the script counts on.
pub(super) fn span(from: Option<&Timestamp>, to: Option<&Timestamp>) -> Markup {
    let Some(from) = from.and_then(utc) else { return html! { span.none { "–" } } };
    let end = to.and_then(utc);
    let passed = (end.unwrap_or_else(clock::now) - from).to_std().unwrap_or_default();
    let since = clock::rfc3339(from);
    html! {
        span.num data-since=[end.is_none().then_some(since)] { (took(passed)) }
    }
}

/// Time between two instants, when both are known.
pub(super) fn between(from: Option<&Timestamp>, to: Option<&Timestamp>) -> Option<Duration> {
    let (from, to) = (from.and_then(utc)?, to.and_then(utc)?);
    (to - from).to_std().ok()
}

/// "512 B", "5.2 MiB", "191 MiB".
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// The first digits of an id, enough to tell builds apart in a list: the random part's end, because the
/// beginning of a UUIDv7 is the time.
pub(super) fn short(id: &str) -> &str {
    id.rsplit_once('-').map_or(id, |(_, end)| end).get(..8).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        let cases = [(0, "0 B"), (1023, "1023 B"), (5_452_595, "5.2 MiB"), (200_278_016, "191 MiB")];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(size(u64::MAX), "16777216 TiB");
    }

    #[test]
    fn short_ids_differ_for_builds_of_one_moment() {
        assert_eq!(short("0190a1b2-c3d4-7e5f-8a9b-0123456789ab"), "01234567");
        assert_eq!(short("odd"), "odd");
    }
}
