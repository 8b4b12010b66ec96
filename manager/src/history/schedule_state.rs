//! What must be remembered of a schedule: since when it counts, whether and why it is paused, what it owes.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension as _, params};

use super::audit::{About, Action, append};
use super::builds::unfinished_of;
use super::follow_up::OwedRetry;
use super::{History, HistoryError, Principal, now_ms};

/// What is remembered of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleState {
    /// Fire times up to this instant (milliseconds since the epoch) are dealt with.
    pub since: i64,
    /// The same of the fire times of `reverify`.
    pub reverify_since: i64,
    /// It does not fire by itself for now.
    pub paused: bool,
    /// Why; empty when it is not paused.
    pub pause_reason: String,
    /// Since when, in milliseconds since the epoch.
    pub paused_at: Option<i64>,
    /// Who paused it; empty when it is not paused.
    pub paused_by: String,
    /// Builds in a row that did not pass.
    pub failures: u32,
    /// Its retry that is to come.
    pub retry: Option<OwedRetry>,
}

/// Why a schedule is paused that somebody has paused.
const ON_REQUEST: &str = "paused on request";

/// What a schedule fires by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries {
    /// Name of the schedule.
    pub schedule: String,
    /// The cron entry of its builds, with its time zone.
    pub cron: String,
    /// That of its verifications.
    pub reverify: String,
}

impl History {
    /// Makes known which schedules there are, with their cron entries. One that is new or back again, or whose
    /// entry has changed, counts from now: there is nothing to catch up. Whether it is paused stays; what a
    /// schedule owed that is gone is forgotten.
    pub async fn remember_schedules(&self, entries: Vec<Entries>) -> Result<(), HistoryError> {
        self.writer()?
            .run("schedules:remember", move |tx| {
                let known = serde_json::json!(entries.iter().map(|entry| &entry.schedule).collect::<Vec<_>>()).to_string();
                tx.execute(
                    "UPDATE schedule_state SET cron = '', reverify = '' WHERE schedule NOT IN (SELECT value FROM json_each(?1))",
                    [&known],
                )?;
                tx.execute(
                    "DELETE FROM retry WHERE schedule NOT IN (SELECT value FROM json_each(?1))",
                    [&known],
                )?;
                for Entries { schedule, cron, reverify } in &entries {
                    tx.execute(
                        "INSERT INTO schedule_state (schedule, cron, since, reverify, reverify_since)
                         VALUES (?1, ?2, ?4, ?3, ?4) ON CONFLICT (schedule) DO UPDATE SET
                            since = CASE WHEN cron <> excluded.cron THEN excluded.since ELSE since END,
                            cron = excluded.cron,
                            reverify_since = CASE WHEN reverify <> excluded.reverify THEN excluded.reverify_since
                                ELSE reverify_since END,
                            reverify = excluded.reverify",
                        params![schedule, cron, reverify, now_ms()],
                    )?;
                }
                Ok(())
            })
            .await
    }

    /// All remembered schedules by name.
    pub async fn schedule_states(&self) -> Result<BTreeMap<String, ScheduleState>, HistoryError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT s.schedule, s.since, s.paused, s.pause_reason, s.paused_at, s.failures, r.build_id, r.due_at, s.paused_by,
                    s.reverify_since
                 FROM schedule_state s LEFT JOIN retry r ON r.schedule = s.schedule",
            )?;
            let rows = statement.query_map([], |row| {
                let owed = row.get::<_, Option<String>>(6)?.zip(row.get(7)?);
                let state = ScheduleState {
                    since: row.get(1)?,
                    reverify_since: row.get(9)?,
                    paused: row.get(2)?,
                    pause_reason: row.get(3)?,
                    paused_at: row.get(4)?,
                    failures: row.get(5)?,
                    paused_by: row.get(8)?,
                    retry: owed.map(|(build_id, due_at)| OwedRetry { build_id, due_at }),
                };
                Ok((row.get(0)?, state))
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
                    "UPDATE schedule_state SET since = min(since, ?2), reverify_since = min(reverify_since, ?2)
                     WHERE schedule = ?1",
                    params![schedule, since],
                )?;
                Ok(())
            })
            .await
    }

    /// Commits that the fire times of a schedule's verifications are dealt with up to an instant, without one.
    pub async fn reverify_passed(&self, schedule: &str, until: i64) -> Result<(), HistoryError> {
        let schedule = schedule.to_owned();
        self.writer()?
            .run("schedules:reverify_passed", move |tx| {
                tx.execute(
                    "UPDATE schedule_state SET reverify_since = max(reverify_since, ?2) WHERE schedule = ?1",
                    params![schedule, until],
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

    /// Pauses or resumes a schedule. One that is paused already stays so for the reason that it has. Resuming
    /// counts from now: what was missed is not caught up, and its failures are forgotten.
    pub async fn set_paused(&self, schedule: &str, paused: bool, by: Principal) -> Result<(), HistoryError> {
        let schedule = schedule.to_owned();
        self.writer()?
            .run("schedules:paused", move |tx| {
                let was: Option<bool> = tx
                    .query_row("SELECT paused FROM schedule_state WHERE schedule = ?1", [&schedule], |row| row.get(0))
                    .optional()?;
                if was.is_some_and(|was| was != paused) {
                    let action = if paused { Action::SchedulePaused } else { Action::ScheduleResumed };
                    append(tx, &by, action, About::subject(&schedule))?;
                }
                if paused {
                    tx.execute(
                        "UPDATE schedule_state SET paused = 1, pause_reason = ?2, paused_at = ?3, paused_by = ?4
                         WHERE schedule = ?1 AND NOT paused",
                        params![schedule, ON_REQUEST, now_ms(), by.to_string()],
                    )?;
                    tx.execute("DELETE FROM retry WHERE schedule = ?1", [&schedule])?;
                } else {
                    tx.execute(
                        "UPDATE schedule_state SET since = CASE WHEN paused THEN max(since, ?2) ELSE since END,
                         reverify_since = CASE WHEN paused THEN max(reverify_since, ?2) ELSE reverify_since END,
                         paused = 0, pause_reason = '', paused_at = NULL, paused_by = '', failures = 0 WHERE schedule = ?1",
                        params![schedule, now_ms()],
                    )?;
                }
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
