//! The sums that are kept: of each day of a schedule, and of each week.

use std::ops::Range;

use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};

use super::Trend;
use super::samples::samples;
use super::summary::{Counts, FORMAT, Summary};
use crate::history::HistoryError;

/// Milliseconds of a day.
pub(super) const DAY: i64 = 86_400_000;
/// Days of a week.
pub(super) const WEEK: i64 = 7;

/// What a sum is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Span {
    /// A day, UTC, counted from the epoch.
    Day,
    /// Seven days, counted from the epoch.
    Week,
}

impl Span {
    /// Its table, and the column with its number.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Day => ("day_sum", "day"),
            Self::Week => ("week_sum", "week"),
        }
    }

    fn milliseconds(self) -> i64 {
        match self {
            Self::Day => DAY,
            Self::Week => WEEK * DAY,
        }
    }
}

/// Sums up a day of a schedule anew, from its builds.
pub(super) fn refresh_day(connection: &Connection, schedule: &str, day: i64) -> Result<(), HistoryError> {
    store(connection, Span::Day, schedule, day, &of_builds(connection, schedule, day)?)
}

/// Sums up a week of a schedule anew, from the sums of its days.
pub(super) fn refresh_week(connection: &Connection, schedule: &str, week: i64) -> Result<(), HistoryError> {
    let mut summary = Summary::default();
    let sql = select(Span::Day);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![schedule, week * WEEK, (week + 1) * WEEK])?;
    while let Some(row) = rows.next()? {
        let mut day = Summary::default();
        // A damaged one must not keep a build from its end.
        if day.merge_stored(&counts(row)?, (row.get(11)?, blob(row)?)).is_none() {
            day = of_builds(connection, schedule, row.get(0)?)?;
        }
        summary.merge(&day);
    }
    store(connection, Span::Week, schedule, week, &summary)
}

fn of_builds(connection: &Connection, schedule: &str, day: i64) -> Result<Summary, HistoryError> {
    let mut summary = Summary::default();
    samples(connection, schedule, day * DAY..(day + 1) * DAY, |sample| summary.add(&sample))?;
    Ok(summary)
}

fn store(
    connection: &Connection,
    span: Span,
    schedule: &str,
    number: i64,
    summary: &Summary,
) -> Result<(), HistoryError> {
    let (table, column) = span.names();
    let mut statement = connection.prepare_cached(&format!(
        "INSERT OR REPLACE INTO {table} (schedule, {column}, builds, passed, failed, errored, cancelled, flaky,
            first_failed_at, last_failed_at, last_passed_at, distributions, format)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
    ))?;
    let counts = &summary.counts;
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    statement.execute(params![
        schedule,
        number,
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
        FORMAT,
    ])?;
    Ok(())
}

/// How many sums of a range there are.
pub(super) fn count(
    connection: &Connection,
    span: Span,
    schedule: &str,
    numbers: &Range<i64>,
) -> Result<usize, HistoryError> {
    let (table, column) = span.names();
    let mut statement = connection.prepare_cached(&format!(
        "SELECT count(*) FROM {table} WHERE schedule = ?1 AND {column} >= ?2 AND {column} < ?3"
    ))?;
    let found: i64 = statement.query_row(params![schedule, numbers.start, numbers.end], |row| row.get(0))?;
    Ok(usize::try_from(found).unwrap_or_default())
}

/// Adds every sum of a range to a trend, oldest first: each as a part, or all of them as one.
pub(super) fn merge(
    connection: &Connection,
    span: Span,
    schedule: &str,
    numbers: &Range<i64>,
    as_one: bool,
    trend: &mut Trend,
) -> Result<(), HistoryError> {
    let mut statement = connection.prepare_cached(&select(span))?;
    let mut rows = statement.query(params![schedule, numbers.start, numbers.end])?;
    let mut first = true;
    while let Some(row) = rows.next()? {
        let (counts, distributions): (_, (i64, &[u8])) = (counts(row)?, (row.get(11)?, blob(row)?));
        let number: i64 = row.get(0)?;
        let part =
            if as_one && !first { trend.same_part() } else { trend.part(number * span.milliseconds(), None) };
        first = false;
        part.merge_stored(&counts, distributions).ok_or_else(|| {
            let why = format!("the sum of {schedule} of {span:?} {number} since the epoch is damaged");
            rusqlite::Error::FromSqlConversionFailure(10, Type::Blob, why.into())
        })?;
    }
    Ok(())
}

fn select(span: Span) -> String {
    let (table, column) = span.names();
    format!(
        "SELECT {column}, builds, passed, failed, errored, cancelled, flaky, first_failed_at, last_failed_at,
            last_passed_at, distributions, format
         FROM {table} WHERE schedule = ?1 AND {column} >= ?2 AND {column} < ?3 ORDER BY {column}"
    )
}

fn counts(row: &Row<'_>) -> rusqlite::Result<Counts> {
    let count = |index: usize| row.get::<_, i64>(index).map(|n| u64::try_from(n).unwrap_or_default());
    Ok(Counts {
        builds: count(1)?,
        passed: count(2)?,
        failed: count(3)?,
        errored: count(4)?,
        cancelled: count(5)?,
        flaky: count(6)?,
        first_failed_at: row.get(7)?,
        last_failed_at: row.get(8)?,
        last_passed_at: row.get(9)?,
    })
}

fn blob<'row>(row: &'row Row<'_>) -> rusqlite::Result<&'row [u8]> {
    row.get_ref(10)?.as_blob().map_err(rusqlite::Error::from)
}
