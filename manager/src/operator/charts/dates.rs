//! The x axis of a chart: dates below as many of the points as there is room for.

use std::fmt::Write as _;

use chrono_tz::Tz;
use image_manager_proto::v1::TrendPoint;

use super::{Slots, WIDTH, text};
use crate::clock;

/// Room for a character of a label, and between two labels.
const CHARACTER: f64 = 7.0;
const GAP: f64 = 12.0;
/// Length of a tick.
const TICK: f64 = 3.0;

/// Writes ticks below `top` with their dates, as the zone has them. Their zone is told once, beside the charts.
pub(super) fn write(out: &mut String, points: &[TrendPoint], slots: &Slots, (top, zone): (f64, Tz)) {
    for (index, label) in labels(points, slots, zone) {
        let x = slots.middle(index);
        let end = top + TICK;
        // Writing to a String cannot fail.
        let _ = write!(out, "<line class=\"grid\" x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{end}\"/>");
        text(out, "middle", within(x, width(&label)), top + 17.0, &label);
    }
}

/// Which points get a label, and which: never the same one twice, and none on top of another.
fn labels(points: &[TrendPoint], slots: &Slots, zone: Tz) -> Vec<(usize, String)> {
    let times: Vec<_> = points
        .iter()
        .enumerate()
        .filter_map(|(index, point)| Some((index, clock::utc(point.time.as_ref()?)?.with_timezone(&zone))))
        .collect();
    let (Some((_, first)), Some((_, last))) = (times.first(), times.last()) else { return Vec::new() };
    let format = match (*last - *first).num_days() {
        ..3 => "%b %-d, %H:%M",
        3..300 => "%b %-d",
        _ => "%b %Y",
    };
    let mut labels: Vec<(usize, String)> = Vec::new();
    // Where the newest label ends, and the label of the newest point: a point that has the same one says nothing new.
    let (mut end, mut before) = (f64::NEG_INFINITY, String::new());
    for (index, time) in times {
        let label = time.format(format).to_string();
        let middle = within(slots.middle(index), width(&label));
        if label != before && middle - width(&label) / 2.0 >= end + GAP {
            end = middle + width(&label) / 2.0;
            labels.push((index, label.clone()));
        }
        before = label;
    }
    labels
}

fn width(label: &str) -> f64 {
    label.chars().map(|_| CHARACTER).sum()
}

/// Where the middle of a label can be, so that all of it is seen.
fn within(middle: f64, width: f64) -> f64 {
    middle.clamp(width / 2.0, WIDTH - width / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::charts::{LEFT, RIGHT};

    /// So many points, one every so many seconds, from the first second of November 2026 on.
    fn labels_of(count: usize, step: usize, zone: Tz) -> Vec<String> {
        let points: Vec<_> = (0..count)
            .map(|n| TrendPoint {
                time: Some(prost_types::Timestamp {
                    seconds: 1_793_491_200 + i64::try_from(n * step).unwrap(),
                    nanos: 0,
                }),
                ..TrendPoint::default()
            })
            .collect();
        let slots = Slots::new(count, LEFT, RIGHT);
        let labels = labels(&points, &slots, zone);
        for pair in labels.windows(2) {
            let apart = slots.middle(pair[1].0) - slots.middle(pair[0].0);
            assert!(apart >= width(&pair[0].1), "{pair:?}");
        }
        labels.into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn there_are_enough_dates_and_none_is_told_twice() {
        let (hour, day) = (3600, 86_400);
        assert!(labels_of(0, day, Tz::UTC).is_empty());
        assert_eq!(labels_of(1, day, Tz::UTC), ["Nov 1, 00:00"]);
        assert_eq!(labels_of(1, day, Tz::America__New_York), ["Oct 31, 20:00"], "as the zone has it");
        for (count, step) in [(30, day), (60, day * 3 / 2), (60, 6 * day), (60, hour), (13, day)] {
            let labels = labels_of(count, step, Tz::UTC);
            assert!((3..=7).contains(&labels.len()), "{count} {step}: {labels:?}");
            let mut once = labels.clone();
            once.dedup();
            assert_eq!(once, labels);
        }
        assert_eq!(labels_of(20, hour / 60, Tz::UTC).len(), 3, "minutes");
    }
}
