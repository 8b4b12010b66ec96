//! Doing what was decided: the cloud is asked, then the history says so.

use image_manager_proto::v1::{self, PublicationState};
use tokio::sync::OwnedMutexGuard;

use super::{ChangeError, Publications, rows, within};
use crate::cloud::{Cloud, CloudError, HandedOver, Image, Trouble};
use crate::history::{Handover, HistoryError, NewHandover, Principal, PublicationFilter};

impl Publications {
    /// Finishes what an earlier manager, or a cloud that did not answer, has left. Returns what is left still.
    pub async fn finish_handovers(&self) -> Vec<String> {
        let open = match self.history.open_handovers().await {
            Ok(open) => open,
            Err(error) => return vec![error.to_string()],
        };
        let mut left = Vec::new();
        for handover in open {
            let what = format!("{} on {}", handover.what.name, handover.what.cloud);
            match self.hand_over(&handover).await {
                Ok(()) => tracing::info!("{what} was handed over"),
                Err(error) => left.push(format!("handing over {what}: {error}")),
            }
        }
        left
    }

    /// Does it, in a task of its own: it goes on when whoever asked goes away. `alone`: nobody else changes the names of
    /// these clouds, from before the images were chosen until it is done.
    pub(super) async fn change(
        &self,
        new: Vec<NewHandover>,
        by: Principal,
        alone: Vec<OwnedMutexGuard<()>>,
    ) -> Result<Vec<v1::Publication>, ChangeError> {
        let publications = self.clone();
        let work = async move {
            let _alone = alone;
            let begun = publications.history.begin_handovers(by, new).await?;
            let mut first = None;
            for handover in &begun {
                if let Err(error) = publications.hand_over_alone(handover).await {
                    first.get_or_insert(error);
                }
            }
            first.map_or(Ok(()), Err)?;
            Ok(publications.done(&begun).await?)
        };
        tokio::spawn(work).await.map_err(|_| HistoryError::Closed)?
    }

    /// What came of steps that are done: the images that have the names now, and those that were revoked.
    pub async fn done(&self, steps: &[Handover]) -> Result<Vec<v1::Publication>, HistoryError> {
        let mut images = Vec::new();
        for Handover { what, .. } in steps {
            let (name, cloud) = (Some(what.name.clone()), Some(what.cloud.clone()));
            let all =
                self.history.publications(PublicationFilter { name, cloud, ..rows() }).await?.publications;
            images.extend(all.into_iter().filter(|row| {
                row.state() == PublicationState::Current || what.revoked.as_ref() == Some(&row.build_id)
            }));
        }
        Ok(images)
    }

    /// One step, once nobody else changes the cloud's names.
    async fn hand_over(&self, handover: &Handover) -> Result<(), ChangeError> {
        let _alone = self.alone(&handover.what.cloud).await;
        self.hand_over_alone(handover).await
    }

    /// One step: the cloud, then the history.
    async fn hand_over_alone(&self, handover: &Handover) -> Result<(), ChangeError> {
        let Some(handover) = self.history.handover(handover.id).await? else { return Ok(()) };
        let what = &handover.what;
        let cloud = self.clouds.get(&what.cloud)?;
        let given = match self.in_cloud(&*cloud, what).await? {
            Ok(given) => given,
            Err(error) => {
                let undone =
                    matches!(error.trouble, Trouble::Configuration | Trouble::Fault | Trouble::Corrupt);
                if undone {
                    self.history.drop_handover(handover.id).await?;
                }
                return Err(ChangeError::Cloud { cloud: what.cloud.clone(), error, begun: !undone });
            }
        };
        self.history
            .finish_handover(handover.id, given.map(|given| (given.location, given.only_name)))
            .await?;
        tracing::info!(
            name = what.name,
            cloud = what.cloud,
            by = handover.principal,
            "{}",
            what.change.word()
        );
        if let Err(error) = self.look_at_name(&*cloud, &what.name).await {
            tracing::warn!(name = what.name, cloud = what.cloud, "cannot list the images: {error}");
        }
        Ok(())
    }

    async fn in_cloud(
        &self,
        cloud: &dyn Cloud,
        what: &NewHandover,
    ) -> Result<Result<Option<HandedOver>, CloudError>, ChangeError> {
        let mut given = None;
        if let Some(build) = &what.to_build {
            let row = self.row_of(what, build).await?;
            match within(cloud.hand_over(&image_of(&row), &row.name, &what.name)).await {
                Ok(image) => given = Some(image),
                Err(error) => return Ok(Err(error)),
            }
        }
        if let Some(build) = &what.revoked {
            let row = self.row_of(what, build).await?;
            if let Err(error) = within(cloud.revoke(&image_of(&row), &what.name, &what.why)).await {
                // The name may have gone to another image: the rest is done later, whatever it is.
                return Ok(Err(CloudError { trouble: Trouble::Unavailable, ..error }));
            }
        }
        Ok(Ok(given))
    }

    /// A build's publication in a cloud, that under the name first.
    async fn row_of(&self, what: &NewHandover, build: &str) -> Result<v1::Publication, ChangeError> {
        let filter =
            PublicationFilter { build_id: Some(build.to_owned()), cloud: Some(what.cloud.clone()), ..rows() };
        let mut all = self.history.publications(filter).await?.publications;
        all.sort_by_key(|row| row.name != what.name);
        all.into_iter().next().ok_or_else(|| ChangeError::NotPublished(build.to_owned()))
    }

    /// Brings the history up to date about which images of a name are there.
    pub(in crate::lifecycle) async fn look_at_name(
        &self,
        cloud: &dyn Cloud,
        name: &str,
    ) -> Result<(), ChangeError> {
        let named = within(cloud.named(name)).await;
        let named = named.map_err(|error| ChangeError::Cloud {
            cloud: cloud.name().to_owned(),
            error,
            begun: true,
        })?;
        let there = named.into_iter().map(|image| (image.sha512, image.location)).collect();
        Ok(self.history.record_there(name, cloud.name(), there).await?)
    }
}

fn image_of(row: &v1::Publication) -> Image {
    Image {
        id: row.image_id.clone(),
        name: row.name.clone(),
        sha512: row.sha512.clone(),
        size_bytes: row.size_bytes,
        virtual_size_bytes: 0,
    }
}
