//! Writing what happens to a trial.

use image_manager_proto::v1;
use rusqlite::{Transaction, params};

use super::builds::signed;
use super::names::{ENDS, Named as _, trial_has_ended};
use super::points::Point;
use super::{Claim, Ending, History, HistoryError, audit, now_ms, observations, publications};

/// Which trial of which build.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TrialKey {
    /// The build's id.
    pub build_id: String,
    /// Place of its target in the schedule, from 0.
    pub position: u32,
}

/// A trial of a build that is to be queued.
#[derive(Debug, Clone)]
pub struct NewTrial {
    /// Name of the target.
    pub target: String,
    /// Name of its cloud.
    pub cloud: String,
    /// Whether the build's verdict depends on it.
    pub required: bool,
    /// Names of its stages, in order.
    pub stages: Vec<&'static str>,
    /// Names of its checks, in order, and whether each is required.
    pub checks: Vec<(String, bool)>,
    /// Of a verification: the image in the cloud, and the build that made it.
    pub image: Option<(v1::Image, String)>,
}

/// A verdict with why it is not `passed`.
pub type Decided = (v1::Verdict, Option<v1::Failure>);

impl History {
    /// Moves a trial from one state to another, ends the stage of the first and begins the stage of the second, with its
    /// verdict when it has one by then, in one commit.
    ///
    /// # Errors
    /// [`HistoryError::IllegalMove`] when the trial is not in state `from`.
    pub async fn advance_trial(
        &self,
        key: &TrialKey,
        (from, to): (v1::TrialState, v1::TrialState),
        decided: Option<Decided>,
        ending: Ending,
    ) -> Result<(), HistoryError> {
        let key = key.clone();
        self.writer()?
            .run(Point::Of("trial", to.word().to_owned()), move |tx| {
                if let Some((verdict, failure)) = &decided {
                    set_verdict(tx, &key, *verdict, failure.as_ref())?;
                }
                advance(tx, &key, (from, to), &ending)
            })
            .await
    }

    /// Lets a trial that errored wait for its next attempt, with nothing of the last one: its stages and checks are
    /// pending again.
    pub async fn retry_trial(&self, key: &TrialKey, retry_at: i64) -> Result<(), HistoryError> {
        let key = key.clone();
        self.writer()?
            .run("trial:retry", move |tx| {
                let changed = tx.execute(
                    "UPDATE trial SET state = 'waiting', verdict = NULL, attempt = attempt + 1, retry_at = ?3
                     WHERE build_id = ?1 AND position = ?2 AND state = 'cleaning_up'",
                    params![key.build_id, key.position, retry_at],
                )?;
                if changed == 0 {
                    return Err(illegal(&key, v1::TrialState::CleaningUp.word(), v1::TrialState::Waiting.word()));
                }
                forget_server(tx, &key)?;
                for reset in [
                    // What a verification skips stays skipped.
                    "UPDATE stage SET state = 'pending', started_at = NULL, finished_at = NULL, detail = ''
                     WHERE build_id = ?1 AND trial = ?2 AND (state <> 'skipped' OR detail = '')",
                    "UPDATE check_result SET outcome = NULL, duration_ms = NULL, summary = '', observations = '{}'
                     WHERE build_id = ?1 AND trial = ?2",
                ] {
                    tx.execute(reset, params![key.build_id, key.position])?;
                }
                Ok(())
            })
            .await
    }

    /// Records the image in the trial's cloud.
    pub async fn record_image(&self, key: &TrialKey, image: v1::Image) -> Result<(), HistoryError> {
        let key = key.clone();
        self.writer()?.run("record:image", move |tx| set_image(tx, &key, &image)).await
    }

    /// Records that the image has its public name in a cloud, for all trials there, where it is found, and who is to be
    /// thanked for it: who asked for the build.
    pub async fn record_published(
        &self,
        build_id: &str,
        cloud: &str,
        image: v1::Image,
        location: &str,
    ) -> Result<(), HistoryError> {
        let (id, cloud, location) = (build_id.to_owned(), cloud.to_owned(), location.to_owned());
        self.writer()?
            .run("record:image", move |tx| {
                tx.execute(
                    "UPDATE trial SET image_id = ?3, image_name = ?4 WHERE build_id = ?1 AND cloud = ?2
                        AND image_id IS NOT NULL",
                    params![id, cloud, image.id, image.name],
                )?;
                publications::published(tx, &id, &cloud, &image, &location)?;
                audit::published(tx, &id, &format!("{} on {cloud}", image.name))
            })
            .await
    }

    /// Records the server that boots the image.
    pub async fn record_server(&self, key: &TrialKey, server: v1::Server) -> Result<(), HistoryError> {
        let key = key.clone();
        self.writer()?
            .run("record:server", move |tx| {
                tx.execute(
                    "UPDATE trial SET server_id = ?3, server_name = ?4, server_flavor = ?5
                     WHERE build_id = ?1 AND position = ?2",
                    params![key.build_id, key.position, server.id, server.name, server.flavor],
                )?;
                Ok(())
            })
            .await
    }

    /// Records the agent at its first attach, with what the server's token is bound to from now on.
    pub async fn record_agent(
        &self,
        key: &TrialKey,
        version: &str,
        claim: Claim,
    ) -> Result<(), HistoryError> {
        let (key, version) = (key.clone(), version.to_owned());
        self.writer()?
            .run("record:agent", move |tx| {
                tx.execute(
                    "UPDATE trial SET agent_version = ?3, agent_boot_id = ?4, agent_attached_at = ?5,
                            agent_key = ?6, agent_address = ?7 WHERE build_id = ?1 AND position = ?2",
                    params![
                        key.build_id,
                        key.position,
                        version,
                        claim.boot_id,
                        claim.at_ms,
                        claim.key,
                        claim.address
                    ],
                )?;
                Ok(())
            })
            .await
    }

    /// Records results of checks, replacing what was known of them.
    pub async fn record_checks(&self, key: &TrialKey, checks: Vec<v1::Check>) -> Result<(), HistoryError> {
        let key = key.clone();
        self.writer()?
            .run("record:checks", move |tx| {
                for check in &checks {
                    update_check(tx, &key, check)?;
                }
                Ok(())
            })
            .await
    }

    /// Records the agent's removal of itself.
    pub async fn record_removal(&self, key: &TrialKey, removal: v1::Removal) -> Result<(), HistoryError> {
        let key = key.clone();
        self.writer()?
            .run("record:removal", move |tx| {
                let TrialKey { build_id, position } = &key;
                tx.execute(
                    "UPDATE trial SET removal_complete = ?3 WHERE build_id = ?1 AND position = ?2",
                    params![build_id, position, removal.complete],
                )?;
                tx.execute(
                    "DELETE FROM removed_path WHERE build_id = ?1 AND trial = ?2",
                    params![build_id, position],
                )?;
                for path in &removal.paths {
                    tx.execute(
                        "INSERT INTO removed_path (build_id, position, path, fate, detail, trial)
                         SELECT ?1, coalesce(max(position) + 1, 0), ?3, ?4, ?5, ?2 FROM removed_path
                         WHERE build_id = ?1",
                        params![build_id, position, path.path, path.fate().word(), path.detail],
                    )?;
                }
                Ok(())
            })
            .await
    }
}

/// Inserts the trials of a build, with their stages and checks pending. Returns the first place that is free among the
/// build's stages.
pub(super) fn insert(
    tx: &Transaction<'_>,
    build_id: &str,
    trials: &[NewTrial],
    mut place: i64,
) -> Result<i64, HistoryError> {
    let mut check_place = 0_i64;
    for (position, trial) in (0_i64..).zip(trials) {
        tx.execute(
            "INSERT INTO trial (build_id, position, target, cloud, required, state)
             VALUES (?1, ?2, ?3, ?4, ?5, 'waiting')",
            params![build_id, position, trial.target, trial.cloud, trial.required],
        )?;
        if let Some((image, of)) = &trial.image {
            let key = TrialKey {
                build_id: build_id.to_owned(),
                position: u32::try_from(position).unwrap_or_default(),
            };
            set_image(tx, &key, image)?;
            tx.execute(
                "UPDATE trial SET image_of = ?3 WHERE build_id = ?1 AND position = ?2",
                params![build_id, position, of],
            )?;
        }
        for name in &trial.stages {
            tx.execute(
                "INSERT INTO stage (build_id, position, name, state, trial) VALUES (?1, ?2, ?3, 'pending', ?4)",
                params![build_id, place, name, position],
            )?;
            place += 1;
        }
        for (name, required) in &trial.checks {
            tx.execute(
                "INSERT INTO check_result (build_id, position, name, required, trial)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![build_id, check_place, name, required, position],
            )?;
            check_place += 1;
        }
    }
    Ok(place)
}

/// Forgets a trial's server, its agent and what that removed: there is to be another one.
pub(super) fn forget_server(tx: &Transaction<'_>, key: &TrialKey) -> Result<(), HistoryError> {
    tx.execute(
        "UPDATE trial SET server_id = NULL, server_name = NULL, server_flavor = NULL,
            agent_token_hash = NULL, agent_endpoint = NULL, agent_fingerprint = NULL,
            agent_version = NULL, agent_boot_id = NULL, agent_attached_at = NULL, agent_key = NULL,
            agent_address = NULL, removal_complete = NULL
         WHERE build_id = ?1 AND position = ?2",
        params![key.build_id, key.position],
    )?;
    tx.execute(
        "DELETE FROM removed_path WHERE build_id = ?1 AND trial = ?2",
        params![key.build_id, key.position],
    )?;
    Ok(())
}

/// Brings trials that have not ended to their end, in the commit that ends their build: what was not begun is skipped.
pub(super) fn end_all(tx: &Transaction<'_>, build_id: &str) -> Result<(), HistoryError> {
    let now = now_ms();
    tx.execute(
        "UPDATE stage SET state = CASE state WHEN 'running' THEN 'done' ELSE 'skipped' END,
            finished_at = CASE state WHEN 'running' THEN ?2 END
         WHERE build_id = ?1 AND trial IS NOT NULL AND state IN ('pending', 'running')",
        params![build_id, now],
    )?;
    tx.execute(
        &format!(
            "UPDATE trial SET retry_at = NULL, state = CASE
                WHEN state = 'waiting' AND attempt = 1 THEN 'skipped'
                WHEN verdict = 'passed' THEN 'succeeded'
                WHEN verdict IS NULL THEN 'cancelled'
                ELSE verdict END
         WHERE build_id = ?1 AND state NOT IN {ENDS}"
        ),
        [build_id],
    )?;
    Ok(())
}

fn set_verdict(
    tx: &Transaction<'_>,
    key: &TrialKey,
    verdict: v1::Verdict,
    failure: Option<&v1::Failure>,
) -> Result<(), HistoryError> {
    let word = (verdict != v1::Verdict::Unspecified).then(|| verdict.word());
    tx.execute(
        "UPDATE trial SET verdict = ?3, failure_reason = ?4, failure_stage = ?5, failure_message = ?6,
            failure_evidence = ?7 WHERE build_id = ?1 AND position = ?2",
        params![
            key.build_id,
            key.position,
            word,
            failure.map(|failure| &failure.reason),
            failure.map(|failure| &failure.stage),
            failure.map(|failure| &failure.message),
            failure.map(|failure| &failure.evidence)
        ],
    )?;
    Ok(())
}

fn illegal(key: &TrialKey, from: &str, to: &str) -> HistoryError {
    HistoryError::IllegalMove {
        build: format!("{}, trial {}", key.build_id, key.position),
        from: from.to_owned(),
        to: to.to_owned(),
    }
}

fn advance(
    tx: &Transaction<'_>,
    key: &TrialKey,
    (from, to): (v1::TrialState, v1::TrialState),
    ending: &Ending,
) -> Result<(), HistoryError> {
    let now = now_ms();
    let changed = tx.execute(
        "UPDATE trial SET state = ?4, retry_at = NULL WHERE build_id = ?1 AND position = ?2 AND state = ?3",
        params![key.build_id, key.position, from.word(), to.word()],
    )?;
    if changed == 0 {
        return Err(illegal(key, from.word(), to.word()));
    }
    if let Some(by) = &ending.cancelled_by {
        audit::cancelled(tx, &key.build_id, by)?;
    }
    tx.execute(
        "UPDATE stage SET state = ?4, finished_at = ?5, detail = CASE WHEN ?6 = '' THEN detail ELSE ?6 END
         WHERE build_id = ?1 AND trial = ?2 AND name = ?3 AND state = 'running'",
        params![key.build_id, key.position, from.word(), ending.state.word(), now, ending.detail],
    )?;
    tx.execute(
        "UPDATE stage SET state = 'running', started_at = ?4 WHERE build_id = ?1 AND trial = ?2 AND name = ?3",
        params![key.build_id, key.position, to.word(), now],
    )?;
    if trial_has_ended(to) {
        tx.execute(
            "UPDATE stage SET state = 'skipped'
             WHERE build_id = ?1 AND trial = ?2 AND state IN ('pending', 'running')",
            params![key.build_id, key.position],
        )?;
    }
    Ok(())
}

fn set_image(tx: &Transaction<'_>, key: &TrialKey, image: &v1::Image) -> Result<(), HistoryError> {
    tx.execute(
        "UPDATE trial SET image_id = ?3, image_name = ?4, image_sha512 = ?5, image_size = ?6,
         image_virtual_size = ?7 WHERE build_id = ?1 AND position = ?2",
        params![
            key.build_id,
            key.position,
            image.id,
            image.name,
            image.sha512,
            signed(image.size_bytes),
            signed(image.virtual_size_bytes)
        ],
    )?;
    Ok(())
}

fn update_check(tx: &Transaction<'_>, key: &TrialKey, check: &v1::Check) -> Result<(), HistoryError> {
    let duration_ms =
        check.duration.map(|d| d.seconds.saturating_mul(1000).saturating_add(i64::from(d.nanos) / 1_000_000));
    let observations =
        check.observations.as_ref().map_or_else(|| "{}".to_owned(), |o| observations::to_json(o).to_string());
    tx.execute(
        "UPDATE check_result SET outcome = ?4, duration_ms = ?5, summary = ?6, observations = ?7
         WHERE build_id = ?1 AND trial = ?2 AND name = ?3",
        params![
            key.build_id,
            key.position,
            check.name,
            check.outcome().word(),
            duration_ms,
            check.summary,
            observations
        ],
    )?;
    Ok(())
}
