//! Reading builds.

use std::collections::BTreeMap;

use image_manager_proto::v1;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::names::{ENDS, Named as _};
use super::{History, HistoryError, definition, parts};
use crate::clock;
use crate::reason::hint_of;

/// Which builds a list is about.
#[derive(Debug, Clone, Default)]
pub struct BuildFilter {
    /// Only this schedule's.
    pub schedule: Option<String>,
    /// Only those in this state.
    pub state: Option<v1::BuildState>,
    /// Only those created at or after this instant, in milliseconds since the epoch.
    pub since_ms: Option<i64>,
    /// Only those older than the build with this id (the last one of the page before).
    pub before: Option<String>,
    /// At most this many; bounded to [`BuildFilter::MOST`].
    pub limit: u32,
    /// Without stages, checks, resources and the agents' paths: a table does without, and is there sooner.
    pub bare: bool,
}

impl BuildFilter {
    /// The longest page.
    pub const MOST: u32 = 500;
}

/// A page of builds, newest first.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Newest first, each with all its parts unless bare ones were asked for.
    pub builds: Vec<v1::Build>,
    /// Id to give as `before` for the next page; `None` when this is the last one.
    pub next: Option<String>,
}

const BUILD_COLUMNS: &str = "id, schedule, cloud, state, verdict, trigger, created_at, started_at, finished_at,
    failure_reason, failure_stage, failure_message, failure_evidence, retry_of, requested_by, cancelled_by, warnings,
    unchanged_since, forced, verification IS NOT NULL";

impl History {
    /// One build with all its parts, by its whole id.
    pub async fn build(&self, id: &str) -> Result<v1::Build, HistoryError> {
        let id = id.to_owned();
        self.read(move |connection| build(connection, &id)?.ok_or(HistoryError::NoBuild(id))).await
    }

    /// A page of builds, newest first.
    pub async fn builds(&self, filter: BuildFilter) -> Result<Page, HistoryError> {
        self.read(move |connection| page(connection, &filter)).await
    }

    /// The newest builds of each of these schedules, newest first, at most `each`, bare: one look for all of them.
    pub async fn newest_builds(
        &self,
        schedules: Vec<String>,
        each: u32,
    ) -> Result<BTreeMap<String, Vec<v1::Build>>, HistoryError> {
        self.read(move |connection| {
            let mut found = BTreeMap::new();
            for schedule in schedules {
                let filter =
                    BuildFilter { schedule: Some(schedule.clone()), limit: each, ..BuildFilter::default() };
                let (builds, _) = rows(connection, &filter)?;
                found.insert(schedule, builds);
            }
            parts::add_trials(connection, &mut found.values_mut().flatten().collect::<Vec<_>>())?;
            for builds in found.values_mut() {
                parts::add_failed_checks(connection, builds)?;
            }
            Ok(found)
        })
        .await
    }

    /// The id of the build of a schedule before this one, if there was any.
    pub async fn previous(&self, schedule: &str, id: &str) -> Result<Option<String>, HistoryError> {
        let (schedule, id) = (schedule.to_owned(), id.to_owned());
        self.read(move |connection| {
            let newest = "SELECT id FROM build WHERE schedule = ?1 AND id < ?2 AND verification IS NULL
                ORDER BY id DESC LIMIT 1";
            Ok(connection.query_row(newest, [schedule, id], |row| row.get(0)).optional()?)
        })
        .await
    }

    /// Ids of the builds that have not ended, oldest first, with their states.
    pub async fn unfinished(&self) -> Result<Vec<(String, v1::BuildState)>, HistoryError> {
        self.read(|connection| {
            let mut statement = connection.prepare(&format!(
                "SELECT id, state FROM build INDEXED BY build_one_unfinished WHERE state NOT IN {ENDS} ORDER BY id",
            ))?;
            let rows = statement.query_map([], |row| {
                let state: String = row.get(1)?;
                Ok((row.get(0)?, v1::BuildState::from_word(&state).unwrap_or_default()))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Seconds that each phase of disk-image-builder took when the schedule was last built.
    pub async fn phases(&self, schedule: &str) -> Result<BTreeMap<String, f64>, HistoryError> {
        let schedule = schedule.to_owned();
        self.read(move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT phase, seconds FROM build_phase WHERE schedule = ?1")?;
            Ok(statement
                .query_map([schedule], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<Result<_, _>>()?)
        })
        .await
    }
}

fn page(connection: &Connection, filter: &BuildFilter) -> Result<Page, HistoryError> {
    let (mut builds, more) = rows(connection, filter)?;
    let next = if more { builds.last().map(|build| build.id.clone()) } else { None };
    if filter.bare {
        parts::add_trials(connection, &mut builds.iter_mut().collect::<Vec<_>>())?;
    } else {
        parts::add(connection, &mut builds)?;
    }
    parts::add_failed_checks(connection, &mut builds)?;
    Ok(Page { builds, next })
}

/// These builds as a list has them, newest first.
pub(super) fn bare(connection: &Connection, ids: &[String]) -> Result<Vec<v1::Build>, HistoryError> {
    let sql = format!(
        "SELECT {BUILD_COLUMNS} FROM build WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY id DESC"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map([serde_json::json!(ids).to_string()], build_row)?;
    let mut builds: Vec<v1::Build> = rows.collect::<Result<_, _>>()?;
    parts::add_trials(connection, &mut builds.iter_mut().collect::<Vec<_>>())?;
    parts::add_failed_checks(connection, &mut builds)?;
    Ok(builds)
}

/// The builds of a page without any of their parts, and whether there are more.
fn rows(connection: &Connection, filter: &BuildFilter) -> Result<(Vec<v1::Build>, bool), HistoryError> {
    let limit = filter.limit.clamp(1, BuildFilter::MOST);
    let (sql, values) = page_question(filter, limit);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut builds: Vec<v1::Build> =
        statement.query_map(rusqlite::params_from_iter(values), build_row)?.collect::<Result<_, _>>()?;
    let more = builds.len() > limit as usize;
    builds.truncate(limit as usize);
    Ok((builds, more))
}

/// The builds of a page, and one build more: it tells whether there is a next page.
fn page_question(filter: &BuildFilter, limit: u32) -> (String, Vec<Box<dyn rusqlite::ToSql>>) {
    let mut conditions = Vec::new();
    let mut values: Vec<Box<dyn rusqlite::ToSql>> = Vec::new();
    let mut add = |condition: &str, value: Box<dyn rusqlite::ToSql>| {
        values.push(value);
        conditions.push(format!("{condition} ?{}", values.len()));
    };
    if let Some(schedule) = &filter.schedule {
        add("schedule =", Box::new(schedule.clone()));
    }
    if let Some(state) = filter.state {
        add("state =", Box::new(state.word()));
    }
    if let Some(since) = filter.since_ms {
        // The plus keeps the index of times out: it is the ids' order that the page needs. Where to begin among
        // the ids is known, for they begin with the time.
        add("+created_at >=", Box::new(since));
        add("id >=", Box::new(lowest_id(since)));
    }
    if let Some(before) = &filter.before {
        add("id <", Box::new(before.clone()));
    }
    // Said outright: without statistics the planner may take the wrong one of two that would do.
    let index = match (&filter.schedule, filter.state) {
        (None, None) => "sqlite_autoindex_build_1",
        (Some(_), None) => "build_by_schedule",
        (None, Some(_)) => "build_by_state",
        (Some(_), Some(_)) => "build_by_schedule_state",
    };
    let conditions =
        if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
    let sql = format!(
        "SELECT {BUILD_COLUMNS} FROM build INDEXED BY {index} {conditions} ORDER BY id DESC LIMIT {}",
        limit + 1
    );
    (sql, values)
}

/// How SQLite would find a page.
#[cfg(test)]
pub(super) fn plan(connection: &Connection, filter: &BuildFilter) -> Result<String, HistoryError> {
    let (sql, values) = page_question(filter, filter.limit);
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
    let lines = statement.query_map(rusqlite::params_from_iter(values), |row| row.get::<_, String>(3))?;
    Ok(lines.collect::<Result<Vec<_>, _>>()?.join("; "))
}

/// An id that no build created at or after an instant is below: a UUIDv7 begins with its milliseconds. An hour
/// is allowed for a build that waited for the writer.
fn lowest_id(since_ms: i64) -> String {
    let ms = u64::try_from(since_ms.saturating_sub(3_600_000)).unwrap_or_default().min((1 << 48) - 1);
    let digits = format!("{ms:012x}");
    let (high, low) = digits.split_at(8);
    format!("{high}-{low}")
}

fn build(connection: &Connection, id: &str) -> Result<Option<v1::Build>, HistoryError> {
    let sql = format!("SELECT {BUILD_COLUMNS} FROM build WHERE id = ?1");
    let found = connection.prepare_cached(&sql)?.query_row([id], build_row).optional()?;
    let Some(mut build) = found else { return Ok(None) };
    parts::add(connection, std::slice::from_mut(&mut build))?;
    parts::add_failed_checks(connection, std::slice::from_mut(&mut build))?;
    definition::add(connection, &mut build)?;
    Ok(Some(build))
}

fn build_row(row: &Row<'_>) -> rusqlite::Result<v1::Build> {
    let word = |index: usize| row.get::<_, Option<String>>(index).map(Option::unwrap_or_default);
    let failure = failure(row, 9)?;
    Ok(v1::Build {
        id: row.get(0)?,
        schedule: row.get(1)?,
        cloud: row.get(2)?,
        state: v1::BuildState::from_word(&word(3)?).unwrap_or_default().into(),
        verdict: v1::Verdict::from_word(&word(4)?).unwrap_or_default().into(),
        reason: failure.as_ref().map(|failure| failure.reason.clone()).unwrap_or_default(),
        trigger: v1::Trigger::from_word(&word(5)?).unwrap_or_default().into(),
        created_at: Some(clock::timestamp(row.get(6)?)),
        started_at: row.get::<_, Option<i64>>(7)?.map(clock::timestamp),
        finished_at: row.get::<_, Option<i64>>(8)?.map(clock::timestamp),
        failure,
        retry_of: word(13)?,
        requested_by: word(14)?,
        cancelled_by: word(15)?,
        warnings: word(16)?.lines().map(str::to_owned).collect(),
        unchanged_since: word(17)?,
        forced: row.get(18)?,
        verification: row.get(19)?,
        ..v1::Build::default()
    })
}

/// Reason, stage, message and evidence, in four columns from this one on.
pub(super) fn failure(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<v1::Failure>> {
    let word = |index: usize| row.get::<_, Option<String>>(index).map(Option::unwrap_or_default);
    let Some(reason) = row.get::<_, Option<String>>(first)? else { return Ok(None) };
    Ok(Some(v1::Failure {
        hint: hint_of(&reason).to_owned(),
        reason,
        stage: word(first + 1)?,
        message: word(first + 2)?,
        evidence: word(first + 3)?,
    }))
}
