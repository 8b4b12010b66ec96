//! A server's clock that is synchronised and yet not the manager's.
//!
//! Either the time server that the image asks is wrong, or the manager's clock is. The agent cannot tell: it says
//! inconclusive. Where this host is synchronised itself, its clock is right.

use std::time::Duration;

use image_manager_agent::Guest;
use image_manager_agent::checks::time;
use image_manager_proto::v1::{self, CheckOutcome};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::history::observations;
use crate::schedules::CheckSpec;

/// So long asking this host may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The results of the checks, where a clock fails that this host knows to be wrong.
pub(super) async fn compare(specs: &[CheckSpec], mut checks: Vec<v1::Check>) -> Vec<v1::Check> {
    for check in &mut checks {
        let is_time = specs.iter().any(|spec| spec.name == check.name && *spec.check == time::CHECK);
        if is_time && is_disputed(check) {
            let host = Guest::below("/");
            let synchronised = Box::pin(time::is_synchronised(&host, Instant::now() + PATIENCE)).await;
            one(check, synchronised);
        }
    }
    checks
}

fn is_disputed(check: &v1::Check) -> bool {
    let seen = check.observations.as_ref().map(observations::to_json).unwrap_or_default();
    check.outcome() == CheckOutcome::Inconclusive && seen.get(time::DISPUTED) == Some(&Value::Bool(true))
}

fn one(check: &mut v1::Check, synchronised: bool) {
    let said = if synchronised {
        check.set_outcome(CheckOutcome::Fail);
        "the manager's host is synchronised"
    } else {
        "the manager's host is not known to be synchronised"
    };
    check.summary = format!("{}; {said}", check.summary);
    let entry = observations::from_json(&json!({ "managers_host_synchronised": synchronised }));
    check.observations.get_or_insert_default().fields.extend(entry.fields);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(outcome: CheckOutcome, disputed: bool) -> v1::Check {
        let mut check = v1::Check {
            name: "time".to_owned(),
            summary: "the clock is 60.0 s behind".to_owned(),
            observations: Some(observations::from_json(&json!({ time::DISPUTED: disputed }))),
            ..v1::Check::default()
        };
        check.set_outcome(outcome);
        check
    }

    #[test]
    fn a_disputed_clock_is_wrong_where_this_host_is_synchronised() {
        for (synchronised, outcome, said) in [
            (true, CheckOutcome::Fail, "the clock is 60.0 s behind; the manager's host is synchronised"),
            (
                false,
                CheckOutcome::Inconclusive,
                "the clock is 60.0 s behind; the manager's host is not known to be synchronised",
            ),
        ] {
            let mut seen = check(CheckOutcome::Inconclusive, true);
            one(&mut seen, synchronised);
            assert_eq!((seen.outcome(), seen.summary.as_str()), (outcome, said));
            let told = observations::to_json(seen.observations.as_ref().unwrap());
            assert_eq!(told["managers_host_synchronised"], synchronised);
        }
    }

    #[test]
    fn only_what_the_agent_leaves_open_is_disputed() {
        assert!(is_disputed(&check(CheckOutcome::Inconclusive, true)));
        assert!(!is_disputed(&check(CheckOutcome::Inconclusive, false)), "nothing is said of the clock");
        assert!(!is_disputed(&check(CheckOutcome::Fail, true)));
        assert!(!is_disputed(&v1::Check::default()));
    }
}
