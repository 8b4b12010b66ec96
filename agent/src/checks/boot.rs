//! How far the guest's boot is: what a check sees before its end may not be what stays.

use std::time::Duration;

use image_manager_proto::v1::CheckOutcome;
use tokio::time::Instant;

use super::program::program;
use super::services::units;
use super::{cloud_init, instance, pause};
use crate::guest::Guest;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// So long systemd may take to answer, however late it is asked.
const ANSWER: Duration = Duration::from_secs(5);
/// The state of a systemd that does not answer.
const UNKNOWN: &str = "unknown";
/// What is left of a check's time for its look: a quarter of it, and no more than this.
const FOR_LOOKING: Duration = Duration::from_secs(30);

/// What systemd calls its state (`systemctl is-system-running`). Empty: the guest is not run by systemd.
pub(super) async fn state(guest: &Guest, deadline: Instant) -> String {
    let systemctl = program(guest, "systemctl").filter(|_| guest.has("/run/systemd/system"));
    let Some(systemctl) = systemctl else { return String::new() };
    let ended = systemctl.with(["is-system-running"]).run(deadline).await;
    let state = ended.out.trim();
    if state.is_empty() { UNKNOWN.to_owned() } else { crate::text::one_line(state) }
}

/// Seconds from the kernel's start until systemd had ended its own, by systemd itself: until `running`, or `degraded`.
/// None: it has not, or does not say.
pub(super) async fn finished(guest: &Guest, deadline: Instant) -> Option<f64> {
    const PROPERTY: &str = "FinishTimestampMonotonic";
    let ended = program(guest, "systemctl")?.with(["show", "--property", PROPERTY]).run(deadline).await;
    let microseconds: f64 = units::field(&ended.out, PROPERTY).parse().ok()?;
    (microseconds > 0.0).then_some(microseconds / 1e6)
}

/// Whether a system in this state has yet to come to the end of its start.
pub(super) fn is_starting(state: &str) -> bool {
    matches!(state, "initializing" | "starting")
}

/// Waits for the end of cloud-init and of systemd's start, for as long as there is time to look after it. False: they
/// have not ended.
pub(super) async fn settled(guest: &Guest, deadline: Instant) -> bool {
    let latest = before(deadline);
    settled_until(guest, latest).await
}

/// The same, at the longest until `latest`.
pub(super) async fn settled_until(guest: &Guest, latest: Instant) -> bool {
    let mut wait = FIRST_PAUSE;
    while !is_over(guest, latest).await {
        if !pause(&mut wait, LONGEST_PAUSE, latest).await {
            return false;
        }
    }
    true
}

/// Whether cloud-init and systemd's start have ended. A systemd that does not answer has not said so.
async fn is_over(guest: &Guest, latest: Instant) -> bool {
    if cloud_init::is_under_way(guest) {
        return false;
    }
    let state = state(guest, latest.max(Instant::now() + ANSWER)).await;
    !is_starting(&state) && state != UNKNOWN
}

/// Waits for the end of cloud-init only, at the longest until `latest`. False: it has not ended.
pub(super) async fn cloud_init_ended(guest: &Guest, latest: Instant) -> bool {
    let mut wait = FIRST_PAUSE;
    while cloud_init::is_under_way(guest) {
        if !pause(&mut wait, FIRST_PAUSE, latest).await {
            return false;
        }
    }
    true
}

/// What is amiss while cloud-init has not ended need not stay so: then it is no fault, but not known.
pub(super) fn unless_unsettled(
    unsettled: bool,
    (outcome, summary): (CheckOutcome, String),
) -> (CheckOutcome, String) {
    match outcome {
        CheckOutcome::Fail if unsettled => {
            (CheckOutcome::Inconclusive, format!("{summary}; {}", instance::UNSETTLED))
        }
        _ => (outcome, summary),
    }
}

/// When something must begin that may take two fifths of the time until the deadline, as what a schedule brings may.
pub(super) fn with_time_to_run(deadline: Instant) -> Instant {
    deadline - deadline.saturating_duration_since(Instant::now()).mul_f64(0.4)
}

/// When the last look must begin, so that it ends before the deadline.
pub(super) fn before(deadline: Instant) -> Instant {
    deadline - FOR_LOOKING.min(deadline.saturating_duration_since(Instant::now()) / 4)
}
