//! Reports: the builds of a time range summed up, for each schedule.
//!
//! Up to [`EXACT`] builds are read one by one. Beyond that, whole days come from the table `day_sum`, which is
//! written at each build's end, and only what a range has of days at its two ends is read build by build. Where a
//! point of the trend is a week or more, `week_sum` takes the place of whole weeks' days. So a report over a
//! million builds reads some thousands of rows.

mod distribution;
mod samples;
mod summary;
mod sums;
mod targets;
#[cfg(test)]
mod tests;

use std::ops::Range;

use image_manager_proto::v1;
use rusqlite::{Connection, OptionalExtension as _, params};

use self::summary::{Sample, Summary};
use self::sums::{DAY, Span, WEEK};
use super::{History, HistoryError, now_ms};
use crate::clock::timestamp;

/// The ends of builds that are counted, as a list of SQL. One that was skipped was never made, and is told beside them.
const COUNTED: &str = "('succeeded', 'failed', 'errored', 'cancelled')";
/// Builds up to which a report reads each of them.
const EXACT: u64 = 2000;
/// Builds of a schedule whose trials are read one by one at least, however many schedules a report is about.
const FEWEST: u64 = 50;
/// Shorter ranges, in days, do without the sums of weeks.
const WEEKS_FROM: i64 = 28;
/// Most schedules in a report.
const MOST_SCHEDULES: i64 = 1000;
/// Most points of all trends together. With a few hundred bytes each, a report stays below the 4 MiB that gRPC's clients take
/// (<https://grpc.io/docs/guides/>).
const MOST_POINTS_IN_ALL: usize = 12_000;
/// What a report is about when nobody says: this many milliseconds back.
const RANGE: i64 = 30 * DAY;

/// What a report is about.
#[derive(Debug, Clone, Default)]
pub struct ReportQuery {
    /// Only this schedule.
    pub schedule: Option<String>,
    /// Only builds created at or after this instant, in milliseconds since the epoch; `None`: the last 30 days.
    pub since_ms: Option<i64>,
    /// Only builds created before this instant; `None`: up to now.
    pub until_ms: Option<i64>,
    /// At most this many points of each trend; bounded to [`ReportQuery::MOST_POINTS`].
    pub points: u32,
}

impl ReportQuery {
    /// Most points of a trend.
    pub const MOST_POINTS: u32 = 200;
}

impl History {
    /// The builds of a range that have ended, summed up for each schedule.
    pub async fn report(&self, query: ReportQuery) -> Result<v1::GetReportResponse, HistoryError> {
        self.read(move |connection| report(connection, &query)).await
    }

    /// Makes the sums of all days anew, for builds that were not written by this program's own writer.
    pub async fn refresh_day_sums(&self) -> Result<(), HistoryError> {
        self.writer()?.run("reports:refresh", |tx| refresh_all(tx)).await
    }
}

/// After a build's end: sums up its day and its week anew.
pub(super) fn refresh_day_of(connection: &Connection, id: &str) -> Result<(), HistoryError> {
    let mut statement = connection.prepare_cached("SELECT schedule, created_at FROM build WHERE id = ?1")?;
    let found = statement.query_row([id], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)));
    match found.optional()? {
        Some((schedule, created_at)) => {
            let day = created_at.div_euclid(DAY);
            sums::refresh_day(connection, &schedule, day)?;
            sums::refresh_week(connection, &schedule, day.div_euclid(WEEK))
        }
        None => Ok(()),
    }
}

fn refresh_all(connection: &Connection) -> Result<(), HistoryError> {
    refresh_days(connection)?;
    refresh_weeks(connection)
}

/// Sums up every day that has builds.
pub(super) fn refresh_days(connection: &Connection) -> Result<(), HistoryError> {
    connection.execute("DELETE FROM day_sum", [])?;
    let mut statement =
        connection.prepare("SELECT DISTINCT schedule, created_at / ?1 FROM build ORDER BY 1, 2")?;
    let mut rows = statement.query([DAY])?;
    while let Some(row) = rows.next()? {
        sums::refresh_day(connection, &row.get::<_, String>(0)?, row.get(1)?)?;
    }
    Ok(())
}

/// Sums up every week that has sums of days.
pub(super) fn refresh_weeks(connection: &Connection) -> Result<(), HistoryError> {
    connection.execute("DELETE FROM week_sum", [])?;
    let mut statement =
        connection.prepare("SELECT DISTINCT schedule, day / ?1 FROM day_sum ORDER BY 1, 2")?;
    let mut rows = statement.query([WEEK])?;
    while let Some(row) = rows.next()? {
        sums::refresh_week(connection, &row.get::<_, String>(0)?, row.get(1)?)?;
    }
    Ok(())
}

fn report(connection: &Connection, query: &ReportQuery) -> Result<v1::GetReportResponse, HistoryError> {
    let now = now_ms();
    let until = query.until_ms.unwrap_or(now).clamp(0, i64::MAX - DAY);
    let since = query.since_ms.unwrap_or(now - RANGE).clamp(0, until);
    // Also what the clock, set back meanwhile, makes to be of the future.
    let end = if query.until_ms.is_some() { until } else { i64::MAX - DAY };
    let schedules = schedules(connection, query.schedule.as_deref(), since..end)?;
    let builds: u64 = schedules.iter().map(|(_, builds)| builds).sum();
    let points = points_of_each(query.points, schedules.len());
    let mut reports = Vec::new();
    let most = (EXACT / (schedules.len() as u64).max(1)).max(FEWEST);
    for (schedule, _) in schedules {
        let (total, points) = if builds <= EXACT {
            one_by_one(connection, &schedule, since..end, points)?
        } else {
            by_days(connection, &schedule, since..end, points)?
        };
        let skipped = skipped(connection, &schedule, since..end)?;
        if total.counts.builds > 0 || skipped > 0 {
            let targets = targets::of_schedule(connection, &schedule, since..end, most)?;
            reports.push(v1::ScheduleReport { targets, skipped, ..total.report(&schedule, points) });
        }
    }
    Ok(v1::GetReportResponse {
        schedules: reports,
        since: Some(timestamp(since)),
        until: Some(timestamp(until)),
    })
}

/// The points that each trend may have where so many were asked for.
fn points_of_each(asked: u32, schedules: usize) -> usize {
    let each = (MOST_POINTS_IN_ALL / schedules.max(1)).max(1);
    (asked.min(ReportQuery::MOST_POINTS) as usize).min(each)
}

/// How many builds of a schedule were skipped in a range. Reads only those.
fn skipped(connection: &Connection, schedule: &str, created: Range<i64>) -> Result<u64, HistoryError> {
    let mut statement = connection.prepare_cached(
        "SELECT count(*) FROM build INDEXED BY build_skipped
         WHERE state = 'skipped' AND schedule = ?1 AND created_at >= ?2 AND created_at < ?3",
    )?;
    let found: i64 = statement.query_row(params![schedule, created.start, created.end], |row| row.get(0))?;
    Ok(u64::try_from(found).unwrap_or_default())
}

/// The schedules that have builds in the days of a range, by name, with how many: of one whose builds were all skipped,
/// none.
fn schedules(
    connection: &Connection,
    only: Option<&str>,
    created: Range<i64>,
) -> Result<Vec<(String, u64)>, HistoryError> {
    // Reads an index, and of the builds only those that were skipped.
    let sql = match only {
        Some(_) => {
            "SELECT schedule, sum(builds) FROM (
                SELECT schedule, builds FROM day_sum WHERE day >= ?1 AND day <= ?2 AND schedule = ?4
                UNION ALL SELECT ?4, 0 WHERE EXISTS (SELECT 1 FROM build INDEXED BY build_skipped
                    WHERE state = 'skipped' AND schedule = ?4 AND created_at >= ?5 AND created_at < ?6))
             GROUP BY schedule LIMIT ?3"
        }
        None => {
            "SELECT schedule, sum(builds) FROM (
                SELECT schedule, builds FROM day_sum INDEXED BY day_sum_by_day
                    WHERE day >= ?1 AND day <= ?2 AND ?4 IS NULL
                UNION ALL SELECT DISTINCT schedule, 0 FROM build INDEXED BY build_skipped
                    WHERE state = 'skipped' AND created_at >= ?5 AND created_at < ?6)
             GROUP BY schedule ORDER BY schedule LIMIT ?3"
        }
    };
    let mut statement = connection.prepare_cached(sql)?;
    let (first, last) = (created.start.div_euclid(DAY), created.end.div_euclid(DAY));
    let range = params![first, last, MOST_SCHEDULES, only, created.start, created.end];
    let rows = statement.query_map(range, |row| {
        Ok((row.get(0)?, u64::try_from(row.get::<_, i64>(1)?).unwrap_or_default()))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

type Summed = (Summary, Vec<v1::TrendPoint>);

fn one_by_one(
    connection: &Connection,
    schedule: &str,
    created: Range<i64>,
    points: usize,
) -> Result<Summed, HistoryError> {
    let mut samples = Vec::new();
    samples::samples(connection, schedule, created, |sample| samples.push(sample))?;
    let mut trend = Trend::new(points, samples.len());
    for sample in &samples {
        trend.part(sample.created_at, Some(&sample.id)).add(sample);
    }
    Ok(trend.finish())
}

fn by_days(
    connection: &Connection,
    schedule: &str,
    created: Range<i64>,
    points: usize,
) -> Result<Summed, HistoryError> {
    let whole = created.start.div_euclid(DAY) + i64::from(created.start.rem_euclid(DAY) > 0)
        ..created.end.div_euclid(DAY);
    if whole.is_empty() {
        return one_by_one(connection, schedule, created, points);
    }
    let edge = |range: Range<i64>| -> Result<Vec<Sample>, HistoryError> {
        let mut samples = Vec::new();
        if !range.is_empty() {
            samples::samples(connection, schedule, range, |sample| samples.push(sample))?;
        }
        Ok(samples)
    };
    let before = edge(created.start..whole.start * DAY)?;
    let after = edge(whole.end * DAY..created.end)?;
    let (head, weeks, tail) = divided(whole, points);
    let count = |span, numbers: &Range<i64>| sums::count(connection, span, schedule, numbers);
    let mut parts = [before.is_empty(), after.is_empty()].iter().filter(|empty| !**empty).count();
    // Beside weeks, the days at an end are one part.
    let as_one = !weeks.is_empty();
    for days in [&head, &tail] {
        let found = count(Span::Day, days)?;
        parts += if as_one { found.min(1) } else { found };
    }
    parts += count(Span::Week, &weeks)?;
    let mut trend = Trend::new(points, parts);
    trend.samples(&before);
    sums::merge(connection, Span::Day, schedule, &head, as_one, &mut trend)?;
    sums::merge(connection, Span::Week, schedule, &weeks, false, &mut trend)?;
    sums::merge(connection, Span::Day, schedule, &tail, as_one, &mut trend)?;
    trend.samples(&after);
    Ok(trend.finish())
}

/// A range of days as days, weeks, and days; as days alone (the last ones) where a point of a trend needs less than
/// a week, and where it is short.
fn divided(days: Range<i64>, points: usize) -> (Range<i64>, Range<i64>, Range<i64>) {
    let weeks =
        days.start.div_euclid(WEEK) + i64::from(days.start.rem_euclid(WEEK) > 0)..days.end.div_euclid(WEEK);
    // A range without an end goes on for ever; the builds in it do not.
    let last = days.end.min(now_ms().div_euclid(DAY) + 1);
    let least = i64::try_from(points).unwrap_or(i64::MAX).saturating_mul(WEEK).max(WEEKS_FROM);
    if last - days.start < least || weeks.is_empty() {
        return (0..0, 0..0, days);
    }
    (days.start..weeks.start * WEEK, weeks.clone(), weeks.end * WEEK..days.end)
}

/// Makes the points of a trend and their total out of parts, oldest first: several parts in a row make a point.
struct Trend {
    wanted: bool,
    /// Parts that make a point.
    parts: usize,
    /// Parts that the point under way has.
    taken: usize,
    time: i64,
    build_id: Option<String>,
    summary: Summary,
    total: Summary,
    points: Vec<v1::TrendPoint>,
}

impl Trend {
    fn new(points: usize, parts: usize) -> Self {
        Self {
            wanted: points > 0,
            parts: parts.div_ceil(points.max(1)).max(1),
            taken: 0,
            time: 0,
            build_id: None,
            summary: Summary::default(),
            total: Summary::default(),
            points: Vec::new(),
        }
    }

    /// Where the next part goes.
    fn part(&mut self, time: i64, build_id: Option<&str>) -> &mut Summary {
        if self.taken == self.parts {
            self.end_point();
        }
        self.taken += 1;
        if self.taken == 1 {
            self.time = time;
            self.build_id = build_id.map(str::to_owned);
        } else {
            self.build_id = None;
        }
        &mut self.summary
    }

    /// Where more of the part goes that was begun last.
    fn same_part(&mut self) -> &mut Summary {
        &mut self.summary
    }

    /// Several builds as one part.
    fn samples(&mut self, samples: &[Sample]) {
        let Some(first) = samples.first() else { return };
        let summary = self.part(first.created_at, None);
        for sample in samples {
            summary.add(sample);
        }
    }

    fn end_point(&mut self) {
        let summary = std::mem::take(&mut self.summary);
        self.total.merge(&summary);
        if self.wanted {
            self.points.push(summary.point(self.time, self.build_id.take()));
        }
        self.taken = 0;
    }

    fn finish(mut self) -> Summed {
        if self.taken > 0 {
            self.end_point();
        }
        (self.total, self.points)
    }
}
