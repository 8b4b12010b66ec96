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
    proves: "the agent attaches, cloud-init finishes, and systemd's start ends, within the time that the schedule gives \
             them",
    details: "`attach`, `cloud_init` and `running` are counted from the start of the server's kernel. With `factor`, the time \
              from the request for the server until the agent attaches is compared with the time that 95 % of the \
              schedule's recent builds that passed did not exceed; there must be at least 10 of them. Where the manager was \
              restarted while the server booted, nothing is compared, and an exceeded `attach` or `cloud_init` is \
              inconclusive: the agent may have waited for the manager.",
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
            name: "running",
            value: BUDGET,
            default: "any",
            help: "longest time until systemd's start ends, with the state `running` or `degraded`; needs the check \
                   `services`",
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
    running: Option<Seconds>,
    factor: Option<u32>,
}

/// How long things took, in seconds since the kernel's start.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Times {
    /// Until the agent came.
    pub(crate) attach: Option<f64>,
    /// Until cloud-init ended.
    pub(crate) cloud_init: Option<f64>,
    /// Until systemd's start ended.
    pub(crate) running: Option<f64>,
    /// By then it had not ended yet.
    pub(crate) starting: Option<f64>,
    /// Seconds from the server's creation until the agent came.
    pub(crate) booting: Option<f64>,
    /// What 95 % of the schedule's builds took for that, when there are [`ENOUGH`].
    pub(crate) usual: Option<f64>,
    /// The manager was restarted while the server booted: the agent may have waited for it.
    pub(crate) resumed: bool,
}

/// What the times mean.
pub(crate) fn judge(settings: &serde_json::Map<String, serde_json::Value>, times: &Times) -> Judged {
    let settings: Settings = match super::typed(settings) {
        Ok(settings) => settings,
        Err(judged) => return judged,
    };
    let mut over = Vec::new();
    let mut unknown = Vec::new();
    let mut compare = |what: &str, by: &str, budget: Option<f64>, took: Option<f64>| match (budget, took) {
        (Some(budget), Some(took)) if took > budget => {
            over.push(format!("{what} after {took:.1} s, but at most {budget:.1} s is allowed"));
        }
        (Some(_), None) => unknown.push(format!("it is not known when {what}{by}")),
        _ => {}
    };
    let seconds = |budget: Option<Seconds>| budget.map(|budget| budget.0.as_secs_f64());
    // What took too long because nobody was there to ask is no fault of the image.
    let known = |budget: Option<f64>, took: Option<f64>| {
        took.filter(|took| !times.resumed || budget.is_none_or(|budget| *took <= budget))
    };
    let away = ": the manager was restarted while the server booted";
    let attach = seconds(settings.attach);
    compare("the agent could attach", away, attach.filter(|_| times.resumed), known(attach, times.attach));
    compare("the agent attached", "", attach.filter(|_| !times.resumed), times.attach);
    let cloud_init = seconds(settings.cloud_init);
    let by =
        if times.resumed && times.cloud_init.is_some() { away } else { ": the check cloud_init tells it" };
    compare("cloud-init finished", by, cloud_init, known(cloud_init, times.cloud_init));
    let running = seconds(settings.running);
    match times.starting.filter(|starting| running.is_some_and(|budget| *starting > budget)) {
        Some(starting) => compare("systemd's start had not ended", "", running, Some(starting)),
        None => compare("systemd's start ended", ": the check services tells it", running, times.running),
    }
    let usual = times.usual.filter(|_| !times.resumed);
    let usual = settings.factor.zip(usual).map(|(factor, usual)| f64::from(factor) * usual);
    compare("the server was up", "", usual, times.booting);
    let seen = json!({
        "attach_seconds": times.attach,
        "cloud_init_seconds": times.cloud_init,
        "running_seconds": times.running,
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
        let running = times.running.map(|took| format!(", systemd's start ended after {took:.1} s"));
        let told = [took, cloud_init, running].map(Option::unwrap_or_default).concat();
        (CheckOutcome::Pass, told)
    };
    Judged { outcome, summary, observations: seen }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_budget_can_be_exceeded() {
        use CheckOutcome::{Fail, Inconclusive, Pass};
        let times = Times {
            attach: Some(20.0),
            cloud_init: Some(40.0),
            running: Some(50.0),
            starting: None,
            booting: Some(22.0),
            usual: Some(10.0),
            resumed: false,
        };
        let judged = |settings: serde_json::Value, times: &Times| {
            let judged = judge(settings.as_object().unwrap(), times);
            (judged.outcome, judged.summary)
        };
        assert_eq!(judged(json!({}), &times).0, Pass);
        let (outcome, said) =
            judged(json!({ "attach": 21, "cloud_init": 41, "running": 51, "factor": 3 }), &times);
        assert_eq!(outcome, Pass);
        assert!(said.ends_with("systemd's start ended after 50.0 s"), "{said}");
        let (outcome, why) = judged(json!({ "attach": 19 }), &times);
        assert_eq!(
            (outcome, why.as_str()),
            (Fail, "the agent attached after 20.0 s, but at most 19.0 s is allowed")
        );
        assert_eq!(judged(json!({ "cloud_init": 39 }), &times).0, Fail);
        let (outcome, why) = judged(json!({ "running": 49 }), &times);
        assert_eq!(
            (outcome, why.as_str()),
            (Fail, "systemd's start ended after 50.0 s, but at most 49.0 s is allowed")
        );
        let starting = Times { running: None, starting: Some(90.0), ..times.clone() };
        let (outcome, why) = judged(json!({ "running": 49 }), &starting);
        assert_eq!(outcome, Fail, "{why}");
        assert!(why.contains("had not ended after 90.0 s"), "{why}");
        assert_eq!(judged(json!({ "running": 91 }), &starting).0, Inconclusive);
        let unasked = Times { running: None, ..times.clone() };
        let (outcome, why) = judged(json!({ "running": 49 }), &unasked);
        assert_eq!(outcome, Inconclusive, "{why}");
        assert!(why.contains("the check services tells it"), "{why}");
        assert_eq!(judged(json!({ "factor": 2 }), &times).0, Fail);
        let young = Times { usual: None, ..times.clone() };
        assert_eq!(judged(json!({ "factor": 2 }), &young).0, Pass, "nothing is usual yet");
        assert_eq!(judged(json!({ "cloud_init": 39 }), &Times { cloud_init: None, ..times }).0, Inconclusive);
    }

    #[test]
    fn the_managers_own_absence_is_not_the_images_time() {
        use CheckOutcome::{Fail, Inconclusive, Pass};
        let times = Times {
            attach: Some(300.0),
            cloud_init: Some(310.0),
            running: Some(50.0),
            starting: None,
            booting: Some(300.0),
            usual: Some(10.0),
            resumed: true,
        };
        for (settings, outcome, part) in [
            (json!({ "factor": 2 }), Pass, "the agent attached after 300.0 s"),
            (json!({ "attach": 301, "cloud_init": 311 }), Pass, "the agent attached after 300.0 s"),
            (json!({ "attach": 20 }), Inconclusive, "the agent could attach: the manager was restarted"),
            (json!({ "cloud_init": 40 }), Inconclusive, "cloud-init finished: the manager was restarted"),
            // systemd says itself when that was.
            (json!({ "running": 49 }), Fail, "systemd's start ended after 50.0 s"),
        ] {
            let judged = judge(settings.as_object().unwrap(), &times);
            assert_eq!(judged.outcome, outcome, "{settings}: {}", judged.summary);
            assert!(judged.summary.contains(part), "{settings}: {}", judged.summary);
        }
    }
}
