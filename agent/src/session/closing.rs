//! The agent's leaving: from the moment that the manager has the report, over the removal, to the last
//! word. It outlives streams.

use std::path::PathBuf;
use std::time::Duration;

use image_manager_proto::v1::RemovalReport;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::{Config, removal};

pub(super) struct Closing {
    root: PathBuf,
    patience: Duration,
    stage: Stage,
    deadline: Option<Instant>,
}

enum Stage {
    /// The manager does not have the report yet.
    NotDue,
    /// Runs beside the stream, whose heartbeats go on: writing all to a slow disk takes its time.
    Removing(JoinHandle<RemovalReport>),
    /// What became of the agent's files.
    Removed(RemovalReport),
}

impl Closing {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            root: config.guest.root.clone(),
            patience: config.times.removal_report,
            stage: Stage::NotDue,
            deadline: None,
        }
    }

    /// The manager has the report: the removal begins, once.
    pub(super) fn begin(&mut self) {
        if !self.is_due() {
            let root = self.root.clone();
            self.stage = Stage::Removing(tokio::spawn(async move { removal::remove_and_log(&root).await }));
            self.deadline = Some(Instant::now() + self.patience);
        }
    }

    pub(super) fn is_due(&self) -> bool {
        !matches!(self.stage, Stage::NotDue)
    }

    /// So long the agent tries to tell what became of its files. None before the removal.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// What became of the agent's files, when that is known.
    pub(super) fn report(&self) -> Option<&RemovalReport> {
        match &self.stage {
            Stage::Removed(report) => Some(report),
            _ => None,
        }
    }

    /// Waits until the removal ends. For ever, when none runs.
    pub(super) async fn removed(&mut self) {
        let Stage::Removing(task) = &mut self.stage else { return std::future::pending().await };
        let report = task.await.unwrap_or_default();
        self.stage = Stage::Removed(report);
    }

    /// Waits until a removal that runs has ended.
    pub(super) async fn finish(&mut self) {
        if matches!(self.stage, Stage::Removing(_)) {
            self.removed().await;
        }
    }
}
