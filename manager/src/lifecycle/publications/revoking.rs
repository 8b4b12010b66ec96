//! Taking the images of a build out of use.
//!
//! An image with a leaked key is to go wherever it can at once. So a cloud that does not answer, or is not configured any
//! more, keeps no other one from it: what is to be done there is written down for when it answers, and said. So is an image
//! whose name, or whose cloud, is somebody else's for the moment ([`super::marked`]).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use image_manager_proto::v1::{self, PublicationState};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::choosing::{by_cloud, last_good};
use super::{ChangeError, LockedPublications, Publications, TriggerError, check_why, rows, some};
use crate::cloud::{CloudError, Trouble};
use crate::history::{Change, Handover, HistoryError, NewHandover, Principal, PublicationFilter, Revocation};

/// What is not done at once.
#[derive(Default)]
pub(super) struct Later {
    /// Clouds that are not asked for now.
    pub(super) clouds: BTreeSet<String>,
    /// Why.
    pub(super) errors: Vec<ChangeError>,
    /// What is revoked, wherever its images are by the time that this is written down.
    pub(super) all: Option<Revocation>,
    /// Names whose images are marked only, as was said.
    pub(super) left: BTreeSet<Place>,
}

/// A cloud, and a name in it.
pub(super) type Place = (String, String);

/// For how long a revocation waits for those who change the names of its clouds: one of them may wait for a cloud that hangs.
const PATIENCE: Duration = if cfg!(test) { Duration::from_millis(500) } else { Duration::from_secs(30) };

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
        let ((of_clouds, alone), held) = self.alone_soon(&filter).await?;
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
        images.retain(|row| row.state() != PublicationState::Revoked);
        if images.is_empty() && errors.is_empty() {
            return Err(ChangeError::NotPublished(build));
        }
        let all = Revocation { build: build.clone(), cloud: filter.cloud, why: reason.clone() };
        let mut later = Later { errors, all: Some(all), ..Later::default() };
        // One in a cloud that had none a moment ago is seen to once it is marked.
        let (mut images, others): (Vec<_>, Vec<_>) = images.into_iter().partition(|row| has(&row.cloud));
        for row in others.into_iter().filter(|row| held.contains(&row.cloud)) {
            self.leave_held(&build, &row, &mut later).await?;
        }
        let busy = self.history.open_handovers().await?;
        images.retain(|row| {
            let is_busy = busy.iter().any(|open| open.what.is_of(row));
            if is_busy {
                let (name, cloud) = (row.name.clone(), row.cloud.clone());
                later.left.insert((cloud.clone(), name.clone()));
                later.errors.push(ChangeError::Later { name, cloud });
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

    /// The rows of a build by cloud, read once nobody else changes the names of these clouds, which lasts as long as the guards;
    /// and the clouds where somebody does for longer than a revocation can wait.
    async fn alone_soon(
        &self,
        filter: &PublicationFilter,
    ) -> Result<(LockedPublications, BTreeSet<String>), ChangeError> {
        let clouds = by_cloud(self.history.publications(filter.clone()).await?.publications);
        let deadline = Instant::now() + PATIENCE;
        let (mut alone, mut held) = (Vec::new(), BTreeSet::new());
        // In the order of their names, as everybody who locks several does.
        for cloud in clouds.keys() {
            match timeout_at(deadline, self.alone(cloud)).await {
                Ok(guard) => alone.push(guard),
                Err(_) => {
                    held.insert(cloud.clone());
                }
            }
        }
        let mut rows = by_cloud(self.history.publications(filter.clone()).await?.publications);
        rows.retain(|cloud, _| clouds.contains_key(cloud) && !held.contains(cloud));
        Ok(((rows, alone), held))
    }

    /// An image in a cloud whose names somebody else is changing is marked only. But not if its name had no good image to go
    /// to, as far as that is known.
    async fn leave_held(
        &self,
        build: &str,
        row: &v1::Publication,
        later: &mut Later,
    ) -> Result<(), ChangeError> {
        let place = (row.cloud.clone(), row.name.clone());
        later.left.insert(place.clone());
        if row.state() == PublicationState::Current {
            self.next_good(build, place, Err(in_use(row.cloud.clone())), later).await?;
        } else if later.clouds.insert(row.cloud.clone()) {
            later.errors.push(in_use(row.cloud.clone()));
        }
        Ok(())
    }

    /// The build whose image gets a name that is taken from a revoked one. Where the cloud does not say which images are
    /// there, by what was there last: it is asked once more before the name goes there.
    pub(super) async fn next_good(
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
        let older = self.history.made_before(build, (&name, &cloud)).await?;
        let target = last_good(&others, Some((build, &older)), &there, true);
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

    /// A revoked image does not keep its name because the one that was to have it is gone: another good one gets it, if there
    /// is one.
    pub(super) async fn redirect(&self, Handover { id, what, .. }: &Handover) -> Result<bool, ChangeError> {
        let (Some(gone), Some(revoked)) = (&what.to_build, &what.revoked) else { return Ok(false) };
        let mut others = self.images_of(&what.name, &what.cloud).await?;
        others.retain(|row| row.build_id != *gone);
        let there = self.there(&what.cloud, &what.name).await.map_err(ChangeError::begun)?;
        let older = self.history.made_before(revoked, (&what.name, &what.cloud)).await?;
        let Some(other) = last_good(&others, Some((revoked.as_str(), &older)), &there, true) else {
            return Ok(false);
        };
        self.history.redirect_handover(*id, Some(&other.build_id)).await?;
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
        for row in self.history.to_be_revoked(cloud).await? {
            if row.name == name
                && row.state() == PublicationState::Previous
                && let Err(error) = self.revoke_marked(&row).await
            {
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

/// What comes of some work within a revocation's patience.
pub(super) async fn soon<T>(work: impl Future<Output = T>) -> Option<T> {
    timeout(PATIENCE, work).await.ok()
}

/// A cloud whose names somebody else is changing.
pub(super) fn in_use(cloud: String) -> ChangeError {
    let error = CloudError::new(Trouble::Timeout, "something else is being done with its names");
    ChangeError::Cloud { cloud, error, begun: true }
}

/// A cloud that is not configured now may be so again.
pub(super) fn not_configured(cloud: String) -> ChangeError {
    let error = TriggerError::NoCloud(cloud.clone()).to_string();
    ChangeError::Cloud { cloud, error: CloudError::new(Trouble::Configuration, error), begun: true }
}
