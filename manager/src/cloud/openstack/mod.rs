//! An OpenStack cloud: images in Glance, servers on Nova, security groups in Neutron.
//!
//! ```text
//! config/      clouds.yaml, secure.yaml, OS_*            who we are, where
//! identity     Keystone: tokens, the catalog
//! session      requests: authenticated, bounded, repeated where that is safe; errors in `answers`, TLS in `client`
//! listing      lists, read to their end
//! lookups      questions of the crate `openstack`
//! by_name      what is found by its name where its id was not seen
//! images, upload, publishing, handing, copying   Glance
//! servers, console, keys       Nova
//! network, ports               Neutron
//! volumes                      Cinder, for servers that boot from a volume
//! flavors_and_networks, reach, diagnosis   what can be proved before anything is made
//! inventory                    what is there that carries our mark, for sweeps
//! ```
//!
//! Flavors and networks are looked up by the crate `openstack`, which is told where the services are (see `lookups`):
//! `osauth` below it would send the token wherever a version document's links point. All other questions are asked in
//! JSON at the catalog's addresses. The authentication is ours, in `osauth`'s trait (see `identity`).
//!
//! Whatever is made carries `image_manager_owner`, or the owner in its description; without that nothing is
//! removed.

mod answers;
mod by_name;
mod client;
mod config;
mod console;
mod copying;
mod diagnosis;
mod flavors_and_networks;
mod handing;
mod identity;
mod images;
mod inventory;
mod keys;
mod kind;
mod listing;
mod lookups;
mod network;
mod pace;
mod peer;
mod ports;
mod publishing;
mod reach;
mod servers;
mod services;
mod session;
#[cfg(test)]
mod stage;
mod upload;
mod volumes;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Mutex as PlainMutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

pub(in crate::cloud) use self::kind::KIND;

use self::config::{CloudConfig, Surroundings};
use self::session::{RequestTimeouts, Session};
use super::{
    Cloud, CloudError, CloudKind, Console, HandedOver, Handing, Image, Ledger, NamedImage, NewImage,
    NewServer, ProgressSink, Proof, Pruned, Publication, Published, Removal, Resource, ResourceKind, Server,
    ServerStatus, Shutdown, Trouble,
};
use crate::schedules::{Publish, ServerSpec};

/// How long what Nova said about a server counts as now: callers look every second.
const STATUS_AGE: Duration = Duration::from_secs(3);
/// How often the console of a running server is fetched in passing.
const CONSOLE_AGE: Duration = Duration::from_secs(5);

/// An OpenStack cloud of clouds.yaml.
pub struct OpenStackCloud {
    name: String,
    owner: String,
    session: Session,
    /// One publication at a time.
    publishing: Mutex<()>,
    seen: PlainMutex<HashMap<String, Seen>>,
}

/// What was last seen of a server.
#[derive(Debug, Clone)]
struct Seen {
    at: Instant,
    status: ServerStatus,
    console_at: Option<Instant>,
}

impl fmt::Debug for OpenStackCloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenStackCloud").field("name", &self.name).finish_non_exhaustive()
    }
}

impl OpenStackCloud {
    /// The cloud with this name, as clouds.yaml and the environment have it. Asks nothing of it yet.
    /// Everything made there will carry `owner`.
    pub fn open(name: &str, owner: impl Into<String>) -> Result<Self, CloudError> {
        let config = CloudConfig::load(name, &Surroundings::of_process())?;
        if let Some(note) = &config.note {
            tracing::warn!("{note}");
        }
        Ok(Self::with_session(name, owner.into(), Session::new(config)?))
    }

    fn with_session(name: &str, owner: String, session: Session) -> Self {
        let (publishing, seen) = (Mutex::new(()), PlainMutex::default());
        Self { name: name.to_owned(), owner, session, publishing, seen }
    }

    /// Where its settings come from, for people.
    pub fn source(&self) -> &str {
        &self.session.config().source
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<String, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_server(&self, id: &str) {
        self.seen().remove(id);
    }

    async fn look_at(&self, server: &Server) -> Result<ServerStatus, CloudError> {
        let before = self.seen().get(&server.id).cloned();
        if let Some(seen) = before.as_ref().filter(|seen| seen.at.elapsed() < STATUS_AGE) {
            return Ok(seen.status.clone());
        }
        let status = self.ask_status(&server.id, RequestTimeouts::SHORT).await?;
        let console_at = before.and_then(|seen| seen.console_at);
        let fetch = status == ServerStatus::Active && console_at.is_none_or(|at| at.elapsed() >= CONSOLE_AGE);
        let now = Instant::now();
        let console_at = if fetch { Some(now) } else { console_at };
        self.seen().insert(server.id.clone(), Seen { at: now, status: status.clone(), console_at });
        if fetch {
            // For people who watch; whoever needs it as evidence asks for it.
            let _ = timeout(console::IN_PASSING, self.fetch_console(server)).await;
        }
        Ok(status)
    }
}

#[async_trait]
impl Cloud for OpenStackCloud {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static CloudKind {
        &KIND
    }

    fn note(&self) -> Option<&str> {
        self.session.config().note.as_deref()
    }

    async fn agent_endpoint(&self, gateway: SocketAddr) -> Result<String, CloudError> {
        reach::endpoint(gateway, &self.session.config().auth_url).await
    }

    async fn preflight(&self, server: &ServerSpec) -> Result<(), CloudError> {
        Box::pin(self.prove(server)).await
    }

    async fn answers(&self) -> Result<(), CloudError> {
        Box::pin(self.ask_each_service()).await
    }

    async fn upload(
        &self,
        image: &NewImage,
        ledger: &dyn Ledger,
        progress: ProgressSink<'_>,
    ) -> Result<Image, CloudError> {
        Box::pin(self.upload_image(image, ledger, progress)).await
    }

    async fn boot(&self, server: &NewServer, ledger: &dyn Ledger) -> Result<Server, CloudError> {
        Box::pin(self.boot_server(server, ledger)).await
    }

    async fn server_status(&self, server: &Server) -> Result<ServerStatus, CloudError> {
        Box::pin(self.look_at(server)).await
    }

    async fn stranger(&self, server: &Server, peer: IpAddr) -> Result<Option<String>, CloudError> {
        Box::pin(self.why_stranger(server, peer)).await
    }

    async fn save_console(&self, server: &Server) -> Result<Console, CloudError> {
        Box::pin(self.fetch_console(server)).await
    }

    /// Nova's servers start again by themselves.
    async fn allow_reboot(&self, _server: &Server) -> Result<(), CloudError> {
        Ok(())
    }

    async fn stop(&self, server: &Server) -> Result<Shutdown, CloudError> {
        Box::pin(self.stop_server(&server.id)).await
    }

    async fn save_disk(&self, _server: &Server, _to: &Path) -> Result<(), CloudError> {
        let message = "a server's disk can be saved only on the cloud \"local\"";
        Err(CloudError::new(Trouble::Configuration, message))
    }

    async fn publish(&self, image: &Image, publication: &Publication) -> Result<Published, CloudError> {
        Box::pin(self.publish_image(image, publication)).await
    }

    async fn prune(&self, publication: &Publication) -> Result<Pruned, CloudError> {
        Box::pin(self.prune_name(publication)).await
    }

    async fn named(&self, name: &str) -> Result<Vec<NamedImage>, CloudError> {
        Box::pin(self.named_images(name)).await
    }

    async fn check_hand_over(&self, image: &Image, from: &str, name: &str) -> Result<Handing, CloudError> {
        Box::pin(self.may_be_named(image, from, name)).await.map(|(_, handing)| handing)
    }

    async fn copy(
        &self,
        image: &Image,
        name: &str,
        ledger: &dyn Ledger,
        progress: ProgressSink<'_>,
    ) -> Result<Image, CloudError> {
        Box::pin(self.copy_image(image, name, ledger, progress)).await
    }

    async fn is_whole_copy(&self, image: &Image, id: &str) -> Result<bool, CloudError> {
        Box::pin(self.whole_copy(image, id)).await
    }

    async fn hand_over(&self, image: &Image, from: &str, name: &str) -> Result<HandedOver, CloudError> {
        let location = Box::pin(self.hand_name_over(image, from, name)).await?;
        Ok(HandedOver { location, only_name: true })
    }

    async fn revoke(&self, image: &Image, _name: &str, why: &str) -> Result<(), CloudError> {
        Box::pin(self.revoke_image(image, why)).await
    }

    async fn remove(&self, resource: &Resource) -> Result<Removal, CloudError> {
        self.remove_beside(resource, &[]).await
    }

    async fn remove_beside(&self, resource: &Resource, current: &[String]) -> Result<Removal, CloudError> {
        match resource.kind {
            ResourceKind::Server => Box::pin(self.remove_server(resource)).await,
            ResourceKind::Image => Box::pin(self.remove_image(resource, current)).await,
            ResourceKind::SecurityGroup => Box::pin(self.remove_security_group(resource)).await,
            ResourceKind::KeyPair => Box::pin(self.remove_key_pair(resource)).await,
            ResourceKind::Volume => Box::pin(self.remove_volume(resource)).await,
            ResourceKind::Port => {
                Box::pin(self.remove_port(resource.external_id.as_deref().unwrap_or_default())).await
            }
            ResourceKind::Scratch => {
                let message = format!("{} is a scratch directory: no cloud removes those", resource.name);
                Err(CloudError::new(Trouble::Configuration, message))
            }
        }
    }

    async fn inventory(&self) -> Result<Vec<Resource>, CloudError> {
        Box::pin(self.carrying_our_mark()).await
    }

    async fn diagnose(&self, gateway: SocketAddr) -> Vec<Proof> {
        Box::pin(self.prove_access(gateway)).await
    }

    async fn diagnose_server(&self, server: &ServerSpec, publish: Option<&Publish>) -> Vec<Proof> {
        Box::pin(self.prove_schedule(server, publish)).await
    }
}
