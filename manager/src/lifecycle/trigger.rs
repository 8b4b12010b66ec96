//! Asking for a build: what may be said of it, and why none is queued.

use std::path::PathBuf;

use image_manager_proto::v1;

use crate::cloud::CloudError;
use crate::history::{HistoryError, Principal};

/// A build was asked for and not queued.
#[derive(Debug, thiserror::Error)]
pub enum TriggerError {
    /// No schedule has this name.
    #[error("{0}")]
    NoSchedule(String),
    /// No cloud has this name.
    #[error("the cloud {0:?} is not configured: it must be in clouds.yaml (or be \"local\")")]
    NoCloud(String),
    /// The schedule has an unfinished build.
    #[error("schedule {schedule:?} is being built already: build {build_id}")]
    AlreadyRunning {
        /// The schedule.
        schedule: String,
        /// Its unfinished build.
        build_id: String,
    },
    /// The manager is going down.
    #[error("the manager is stopping and accepts no builds")]
    Stopping,
    /// The cloud cannot take the build.
    #[error("cloud {cloud:?}: {error}")]
    Cloud {
        /// Its name.
        cloud: String,
        /// Why.
        #[source]
        error: CloudError,
    },
    /// Only a published image can be verified again.
    #[error("schedule {schedule:?} has no published image to verify again: {why}")]
    NotPublished {
        /// The schedule.
        schedule: String,
        /// What is missing.
        why: String,
    },
    /// The history cannot be written.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// What a trigger may ask for besides the schedule.
#[derive(Debug, Clone)]
pub struct TriggerOptions {
    /// By which way it is asked for.
    pub trigger: v1::Trigger,
    /// Who asks.
    pub by: Principal,
    /// Milliseconds since the epoch up to which a cron entry's fire times are dealt with by this build.
    pub fired_at: Option<i64>,
    /// The errored build whose retry this is.
    pub retry_of: Option<String>,
    /// After the agent has gone, shut the server down in order and write its disk to this file.
    pub keep_disk: Option<PathBuf>,
    /// Build whether anything has changed since the last build or not.
    pub force: bool,
    /// Build nothing, but verify the published image again.
    pub verify: bool,
}

impl TriggerOptions {
    /// A plain trigger.
    pub fn new(trigger: v1::Trigger, by: Principal) -> Self {
        Self { trigger, by, fired_at: None, retry_of: None, keep_disk: None, force: false, verify: false }
    }
}
