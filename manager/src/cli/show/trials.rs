//! The trials of a build that has several: a table that says which did what, and then what is to be known of each.

use image_manager_proto::v1::{self, CheckOutcome, Verdict};

use super::{
    Extent, head, width_of_names, write_agent, write_check, write_evidence, write_hint, write_stages,
    write_what_happened,
};
use crate::cli::table::{self, Column};
use crate::cli::text::{Painted, Screen, Style, line};
use crate::cli::when;
use crate::history::Named as _;
use crate::lifecycle::state::end_of;
use crate::lifecycle::trials::{failed_before, passed, several, span};

const TARGET: Column<v1::Trial> = ("TARGET", |trial| trial.target.clone());
const CLOUD: Column<v1::Trial> = ("CLOUD", |trial| trial.cloud.clone());
const STATE: Column<v1::Trial> = ("STATE", |trial| trial.state().word().to_owned());
const REASON: Column<v1::Trial> =
    (
        "REASON",
        |trial| if failed_before(trial) { format!("({})", trial.reason) } else { trial.reason.clone() },
    );
const TOOK: Column<v1::Trial> = ("TOOK", |trial| {
    let (from, to) = span(trial);
    when::between(from, to)
});
const ATTEMPT: Column<v1::Trial> = ("ATTEMPT", |trial| trial.attempt.to_string());
const REQUIRED: Column<v1::Trial> =
    ("REQUIRED", |trial| if trial.required { "yes".to_owned() } else { "no".to_owned() });

/// The layouts, from the widest to the narrowest; the first that fits the terminal is taken.
const LAYOUTS: [&[Column<v1::Trial>]; 4] = [
    &[TARGET, CLOUD, STATE, REASON, TOOK, ATTEMPT, REQUIRED],
    &[TARGET, CLOUD, STATE, REASON, TOOK, ATTEMPT],
    &[TARGET, STATE, REASON, TOOK, ATTEMPT],
    &[TARGET, STATE, REASON],
];

/// What a trial is, in the colour of its verdict.
pub(in crate::cli) fn painted(trial: &v1::Trial, style: Style, text: &str) -> Painted {
    match trial.verdict() {
        Verdict::Unspecified => Painted::plain(text),
        verdict => style.by_state(end_of(verdict), text),
    }
}

/// The table; nothing for a build with one trial.
pub(in crate::cli) fn write_table(out: &mut Screen, build: &v1::Build, style: Style) {
    let trials = several(build);
    if trials.is_empty() {
        return;
    }
    out.blank();
    line!(out, style.bold("trials"), format_args!("  {} of {} passed", passed(trials), trials.len()));
    let paint = |trial: &v1::Trial, text: &str| painted(trial, style, text);
    out.append(&table::of(&LAYOUTS, trials, "none", style, paint));
}

/// What is to be known of each: first of those that did not pass.
pub(super) fn write_each(out: &mut Screen, build: &v1::Build, extent: Extent, style: Style) {
    let trials = several(build);
    let passed = |trial: &&v1::Trial| trial.verdict() == Verdict::Passed;
    // Of one that was never begun the table says all.
    let begun = |trial: &&v1::Trial| trial.state() != v1::TrialState::Skipped;
    for trial in trials.iter().filter(begun).filter(|trial| !passed(trial)) {
        write_one(out, trial, extent, style);
    }
    for trial in trials.iter().filter(passed) {
        write_one(out, trial, extent, style);
    }
}

fn write_one(out: &mut Screen, trial: &v1::Trial, extent: Extent, style: Style) {
    head(out, &format!("trial {}", trial.target), style);
    let state = painted(trial, style, &trial.state().word().to_uppercase()).bold(style);
    let needed = if trial.required { "" } else { ", not required" };
    line!(out, format_args!("  on cloud {}{needed}, attempt {}  ", trial.cloud, trial.attempt), state);
    if let Some(at) = &trial.retry_at {
        line!(out, format_args!("  the next attempt begins at {}", when::exact(Some(at))));
    }
    if let Some(failure) = &trial.failure {
        if failed_before(trial) {
            line!(out, "  the previous attempt errored:");
        }
        write_what_happened(out, "  ", failure, style);
        write_hint(out, failure, style);
        write_evidence(out, failure, style);
    }
    if trial.verdict() == Verdict::Passed {
        write_passed(out, trial, style);
    } else if trial.stages.iter().any(|stage| stage.started_at.is_some()) {
        write_stages(out, &trial.stages, style);
        let names = width_of_names(&trial.checks);
        for check in trial.checks.iter().filter(|check| check.outcome() != CheckOutcome::Unspecified) {
            write_check(out, check, names, "", style);
        }
        let not_run: Vec<&str> = trial
            .checks
            .iter()
            .filter(|check| check.outcome() == CheckOutcome::Unspecified)
            .map(|check| check.name.as_str())
            .collect();
        if !not_run.is_empty() {
            let over = trial.verdict() != Verdict::Unspecified;
            let what = if over { "  checks that did not run: " } else { "  checks pending: " };
            line!(out, what, not_run.join(", "));
        }
    }
    let details = extent == Extent::Details;
    if let Some(image) = trial.image.as_ref().filter(|_| details) {
        line!(out, format_args!("  image {}, id {}", image.name, image.id));
    }
    if let Some(server) = trial.server.as_ref().filter(|_| details) {
        line!(out, format_args!("  server {} ({}), id {}", server.name, server.flavor, server.id));
    }
    if let Some(agent) = &trial.agent {
        write_agent(out, "  ", agent, extent, style);
    }
}

/// Of a trial that passed: its stages' times and its checks' outcomes in a line each.
fn write_passed(out: &mut Screen, trial: &v1::Trial, style: Style) {
    let times = trial.stages.iter().filter(|stage| stage.started_at.is_some()).map(|stage| {
        let took = when::between(stage.started_at.as_ref(), stage.finished_at.as_ref());
        format!("{} {took}", stage.name)
    });
    line!(out, "  stages ", times.collect::<Vec<_>>().join(", "));
    let outcomes = trial.checks.iter().map(|check| {
        let optional = if check.required { "" } else { " (not required)" };
        let word =
            if check.outcome() == CheckOutcome::Unspecified { "not run" } else { check.outcome().word() };
        format!("{} {word}{optional}", check.name)
    });
    let outcomes = outcomes.collect::<Vec<_>>().join(", ");
    if !outcomes.is_empty() {
        line!(out, "  checks ", style.dim(&outcomes));
    }
}
