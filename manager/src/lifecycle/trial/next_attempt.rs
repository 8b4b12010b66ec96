//! Whether an errored trial is made again, and when.

use std::time::Duration;

use image_manager_proto::v1::{TrialState, Verdict};

use super::Trial;
use crate::clock;
use crate::cloud::incidents::Incidents;
use crate::lifecycle::outcome::Ended;
use crate::lifecycle::verification;
use crate::schedules::RetryPolicy;

impl Trial {
    /// How long to wait before the next attempt; `None` when there is none: another one needs the image in the cloud, or
    /// the artifact as it was built. What the manager's own end has interrupted is made again too, by the next one.
    pub(super) async fn pause_before_retry(&self, ended: &Ended) -> Option<Duration> {
        if ended.verdict != Verdict::Errored || (self.bounds.is_told_to_stop() && !self.may_be_left()) {
            return None;
        }
        if ended.failure.as_ref().is_some_and(verification::is_final) {
            return None;
        }
        let pause = self.shared.retry.pause_after_attempt(self.attempt)?;
        // The artifact is read for that. Who cancels does not wait; for the next manager's sake it is read to its end.
        let cancelled = async {
            self.bounds.stop().requested().await;
            if self.may_be_left() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = cancelled => None,
            can = self.shared.uploads.can_be_tried(&self.target.cloud) => can.then_some(pause),
        }
    }

    /// Commits that the trial is made again later. False when that cannot be written: then it ends.
    pub(super) async fn plan_retry(&mut self, pause: Duration) -> Option<i64> {
        let pause = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        let at = clock::now().timestamp_millis().saturating_add(pause);
        if let Err(error) = self.history().retry_trial(&self.key, at).await {
            tracing::error!(build = self.shared.id, "cannot write the history: {error}");
            return None;
        }
        self.attempt += 1;
        self.again = false;
        self.incidents = Incidents::default();
        self.arrived(TrialState::Waiting).await;
        Some(at)
    }

    /// Waits for the instant, in milliseconds since the epoch, or until somebody ends the build.
    pub(super) async fn wait_until(&self, at: i64) {
        let left = left_until(at, clock::now().timestamp_millis());
        tokio::select! {
            _ = self.bounds.stop().requested() => {}
            () = tokio::time::sleep(clock::pause(left)) => {}
        }
    }
}

/// How long it is until an attempt is due. One further ahead than any pause was planned under a wrong clock.
fn left_until(at: i64, now: i64) -> Duration {
    let left = u64::try_from(at.saturating_sub(now)).unwrap_or_default();
    Duration::from_millis(left).min(RetryPolicy::LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_attempt_waits_longer_than_the_longest_pause() {
        let left = |at| left_until(at, 1000);
        assert_eq!([left(0), left(1000), left(1007)].map(|left| left.as_millis()), [0, 0, 7]);
        assert_eq!([left(1 << 50), left(i64::MAX)], [RetryPolicy::LONGEST_PAUSE; 2]);
    }
}
