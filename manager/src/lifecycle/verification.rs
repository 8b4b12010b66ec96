//! Verifying a published image again: it is booted and asked once more on the schedule's targets, and nothing is built.
//!
//! A verification is a row among the builds of its schedule, so there is never one beside a build. Its trials begin with
//! BOOTING, and their image is nobody's in the ledger: no clean-up can take it away. Right before each boot it is asked
//! whether that image is there still and has its name: people change both by hand. What becomes of the name when it fails
//! is decided while the build is TRYING, so that a manager that is killed decides it again.

use std::collections::BTreeMap;
use std::time::Duration;

use image_manager_proto::v1::{self, PublicationState, TrialState, Verdict};

use super::driver::Driver;
use super::failure::Failure;
use super::publications::{ChangeError, Standing};
use super::resumption::{Resumed, Start, TrialStart, image_of};
use super::trial::Trial;
use crate::cloud::{Image, NamedImage};
use crate::history::{HistoryError, Principal};
use crate::reason::Reason;
use crate::schedules::{OnFailure, Schedule, Target};
use crate::stage::Stage;

/// How long a cloud may take to say which images have a name.
const LISTING: Duration = Duration::from_mins(2);

impl Start {
    /// Where a build begins that is in the queue. `None`: it is a verification, and a target of it is gone.
    pub(super) fn of_queued(schedule: &Schedule, build: &v1::Build) -> Option<Self> {
        if !build.verification {
            return Some(Self::Queue);
        }
        let trials = build.trials.iter().map(|trial| {
            let same = |target: &&Target| target.name == trial.target && target.cloud == trial.cloud;
            Some(Resumed {
                target: schedule.targets.iter().find(same)?.clone(),
                state: TrialState::Waiting,
                attempt: 1,
                image: image_of(&build.id, trial),
                image_of: Some(trial.image_of.clone()),
                start: TrialStart::Waiting { retry_at: None },
            })
        });
        trials.collect::<Option<Vec<_>>>().map(Self::Verify)
    }

    /// Whether it verifies again what is published.
    pub(super) fn verifies(&self) -> bool {
        match self {
            Self::Queue => false,
            Self::Verify(_) => true,
            Self::Trials { trials, .. } => trials.iter().any(|trial| trial.image_of.is_some()),
        }
    }
}

/// Whether a further attempt would end in the same way.
pub(super) fn is_final(failure: &v1::Failure) -> bool {
    [Reason::ImageUnavailable, Reason::ImageReplaced].iter().any(|reason| failure.reason == reason.word())
}

impl Trial {
    /// The image that is verified again, when it is still in its cloud and still has its name.
    pub(super) async fn published_image(&self) -> Result<Image, Failure> {
        let cloud = &self.target.cloud;
        let there = self.shared.uploads.enter(cloud).await;
        let image = there.and_then(|upload| upload.image.clone());
        let unknown = || Failure::new(Reason::State, format!("no published image is known on {cloud}"));
        let image = image.ok_or_else(unknown)?;
        let replaced = |how: String| Err(Failure::new(Reason::ImageReplaced, how));
        let (name, of) = (&image.name, self.made_by());
        match self.shared.context.publications().standing(name, cloud, of).await? {
            Standing::Current => {}
            Standing::Revoked(why) => {
                return replaced(format!("the image of build {of} on {cloud} was revoked: {why}"));
            }
            Standing::Other(other) => {
                return replaced(format!("{name} on {cloud} is now the image of build {other}, not of {of}"));
            }
        }
        let late = async { Failure::new(Reason::CloudTimeout, format!("{cloud} does not list its images")) };
        let asked = async { Ok(self.cloud.named(name).await?) };
        let named = self.bounds.run(LISTING, late, asked).await?;
        let message = match named.iter().find(|there| there.sha512.eq_ignore_ascii_case(&image.sha512)) {
            Some(NamedImage { unusable: None, .. }) => return Ok(image),
            Some(NamedImage { unusable: Some(status), location, .. }) => {
                format!(
                    "the image of build {of} is {status} on {cloud} ({location}): no server can be booted from it"
                )
            }
            None => format!(
                "the image of build {of} is not among those that {cloud} has as {name}: somebody has removed it, \
                 replaced it or removed its properties"
            ),
        };
        Err(Failure::new(Reason::ImageUnavailable, message))
    }
}

impl Driver {
    /// After the trials of a verification: says what becomes of the name, and gives it back where the schedule wants that.
    /// Doing it again does nothing where the name has gone to another image by now.
    pub(super) async fn settle_name(&self) {
        let detail = match self.try_settle_name().await {
            Ok(details) if details.is_empty() => return,
            Ok(details) => details.join("; "),
            Err(error) => format!("the name stays: {error}"),
        };
        tracing::warn!(build = self.id, schedule = self.schedule.name, "{detail}");
        let told = self.history().skip_stage(&self.id, Stage::Publishing.word(), &detail).await;
        if let Err(error) = told {
            tracing::error!(build = self.id, "cannot write the history: {error}");
        }
    }

    async fn try_settle_name(&self) -> Result<Vec<String>, HistoryError> {
        let Some(publish) = &self.schedule.publish else { return Ok(Vec::new()) };
        let build = self.history().build(&self.id).await?;
        let mut details = Vec::new();
        for trial in deciding(&build.trials) {
            let (cloud, of) = (trial.cloud.as_str(), trial.image_of.as_str());
            // The name by which it was asked for, which it may have by being promoted.
            let name = trial.image.as_ref().map_or(&publish.name, |image| &image.name);
            match self.publications().standing(name, cloud, of).await? {
                Standing::Current => {}
                // The one that failed may have lost it to a manager that was killed then.
                Standing::Other(other) => {
                    details.push(format!("{name} on {cloud} is now the image of build {other}"));
                    continue;
                }
                Standing::Revoked(why) => {
                    details.push(format!("the image on {cloud} was revoked meanwhile: {why}"));
                    continue;
                }
            }
            // Only an image that is bad loses its name, and not one that could not be tried.
            if !(trial.required && trial.verdict() == Verdict::Failed) {
                continue;
            }
            if self.schedule.on_failure == OnFailure::Keep {
                details.push(format!(
                    "{name} on {cloud} stays this image; `image-manager rollback {name}` takes the name from it"
                ));
                continue;
            }
            let request = v1::RollBackRequest {
                name: name.clone(),
                to: String::new(),
                cloud: cloud.to_owned(),
                why: format!("verified again by build {}: {}", self.id, trial.reason),
            };
            details.push(
                match self.publications().roll_back_from(request, Some(of), Principal::Manager).await {
                    Ok(now) => match now.iter().find(|row| row.state() == PublicationState::Current) {
                        Some(row) => format!("{name} on {cloud} went back to build {}", row.build_id),
                        None => format!("{name} on {cloud} is now another image"),
                    },
                    // Of an earlier manager, most likely, that was killed there; somebody finishes it in any case.
                    Err(ChangeError::History(HistoryError::NameBusy { .. })) => {
                        format!("{name} on {cloud} is already being given to another image")
                    }
                    Err(error) => format!("{name} on {cloud} did not go back: {error}"),
                },
            );
        }
        Ok(details)
    }
}

/// The trial of each cloud that decides about its name: one that failed and is required, else any that has a verdict.
fn deciding(trials: &[v1::Trial]) -> Vec<&v1::Trial> {
    let failed = |trial: &&v1::Trial| trial.required && trial.verdict() == Verdict::Failed;
    let tried = |trial: &&v1::Trial| trial.verdict() != Verdict::Unspecified;
    let mut of_clouds: BTreeMap<&str, &v1::Trial> = BTreeMap::new();
    for trial in trials.iter().filter(tried) {
        let known = of_clouds.entry(&trial.cloud).or_insert(trial);
        // A trial that is not required decides nothing, whatever it says.
        if failed(&trial) {
            *known = trial;
        }
    }
    of_clouds.into_values().collect()
}
