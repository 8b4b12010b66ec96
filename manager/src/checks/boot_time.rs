//! Check `boot_time`: the server is there within its budgets.

use std::time::Duration;

use image_manager_agent::checks::descriptor::{Check, Key, Observer, Seconds, Set, ValueType};
use image_manager_proto::v1::CheckOutcome;
use serde::Deserialize;
use serde_json::json;

use super::Judged;

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_hours(2);

/// The check.
pub(crate) static CHECK: Check = Check {
    kind: "boot_time",
    proves: "the agent attaches, and cloud-init finishes, within the time that the schedule gives them",
    details: "`attach` and `cloud_init` are counted from the start of the server's kernel. With `factor`, the time \
              from the request for the server until the agent attaches is compared with the time that 95 % of the \
              schedule's recent builds that passed did not exceed; there must be at least 10 of them.",
    set: Set::Named,
    observer: Observer::Manager,
    timeout: Duration::from_mins(2),
    cost: "nothing",
    repeatable: false,
    keys: &[
        Key { name: "attach", value: BUDGET, default: "any", help: "longest time until the agent attaches" },
        Key {
            name: "cloud_init",
            value: BUDGET,
            default: "any",
            help: "longest time until cloud-init finishes; needs the check `cloud_init`",
        },
        Key {
            name: "factor",
            value: ValueType::Number { smallest: 1, largest: 100 },
            default: "no comparison",
            help: "at most this many times what the schedule's builds usually take, as in `factor = 2`",
        },
    ],
    examine: None,
};

const BUDGET: ValueType = ValueType::Duration { shortest: SHORTEST, longest: LONGEST };
/// So many builds must have passed before they say what is usual.
pub(crate) const ENOUGH: u64 = 10;

/// Its keys.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    attach: Option<Seconds>,
    cloud_init: Option<Seconds>,
    factor: Option<u32>,
}

/// How long things took, in seconds since the kernel's start.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Times {
    /// Until the agent came.
    pub(crate) attach: Option<f64>,
    /// Until cloud-init ended.
    pub(crate) cloud_init: Option<f64>,
    /// Seconds from the server's creation until the agent came.
    pub(crate) booting: Option<f64>,
    /// What 95 % of the schedule's builds took for that, when there are [`ENOUGH`].
    pub(crate) usual: Option<f64>,
}

/// What the times mean.
pub(crate) fn judge(settings: &serde_json::Map<String, serde_json::Value>, times: &Times) -> Judged {
    let settings: Settings = match super::typed(settings) {
        Ok(settings) => settings,
        Err(judged) => return judged,
    };
    let mut over = Vec::new();
    let mut unknown = Vec::new();
    let mut compare = |what: &str, budget: Option<f64>, took: Option<f64>| match (budget, took) {
        (Some(budget), Some(took)) if took > budget => {
            over.push(format!("{what} after {took:.1} s, but at most {budget:.1} s is allowed"));
        }
        (Some(_), None) => unknown.push(format!("it is not known when {what}")),
        _ => {}
    };
    let seconds = |budget: Option<Seconds>| budget.map(|budget| budget.0.as_secs_f64());
    compare("the agent attached", seconds(settings.attach), times.attach);
    compare("cloud-init finished", seconds(settings.cloud_init), times.cloud_init);
    let usual = settings.factor.zip(times.usual).map(|(factor, usual)| f64::from(factor) * usual);
    compare("the server was up", usual, times.booting);
    let seen = json!({
        "attach_seconds": times.attach,
        "cloud_init_seconds": times.cloud_init,
        "booting_seconds": times.booting,
        "usual_booting_seconds": times.usual,
    });
    let (outcome, summary) = if !over.is_empty() {
        (CheckOutcome::Fail, over.join("; "))
    } else if !unknown.is_empty() {
        (CheckOutcome::Inconclusive, unknown.join("; "))
    } else {
        let took = times.attach.map(|took| format!("the agent attached after {took:.1} s"));
        let cloud_init = times.cloud_init.map(|took| format!(", cloud-init finished after {took:.1} s"));
        let (took, cloud_init) = (took.unwrap_or_default(), cloud_init.unwrap_or_default());
        (CheckOutcome::Pass, format!("{took}{cloud_init}"))
    };
    Judged { outcome, summary, observations: seen }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_budget_can_be_exceeded() {
        use CheckOutcome::{Fail, Inconclusive, Pass};
        let times =
            Times { attach: Some(20.0), cloud_init: Some(40.0), booting: Some(22.0), usual: Some(10.0) };
        let judged = |settings: serde_json::Value, times: &Times| {
            let judged = judge(settings.as_object().unwrap(), times);
            (judged.outcome, judged.summary)
        };
        assert_eq!(judged(json!({}), &times).0, Pass);
        assert_eq!(judged(json!({ "attach": 21, "cloud_init": 41, "factor": 3 }), &times).0, Pass);
        let (outcome, why) = judged(json!({ "attach": 19 }), &times);
        assert_eq!(
            (outcome, why.as_str()),
            (Fail, "the agent attached after 20.0 s, but at most 19.0 s is allowed")
        );
        assert_eq!(judged(json!({ "cloud_init": 39 }), &times).0, Fail);
        assert_eq!(judged(json!({ "factor": 2 }), &times).0, Fail);
        let young = Times { usual: None, ..times.clone() };
        assert_eq!(judged(json!({ "factor": 2 }), &young).0, Pass, "nothing is usual yet");
        assert_eq!(judged(json!({ "cloud_init": 39 }), &Times { cloud_init: None, ..times }).0, Inconclusive);
    }
}
