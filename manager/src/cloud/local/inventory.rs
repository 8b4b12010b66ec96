//! What is there that this installation made, whether or not a ledger knows of it.

use std::collections::BTreeSet;

use super::{LocalCloud, PREFIX};
use crate::cloud::{CloudError, Resource, ResourceKind};

impl LocalCloud {
    /// All images that are not published, and all servers, whether or not a ledger knows them: by files,
    /// directories and processes with names that begin with `image-manager-`. Servers come first, since
    /// they hold the images that they boot from; each kind is sorted by name. Fails when a directory cannot be listed.
    pub(super) async fn unpublished(&self) -> Result<Vec<Resource>, CloudError> {
        let mut servers: BTreeSet<String> = self.servers.names(PREFIX)?.into_iter().collect();
        servers.extend(self.servers.running_names(PREFIX).await?);
        let build_of = |name: &str| name.strip_prefix(PREFIX).unwrap_or(name).to_owned();
        let images = self.store.names(PREFIX)?.into_iter().map(|name| Resource {
            kind: ResourceKind::Image,
            build_id: self.store.record(&name).map_or_else(|| build_of(&name), |record| record.build_id),
            external_id: Some(name.clone()),
            name,
        });
        let servers = servers.into_iter().map(|name| {
            let (id, build_id) =
                self.servers.record(&name).map(|record| (record.id, record.build_id)).unzip();
            Resource {
                kind: ResourceKind::Server,
                build_id: build_id.unwrap_or_else(|| build_of(&name)),
                external_id: id,
                name,
            }
        });
        Ok(servers.chain(images).collect())
    }
}
