//! The builds of its schedule that are told beside a build: the last good one, the first bad one, and its retries.

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
    use image_manager_proto::v1::Verdict;

    use super::*;
    use crate::history::BuildFilter;
    use crate::history::tests::{build_to_its_end, open};

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
}
