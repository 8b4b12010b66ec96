//! The ledger as the clouds see it.

use async_trait::async_trait;

use crate::cloud::{CloudError, EntryId, Ledger, ResourceKind, Trouble};
use crate::history::{History, ResourceState};

/// The cloud's name in the ledger for what is on this host, whatever cloud the build boots on.
pub(super) const HOST: &str = "host";

/// The ledger of one trial of a build.
pub(super) struct BuildLedger {
    pub(super) history: History,
    pub(super) build_id: String,
    pub(super) trial: Option<u32>,
    pub(super) cloud: String,
    /// Whether an image is the trial's own; otherwise it is the whole build's.
    pub(super) own_image: bool,
}

#[async_trait]
impl Ledger for BuildLedger {
    async fn intend(&self, kind: ResourceKind, name: &str) -> Result<EntryId, CloudError> {
        // The artifact's image stays until the whole build needs it no more.
        let trial = self.trial.filter(|_| self.own_image || kind != ResourceKind::Image);
        let row = self.history.intend((&self.build_id, trial), &self.cloud, kind.as_str(), name).await;
        row.map(EntryId).map_err(|error| CloudError::new(Trouble::Unavailable, error.to_string()))
    }

    async fn created(&self, entry: EntryId, external_id: &str) -> Result<(), CloudError> {
        let done = self.history.resource_created(entry.0, external_id).await;
        done.map_err(|error| CloudError::new(Trouble::Unavailable, error.to_string()))
    }

    async fn refused(&self, entry: EntryId) -> Result<(), CloudError> {
        let done = self.history.resource_state(entry.0, ResourceState::Gone, "").await;
        done.map_err(|error| CloudError::new(Trouble::Unavailable, error.to_string()))
    }
}
