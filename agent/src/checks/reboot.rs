//! Check `reboot`: the server starts again in order, and is the same one afterwards.
//!
//! ```text
//!  all others have ended ──> Rebooting ──> RebootAllowed ──> look, keep ──> reboot
//!                                                                             │
//!  judge <── the checks in `again` <── look <── attached by the kept key <────┘
//! ```
//!
//! The agent's process does not outlive a reboot, so what it must know in the next boot is kept in a file ([`kept`]): the session
//! runs this check in two halves, [`order`] and [`come_back`]. A server that does not come back has an agent that is lost,
//! which is for the manager to tell.

use std::time::{Duration, SystemTime};

use image_manager_proto::v1::{CheckOutcome, CheckRequest, CheckResult};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::descriptor::{Check, Key, Observer, Rule, Seconds, Set, ValueType};
use super::program::program;
use super::{Arrival, Judgement, LONG_TIMEOUT, boot, observations, patience, pause, registry, word};
use crate::guest::Guest;
use crate::text;

pub(crate) mod kept;
mod state;

pub(crate) use kept::Kept;
pub(crate) use state::State;

/// How long the server may take from the order to reboot until its agent is there again, by default.
const WITHIN: Duration = Duration::from_mins(5);
/// How long what differs is looked at again after the end of the boot.
const PATIENCE: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// What is left of its time for a server that took all of it: to say so.
const LAST_LOOK: Duration = Duration::from_secs(30);
/// Checks that must hold again, by default.
const AGAIN: [&str; 4] = ["cloud_init", "network", "ssh", "services"];

/// The check. The session runs it, as the last one.
pub(crate) static CHECK: Check = Check {
    kind: "reboot",
    proves: "the server reboots cleanly, its agent is back in time, host keys, machine id, host name and addresses \
             stay the same, and chosen checks pass again",
    details: "It runs once all others have ended. If the server does not come back within the check's timeout, the \
              trial ends as `agent_lost`; then another image is booted on the target, as `control` says, before this \
              one is blamed. The checks named in `again` are repeated if the schedule asks for them and they passed \
              before. On the cloud `local`, QEMU is started again on the same disk.",
    set: Set::Thorough,
    observer: Observer::Agent,
    timeout: LONG_TIMEOUT,
    cost: "another boot",
    repeatable: false,
    keys: &[
        Key {
            name: "within",
            value: ValueType::Duration { shortest: Duration::from_secs(1), longest: Duration::from_hours(1) },
            default: "\"5m\"",
            help: "the longest time from the order to reboot until the agent is back",
        },
        Key {
            name: "again",
            value: ValueType::Texts(&KIND),
            default: "[\"cloud_init\", \"network\", \"ssh\", \"services\"]",
            help: "kinds of checks that must pass again",
        },
    ],
    examine: None,
};

static KIND: Rule = Rule {
    what: "a kind of check that the agent can run twice",
    help: "one that `image-manager checks` lists as the agent's, other than \"reboot\"",
    holds: |text| registry::find(text).is_some_and(|check| check.examine.is_some()),
};

/// Its keys.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// The longest from the order until the agent is there again.
    pub(crate) within: Seconds,
    /// Kinds of checks that must hold again.
    pub(crate) again: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { within: Seconds(WITHIN), again: AGAIN.map(str::to_owned).to_vec() }
    }
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Observation {
    /// Before the reboot.
    pub(crate) before: State,
    /// After it.
    pub(crate) after: State,
    /// From the order until the agent was there again. None: a clock was set meanwhile.
    pub(crate) took: Option<Duration>,
    /// The checks that were made again, with what they said.
    pub(crate) again: Vec<CheckResult>,
}

/// Whether this request is one for a reboot.
pub(crate) fn is_asked_by(request: &CheckRequest) -> bool {
    request.kind == CHECK.kind
}

/// The first half: keeps what the next boot must know, and has the server reboot. Returns only when it does not.
pub(crate) async fn order(request: CheckRequest, guest: Guest, mut keep: Kept) -> CheckResult {
    let (started_at, started) = (SystemTime::now(), Instant::now());
    let deadline = started + patience(&request).mul_f64(0.95);
    let judgement = if boot::settled(&guest, deadline).await {
        keep.before = Some(State::look(&guest, deadline).await);
        keep.ordered_at = Some(SystemTime::now().into());
        keep.booted_at = guest.earliest_boot().map(Into::into);
        go_down(&guest, &keep, deadline).await
    } else {
        let why = "the boot had not finished: there was no time to reboot";
        Err((CheckOutcome::Inconclusive, why.to_owned()))
    };
    let (outcome, why) = judgement.err().unwrap_or_default();
    // Nobody is to take it for the note of a reboot that happened.
    kept::forget(&guest);
    Judgement::new(outcome, why, &json!({})).into_result(&request, started_at, started.elapsed())
}

/// Waits for the end that a reboot makes of this process. What comes back instead: how it ended, and why.
async fn go_down(guest: &Guest, keep: &Kept, deadline: Instant) -> Result<(), (CheckOutcome, String)> {
    use CheckOutcome::{Fail, Inconclusive};
    keep.write(guest)
        .map_err(|error| (Inconclusive, format!("cannot store what the next boot must know: {error}")))?;
    let systemd = guest.has("/run/systemd/system").then(|| program(guest, "systemctl")).flatten();
    let reboot = systemd.map(|systemctl| systemctl.with(["reboot"])).or_else(|| program(guest, "reboot"));
    let reboot = reboot.ok_or_else(|| (Fail, "the image has no program to reboot with".to_owned()))?;
    tracing::info!("rebooting");
    let ended = reboot.run(deadline).await;
    if ended.code.is_some_and(|code| code != 0) {
        return Err((Fail, format!("the order to reboot was refused: {}", ended.complaint())));
    }
    sleep_until(deadline).await;
    Err((Fail, "the server was told to reboot, but was still running when time ran out".to_owned()))
}

/// The second half, in the next boot. `requests`: all that the manager asked for.
pub(crate) async fn come_back(
    request: CheckRequest,
    guest: Guest,
    kept: Kept,
    requests: Vec<(CheckRequest, Arrival)>,
) -> CheckResult {
    let (ordered_at, now) = (kept.ordered_at(), SystemTime::now());
    let took = ordered_at.and_then(|at| now.duration_since(at).ok());
    let left = patience(&request).mul_f64(0.95).saturating_sub(took.unwrap_or_default()).max(LAST_LOOK);
    let deadline = Instant::now() + left;
    let judgement = match serde_json::from_value(observations::to_json(request.settings.as_ref())) {
        Ok(settings) => {
            let seen = observe(&settings, &guest, &kept, (took, deadline), requests).await;
            judge(&settings, &seen)
        }
        Err(error) => {
            let why = format!("this agent cannot read the check's settings: {error}");
            Judgement::new(CheckOutcome::Inconclusive, why, &json!({}))
        }
    };
    let started_at = ordered_at.unwrap_or(now);
    judgement.into_result(&request, started_at, started_at.elapsed().unwrap_or_default())
}

async fn observe(
    settings: &Settings,
    guest: &Guest,
    kept: &Kept,
    (took, deadline): (Option<Duration>, Instant),
    requests: Vec<(CheckRequest, Arrival)>,
) -> Observation {
    boot::settled(guest, deadline).await;
    let mut seen =
        Observation { before: kept.before.clone().unwrap_or_default(), took, ..Observation::default() };
    let latest = boot::before(deadline).min(Instant::now() + PATIENCE);
    let mut wait = FIRST_PAUSE;
    loop {
        seen.after = State::look(guest, deadline).await;
        if seen.before.difference(&seen.after).is_none() || !pause(&mut wait, LONGEST_PAUSE, latest).await {
            break;
        }
    }
    let passed = |name: &str| {
        kept.results.iter().any(|result| result.name == name && result.outcome() == CheckOutcome::Pass)
    };
    let mut running = JoinSet::new();
    for (mut request, arrival) in requests {
        if settings.again.contains(&request.kind) && passed(&request.name) {
            let left = deadline.saturating_duration_since(Instant::now()).min(patience(&request));
            request.timeout = left.try_into().ok();
            let guest = guest.clone();
            running.spawn(async move { super::run(&request, arrival, &guest).await });
        }
    }
    seen.again = running.join_all().await;
    seen.again.sort_by(|one, other| one.name.cmp(&other.name));
    seen
}

/// What an observation means.
pub(crate) fn judge(settings: &Settings, seen: &Observation) -> Judgement {
    let (outcome, summary) = match verdict(settings, seen) {
        Ok(summary) => (CheckOutcome::Pass, summary),
        Err(unsound) => unsound,
    };
    Judgement::new(outcome, summary, &as_json(seen))
}

fn verdict(settings: &Settings, seen: &Observation) -> Result<String, (CheckOutcome, String)> {
    use CheckOutcome::{Fail, Inconclusive, Pass};
    if let Some(difference) = seen.before.difference(&seen.after) {
        return Err((Fail, format!("after the reboot {difference}")));
    }
    let within = settings.within.0;
    if let Some(took) = seen.took.filter(|took| *took > within) {
        let (took, within) = (text::seconds(took), text::seconds(within));
        return Err((Fail, format!("the server took {took} to reboot, more than within = {within}")));
    }
    for outcome in [Fail, Inconclusive] {
        if let Some(result) = seen.again.iter().find(|result| result.outcome() == outcome) {
            return Err((outcome, format!("after the reboot the check {}: {}", result.name, result.summary)));
        }
    }
    let again: Vec<&str> = seen
        .again
        .iter()
        .filter(|result| result.outcome() == Pass)
        .map(|result| result.name.as_str())
        .collect();
    let held = if again.is_empty() { String::new() } else { format!("; passed again: {}", again.join(", ")) };
    let took = seen.took.map(|took| format!(" in {}", text::seconds(took))).unwrap_or_default();
    Ok(format!("rebooted{took}, and is still the same server{held}"))
}

fn as_json(seen: &Observation) -> Json {
    let again = seen.again.iter().map(
        |result| json!({ "name": result.name, "outcome": word(result.outcome()), "summary": result.summary }),
    );
    json!({
        "seconds": seen.took.map(|took| took.as_secs_f64()),
        "before": seen.before.as_json(),
        "after": seen.after.as_json(),
        "again": again.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
