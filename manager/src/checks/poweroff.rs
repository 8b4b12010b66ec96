//! Check `poweroff`: the power button turns the server off in order.

use std::time::Duration;

use image_manager_agent::checks::descriptor::{Check, Key, Observer, Seconds, Set, ValueType};
use image_manager_proto::v1::CheckOutcome;
use serde::Deserialize;
use serde_json::json;

use super::Judged;
use crate::cloud::Shutdown;

/// The check.
pub(crate) static CHECK: Check = Check {
    kind: "poweroff",
    proves: "the power button (ACPI), with which a cloud stops a server, shuts the server down cleanly",
    details: "It is tried last, when the agent has gone. A server that a cloud has to stop by force loses what it has \
              not written.",
    set: Set::Thorough,
    observer: Observer::Manager,
    timeout: Duration::from_mins(5),
    cost: "the time that the server takes to shut down",
    repeatable: false,
    keys: &[Key {
        name: "within",
        value: ValueType::Duration { shortest: Duration::from_secs(1), longest: Duration::from_mins(4) },
        default: "\"50s\"",
        help: "how long it may take; Nova stops a server by force after 60 s",
    }],
    examine: None,
};

/// Its keys.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    within: Seconds,
}

impl Default for Settings {
    fn default() -> Self {
        Self { within: Seconds(Duration::from_secs(50)) }
    }
}

/// What came of pressing the button. `Err`: the cloud could not be asked.
pub(crate) fn judge(
    settings: &serde_json::Map<String, serde_json::Value>,
    shutdown: &Result<Shutdown, String>,
    took: Duration,
) -> Judged {
    let settings: Settings = match super::typed(settings) {
        Ok(settings) => settings,
        Err(judged) => return judged,
    };
    let within = settings.within.0;
    let seconds = took.as_secs_f64();
    let late = took > within;
    let (outcome, summary) = match shutdown {
        Err(why) => (CheckOutcome::Inconclusive, format!("the server could not be stopped: {why}")),
        Ok(Shutdown::Forced) => (
            CheckOutcome::Fail,
            format!("the power button did not turn the server off within {seconds:.0} s: it was forced off"),
        ),
        Ok(Shutdown::Otherwise { how, by_guest }) => {
            let outcome = if *by_guest { CheckOutcome::Fail } else { CheckOutcome::Inconclusive };
            (outcome, format!("the server did not shut down as its power button asks: {how}"))
        }
        Ok(Shutdown::InOrder | Shutdown::Unknown) if late => (
            CheckOutcome::Fail,
            format!(
                "the server took {seconds:.1} s to shut down, but at most {} is allowed",
                humantime::format_duration(within)
            ),
        ),
        Ok(Shutdown::Unknown) => {
            let but = "but the cloud does not say whether by force";
            let why = format!("the server shut down in {seconds:.1} s, {but}");
            (CheckOutcome::Inconclusive, why)
        }
        Ok(Shutdown::InOrder) => {
            (CheckOutcome::Pass, format!("the server shut down cleanly in {seconds:.1} s"))
        }
    };
    Judged { outcome, summary, observations: json!({ "seconds": seconds }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_orderly_end_in_time_is_good() {
        use CheckOutcome::{Fail, Inconclusive, Pass};
        let judged = |shutdown: Result<Shutdown, String>, seconds| {
            judge(&serde_json::Map::new(), &shutdown, Duration::from_secs(seconds)).outcome
        };
        assert_eq!(judged(Ok(Shutdown::InOrder), 5), Pass);
        assert_eq!(judged(Ok(Shutdown::InOrder), 51), Fail);
        assert_eq!(judged(Ok(Shutdown::Forced), 5), Fail);
        assert_eq!(judged(Ok(Shutdown::Unknown), 5), Inconclusive);
        let otherwise = |by_guest| Ok(Shutdown::Otherwise { how: "Kernel panic".to_owned(), by_guest });
        assert_eq!(judged(otherwise(true), 5), Fail);
        assert_eq!(judged(otherwise(false), 5), Inconclusive);
        assert_eq!(judged(Err("no answer".to_owned()), 5), Inconclusive);
    }
}
