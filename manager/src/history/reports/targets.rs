//! How each target of a schedule went: the trials of its builds, for schedules whose builds have several.

use std::collections::BTreeMap;
use std::ops::Range;

use image_manager_proto::v1::{self, Verdict};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::COUNTED;
use super::distribution::Distribution;
use super::summary::{durations, ratio};
use crate::history::HistoryError;
use crate::history::names::Named as _;
use crate::stage::Stage;

/// Most targets that are told of a schedule.
const MOST: usize = 100;

/// Adds the targets of a schedule's report, by the newest `most` builds of the range. Without any where the newest build
/// has one trial: everything is said of that already.
pub(super) fn of_schedule(
    connection: &Connection,
    schedule: &str,
    created: Range<i64>,
    most: u64,
) -> Result<Vec<v1::TargetReport>, HistoryError> {
    let mut newest = connection.prepare_cached(
        "SELECT (SELECT count(*) FROM trial t WHERE t.build_id = b.id) FROM build b INDEXED BY build_by_schedule_time
         WHERE b.schedule = ?1 AND b.created_at >= ?2 AND b.created_at < ?3 AND b.verification IS NULL
         ORDER BY b.created_at DESC LIMIT 1",
    )?;
    let range = params![schedule, created.start, created.end];
    let trials: Option<i64> = newest.query_row(range, |row| row.get(0)).optional()?;
    if trials.is_none_or(|trials| trials < 2) {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare_cached(&format!(
        "SELECT t.target, t.cloud, t.verdict, t.state, CASE WHEN b.taken_up <= 0 THEN t.agent_attached_at END,
            s.started_at
         FROM (SELECT id, taken_up FROM build INDEXED BY build_by_schedule_time
               WHERE schedule = ?1 AND created_at >= ?2 AND created_at < ?3
               AND state IN {COUNTED} AND verification IS NULL ORDER BY created_at DESC LIMIT ?4) b
         JOIN trial t ON t.build_id = b.id
         LEFT JOIN stage s ON s.build_id = b.id AND s.trial = t.position AND s.name = ?5",
    ))?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let booting = Stage::Booting.word();
    let mut rows = statement.query(params![schedule, created.start, created.end, most, booting])?;
    let mut found: BTreeMap<String, (v1::TargetReport, Distribution)> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let target: String = row.get(0)?;
        if found.len() >= MOST && !found.contains_key(&target) {
            continue;
        }
        let (report, boot) = found.entry(target).or_default();
        if report.cloud.is_empty() {
            report.cloud = row.get(1)?;
        }
        let verdict = row.get::<_, Option<String>>(2)?.unwrap_or_default();
        count(report, Verdict::from_word(&verdict).unwrap_or_default(), &row.get::<_, String>(3)?);
        let (attached, began): (Option<i64>, Option<i64>) = (row.get(4)?, row.get(5)?);
        if let (Some(attached), Some(began)) = (attached, began)
            && let Ok(took) = u64::try_from(attached - began)
        {
            boot.add(took);
        }
    }
    let told = found.into_iter().map(|(target, (report, boot))| v1::TargetReport {
        target,
        success_rate: ratio(report.passed, report.passed + report.failed),
        boot: durations(&boot),
        ..report
    });
    Ok(told.collect())
}

fn count(report: &mut v1::TargetReport, verdict: Verdict, state: &str) {
    // One that was skipped was never a trial.
    match verdict {
        Verdict::Passed => report.passed += 1,
        Verdict::Failed => report.failed += 1,
        Verdict::Errored => report.errored += 1,
        Verdict::Unspecified if state == v1::TrialState::Cancelled.word() => report.cancelled += 1,
        Verdict::Unspecified => return,
    }
    report.trials += 1;
}
