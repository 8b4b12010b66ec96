//! A further name for an image that must keep the one it has, in a cloud where an image has one name: a copy gets it.
//!
//! To copy takes minutes. Meanwhile the names of the cloud are anybody's, and only the further name is taken: the change is
//! written down with what it takes (`handover:begin`), and the copy's row in the ledger belongs to it (`copy:intend`) until the
//! copy has the name (`handover:done`) or the change comes to nothing: a build publishes under the name, the image is revoked,
//! or the cloud refuses. A row that no change has any more is removed like whatever else a build has left. Before a copy is
//! given the name that is written down too (`copy:give`): from then on it may have it, so it is not removed, and whoever else
//! wants to change the name finishes that first. A copy that was whole when a manager was killed is used by the next one; any
//! other is removed and made anew.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use image_manager_proto::v1::PublicationState;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::choosing::current;
use super::handing_over::not_done;
use super::revoking::not_configured;
use super::{ChangeError, Publications, image_of, rows, within};
use crate::clock;
use crate::cloud::{Cloud, CloudError, EntryId, HandedOver, Handing, Image, Ledger, ResourceKind, Trouble};
use crate::history::{
    Given, Handover, History, HistoryError, LedgerRow, NewHandover, PublicationFilter, ResourceState,
};
use crate::lifecycle::settings::resource_name;

/// How many images are copied at once in each cloud.
pub(super) const AT_ONCE: usize = 2;
/// How long a copy may take.
const COPY: Duration = Duration::from_hours(6);
/// For how long a change is tried again where a cloud does not answer, or is not configured; but for revocations.
const TRIED: Duration = Duration::from_hours(24);
/// How often it is looked whether the copy is wanted still.
const LOOK: Duration = Duration::from_secs(2);

impl Publications {
    /// Copies for each of these changes, all at once.
    pub(super) async fn copy_each(
        &self,
        handovers: Vec<Handover>,
    ) -> Vec<(Handover, Result<(), ChangeError>)> {
        let mut copies = JoinSet::new();
        for handover in handovers {
            let publications = self.clone();
            copies.spawn(async move {
                let done = publications.copy_and_name(&handover).await;
                (handover, done)
            });
        }
        copies.join_all().await
    }

    /// Makes the copy in a task of its own, unless somebody makes it already.
    pub(super) fn copy_in_background(&self, handover: Handover) {
        let Some(only) = self.copying.try_alone(&place(&handover.what)) else { return };
        let publications = self.clone();
        tokio::spawn(async move {
            if let Err(error) = publications.copy_alone(&handover, only).await {
                publications.pauses.failed(&handover);
                tracing::warn!("not done yet: {}", not_done(&handover, &error));
            }
        });
    }

    /// Makes the copy, and gives it the name. Somebody who makes it already is waited for.
    pub(super) async fn copy_and_name(&self, handover: &Handover) -> Result<(), ChangeError> {
        let only = self.copying.alone(&place(&handover.what)).await;
        self.copy_alone(handover, only).await
    }

    /// The same, while nobody else does.
    async fn copy_alone(&self, handover: &Handover, _only: OwnedMutexGuard<()>) -> Result<(), ChangeError> {
        let Some(now) = self.history.still_open(handover).await? else {
            return self.outcome(&handover.what).await;
        };
        let done = match self.try_to_copy(&now).await {
            // What it was for is over.
            Err(_) if self.history.still_open(handover).await?.is_none() => {
                self.outcome(&handover.what).await
            }
            Err(error @ (ChangeError::Cloud { begun: false, .. } | ChangeError::NotPublished(_))) => {
                if let Some(now) = self.history.still_open(handover).await? {
                    self.history.give_up_copy(&now).await?;
                }
                Err(error)
            }
            done => done,
        };
        self.remove_abandoned(&handover.what).await;
        done
    }

    /// An error that is not begun comes to nothing for good. `handover`: as it is now.
    async fn try_to_copy(&self, handover: &Handover) -> Result<(), ChangeError> {
        if !handover.giving && is_old(handover) {
            return Err(too_late(handover));
        }
        let what = &handover.what;
        let cloud = self.clouds.get(&what.cloud).map_err(|_| not_configured(what.cloud.clone()))?;
        tokio::select! {
            made = self.have_copy(&*cloud, handover) => made?,
            error = self.until_overtaken(handover) => return Err(error.into()),
        }
        let _alone = self.alone(&what.cloud).await;
        self.name_copy(&*cloud, handover).await
    }

    /// Sees to it that there is a whole copy, and that its row is the change's.
    async fn have_copy(&self, cloud: &dyn Cloud, handover: &Handover) -> Result<(), ChangeError> {
        let Some(handover) = self.history.still_open(handover).await? else {
            return Err(overtaken(handover).into());
        };
        // It may have its name already.
        if handover.giving {
            return Ok(());
        }
        let what = &handover.what;
        let wrong = |error| failed(&handover, error);
        let (source, build) = self.source(what).await?;
        if let Some(row) = handover.copy
            && let Some((row, made)) = self.history.copy(row).await?
        {
            if let Some(id) = row.external_id.as_deref().filter(|_| made)
                && within(cloud.is_whole_copy(&source, id)).await.map_err(wrong)?
            {
                return Ok(());
            }
            let unremoved = |why| failed(&handover, CloudError::new(Trouble::Unavailable, why));
            self.cleaner.take_away(&row).await.map_err(unremoved)?;
        }
        let _place = self.copy_place(what).await;
        let ledger = CopyLedger { history: self.history.clone(), handover: handover.clone() };
        // No two have one name: what was asked for and never seen is found by it.
        let name = format!("{}-copy-{}", resource_name(&build), uuid::Uuid::new_v4().simple());
        let label = format!("{} on {}", what.name, what.cloud);
        (self.tell)(&format!("{label}: copying image {}, since an image has one name there", source.id));
        let told = AtomicU32::new(0);
        let progress = |fraction: f64, _: &str| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "tenths for people")]
            let tenths = (fraction.clamp(0.0, 1.0) * 10.0) as u32;
            if told.fetch_max(tenths, Ordering::Relaxed) < tenths {
                (self.tell)(&format!("{label}: {tenths}0 % of the image is copied"));
            }
        };
        let copying = tokio::time::timeout(COPY, cloud.copy(&source, &name, &ledger, &progress));
        let late = |_| {
            let message = format!("copying image {} took over {} h", source.id, COPY.as_secs() / 3600);
            Err(CloudError::new(Trouble::Timeout, message))
        };
        copying.await.unwrap_or_else(late).map(drop).map_err(wrong)
    }

    /// A place among those who copy in a cloud; whoever has to wait for one says so.
    async fn copy_place(&self, what: &NewHandover) -> Option<OwnedSemaphorePermit> {
        let free = self.places.try_enter(&what.cloud);
        if free.is_some() {
            return free;
        }
        (self.tell)(&format!("{} on {}: waits for another copy on {}", what.name, what.cloud, what.cloud));
        self.places.enter(&what.cloud).await
    }

    /// Gives the name to the copy that a change has. The names of the cloud are the caller's. A copy of what was revoked
    /// meanwhile is given up, or, where it has the name already, revoked too: then the error is [`ChangeError::NotGood`].
    pub(super) async fn name_copy(&self, cloud: &dyn Cloud, handover: &Handover) -> Result<(), ChangeError> {
        let Some(handover) = self.history.still_open(handover).await? else {
            return Err(overtaken(handover).into());
        };
        let what = &handover.what;
        let copy = match handover.copy {
            Some(row) => self.history.copy(row).await?,
            None => None,
        };
        let Some((LedgerRow { external_id: Some(id), name: unnamed, .. }, _)) = copy else {
            return Err(failed(&handover, CloudError::new(Trouble::Unavailable, "there is no copy yet")));
        };
        let (source, build) = self.source(what).await?;
        let image = Image { id: id.clone(), name: what.name.clone(), ..source };
        let revoked = self.why_revoked(&build, Some(&what.cloud)).await?;
        if revoked.is_some() {
            // What has the name could have another one only by a copy.
            let has_it = handover.giving
                && within(cloud.check_hand_over(&image, &what.name, &unnamed))
                    .await
                    .map_err(|error| failed(&handover, error))?
                    == Handing::Copy;
            if !has_it {
                self.history.give_up_copy(&handover).await?;
                return Err(was_revoked(what, build));
            }
        }
        if !handover.giving {
            self.history.give_copy(&handover).await?;
        }
        let handover = Handover { giving: true, ..handover.clone() };
        let given = within(cloud.hand_over(&image, &what.name, &what.name)).await;
        let HandedOver { location, only_name } = given.map_err(|error| failed(&handover, error))?;
        self.finish(cloud, &handover, Some(Given { image_id: id, location, only_name })).await?;
        let Some(why) = revoked else { return Ok(()) };
        Box::pin(self.revoke_as_well(&build, what, why)).await?;
        Err(was_revoked(what, build))
    }

    /// The image that is copied, and its build: one that has a name before one that has lost it, and one that is there.
    pub(super) async fn source(&self, what: &NewHandover) -> Result<(Image, String), ChangeError> {
        let build = what.to_build.clone().unwrap_or_default();
        let (build_id, cloud) = (Some(build.clone()), Some(what.cloud.clone()));
        let filter = PublicationFilter { build_id, cloud, removed: true, ..rows() };
        let mut all = self.history.publications(filter).await?.publications;
        all.sort_by_key(|row| {
            (row.state() == PublicationState::Removed, row.state() != PublicationState::Current)
        });
        match self.first_there(what, all).await {
            Some(row) => Ok((image_of(&row), build)),
            None => Err(ChangeError::NotPublished(build)),
        }
    }

    /// Comes back once a change is under way no more. One look that fails says nothing of it, and ends no copy of hours.
    async fn until_overtaken(&self, handover: &Handover) -> HistoryError {
        loop {
            sleep(LOOK).await;
            if let Ok(None) = self.history.still_open(handover).await {
                return overtaken(handover);
            }
        }
    }

    /// How a change ended that is under way no more.
    async fn outcome(&self, what: &NewHandover) -> Result<(), ChangeError> {
        let images = self.images_of(&what.name, &what.cloud).await?;
        if current(&images).is_some_and(|row| Some(&row.build_id) == what.to_build.as_ref()) {
            return Ok(());
        }
        Err(HistoryError::Overtaken { name: what.name.clone(), cloud: what.cloud.clone() }.into())
    }

    /// Removes copies of a build's image that no change has any more; what is left is the reconciler's.
    async fn remove_abandoned(&self, what: &NewHandover) {
        let Some(build) = &what.to_build else { return };
        let abandoned = self.history.abandoned_copies(build).await;
        let abandoned = abandoned.inspect_err(|error| tracing::warn!("cannot list copies: {error}"));
        for row in abandoned.unwrap_or_default().into_iter().filter(|row| row.cloud == what.cloud) {
            if let Err(why) = self.cleaner.take_away(&row).await {
                tracing::warn!(build, "image {} is not removed yet: {why}", row.name);
            }
        }
    }

    /// Ends those changes that take a copy and stand in the way: nobody waits for one who takes an image out of use. A copy that
    /// may have its name already gets it, where the names of the cloud are the caller's, and has it when this returns. Returns
    /// the names that go to a copy later.
    pub(super) async fn end_copies(
        &self,
        in_the_way: impl Fn(&NewHandover) -> bool + Send,
        alone: impl Fn(&str) -> bool + Send,
    ) -> Result<Vec<ChangeError>, HistoryError> {
        let mut later = Vec::new();
        for open in self.history.open_handovers().await? {
            let what = &open.what;
            if !what.copied || !in_the_way(what) {
                continue;
            }
            let ended = if !open.giving {
                tracing::info!(
                    name = what.name,
                    cloud = what.cloud,
                    "the promotion of {:?} is given up",
                    what.to_build
                );
                self.history.give_up_copy(&open).await?
            } else if alone(&what.cloud) {
                self.name_left(&open).await
            } else {
                false
            };
            if !ended {
                let (name, cloud) = (what.name.clone(), what.cloud.clone());
                later.push(HistoryError::NameBusy { name, cloud }.into());
            }
        }
        Ok(later)
    }

    /// Finishes the copy that may have a name already, before a build publishes under it. The names of the cloud are the
    /// caller's.
    pub(super) async fn name_what_is_left(&self, name: &str, cloud: &str) -> Result<(), HistoryError> {
        for open in self.history.open_handovers().await? {
            if open.giving && open.what.name == name && open.what.cloud == cloud {
                self.name_left(&open).await;
            }
        }
        Ok(())
    }

    /// Whether it is under way no more.
    async fn name_left(&self, open: &Handover) -> bool {
        let named = match self.clouds.get(&open.what.cloud) {
            Ok(cloud) => self.name_copy(&*cloud, open).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = &named {
            tracing::warn!("not done yet: {}", not_done(open, error));
        }
        let given_up = matches!(named, Err(ChangeError::NotGood { .. }));
        if given_up {
            self.remove_abandoned(&open.what).await;
        }
        given_up || named.is_ok()
    }
}

/// A name in a cloud, as what is copied for it is locked.
fn place(what: &NewHandover) -> String {
    format!("{} {}", what.cloud, what.name)
}

fn overtaken(Handover { what, .. }: &Handover) -> HistoryError {
    HistoryError::Overtaken { name: what.name.clone(), cloud: what.cloud.clone() }
}

fn was_revoked(what: &NewHandover, build: String) -> ChangeError {
    let (name, cloud) = (what.name.clone(), what.cloud.clone());
    ChangeError::NotGood { build, name, cloud, why: "it was revoked" }
}

/// Whether a change was begun so long ago that nobody expects the name to move any more.
pub(super) fn is_old(handover: &Handover) -> bool {
    let age = clock::now().timestamp_millis().saturating_sub(handover.at_ms);
    u128::try_from(age).unwrap_or_default() >= TRIED.as_millis()
}

/// Why such a change is not done.
pub(super) fn too_late(Handover { what, .. }: &Handover) -> ChangeError {
    let message = format!("it was asked for over {} h ago, and is not done any more", TRIED.as_secs() / 3600);
    ChangeError::Cloud {
        cloud: what.cloud.clone(),
        error: CloudError::new(Trouble::Timeout, message),
        begun: false,
    }
}

/// What a cloud did not do; it is tried again, but not for ever.
fn failed(handover: &Handover, error: CloudError) -> ChangeError {
    use Trouble::{Configuration, Corrupt, Fault, NoRoom, Timeout, Unavailable};
    let young = !is_old(handover);
    let begun = match error.trouble {
        Configuration | Fault | Corrupt => false,
        NoRoom => handover.giving,
        Unavailable | Timeout => handover.giving || young,
    };
    ChangeError::Cloud { cloud: handover.what.cloud.clone(), error, begun }
}

/// The ledger of a copy.
struct CopyLedger {
    history: History,
    handover: Handover,
}

#[async_trait]
impl Ledger for CopyLedger {
    async fn intend(&self, _: ResourceKind, name: &str) -> Result<EntryId, CloudError> {
        self.history.intend_copy(&self.handover, name).await.map(EntryId).map_err(unwritten)
    }

    async fn created(&self, entry: EntryId, external_id: &str) -> Result<(), CloudError> {
        self.history.resource_created(entry.0, external_id).await.map_err(unwritten)
    }

    async fn refused(&self, entry: EntryId) -> Result<(), CloudError> {
        self.history.resource_state(entry.0, ResourceState::Gone, "").await.map_err(unwritten)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unwritten(error: HistoryError) -> CloudError {
    CloudError::new(Trouble::Unavailable, error.to_string())
}
