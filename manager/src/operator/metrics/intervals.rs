//! The longest time between fire times of each schedule, which takes fifty of them to find out.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::schedules::{Schedule, planner};

/// So many of the next fire times are looked at for the longest time between two: a week of an entry that fires
/// seven times a day.
const FIRES: usize = 50;

/// What was found out, by the schedule's name: at the next scrapes it is the same until the schedule fires.
#[derive(Debug, Default)]
pub(super) struct Intervals {
    known: Mutex<BTreeMap<String, Known>>,
}

/// What was found of a schedule, and for when it holds.
#[derive(Debug)]
struct Known {
    entry: Entry,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    seconds: Option<f64>,
}

/// What says when a schedule fires, apart from its name.
#[derive(Debug, PartialEq)]
struct Entry {
    cron: String,
    zone: Tz,
    jitter: Duration,
}

impl Entry {
    fn of(schedule: &Schedule) -> Option<Self> {
        let cron = schedule.cron.as_ref()?.source.clone();
        Some(Self { cron, zone: schedule.timezone, jitter: schedule.jitter })
    }
}

impl Intervals {
    /// The longest time between the fire times around `now` and after it, in seconds. `None` for a schedule without a cron
    /// entry, or that fires once only.
    pub(super) fn longest(&self, schedule: &Schedule, now: DateTime<Utc>) -> Option<f64> {
        let entry = Entry::of(schedule)?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(&schedule.name)
            && found.entry == entry
            && (found.from..found.until).contains(&now)
        {
            return found.seconds;
        }
        let gap = planner::longest_gap(schedule, now, FIRES);
        let seconds = gap.map(|gap| gap.to_std().unwrap_or_default().as_secs_f64());
        // Which times are around it changes when it fires.
        if let Some(until) = planner::next_fires(schedule, now, 1).into_iter().next() {
            known.insert(schedule.name.clone(), Known { entry, from: now, until, seconds });
        }
        seconds
    }

    /// Forgets the schedules that are not there any more.
    pub(super) fn keep(&self, schedules: &[Schedule]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // A schedule that is left out is rare, and a name more does no harm until then.
        if known.len() > schedules.len() {
            known.retain(|name, _| schedules.iter().any(|schedule| schedule.name == *name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedules::parse;

    fn schedule(cron: &str) -> Schedule {
        let text = format!("[schedule.a]\nimage.elements = [\"vm\"]\ncron = \"{cron}\"\n");
        parse(std::path::Path::new("schedules.toml"), &text).unwrap().schedules.remove(0)
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn it_is_found_out_once_until_the_schedule_fires_or_changes() {
        let intervals = Intervals::default();
        let known = || {
            let known = intervals.known.lock().unwrap();
            known.get("a").map(|known| (known.from, known.until))
        };
        let weekdays = schedule("0 3 * * 1-5");
        let friday = at("2026-11-27T02:00:00Z");
        let weekend = 3.0 * 86_400.0;
        assert_eq!(intervals.longest(&weekdays, friday), Some(weekend));
        let first = known();
        assert_eq!(first, Some((friday, at("2026-11-27T03:00:00Z"))));
        assert_eq!(intervals.longest(&weekdays, at("2026-11-27T02:59:59Z")), Some(weekend));
        assert_eq!(known(), first, "it was known");
        intervals.longest(&weekdays, at("2026-11-27T03:00:00Z"));
        assert_eq!(known(), Some((at("2026-11-27T03:00:00Z"), at("2026-11-30T03:00:00Z"))), "it has fired");
        intervals.longest(&weekdays, friday);
        assert_eq!(known(), first, "the clock was set back");
        assert_eq!(intervals.longest(&schedule("@hourly"), friday), Some(3600.0), "another entry");
        assert_eq!(intervals.longest(&schedule(""), friday), None);
        intervals.keep(&[]);
        assert_eq!(known(), None);
    }
}
