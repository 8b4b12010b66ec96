//! Where a build and its trials can be gone on with that an earlier manager was at.
//!
//! | a trial was | and goes on when |
//! | --- | --- |
//! | WAITING | the artifact is whole by its hash, or its cloud has the image |
//! | UPLOADING | the artifact is whole by its hash: what came of the upload is removed, and it is uploaded again |
//! | BOOTING | the server runs, and its agent dials this gateway and expects this certificate |
//! | CLEANING_UP | always |
//!
//! A build that was QUEUED begins with the trials of its schedule as that is now. One that was PUBLISHING goes on always:
//! every step of it can be repeated. Anywhere else a trial ends ERRORED
//! `interrupted`, and is made again when the schedule says so; a build ends so when its schedule has changed since. A
//! build is resumed a few times only: one that brings its manager down must not do so for ever.

use std::time::Duration;

use image_manager_proto::v1::{self, BuildState, TrialState};

use super::artifact::{HashedFile, digest_of};
use super::clouds::Clouds;
use super::control;
use super::failure::Failure;
use super::outcome::Ended;
use super::settings::resource_name;
use super::stages::{judgement, second_opinion};
use super::state::trial::is_end;
use crate::clock::milliseconds;
use crate::cloud::{Image, Server};
use crate::history::{Claim, History, HistoryError, Introduction, Named as _, TrialKey};
use crate::reason::Reason;
use crate::schedules::{Schedule, Target};

/// How often a build is resumed.
const MOST: u32 = 3;
/// How long the failed network checks of one trial may be repeated, while the manager starts.
const LAST_OPINION: Duration = Duration::from_secs(20);

/// Where a driver begins.
pub(super) enum Start {
    /// At the beginning.
    Queue,
    /// At the beginning of a verification, with a trial for each place where the image is published.
    Verify(Vec<Resumed>),
    /// With what was built and the trials as they stand; `publishing`: with giving the verified image its name.
    Trials {
        /// The file, where it is still there.
        artifact: Option<HashedFile>,
        /// In the schedule's order.
        trials: Vec<Resumed>,
        publishing: bool,
    },
}

impl Start {
    /// The state in which the build is.
    pub(super) fn state(&self) -> BuildState {
        match self {
            Self::Queue | Self::Verify(_) => BuildState::Queued,
            Self::Trials { publishing: false, .. } => BuildState::Trying,
            Self::Trials { publishing: true, .. } => BuildState::Publishing,
        }
    }
}

/// A trial as it stands.
pub(super) struct Resumed {
    pub(super) target: Target,
    pub(super) state: TrialState,
    pub(super) attempt: u32,
    /// The image in its cloud, where it is there and verified.
    pub(super) image: Option<Image>,
    /// Of a verification: the build that made the image.
    pub(super) image_of: Option<String>,
    pub(super) start: TrialStart,
}

impl Resumed {
    /// One that has not begun.
    pub(super) fn fresh(target: Target) -> Self {
        let start = TrialStart::Waiting { retry_at: None };
        Self { target, state: TrialState::Waiting, attempt: 1, image: None, image_of: None, start }
    }
}

/// Where a trial begins.
pub(super) enum TrialStart {
    /// At its beginning, once its time has come (milliseconds since the epoch).
    Waiting { retry_at: Option<i64> },
    /// With the upload.
    Uploading,
    /// With a server whose agent is to come; the claim, when it has come before.
    Booting { image: Image, server: Server, agent: Introduction, claim: Option<Claim> },
    /// With its end: it cannot be gone on with.
    Broken(Failure),
    /// With taking away what it made; its verdict is known.
    CleaningUp(Ended),
    /// It has ended.
    Ended(Ended),
}

/// Finds out where builds can be gone on with; cheap to clone.
#[derive(Clone)]
pub(super) struct Resumption {
    history: History,
    clouds: Clouds,
    /// SHA-256 of this manager's certificate: an agent that expects another one cannot come to it.
    fingerprint: String,
}

impl Resumption {
    pub(super) fn new(history: History, clouds: Clouds, fingerprint: String) -> Self {
        Self { history, clouds, fingerprint }
    }

    /// Where a build can be resumed it is resumed now, which counts. Otherwise says why that cannot be.
    pub(super) async fn resume_build(
        &self,
        schedule: &Schedule,
        state: BuildState,
        build: &v1::Build,
    ) -> Result<Result<Start, String>, HistoryError> {
        let start = match self.where_to(schedule, state, build).await? {
            Ok(start) => start,
            Err(why) => return Ok(Err(why)),
        };
        if self.history.resume_build(&build.id).await? > MOST {
            return Ok(Err(format!("it was already resumed {MOST} times")));
        }
        Ok(Ok(start))
    }

    /// What the history has of a build, as a place to go on from.
    async fn where_to(
        &self,
        schedule: &Schedule,
        state: BuildState,
        build: &v1::Build,
    ) -> Result<Result<Start, String>, HistoryError> {
        let publishing = match state {
            BuildState::Trying => false,
            BuildState::Publishing => true,
            _ => return Ok(Err("what it was doing cannot be resumed".to_owned())),
        };
        let artifact = if let Some(schedule_digest) = self.history.verification(&build.id).await? {
            (schedule_digest, None)
        } else if let Some(found) = self.history.artifact(&build.id).await? {
            (found.schedule_digest, Some(HashedFile { file: found.file, sha512: found.sha512 }))
        } else {
            return Ok(Err("it is not known what was built".to_owned()));
        };
        let (schedule_digest, artifact) = artifact;
        let mut targets = schedule.targets.clone();
        if build.verification {
            targets.retain(|target| build.trials.iter().any(|trial| trial.target == target.name));
        }
        let same = targets.len() == build.trials.len()
            && targets
                .iter()
                .zip(&build.trials)
                .all(|(target, trial)| target.name == trial.target && target.cloud == trial.cloud);
        if !same || digest_of(schedule) != schedule_digest {
            return Ok(Err("its schedule has since changed".to_owned()));
        }
        if let Some(error) = targets.iter().find_map(|target| self.clouds.get(&target.cloud).err()) {
            return Ok(Err(error.to_string()));
        }
        let mut trials = Vec::with_capacity(targets.len());
        for ((position, target), trial) in (0_u32..).zip(targets).zip(&build.trials) {
            let key = TrialKey { build_id: build.id.clone(), position };
            trials.push(self.resume_trial(schedule, artifact.as_ref(), target, (&key, trial)).await?);
        }
        Ok(Ok(Start::Trials { artifact, trials, publishing }))
    }

    /// A trial as it stands, and how it can be gone on with.
    async fn resume_trial(
        &self,
        schedule: &Schedule,
        artifact: Option<&HashedFile>,
        target: Target,
        (key, trial): (&TrialKey, &v1::Trial),
    ) -> Result<Resumed, HistoryError> {
        let image = image_of(&key.build_id, trial);
        let image = image.filter(|image| artifact.is_none_or(|artifact| image.sha512 == artifact.sha512));
        let state = trial.state();
        let asked = match state {
            TrialState::Booting | TrialState::Verifying => self.history.control(key, trial.attempt).await?,
            _ => None,
        };
        let start = match state {
            // Its image had ended without a word, and another one was asked: that is not gone on with.
            _ if let Some(asked) = &asked => {
                let lost = control::conclusion::of_record(asked);
                TrialStart::Broken(self.decided(Some(schedule), key, trial, lost).await?)
            }
            TrialState::Waiting => {
                TrialStart::Waiting { retry_at: trial.retry_at.as_ref().map(milliseconds) }
            }
            TrialState::Uploading => TrialStart::Uploading,
            TrialState::Booting => match self.resume_boot(key, trial, image.clone()).await? {
                Ok(booting) => booting,
                Err(why) => {
                    let lost = interrupted(state, &why);
                    TrialStart::Broken(self.decided(Some(schedule), key, trial, lost).await?)
                }
            },
            TrialState::CleaningUp => {
                TrialStart::CleaningUp(Ended::of_record(trial, target.publish, image.clone()))
            }
            state if is_end(state) => {
                TrialStart::Ended(Ended::of_record(trial, target.publish, image.clone()))
            }
            _ => {
                let lost = interrupted(state, "what it was doing cannot be resumed");
                TrialStart::Broken(self.decided(Some(schedule), key, trial, lost).await?)
            }
        };
        let image_of = (!trial.image_of.is_empty()).then(|| trial.image_of.clone());
        Ok(Resumed { target, state, attempt: trial.attempt, image, image_of, start })
    }

    async fn resume_boot(
        &self,
        key: &TrialKey,
        trial: &v1::Trial,
        image: Option<Image>,
    ) -> Result<Result<TrialStart, String>, HistoryError> {
        let record = self.history.trial_record(key).await?;
        let Some(server) = &trial.server else {
            return Ok(Err("the answer to the request for its server was lost".to_owned()));
        };
        let Some(agent) = record.introduction else {
            return Ok(Err("it is not known how its agent introduces itself".to_owned()));
        };
        if agent.fingerprint != self.fingerprint {
            return Ok(Err("its agent expects a different certificate from this manager's".to_owned()));
        }
        let Some(image) = image else { return Ok(Err("its image is not known".to_owned())) };
        let server = Server {
            id: server.id.clone(),
            name: server.name.clone(),
            flavor: server.flavor.clone(),
            // The trial says where, once it is there.
            console_log: std::path::PathBuf::new(),
        };
        Ok(Ok(TrialStart::Booting { image, server, agent, claim: record.claim }))
    }

    /// A required check that had failed before the manager was gone decides: those of the image itself are known before
    /// the upload. One of the network is repeated from here first, by the schedule as it is now; it counts for nothing
    /// when the schedule asks for other checks.
    pub(super) async fn decided(
        &self,
        schedule: Option<&Schedule>,
        key: &TrialKey,
        trial: &v1::Trial,
        interrupted: Failure,
    ) -> Result<Failure, HistoryError> {
        let target =
            schedule.and_then(|schedule| schedule.targets.iter().find(|target| target.name == trial.target));
        let asked = schedule.zip(target);
        let asked = asked.map(|(schedule, target)| (schedule, target.checks.as_slice()));
        let checks = second_opinion::settle(asked, trial.checks.clone(), LAST_OPINION).await;
        self.history.record_checks(key, checks.clone()).await?;
        Ok(judgement::outweigh_lost(interrupted, &checks))
    }
}

/// Why a trial ends that cannot be gone on with.
pub(super) fn interrupted(state: TrialState, why: &str) -> Failure {
    let message =
        format!("the manager was stopped or killed while the trial was {}, and {why}", state.word());
    Failure::new(Reason::Interrupted, message)
}

/// The image of a trial as its cloud knows it.
pub(super) fn image_of(build_id: &str, trial: &v1::Trial) -> Option<Image> {
    trial.image.as_ref().map(|image| Image {
        id: image.id.clone(),
        // Not the public name, which a build's own may have been given already.
        name: if trial.image_of.is_empty() { resource_name(build_id) } else { image.name.clone() },
        sha512: image.sha512.clone(),
        size_bytes: image.size_bytes,
        virtual_size_bytes: image.virtual_size_bytes,
    })
}
