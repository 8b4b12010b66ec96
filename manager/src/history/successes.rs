//! When a schedule passed last.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension as _, params};

use super::{History, HistoryError};

impl History {
    /// When the image of each of these schedules was good last, in milliseconds since the epoch: its last build passed
    /// then, or would have made the same. One that never did is absent.
    pub async fn last_successes(
        &self,
        schedules: Vec<String>,
    ) -> Result<BTreeMap<String, i64>, HistoryError> {
        self.read(move |connection| {
            // Newest first by the index of the schedule: it ends at the first one that passed.
            let mut statement = connection.prepare_cached(
                "SELECT finished_at FROM build WHERE schedule = ?1 AND state IN ('succeeded', 'skipped')
                    AND verification IS NULL ORDER BY id DESC LIMIT 1",
            )?;
            let mut found = BTreeMap::new();
            for schedule in schedules {
                let finished: Option<Option<i64>> =
                    statement.query_row(params![schedule], |row| row.get(0)).optional()?;
                if let Some(finished) = finished.flatten() {
                    found.insert(schedule, finished);
                }
            }
            Ok(found)
        })
        .await
    }
}
