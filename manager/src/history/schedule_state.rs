//! What must be remembered of a schedule: since when it counts, and whether it is paused.

use std::collections::BTreeMap;

use rusqlite::params;

use super::builds::unfinished_of;
use super::{History, HistoryError, now_ms};

/// What is remembered of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleState {
    /// Fire times up to this instant (milliseconds since the epoch) are dealt with.
    pub since: i64,
    /// It does not fire by itself for now.
    pub paused: bool,
}

impl History {
    /// Makes known which schedules there are, with their cron entries. One that is new or back again, or whose
    /// entry has changed, counts from now: there is nothing to catch up. Whether it is paused stays.
    pub async fn remember_schedules(&self, entries: Vec<(String, String)>) -> Result<(), HistoryError> {
        self.writer()?
            .run("schedules:remember", move |tx| {
                let known = serde_json::json!(entries.iter().map(|(name, _)| name).collect::<Vec<_>>()).to_string();
                tx.execute(
                    "UPDATE schedule_state SET cron = '' WHERE schedule NOT IN (SELECT value FROM json_each(?1))",
                    [known],
                )?;
                for (schedule, cron) in &entries {
                    tx.execute(
                        "INSERT INTO schedule_state (schedule, cron, since) VALUES (?1, ?2, ?3)
                         ON CONFLICT (schedule) DO UPDATE SET cron = excluded.cron, since = excluded.since
                         WHERE cron <> excluded.cron",
                        params![schedule, cron, now_ms()],
                    )?;
                }
                Ok(())
            })
            .await
    }

    /// All remembered schedules by name.
    pub async fn schedule_states(&self) -> Result<BTreeMap<String, ScheduleState>, HistoryError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT schedule, since, paused FROM schedule_state")?;
            let rows = statement.query_map([], |row| {
                Ok((row.get(0)?, ScheduleState { since: row.get(1)?, paused: row.get(2)? }))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Sets back what a wrong clock had put into the future.
    pub async fn reset_since(&self, schedule: &str, since: i64) -> Result<(), HistoryError> {
        let schedule = schedule.to_owned();
        self.writer()?
            .run("schedules:reset_since", move |tx| {
                tx.execute(
                    "UPDATE schedule_state SET since = ?2 WHERE schedule = ?1",
                    params![schedule, since],
                )?;
                Ok(())
            })
            .await
    }

    /// Commits that the fire times of a schedule are dealt with up to an instant, without a build.
    pub async fn schedule_passed(&self, schedule: &str, until: i64) -> Result<(), HistoryError> {
        let schedule = schedule.to_owned();
        self.writer()?
            .run("schedules:passed", move |tx| {
                tx.execute(
                    "UPDATE schedule_state SET since = max(since, ?2) WHERE schedule = ?1",
                    params![schedule, until],
                )?;
                Ok(())
            })
            .await
    }

    /// Pauses or resumes a schedule. Resuming counts from now: what was missed is not caught up.
    pub async fn set_paused(&self, schedule: &str, paused: bool) -> Result<(), HistoryError> {
        let schedule = schedule.to_owned();
        self.writer()?
            .run("schedules:paused", move |tx| {
                tx.execute(
                    "UPDATE schedule_state SET paused = ?2,
                     since = CASE WHEN paused AND NOT ?2 THEN max(since, ?3) ELSE since END WHERE schedule = ?1",
                    params![schedule, paused, now_ms()],
                )?;
                Ok(())
            })
            .await
    }

    /// The unfinished build of a schedule.
    pub async fn unfinished_build(&self, schedule: &str) -> Result<Option<String>, HistoryError> {
        let schedule = schedule.to_owned();
        self.read(move |connection| Ok(unfinished_of(connection, &schedule)?)).await
    }
}
