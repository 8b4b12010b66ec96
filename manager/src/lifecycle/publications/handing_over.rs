//! Doing what was decided: the cloud is asked, then the history says so.

use image_manager_proto::v1::{self, PublicationState};
use tokio::sync::OwnedMutexGuard;

use super::choosing::current;
use super::copying::{is_old, too_late};
use super::revoking::{Later, not_configured};
use super::{ChangeError, Publications, image_of, rows, within};
use crate::cloud::{Cloud, CloudError, HandedOver, Trouble};
use crate::history::{
    Change, Given, Handover, HistoryError, NewHandover, Principal, PublicationFilter, Revocation,
};

impl Publications {
    /// Finishes what an earlier manager, or a cloud that did not answer, has left; what takes a copy only if it is `wanted`: that
    /// takes minutes. Returns what is done now, and what was not done, for people.
    pub async fn finish_handovers(
        &self,
        wanted: impl Fn(&Handover) -> bool + Send,
    ) -> (Vec<Handover>, Vec<String>) {
        let (mut done, mut left, mut copied) = self.finish_all_but_copies().await;
        copied.retain(wanted);
        for handover in copied {
            match self.copy_and_name(&handover).await {
                Ok(()) => done.push(handover),
                Err(error) => left.push(not_done(&handover, &error)),
            }
        }
        (done, left)
    }

    /// The same in one cloud, but for what takes a copy. Returns what was not done.
    pub(in crate::lifecycle) async fn finish_handovers_in(&self, cloud: &str) -> Vec<String> {
        match self.history.open_handovers().await {
            Ok(mut open) => {
                open.retain(|open| !open.what.copied && open.what.cloud == cloud);
                self.hand_over_each(open).await.1
            }
            Err(error) => vec![error.to_string()],
        }
    }

    /// Copies what is left to be copied, in tasks of their own, and less and less often where that fails.
    pub(in crate::lifecycle) async fn copy_what_is_left(&self) -> Result<(), HistoryError> {
        let mut copied = self.history.open_handovers().await?;
        copied.retain(|open| open.what.copied);
        for handover in self.pauses.due(copied) {
            self.copy_in_background(handover);
        }
        Ok(())
    }

    /// Returns what is done now, what was not done, and what takes a copy.
    async fn finish_all_but_copies(&self) -> (Vec<Handover>, Vec<String>, Vec<Handover>) {
        let open = match self.history.open_handovers().await {
            Ok(open) => open,
            Err(error) => return (Vec::new(), vec![error.to_string()], Vec::new()),
        };
        let (copied, open): (Vec<_>, Vec<_>) = open.into_iter().partition(|open| open.what.copied);
        let (done, left) = self.hand_over_each(open).await;
        (done, left, copied)
    }

    /// Returns what is done now, and what was not done.
    async fn hand_over_each(&self, open: Vec<Handover>) -> (Vec<Handover>, Vec<String>) {
        let (mut done, mut left) = (Vec::new(), Vec::new());
        for handover in open {
            match self.hand_over(&handover).await {
                Ok(()) => {
                    tracing::info!("{} on {} was handed over", handover.what.name, handover.what.cloud);
                    done.push(handover);
                }
                Err(error) => left.push(not_done(&handover, &error)),
            }
        }
        (done, left)
    }

    /// Does it, in a task of its own: it goes on when whoever asked goes away. `alone`: nobody else changes the names of
    /// these clouds, from before the images were chosen until it is done or an image is to be copied. `later`: what is not tried
    /// before the next look at what is left.
    pub(super) async fn change(
        &self,
        new: Vec<NewHandover>,
        by: Principal,
        alone: Vec<OwnedMutexGuard<()>>,
        later: Later,
    ) -> Result<Vec<v1::Publication>, ChangeError> {
        let publications = self.clone();
        let work = async move {
            let Later { clouds, mut errors, all, left } = later;
            let (begun, newcomers) = match all.clone() {
                Some(all) => publications.history.begin_revocation(by, new, all).await?,
                None => (publications.history.begin_handovers(by, new).await?, Vec::new()),
            };
            let (copied, begun): (Vec<_>, Vec<_>) = begun.into_iter().partition(|begun| begun.what.copied);
            let mut done = Vec::new();
            for handover in begun.into_iter().filter(|begun| !clouds.contains(&begun.what.cloud)) {
                match publications.hand_over_alone(&handover).await {
                    Ok(()) => done.push(handover),
                    Err(error) => errors.push(error),
                }
            }
            // Builds are not to wait for a copy before they publish.
            drop(alone);
            if let Some(Revocation { build, .. }) = all {
                let newcomers = newcomers.into_iter().filter(|place| !left.contains(place)).collect();
                let (revoked, not) = publications.revoke_newcomers(&build, newcomers).await;
                done.extend(revoked);
                errors.extend(not);
            }
            for (handover, copied) in publications.copy_each(copied).await {
                match copied {
                    Ok(()) => done.push(handover),
                    Err(error) => errors.push(error),
                }
            }
            if errors.is_empty() {
                return Ok(publications.done(&done).await?);
            }
            let done = done.iter().map(|Handover { what, .. }| format!("{} on {}", what.name, what.cloud));
            Err(ChangeError::of(errors, done.collect()))
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

    /// One step that was left, once nobody else changes the cloud's names. A name does not move when nobody expects it any
    /// more: one that is too old ends with the name where the history has it.
    async fn hand_over(&self, handover: &Handover) -> Result<(), ChangeError> {
        let _alone = self.alone(&handover.what.cloud).await;
        let Some(handover) = self.history.still_open(handover).await? else { return Ok(()) };
        let what = &handover.what;
        if what.revoked.is_some() {
            return self.revoke_left(&handover).await;
        }
        let over = match self.is_for_revoked(what).await? {
            Some(error) => Some(ChangeError::Cloud { cloud: what.cloud.clone(), error, begun: false }),
            None => is_old(&handover).then(|| too_late(&handover)),
        };
        if let Some(over) = over {
            // Nothing can be asked of a cloud that is not configured.
            let is_gone = is_old(&handover) && self.clouds.get(&what.cloud).is_err();
            if is_gone || self.keep_name(what).await? {
                self.history.drop_handover(&handover).await?;
                return Err(over);
            }
        }
        self.hand_over_alone(&handover).await
    }

    /// A revocation that was left. People were told that it is tried until it is done, so it is never dropped: where no other
    /// image can have the name, the image is revoked with the name that it has.
    async fn revoke_left(&self, handover: &Handover) -> Result<(), ChangeError> {
        let mut done = self.try_step(handover).await;
        let is_refused = matches!(done, Err(ChangeError::Cloud { begun: false, .. }));
        if is_refused && self.has_no_other(&handover.what).await? {
            self.history.redirect_handover(handover.id, None).await?;
            done = self.try_step(handover).await;
        }
        done.map_err(ChangeError::begun)
    }

    /// Gives a name to the image that has it by the history: whoever was cut off may have given it to the other one. False
    /// where no image has it, or that image cannot have it any more.
    async fn keep_name(&self, what: &NewHandover) -> Result<bool, ChangeError> {
        let cloud = self.clouds.get(&what.cloud).map_err(|_| not_configured(what.cloud.clone()))?;
        let images = self.images_of(&what.name, &what.cloud).await?;
        let Some(current) = current(&images) else { return Ok(false) };
        match within(cloud.hand_over(&image_of(current), &what.name, &what.name)).await {
            Ok(_) => Ok(true),
            Err(error) if is_refusal(&error) => Ok(false),
            Err(error) => Err(ChangeError::Cloud { cloud: what.cloud.clone(), error, begun: true }),
        }
    }

    /// One step that was only just asked for; one that could not be begun is not tried again. But a revocation is, while a build
    /// is under way: it may be about to give the name to its image.
    pub(super) async fn hand_over_alone(&self, handover: &Handover) -> Result<(), ChangeError> {
        let done = self.try_step(handover).await;
        match done {
            Err(ChangeError::Cloud { cloud, error, begun: false }) => {
                let waits = handover.what.revoked.is_some() && !self.history.unfinished().await?.is_empty();
                if !waits {
                    self.history.drop_handover(handover).await?;
                }
                Err(ChangeError::Cloud { cloud, error, begun: waits })
            }
            done => done,
        }
    }

    /// One step: the cloud, then the history. Nothing for one that is over, whose number another one may have by now. The names
    /// of the cloud are the caller's.
    pub(super) async fn try_step(&self, begun: &Handover) -> Result<(), ChangeError> {
        // The second time for another image, where the first one cannot have the name any more.
        for last in [false, true] {
            let Some(handover) = self.history.still_open(begun).await? else { return Ok(()) };
            let what = &handover.what;
            let cloud = self.clouds.get(&what.cloud).map_err(|_| not_configured(what.cloud.clone()))?;
            let done = match self.is_for_revoked(what).await? {
                Some(error) => Err(error),
                None => self.in_cloud(&*cloud, what).await?,
            };
            let error = match done {
                Ok(given) => return self.finish(&*cloud, &handover, given).await,
                Err(error) => error,
            };
            let begun = !is_refusal(&error);
            if !begun && !last && self.redirect(&handover).await? {
                continue;
            }
            return Err(ChangeError::Cloud { cloud: what.cloud.clone(), error, begun });
        }
        Ok(())
    }

    pub(super) async fn finish(
        &self,
        cloud: &dyn Cloud,
        Handover { id, what, principal, .. }: &Handover,
        given: Option<Given>,
    ) -> Result<(), ChangeError> {
        self.history.finish_handover(*id, given).await?;
        tracing::info!(name = what.name, cloud = what.cloud, by = principal, "{}", what.change.word());
        if let Err(error) = self.look_at_name(cloud, &what.name).await {
            tracing::warn!(name = what.name, cloud = what.cloud, "cannot list the images: {error}");
        }
        Ok(())
    }

    async fn in_cloud(
        &self,
        cloud: &dyn Cloud,
        what: &NewHandover,
    ) -> Result<Result<Option<Given>, CloudError>, ChangeError> {
        let mut given = None;
        if let Some(build) = &what.to_build {
            let Some(row) = self.row_of(what, build).await? else {
                let unknown = format!("the image of build {build} is not known any more");
                return Ok(Err(CloudError::new(Trouble::Fault, unknown)));
            };
            match within(cloud.hand_over(&image_of(&row), &row.name, &what.name)).await {
                Ok(HandedOver { location, only_name }) => {
                    given = Some(Given { image_id: row.image_id, location, only_name });
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        let revoked = match &what.revoked {
            Some(build) => self.row_of(what, build).await?,
            None => None,
        };
        if let Some(row) = revoked
            && let Err(error) = within(cloud.revoke(&image_of(&row), &what.name, &what.why)).await
        {
            // The name may have gone to another image: the rest is done later, whatever it is.
            return Ok(Err(CloudError { trouble: Trouble::Unavailable, ..error }));
        }
        Ok(Ok(given))
    }

    /// A build's publication in a cloud: one whose image is there before others, that under the name before others. An image
    /// may have gone since the step was begun: then the cloud says so. A name is not given to one that was removed by hand.
    pub(super) async fn row_of(
        &self,
        what: &NewHandover,
        build: &str,
    ) -> Result<Option<v1::Publication>, HistoryError> {
        let (build_id, cloud) = (Some(build.to_owned()), Some(what.cloud.clone()));
        let filter = PublicationFilter { build_id, cloud, removed: true, ..rows() };
        let mut all = self.history.publications(filter).await?.publications;
        let promoted = what.change == Change::Promoted;
        all.sort_by_key(|row| {
            let loses_its_name = promoted && row.state() != PublicationState::Current;
            (row.state() == PublicationState::Removed, row.name != what.name, loses_its_name)
        });
        Ok(if promoted { self.first_there(what, all).await } else { all.into_iter().next() })
    }

    /// The first of a build's publications in a cloud whose image is there; the first one at all where none is, or the cloud
    /// does not say.
    pub(super) async fn first_there(
        &self,
        what: &NewHandover,
        all: Vec<v1::Publication>,
    ) -> Option<v1::Publication> {
        if all.len() > 1
            && let Ok(cloud) = self.clouds.get(&what.cloud)
        {
            // Whoever was killed may have given the name to one of them: it is not under its old one any more.
            let given = within(cloud.named(&what.name)).await.unwrap_or_default();
            let is_given = |row: &&v1::Publication| given.iter().any(|image| image.location == row.image_id);
            if let Some(row) = all.iter().find(is_given) {
                return Some(row.clone());
            }
            for row in &all {
                match self.there(&what.cloud, &row.name).await {
                    Ok(there) if there.contains(&row.sha512) => return Some(row.clone()),
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
        }
        all.into_iter().next()
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

/// Whether a cloud has done nothing, and will not.
fn is_refusal(error: &CloudError) -> bool {
    matches!(error.trouble, Trouble::Configuration | Trouble::Fault | Trouble::Corrupt)
}

/// What is left to do, for people.
pub(super) fn not_done(Handover { what, .. }: &Handover, error: &ChangeError) -> String {
    format!("handing over {} on {}: {error}", what.name, what.cloud)
}
