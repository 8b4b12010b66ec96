//! Taking the images of a build out of use.
//!
//! An image with a leaked key is to go wherever it can at once. So a cloud that does not answer, or is not configured any
//! more, keeps no other one from it: what is to be done there is written down for when it answers, and said.

use std::collections::{BTreeMap, BTreeSet};

use image_manager_proto::v1::{self, PublicationState};
use tokio::task::JoinSet;

use super::choosing::last_good;
use super::{ChangeError, Publications, TriggerError, check_why, rows, some};
use crate::cloud::{CloudError, Trouble};
use crate::history::{Change, Handover, HistoryError, NewHandover, Principal, PublicationFilter};

/// What is not done at once.
#[derive(Default)]
pub(super) struct Later {
    /// Clouds that are not asked for now.
    pub(super) clouds: BTreeSet<String>,
    /// Why.
    pub(super) errors: Vec<ChangeError>,
}

/// A name in a cloud.
type Place = (String, String);

impl Publications {
    /// Revokes the images of a build. Each name that one of them has goes to the good one that had it last; when a name has
    /// none, nothing is done.
    pub async fn revoke(
        &self,
        request: v1::RevokeBuildRequest,
        by: Principal,
    ) -> Result<Vec<v1::Publication>, ChangeError> {
        let v1::RevokeBuildRequest { build, reason, cloud } = request;
        check_why(&reason)?;
        if reason.trim().is_empty() {
            return Err(ChangeError::Wrong("say why it is revoked"));
        }
        let build = self.published_build(&build).await?;
        let filter = PublicationFilter { build_id: Some(build.clone()), cloud: some(cloud), ..rows() };
        let (of_clouds, alone) = self.alone_with(filter.clone()).await?;
        let has = |cloud: &str| of_clouds.contains_key(cloud);
        let in_the_way = |what: &NewHandover| {
            let named =
                of_clouds.get(&what.cloud).is_some_and(|rows| rows.iter().any(|row| row.name == what.name));
            let of_it = what.to_build.as_ref() == Some(&build);
            filter.cloud.as_ref().is_none_or(|cloud| *cloud == what.cloud) && (named || of_it)
        };
        let errors = self.end_copies(in_the_way, has).await?;
        // A copy that had its name already is among them now.
        let mut images = self.history.publications(filter.clone()).await?.publications;
        images.retain(|row| of_clouds.contains_key(&row.cloud));
        images.retain(|row| row.state() != PublicationState::Revoked);
        if images.is_empty() && errors.is_empty() {
            return Err(ChangeError::NotPublished(build));
        }
        let mut later = Later { errors, ..Later::default() };
        let busy = self.history.open_handovers().await?;
        images.retain(|row| {
            let is_busy = busy.iter().any(|open| open.what.is_of(row));
            if is_busy {
                let (name, cloud) = (row.name.clone(), row.cloud.clone());
                later.errors.push(HistoryError::NameBusy { name, cloud }.into());
            }
            !is_busy
        });
        let mut there = self.there_in_each(&images).await;
        let mut new = Vec::new();
        for row in images {
            let place = (row.cloud.clone(), row.name.clone());
            let mut step = NewHandover {
                name: row.name.clone(),
                cloud: row.cloud.clone(),
                change: Change::Revoked,
                to_build: None,
                revoked: Some(build.clone()),
                why: reason.clone(),
                copied: false,
            };
            if let Some(answer) = there.remove(&place) {
                step.to_build = Some(self.next_good(&build, place, answer, &mut later).await?);
            }
            new.push(step);
        }
        self.change(new, by, alone, later).await
    }

    /// Why the images of a build are revoked in a cloud, or are about to be; `None` where they are not.
    pub(super) async fn why_revoked(&self, build: &str, cloud: &str) -> Result<Option<String>, HistoryError> {
        let mut open = self.history.open_handovers().await?;
        open.retain(|open| open.what.cloud == cloud && open.what.revoked.as_deref() == Some(build));
        if let Some(open) = open.pop() {
            return Ok(Some(open.what.why));
        }
        let (build_id, cloud) = (Some(build.to_owned()), Some(cloud.to_owned()));
        let filter = PublicationFilter { cloud, build_id, ..rows() };
        let mut images = self.history.publications(filter).await?.publications;
        images.retain(|row| row.state() == PublicationState::Revoked);
        Ok(images.pop().map(|row| row.revoked_reason))
    }

    /// Revokes the image of a build that got a name while the build's others were revoked. The names of the cloud are the
    /// caller's.
    pub(super) async fn revoke_as_well(
        &self,
        build: &str,
        given: &NewHandover,
        why: String,
    ) -> Result<(), ChangeError> {
        let (name, cloud) = (given.name.clone(), given.cloud.clone());
        let there = self.there(&cloud, &name).await;
        let mut later = Later::default();
        let to_build = match self.next_good(build, (cloud.clone(), name.clone()), there, &mut later).await {
            Ok(next) => Some(next),
            // No good image had the name before.
            Err(ChangeError::NoGoodOne { .. }) => None,
            Err(error) => return Err(error),
        };
        let revoked = Some(build.to_owned());
        let step =
            NewHandover { name, cloud, change: Change::Revoked, to_build, revoked, why, copied: false };
        for begun in self.history.begin_handovers(Principal::Manager, vec![step]).await? {
            self.hand_over_alone(&begun).await?;
        }
        Ok(())
    }

    /// The build whose image gets a name that is taken from a revoked one. Where the cloud does not say which images are
    /// there, by what was there last: it is asked once more before the name goes there.
    async fn next_good(
        &self,
        build: &str,
        (cloud, name): Place,
        there: Result<BTreeSet<String>, ChangeError>,
        later: &mut Later,
    ) -> Result<String, ChangeError> {
        let others = self.images_of(&name, &cloud).await?;
        let there = there.unwrap_or_else(|error| {
            // Once for each cloud.
            if later.clouds.insert(cloud.clone()) {
                later.errors.push(error.begun());
            }
            others.iter().map(|row| row.sha512.clone()).collect()
        });
        let target = last_good(&others, Some(build), &there, true);
        target.map(|row| row.build_id.clone()).ok_or(ChangeError::NoGoodOne { name, cloud })
    }

    /// What each cloud has under the names that images have now, all asked at once: one that does not answer takes minutes.
    async fn there_in_each(
        &self,
        images: &[v1::Publication],
    ) -> BTreeMap<Place, Result<BTreeSet<String>, ChangeError>> {
        let mut asked = JoinSet::new();
        for row in images.iter().filter(|row| row.state() == PublicationState::Current) {
            let (publications, cloud, name) = (self.clone(), row.cloud.clone(), row.name.clone());
            asked.spawn(async move {
                let there = publications.there(&cloud, &name).await;
                ((cloud, name), there)
            });
        }
        asked.join_all().await.into_iter().collect()
    }

    /// The rows of a name in a cloud.
    pub(super) async fn images_of(
        &self,
        name: &str,
        cloud: &str,
    ) -> Result<Vec<v1::Publication>, HistoryError> {
        let (name, cloud) = (Some(name.to_owned()), Some(cloud.to_owned()));
        Ok(self.history.publications(PublicationFilter { name, cloud, ..rows() }).await?.publications)
    }

    /// A revoked image does not keep its name because the one that was to have it is gone: another good one gets it, if there
    /// is one.
    pub(super) async fn redirect(&self, Handover { id, what, .. }: &Handover) -> Result<bool, ChangeError> {
        let (Some(gone), Some(revoked)) = (&what.to_build, &what.revoked) else { return Ok(false) };
        let mut others = self.images_of(&what.name, &what.cloud).await?;
        others.retain(|row| row.build_id != *gone);
        let there = self.there(&what.cloud, &what.name).await.map_err(ChangeError::begun)?;
        let Some(other) = last_good(&others, Some(revoked), &there, true) else { return Ok(false) };
        self.history.redirect_handover(*id, &other.build_id).await?;
        Ok(true)
    }

    /// Finishes what was to be revoked of a name, before a build publishes: an image that is not marked yet would be taken for
    /// a good one, and could keep one that is from staying. What has no other image to give the name to is left for when the
    /// build's own has it. The names of the cloud are the caller's.
    pub(super) async fn revoke_what_is_left(&self, name: &str, cloud: &str) -> Result<(), HistoryError> {
        for handover in self.history.open_handovers().await? {
            let what = &handover.what;
            if what.revoked.is_none() || what.name != name || what.cloud != cloud {
                continue;
            }
            if let Err(error) = self.try_step(&handover).await {
                tracing::warn!(name, cloud, "not revoked yet: {}", error.begun());
            }
        }
        Ok(())
    }
}

impl NewHandover {
    /// Whether it is about the name of an image in its cloud.
    fn is_of(&self, row: &v1::Publication) -> bool {
        self.name == row.name && self.cloud == row.cloud
    }
}

impl ChangeError {
    /// The same of what was begun.
    pub(super) fn begun(self) -> Self {
        match self {
            Self::Cloud { cloud, error, .. } => Self::Cloud { cloud, error, begun: true },
            Self::Trigger(TriggerError::NoCloud(cloud)) => not_configured(cloud),
            other => other,
        }
    }
}

/// A cloud that is not configured now may be so again.
pub(super) fn not_configured(cloud: String) -> ChangeError {
    let error = TriggerError::NoCloud(cloud.clone()).to_string();
    ChangeError::Cloud { cloud, error: CloudError::new(Trouble::Configuration, error), begun: true }
}
