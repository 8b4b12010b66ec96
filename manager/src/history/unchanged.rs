//! Builds that end without having made anything, because nothing has changed since the last one that passed.

use image_manager_proto::v1;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::builds::{Ending, advance};
use super::names::{ENDS, Named as _};
use super::points::Point;
use super::{DefinitionPart, History, HistoryError, definition, records};

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
    /// Fingerprint of the certificate that its image's agent obeys; `None` when that is not known.
    pub fingerprint: Option<String>,
    /// Its trials: target, cloud, whether it passed.
    pub trials: Vec<(String, String, bool)>,
    /// The public names that its image has, or had: cloud, name, and what has become of that.
    pub published: Vec<(String, String, v1::PublicationState)>,
}

impl History {
    /// What the build of a schedule that is about to begin can be compared with; `None` when none before it came to a
    /// verdict.
    pub async fn before(&self, id: &str) -> Result<Option<Before>, HistoryError> {
        let id = id.to_owned();
        self.read(move |connection| before(connection, &id)).await
    }

    /// Ends a build of the queue because nothing has changed since another, and says so in the stage that is left out. False,
    /// and nothing is done, where the other's public names are not those that were `published` when it was asked, or one is
    /// about to go: its image may have been revoked or rolled back meanwhile.
    ///
    /// # Errors
    /// [`HistoryError::IllegalMove`] when the build is not in the queue any more.
    pub async fn skip_build(
        &self,
        id: &str,
        since: &str,
        published: &[(String, String, v1::PublicationState)],
        detail: &str,
    ) -> Result<bool, HistoryError> {
        let (id, since, detail) = (id.to_owned(), since.to_owned(), detail.to_owned());
        let then = published.to_vec();
        let (from, to) = (v1::BuildState::Queued, v1::BuildState::Skipped);
        self.writer()?
            .run(Point::Of("advance", to.word().to_owned()), move |tx| {
                if published_names(tx, &since)? != then || loses_a_name(tx, &since)? {
                    return Ok(false);
                }
                tx.execute("UPDATE build SET unchanged_since = ?2 WHERE id = ?1", params![id, since])?;
                tx.execute(
                    "UPDATE stage SET detail = ?3 WHERE build_id = ?1 AND trial IS NULL AND name = ?2",
                    params![id, v1::BuildState::Building.word(), detail],
                )?;
                advance(tx, &id, from, to, &Ending::new(v1::StageState::Skipped, ""))?;
                Ok(true)
            })
            .await
    }

    /// Builds of a schedule of which something is kept that is not needed any more: all but the last one that passed,
    /// and those that have not ended.
    pub async fn superseded_packages(&self, schedule: &str) -> Result<Vec<String>, HistoryError> {
        let schedule = schedule.to_owned();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT b.id FROM artifact a INDEXED BY artifact_with_packages CROSS JOIN build b ON b.id = a.build_id
                 WHERE a.packages_sha256 IS NOT NULL AND b.schedule = ?1
                   AND b.state IN {ENDS}
                   AND b.id IS NOT (SELECT p.id FROM build p INDEXED BY build_by_schedule_state
                                    WHERE p.schedule = ?1 AND p.state = 'succeeded' AND p.verification IS NULL
                                    ORDER BY p.id DESC LIMIT 1)
                 ORDER BY a.build_id LIMIT ?2",
            ))?;
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
             WHERE this.id = ?1 AND b.state IN ('succeeded', 'failed', 'errored') AND b.verification IS NULL
             ORDER BY b.id DESC LIMIT 1",
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
    before.definition = definition::parts(connection, &before.id)?;
    before.fingerprint = records::obeys(connection, &before.id)?;
    let mut trials = connection.prepare_cached(
        "SELECT target, cloud, coalesce(verdict, '') = 'passed' FROM trial WHERE build_id = ?1 ORDER BY position",
    )?;
    let trials = trials.query_map([&before.id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    before.trials = trials.collect::<Result<_, _>>()?;
    before.published = published_names(connection, &before.id)?;
    Ok(Some(before))
}

/// The public names that a build's image has, or had: cloud, name, and what has become of that.
fn published_names(
    connection: &Connection,
    id: &str,
) -> Result<Vec<(String, String, v1::PublicationState)>, HistoryError> {
    let mut published = connection.prepare_cached(
        "SELECT cloud, name, state FROM publication WHERE build_id = ?1 ORDER BY cloud, name",
    )?;
    let published = published.query_map([id], |row| {
        let state = v1::PublicationState::from_word(&row.get::<_, String>(2)?).unwrap_or_default();
        Ok((row.get(0)?, row.get(1)?, state))
    })?;
    Ok(published.collect::<Result<_, _>>()?)
}

/// Whether a name that a build's image has is about to go to another one, or the image is about to be revoked.
fn loses_a_name(connection: &Connection, id: &str) -> Result<bool, HistoryError> {
    let query =
        "SELECT EXISTS (SELECT 1 FROM handover h JOIN publication p ON p.name = h.name AND p.cloud = h.cloud
         WHERE p.build_id = ?1 AND (h.revoked = ?1 OR (p.state = 'current' AND h.to_build IS NOT ?1)))
         OR EXISTS (SELECT 1 FROM publication WHERE build_id = ?1 AND revoked_at IS NOT NULL
            AND state IN ('current', 'previous'))";
    Ok(connection.prepare_cached(query)?.query_row([id], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use image_manager_proto::v1::{BuildState as S, StageState, Trigger, Verdict};

    use super::*;
    use crate::history::{ArtifactRecord, Change, NewBuild, NewHandover, NewTrial, Principal, Revocation};

    async fn queue(history: &History, id: &str) {
        let trial = NewTrial {
            target: "local".to_owned(),
            cloud: "local".to_owned(),
            required: true,
            stages: vec!["uploading"],
            checks: Vec::new(),
            image: None,
        };
        let build = NewBuild {
            id: id.to_owned(),
            schedule: "web".to_owned(),
            trigger: Trigger::Cli,
            requested_by: Principal::Manager,
            stages: (vec!["building"], vec!["cleaning_up"]),
            trials: vec![trial],
            fired_at: None,
            retry_of: None,
            forced: false,
            verification: None,
        };
        history.create_build(build).await.unwrap();
    }

    async fn build(history: &History, id: &str, end: S) {
        queue(history, id).await;
        let artifact = ArtifactRecord {
            fingerprint: Some(format!("certificate of {id}")),
            file: id.into(),
            sha512: String::new(),
            schedule_digest: format!("digest of {id}"),
            packages_sha256: Some(id.to_owned()),
        };
        history.record_artifact(id, artifact).await.unwrap();
        let verdict = if end == S::Succeeded { Verdict::Passed } else { Verdict::Failed };
        let ending = Ending::new(StageState::Done, "");
        history.finish(id, (S::Queued, end), Some((verdict, None)), ending, None).await.unwrap();
    }

    #[tokio::test]
    async fn a_build_that_is_left_out_made_nothing_and_blocks_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let history = History::open(&directory.path().join("image-manager.db")).unwrap();
        queue(&history, "1").await;
        assert_eq!(history.before("1").await.unwrap(), None);
        assert!(history.skip_build("1", "0", &[], "nothing has changed").await.unwrap());
        let skipped = history.build("1").await.unwrap();
        assert_eq!((skipped.state(), skipped.verdict()), (S::Skipped, Verdict::Unspecified));
        assert_eq!(
            (skipped.unchanged_since.as_str(), skipped.stages[0].detail.as_str()),
            ("0", "nothing has changed")
        );
        assert!(skipped.finished_at.is_some() && skipped.started_at.is_none());
        assert!(skipped.stages.iter().all(|stage| stage.state() == StageState::Skipped));
        assert_eq!(skipped.trials[0].state(), v1::TrialState::Skipped);
        assert!(history.unfinished().await.unwrap().is_empty());
        let twice = history.skip_build("1", "0", &[], "").await.unwrap_err();
        assert!(matches!(twice, HistoryError::IllegalMove { .. }), "{twice}");
        let fresh = history.last_successes(vec!["web".to_owned()]).await.unwrap();
        assert!(fresh.contains_key("web"), "as fresh as a new one");
    }

    #[tokio::test]
    async fn the_last_verdict_is_what_counts_and_only_the_last_good_one_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let history = History::open(&directory.path().join("image-manager.db")).unwrap();
        for (id, end) in [("1", S::Succeeded), ("2", S::Succeeded), ("3", S::Failed), ("4", S::Cancelled)] {
            build(&history, id, end).await;
        }
        assert_eq!(history.superseded_packages("web").await.unwrap(), ["1", "3", "4"]);
        assert_eq!(history.superseded_packages("other").await.unwrap(), [""; 0]);
        history.packages_dropped("1").await.unwrap();
        assert_eq!(history.superseded_packages("web").await.unwrap(), ["3", "4"]);
        assert!(history.has_packages("2").await.unwrap() && !history.has_packages("1").await.unwrap());
        queue(&history, "5").await;
        let before = history.before("5").await.unwrap().unwrap();
        assert_eq!((before.id.as_str(), before.passed), ("3", false), "cancelled says nothing, failed does");
        assert!(history.skip_build("5", "2", &[], "").await.unwrap());
        build(&history, "6", S::Succeeded).await;
        queue(&history, "7").await;
        assert!(history.skip_build("7", "6", &[], "").await.unwrap());
        queue(&history, "8").await;
        let before = history.before("8").await.unwrap().unwrap();
        assert_eq!(
            (before.id.as_str(), before.passed, before.schedule_digest.as_str()),
            ("6", true, "digest of 6")
        );
        assert_eq!(before.fingerprint.as_deref(), Some("certificate of 6"));
        assert_eq!(before.trials, [("local".to_owned(), "local".to_owned(), false)]);
        assert_eq!(before.published, []);
    }

    /// The build "1" has published under the name "web", and "2" is queued.
    async fn with_a_published_image(directory: &tempfile::TempDir) -> History {
        let history = History::open(&directory.path().join("image-manager.db")).unwrap();
        build(&history, "1", S::Succeeded).await;
        let image = v1::Image { name: "web".to_owned(), ..v1::Image::default() };
        history.record_published("1", "local", image, "/web").await.unwrap();
        queue(&history, "2").await;
        history
    }

    #[tokio::test]
    async fn a_build_is_not_left_out_where_the_earlier_image_was_revoked_meanwhile() {
        let directory = tempfile::tempdir().unwrap();
        let history = with_a_published_image(&directory).await;
        let before = history.before("2").await.unwrap().unwrap();
        assert_eq!(before.published.len(), 1);
        let what = NewHandover {
            name: "web".to_owned(),
            cloud: "local".to_owned(),
            change: Change::Revoked,
            to_build: None,
            revoked: Some("1".to_owned()),
            why: "leaked key".to_owned(),
            copied: false,
        };
        let begun = history.begin_handovers(Principal::Manager, vec![what]).await.unwrap().remove(0);
        let skip = async || history.skip_build("2", "1", &before.published, "").await.unwrap();
        assert!(!skip().await, "it is about to be revoked");
        history.finish_handover(begun.id, None).await.unwrap();
        assert!(!skip().await, "it was revoked");
        assert_eq!(history.build("2").await.unwrap().state(), S::Queued);
        let now = history.before("2").await.unwrap().unwrap().published;
        assert!(history.skip_build("2", "1", &now, "").await.unwrap(), "as it was when it was asked");
    }

    #[tokio::test]
    async fn a_build_is_not_left_out_where_the_earlier_image_is_marked_as_to_be_revoked() {
        let directory = tempfile::tempdir().unwrap();
        let history = with_a_published_image(&directory).await;
        let published = history.before("2").await.unwrap().unwrap().published;
        let all = Revocation { build: "1".to_owned(), cloud: None, why: "leaked key".to_owned() };
        let (begun, marked) = history.begin_revocation(Principal::Manager, Vec::new(), all).await.unwrap();
        assert_eq!((begun, marked), (vec![], vec![("local".to_owned(), "web".to_owned())]));
        let row = history.to_be_revoked("local").await.unwrap().remove(0);
        assert_eq!((row.revoked_reason.as_str(), row.state()), ("leaked key", v1::PublicationState::Current));
        assert!(!history.skip_build("2", "1", &published, "").await.unwrap());
    }
}
