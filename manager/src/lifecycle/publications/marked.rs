//! Images that are to be revoked and are not yet: the names that they have were being changed, or were given to them a moment
//! ago. The history has that with the image, so nobody gives it a name meanwhile, and it is done once it can be.

use std::collections::BTreeSet;

use image_manager_proto::v1::{self, PublicationState};

use super::choosing::{current, handover, last_good};
use super::revoking::{Later, Place, in_use, soon};
use super::{ChangeError, Publications, rows};
use crate::cloud::{CloudError, Trouble};
use crate::history::{Change, Handover, HistoryError, NewHandover, PublicationFilter};

impl Publications {
    /// Revokes every image in this cloud that is to be revoked, whatever has kept it from that. Returns what was not done, for
    /// people.
    pub(in crate::lifecycle) async fn revoke_what_has_a_name(&self, cloud: &str) -> Vec<String> {
        let rows = match self.history.to_be_revoked(cloud).await {
            Ok(rows) => rows,
            Err(error) => return vec![error.to_string()],
        };
        let mut left = Vec::new();
        for row in rows {
            let _alone = self.alone(cloud).await;
            match self.revoke_marked(&row).await {
                // What is in its way is said by itself.
                Ok(_) | Err(ChangeError::Later { .. }) => {}
                Err(error) => left.push(format!("revoking {} on {}: {error}", row.name, row.cloud)),
            }
        }
        left
    }

    /// The same for images of a build that were published while it was being revoked. Returns what was done, and what was not.
    pub(super) async fn revoke_newcomers(
        &self,
        build: &str,
        newcomers: Vec<Place>,
    ) -> (Vec<Handover>, Vec<ChangeError>) {
        let (mut done, mut errors) = (Vec::new(), Vec::new());
        for (cloud, name) in newcomers {
            let row = v1::Publication {
                build_id: build.to_owned(),
                name,
                cloud: cloud.clone(),
                ..v1::Publication::default()
            };
            let Some(_alone) = soon(self.alone(&cloud)).await else {
                errors.push(in_use(cloud));
                continue;
            };
            match Box::pin(self.revoke_marked(&row)).await {
                Ok(revoked) => done.extend(revoked),
                Err(error) => errors.push(error.begun()),
            }
        }
        (done, errors)
    }

    /// Revokes the image of this build under this name, if it is to be and is not yet. What is under way with the name is
    /// finished first. The names of the cloud are the caller's.
    pub(super) async fn revoke_marked(&self, row: &v1::Publication) -> Result<Option<Handover>, ChangeError> {
        let (build, name, cloud) = (&row.build_id, &row.name, &row.cloud);
        let left = self.history.to_be_revoked(cloud).await?;
        let Some(row) = left.into_iter().find(|left| left.name == *name && left.build_id == *build) else {
            return Ok(None);
        };
        let open = self.history.open_handovers().await?;
        if open.iter().any(|open| open.what.name == *name && open.what.cloud == *cloud) {
            return Err(ChangeError::Later { name: name.clone(), cloud: cloud.clone() });
        }
        let why = if row.revoked_at.is_some() {
            row.revoked_reason.clone()
        } else {
            let Some(why) = self.why_revoked(build, Some(cloud)).await? else { return Ok(None) };
            why
        };
        let given = handover(&row, name, Change::Revoked, &why);
        Box::pin(self.revoke_as_well(build, &given, why)).await.map(Some)
    }

    /// Revokes the image of a build that has, or had, a name while the build's others were revoked. The names of the cloud are
    /// the caller's.
    pub(super) async fn revoke_as_well(
        &self,
        build: &str,
        given: &NewHandover,
        why: String,
    ) -> Result<Handover, ChangeError> {
        let (name, cloud) = (given.name.clone(), given.cloud.clone());
        let images = self.images_of(&name, &cloud).await?;
        let mut to_build = None;
        if current(&images).is_some_and(|row| row.build_id == build) {
            let there = self.there(&cloud, &name).await;
            let mut later = Later::default();
            match self.next_good(build, (cloud.clone(), name.clone()), there, &mut later).await {
                Ok(next) => to_build = Some(next),
                // No good image had the name before.
                Err(ChangeError::NoGoodOne { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let revoked = Some(build.to_owned());
        let step =
            NewHandover { name, cloud, change: Change::Revoked, to_build, revoked, why, copied: false };
        let begun = self.history.begin_marked(step).await?;
        self.hand_over_alone(&begun).await?;
        Ok(begun)
    }

    /// Why the images of a build are revoked, or are about to be, in this cloud, or in any; `None` where they are not. Nor is
    /// one that is not there any more forgotten: it was revoked all the same.
    pub(super) async fn why_revoked(
        &self,
        build: &str,
        cloud: Option<&str>,
    ) -> Result<Option<String>, HistoryError> {
        let there = |of: &str| cloud.is_none_or(|cloud| cloud == of);
        let mut open = self.history.open_handovers().await?;
        open.retain(|open| open.what.revoked.as_deref() == Some(build) && there(&open.what.cloud));
        if let Some(begun) = open.pop() {
            return Ok(Some(begun.what.why));
        }
        let mut rows = self.all_of(build).await?;
        rows.retain(|row| row.revoked_at.is_some() && there(&row.cloud));
        Ok(rows.pop().map(|row| row.revoked_reason))
    }

    /// Why a name must not go where it was to go: that image was revoked since.
    pub(super) async fn is_for_revoked(
        &self,
        what: &NewHandover,
    ) -> Result<Option<CloudError>, HistoryError> {
        let Some(build) = &what.to_build else { return Ok(None) };
        let why = self.why_revoked(build, Some(&what.cloud)).await?;
        Ok(why.map(|why| {
            let said = format!("the image of build {build} was revoked meanwhile: {why}");
            CloudError::new(Trouble::Fault, said)
        }))
    }

    /// Whether the image that is to be revoked can lose its name to none that is there: nor is a build of its schedule under
    /// way, which may bring one.
    pub(super) async fn has_no_other(&self, what: &NewHandover) -> Result<bool, ChangeError> {
        let Some(revoked) = &what.revoked else { return Ok(false) };
        let images = self.images_of(&what.name, &what.cloud).await?;
        if let Some(row) = images.iter().find(|row| row.build_id == *revoked)
            && self.history.unfinished_build(&row.schedule).await?.is_some()
        {
            return Ok(false);
        }
        let there = self.there(&what.cloud, &what.name).await.map_err(ChangeError::begun)?;
        Ok(last_good(&images, Some((revoked.as_str(), &BTreeSet::new())), &there, true).is_none())
    }

    /// The rows of a name in a cloud. What is to be revoked is said to be; but the image that has the name has it until then.
    pub(super) async fn images_of(
        &self,
        name: &str,
        cloud: &str,
    ) -> Result<Vec<v1::Publication>, HistoryError> {
        let filter =
            PublicationFilter { name: Some(name.to_owned()), cloud: Some(cloud.to_owned()), ..rows() };
        let mut rows = self.history.publications(filter).await?.publications;
        let revoked = self.history.revoked_builds(name, cloud).await?;
        for row in rows.iter_mut().filter(|row| revoked.contains(&row.build_id)) {
            if row.state() == PublicationState::Previous {
                row.set_state(PublicationState::Revoked);
            }
        }
        Ok(rows)
    }
}
