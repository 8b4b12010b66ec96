//! What a build leaves in the history that a later manager can go on from.

use std::path::PathBuf;

use rusqlite::params;

use super::{History, HistoryError};

/// What disk-image-builder made, as it was when it was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactRecord {
    /// The file.
    pub file: PathBuf,
    /// Its SHA-512, lower-case hexadecimal.
    pub sha512: String,
    /// Digest of the schedule that the build began with.
    pub schedule_digest: String,
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

/// What can be gone on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trail {
    /// What was built.
    pub artifact: Option<ArtifactRecord>,
    /// How its server's agent introduces itself.
    pub introduction: Option<Introduction>,
    /// The agent that has attached already.
    pub claim: Option<Claim>,
    /// How often a later manager has taken the build up.
    pub taken_up: u32,
}

impl History {
    /// Records what was built, so that a later manager can tell whether it is whole.
    pub async fn record_artifact(&self, id: &str, artifact: ArtifactRecord) -> Result<(), HistoryError> {
        let id = id.to_owned();
        self.writer()?
            .run("record:artifact", move |tx| {
                tx.execute(
                    "UPDATE build SET artifact_file = ?2, artifact_sha512 = ?3, schedule_digest = ?4 WHERE id = ?1",
                    params![
                        id,
                        artifact.file.to_string_lossy(),
                        artifact.sha512,
                        artifact.schedule_digest
                    ],
                )?;
                Ok(())
            })
            .await
    }

    /// Records how the agent of the server that is about to be asked for will introduce itself.
    pub async fn record_introduction(&self, id: &str, agent: Introduction) -> Result<(), HistoryError> {
        let id = id.to_owned();
        self.writer()?
            .run("record:token", move |tx| {
                tx.execute(
                    "UPDATE build SET agent_token_hash = ?2, agent_endpoint = ?3, agent_fingerprint = ?4
                     WHERE id = ?1",
                    params![id, agent.token_hash, agent.endpoint, agent.fingerprint],
                )?;
                Ok(())
            })
            .await
    }

    /// What a build left that can be gone on from.
    pub async fn trail(&self, id: &str) -> Result<Trail, HistoryError> {
        let id = id.to_owned();
        self.read(move |connection| {
            let text =
                "SELECT artifact_file, artifact_sha512, schedule_digest, agent_token_hash, agent_endpoint,
                        agent_fingerprint, taken_up, agent_key, agent_address, agent_boot_id, agent_attached_at
                 FROM build WHERE id = ?1";
            let found = connection.query_row(text, [&id], |row| {
                let word = |index: usize| row.get::<_, Option<String>>(index);
                let artifact = word(0)?.zip(word(1)?).zip(word(2)?);
                let agent = word(3)?.zip(word(4)?).zip(word(5)?);
                let claim = word(7)?.zip(word(8)?).zip(word(9)?).zip(row.get::<_, Option<i64>>(10)?);
                Ok(Trail {
                    artifact: artifact.map(|((file, sha512), schedule_digest)| ArtifactRecord {
                        file: PathBuf::from(file),
                        sha512,
                        schedule_digest,
                    }),
                    introduction: agent.map(|((token_hash, endpoint), fingerprint)| Introduction {
                        token_hash,
                        endpoint,
                        fingerprint,
                    }),
                    claim: claim.map(|(((key, address), boot_id), at_ms)| Claim { key, address, boot_id, at_ms }),
                    taken_up: row.get(6)?,
                })
            });
            Ok(found?)
        })
        .await
    }

    /// Commits that a build is taken up once more.
    pub async fn take_up(&self, id: &str) -> Result<(), HistoryError> {
        let id = id.to_owned();
        self.writer()?
            .run("take_up", move |tx| {
                tx.execute("UPDATE build SET taken_up = taken_up + 1 WHERE id = ?1", [id])?;
                Ok(())
            })
            .await
    }
}
