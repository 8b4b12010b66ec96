//! Removing older images whose time has come, though nothing is built any more.
//!
//! A build that publishes does it for its name; this looks after all names every hour, with the names of the cloud for
//! itself, so that no image goes that a name is about to go to. What goes is decided anew each time by what is there, the
//! image that has the name is never among it, and each removal can be repeated: a manager that is killed in between leaves
//! nothing that the next look would not see. What cannot be removed is tried again, and said where the images are listed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use image_manager_proto::v1::{self, PublicationState};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::choosing::had_it_last;
use super::{ChangeError, Publications, within};
use crate::clock;
use crate::cloud::{Cloud, Held, Pruned, Publication};
use crate::history::{HistoryError, NewHandover};
use crate::lifecycle::current_schedules::CurrentSchedules;
use crate::schedules::{Publish, Schedule, Schedules};

/// How often it is looked for images whose time has come.
const LOOK: Duration = Duration::from_hours(1);
/// The first look waits until a start has done what is more urgent.
const FIRST: Duration = Duration::from_mins(2);

impl Publications {
    /// How a build is about to publish in a cloud whose names are its own: it says which image had the name last, and has
    /// revoked by then what is to be revoked there. Where that could not be done every image stays: one that is not marked
    /// yet would be kept instead of a good one.
    pub(in crate::lifecycle) async fn before_publishing(
        &self,
        publish: &Publish,
        cloud: &str,
        build: &str,
    ) -> Result<Publication, HistoryError> {
        self.revoke_what_is_left(&publish.name, cloud).await?;
        self.name_what_is_left(&publish.name, cloud).await?;
        let images = self.images_of(&publish.name, cloud).await?;
        let last = had_it_last(&images, Some(build)).map(|row| row.sha512.clone());
        let publication = Publication { last, ..Publication::of(publish) };
        let keep =
            if self.is_changing(&publish.name, cloud, &images).await? { u32::MAX } else { publication.keep };
        Ok(Publication { keep, ..publication })
    }

    /// Whether something is still to be done with a name in a cloud, or one of its images is being copied.
    async fn is_changing(
        &self,
        name: &str,
        cloud: &str,
        images: &[v1::Publication],
    ) -> Result<bool, HistoryError> {
        let open = self.history.open_handovers().await?;
        let of_it =
            |what: &NewHandover| images.iter().any(|row| what.to_build.as_ref() == Some(&row.build_id));
        let mut here = open.iter().map(|open| &open.what).filter(|what| what.cloud == cloud);
        if here.any(|what| what.name == name || (what.copied && of_it(what))) {
            return Ok(true);
        }
        // The cloud does not know yet that one of them is not good.
        Ok(self.history.to_be_revoked(cloud).await?.iter().any(|row| row.name == name))
    }

    /// Looks for older images whose time has come, every hour until `stop`.
    pub(in crate::lifecycle) fn start_pruning(self, schedules: CurrentSchedules, stop: CancellationToken) {
        tokio::spawn(async move {
            let mut look = interval_at(Instant::now() + clock::pause(FIRST), clock::pause(LOOK));
            look.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = look.tick() => {}
                }
                let schedules = schedules.all();
                for schedule in &schedules.schedules {
                    if stop.is_cancelled() {
                        return;
                    }
                    self.prune(schedule).await;
                }
                if let Err(error) = self.prune_promoted(&schedules, &stop).await {
                    tracing::warn!("cannot look for names that were given by promoting: {error}");
                }
            }
        });
    }

    /// Looks after the name of a schedule, in each of its clouds.
    async fn prune(&self, schedule: &Schedule) {
        let Some(publish) = &schedule.publish else { return };
        let publication = Publication::of(publish);
        let clouds: BTreeSet<&str> =
            schedule.clouds().into_iter().filter(|cloud| schedule.publishes_on(cloud)).collect();
        for cloud in clouds {
            if let Err(error) = self.prune_name(schedule, cloud, &publication).await {
                tracing::warn!(name = publication.name, cloud, "cannot look for old images: {error}");
            }
        }
    }

    /// Looks after the names that no build gets, each as the schedule says that built the image which has it now. Where that
    /// schedule, or its cloud, is not there any more, nobody has said how long older images are to stay.
    pub(super) async fn prune_promoted(
        &self,
        schedules: &Schedules,
        stop: &CancellationToken,
    ) -> Result<(), HistoryError> {
        for image in self.history.promoted_names().await? {
            if stop.is_cancelled() {
                return Ok(());
            }
            let (name, cloud) = (image.name, image.cloud);
            let schedule = schedules.get(&image.schedule);
            let publish = schedule.and_then(|schedule| schedule.publish.as_ref());
            let (Some(schedule), Some(publish), Ok(_)) = (schedule, publish, self.clouds.get(&cloud)) else {
                continue;
            };
            if schedules.publishers(&name).any(|schedule| schedule.publishes_on(&cloud)) {
                continue;
            }
            let publication = Publication { name, ..Publication::of(publish) };
            if let Err(error) = self.prune_name(schedule, &cloud, &publication).await {
                tracing::warn!(name = publication.name, cloud, "cannot look for old images: {error}");
            }
        }
        Ok(())
    }

    async fn prune_name(
        &self,
        schedule: &Schedule,
        cloud_name: &str,
        publication: &Publication,
    ) -> Result<(), ChangeError> {
        let cloud = self.clouds.get(cloud_name)?;
        let _alone = self.alone(cloud_name).await;
        // It may be booting one of them, and prunes its name itself when it publishes.
        if self.history.unfinished_build(&schedule.name).await?.is_some() {
            return Ok(());
        }
        // The image that the name is about to go to stays, and one that is to be revoked is not marked yet.
        let name = publication.name.as_str();
        let images = self.images_of(name, cloud_name).await?;
        if self.is_changing(name, cloud_name, &images).await? {
            return Ok(());
        }
        let last = had_it_last(&images, None).map(|row| row.sha512.clone());
        let publication = &Publication { last, ..publication.clone() };
        let failed = |error| ChangeError::Cloud { cloud: cloud_name.to_owned(), error, begun: true };
        let pruned = within(cloud.prune(publication)).await.map_err(failed)?;
        if !pruned.removed.is_empty() {
            let removed = pruned.removed.join(", ");
            tracing::info!(
                name = publication.name,
                cloud = cloud_name,
                "removed images that nothing keeps any more: {removed}"
            );
        }
        self.record_pruned(&*cloud, &publication.name, pruned).await
    }

    /// Writes to the history what differs from it: also what a manager that was killed has removed.
    async fn record_pruned(&self, cloud: &dyn Cloud, name: &str, pruned: Pruned) -> Result<(), ChangeError> {
        let (name, cloud_name) = (name.to_owned(), cloud.name().to_owned());
        let known = self.images_of(&name, &cloud_name).await?;
        let older = |row: &&v1::Publication| row.state() != PublicationState::Current;
        let failed = |error| ChangeError::Cloud { cloud: cloud_name.clone(), error, begun: true };
        let there = within(cloud.named(&name)).await.map_err(failed)?;
        let hashes: BTreeSet<&str> = there.iter().map(|image| image.sha512.as_str()).collect();
        if known.iter().filter(older).any(|row| !hashes.contains(row.sha512.as_str())) {
            let there = there.iter().map(|image| (image.sha512.clone(), image.location.clone())).collect();
            self.history.record_there(&name, &cloud_name, there).await?;
        }
        let listed = |one: &Held| known.iter().filter(older).any(|row| row.sha512 == one.sha512);
        let (held, unlisted): (Vec<Held>, Vec<Held>) = pruned.held.into_iter().partition(listed);
        for Held { why, .. } in unlisted {
            tracing::warn!(name, cloud = cloud_name, "an image that nothing keeps cannot be removed: {why}");
        }
        let held: BTreeMap<String, String> = held.into_iter().map(|one| (one.sha512, one.why)).collect();
        let said = known.iter().filter(older).filter(|row| !row.held.is_empty());
        let said: BTreeMap<String, String> = said.map(|row| (row.sha512.clone(), row.held.clone())).collect();
        if held == said {
            return Ok(());
        }
        for why in held.iter().filter(|(sha512, why)| said.get(*sha512) != Some(why)).map(|(_, why)| why) {
            tracing::warn!(name, cloud = cloud_name, "an image that nothing keeps cannot be removed: {why}");
        }
        Ok(self.history.record_held(&name, &cloud_name, held.into_iter().collect()).await?)
    }
}
