//! The builds of its schedule that are told beside a build: the last good one, the first bad one, and its retries.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{History, HistoryError};

/// Builds after one among which its retry is looked for: a retry is the next one, unless somebody was quicker.
const NEXT: u32 = 50;

/// A build, by what is told of it elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelatedBuild {
    /// Its id.
    pub id: String,
    /// When it was queued, in milliseconds since the epoch.
    pub created_ms: i64,
    /// Milliseconds from its first stage to its end, when both are known.
    pub took_ms: Option<i64>,
}

/// The builds of its schedule that are told beside a build. Verifications are no part of it: they make no image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RelatedBuilds {
    /// The build before it.
    pub previous: Option<String>,
    /// The newest build before it that passed.
    pub last_good: Option<RelatedBuild>,
    /// The oldest build since then, up to itself, that did not pass.
    pub first_bad: Option<RelatedBuild>,
    /// The build that is its retry.
    pub retried_by: Option<String>,
}

impl History {
    /// The builds that are told beside a build of a schedule.
    pub async fn related_builds(&self, schedule: &str, id: &str) -> Result<RelatedBuilds, HistoryError> {
        let previous = self.previous(schedule, id).await?;
        let (schedule, id) = (schedule.to_owned(), id.to_owned());
        self.read(move |connection| {
            let last_good = one(
                connection,
                "state = 'succeeded' AND id > ?2 AND id < ?3 ORDER BY id DESC",
                [&schedule, "", &id],
            )?;
            let since = last_good.as_ref().map(|good| good.id.as_str()).unwrap_or_default();
            let mut first_bad: Option<RelatedBuild> = None;
            for state in ["failed", "errored"] {
                let condition = format!("state = '{state}' AND id > ?2 AND id <= ?3 ORDER BY id");
                let found = one(connection, &condition, [&schedule, since, &id])?;
                first_bad = [first_bad, found].into_iter().flatten().min_by(|a, b| a.id.cmp(&b.id));
            }
            let retried_by = connection
                .prepare_cached(
                    "SELECT id FROM (SELECT id, retry_of FROM build INDEXED BY build_by_schedule
                        WHERE schedule = ?1 AND id > ?2 ORDER BY id LIMIT ?3) WHERE retry_of = ?2 LIMIT 1",
                )?
                .query_row(params![schedule, id, NEXT], |row| row.get(0))
                .optional()?;
            Ok(RelatedBuilds { previous, last_good, first_bad, retried_by })
        })
        .await
    }

    /// The required checks that failed, by build; the first of each name, in the schedule's order.
    pub async fn failed_checks(
        &self,
        builds: Vec<String>,
    ) -> Result<BTreeMap<String, Vec<String>>, HistoryError> {
        if builds.is_empty() {
            return Ok(BTreeMap::new());
        }
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT build_id, name FROM check_result
                 WHERE build_id IN (SELECT value FROM json_each(?1)) AND outcome = 'fail' AND required
                 ORDER BY build_id, position",
            )?;
            let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
            let rows = statement.query_map([serde_json::json!(builds).to_string()], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })?;
            for row in rows {
                let (build, name) = row?;
                let names = found.entry(build).or_default();
                // Several targets may ask for a check of one name.
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            Ok(found)
        })
        .await
    }
}

fn one(
    connection: &Connection,
    condition: &str,
    values: [&str; 3],
) -> rusqlite::Result<Option<RelatedBuild>> {
    let sql = format!(
        "SELECT id, created_at, finished_at - started_at FROM build INDEXED BY build_by_schedule_state
         WHERE schedule = ?1 AND verification IS NULL AND {condition} LIMIT 1"
    );
    connection
        .prepare_cached(&sql)?
        .query_row(values, |row| {
            Ok(RelatedBuild { id: row.get(0)?, created_ms: row.get(1)?, took_ms: row.get(2)? })
        })
        .optional()
}

#[cfg(test)]
mod tests {
    use image_manager_proto::v1::{self, CheckOutcome, Verdict};

    use super::*;
    use crate::history::tests::{build_to_its_end, new_build, open};
    use crate::history::{BuildFilter, TrialKey};

    #[tokio::test]
    async fn the_last_good_build_and_the_first_bad_one_are_found() {
        let directory = tempfile::tempdir().unwrap();
        let history = open(&directory);
        for verdict in [Verdict::Passed, Verdict::Passed, Verdict::Errored, Verdict::Failed, Verdict::Failed]
        {
            build_to_its_end(&history, "web", verdict).await;
            build_to_its_end(&history, "other", Verdict::Passed).await;
        }
        let filter =
            BuildFilter { schedule: Some("web".to_owned()), limit: 10, bare: true, ..BuildFilter::default() };
        let newest = history.builds(filter).await.unwrap().builds;
        let id = |place: usize| newest[place].id.as_str();
        let related = history.related_builds("web", id(0)).await.unwrap();
        assert_eq!(related.previous.as_deref(), Some(id(1)));
        assert_eq!(related.last_good.as_ref().map(|good| &*good.id), Some(id(3)));
        assert_eq!(related.first_bad.as_ref().map(|bad| &*bad.id), Some(id(2)), "errored counts");
        assert!(related.last_good.unwrap().took_ms.is_some());
        let good = history.related_builds("web", id(3)).await.unwrap();
        assert_eq!((good.last_good.as_ref().map(|good| &*good.id), good.first_bad), (Some(id(4)), None));
        assert_eq!(history.related_builds("web", id(4)).await.unwrap(), RelatedBuilds::default());
    }

    #[tokio::test]
    async fn failed_checks_are_told_by_build() {
        let directory = tempfile::tempdir().unwrap();
        let history = open(&directory);
        history.create_build(new_build("01a", "web")).await.unwrap();
        let failed = || history.failed_checks(vec!["01a".to_owned(), "01b".to_owned()]);
        assert!(failed().await.unwrap().is_empty(), "none has an outcome yet");
        let check = v1::Check {
            name: "disk".to_owned(),
            required: true,
            outcome: CheckOutcome::Fail.into(),
            ..v1::Check::default()
        };
        let key = TrialKey { build_id: "01a".to_owned(), position: 0 };
        history.record_checks(&key, vec![check]).await.unwrap();
        let expected = BTreeMap::from([("01a".to_owned(), vec!["disk".to_owned()])]);
        assert_eq!(failed().await.unwrap(), expected);
    }
}
