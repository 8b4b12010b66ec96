//! Builds that end without having made anything, because nothing has changed since the last one that passed.

use image_manager_proto::v1;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::builds::{Ending, advance};
use super::names::Named as _;
use super::points::Point;
use super::{DefinitionPart, History, HistoryError};

/// Most artifacts that are looked at for whether what is kept of them is still needed.
const MOST: u32 = 100;

/// What a build that is about to begin can be compared with: the last one of its schedule that came to a verdict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Before {
    /// The build's id.
    pub id: String,
    /// Whether it passed.
    pub passed: bool,
    /// When it ended, in milliseconds since the epoch.
    pub finished_at: i64,
    /// Digest of what its image was defined by; empty when that is not known.
    pub definition_digest: String,
    /// The parts of that.
    pub definition: Vec<DefinitionPart>,
    /// Digest of the schedule that it was built by; empty when there is no artifact.
    pub schedule_digest: String,
    /// SHA-256 of what is kept of its artifact; `None` when nothing is.
    pub packages_sha256: Option<String>,
    /// Its trials: target, cloud, whether it passed, the name that its image has in the cloud.
    pub trials: Vec<(String, String, bool, String)>,
}

impl History {
    /// What the build of a schedule that is about to begin can be compared with; `None` when none before it came to a
    /// verdict.
    pub async fn before(&self, id: &str) -> Result<Option<Before>, HistoryError> {
        let id = id.to_owned();
        self.read(move |connection| before(connection, &id)).await
    }

    /// Ends a build of the queue because nothing has changed since another, and says so in the stage that is left out.
    ///
    /// # Errors
    /// [`HistoryError::IllegalMove`] when the build is not in the queue any more.
    pub async fn skip_build(&self, id: &str, since: &str, detail: &str) -> Result<(), HistoryError> {
        let (id, since, detail) = (id.to_owned(), since.to_owned(), detail.to_owned());
        let (from, to) = (v1::BuildState::Queued, v1::BuildState::Skipped);
        self.writer()?
            .run(Point::Of("advance", to.word().to_owned()), move |tx| {
                tx.execute("UPDATE build SET unchanged_since = ?2 WHERE id = ?1", params![id, since])?;
                tx.execute(
                    "UPDATE stage SET detail = ?3 WHERE build_id = ?1 AND trial IS NULL AND name = ?2",
                    params![id, v1::BuildState::Building.word(), detail],
                )?;
                advance(tx, &id, from, to, &Ending::new(v1::StageState::Skipped, ""))
            })
            .await
    }

    /// Builds of a schedule of which something is kept that is not needed any more: all but the last one that passed,
    /// and those that have not ended.
    pub async fn superseded_packages(&self, schedule: &str) -> Result<Vec<String>, HistoryError> {
        let schedule = schedule.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT b.id FROM artifact a INDEXED BY artifact_with_packages CROSS JOIN build b ON b.id = a.build_id
                 WHERE a.packages_sha256 IS NOT NULL AND b.schedule = ?1
                   AND b.state IN ('succeeded', 'failed', 'errored', 'cancelled', 'skipped')
                   AND b.id IS NOT (SELECT p.id FROM build p INDEXED BY build_by_schedule_state
                                    WHERE p.schedule = ?1 AND p.state = 'succeeded' ORDER BY p.id DESC LIMIT 1)
                 ORDER BY a.build_id LIMIT ?2",
            )?;
            let ids = statement.query_map(params![schedule, MOST], |row| row.get(0))?;
            Ok(ids.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// What was kept of a build's artifact is there no more.
    pub async fn packages_dropped(&self, id: &str) -> Result<(), HistoryError> {
        let id = id.to_owned();
        self.writer()?
            .run("drop:packages", move |tx| {
                tx.execute("UPDATE artifact SET packages_sha256 = NULL WHERE build_id = ?1", [id])?;
                Ok(())
            })
            .await
    }

    /// Whether something is kept of a build's artifact.
    pub async fn has_packages(&self, id: &str) -> Result<bool, HistoryError> {
        Ok(self.artifact(id).await?.is_some_and(|artifact| artifact.packages_sha256.is_some()))
    }
}

fn before(connection: &Connection, id: &str) -> Result<Option<Before>, HistoryError> {
    let found = connection
        .prepare_cached(
            "SELECT b.id, b.state = 'succeeded', b.finished_at, b.definition_digest, a.schedule_digest,
                a.packages_sha256
             FROM build this JOIN build b INDEXED BY build_by_schedule ON b.schedule = this.schedule AND b.id < this.id
             LEFT JOIN artifact a ON a.build_id = b.id
             WHERE this.id = ?1 AND b.state IN ('succeeded', 'failed', 'errored') ORDER BY b.id DESC LIMIT 1",
        )?
        .query_row([id], |row| {
            let word = |index: usize| row.get::<_, Option<String>>(index).map(Option::unwrap_or_default);
            Ok(Before {
                id: row.get(0)?,
                passed: row.get(1)?,
                finished_at: row.get::<_, Option<i64>>(2)?.unwrap_or_default(),
                definition_digest: word(3)?,
                schedule_digest: word(4)?,
                packages_sha256: row.get(5)?,
                ..Before::default()
            })
        })
        .optional()?;
    let Some(mut before) = found else { return Ok(None) };
    let mut parts = connection.prepare_cached(
        "SELECT kind, name, value, source FROM definition_part WHERE build_id = ?1 ORDER BY position",
    )?;
    let parts = parts.query_map([&before.id], |row| {
        Ok(DefinitionPart { kind: row.get(0)?, name: row.get(1)?, value: row.get(2)?, source: row.get(3)? })
    })?;
    before.definition = parts.collect::<Result<_, _>>()?;
    let mut trials = connection.prepare_cached(
        "SELECT target, cloud, coalesce(verdict, '') = 'passed', coalesce(image_name, '') FROM trial
         WHERE build_id = ?1 ORDER BY position",
    )?;
    let trials =
        trials.query_map([&before.id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    before.trials = trials.collect::<Result<_, _>>()?;
    Ok(Some(before))
}
