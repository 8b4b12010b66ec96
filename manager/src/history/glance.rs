//! The newest builds of many schedules at a glance, without their parts.

use std::collections::BTreeMap;

use image_manager_proto::v1;

use super::names::Named as _;
use super::{History, HistoryError, parts};
use crate::clock::timestamp;

/// Builds of a schedule that are read at most.
const MOST: u32 = 100;
/// Of so many the trials are read: the newest is under way or has ended, and the one before has ended in any case.
const WITH_TRIALS: usize = 2;

impl History {
    /// The newest builds of each of these schedules, newest first, at most `each`: id, state, reason and
    /// times only, and the trials of the newest two.
    pub async fn newest_of_each(
        &self,
        schedules: Vec<String>,
        each: u32,
    ) -> Result<BTreeMap<String, Vec<v1::Build>>, HistoryError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, state, created_at, started_at, finished_at, failure_reason FROM build
                 WHERE schedule = ?1 ORDER BY id DESC LIMIT ?2",
            )?;
            let mut found = BTreeMap::new();
            for schedule in schedules {
                let rows = statement.query_map(rusqlite::params![schedule, each.min(MOST)], |row| {
                    let state: String = row.get(1)?;
                    Ok(v1::Build {
                        id: row.get(0)?,
                        schedule: schedule.clone(),
                        state: v1::BuildState::from_word(&state).unwrap_or_default().into(),
                        created_at: Some(timestamp(row.get(2)?)),
                        started_at: row.get::<_, Option<i64>>(3)?.map(timestamp),
                        finished_at: row.get::<_, Option<i64>>(4)?.map(timestamp),
                        reason: row.get::<_, Option<String>>(5)?.unwrap_or_default(),
                        ..v1::Build::default()
                    })
                })?;
                let builds = rows.collect::<Result<Vec<_>, _>>()?;
                found.insert(schedule, builds);
            }
            let told = found.values_mut().flat_map(|builds| builds.iter_mut().take(WITH_TRIALS));
            parts::add_trials(connection, &mut told.collect::<Vec<_>>())?;
            Ok(found)
        })
        .await
    }
}
