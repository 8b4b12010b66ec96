//! What is due, as a pure function of the schedules and two instants.
//!
//! A heartbeat (whatever gives it) asks [`due`] what fell into the time since the last one. Reload, jitter,
//! catch-up after downtime and changes of the clock are then one code path.
//!
//! When the offset of a schedule's zone changes, as cron(8) does it:
//!
//! | entry | the clock goes forward over the time | the clock goes back over the time |
//! | --- | --- | --- |
//! | fixed times (`30 2 * * *`) | runs once, right after the gap | runs once, the first time |
//! | intervals (`*/15 * * * *`, `30 * * * *`) | goes on after the gap | goes on through both passes |

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Offset, SubsecRound, TimeDelta, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};

use super::cron::Cron;
use super::values::Schedule;

/// `Due::missed` is not counted beyond this.
pub const MISSED_COUNT_LIMIT: u32 = 1000;

/// No zone changes its offset twice within this.
const HOURS_BETWEEN_CHANGES: i64 = 12;

/// Offset changes that a search crosses at most (leap days lie 8 years apart at most, some zones change four
/// times a year).
const CHANGES_CROSSED: usize = 100;

/// Fixed times that one gap or fold can hold: every minute of two days.
const FIXED_TIMES_SKIPPED: usize = 2880;

/// How far back the latest fire time is looked for, in growing steps; then everything.
const LOOK_BACK_HOURS: [i64; 4] = [1, 24, 32 * 24, 366 * 24];

/// A gap that began earlier is found among those to come.
const LONGEST_GAP_LOOKED_BACK: TimeDelta = TimeDelta::days(32);

/// A run that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The latest fire time, jitter included.
    pub fire_time: DateTime<Utc>,
    /// How many earlier fire times this one run stands for, at most [`MISSED_COUNT_LIMIT`].
    pub missed: u32,
}

/// The next `n` fire times after `after`, jitter included. Empty for a schedule without a cron entry.
pub fn next_fires(schedule: &Schedule, after: DateTime<Utc>, n: usize) -> Vec<DateTime<Utc>> {
    next_by(schedule.cron.as_ref(), schedule, after, n)
}

/// The same for verifying the published image again. `None` for a schedule that does not by itself.
pub fn next_reverify(schedule: &Schedule, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    next_by(schedule.reverify.as_ref(), schedule, after, 1).into_iter().next()
}

fn next_by(cron: Option<&Cron>, schedule: &Schedule, after: DateTime<Utc>, n: usize) -> Vec<DateTime<Utc>> {
    let Some(cron) = cron else { return Vec::new() };
    let jitter = jitter_of(schedule);
    let Some(start) = after.checked_sub_signed(jitter) else { return Vec::new() };
    let fires = fires_after(cron, schedule.timezone, start).take(n);
    fires.filter_map(|fire| fire.checked_add_signed(jitter)).collect()
}

/// The longest time that lies between two fire times, of the one that `now` is in and the `n` after it. Of an entry
/// for workdays it is the weekend. `None` for a schedule without a cron entry, or that fires once only.
pub fn longest_gap(schedule: &Schedule, now: DateTime<Utc>, n: usize) -> Option<TimeDelta> {
    let (cron, zone) = (schedule.cron.as_ref()?, schedule.timezone);
    let now = now.checked_sub_signed(jitter_of(schedule))?;
    let since = now.checked_sub_signed(LONGEST_GAP_LOOKED_BACK)?;
    let latest = latest_fire(cron, zone, since, now);
    let fires: Vec<_> = latest.into_iter().chain(fires_after(cron, zone, now).take(n)).collect();
    fires.iter().zip(fires.iter().skip(1)).map(|(earlier, later)| *later - *earlier).max()
}

/// The fire times after an instant, without jitter.
fn fires_after(cron: &Cron, zone: Tz, after: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
    let following = move |from: &DateTime<Utc>| next_fire(cron, zone, *from).filter(|next| next > from);
    std::iter::successors(following(&after), following)
}

/// Whether a run is due in `(since, now]`: one at most, however many fire times lie in it. `since` is the last
/// beat; a clock that went back makes nothing due.
pub fn due(schedule: &Schedule, since: DateTime<Utc>, now: DateTime<Utc>) -> Option<Due> {
    due_by(schedule.cron.as_ref()?, schedule, since, now)
}

/// The same for verifying the published image again.
pub fn reverify_due(schedule: &Schedule, since: DateTime<Utc>, now: DateTime<Utc>) -> Option<Due> {
    due_by(schedule.reverify.as_ref()?, schedule, since, now)
}

fn due_by(cron: &Cron, schedule: &Schedule, since: DateTime<Utc>, now: DateTime<Utc>) -> Option<Due> {
    let jitter = jitter_of(schedule);
    let (since, now) = (since.checked_sub_signed(jitter)?, now.checked_sub_signed(jitter)?);
    let latest = latest_fire(cron, schedule.timezone, since, now)?;
    let mut missed = 0;
    let mut fire = next_fire(cron, schedule.timezone, since);
    while let Some(earlier) = fire.filter(|fire| *fire < latest && missed < MISSED_COUNT_LIMIT) {
        missed += 1;
        fire = next_fire(cron, schedule.timezone, earlier);
    }
    Some(Due { fire_time: latest.checked_add_signed(jitter)?, missed })
}

/// The last fire time in `(since, now]`.
fn latest_fire(cron: &Cron, zone: Tz, since: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    // From near to far: however long the downtime was, only a few fire times are walked through.
    let steps = LOOK_BACK_HOURS.iter().map(|hours| now.checked_sub_signed(TimeDelta::hours(*hours)));
    for start in steps.flatten().chain([since]) {
        let start = start.max(since);
        let mut latest = None;
        let mut fire = next_fire(cron, zone, start);
        while let Some(found) = fire.filter(|fire| *fire <= now) {
            latest = Some(found);
            fire = next_fire(cron, zone, found);
        }
        if latest.is_some() || start == since {
            return latest;
        }
    }
    None
}

/// The part of the schedule's jitter that is its own: whole seconds, the same in every process.
fn jitter_of(schedule: &Schedule) -> TimeDelta {
    fixed_part(&schedule.name, schedule.jitter)
}

/// A part of `whole` that depends on `name` alone (FNV-1a), so that it survives restarts and upgrades.
fn fixed_part(name: &str, whole: Duration) -> TimeDelta {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let hash = name.bytes().fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    let seconds = hash.checked_rem(whole.as_secs()).and_then(|part| i64::try_from(part).ok());
    seconds.and_then(TimeDelta::try_seconds).unwrap_or_default()
}

/// The first fire time after `after`, without jitter.
fn next_fire(cron: &Cron, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if cron.runs_at_intervals() { next_interval(cron, zone, after) } else { next_fixed(cron, zone, after) }
}

/// Fixed times of day: each wall-clock time of the entry stands for the first instant that is not before it.
fn next_fixed(cron: &Cron, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut local = local_time(zone, after);
    for _ in 0..FIXED_TIMES_SKIPPED {
        local = cron.next_local(local)?;
        let instant = first_instant(zone, local)?;
        // In the second pass of a fold the wall clock shows times whose instant is over already.
        if instant > after {
            return Some(instant);
        }
    }
    None
}

/// The first instant at which the wall clock of the zone does not show less than `local`.
fn first_instant(zone: Tz, local: NaiveDateTime) -> Option<DateTime<Utc>> {
    match zone.from_local_datetime(&local).earliest() {
        Some(instant) => Some(instant.to_utc()),
        None => GapInfo::new(&local, &zone)?.end.map(|end| end.to_utc()),
    }
}

/// Intervals: every instant at which the wall clock of the zone shows a time of the entry.
fn next_interval(cron: &Cron, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut from = after.trunc_subsecs(0);
    for _ in 0..CHANGES_CROSSED {
        let local = local_time(zone, from);
        let distance = cron.next_local(local)?.signed_duration_since(local);
        let candidate = from.checked_add_signed(distance)?;
        let Some(change) = first_change(zone, from, candidate) else { return Some(candidate) };
        if cron.matches(local_time(zone, change)) {
            return Some(change);
        }
        from = change;
    }
    None
}

/// The first instant in `(from, to]` at which the zone's offset is another than at `from`.
fn first_change(zone: Tz, from: DateTime<Utc>, to: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let before = offset_seconds(zone, from);
    let mut low = from;
    while low < to {
        let mut high = low.checked_add_signed(TimeDelta::hours(HOURS_BETWEEN_CHANGES))?.min(to);
        if offset_seconds(zone, high) == before {
            low = high;
            continue;
        }
        while high - low > TimeDelta::seconds(1) {
            let middle = low + TimeDelta::seconds((high - low).num_seconds() / 2);
            if offset_seconds(zone, middle) == before { low = middle } else { high = middle }
        }
        return Some(high);
    }
    None
}

fn local_time(zone: Tz, instant: DateTime<Utc>) -> NaiveDateTime {
    instant.with_timezone(&zone).naive_local()
}

fn offset_seconds(zone: Tz, instant: DateTime<Utc>) -> i32 {
    zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc()
}
