//! What `image-manager check` shows of a file without mistakes.

use std::fmt::Write;

use chrono::{DateTime, Utc};

use super::planner::{next_fires, next_reverify};
use super::values::{Schedule, Schedules};
use crate::clock;

/// Fire times that are shown of each schedule.
const FIRES_SHOWN: usize = 3;

const HEADINGS: [&str; 5] = ["SCHEDULE", "CLOUD", "CRON", "ZONE", "NEXT"];

/// A table: each schedule with its cloud, cron entry, zone and next three fire times, in the schedule's zone
/// and relative to `now`; below them when its published image is verified again.
pub fn describe(schedules: &Schedules, now: DateTime<Utc>) -> String {
    if schedules.schedules.is_empty() {
        return "no schedules\n".to_owned();
    }
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(schedules.schedules.iter().flat_map(|schedule| rows_of(schedule, now)));
    let mut widths = [0; HEADINGS.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut table = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a string does not fail.
            let _ = write!(line, "{cell:<width$}  ");
        }
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

/// The schedule's line, and one more for each further fire time.
fn rows_of(schedule: &Schedule, now: DateTime<Utc>) -> Vec<[String; 5]> {
    let entry = schedule.cron.as_ref().map_or("on demand", |cron| cron.source.trim());
    let jitter = if schedule.jitter.is_zero() {
        String::new()
    } else {
        format!(" (jitter {})", humantime::format_duration(schedule.jitter))
    };
    let told = |fire: DateTime<Utc>| {
        let local = fire.with_timezone(&schedule.timezone).format("%a %Y-%m-%d %H:%M:%S %Z");
        format!("{local} (in {})", clock::about((fire - now).num_seconds()))
    };
    let mut fires = next_fires(schedule, now, FIRES_SHOWN).into_iter().map(told);
    let mut rows = vec![[
        schedule.name.clone(),
        schedule.clouds().join(", "),
        format!("{entry}{jitter}"),
        schedule.timezone.name().to_owned(),
        fires.next().unwrap_or_else(|| "-".to_owned()),
    ]];
    rows.extend(fires.map(|fire| [String::new(), String::new(), String::new(), String::new(), fire]));
    if let Some(reverify) = &schedule.reverify {
        let next = next_reverify(schedule, now).map_or_else(|| "-".to_owned(), told);
        let entry = format!("reverify {}", reverify.source.trim());
        rows.push([String::new(), String::new(), entry, String::new(), next]);
    }
    rows
}
