//! Check `cloud_init`: cloud-init has reached a good end.
//!
//! Judged by the files that cloud-init writes, never by `cloud-init status`: its `--wait` is known to
//! hang and to return early, its exit code differs between versions and distributions, and it is part of
//! what is under test. The files have had the same form from 22 to 25:
//!
//! * `/run/cloud-init/status.json`: `v1` with `datasource`, the running `stage`, and for each stage
//!   `start`, `finished` (seconds by the clock), `errors` and, since 23.4, `recoverable_errors`;
//! * `/run/cloud-init/result.json`: written at the end, and the end itself;
//! * `/run/cloud-init/enabled` or `disabled`: what the systemd generator decided.
//!
//! A configuration file that cloud-init could not read is in none of them; those are read here once more.

use std::time::Duration;

use image_manager_proto::counted;
use image_manager_proto::v1::CheckOutcome;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::time::{Instant, sleep};

use super::descriptor::{BadSettings, Check, Examination, Key, Observer, Rule, Set, ValueType, is_plain};
use super::{Judgement, LONG_TIMEOUT};
use crate::guest::Guest;
use crate::text;

mod configuration;
mod status;
mod yaml;
pub use status::{Stage, Status};

/// Written when cloud-init has come to its end.
pub(super) const RESULT: &str = "/run/cloud-init/result.json";
/// The datasource that cloud-init takes when it finds none.
const FALLBACK: &str = "None";
const PERIOD: Duration = Duration::from_millis(500);
/// So long an image without any trace of cloud-init may take to show one.
const GRACE: Duration = Duration::from_secs(10);
/// So long result.json may take after the last stage has finished.
const RESULT_GRACE: Duration = Duration::from_secs(5);

/// The check.
pub static CHECK: Check = Check {
    kind: "cloud_init",
    proves: "cloud-init has finished successfully: each stage ran without errors, and it found a datasource",
    details: "The stages are init-local, init, modules-config and modules-final. cloud-init must be able to read each \
              of its configuration files (`cloud.cfg`, `cloud.cfg.d/*.cfg`); the fallback `None` does not count as a \
              datasource.",
    set: Set::Minimal,
    observer: Observer::Agent,
    timeout: LONG_TIMEOUT,
    cost: "waits for cloud-init to finish",
    repeatable: false,
    keys: &[
        Key {
            name: "fail_on_recoverable_errors",
            value: ValueType::Flag,
            default: "false",
            help: "cloud-init's warnings fail the check too",
        },
        Key {
            name: "datasource",
            value: ValueType::Text(&DATASOURCE),
            default: "any but the fallback `None`",
            help: "the datasource must be this one, by cloud-init's name (`ConfigDrive`, `OpenStack`, `NoCloud`, ...); \
                   `\"None\"` if the image is meant to run without one",
        },
    ],
    examine: Some(|asked| Box::pin(examine(asked))),
};

static DATASOURCE: Rule = Rule {
    what: "a datasource",
    help: "as cloud-init calls it, for example \"ConfigDrive\" or \"OpenStack\"",
    holds: |text| is_plain(text, 64, "_-", "-"),
};

/// Its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Recoverable errors (cloud-init's warnings) fail the check too.
    pub fail_on_recoverable_errors: bool,
    /// The datasource must be this one, for example "ConfigDrive". Empty: any but the fallback "None".
    pub datasource: String,
}

async fn examine(asked: Examination) -> Result<Judgement, BadSettings> {
    Ok(judge(&asked.settings()?, &observe(&asked.guest, asked.deadline).await))
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// There is a trace of cloud-init in the image.
    pub installed: bool,
    /// The generator switched it off.
    pub disabled: bool,
    /// What status.json and result.json say. None: there is no status.json.
    pub status: Option<Status>,
    /// It has come to its end, good or bad.
    pub finished: bool,
    /// Why the files could not be read.
    pub unreadable: String,
    /// Configuration files that cloud-init could not read, each with the reason.
    pub ignored: Vec<String>,
    /// How long it was waited for.
    pub waited: Duration,
    /// Time since the kernel started when this was seen.
    pub uptime: Duration,
}

/// Whether it runs, or will: the generator decides that before the agent starts.
pub(super) fn is_under_way(guest: &Guest) -> bool {
    let begun = ["/run/cloud-init/enabled", "/run/cloud-init/status.json"].iter().any(|path| guest.has(path));
    begun && !guest.has("/run/cloud-init/disabled") && !guest.has(RESULT)
}

/// Whether it is under way and the stage in which its modules growpart and resizefs run (`cloud_init_modules` of
/// cloud.cfg) has not ended.
pub(super) fn is_yet_to_grow(guest: &Guest) -> bool {
    is_under_way(guest) && !look(guest).status.is_some_and(|status| status.has_finished("init"))
}

/// Whether it is under way and the stage in which it writes the package sources has not ended.
pub(super) fn is_yet_to_configure(guest: &Guest) -> bool {
    is_under_way(guest) && !look(guest).status.is_some_and(|status| status.has_finished("modules-config"))
}

/// Watches cloud-init until it has come to its end or the time is up.
pub async fn observe(guest: &Guest, deadline: Instant) -> Observation {
    let started = Instant::now();
    let mut last_stage_done: Option<Instant> = None;
    loop {
        let mut seen = look(guest);
        let now = Instant::now();
        seen.waited = now - started;
        if !seen.finished && seen.status.as_ref().is_some_and(Status::last_stage_is_done) {
            let since = *last_stage_done.get_or_insert(now);
            seen.finished = now - since >= RESULT_GRACE;
        }
        let hopeless = seen.disabled || (!seen.installed && seen.waited >= GRACE);
        if seen.finished || hopeless || now + PERIOD >= deadline {
            // Before that it counts for nothing, and the time for it is over.
            if seen.finished {
                seen.ignored = configuration::unreadable(guest).await;
            }
            return seen;
        }
        sleep(PERIOD).await;
    }
}

fn look(guest: &Guest) -> Observation {
    let mut seen = Observation {
        installed: ["/run/cloud-init", "/usr/bin/cloud-init", "/etc/cloud"]
            .iter()
            .any(|path| guest.has(path)),
        disabled: guest.has("/run/cloud-init/disabled"),
        uptime: guest.uptime(),
        ..Observation::default()
    };
    // The result first: when it is there, the status that is read after it is the last one.
    let result = guest.read(RESULT).ok();
    let Ok(text) = guest.read("/run/cloud-init/status.json") else { return seen };
    match Status::parse(&text, result.as_deref()) {
        Ok(status) => {
            seen.status = Some(status);
            seen.finished = result.is_some();
        }
        Err(error) => seen.unreadable = error,
    }
    seen
}

/// What an observation means.
pub fn judge(settings: &Settings, seen: &Observation) -> Judgement {
    let (outcome, summary) = verdict(settings, seen);
    Judgement::new(outcome, summary, &as_json(seen))
}

fn verdict(settings: &Settings, seen: &Observation) -> (CheckOutcome, String) {
    use CheckOutcome::{Fail, Pass};
    if seen.disabled {
        return (Fail, "cloud-init is disabled".to_owned());
    }
    if !seen.installed {
        return (Fail, "cloud-init is not installed".to_owned());
    }
    let after = text::seconds(seen.waited);
    let Some(status) = &seen.status else {
        let why = if seen.unreadable.is_empty() {
            format!("cloud-init has not started after {after}")
        } else {
            format!("cloud-init's status cannot be read: {}", seen.unreadable)
        };
        return (Fail, why);
    };
    // It is the cause of what goes wrong in the later ones.
    if let Some((stage, later)) = status.passed_over() {
        return (Fail, format!("cloud-init's stage {stage} never started, though {later} did"));
    }
    let errors = status.all_errors();
    if let Some((stage, first)) = errors.first() {
        let more = match errors.len() {
            1 => String::new(),
            many => format!(" (and {} more)", many - 1),
        };
        let place = if stage.is_empty() { String::new() } else { format!(" in {stage}") };
        return (Fail, format!("cloud-init failed{place}: {}{more}", text::one_line(first)));
    }
    if !seen.finished {
        return (Fail, format!("cloud-init has not finished after {after}: {}", status.progress()));
    }
    if let Some((stage, missing)) = status.incomplete() {
        return (
            Fail,
            format!("cloud-init's stage {stage} {missing}, though cloud-init itself has finished"),
        );
    }
    if let Some(first) = seen.ignored.first() {
        let more = match seen.ignored.len() {
            1 => String::new(),
            many => format!(" (and {} more)", many - 1),
        };
        return (
            Fail,
            format!("cloud-init cannot read its configuration file {}{more}", text::one_line(first)),
        );
    }
    if let Some(why) = wrong_datasource(settings, status) {
        return (Fail, why);
    }
    let datasource = &status.datasource;
    let recoverable = status.all_recoverable_errors();
    match recoverable.first() {
        Some((stage, first)) => {
            let outcome = if settings.fail_on_recoverable_errors { Fail } else { Pass };
            let errors = counted(recoverable.len(), "recoverable error");
            let first = text::one_line(first);
            (outcome, format!("cloud-init finished with {errors}, first in {stage}: {first}"))
        }
        None => (Pass, format!("cloud-init finished with {datasource}")),
    }
}

/// No datasource at all, only the fallback, or not the one that is expected.
fn wrong_datasource(settings: &Settings, status: &Status) -> Option<String> {
    let expected = settings.datasource.as_str();
    if !expected.is_empty() {
        let seen = text::or(&status.datasource, "none");
        let why = || format!("cloud-init's datasource is {seen}, not {expected}");
        return (!status.is_from(expected)).then(why);
    }
    if status.datasource.is_empty() {
        return Some("cloud-init found no datasource".to_owned());
    }
    status.is_from(FALLBACK).then(|| {
        let seen = &status.datasource;
        format!(
            "cloud-init found no datasource and fell back to {seen}; if that is intended, set datasource = \"None\" \
             in checks.cloud_init"
        )
    })
}

fn as_json(seen: &Observation) -> Json {
    let mut observed = json!({
        "installed": seen.installed,
        "disabled": seen.disabled,
        "finished": seen.finished,
        "waited_seconds": seen.waited.as_secs_f64(),
        "uptime_seconds": seen.uptime.as_secs_f64(),
    });
    let Some(fields) = observed.as_object_mut() else { return observed };
    if !seen.unreadable.is_empty() {
        fields.insert("unreadable".to_owned(), json!(seen.unreadable));
    }
    if !seen.ignored.is_empty() {
        fields.insert("unreadable_configuration".to_owned(), json!(seen.ignored));
    }
    if let Some(status) = &seen.status {
        let told = |(stage, error): &(&str, &str)| match *stage {
            "" => (*error).to_owned(),
            stage => format!("{stage}: {error}"),
        };
        let texts = |all: Vec<(&str, &str)>| all.iter().map(told).collect::<Vec<_>>();
        fields.insert("datasource".to_owned(), json!(status.datasource));
        fields.insert("stage".to_owned(), json!(status.stage));
        fields.insert("errors".to_owned(), json!(texts(status.all_errors())));
        fields.insert("recoverable_errors".to_owned(), json!(texts(status.all_recoverable_errors())));
        let times = status.stages.iter().filter_map(|stage| Some((stage.name.clone(), stage.seconds()?)));
        let times: serde_json::Map<String, Json> =
            times.map(|(name, seconds)| (name, json!(seconds))).collect();
        fields.insert("stage_seconds".to_owned(), Json::Object(times));
    }
    observed
}

#[cfg(test)]
mod tests;
