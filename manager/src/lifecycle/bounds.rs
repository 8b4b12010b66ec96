//! What bounds the work of a build or a trial: its deadline, and whoever ends it.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::failure::Failure;
use super::stop::Stop;
use crate::reason::Reason;

/// The bounds of a build, or of one attempt of a trial.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    stop: Stop,
    /// `timeouts.total`, for the message.
    total: Duration,
    /// Set when the first stage begins.
    deadline: Option<Instant>,
}

impl Bounds {
    /// Bounds whose time does not run yet.
    pub(super) fn new(stop: Stop, total: Duration) -> Self {
        Self { stop, total, deadline: None }
    }

    /// The time runs from now on.
    pub(super) fn begin(&mut self) {
        self.deadline = Some(Instant::now() + self.total);
    }

    /// The time does not run until the next [`Self::begin`].
    pub(super) fn pause(&mut self) {
        self.deadline = None;
    }

    /// What an attempt of a trial has: as much as is left of this now. Each attempt has that much anew.
    pub(super) fn rest(&self) -> Duration {
        self.time_left().unwrap_or(self.total)
    }

    /// Bounds of an attempt that begins now and may take this long.
    pub(super) fn of_attempt(&self, rest: Duration) -> Self {
        Self { stop: self.stop.clone(), total: self.total, deadline: Some(Instant::now() + rest) }
    }

    /// Who ends the work.
    pub(super) fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Runs a stage's work until it is done, or its time or the whole is over, or somebody ends it. `late` says what it
    /// means that the stage's time is over; it is asked only then.
    pub(super) async fn run<T>(
        &self,
        limit: Duration,
        late: impl Future<Output = Failure>,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            failure = self.interrupted() => Err(failure),
            result = work => result,
            () = tokio::time::sleep(limit) => Err(late.await),
        }
    }

    /// Waits until the work must end for a reason outside its stage.
    pub(super) async fn interrupted(&self) -> Failure {
        let overdue = async {
            match self.deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            failure = self.stop.requested() => failure,
            () = overdue => Failure::new(
                Reason::TotalTimeout,
                format!("the build took longer than timeouts.total = {}", humantime::format_duration(self.total)),
            ),
        }
    }

    /// What is left of `timeouts.total`; `None` before it counts.
    pub(super) fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Whether somebody ends the work, or the manager stops.
    pub(super) fn is_told_to_stop(&self) -> bool {
        self.stop.is_requested()
    }

    /// Fails when the work must end for a reason outside its stage, now.
    pub(super) async fn not_interrupted(&self) -> Result<(), Failure> {
        tokio::select! {
            biased;
            failure = self.interrupted() => Err(failure),
            () = std::future::ready(()) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn time_that_is_paused_does_not_run_out() {
        let mut bounds = Bounds::new(Stop::default(), Duration::from_millis(1));
        bounds.begin();
        let failure = tokio::time::timeout(Duration::from_secs(20), bounds.interrupted()).await.unwrap();
        assert_eq!(failure.reason, Reason::TotalTimeout);
        bounds.pause();
        assert!(tokio::time::timeout(Duration::from_millis(50), bounds.interrupted()).await.is_err());
    }
}
