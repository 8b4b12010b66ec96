//! The uploads of a build: the artifact goes to each cloud once, for all of the build's trials there.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use super::artifact::HashedFile;
use crate::cloud::Image;

/// What is known of the upload to one cloud.
#[derive(Debug, Default)]
pub(super) struct Upload {
    /// The image, once it is there and verified.
    pub(super) image: Option<Image>,
}

/// The artifact and its uploads; shared by the trials of a build.
#[derive(Debug)]
pub(super) struct Uploads {
    artifact: Option<HashedFile>,
    by_cloud: BTreeMap<String, Arc<Mutex<Upload>>>,
}

impl Uploads {
    /// For the clouds of a build's trials, with what was uploaded already.
    pub(super) fn new(
        artifact: Option<HashedFile>,
        clouds: impl IntoIterator<Item = (String, Option<Image>)>,
    ) -> Self {
        let mut images: BTreeMap<String, Option<Image>> = BTreeMap::new();
        for (cloud, image) in clouds {
            let known = images.entry(cloud).or_default();
            *known = known.take().or(image);
        }
        let by_cloud = images
            .into_iter()
            .map(|(cloud, image)| (cloud, Arc::new(Mutex::new(Upload { image }))))
            .collect();
        Self { artifact, by_cloud }
    }

    /// The file that disk-image-builder made; `None` when it is not there any more.
    pub(super) fn artifact(&self) -> Option<&HashedFile> {
        self.artifact.as_ref()
    }

    /// The upload to a cloud, for as long as it is held: the trials of one cloud take turns, and whoever comes second
    /// finds the image there. `None` for a cloud that none of the trials is on.
    pub(super) async fn enter(&self, cloud: &str) -> Option<OwnedMutexGuard<Upload>> {
        Some(Arc::clone(self.by_cloud.get(cloud)?).lock_owned().await)
    }

    /// Whether there is something to try on this cloud: the image is there, or the artifact is whole.
    pub(super) async fn can_be_tried(&self, cloud: &str) -> bool {
        let there = self.enter(cloud).await.is_some_and(|upload| upload.image.is_some());
        match &self.artifact {
            Some(artifact) if !there => artifact.is_whole().await,
            _ => there,
        }
    }

    /// Whether every cloud has the image: nobody reads the artifact any more. A cloud that is being uploaded to has it
    /// not yet. To be asked without an upload in hand.
    pub(super) fn all_done(&self) -> bool {
        self.by_cloud.values().all(|upload| upload.try_lock().is_ok_and(|upload| upload.image.is_some()))
    }
}
