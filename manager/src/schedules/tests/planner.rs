use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};
use proptest::prelude::*;

use super::super::cron::Cron;
use super::super::planner::{
    Due, MISSED_COUNT_LIMIT, due, longest_gap, next_fires, next_reverify, reverify_due,
};
use super::{fires_by, one, utc};

#[test]
fn a_published_image_is_due_again_by_an_entry_of_its_own() {
    let lines = "cron = \"0 3 * * *\"\nreverify = \"0 5 * * *\"\ntimezone = \"Europe/Berlin\"\npublish.name = \"a\"\n";
    let (since, now) = (utc("2026-11-01T02:30:00Z"), utc("2026-11-01T04:00:00Z"));
    let expected = Due { fire_time: utc("2026-11-01T04:00:00Z"), missed: 0 };
    assert_eq!(reverify_due(&one(lines), since, now), Some(expected));
    assert_eq!(due(&one(lines), since, now), None);
    assert_eq!(next_reverify(&one(lines), since), Some(now));
    assert_eq!(next_reverify(&one("cron = \"* * * * *\"\n"), since), None);
    assert_eq!(reverify_due(&one("cron = \"* * * * *\"\n"), since, now), None);
}

#[test]
fn one_run_however_many_fire_times_were_missed() {
    let table = [
        ("0 3 * * *", "2026-11-01T03:00:00Z", "2026-11-02T02:59:59Z", None),
        ("0 3 * * *", "2026-11-01T02:59:59Z", "2026-11-01T03:00:00Z", Some(("2026-11-01T03:00:00Z", 0))),
        ("0 3 * * *", "2026-11-01T03:00:00Z", "2026-11-02T03:00:00Z", Some(("2026-11-02T03:00:00Z", 0))),
        ("0 3 * * *", "2026-11-01T00:00:00Z", "2026-11-11T00:00:00Z", Some(("2026-11-10T03:00:00Z", 9))),
        ("0 0 29 2 *", "1999-01-01T00:00:00Z", "2027-01-01T00:00:00Z", Some(("2024-02-29T00:00:00Z", 6))),
        // A clock that went back.
        ("* * * * *", "2026-11-02T00:00:00Z", "2026-11-01T00:00:00Z", None),
        ("* * * * *", "2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z", None),
        // Years of every minute are not counted to the end.
        (
            "* * * * *",
            "1999-01-01T00:00:00Z",
            "2026-11-01T00:00:30Z",
            Some(("2026-11-01T00:00:00Z", MISSED_COUNT_LIMIT)),
        ),
    ];
    for (entry, since, now, expected) in table {
        let expected = expected.map(|(time, missed)| Due { fire_time: utc(time), missed });
        assert_eq!(due(&fires_by(entry, "UTC"), utc(since), utc(now)), expected, "{entry} {since} {now}");
    }
    assert_eq!(due(&one(""), utc("1999-01-01T00:00:00Z"), utc("2026-01-01T00:00:00Z")), None);
    assert!(next_fires(&one(""), utc("1999-01-01T00:00:00Z"), 3).is_empty());
}

#[test]
fn the_longest_gap_is_the_one_that_an_image_may_be_old() {
    let (tuesday, saturday) = ("2026-11-24T12:00:00Z", "2026-11-28T12:00:00Z");
    let table = [
        ("0 3 * * *", saturday, TimeDelta::hours(24)),
        ("0 3 * * 1-5", saturday, TimeDelta::hours(72)),
        ("0 3 * * 1-5", tuesday, TimeDelta::hours(72)),
        // Longer ago than fifty fire times reach, and under way now.
        ("*/15 8-18 * * 1-5", saturday, TimeDelta::minutes(61 * 60 + 15)),
        ("*/15 8-18 * * 1-5", tuesday, TimeDelta::minutes(13 * 60 + 15)),
        // In a leap year.
        ("0 3 1 1,2 *", saturday, TimeDelta::days(335)),
    ];
    for (entry, now, expected) in table {
        let gap = longest_gap(&fires_by(entry, "UTC"), utc(now), 50);
        assert_eq!(gap, Some(expected), "{entry} at {now}");
    }
    assert_eq!(longest_gap(&one(""), utc(saturday), 50), None);
}

#[test]
fn extreme_instants_do_not_panic() {
    for entry in ["* * * * *", "0 3 * * *"] {
        let mut schedule = fires_by(entry, "Europe/Berlin");
        schedule.jitter = Duration::from_hours(24);
        for instant in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC, DateTime::UNIX_EPOCH] {
            let _ = next_fires(&schedule, instant, 2);
            let _ = longest_gap(&schedule, instant, 2);
            let _ = due(&schedule, DateTime::<Utc>::MIN_UTC, instant);
        }
    }
}

#[test]
fn jitter_is_fixed_and_depends_on_the_name() {
    let mut schedule = fires_by("0 3 * * *", "UTC");
    schedule.jitter = Duration::from_hours(1);
    let offsets: BTreeSet<TimeDelta> = ["debian", "ubuntu", "rocky", "a", "b", "c"]
        .into_iter()
        .map(|name| {
            schedule.name = name.to_owned();
            let fires = next_fires(&schedule, utc("2026-11-01T00:00:00Z"), 2);
            assert_eq!(fires[1] - fires[0], TimeDelta::days(1));
            let offset = fires[0] - utc("2026-11-01T03:00:00Z");
            assert!(offset >= TimeDelta::zero() && offset < TimeDelta::hours(1), "{offset}");
            let due = due(&schedule, fires[0] - TimeDelta::seconds(1), fires[0]).unwrap();
            assert_eq!(due, Due { fire_time: fires[0], missed: 0 });
            offset
        })
        .collect();
    assert_eq!(offsets.len(), 6);
    // FNV-1a of "debian" (64 bits) modulo 3600: a new release must not move anybody's builds.
    schedule.name = "debian".to_owned();
    let first = next_fires(&schedule, utc("2026-11-01T00:00:00Z"), 1)[0];
    assert_eq!(first, utc("2026-11-01T03:00:00Z") + TimeDelta::seconds(DEBIAN_OFFSET));
}

const DEBIAN_OFFSET: i64 = 1504;

/// Entries with their own matchers, written by hand.
type Matcher = (&'static str, fn(DateTime<Utc>) -> bool);
const MATCHERS: [Matcher; 8] = [
    ("* * * * *", |_| true),
    ("*/7 * * * *", |time| time.minute().is_multiple_of(7)),
    ("0 3 * * *", |time| time.hour() == 3 && time.minute() == 0),
    ("15,45 8-17/3 * * mon-fri", |time| {
        [15, 45].contains(&time.minute())
            && [8, 11, 14, 17].contains(&time.hour())
            && (1..=5).contains(&time.weekday().num_days_from_sunday())
    }),
    ("0 12 13 * fri", |time| {
        time.minute() == 0
            && time.hour() == 12
            && (time.day() == 13 || time.weekday().num_days_from_sunday() == 5)
    }),
    ("59 23 31 * *", |time| (time.minute(), time.hour(), time.day()) == (59, 23, 31)),
    ("0 0 1 */3 7", |time| {
        time.minute() == 0
            && time.hour() == 0
            && [1, 4, 7, 10].contains(&time.month())
            && (time.day() == 1 || time.weekday().num_days_from_sunday() == 0)
    }),
    ("30 */6 */10 * *", |time| {
        time.minute() == 30 && time.hour().is_multiple_of(6) && [1, 11, 21, 31].contains(&time.day())
    }),
];

const ZONES: [&str; 5] =
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"];
const ENTRIES: [&str; 6] =
    ["30 2 * * *", "0,30 1-3 * * *", "*/15 * * * *", "30 * * * *", "0 */2 * * *", "*/20 2 * * 0"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn fire_times_are_those_of_a_walk_minute_by_minute(
        which in 0..MATCHERS.len(),
        start in 1_700_000_000_i64..1_900_000_000,
    ) {
        let (entry, matches) = MATCHERS[which];
        let schedule = fires_by(entry, "UTC");
        let start = DateTime::from_timestamp(start, 0).unwrap();
        let first_minute = DateTime::from_timestamp(start.timestamp() / 60 * 60 + 60, 0).unwrap();
        let walked: Vec<_> = (0..60 * 24 * 40)
            .map(|minute| first_minute + TimeDelta::minutes(minute))
            .filter(|time| matches(*time))
            .take(5)
            .collect();
        let found = next_fires(&schedule, start, 5);
        prop_assert!(found.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(found.iter().all(|time| matches(*time)));
        prop_assert_eq!(&found[..walked.len()], &walked[..]);
    }

    #[test]
    fn fire_times_increase_in_every_zone(
        entry in 0..ENTRIES.len(),
        zone in 0..ZONES.len(),
        start in 1_700_000_000_i64..1_900_000_000,
    ) {
        let schedule = fires_by(ENTRIES[entry], ZONES[zone]);
        let start = DateTime::from_timestamp(start, 500_000_000).unwrap();
        let fires = next_fires(&schedule, start, 200);
        prop_assert_eq!(fires.len(), 200);
        prop_assert!(fires[0] > start);
        prop_assert!(fires.windows(2).all(|pair| pair[0] < pair[1]));
        // Asking again from a fire time goes on where it left off.
        prop_assert_eq!(&next_fires(&schedule, fires[99], 100)[..], &fires[100..]);
    }

    #[test]
    fn beats_never_run_a_fire_time_twice_and_never_lose_the_last(
        entry in 0..ENTRIES.len(),
        zone in 0..ZONES.len(),
        start in 1_700_000_000_i64..1_900_000_000,
        jitter in 0_u64..7200,
        mut cuts in prop::collection::vec(0_i64..6 * 86400, 0..60),
    ) {
        let mut schedule = fires_by(ENTRIES[entry], ZONES[zone]);
        schedule.jitter = Duration::from_secs(jitter);
        let start = DateTime::from_timestamp(start, 0).unwrap();
        let end = start + TimeDelta::days(6);
        cuts.extend([0, 6 * 86400]);
        cuts.sort_unstable();
        let runs: Vec<Due> = cuts
            .windows(2)
            .filter_map(|pair| due(&schedule, start + TimeDelta::seconds(pair[0]), start + TimeDelta::seconds(pair[1])))
            .collect();
        let all: Vec<_> = next_fires(&schedule, start, 5000).into_iter().take_while(|time| *time <= end).collect();
        prop_assert!(runs.windows(2).all(|pair| pair[0].fire_time < pair[1].fire_time));
        prop_assert!(runs.iter().all(|run| all.binary_search(&run.fire_time).is_ok()));
        prop_assert_eq!(runs.last().map(|run| run.fire_time), all.last().copied());
        if runs.iter().all(|run| run.missed < MISSED_COUNT_LIMIT) {
            let stood_for: usize = runs.iter().map(|run| run.missed as usize + 1).sum();
            prop_assert_eq!(stood_for, all.len());
        }
    }
}

#[test]
fn an_entry_is_equal_to_itself_and_prints_its_source() {
    let cron = Cron::parse("0 3 * * *").unwrap();
    assert_eq!(cron.clone(), cron);
    assert_eq!(format!("{cron:?}"), "Cron(\"0 3 * * *\")");
}
