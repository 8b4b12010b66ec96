//! The checks. Each has two halves: `observe` looks at the guest until all is well or the time is up, and
//! `judge`, a pure function, says what the observation means. Tests feed `judge` recorded observations,
//! and the manager uses both halves of the network checks to repeat one from its own host.
//!
//! The agent starts early in the boot: the network may not be up and the root file system not grown.
//! So an observation that would fail is made again until the check's deadline.
//!
//! A new kind of check is a file here with its `CHECK`, `observe` and `judge`, and a line in [`registry`]:
//! `schedules.toml`, the wire form, `image-manager checks` and docs/checks.md come from `CHECK`.

mod accounts;
mod boot;
mod cloud_config;
pub mod cloud_init;
pub mod commands;
pub mod descriptor;
pub mod disk;
pub mod dns;
pub mod files;
mod host_keys;
pub mod identity;
mod instance;
pub mod internet;
pub mod kernel;
pub mod lease;
pub mod metadata;
mod mirrors;
pub mod network;
pub mod observations;
pub mod package_manager;
pub mod packages;
mod program;
pub mod public_keys;
pub(crate) mod reboot;
mod registry;
pub mod script;
pub mod services;
pub mod ssh;
mod sshd;
pub mod time;
pub mod users;

use std::time::{Duration, SystemTime};

use image_manager_proto::v1::{CheckOutcome, CheckRequest, CheckResult};
use prost_types::Struct;
use tokio::time::{Instant, timeout_at};

use crate::guest::Guest;
use crate::text;

pub use mirrors::Mirrors;
pub use registry::CHECKS;

use descriptor::{Clock, Examination};

/// The kind of the check that has its server reboot.
pub const REBOOT: &str = reboot::CHECK.kind;

/// When a check's request names no time.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_mins(2);
/// Of a check that waits for the end of the boot, or reads the whole disk.
pub const LONG_TIMEOUT: Duration = Duration::from_mins(10);
/// No check takes longer, whatever its request says. The manager takes no schedule that asks for more.
pub const LONGEST_TIMEOUT: Duration = Duration::from_hours(1);
/// Longest summary, in characters.
const SUMMARY: usize = 500;

/// What a check found.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// How it ended.
    pub outcome: CheckOutcome,
    /// One line for people.
    pub summary: String,
    /// What was observed, whatever the outcome.
    pub observations: Struct,
}

impl Judgement {
    fn new(outcome: CheckOutcome, summary: impl Into<String>, observations: &serde_json::Value) -> Self {
        let summary = text::bounded(&summary.into(), SUMMARY);
        Self { outcome, summary, observations: observations::bounded(observations) }
    }

    /// As the manager hears it.
    fn into_result(self, request: &CheckRequest, started_at: SystemTime, took: Duration) -> CheckResult {
        CheckResult {
            name: request.name.clone(),
            outcome: self.outcome.into(),
            summary: self.summary,
            observations: Some(self.observations),
            started_at: Some(started_at.into()),
            duration: took.try_into().ok(),
        }
    }
}

/// When a request came: what the manager's time in it says of this clock.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    at: (SystemTime, Instant),
    longest_way: Duration,
}

impl Arrival {
    /// Of a request that has come now, and that the manager cannot have sent before it heard what was said then.
    pub fn now(sent_after: Instant) -> Self {
        let at = (SystemTime::now(), Instant::now());
        Self { at, longest_way: at.1.saturating_duration_since(sent_after) }
    }

    fn clock(&self, request: &CheckRequest) -> Option<Clock> {
        let theirs = SystemTime::try_from(request.sent_at?).ok()?;
        let ahead = match self.at.0.duration_since(theirs) {
            Ok(ahead) => ahead.as_secs_f64(),
            Err(behind) => -behind.duration().as_secs_f64(),
        };
        Some(Clock { ahead, longest_way: self.longest_way, at: self.at })
    }
}

/// Runs a check to its end. Always gives a result, at the latest when its time is up.
pub async fn run(request: &CheckRequest, arrival: Arrival, guest: &Guest) -> CheckResult {
    let started_at = SystemTime::now();
    let started = Instant::now();
    let patience = patience(request);
    // The check ends itself a little earlier, with all that it saw.
    let deadline = started + patience.mul_f64(0.95);
    let clock = arrival.clock(request);
    let judgement = match timeout_at(started + patience, examine(request, guest, clock, deadline)).await {
        Ok(judgement) => judgement,
        Err(_) => Judgement::new(
            CheckOutcome::Inconclusive,
            format!("the check did not finish within {}", text::seconds(patience)),
            &serde_json::json!({}),
        ),
    };
    judgement.into_result(request, started_at, started.elapsed())
}

/// An outcome's word in logs and observations: "pass".
pub(crate) fn word(outcome: CheckOutcome) -> String {
    outcome.as_str_name().trim_start_matches("CHECK_OUTCOME_").to_lowercase()
}

fn patience(request: &CheckRequest) -> Duration {
    let asked = request.timeout.and_then(|timeout| Duration::try_from(timeout).ok());
    asked.filter(|asked| !asked.is_zero()).unwrap_or(DEFAULT_TIMEOUT).min(LONGEST_TIMEOUT)
}

async fn examine(
    request: &CheckRequest,
    guest: &Guest,
    clock: Option<Clock>,
    deadline: Instant,
) -> Judgement {
    let nothing = serde_json::json!({});
    let Some(examine) = registry::find(&request.kind).and_then(|check| check.examine) else {
        let kind = text::one_line(&request.kind);
        let why = format!("agent {} does not support the check kind {kind:?}", env!("CARGO_PKG_VERSION"));
        return Judgement::new(CheckOutcome::Skipped, why, &nothing);
    };
    let asked = Examination {
        settings: observations::to_json(request.settings.as_ref()),
        server: request.server.clone().unwrap_or_default(),
        guest: guest.clone(),
        deadline,
        clock_ahead: clock,
    };
    match examine(asked).await {
        Ok(judgement) => judgement,
        Err(error) => Judgement::new(CheckOutcome::Inconclusive, error.to_string(), &nothing),
    }
}

/// Pause before the next look, from the one before. False when the deadline would pass meanwhile.
async fn pause(pause: &mut Duration, longest: Duration, deadline: Instant) -> bool {
    if Instant::now() + *pause >= deadline {
        return false;
    }
    tokio::time::sleep(*pause).await;
    *pause = (*pause * 2).min(longest);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unknown_check_is_skipped() {
        let request = CheckRequest { name: "new".to_owned(), ..CheckRequest::default() };
        let result = run(&request, Arrival::now(Instant::now()), &Guest::default()).await;
        assert_eq!(result.outcome(), CheckOutcome::Skipped);
        assert_eq!(result.name, "new");
    }

    #[test]
    fn a_clock_is_compared_with_the_managers_within_the_requests_way() {
        let asked = Instant::now() - Duration::from_secs(3);
        let arrival = Arrival::now(asked);
        let sent = |at: SystemTime| CheckRequest { sent_at: Some(at.into()), ..CheckRequest::default() };
        let clock = arrival.clock(&sent(arrival.at.0 - Duration::from_mins(1))).unwrap();
        assert!((clock.ahead - 60.0).abs() < 0.001, "{clock:?}");
        assert!((3.0..4.0).contains(&clock.longest_way.as_secs_f64()), "so it is ahead by 56 s at least");
        let clock = arrival.clock(&sent(arrival.at.0 + Duration::from_secs(9))).unwrap();
        assert!((clock.ahead + 9.0).abs() < 0.001, "{clock:?}");
        assert!(arrival.clock(&CheckRequest::default()).is_none());
    }

    #[test]
    fn a_request_without_a_time_has_one() {
        let with = |seconds| CheckRequest {
            timeout: Some(prost_types::Duration { seconds, nanos: 0 }),
            ..CheckRequest::default()
        };
        assert_eq!(patience(&CheckRequest::default()), DEFAULT_TIMEOUT);
        assert_eq!(patience(&with(0)), DEFAULT_TIMEOUT);
        assert_eq!(patience(&with(-5)), DEFAULT_TIMEOUT);
        assert_eq!(patience(&with(7)), Duration::from_secs(7));
        assert_eq!(patience(&with(1 << 40)), LONGEST_TIMEOUT);
    }
}
