//! A cloud for tests that has names of images and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;

use async_trait::async_trait;

use crate::cloud::{
    Cloud, CloudError, CloudKind, Console, HandedOver, Image, Ledger, NamedImage, NewImage, NewServer,
    ProgressSink, Proof, Pruned, Publication, Published, Removal, Resource, Server, ServerStatus, Shutdown,
    Trouble,
};
use crate::schedules::{Publish, ServerSpec};

/// The cloud; what it has, and what is wrong with it, tests set.
#[derive(Default)]
pub(super) struct StandIn {
    pub(super) name: String,
    pub(super) is: Mutex<Is>,
}

#[derive(Default)]
pub(super) struct Is {
    /// Hashes of the images that are there.
    pub(super) images: BTreeSet<String>,
    /// The image that has each name.
    pub(super) current: BTreeMap<String, String>,
    pub(super) revoked: BTreeSet<String>,
    /// Whether an image has one name.
    pub(super) one_name: bool,
    pub(super) down: bool,
    /// What was asked for, but questions.
    pub(super) asked: Vec<String>,
    pub(super) pruned: Vec<Publication>,
}

impl StandIn {
    fn answer(&self) -> Result<std::sync::MutexGuard<'_, Is>, CloudError> {
        let is = self.is.lock().unwrap();
        if is.down { Err(CloudError::new(Trouble::Unavailable, "it is down")) } else { Ok(is) }
    }
}

#[async_trait]
impl Cloud for StandIn {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static CloudKind {
        CloudKind::of(&self.name)
    }

    async fn named(&self, _: &str) -> Result<Vec<NamedImage>, CloudError> {
        let is = self.answer()?;
        let named = |sha512: &String| NamedImage {
            sha512: sha512.clone(),
            location: format!("/{sha512}"),
            unusable: None,
        };
        Ok(is.images.iter().map(named).collect())
    }

    async fn check_hand_over(&self, image: &Image, from: &str, name: &str) -> Result<(), CloudError> {
        let is = self.answer()?;
        if !is.images.contains(&image.sha512) {
            return Err(CloudError::new(Trouble::Fault, "it no longer exists"));
        }
        if is.one_name && from != name && is.current.get(from) == Some(&image.sha512) {
            return Err(CloudError::new(Trouble::Configuration, "an image has one name"));
        }
        Ok(())
    }

    async fn hand_over(&self, image: &Image, from: &str, name: &str) -> Result<HandedOver, CloudError> {
        self.check_hand_over(image, from, name).await?;
        let mut is = self.answer()?;
        is.asked.push(format!("{name} to {}", image.sha512));
        is.current.insert(name.to_owned(), image.sha512.clone());
        Ok(HandedOver { location: format!("/{name}"), only_name: is.one_name })
    }

    async fn revoke(&self, image: &Image, _: &str, _: &str) -> Result<(), CloudError> {
        let mut is = self.answer()?;
        is.asked.push(format!("revoke {}", image.sha512));
        is.revoked.insert(image.sha512.clone());
        Ok(())
    }

    async fn prune(&self, publication: &Publication) -> Result<Pruned, CloudError> {
        self.answer()?.pruned.push(publication.clone());
        Ok(Pruned::default())
    }

    async fn publish(&self, _: &Image, _: &Publication) -> Result<Published, CloudError> {
        unreachable!()
    }

    async fn agent_endpoint(&self, _: SocketAddr) -> Result<String, CloudError> {
        unreachable!()
    }

    async fn preflight(&self, _: &ServerSpec) -> Result<(), CloudError> {
        unreachable!()
    }

    async fn upload(&self, _: &NewImage, _: &dyn Ledger, _: ProgressSink<'_>) -> Result<Image, CloudError> {
        unreachable!()
    }

    async fn boot(&self, _: &NewServer, _: &dyn Ledger) -> Result<Server, CloudError> {
        unreachable!()
    }

    async fn server_status(&self, _: &Server) -> Result<ServerStatus, CloudError> {
        unreachable!()
    }

    async fn save_console(&self, _: &Server) -> Result<Console, CloudError> {
        unreachable!()
    }

    async fn allow_reboot(&self, _: &Server) -> Result<(), CloudError> {
        unreachable!()
    }

    async fn stop(&self, _: &Server) -> Result<Shutdown, CloudError> {
        unreachable!()
    }

    async fn save_disk(&self, _: &Server, _: &Path) -> Result<(), CloudError> {
        unreachable!()
    }

    async fn remove(&self, _: &Resource) -> Result<Removal, CloudError> {
        unreachable!()
    }

    async fn inventory(&self) -> Result<Vec<Resource>, CloudError> {
        unreachable!()
    }

    async fn diagnose(&self, _: SocketAddr) -> Vec<Proof> {
        unreachable!()
    }

    async fn diagnose_server(&self, _: &ServerSpec, _: Option<&Publish>) -> Vec<Proof> {
        unreachable!()
    }
}
