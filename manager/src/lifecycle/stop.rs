//! Ending a build from outside, and all of them when the manager stops.

use std::sync::Arc;
use std::sync::OnceLock;

use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::history::Principal;
use crate::reason::Reason;

/// Who ended a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StopReason {
    /// Somebody cancelled it.
    Cancelled(Principal),
    /// The manager is going down.
    Shutdown,
}

/// Tells a build to end; cheap to clone. The first reason given counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    token: CancellationToken,
    reason: Arc<OnceLock<StopReason>>,
}

impl Stop {
    pub(super) fn because(&self, reason: StopReason) {
        // A second reason comes too late to matter.
        let _ = self.reason.set(reason);
        self.token.cancel();
    }

    /// Who cancelled the build.
    pub(super) fn cancelled_by(&self) -> Option<Principal> {
        match self.reason.get() {
            Some(StopReason::Cancelled(by)) => Some(by.clone()),
            Some(StopReason::Shutdown) | None => None,
        }
    }

    /// Whether the build was told to end.
    pub(super) fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Whether it was told to end because the manager goes down, and nobody cancelled it before.
    pub(super) fn is_shutdown(&self) -> bool {
        matches!(self.reason.get(), Some(StopReason::Shutdown))
    }

    /// Waits until the build is told to end, and says how that counts.
    pub(super) async fn requested(&self) -> Failure {
        self.token.cancelled().await;
        match self.reason.get() {
            Some(StopReason::Shutdown) => Failure::new(
                Reason::Interrupted,
                "the manager was told to stop while the build was under way",
            ),
            Some(StopReason::Cancelled(_)) | None => Failure::cancelled(),
        }
    }
}

/// How far the manager is with stopping; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Shutdown {
    closing: CancellationToken,
    ending: CancellationToken,
}

impl Shutdown {
    /// From now on no build is begun.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }

    /// From now on those under way are ended besides.
    pub(super) fn end(&self) {
        self.closing.cancel();
        self.ending.cancel();
    }

    /// Whether builds are begun no more.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Waits until builds are begun no more.
    pub(super) async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// Whether builds under way are ended.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_cancelled()
    }
}
