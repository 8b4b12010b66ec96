//! The ledger as the clouds see it, and taking away what it lists.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

use super::{Manager, files};
use crate::clock;
use crate::cloud::{CloudError, EntryId, Ledger, Removal, Resource, ResourceKind, Trouble};
use crate::history::{History, HistoryError, LedgerRow, ResourceState};

/// The cloud's name in the ledger for what is on this host, whatever cloud the build boots on.
pub(super) const HOST: &str = "host";
/// How long the removal of one resource may take.
const REMOVAL: Duration = Duration::from_mins(3);
/// How long what was asked for and never seen is looked for, and how long after the first look.
const LOOKED_FOR: Duration = Duration::from_mins(20);
const AGAIN: Duration = Duration::from_secs(30);
/// How often a removal is tried in one clean-up.
const TRIES: u32 = 3;

/// The ledger of one trial of a build.
pub(super) struct BuildLedger {
    pub(super) history: History,
    pub(super) build_id: String,
    pub(super) trial: Option<u32>,
    pub(super) cloud: String,
}

#[async_trait]
impl Ledger for BuildLedger {
    async fn intend(&self, kind: ResourceKind, name: &str) -> Result<EntryId, CloudError> {
        // The image stays until the whole build needs it no more.
        let trial = self.trial.filter(|_| kind != ResourceKind::Image);
        let row = self.history.intend((&self.build_id, trial), &self.cloud, kind.as_str(), name).await;
        row.map(EntryId).map_err(|error| CloudError::new(Trouble::Unavailable, error.to_string()))
    }

    async fn created(&self, entry: EntryId, external_id: &str) -> Result<(), CloudError> {
        let done = self.history.resource_created(entry.0, external_id).await;
        done.map_err(|error| CloudError::new(Trouble::Unavailable, error.to_string()))
    }
}

impl Manager {
    /// Takes away everything that a build, or one trial of it, still has, newest first. Returns what is left, a line
    /// each.
    pub(super) async fn take_away_all(&self, build_id: &str, trial: Option<u32>) -> Vec<String> {
        let mut left = Vec::new();
        for attempt in 1..=TRIES {
            left.clear();
            let rows = match self.history().open_resources(build_id).await {
                Ok(rows) => rows,
                Err(error) => {
                    left.push(error.to_string());
                    continue;
                }
            };
            for row in rows.into_iter().filter(|row| trial.is_none() || row.trial == trial) {
                if let Err(why) = self.take_away(&row).await {
                    left.push(format!("{} {}: {why}", row.kind, row.name));
                }
            }
            if left.is_empty() {
                break;
            }
            if attempt < TRIES {
                tokio::time::sleep(Duration::from_secs(2 * u64::from(attempt))).await;
            }
        }
        left
    }

    /// Takes away what builds left behind whose clean-up did not come to its end. Returns what is left.
    pub async fn reconcile(&self) -> Vec<String> {
        self.look_again().await;
        let rows = match self.history().leftover_resources().await {
            Ok(rows) => rows,
            Err(error) => return vec![error.to_string()],
        };
        let mut left = self.finish_handovers().await;
        for row in rows {
            self.metrics().leak(row.id);
            match self.take_away(&row).await {
                Ok(()) => tracing::info!(build = row.build_id, "took away the {} {}", row.kind, row.name),
                Err(why) => left.push(format!("{} {}: {why}", row.kind, row.name)),
            }
        }
        left
    }

    /// A request that was under way when its answer was lost may have had its effect after nothing was found of it.
    async fn look_again(&self) {
        let now = clock::now();
        let closed = (now - LOOKED_FOR).timestamp_millis()..(now - AGAIN).timestamp_millis();
        let rows = match self.history().unseen_resources(closed).await {
            Ok(rows) => rows,
            Err(error) => return tracing::warn!("cannot see what was never seen: {error}"),
        };
        for row in rows.iter().filter(|row| row.cloud != HOST) {
            match tokio::time::timeout(REMOVAL, self.remove(row)).await {
                Ok(Ok(())) => {}
                Ok(Err(why)) => tracing::warn!("looking once more for the {} {}: {why}", row.kind, row.name),
                Err(_) => tracing::warn!("looking once more for the {} {}: no answer", row.kind, row.name),
            }
        }
    }

    /// Takes one thing away; its row says so before and after.
    pub(super) async fn take_away(&self, row: &LedgerRow) -> Result<(), String> {
        let history = self.history();
        if let Err(error) = history.resource_state(row.id, ResourceState::Deleting, "").await {
            // A full disk, say. Taking things away may be what mends it, and can be repeated.
            tracing::warn!(build = row.build_id, "cannot write the history: {error}");
        }
        let removal = tokio::time::timeout(REMOVAL, self.remove(row))
            .await
            .unwrap_or_else(|_| Err(format!("not gone after {} s", REMOVAL.as_secs())));
        let (state, note) = match &removal {
            Ok(()) => (ResourceState::Gone, ""),
            Err(why) => (ResourceState::Deleting, why.as_str()),
        };
        history.resource_state(row.id, state, note).await.map_err(|error| error.to_string())?;
        removal
    }

    /// Where the private half of a key pair lies: with the logs of the trial that it belongs to.
    async fn private_key(&self, row: &LedgerRow) -> Result<PathBuf, String> {
        let state = &self.settings().state;
        let build = match self.history().build(&row.build_id).await {
            Ok(build) => build,
            // Its files went before its row did.
            Err(HistoryError::NoBuild(_)) => {
                return Ok(files::directory(state, &row.build_id).join(files::PRIVATE_KEY));
            }
            Err(error) => return Err(error.to_string()),
        };
        let trial = row.trial.and_then(|position| build.trials.get(usize::try_from(position).ok()?));
        let target = trial.map(|trial| trial.target.as_str()).unwrap_or_default();
        // A row from before trials is that of the only one.
        let only = build.trials.len() <= 1 || trial.is_none();
        Ok(files::of_trial(state, &row.build_id, target, only).join(files::PRIVATE_KEY))
    }

    async fn remove(&self, row: &LedgerRow) -> Result<(), String> {
        if row.cloud == HOST {
            let scratch = std::path::Path::new(&row.name);
            return crate::builder::clean(scratch, &row.build_id)
                .await
                .map(|_| ())
                .map_err(|error| error.to_string());
        }
        let cloud = self
            .cloud(&row.cloud)
            .map_err(|error| format!("{error}; it can be taken away once the cloud is configured again"))?;
        let kind = ResourceKind::parse(&row.kind)
            .ok_or_else(|| format!("unknown kind {:?} in the ledger", row.kind))?;
        if kind == ResourceKind::KeyPair {
            let file = self.private_key(row).await?;
            match tokio::fs::remove_file(&file).await {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(format!("cannot remove the private key {}: {error}", file.display()));
                }
                _ => {}
            }
        }
        let resource = Resource {
            kind,
            name: row.name.clone(),
            external_id: row.external_id.clone(),
            build_id: row.build_id.clone(),
        };
        match cloud.remove(&resource).await {
            Ok(Removal::Gone) => Ok(()),
            Ok(Removal::Held(why)) => Err(format!("held: {why}")),
            Err(error) => Err(error.to_string()),
        }
    }
}
