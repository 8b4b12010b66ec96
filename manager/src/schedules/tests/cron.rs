use chrono::{Datelike, NaiveDate, NaiveDateTime, TimeDelta, Timelike};
use proptest::prelude::*;

use super::super::cron::Cron;

fn at(text: &str) -> NaiveDateTime {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap()
}

#[test]
fn next_times() {
    let table = [
        // 2026-11-01 is a Sunday.
        ("0 3 * * *", "2026-11-01 03:00", "2026-11-02 03:00"),
        ("*/20 * * * *", "2026-11-01 03:01", "2026-11-01 03:20"),
        ("5-59/20 * * * *", "2026-11-01 03:45", "2026-11-01 04:05"),
        ("0 0 * * 0", "2026-11-01 00:00", "2026-11-08 00:00"),
        ("0 0 * * 7", "2026-11-02 00:00", "2026-11-08 00:00"),
        ("0 0 * * SUN", "2026-11-02 00:00", "2026-11-08 00:00"),
        ("0 0 * * fri-sun", "2026-11-02 00:00", "2026-11-06 00:00"),
        ("0 0 * * 5-7", "2026-11-07 00:00", "2026-11-08 00:00"),
        ("0 0 * * sun-tue", "2026-11-03 00:00", "2026-11-08 00:00"),
        ("0 0 1 jan *", "2026-11-02 00:00", "2027-01-01 00:00"),
        ("0 0 1,15 Feb-Mar *", "2026-11-02 00:00", "2027-02-01 00:00"),
        ("0 0 29 2 *", "2026-11-02 00:00", "2028-02-29 00:00"),
        // Both day fields restricted: either suffices.
        ("0 0 13 * fri", "2026-11-01 00:00", "2026-11-06 00:00"),
        ("0 0 13 * fri", "2026-11-30 00:00", "2026-12-04 00:00"),
        ("0 0 13 * fri", "2026-12-12 00:00", "2026-12-13 00:00"),
        // A star in one of them: both must hold, as in Vixie cron ("first Monday of odd days").
        ("0 0 */2 * mon", "2026-11-01 00:00", "2026-11-09 00:00"),
        ("0 0 13 * */5", "2026-11-01 00:00", "2026-11-13 00:00"),
        ("0 0 30 2 mon", "2026-11-01 00:00", "2027-02-01 00:00"),
        ("@hourly", "2026-11-01 00:30", "2026-11-01 01:00"),
        ("@daily", "2026-11-01 00:30", "2026-11-02 00:00"),
        ("@midnight", "2026-11-01 00:30", "2026-11-02 00:00"),
        ("@weekly", "2026-11-01 00:30", "2026-11-08 00:00"),
        ("@Monthly", "2026-11-01 00:30", "2026-12-01 00:00"),
        ("@yearly", "2026-11-01 00:30", "2027-01-01 00:00"),
        (" @annually ", "2026-11-01 00:30", "2027-01-01 00:00"),
    ];
    for (entry, after, next) in table {
        let cron = Cron::parse(entry).unwrap();
        assert_eq!(cron.next_local(at(after)), Some(at(next)), "{entry} after {after}");
        assert!(cron.matches(at(next)), "{entry}");
        assert_eq!(cron.source, entry);
    }
}

#[test]
fn refused_entries_point_at_the_part() {
    let table = [
        ("0 3 * *", "0 3 * *", "5 fields"),
        ("0 0 3 * * *", "0 0 3 * * *", "5 fields"),
        ("60 3 * * *", "60", "minute"),
        ("0 24 * * *", "24", "hour"),
        ("0 3 0 * *", "0", "day of month"),
        ("0 3 32 * *", "32", "day of month"),
        ("0 3 * 13 *", "13", "month"),
        ("0 3 * * 8", "8", "day of week"),
        ("0 3 * * monday", "monday", "day of week"),
        ("jan 3 * * *", "jan", "minute"),
        ("0 3 L * *", "L", "day of month"),
        ("0 3 15W * *", "15W", "day of month"),
        ("0 3 * * 5#2", "5#2", "day of week"),
        ("0 3 ? * *", "?", "day of month"),
        ("0 3 * * +1", "+1", "day of week"),
        ("0 1,,2 * * *", "", "empty item"),
        ("0 22-6 * * *", "22-6", "backwards"),
        ("0 3 * * sat-mon", "sat-mon", "backwards"),
        ("5/15 * * * *", "5/15", "step"),
        ("*/0 * * * *", "0", "step"),
        ("*/90 * * * *", "90", "step"),
        ("*/ * * * *", "", "step"),
        ("0 -5 * * *", "", "missing"),
        ("0 0 30 2 *", "30 2", "never"),
        ("0 0 31 4,6,9,11 *", "31 4,6,9,11", "never"),
        ("0 0 30 2 */2", "30 2", "never"),
        ("@reboot", "@reboot", "not a time"),
        (" @dialy", "@dialy", "nickname"),
        ("99999999999 * * * *", "99999999999", "minute"),
        ("\u{7} * * * *", "\u{7}", "minute"),
        ("é * * * *", "é", "minute"),
    ];
    for (entry, part, message) in table {
        let error = Cron::parse(entry).expect_err(entry);
        assert_eq!(&entry[error.span.clone()], part, "{entry}: {error:?}");
        assert!(error.message.contains(message), "{entry}: {error:?}");
        assert!(!error.message.contains(char::is_control), "{entry}: {error:?}");
    }
    assert_eq!(Cron::parse("0 3 * * monday").unwrap_err().help.unwrap(), "did you mean `mon`?");
    assert_eq!(Cron::parse("0 22-6 * * *").unwrap_err().help.unwrap(), "write `22-23,0-6`");
    assert_eq!(Cron::parse("@dialy").unwrap_err().help.unwrap(), "did you mean `@daily`?");
    assert!(Cron::parse(&"1,".repeat(500)).is_err());
}

#[test]
fn intervals_have_a_star_in_minute_or_hour() {
    for (entry, interval) in [
        ("30 2 * * *", false),
        ("0,30 2-4 * * *", false),
        ("0-59/15 2 * * *", false),
        ("30 * * * *", true),
        ("*/15 2 * * *", true),
        ("0 */2 * * *", true),
        ("@hourly", true),
        ("@daily", false),
    ] {
        assert_eq!(Cron::parse(entry).unwrap().runs_at_intervals(), interval, "{entry}");
    }
}

/// A field as text, and what it stands for.
#[derive(Debug, Clone)]
struct FieldCase {
    text: String,
    values: Vec<u32>,
}

fn field(min: u32, max: u32) -> impl Strategy<Value = FieldCase> {
    let item = prop_oneof![
        Just(FieldCase { text: "*".to_owned(), values: (min..=max).collect() }),
        (1..=(max - min)).prop_map(move |step| FieldCase {
            text: format!("*/{step}"),
            values: (min..=max).filter(|value| (value - min).is_multiple_of(step)).collect(),
        }),
        (min..=max).prop_map(|value| FieldCase { text: value.to_string(), values: vec![value] }),
        (min..=max, min..=max, 1..=(max - min)).prop_map(|(one, other, step)| {
            let (from, to) = (one.min(other), one.max(other));
            FieldCase {
                text: format!("{from}-{to}/{step}"),
                values: (from..=to).filter(|value| (value - from).is_multiple_of(step)).collect(),
            }
        }),
    ];
    prop::collection::vec(item, 1..3).prop_map(|items| FieldCase {
        text: items.iter().map(|item| item.text.clone()).collect::<Vec<_>>().join(","),
        values: items.into_iter().flat_map(|item| item.values).collect(),
    })
}

/// crontab(5) word for word, on the lists of values.
fn fires(fields: &[FieldCase; 5], time: NaiveDateTime) -> bool {
    let [minute, hour, day, month, weekday] = fields;
    let day_fits = day.values.contains(&time.day());
    let weekday_fits = weekday.values.contains(&time.weekday().num_days_from_sunday());
    let restricted = !day.text.contains('*') && !weekday.text.contains('*');
    let date_fits = if restricted { day_fits || weekday_fits } else { day_fits && weekday_fits };
    minute.values.contains(&time.minute())
        && hour.values.contains(&time.hour())
        && month.values.contains(&time.month())
        && date_fits
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn next_local_agrees_with_walking_minute_by_minute(
        fields in (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6)),
        day in 0_i64..1500,
        minute in 0_i64..1440,
    ) {
        let fields: [FieldCase; 5] = fields.into();
        let text = fields.iter().map(|field| field.text.as_str()).collect::<Vec<_>>().join(" ");
        let Ok(cron) = Cron::parse(&text) else { return Ok(()) }; // never fires
        let start = NaiveDate::from_ymd_opt(2024, 1, 1).unwrap().and_hms_opt(0, 0, 0).unwrap()
            + TimeDelta::days(day) + TimeDelta::minutes(minute);
        let walked = (1..60 * 24 * 45).map(|step| start + TimeDelta::minutes(step)).find(|time| fires(&fields, *time));
        let found = cron.next_local(start);
        if let Some(walked) = walked {
            prop_assert_eq!(found, Some(walked), "{} after {}", text, start);
        } else {
            let found = found.unwrap();
            prop_assert!(found > start + TimeDelta::days(44), "{} after {}: {}", text, start, found);
            prop_assert!(fires(&fields, found), "{} after {}: {}", text, start, found);
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[ -~é\u{0}\t]{0,30}") {
        if let Err(error) = Cron::parse(&text) {
            prop_assert!(text.get(error.span.clone()).is_some(), "{:?}", error);
        }
    }
}
