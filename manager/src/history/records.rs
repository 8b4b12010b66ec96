//! What a build leaves in the history that a later manager can go on from.

use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{History, HistoryError, TrialKey};

/// What disk-image-builder made, as it was when it was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactRecord {
    /// The file.
    pub file: PathBuf,
    /// Its SHA-512, lower-case hexadecimal.
    pub sha512: String,
    /// Digest of the schedule that the build began with.
    pub schedule_digest: String,
    /// SHA-256 of what is kept of it so that its mirrors can be asked whether anything has changed.
    pub packages_sha256: Option<String>,
    /// Fingerprint of the certificate that its agent obeys; not known of what an older version built.
    pub fingerprint: Option<String>,
}

/// How a server's agent was told to introduce itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introduction {
    /// Hash of its token. The token itself is never stored.
    pub token_hash: String,
    /// `ip:port` that it dials.
    pub endpoint: String,
    /// Fingerprint of the certificate that it expects.
    pub fingerprint: String,
}

/// What a server's token is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The agent's public key as hexadecimal digits; empty for an agent that has none.
    pub key: String,
    /// The address that it called from; empty when it is not known.
    pub address: String,
    /// Its boot.
    pub boot_id: String,
    /// When it attached, in milliseconds since 1970.
    pub at_ms: i64,
}

/// What a trial can be gone on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialRecord {
    /// How its server's agent introduces itself.
    pub introduction: Option<Introduction>,
    /// The agent that has attached already.
    pub claim: Option<Claim>,
}

impl History {
    /// Records what was built, so that a later manager can tell whether it is whole.
    pub async fn record_artifact(&self, id: &str, artifact: ArtifactRecord) -> Result<(), HistoryError> {
        let id = id.to_owned();
        self.writer()?
            .run("record:artifact", move |tx| {
                tx.execute(
                    "INSERT OR REPLACE INTO artifact
                        (build_id, file, sha512, schedule_digest, packages_sha256, fingerprint)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![
                        id,
                        artifact.file.to_string_lossy(),
                        artifact.sha512,
                        artifact.schedule_digest,
                        artifact.packages_sha256,
                        artifact.fingerprint
                    ],
                )?;
                Ok(())
            })
            .await
    }

    /// Records how the agent of the server that is about to be asked for will introduce itself.
    pub async fn record_introduction(&self, key: &TrialKey, agent: Introduction) -> Result<(), HistoryError> {
        let key = key.clone();
        self.writer()?
            .run("record:token", move |tx| {
                tx.execute(
                    "UPDATE trial SET agent_token_hash = ?3, agent_endpoint = ?4, agent_fingerprint = ?5
                     WHERE build_id = ?1 AND position = ?2",
                    params![key.build_id, key.position, agent.token_hash, agent.endpoint, agent.fingerprint],
                )?;
                Ok(())
            })
            .await
    }

    /// What a build's run of disk-image-builder left.
    pub async fn artifact(&self, id: &str) -> Result<Option<ArtifactRecord>, HistoryError> {
        let id = id.to_owned();
        self.read(move |connection| {
            let found = connection.query_row(
                "SELECT file, sha512, schedule_digest, packages_sha256, fingerprint FROM artifact
                 WHERE build_id = ?1",
                [&id],
                |row| {
                    Ok(ArtifactRecord {
                        file: PathBuf::from(row.get::<_, String>(0)?),
                        sha512: row.get(1)?,
                        schedule_digest: row.get(2)?,
                        packages_sha256: row.get(3)?,
                        fingerprint: row.get(4)?,
                    })
                },
            );
            Ok(found.optional()?)
        })
        .await
    }

    /// Fingerprint of the certificate that the agent in a build's image obeys: as it was built, else as it was when a trial
    /// of it passed. `None`: that is not known any more.
    pub async fn obeys(&self, build_id: &str) -> Result<Option<String>, HistoryError> {
        let id = build_id.to_owned();
        self.read(move |connection| Ok(obeys(connection, &id)?)).await
    }

    /// What a trial left that can be gone on from.
    pub async fn trial_record(&self, key: &TrialKey) -> Result<TrialRecord, HistoryError> {
        let key = key.clone();
        self.read(move |connection| {
            let text = "SELECT agent_token_hash, agent_endpoint, agent_fingerprint, agent_key,
                            agent_address, agent_boot_id, agent_attached_at
                        FROM trial WHERE build_id = ?1 AND position = ?2";
            let found = connection.query_row(text, params![key.build_id, key.position], |row| {
                let word = |index: usize| row.get::<_, Option<String>>(index);
                let agent = word(0)?.zip(word(1)?).zip(word(2)?);
                let claim = word(3)?.zip(word(4)?).zip(word(5)?).zip(row.get::<_, Option<i64>>(6)?);
                Ok(TrialRecord {
                    introduction: agent.map(|((token_hash, endpoint), fingerprint)| Introduction {
                        token_hash,
                        endpoint,
                        fingerprint,
                    }),
                    claim: claim.map(|(((key, address), boot_id), at_ms)| Claim {
                        key,
                        address,
                        boot_id,
                        at_ms,
                    }),
                })
            });
            Ok(found?)
        })
        .await
    }

    /// Commits that a build is resumed once more; returns how often it has been by now.
    pub async fn resume_build(&self, id: &str) -> Result<u32, HistoryError> {
        let id = id.to_owned();
        self.writer()?
            .run("resume_build", move |tx| {
                let text = "UPDATE build SET taken_up = taken_up + 1 WHERE id = ?1 RETURNING taken_up";
                Ok(tx.query_row(text, [id], |row| row.get(0))?)
            })
            .await
    }

    /// Commits that a build is left for another manager as it is. It may be resumed once more for that.
    pub async fn leave_build(&self, id: &str) -> Result<(), HistoryError> {
        let id = id.to_owned();
        self.writer()?
            .run("leave_build", move |tx| {
                // Also of one that was never resumed: being resumed for this brings it back to 0.
                tx.execute("UPDATE build SET taken_up = taken_up - 1 WHERE id = ?1", [id])?;
                Ok(())
            })
            .await
    }
}

/// As [`History::obeys`].
pub(super) fn obeys(connection: &Connection, build_id: &str) -> rusqlite::Result<Option<String>> {
    let known = "SELECT coalesce((SELECT fingerprint FROM artifact WHERE build_id = ?1),
        (SELECT max(agent_fingerprint) FROM trial WHERE build_id = ?1 AND verdict = 'passed'))";
    connection.prepare_cached(known)?.query_row([build_id], |row| row.get(0))
}
