//! Whether a build that is publishing may still give its image a name, by what the history says of it.
//!
//! A build publishes cloud by cloud, and after its manager was killed the next one goes on with that. In between its image may
//! have been published, revoked or rolled back from, or a newer one may have the name. What was done then holds.

use image_manager_proto::v1::{self, PublicationKind, PublicationState};

use super::choosing::{current, handover};
use super::{ChangeError, Publications, rows, within};
use crate::history::{Change, HistoryError, Named as _, PublicationFilter};

/// What a build is to do about a name in a cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::lifecycle) enum Giving {
    /// Give it.
    Wanted,
    /// Nothing: its image was given the name before. What has become of that, for people.
    Done(String),
    /// Nothing, since its image must not have the name. Why, for people.
    Refused(String),
}

impl Publications {
    /// Whether a build may give its image a name. The names of the cloud are the caller's.
    pub(in crate::lifecycle) async fn giving(
        &self,
        name: &str,
        cloud: &str,
        build: &str,
    ) -> Result<Giving, HistoryError> {
        let of_it = self.all_of(build).await?;
        if let Some(row) = of_it.iter().find(|row| row.name == name && row.cloud == cloud) {
            return Ok(Giving::Done(match row.state() {
                PublicationState::Current => format!("{name} is {}", row.location),
                state => {
                    format!("it was published as {name} on {cloud} before, and is {} there now", state.word())
                }
            }));
        }
        if let Some(why) = self.why_revoked(build, None).await? {
            return Ok(Giving::Refused(format!(
                "the image does not get the name {name} on {cloud}: it was revoked meanwhile: {why}"
            )));
        }
        let lost = |row: &&v1::Publication| row.name == name && row.state() == PublicationState::Previous;
        if let Some(row) = of_it.iter().find(lost) {
            return Ok(Giving::Refused(format!(
                "the image does not get the name {name} on {cloud}: on {} the name has gone to another image meanwhile",
                row.cloud
            )));
        }
        if let Some(newer) = self.newer(name, cloud, build).await? {
            return Ok(Giving::Refused(format!(
                "the image does not get the name {name} on {cloud}: the image of build {newer}, which is newer, has it"
            )));
        }
        Ok(Giving::Wanted)
    }

    /// After a build has published on a cloud: revokes the image there too when it was revoked on another one meanwhile. The
    /// names of the cloud are the caller's.
    pub(in crate::lifecycle) async fn revoke_if_revoked_meanwhile(
        &self,
        name: &str,
        cloud: &str,
        build: &str,
    ) -> Result<(), ChangeError> {
        let Some(why) = self.why_revoked(build, None).await? else { return Ok(()) };
        let of_it = self.all_of(build).await?;
        let current = |row: &&v1::Publication| {
            row.name == name && row.cloud == cloud && row.state() == PublicationState::Current
        };
        let Some(row) = of_it.iter().find(current) else { return Ok(()) };
        Box::pin(self.revoke_as_well(build, &handover(row, name, Change::Revoked, &why), why)).await.map(drop)
    }

    /// After publishing that did not complete: where the cloud has the image under its public name all the same, which `image`
    /// has, the history says so. The names of the cloud are the caller's.
    pub(in crate::lifecycle) async fn book_if_given(&self, build: &str, cloud: &str, image: v1::Image) {
        let name = image.name.clone();
        match self.try_book_if_given(build, cloud, image).await {
            Ok(true) => tracing::warn!(build, cloud, name, "published, though that did not complete"),
            Ok(false) => {}
            Err(error) => tracing::error!(build, cloud, name, "cannot find out what was published: {error}"),
        }
    }

    async fn try_book_if_given(
        &self,
        build: &str,
        cloud: &str,
        image: v1::Image,
    ) -> Result<bool, ChangeError> {
        let name = image.name.clone();
        let of_it = self.all_of(build).await?;
        let is_booked = of_it.iter().any(|row| row.name == name && row.cloud == cloud);
        // Of two builds with the same file it cannot be told whose has the name.
        let images = self.images_of(&name, cloud).await?;
        let is_known = images.iter().any(|row| row.sha512 == image.sha512);
        let unknown = image.sha512.is_empty();
        if is_booked || is_known || unknown || self.newer(&name, cloud, build).await?.is_some() {
            return Ok(false);
        }
        let asked = self.clouds.get(cloud)?;
        let named = within(asked.named(&name)).await.map_err(|error| ChangeError::Cloud {
            cloud: cloud.to_owned(),
            error,
            begun: false,
        })?;
        let Some(found) = named.into_iter().find(|there| there.sha512 == image.sha512) else {
            return Ok(false);
        };
        self.history.record_published(build, cloud, image, &found.location).await?;
        self.revoke_if_revoked_meanwhile(&name, cloud, build).await?;
        self.look_at_name(&*asked, &name).await?;
        Ok(true)
    }

    /// The build made after this one that has published under a name, where its image has it.
    async fn newer(&self, name: &str, cloud: &str, build: &str) -> Result<Option<String>, HistoryError> {
        let images = self.images_of(name, cloud).await?;
        let published = current(&images).filter(|row| row.kind() == PublicationKind::Published);
        let Some(row) = published else { return Ok(None) };
        let newer = self.history.was_made_after(&row.build_id, build).await?;
        Ok(newer.then(|| row.build_id.clone()))
    }

    /// The rows of a build, with those whose image is gone.
    pub(super) async fn all_of(&self, build: &str) -> Result<Vec<v1::Publication>, HistoryError> {
        let filter = PublicationFilter { build_id: Some(build.to_owned()), removed: true, ..rows() };
        Ok(self.history.publications(filter).await?.publications)
    }
}
