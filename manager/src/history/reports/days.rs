//! The builds of a schedule as samples, and the sums of whole days.

use std::ops::Range;

use image_manager_proto::v1::BuildState;
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};

use super::Trend;
use super::summary::{Counts, STAGES, Sample, Summary};
use crate::history::HistoryError;
use crate::history::names::Named as _;

/// Milliseconds of a day.
pub(super) const DAY: i64 = 86_400_000;

/// Calls `each` for every build of a schedule that has ended and was created in a range of milliseconds,
/// oldest first.
pub(super) fn samples(
    connection: &Connection,
    schedule: &str,
    created: Range<i64>,
    mut each: impl FnMut(Sample),
) -> Result<(), HistoryError> {
    let mut builds = connection.prepare_cached(
        "SELECT b.id, b.created_at, b.state, b.finished_at - b.started_at, b.image_size, b.agent_attached_at,
            CASE WHEN b.state = 'succeeded' THEN
                (SELECT p.state FROM build p INDEXED BY build_by_schedule
                 WHERE p.schedule = b.schedule AND p.id < b.id AND p.state IN ('succeeded', 'failed', 'errored')
                 ORDER BY p.id DESC LIMIT 1) END
         FROM build b INDEXED BY build_by_schedule_time
         WHERE b.schedule = ?1 AND b.created_at >= ?2 AND b.created_at < ?3
         AND b.state IN ('succeeded', 'failed', 'errored', 'cancelled') ORDER BY b.created_at, b.id",
    )?;
    let mut stages = connection.prepare_cached(
        "SELECT name, started_at, finished_at, state = 'done' FROM stage WHERE build_id = ?1",
    )?;
    let mut rows = builds.query(params![schedule, created.start, created.end])?;
    while let Some(row) = rows.next()? {
        let state = BuildState::from_word(row.get_ref(2)?.as_str().unwrap_or_default()).unwrap_or_default();
        let total = if state == BuildState::Succeeded { unsigned(row.get(3)?) } else { None };
        let mut sample = Sample {
            id: row.get(0)?,
            created_at: row.get(1)?,
            state,
            recovered: row.get::<_, Option<String>>(6)?.is_some_and(|before| before == "errored"),
            stages: [None; STAGES.len()],
            total,
            boot: None,
            size: unsigned(row.get(4)?).filter(|bytes| *bytes > 0),
        };
        let attached: Option<i64> = row.get(5)?;
        let mut parts = stages.query([&sample.id])?;
        while let Some(part) = parts.next()? {
            take_stage(&mut sample, part, attached)?;
        }
        each(sample);
    }
    Ok(())
}

fn take_stage(sample: &mut Sample, row: &Row<'_>, attached: Option<i64>) -> rusqlite::Result<()> {
    let name = row.get_ref(0)?.as_str().unwrap_or_default();
    let (began, ended): (Option<i64>, Option<i64>) = (row.get(1)?, row.get(2)?);
    let Some(began) = began else { return Ok(()) };
    if name == BuildState::Booting.word() {
        sample.boot = unsigned(attached.map(|attached| attached - began));
    }
    let place = STAGES.iter().zip(&mut sample.stages).find(|(stage, _)| stage.word() == name);
    if let Some((_, took)) = place
        && row.get(3)?
    {
        *took = unsigned(ended.map(|ended| ended - began));
    }
    Ok(())
}

/// Negative times come from a clock that was set back; they tell nothing.
fn unsigned(value: Option<i64>) -> Option<u64> {
    value.and_then(|value| u64::try_from(value).ok())
}

/// Sums up a day of a schedule anew, from its builds.
pub(super) fn refresh(connection: &Connection, schedule: &str, day: i64) -> Result<(), HistoryError> {
    let mut summary = Summary::default();
    samples(connection, schedule, day * DAY..(day + 1) * DAY, |sample| summary.add(&sample))?;
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO day_sum (schedule, day, builds, passed, failed, errored, cancelled, flaky,
            first_failed_at, last_failed_at, last_passed_at, distributions)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?;
    let counts = &summary.counts;
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    statement.execute(params![
        schedule,
        day,
        count(counts.builds),
        count(counts.passed),
        count(counts.failed),
        count(counts.errored),
        count(counts.cancelled),
        count(counts.flaky),
        counts.first_failed_at,
        counts.last_failed_at,
        counts.last_passed_at,
        summary.encode_distributions(),
    ])?;
    Ok(())
}

/// How many days of a range have sums.
pub(super) fn count(
    connection: &Connection,
    schedule: &str,
    days: &Range<i64>,
) -> Result<usize, HistoryError> {
    let mut statement = connection
        .prepare_cached("SELECT count(*) FROM day_sum WHERE schedule = ?1 AND day >= ?2 AND day < ?3")?;
    let days: i64 = statement.query_row(params![schedule, days.start, days.end], |row| row.get(0))?;
    Ok(usize::try_from(days).unwrap_or_default())
}

/// Adds every day of a range to a trend, oldest first.
pub(super) fn merge(
    connection: &Connection,
    schedule: &str,
    days: &Range<i64>,
    trend: &mut Trend,
) -> Result<(), HistoryError> {
    let mut statement = connection.prepare_cached(
        "SELECT day, builds, passed, failed, errored, cancelled, flaky, first_failed_at, last_failed_at,
            last_passed_at, distributions
         FROM day_sum WHERE schedule = ?1 AND day >= ?2 AND day < ?3 ORDER BY day",
    )?;
    let mut rows = statement.query(params![schedule, days.start, days.end])?;
    while let Some(row) = rows.next()? {
        let count = |index: usize| row.get::<_, i64>(index).map(|n| u64::try_from(n).unwrap_or_default());
        let counts = Counts {
            builds: count(1)?,
            passed: count(2)?,
            failed: count(3)?,
            errored: count(4)?,
            cancelled: count(5)?,
            flaky: count(6)?,
            first_failed_at: row.get(7)?,
            last_failed_at: row.get(8)?,
            last_passed_at: row.get(9)?,
        };
        let distributions = row.get_ref(10)?.as_blob().map_err(rusqlite::Error::from)?;
        let day: i64 = row.get(0)?;
        trend.part(day * DAY, None).merge_stored(&counts, distributions).ok_or_else(|| {
            let why = format!("the sums of {schedule} on day {day} since the epoch are damaged");
            rusqlite::Error::FromSqlConversionFailure(10, Type::Blob, why.into())
        })?;
    }
    Ok(())
}
