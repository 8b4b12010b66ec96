//! Verifying a published image again: it is booted and asked once more on the schedule's targets, and nothing is built.
//!
//! A verification is a row among the builds of its schedule, so there is never one beside a build. Its trials begin with
//! BOOTING, and their image is nobody's in the ledger: no clean-up can take it away. What becomes of the name when it fails
//! is decided while the build is TRYING, so that a manager that is killed decides it again.

use std::collections::BTreeMap;

use image_manager_proto::v1::{self, PublicationState, TrialState, Verdict};

use super::driver::Driver;
use super::take_up::{Resumed, Start, TrialStart, image_of};
use crate::history::{HistoryError, Principal};
use crate::schedules::{OnFailure, Schedule, Target};
use crate::stage::Stage;

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
        // Only an image that is bad loses its name, and not one that could not be tried.
        let failed: BTreeMap<&str, &v1::Trial> = build
            .trials
            .iter()
            .filter(|trial| trial.required && trial.verdict() == Verdict::Failed)
            .map(|trial| (trial.cloud.as_str(), trial))
            .collect();
        let mut details = Vec::new();
        for (cloud, trial) in failed {
            let name = &publish.name;
            if self.schedule.on_failure == OnFailure::Keep {
                details.push(format!("{name} on {cloud} stays what it is: image-manager rollback {name}"));
                continue;
            }
            let request = v1::RollBackRequest {
                name: name.clone(),
                to: String::new(),
                cloud: cloud.to_owned(),
                why: format!("verified again by build {}: {}", self.id, trial.reason),
            };
            let from = Some(trial.image_of.as_str());
            details.push(match self.publications().roll_back_from(request, from, Principal::Manager).await {
                Ok(now) => match now.iter().find(|row| row.state() == PublicationState::Current) {
                    Some(row) => format!("{name} on {cloud} went back to build {}", row.build_id),
                    None => format!("{name} on {cloud} is another image by now"),
                },
                Err(error) => format!("{name} on {cloud} did not go back: {error}"),
            });
        }
        Ok(details)
    }
}
