//! Giving public names to other images than the newest: roll-back, promotion, and revoking an image.
//!
//! What is to be done is committed to the history first (`handover:begin`), all of it or nothing; then the cloud is asked,
//! where the image has the name before another one loses it; then the publications say so, with who and why, in one commit
//! (`handover:done`). Between the two a name has the one verified image or the other. Whoever is killed there leaves the
//! rest to the next start, and a cloud that does not answer is asked again by the reconciler; every step can be repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use image_manager_proto::v1::{self, PublicationState};

use super::{Manager, TriggerError};
use crate::cloud::{Cloud, CloudError, Image, Trouble};
use crate::history::{Change, Handover, HistoryError, NewHandover, Principal, PublicationFilter};
use crate::schedules::is_publish_name;

/// How long a cloud has for one step.
const STEP: Duration = Duration::from_mins(2);
/// Most images of one name or one build that are looked at.
const ROWS: u32 = 1000;
/// Longest reason, in characters.
const WHY: usize = 300;

/// A name was not given to another image.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Nothing has this name.
    #[error("no image is published as {0:?}: `image-manager images` lists the names")]
    NoName(String),
    /// The build's image has, or had, no public name where it was looked for.
    #[error(
        "build {0} has no published image there: only an image that was published can be given a name or revoked"
    )]
    NotPublished(String),
    /// No image is left that the name could go to.
    #[error(
        "{name} on {cloud} has no good image to go back to: no other one that was verified, is not revoked and is still \
         there. Build a new one first"
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
    #[error("cloud {cloud:?}: {error}{}", if *.begun { "; it is tried again until it is done" } else { "; nothing was changed" })]
    Cloud {
        /// Its name.
        cloud: String,
        /// Why.
        error: CloudError,
        /// Whether it is finished later.
        begun: bool,
    },
    /// The history cannot be read or written, or the name is being changed.
    #[error(transparent)]
    History(#[from] HistoryError),
}

impl Manager {
    /// Gives a name back to an older image: that of the build `to`, else the newest good one before the current one.
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
        let of_clouds = by_cloud(self.history().publications(filter).await?.publications);
        if of_clouds.is_empty() {
            return Err(ChangeError::NoName(name));
        }
        let mut new = Vec::new();
        for (cloud, rows) in of_clouds {
            let current = rows.iter().find(|row| row.state() == PublicationState::Current);
            if from.is_some_and(|from| current.is_none_or(|row| row.build_id != from)) {
                continue;
            }
            let there = self.there(&cloud, &name).await?;
            let target = match &to {
                Some(to) => asked_for(&rows, to, (&name, &cloud), &there)?,
                None => newest_good(&rows, current.map(|row| row.build_id.as_str()), &there, false)
                    .ok_or_else(|| ChangeError::NoGoodOne { name: name.clone(), cloud: cloud.clone() })?,
            };
            new.push(handover(target, &name, Change::RolledBack, &why));
        }
        self.change(new, by).await
    }

    /// Gives a published image of a build another name besides.
    pub async fn promote(
        &self,
        request: v1::PromoteBuildRequest,
        by: Principal,
    ) -> Result<Vec<v1::Publication>, ChangeError> {
        let v1::PromoteBuildRequest { build, name, cloud, why } = request;
        check_why(&why)?;
        if !is_publish_name(&name) {
            let rule = "a public name has letters, digits, `.`, `-` and `_`, at most 100, and does not begin with a dot";
            return Err(ChangeError::Wrong(rule));
        }
        let build = self.published_build(&build).await?;
        let filter = PublicationFilter { build_id: Some(build.clone()), cloud: some(cloud), ..rows() };
        let mut new = Vec::new();
        for (cloud, rows) in by_cloud(self.history().publications(filter).await?.publications) {
            let not = |why| ChangeError::NotGood {
                build: build.clone(),
                name: name.clone(),
                cloud: cloud.clone(),
                why,
            };
            if rows.iter().any(|row| row.state() == PublicationState::Revoked) {
                return Err(not("it was revoked"));
            }
            if rows.iter().any(|row| row.name == name && row.state() == PublicationState::Current) {
                return Err(not("it is already"));
            }
            let Some(row) = rows.first() else { continue };
            if !self.there(&cloud, &row.name).await?.contains(&row.sha512) {
                return Err(not("it is not there any more"));
            }
            new.push(handover(row, &name, Change::Promoted, &why));
        }
        if new.is_empty() {
            return Err(ChangeError::NotPublished(build));
        }
        self.change(new, by).await
    }

    /// Revokes the images of a build. Each name that one of them has goes to the newest good one; when a name has none,
    /// nothing is done.
    pub async fn revoke(
        &self,
        request: v1::RevokeBuildRequest,
        by: Principal,
    ) -> Result<Vec<v1::Publication>, ChangeError> {
        let v1::RevokeBuildRequest { build, reason } = request;
        check_why(&reason)?;
        if reason.trim().is_empty() {
            return Err(ChangeError::Wrong("say why it is revoked"));
        }
        let build = self.published_build(&build).await?;
        let filter = PublicationFilter { build_id: Some(build.clone()), ..rows() };
        let mut new = Vec::new();
        for row in self.history().publications(filter).await?.publications {
            if row.state() == PublicationState::Revoked {
                continue;
            }
            let mut step = NewHandover {
                name: row.name.clone(),
                cloud: row.cloud.clone(),
                change: Change::Revoked,
                to_build: None,
                revoked: Some(build.clone()),
                why: reason.clone(),
            };
            if row.state() == PublicationState::Current {
                let (name, cloud) = (row.name.clone(), row.cloud.clone());
                let of_name =
                    PublicationFilter { name: Some(name.clone()), cloud: Some(cloud.clone()), ..rows() };
                let others = self.history().publications(of_name).await?.publications;
                let there = self.there(&cloud, &name).await?;
                let target = newest_good(&others, Some(&build), &there, true);
                let target = target.ok_or(ChangeError::NoGoodOne { name, cloud })?;
                step.to_build = Some(target.build_id.clone());
            }
            new.push(step);
        }
        if new.is_empty() {
            return Err(ChangeError::NotPublished(build));
        }
        self.change(new, by).await
    }

    /// Finishes what an earlier manager, or a cloud that did not answer, has left. Returns what is left still.
    pub(super) async fn finish_handovers(&self) -> Vec<String> {
        let open = match self.history().open_handovers().await {
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

    /// The id of a build by its text; its row may be gone.
    async fn published_build(&self, text: &str) -> Result<String, ChangeError> {
        let filter = PublicationFilter { build_id: Some(text.to_owned()), limit: 1, ..rows() };
        if !self.history().publications(filter).await?.publications.is_empty() {
            return Ok(text.to_owned());
        }
        Ok(self.history().resolve(text).await?)
    }

    /// The hashes of the images that a cloud has under a name.
    async fn there(&self, cloud: &str, name: &str) -> Result<BTreeSet<String>, ChangeError> {
        let asked = self.cloud(cloud)?;
        let named = within(asked.named(name)).await.map_err(|error| ChangeError::Cloud {
            cloud: cloud.to_owned(),
            error,
            begun: false,
        })?;
        Ok(named.into_iter().map(|image| image.sha512).collect())
    }

    /// Does it, in a task of its own: it goes on when whoever asked goes away.
    async fn change(
        &self,
        new: Vec<NewHandover>,
        by: Principal,
    ) -> Result<Vec<v1::Publication>, ChangeError> {
        let manager = self.clone();
        let work = async move {
            let begun = manager.history().begin_handovers(by, new).await?;
            let mut first = None;
            for handover in &begun {
                if let Err(error) = manager.hand_over(handover).await {
                    first.get_or_insert(error);
                }
            }
            first.map_or(Ok(()), Err)?;
            let mut now = Vec::new();
            for Handover { what, .. } in begun {
                let filter = PublicationFilter { name: Some(what.name), cloud: Some(what.cloud), ..rows() };
                let all = manager.history().publications(filter).await?.publications;
                now.extend(all.into_iter().filter(|row| {
                    row.state() == PublicationState::Current
                        || what.revoked.as_ref().is_some_and(|build| *build == row.build_id)
                }));
            }
            Ok(now)
        };
        tokio::spawn(work).await.map_err(|_| HistoryError::Closed)?
    }

    /// One step: the cloud, then the history.
    async fn hand_over(&self, handover: &Handover) -> Result<(), ChangeError> {
        let _alone = self.inner().naming.alone(&handover.what.cloud).await;
        let Some(handover) = self.history().handover(handover.id).await? else { return Ok(()) };
        let what = &handover.what;
        let cloud = self.cloud(&what.cloud)?;
        let location = match self.in_cloud(&*cloud, what).await? {
            Ok(location) => location,
            Err(error) => {
                let undone =
                    matches!(error.trouble, Trouble::Configuration | Trouble::Fault | Trouble::Corrupt);
                if undone {
                    self.history().drop_handover(handover.id).await?;
                }
                return Err(ChangeError::Cloud { cloud: what.cloud.clone(), error, begun: !undone });
            }
        };
        self.history().finish_handover(handover.id, &location).await?;
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
    ) -> Result<Result<String, CloudError>, ChangeError> {
        let mut location = String::new();
        if let Some(build) = &what.to_build {
            let row = self.row_of(what, build).await?;
            match within(cloud.hand_over(&image_of(&row), &row.name, &what.name)).await {
                Ok(given) => location = given,
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
        Ok(Ok(location))
    }

    /// A build's publication in a cloud, that under the name first.
    async fn row_of(&self, what: &NewHandover, build: &str) -> Result<v1::Publication, ChangeError> {
        let filter =
            PublicationFilter { build_id: Some(build.to_owned()), cloud: Some(what.cloud.clone()), ..rows() };
        let mut all = self.history().publications(filter).await?.publications;
        all.sort_by_key(|row| row.name != what.name);
        all.into_iter().next().ok_or_else(|| ChangeError::NotPublished(build.to_owned()))
    }

    /// Brings the history up to date about which images of a name are there.
    pub(super) async fn look_at_name(&self, cloud: &dyn Cloud, name: &str) -> Result<(), ChangeError> {
        let named = within(cloud.named(name)).await;
        let named = named.map_err(|error| ChangeError::Cloud {
            cloud: cloud.name().to_owned(),
            error,
            begun: true,
        })?;
        let there = named.into_iter().map(|image| (image.sha512, image.location)).collect();
        Ok(self.history().record_there(name, cloud.name(), there).await?)
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

fn by_cloud(rows: Vec<v1::Publication>) -> BTreeMap<String, Vec<v1::Publication>> {
    let mut of_clouds: BTreeMap<String, Vec<v1::Publication>> = BTreeMap::new();
    for row in rows {
        of_clouds.entry(row.cloud.clone()).or_default().push(row);
    }
    of_clouds
}

/// The newest image that is verified, not revoked and there, of a build before `than`; with `else_any` the newest other
/// one at all when there is none before. Ids of builds sort by time.
fn newest_good<'a>(
    rows: &'a [v1::Publication],
    than: Option<&str>,
    there: &BTreeSet<String>,
    else_any: bool,
) -> Option<&'a v1::Publication> {
    let good = || {
        rows.iter().filter(|row| {
            row.state() == PublicationState::Previous
                && there.contains(&row.sha512)
                && than != Some(row.build_id.as_str())
        })
    };
    let newest = |a: &&v1::Publication, b: &&v1::Publication| a.build_id.cmp(&b.build_id);
    let before = good().filter(|row| than.is_none_or(|than| row.build_id.as_str() < than)).max_by(newest);
    before.or_else(|| good().filter(|_| else_any).max_by(newest))
}

fn asked_for<'a>(
    rows: &'a [v1::Publication],
    build: &str,
    (name, cloud): (&str, &str),
    there: &BTreeSet<String>,
) -> Result<&'a v1::Publication, ChangeError> {
    let found = rows.iter().find(|row| row.build_id == build);
    let why = match found {
        None => "it never had this name there, or is not there any more",
        Some(row) if row.state() == PublicationState::Current => "it is already",
        Some(row) if row.state() == PublicationState::Revoked => "it was revoked",
        Some(row) if !there.contains(&row.sha512) => "it is not there any more",
        Some(row) => return Ok(row),
    };
    let (build, name, cloud) = (build.to_owned(), name.to_owned(), cloud.to_owned());
    Err(ChangeError::NotGood { build, name, cloud, why })
}

fn handover(row: &v1::Publication, name: &str, change: Change, why: &str) -> NewHandover {
    NewHandover {
        name: name.to_owned(),
        cloud: row.cloud.clone(),
        change,
        to_build: Some(row.build_id.clone()),
        revoked: None,
        why: why.to_owned(),
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

async fn within<T>(work: impl Future<Output = Result<T, CloudError>>) -> Result<T, CloudError> {
    let late = |_| Err(CloudError::new(Trouble::Timeout, "it did not answer in time"));
    tokio::time::timeout(STEP, work).await.unwrap_or_else(late)
}
