//! The newest builds of many schedules, without their parts, and those because of which a schedule needs attention.

use std::collections::{BTreeMap, BTreeSet};

use image_manager_proto::v1;
use rusqlite::{Connection, OptionalExtension as _};

use super::names::Named as _;
use super::{History, HistoryError, parts, queries};
use crate::clock::timestamp;

/// Builds of a schedule that are read at most.
const MOST: u32 = 100;
/// Of so many the trials are read: the newest is under way or has ended, and the one before has ended in any case.
const WITH_TRIALS: usize = 2;

/// The newest build of the schedule ?1 that is in the state ?2, and newer than the build ?3.
pub(super) const NEWEST_BUILD: &str = "SELECT id FROM build INDEXED BY build_by_schedule_state
    WHERE schedule = ?1 AND state = ?2 AND id > ?3 AND verification IS NULL ORDER BY id DESC LIMIT 1";
/// The same of verifications.
pub(super) const NEWEST_VERIFICATION: &str = "SELECT id FROM build INDEXED BY build_by_verification
    WHERE schedule = ?1 AND state = ?2 AND id > ?3 AND verification IS NOT NULL ORDER BY id DESC LIMIT 1";

/// A verification that did not pass an image which has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadName {
    /// The name.
    pub name: String,
    /// The verification's schedule.
    pub schedule: String,
    /// The verification.
    pub build_id: String,
}

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

    /// The builds because of which each of these schedules needs attention, bare, those that failed first; a schedule
    /// without one is absent. They are its newest build with a verdict, where it did not pass, and its newest verification
    /// that did not pass, if none of the same image passed since, and no build did or the image has a name still. What was
    /// cancelled or skipped has no verdict, and hides none.
    pub async fn needing_attention(
        &self,
        schedules: Vec<String>,
    ) -> Result<BTreeMap<String, Vec<v1::Build>>, HistoryError> {
        self.read(move |connection| {
            let mut ids = Vec::new();
            let mut of_names = bad_with_a_name(connection)?;
            for schedule in &schedules {
                let of_name = of_names.remove(schedule).map(|bad| bad.build_id);
                ids.extend(without_a_pass_since(connection, schedule, of_name)?);
            }
            let mut builds = queries::bare(connection, &ids)?;
            builds.sort_by_key(|build| build.state() != v1::BuildState::Failed);
            let mut found: BTreeMap<String, Vec<v1::Build>> = BTreeMap::new();
            for build in builds {
                found.entry(build.schedule.clone()).or_default().push(build);
            }
            Ok(found)
        })
        .await
    }

    /// Whether a build was made after another one, whatever the clock said then; `false` where one of them is unknown.
    pub async fn was_made_after(&self, build: &str, other: &str) -> Result<bool, HistoryError> {
        let (build, other) = (build.to_owned(), other.to_owned());
        self.read(move |connection| {
            // Ids have the time of the clock in them; rows have the order in which they were written.
            let after = "SELECT one.rowid > other.rowid FROM build AS one, build AS other WHERE one.id = ?1 AND other.id = ?2";
            let found = connection.query_row(after, [build, other], |row| row.get(0)).optional()?;
            Ok(found.unwrap_or_default())
        })
        .await
    }

    /// Of the builds whose images are there under a name of a cloud, those that were made before this one; by their ids, where
    /// the history does not have both any more.
    pub async fn made_before(
        &self,
        build: &str,
        (name, cloud): (&str, &str),
    ) -> Result<BTreeSet<String>, HistoryError> {
        let (build, name, cloud) = (build.to_owned(), name.to_owned(), cloud.to_owned());
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT build_id FROM publication INDEXED BY publication_there
                 WHERE name = ?1 AND cloud = ?2 AND state <> 'removed' AND coalesce(
                    (SELECT one.rowid < other.rowid FROM build AS one, build AS other
                     WHERE one.id = publication.build_id AND other.id = ?3), build_id < ?3)",
            )?;
            let rows = statement.query_map([name, cloud, build], |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// The newest verification of each other schedule than these that did not pass an image which has a name still: nobody
    /// is told of it with its schedule.
    pub async fn bad_names_of_others(&self, schedules: Vec<String>) -> Result<Vec<BadName>, HistoryError> {
        self.read(move |connection| {
            let mut bad = bad_with_a_name(connection)?;
            for schedule in &schedules {
                bad.remove(schedule);
            }
            Ok(bad.into_values().collect())
        })
        .await
    }
}

/// The newest verification of each schedule that did not pass an image which has a name, where that image was not passed
/// since, whatever its schedule is called now. Whatever else was built or verified since, users still get the image.
fn bad_with_a_name(connection: &Connection) -> Result<BTreeMap<String, BadName>, HistoryError> {
    // Read from the names to the verifications of their images (`CROSS JOIN`, `+`), which are few of all builds.
    let mut statement = connection.prepare_cached(
        "SELECT newest.schedule, image.bad, image.name FROM (
            SELECT min(publication.name) AS name,
                max(build.id) FILTER (WHERE build.state <> 'succeeded') AS bad,
                max(build.id) FILTER (WHERE build.state = 'succeeded') AS good
            FROM publication INDEXED BY publication_one_current
            CROSS JOIN trial ON trial.image_of = publication.build_id AND trial.cloud = publication.cloud
            CROSS JOIN build ON build.id = trial.build_id
            WHERE publication.state = 'current' AND +build.state IN ('succeeded', 'failed', 'errored')
            GROUP BY publication.build_id HAVING bad > coalesce(good, '')
         ) AS image CROSS JOIN build AS newest ON newest.id = image.bad",
    )?;
    let rows = statement.query_map([], |row| {
        Ok(BadName { schedule: row.get(0)?, build_id: row.get(1)?, name: row.get(2)? })
    })?;
    let mut found = BTreeMap::<String, BadName>::new();
    for row in rows {
        let bad = row?;
        if found.get(&bad.schedule).is_none_or(|known| known.build_id < bad.build_id) {
            found.insert(bad.schedule.clone(), bad);
        }
    }
    Ok(found)
}

/// The newest build and the newest verification of a schedule that did not pass, where none passed since; `of_name`: the
/// newest bad verification of an image that has a name.
fn without_a_pass_since(
    connection: &Connection,
    schedule: &str,
    of_name: Option<String>,
) -> Result<impl Iterator<Item = String> + use<>, HistoryError> {
    // A build that passed made another image, which was verified itself: what was said of the one before is over, unless
    // that one has a name still.
    let passed: Option<String> = connection
        .prepare_cached(
            "SELECT id FROM build INDEXED BY build_by_schedule_state
             WHERE schedule = ?1 AND state = 'succeeded' AND verification IS NULL ORDER BY id DESC LIMIT 1",
        )?
        .query_row([schedule], |row| row.get(0))
        .optional()?;
    let passed = passed.unwrap_or_default();
    let (mut build, mut verification) = (None::<String>, None::<String>);
    let newest = |sql: &str, state: &str| -> Result<Option<String>, HistoryError> {
        let mut since = connection.prepare_cached(sql)?;
        Ok(since.query_row([schedule, state, passed.as_str()], |row| row.get(0)).optional()?)
    };
    for state in ["failed", "errored"] {
        // Ids sort by time, and none is before all of them.
        build = build.max(newest(NEWEST_BUILD, state)?);
        verification = verification.max(newest(NEWEST_VERIFICATION, state)?);
    }
    if let Some(id) = &verification {
        // Since the last build that passed only verifications have. One of another image says nothing of this one.
        let again: bool = connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM build INDEXED BY build_by_schedule_state
                    WHERE schedule = ?1 AND state = 'succeeded' AND id > ?2 AND EXISTS (SELECT 1
                        FROM trial AS bad JOIN trial AS good ON good.image_of = bad.image_of
                        WHERE bad.build_id = ?2 AND good.build_id = build.id))",
            )?
            .query_row([schedule, id], |row| row.get(0))?;
        if again {
            verification = None;
        }
    }
    Ok(build.into_iter().chain(verification.max(of_name)))
}

#[cfg(test)]
mod tests {
    use image_manager_proto::v1::{BuildState, StageState, Verdict};

    use super::*;
    use crate::history::Ending;
    use crate::history::tests::{new_build, open};

    /// Makes a build or a verification, and brings it to this end.
    async fn ended(history: &History, verifies: bool, end: BuildState) -> String {
        ended_of(history, verifies.then_some("image"), end).await
    }

    /// Makes a build, or a verification of the image of another one, and brings it to this end.
    async fn ended_of(history: &History, image_of: Option<&str>, end: BuildState) -> String {
        verified_by(history, "web", image_of, end).await
    }

    /// The same of any schedule.
    async fn verified_by(
        history: &History,
        schedule: &str,
        image_of: Option<&str>,
        end: BuildState,
    ) -> String {
        let id = uuid::Uuid::now_v7().to_string();
        let mut new = new_build(&id, schedule);
        new.verification = image_of.map(|_| "digest".to_owned());
        new.trials[0].image = image_of.map(|of| (v1::Image::default(), of.to_owned()));
        history.create_build(new).await.unwrap();
        let verdict = match end {
            BuildState::Succeeded => Verdict::Passed,
            BuildState::Failed => Verdict::Failed,
            BuildState::Errored => Verdict::Errored,
            _ => Verdict::Unspecified,
        };
        let reason = if verdict == Verdict::Passed { "" } else { "check_failed" };
        let failure =
            (!reason.is_empty()).then(|| v1::Failure { reason: reason.to_owned(), ..v1::Failure::default() });
        let ending = || Ending::new(StageState::Done, "done");
        let (queued, cleaning) = (BuildState::Queued, BuildState::CleaningUp);
        history.conclude(&id, queued, cleaning, Some((verdict, failure)), ending()).await.unwrap();
        history.advance(&id, cleaning, end, ending()).await.unwrap();
        id
    }

    /// Whether exactly these need attention, in this order.
    async fn need_attention(history: &History, expected: &[&String]) -> bool {
        let found = history.needing_attention(vec!["web".to_owned(), "other".to_owned()]).await.unwrap();
        assert!(found.keys().all(|schedule| schedule == "web"));
        let found: Vec<_> = found.into_values().flatten().map(|build| build.id).collect();
        found.iter().collect::<Vec<_>>() == expected
    }

    #[tokio::test]
    async fn only_a_pass_of_its_kind_or_a_newer_image_ends_what_needs_attention() {
        use BuildState::{Cancelled, Errored, Failed, Succeeded};
        let directory = tempfile::tempdir().unwrap();
        let history = open(&directory);
        assert!(need_attention(&history, &[]).await, "it was never built");
        ended(&history, false, Succeeded).await;
        let failed = ended(&history, false, Failed).await;
        ended(&history, true, Succeeded).await;
        assert!(need_attention(&history, &[&failed]).await, "the older image is as good as before");
        ended(&history, false, Cancelled).await;
        ended(&history, true, Cancelled).await;
        assert!(need_attention(&history, &[&failed]).await, "what was cancelled says nothing");
        let errored = ended(&history, false, Errored).await;
        assert!(need_attention(&history, &[&errored]).await, "the newest one with a verdict");
        let verification = ended(&history, true, Failed).await;
        assert!(need_attention(&history, &[&verification, &errored]).await, "the worst first");
        ended(&history, true, Succeeded).await;
        assert!(need_attention(&history, &[&errored]).await, "the verification passed");
        ended(&history, true, Failed).await;
        ended(&history, false, Succeeded).await;
        assert!(need_attention(&history, &[]).await, "another image passed");
        let verification = ended(&history, true, Errored).await;
        ended(&history, false, Cancelled).await;
        assert!(need_attention(&history, &[&verification]).await);
    }

    #[tokio::test]
    async fn a_bad_image_that_has_a_name_needs_attention_until_it_passes() {
        use BuildState::{Cancelled, Failed, Succeeded};
        let directory = tempfile::tempdir().unwrap();
        let history = open(&directory);
        let old = ended(&history, false, Succeeded).await;
        let new = ended(&history, false, Succeeded).await;
        for (of, name) in [(&old, "stable"), (&new, "web")] {
            let image = v1::Image { name: name.to_owned(), sha512: of.clone(), ..v1::Image::default() };
            history.record_published(of, "local", image, "/there").await.unwrap();
        }
        let failed = ended_of(&history, Some(&old), Failed).await;
        ended_of(&history, Some(&new), Succeeded).await;
        assert!(need_attention(&history, &[&failed]).await, "another image passed");
        ended(&history, false, Succeeded).await;
        assert!(
            need_attention(&history, &[&failed]).await,
            "the image of a build that passed is another one"
        );
        let newer = ended_of(&history, Some(&new), Failed).await;
        assert!(need_attention(&history, &[&newer]).await, "the newest one");
        ended_of(&history, Some(&new), Succeeded).await;
        ended_of(&history, Some(&old), Cancelled).await;
        assert!(need_attention(&history, &[&failed]).await, "the other one has passed");
        ended_of(&history, Some(&old), Succeeded).await;
        assert!(need_attention(&history, &[]).await, "the image has passed");
        let nameless = ended_of(&history, Some("gone"), Failed).await;
        ended_of(&history, Some(&new), Succeeded).await;
        assert!(need_attention(&history, &[&nameless]).await, "another image passed");
        ended(&history, false, Succeeded).await;
        assert!(need_attention(&history, &[]).await, "nobody gets that image");
    }

    #[tokio::test]
    async fn a_bad_image_whose_schedule_has_another_name_now_is_not_lost() {
        let directory = tempfile::tempdir().unwrap();
        let history = open(&directory);
        let image = ended(&history, false, BuildState::Succeeded).await;
        let named = v1::Image { name: "stable".to_owned(), sha512: "1".to_owned(), ..v1::Image::default() };
        history.record_published(&image, "local", named, "/there").await.unwrap();
        let build_id = ended_of(&history, Some(&image), BuildState::Failed).await;
        let bad = BadName { name: "stable".to_owned(), schedule: "web".to_owned(), build_id };
        let others =
            async |schedule: &str| history.bad_names_of_others(vec![schedule.to_owned()]).await.unwrap();
        assert_eq!(others("www").await, [bad]);
        assert!(others("web").await.is_empty());

        // Its schedule is called so now, and has passed the image.
        verified_by(&history, "www", Some(&image), BuildState::Succeeded).await;
        assert!(others("www").await.is_empty());
    }

    #[tokio::test]
    async fn what_needs_attention_names_its_failed_checks_and_trials() {
        let directory = tempfile::tempdir().unwrap();
        let history = open(&directory);
        let id = ended(&history, false, BuildState::Failed).await;
        let check = v1::Check {
            name: "disk".to_owned(),
            required: true,
            outcome: v1::CheckOutcome::Fail.into(),
            ..v1::Check::default()
        };
        let key = crate::history::TrialKey { build_id: id, position: 0 };
        history.record_checks(&key, vec![check]).await.unwrap();
        let found = history.needing_attention(vec!["web".to_owned()]).await.unwrap();
        let build = &found["web"][0];
        assert_eq!((build.failed_checks.as_slice(), build.trials.len()), (&["disk".to_owned()][..], 1));
        let newest = history.newest_builds(vec!["web".to_owned()], 1).await.unwrap();
        assert_eq!(newest["web"], found["web"], "the newest build has the same form");
    }
}
