//! A cloud for tests that has names of images and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;

use crate::cloud::{
    Cloud, CloudError, CloudKind, Console, HandedOver, Handing, Image, Ledger, NamedImage, NewImage,
    NewServer, ProgressSink, Proof, Pruned, Publication, Published, Removal, Resource, ResourceKind, Server,
    ServerStatus, Shutdown, Trouble,
};
use crate::schedules::{Publish, ServerSpec};

/// The cloud; what it has, and what is wrong with it, tests set.
#[derive(Default)]
pub(super) struct StandIn {
    pub(super) name: String,
    pub(super) is: Mutex<Is>,
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a way of its own in which a cloud is")]
pub(super) struct Is {
    /// Hashes of the images that are there.
    pub(super) images: BTreeSet<String>,
    /// Names under which none of them is.
    pub(super) empty: BTreeSet<String>,
    /// The image that has each name.
    pub(super) current: BTreeMap<String, String>,
    pub(super) revoked: BTreeSet<String>,
    /// Whether an image has one name.
    pub(super) one_name: bool,
    pub(super) down: bool,
    /// Whether what is to be removed waits until this is over.
    pub(super) hangs: bool,
    /// Why it gives no further names.
    pub(super) refuses: Option<Trouble>,
    /// Copies by their ids.
    pub(super) copies: BTreeMap<String, Copied>,
    /// How many were made.
    pub(super) made: u32,
    /// Whether copies get no further than having been made.
    pub(super) holds: bool,
    /// What every copy fails of once it has been made.
    pub(super) fails: Option<Trouble>,
    /// What was asked for, but questions.
    pub(super) asked: Vec<String>,
    pub(super) pruned: Vec<Publication>,
}

/// A copy of an image.
pub(super) struct Copied {
    pub(super) name: String,
    pub(super) sha512: String,
    /// Whether it has its data.
    pub(super) whole: bool,
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

    async fn named(&self, name: &str) -> Result<Vec<NamedImage>, CloudError> {
        let is = self.answer()?;
        if is.empty.contains(name) {
            return Ok(Vec::new());
        }
        let named = |sha512: &String| NamedImage {
            sha512: sha512.clone(),
            location: format!("/{sha512}"),
            unusable: None,
        };
        Ok(is.images.iter().map(named).collect())
    }

    async fn check_hand_over(&self, image: &Image, from: &str, name: &str) -> Result<Handing, CloudError> {
        let is = self.answer()?;
        if !is.images.contains(&image.sha512) {
            return Err(CloudError::new(Trouble::Fault, "it no longer exists"));
        }
        if let Some(trouble) = is.refuses {
            return Err(CloudError::new(trouble, "it refuses"));
        }
        let copy = is.one_name && from != name && is.current.get(from) == Some(&image.sha512);
        Ok(if copy { Handing::Copy } else { Handing::Itself })
    }

    async fn copy(
        &self,
        image: &Image,
        name: &str,
        ledger: &dyn Ledger,
        _: ProgressSink<'_>,
    ) -> Result<Image, CloudError> {
        drop(self.answer()?);
        let entry = ledger.intend(ResourceKind::Image, name).await?;
        let id = {
            let mut is = self.answer()?;
            is.made += 1;
            let id = format!("copy {}", is.made);
            let sha512 = image.sha512.clone();
            is.copies.insert(id.clone(), Copied { name: name.to_owned(), sha512, whole: false });
            id
        };
        ledger.created(entry, &id).await?;
        loop {
            {
                let mut is = self.answer()?;
                if let Some(trouble) = is.fails {
                    return Err(CloudError::new(trouble, "it fails"));
                }
                if !is.holds {
                    if let Some(copy) = is.copies.get_mut(&id) {
                        copy.whole = true;
                    }
                    return Ok(Image { id, ..image.clone() });
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn is_whole_copy(&self, image: &Image, id: &str) -> Result<bool, CloudError> {
        let is = self.answer()?;
        Ok(is.copies.get(id).is_some_and(|copy| copy.whole && copy.sha512 == image.sha512))
    }

    async fn hand_over(&self, image: &Image, from: &str, name: &str) -> Result<HandedOver, CloudError> {
        assert_eq!(self.check_hand_over(image, from, name).await?, Handing::Itself);
        let mut is = self.answer()?;
        let which = if is.copies.contains_key(&image.id) { &image.id } else { &image.sha512 };
        let line = format!("{name} to {which}");
        is.asked.push(line);
        is.current.insert(name.to_owned(), image.sha512.clone());
        Ok(HandedOver { location: format!("/{name}"), only_name: is.one_name })
    }

    async fn revoke(&self, image: &Image, _: &str, _: &str) -> Result<(), CloudError> {
        let mut is = self.answer()?;
        let which = if is.copies.contains_key(&image.id) { &image.id } else { &image.sha512 };
        let line = format!("revoke {which}");
        is.asked.push(line);
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

    async fn remove(&self, resource: &Resource) -> Result<Removal, CloudError> {
        let hangs = || self.is.lock().unwrap().hangs;
        while hangs() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut is = self.answer()?;
        let before = is.copies.len();
        is.copies.retain(|id, copy| {
            resource.external_id.as_ref().map_or(copy.name != resource.name, |external| external != id)
        });
        Ok(if is.copies.len() < before || resource.external_id.is_some() {
            Removal::Gone
        } else {
            Removal::Unseen
        })
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
