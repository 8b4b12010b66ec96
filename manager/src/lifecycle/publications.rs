//! Giving public names to other images than the newest: roll-back, promotion, and revoking an image.
//!
//! What is to be done is committed to the history first (`handover:begin`), all of it or nothing; then the cloud is asked,
//! where the image has the name before another one loses it; then the publications say so, with who and why, in one commit
//! (`handover:done`). Between the two a name has the one verified image or the other. Whoever is killed there leaves the
//! rest to the next start, and a cloud that does not answer is asked again by the reconciler; every step can be repeated.
//! From before an image is chosen until its name is changed, nobody else changes the names of that cloud; but for the time in
//! which an image is copied ([`copying`]).

mod choosing;
mod copying;
mod giving;
mod handing_over;
mod marked;
mod pauses;
mod pruning;
mod published;
mod revoking;
#[cfg(test)]
mod stand_in;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use image_manager_proto::v1::{self, PublicationState};
use tokio::sync::OwnedMutexGuard;

pub(super) use self::giving::Giving;
pub use self::published::Meant;
pub(super) use self::published::Standing;

use self::choosing::{asked_for, by_cloud, current, handover, in_order_of_use, last_good};
use self::pauses::Pauses;
use self::revoking::Later;
use super::TriggerError;
use super::cleaner::Cleaner;
use super::clouds::Clouds;
use super::naming::Naming;
use super::places::Places;
use crate::cloud::{Cloud, CloudError, Handing, Image, Trouble};
use crate::history::{Change, History, HistoryError, NewHandover, Principal, PublicationFilter};
use crate::schedules::is_publish_name;

/// How long a cloud has for one step.
const STEP: Duration = Duration::from_mins(2);
/// Most images of one name or one build that are looked at.
const ROWS: u32 = 1000;
/// Longest reason, in characters.
const WHY: usize = 300;

/// Publications by cloud, and the guards of those clouds' names.
type LockedPublications = (BTreeMap<String, Vec<v1::Publication>>, Vec<OwnedMutexGuard<()>>);

/// A name was not given to another image.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Nothing has this name.
    #[error("no image is published as {0:?}: `image-manager images` lists the names")]
    NoName(String),
    /// The build's image has, or had, no public name where it was looked for.
    #[error("build {0} has no published image there: only a published image can be given a name or revoked")]
    NotPublished(String),
    /// No image is left that the name could go to.
    #[error(
        "{name} on {cloud} has no good image to go back to: there is no other image that was verified, is not revoked \
         and still exists. Build a new one first"
    )]
    NoGoodOne {
        /// The name.
        name: String,
        /// The cloud.
        cloud: String,
    },
    /// The image that was asked for cannot have the name.
    #[error("the image of build {build} cannot be {name} on {cloud}: {why}")]
    NotGood {
        /// The build.
        build: String,
        /// The name.
        name: String,
        /// The cloud.
        cloud: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The name or the reason is none.
    #[error("{0}")]
    Wrong(&'static str),
    /// The cloud is not configured.
    #[error(transparent)]
    Trigger(#[from] TriggerError),
    /// The cloud did not do it.
    #[error("cloud {cloud:?}: {error}{}", if *.begun { "; it is retried until it is done" } else { "; nothing was changed there" })]
    Cloud {
        /// Its name.
        cloud: String,
        /// Why.
        error: CloudError,
        /// Whether it is finished later.
        begun: bool,
    },
    /// The image is revoked once something else is done with the name.
    #[error("{name} on {cloud} is being changed; the image is revoked there once that is done")]
    Later {
        /// The name.
        name: String,
        /// The cloud.
        cloud: String,
    },
    /// Not all of it was done.
    #[error("{}", not_all(.errors, .done))]
    Partly {
        /// What was not, and why.
        errors: Vec<ChangeError>,
        /// What was: each name with its cloud.
        done: Vec<String>,
    },
    /// The history cannot be read or written, or the name is being changed.
    #[error(transparent)]
    History(#[from] HistoryError),
}

impl ChangeError {
    /// Of what was not done, at least one thing, beside what was.
    fn of(mut errors: Vec<Self>, done: Vec<String>) -> Self {
        match errors.pop() {
            Some(only) if errors.is_empty() && done.is_empty() => only,
            last => {
                errors.extend(last);
                Self::Partly { errors, done }
            }
        }
    }

    /// Whether some of it is finished later.
    pub fn is_begun(&self) -> bool {
        match self {
            Self::Cloud { begun, .. } => *begun,
            Self::Later { .. } => true,
            Self::Partly { errors, .. } => errors.iter().any(Self::is_begun),
            _ => false,
        }
    }
}

/// What was not done, and what was.
fn not_all(errors: &[ChangeError], done: &[String]) -> String {
    let errors = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if done.is_empty() { errors } else { format!("{errors}. It is done for {}", done.join(", ")) }
}

/// Is told how far what takes long has come, a line each.
type Tell = Arc<dyn Fn(&str) + Send + Sync>;

/// Who changes public names and looks at them; cheap to clone.
#[derive(Clone)]
pub struct Publications {
    history: History,
    clouds: Clouds,
    cleaner: Cleaner,
    naming: Arc<Naming>,
    /// Who copies an image for a name in a cloud.
    copying: Arc<Naming>,
    /// Places of those who do.
    places: Arc<Places>,
    /// When copies that failed are made again.
    pauses: Arc<Pauses>,
    tell: Tell,
}

impl Publications {
    pub(super) fn new(history: History, clouds: Clouds, cleaner: Cleaner) -> Self {
        let (naming, copying, places) =
            (Arc::default(), Arc::default(), Arc::new(Places::new(copying::AT_ONCE)));
        Self {
            history,
            clouds,
            cleaner,
            naming,
            copying,
            places,
            pauses: Arc::default(),
            tell: Arc::new(|line: &str| tracing::info!("{line}")),
        }
    }

    /// Without a manager: for a process that changes names in this state directory and then ends.
    pub fn open(
        state: &Path,
        history: History,
        clouds: BTreeMap<String, Arc<dyn Cloud>>,
        tell: Tell,
    ) -> Self {
        let clouds = Clouds::new(clouds);
        let cleaner = Cleaner::new(state.to_owned(), history.clone(), clouds.clone());
        Self { tell, ..Self::new(history, clouds, cleaner) }
    }

    /// Waits until nobody else changes the names of this cloud, which lasts as long as the guard.
    pub(super) async fn alone(&self, cloud: &str) -> OwnedMutexGuard<()> {
        self.naming.alone(cloud).await
    }

    /// Gives a name back to an older image: that of the build `to`, else the good one before the current one that had the
    /// name last.
    pub async fn roll_back(
        &self,
        request: v1::RollBackRequest,
        by: Principal,
    ) -> Result<Vec<v1::Publication>, ChangeError> {
        self.roll_back_from(request, None, by).await
    }

    /// The same where the name is that of the build `from`; where another one has it by now nothing is done.
    pub(super) async fn roll_back_from(
        &self,
        request: v1::RollBackRequest,
        from: Option<&str>,
        by: Principal,
    ) -> Result<Vec<v1::Publication>, ChangeError> {
        let v1::RollBackRequest { name, to, cloud, why } = request;
        check_why(&why)?;
        let to = match to.as_str() {
            "" => None,
            to => Some(self.published_build(to).await?),
        };
        let filter = PublicationFilter { name: Some(name.clone()), cloud: some(cloud), ..rows() };
        let (of_clouds, alone) = self.alone_with(filter).await?;
        if of_clouds.is_empty() {
            return Err(ChangeError::NoName(name));
        }
        let (mut new, mut already) = (Vec::new(), None);
        for cloud in of_clouds.into_keys() {
            // A copy that may have the name already has it first: else the name is busy until somebody goes on with that.
            self.name_what_is_left(&name, &cloud).await?;
            let rows = self.images_of(&name, &cloud).await?;
            let current = current(&rows);
            if from.is_some_and(|from| current.is_none_or(|row| row.build_id != from)) {
                continue;
            }
            let there = self.there(&cloud, &name).await?;
            // As after the same change that was done in some of the clouds only.
            if let Some(to) = to.as_ref().filter(|to| current.is_some_and(|row| row.build_id == **to)) {
                already = asked_for(&rows, to, (&name, &cloud), &there).err();
                continue;
            }
            let than = current.map_or("", |row| row.build_id.as_str());
            let older = self.history.made_before(than, (&name, &cloud)).await?;
            let target = match &to {
                Some(to) => asked_for(&rows, to, (&name, &cloud), &there)?,
                None => last_good(&rows, current.map(|_| (than, &older)), &there, false)
                    .ok_or_else(|| ChangeError::NoGoodOne { name: name.clone(), cloud: cloud.clone() })?,
            };
            // What a cloud would refuse is known before any other cloud has done its part.
            self.check(&cloud, target, &name).await?;
            new.push(handover(target, &name, Change::RolledBack, &why));
        }
        if let Some(already) = already.filter(|_| new.is_empty()) {
            return Err(already);
        }
        // Nobody waits for minutes for a better image.
        let in_the_way =
            |what: &NewHandover| new.iter().any(|new| new.name == what.name && new.cloud == what.cloud);
        if let Some(busy) = self.end_copies(in_the_way, |_| false).await?.pop() {
            return Err(busy);
        }
        self.change(new, by, alone, Later::default()).await
    }

    /// Gives a published image of a build another name besides; a copy of it where it can have but the one that it has. To
    /// copy takes minutes, in which the names of the clouds are not the caller's.
    pub async fn promote(
        &self,
        request: v1::PromoteBuildRequest,
        by: Principal,
    ) -> Result<Vec<v1::Publication>, ChangeError> {
        let v1::PromoteBuildRequest { build, name, cloud, why } = request;
        check_why(&why)?;
        if !is_publish_name(&name) {
            let rule = "a public name has at most 100 letters, digits, `.`, `-` and `_`, and does not begin with a dot";
            return Err(ChangeError::Wrong(rule));
        }
        let build = self.published_build(&build).await?;
        let filter = PublicationFilter { build_id: Some(build.clone()), cloud: some(cloud), ..rows() };
        let mut new = Vec::new();
        let (of_clouds, alone) = self.alone_with(filter).await?;
        for (cloud, rows) in of_clouds {
            let not = |why| ChangeError::NotGood {
                build: build.clone(),
                name: name.clone(),
                cloud: cloud.clone(),
                why,
            };
            if self.why_revoked(&build, Some(&cloud)).await?.is_some() {
                return Err(not("it was revoked"));
            }
            if rows.iter().any(|row| row.name == name && row.state() == PublicationState::Current) {
                return Err(not("it already is"));
            }
            let mut there = None;
            for row in in_order_of_use(&rows, &name) {
                if self.there(&cloud, &row.name).await?.contains(&row.sha512) {
                    there = Some(row);
                    break;
                }
            }
            let row = there.ok_or_else(|| not("it no longer exists"))?;
            // What a cloud would refuse is known before any other cloud has done its part.
            let handing = self.check(&cloud, row, &name).await?;
            let copied = handing == Handing::Copy;
            new.push(NewHandover { copied, ..handover(row, &name, Change::Promoted, &why) });
        }
        if new.is_empty() {
            return Err(ChangeError::NotPublished(build));
        }
        self.change(new, by, alone, Later::default()).await
    }

    /// The id of a build by its text; its row may be gone.
    async fn published_build(&self, text: &str) -> Result<String, ChangeError> {
        let filter = PublicationFilter { build_id: Some(text.to_owned()), limit: 1, ..rows() };
        if !self.history.publications(filter).await?.publications.is_empty() {
            return Ok(text.to_owned());
        }
        Ok(self.history.resolve(text).await?)
    }

    /// Publications by cloud, read once nobody else changes the names of these clouds, which lasts as long as the guards.
    async fn alone_with(&self, filter: PublicationFilter) -> Result<LockedPublications, ChangeError> {
        let clouds = by_cloud(self.history.publications(filter.clone()).await?.publications);
        let mut alone = Vec::new();
        // In the order of their names, as everybody who locks several does.
        for cloud in clouds.keys() {
            alone.push(self.alone(cloud).await);
        }
        let mut rows = by_cloud(self.history.publications(filter).await?.publications);
        rows.retain(|cloud, _| clouds.contains_key(cloud));
        Ok((rows, alone))
    }

    /// How a cloud would give another name to a published image.
    async fn check(&self, cloud: &str, row: &v1::Publication, name: &str) -> Result<Handing, ChangeError> {
        let asked = self.clouds.get(cloud)?;
        let checked = within(asked.check_hand_over(&image_of(row), &row.name, name)).await;
        checked.map_err(|error| ChangeError::Cloud { cloud: cloud.to_owned(), error, begun: false })
    }

    /// The hashes of the images that a cloud has under a name, and that can be booted.
    async fn there(&self, cloud: &str, name: &str) -> Result<BTreeSet<String>, ChangeError> {
        let asked = self.clouds.get(cloud)?;
        let named = within(asked.named(name)).await.map_err(|error| ChangeError::Cloud {
            cloud: cloud.to_owned(),
            error,
            begun: false,
        })?;
        Ok(named.into_iter().filter(|image| image.unusable.is_none()).map(|image| image.sha512).collect())
    }
}

/// What a cloud is told of a published image.
fn image_of(row: &v1::Publication) -> Image {
    Image {
        id: row.image_id.clone(),
        name: row.name.clone(),
        sha512: row.sha512.clone(),
        size_bytes: row.size_bytes,
        virtual_size_bytes: 0,
    }
}

fn rows() -> PublicationFilter {
    PublicationFilter { limit: ROWS, ..PublicationFilter::default() }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn check_why(why: &str) -> Result<(), ChangeError> {
    let long = why.chars().count() > WHY;
    if long { Err(ChangeError::Wrong("the reason is longer than 300 characters")) } else { Ok(()) }
}

async fn within<T>(work: impl Future<Output = Result<T, CloudError>>) -> Result<T, CloudError> {
    let late = |_| Err(CloudError::new(Trouble::Timeout, "it did not answer in time"));
    tokio::time::timeout(STEP, work).await.unwrap_or_else(late)
}
