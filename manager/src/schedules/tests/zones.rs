//! Changes of the offset: entries whose times fall into a gap or come twice.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::super::planner::next_fires;
use super::{fires_by, utc};

/// Zone, entry, first instant looked at, and the fire times from there on.
type Case = (&'static str, &'static str, &'static str, &'static [&'static str]);

const SPRING: &[Case] = &[
    // Berlin: 2026-03-29 02:00 CET is 03:00 CEST, 01:00 UTC.
    (
        "Europe/Berlin",
        "30 2 * * *",
        "2026-03-28T02:00:00Z",
        &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"],
    ),
    ("Europe/Berlin", "0 3 * * *", "2026-03-28T03:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"]),
    (
        "Europe/Berlin",
        "0,30 2,3 * * *",
        "2026-03-28T03:00:00Z",
        &["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:00:00Z"],
    ),
    (
        "Europe/Berlin",
        "*/30 * * * *",
        "2026-03-29T00:00:00Z",
        &["2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"],
    ),
    (
        "Europe/Berlin",
        "0 */2 * * *",
        "2026-03-28T22:30:00Z",
        &["2026-03-28T23:00:00Z", "2026-03-29T02:00:00Z", "2026-03-29T04:00:00Z"],
    ),
    (
        "Europe/Berlin",
        "30 * * * *",
        "2026-03-29T00:00:00Z",
        &["2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"],
    ),
    // New York: 2026-03-08 02:00 EST is 03:00 EDT, 07:00 UTC.
    (
        "America/New_York",
        "30 2 * * *",
        "2026-03-07T08:00:00Z",
        &["2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"],
    ),
    (
        "America/New_York",
        "15 * * * *",
        "2026-03-08T06:00:00Z",
        &["2026-03-08T06:15:00Z", "2026-03-08T07:15:00Z"],
    ),
    // Lord Howe: 2026-10-04 02:00 +10:30 is 02:30 +11:00, 2026-10-03 15:30 UTC.
    (
        "Australia/Lord_Howe",
        "15 2 * * *",
        "2026-10-03T00:00:00Z",
        &["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"],
    ),
    (
        "Australia/Lord_Howe",
        "30 2 * * *",
        "2026-10-03T00:00:00Z",
        &["2026-10-03T15:30:00Z", "2026-10-04T15:30:00Z"],
    ),
    (
        "Australia/Lord_Howe",
        "45 2 * * *",
        "2026-10-03T00:00:00Z",
        &["2026-10-03T15:45:00Z", "2026-10-04T15:45:00Z"],
    ),
    (
        "Australia/Lord_Howe",
        "*/15 * * * *",
        "2026-10-03T15:00:00Z",
        &["2026-10-03T15:15:00Z", "2026-10-03T15:30:00Z", "2026-10-03T15:45:00Z"],
    ),
    (
        "Australia/Lord_Howe",
        "0 * * * *",
        "2026-10-03T14:00:00Z",
        &["2026-10-03T14:30:00Z", "2026-10-03T16:00:00Z"],
    ),
];

const AUTUMN: &[Case] = &[
    // Berlin: 2026-10-25 03:00 CEST is 02:00 CET, 01:00 UTC.
    (
        "Europe/Berlin",
        "30 2 * * *",
        "2026-10-24T02:00:00Z",
        &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
    ),
    ("Europe/Berlin", "0 3 * * *", "2026-10-24T02:00:00Z", &["2026-10-25T02:00:00Z", "2026-10-26T02:00:00Z"]),
    (
        "Europe/Berlin",
        "0,30 2 * * *",
        "2026-10-24T02:00:00Z",
        &["2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:00:00Z"],
    ),
    // From within the second pass: the first one's times are over.
    ("Europe/Berlin", "45 2 * * *", "2026-10-25T01:10:00Z", &["2026-10-26T01:45:00Z"]),
    (
        "Europe/Berlin",
        "30 * * * *",
        "2026-10-25T00:00:00Z",
        &["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"],
    ),
    (
        "Europe/Berlin",
        "*/30 2 * * *",
        "2026-10-24T20:00:00Z",
        &[
            "2026-10-25T00:00:00Z",
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-26T01:00:00Z",
        ],
    ),
    (
        "Europe/Berlin",
        "0 */2 * * *",
        "2026-10-24T21:00:00Z",
        &["2026-10-24T22:00:00Z", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T03:00:00Z"],
    ),
    // New York: 2026-11-01 02:00 EDT is 01:00 EST, 06:00 UTC.
    (
        "America/New_York",
        "30 1 * * *",
        "2026-10-31T08:00:00Z",
        &["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"],
    ),
    (
        "America/New_York",
        "@hourly",
        "2026-11-01T04:30:00Z",
        &["2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z", "2026-11-01T07:00:00Z"],
    ),
    // Lord Howe: 2026-04-05 02:00 +11:00 is 01:30 +10:30, 2026-04-04 15:00 UTC.
    (
        "Australia/Lord_Howe",
        "45 1 * * *",
        "2026-04-04T00:00:00Z",
        &["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"],
    ),
    (
        "Australia/Lord_Howe",
        "0 2 * * *",
        "2026-04-04T00:00:00Z",
        &["2026-04-04T15:30:00Z", "2026-04-05T15:30:00Z"],
    ),
    (
        "Australia/Lord_Howe",
        "*/15 * * * *",
        "2026-04-04T14:30:00Z",
        &["2026-04-04T14:45:00Z", "2026-04-04T15:00:00Z", "2026-04-04T15:15:00Z"],
    ),
    (
        "Australia/Lord_Howe",
        "45 * * * *",
        "2026-04-04T14:00:00Z",
        &["2026-04-04T14:45:00Z", "2026-04-04T15:15:00Z", "2026-04-04T16:15:00Z"],
    ),
];

/// Whole days that a zone left out, and offsets of quarters of an hour.
const ODD: &[Case] = &[
    ("Pacific/Apia", "0 3 * * *", "2011-12-29T14:00:00Z", &["2011-12-30T10:00:00Z", "2011-12-30T13:00:00Z"]),
    ("Asia/Kathmandu", "0 0 * * *", "2026-01-01T00:00:00Z", &["2026-01-01T18:15:00Z"]),
    // `* * 29 2 *` looks eight years ahead, over many changes.
    (
        "Europe/Berlin",
        "*/59 0 29 2 *",
        "2026-01-01T00:00:00Z",
        &["2028-02-28T23:00:00Z", "2028-02-28T23:59:00Z", "2032-02-28T23:00:00Z"],
    ),
    ("Europe/Berlin", "* * 29 2 *", "2096-03-01T00:00:00Z", &["2104-02-28T23:00:00Z"]),
];

#[test]
fn fire_times_around_changes_of_the_offset() {
    for (zone, entry, after, expected) in SPRING.iter().chain(AUTUMN).chain(ODD) {
        let schedule = fires_by(entry, zone);
        let expected: Vec<_> = expected.iter().map(|text| utc(text)).collect();
        assert_eq!(
            next_fires(&schedule, utc(after), expected.len()),
            expected,
            "{zone} {entry} after {after}"
        );
    }
}

/// Zones and instants at which their offset changes.
const CHANGES: [(&str, &str); 6] = [
    ("Europe/Berlin", "2026-03-29T01:00:00Z"),
    ("Europe/Berlin", "2026-10-25T01:00:00Z"),
    ("America/New_York", "2026-03-08T07:00:00Z"),
    ("America/New_York", "2026-11-01T06:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
];

/// Walks through all minutes around a change, by the two rules: an interval entry runs whenever the wall clock
/// shows one of its times; a fixed time runs when the wall clock first shows it or, if it never does, a later
/// one.
#[test]
fn fire_times_around_changes_are_those_of_a_walk_minute_by_minute() {
    let entries = [
        "* * * * *",
        "*/20 * * * *",
        "15 * * * *",
        "*/10 2 * * *",
        "0 */2 * * *",
        "45 1 * * *",
        "0,30 1-3 * * *",
        "59 23 * * *",
    ];
    for (zone, change) in CHANGES {
        let start = utc(change) - TimeDelta::hours(14);
        let end = utc(change) + TimeDelta::hours(14);
        let minutes: Vec<DateTime<Utc>> =
            (1..=1680).map(|minute| start + TimeDelta::minutes(minute)).collect();
        for entry in entries {
            let schedule = fires_by(entry, zone);
            let cron = schedule.cron.clone().unwrap();
            let local = |time: &DateTime<Utc>| time.with_timezone(&schedule.timezone).naive_local();
            let expected: BTreeSet<DateTime<Utc>> = if cron.runs_at_intervals() {
                minutes.iter().filter(|time| cron.matches(local(time))).copied().collect()
            } else {
                let first = local(&start);
                (1..=1780)
                    .map(|minute| first + TimeDelta::minutes(minute))
                    .filter(|shown| cron.matches(*shown))
                    .filter_map(|shown| minutes.iter().find(|time| local(time) >= shown).copied())
                    .collect()
            };
            let found: Vec<_> =
                next_fires(&schedule, start, 2000).into_iter().take_while(|time| *time <= end).collect();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{zone} {change} {entry}");
        }
    }
}
