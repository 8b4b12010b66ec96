//! The checks that the manager looks after itself, once the agent has gone: how long things took, what the console says,
//! whether QEMU's guest agent answers, and, last of all, whether the power button works.

use std::time::Duration;

use image_manager_agent::checks::descriptor::Observer;
use image_manager_proto::v1;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::boot::{Booted, fetch_console, lately, seconds};
use crate::builder::Inspection;
use crate::checks::{Judged, artifact, boot_time, console, guest_agent, poweroff};
use crate::cloud::GuestAgent;
use crate::history::observations;
use crate::lifecycle::console::ConsoleScan;
use crate::lifecycle::inspection;
use crate::lifecycle::trial::Trial;
use crate::schedules::CheckSpec;

/// How often the console is looked at again.
const LOOK: Duration = Duration::from_secs(2);

/// Looks at all that the schedule asks for; `reported` are the checks that the agent has reported.
pub(super) async fn look(trial: &Trial, booted: &Booted, reported: &[v1::Check]) -> Vec<v1::Check> {
    let mut checks = Vec::new();
    let mut asked: Vec<&CheckSpec> =
        trial.target.checks.iter().filter(|spec| spec.check.observer == Observer::Manager).collect();
    // A server that is off says nothing more.
    asked.sort_by_key(|spec| spec.check.kind == poweroff::CHECK.kind);
    // Both go by what was seen in the artifact.
    let by_artifact = [artifact::CHECK.kind, guest_agent::CHECK.kind];
    let artifact = if asked.iter().any(|spec| by_artifact.contains(&spec.check.kind)) {
        inspection::of(trial.settings().state.clone(), trial.made_by()).await
    } else {
        Err("no check asks for it".to_owned())
    };
    for spec in asked {
        let looking = timeout(spec.timeout, one(trial, booted, spec, reported, &artifact));
        checks.push(timed(spec, looking).await);
    }
    checks
}

/// The checks of the image itself, which are known before any server has booted it.
pub(in crate::lifecycle) async fn look_at_artifact(trial: &Trial) -> Vec<v1::Check> {
    let mut checks = Vec::new();
    for spec in trial.target.checks.iter().filter(|spec| spec.check.kind == artifact::CHECK.kind) {
        let looking = timeout(spec.timeout, async {
            let artifact = inspection::of(trial.settings().state.clone(), trial.made_by()).await;
            of_artifact(trial, spec, &artifact).await
        });
        checks.push(timed(spec, looking).await);
    }
    checks
}

async fn timed(spec: &CheckSpec, looking: impl Future<Output = Result<Judged, Elapsed>>) -> v1::Check {
    let began = Instant::now();
    let judged = looking.await.unwrap_or_else(|_| Judged::late(spec.timeout));
    v1::Check {
        name: spec.name.clone(),
        outcome: judged.outcome.into(),
        required: spec.required,
        duration: prost_types::Duration::try_from(began.elapsed()).ok(),
        summary: judged.summary,
        observations: Some(observations::from_json(&judged.observations)),
    }
}

async fn of_artifact(trial: &Trial, spec: &CheckSpec, artifact: &Result<Inspection, String>) -> Judged {
    let sizes = trial.history().image_sizes(trial.made_by()).await.map_err(|error| error.to_string());
    artifact::judge(&spec.settings, artifact, &sizes)
}

async fn one(
    trial: &Trial,
    booted: &Booted,
    spec: &CheckSpec,
    reported: &[v1::Check],
    artifact: &Result<Inspection, String>,
) -> Judged {
    match spec.check.kind {
        kind if kind == boot_time::CHECK.kind => {
            boot_time::judge(&spec.settings, &times(trial, booted, reported).await)
        }
        kind if kind == artifact::CHECK.kind => of_artifact(trial, spec, artifact).await,
        kind if kind == console::CHECK.kind => console(trial, booted, spec).await,
        kind if kind == guest_agent::CHECK.kind => guest_agent(trial, booted, spec, artifact).await,
        kind if kind == poweroff::CHECK.kind => {
            let began = Instant::now();
            let stopped = trial.cloud.stop(&booted.server).await.map_err(|error| error.message);
            poweroff::judge(&spec.settings, &stopped, began.elapsed())
        }
        kind => Judged::unknown(kind),
    }
}

/// Looks at the console until it asks for a login, or the check's time is nearly up: what the kernel had to say it has said.
/// One that cannot be fetched is asked for again.
async fn console(trial: &Trial, booted: &Booted, spec: &CheckSpec) -> Judged {
    let nothing = match console::Seen::nothing(&spec.settings) {
        Ok(nothing) => nothing,
        Err(judged) => return judged,
    };
    let mut scan = ConsoleScan::new(&trial.console_log(), nothing);
    let deadline = Instant::now() + spec.timeout.mul_f64(0.9);
    loop {
        let given = timeout_at(deadline, fetch_console(trial, &booted.server)).await;
        let given = given.unwrap_or_else(|_| Err("no answer within the check's timeout".to_owned()));
        let reading = scan.look().await.judge(&given);
        if !reading.may_pass_later || Instant::now() + LOOK >= deadline {
            return reading.judged;
        }
        sleep(LOOK).await;
    }
}

/// Asks until it answers, or the check's time is nearly up. An image that has none is asked once.
async fn guest_agent(
    trial: &Trial,
    booted: &Booted,
    spec: &CheckSpec,
    artifact: &Result<Inspection, String>,
) -> Judged {
    let deadline = Instant::now() + spec.timeout.mul_f64(0.9);
    let installed = artifact.as_ref().ok().and_then(|artifact| artifact.guest_agent);
    loop {
        let asked = timeout_at(deadline, trial.cloud.guest_agent(&booted.server)).await;
        let asked = match asked {
            Ok(asked) => asked.map_err(|error| error.message),
            Err(_) => Ok(GuestAgent::Silent("no answer within the check's timeout".to_owned())),
        };
        if !guest_agent::may_come(installed, &asked) || Instant::now() + LOOK >= deadline {
            return guest_agent::judge(&spec.settings, installed, &asked);
        }
        sleep(LOOK).await;
    }
}

async fn times(trial: &Trial, booted: &Booted, reported: &[v1::Check]) -> boot_time::Times {
    // What the agent saw in the checks of a kind.
    let seen = |kind: &str, key: &str| {
        let of_kind = reported.iter().filter(|check| {
            let spec = trial.target.checks.iter().find(|spec| spec.name == check.name);
            spec.is_some_and(|spec| spec.check.kind == kind)
        });
        let mut seen = of_kind.filter_map(|check| check.observations.as_ref()).map(observations::to_json);
        seen.find_map(|seen| seen.get(key)?.as_f64())
    };
    boot_time::Times {
        attach: Some(seconds(booted.hello.uptime.as_ref())),
        cloud_init: seen("cloud_init", "uptime_seconds"),
        running: seen("services", "running_seconds"),
        starting: seen("services", "starting_seconds"),
        booting: Some(booted.took.as_secs_f64()),
        usual: usual(trial).await,
        resumed: booted.resumed,
    }
}

/// What 95 % of the boots of the schedule's builds took that passed lately.
async fn usual(trial: &Trial) -> Option<f64> {
    let schedule = lately(trial).await.filter(|schedule| schedule.passed >= boot_time::ENOUGH)?;
    schedule.boot?.p95.map(|p95| seconds(Some(&p95)))
}
