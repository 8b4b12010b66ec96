//! The trials on the page of a build that has several: a table that says which did what, then each by itself.

use image_manager_proto::v1;
use maud::{Markup, html};

use super::build_failure::failure_of;
use super::build_parts::{Timeline, agent_rows, attach_time, check_list, stages, tally};
use super::log::address;
use super::log_file::Log;
use super::{figures, marks};
use crate::lifecycle::state::trial::is_end;
use crate::lifecycle::trials::{controls, failed_before, passed, said_of_target, several, span};

/// Which did what, at a glance; nothing for a build with one trial.
pub(super) fn table(build: &v1::Build) -> Markup {
    let trials = several(build);
    html! {
        @if !trials.is_empty() {
            section.panel #trials aria-label="Trials" {
                div.panel-head { h2 { "Trials" } span.muted { (passed(trials)) " of " (trials.len()) " passed" } }
                table.trials {
                    thead {
                        tr {
                            th scope="col" { "State" }
                            th scope="col" { "Target" }
                            th scope="col" { "Cloud" }
                            th scope="col" { "Reason" }
                            th.right scope="col" { "Duration" }
                            th.right.wide scope="col" { "Attempt" }
                            th.right.wide scope="col" { "Log" }
                        }
                    }
                    tbody { @for (place, trial) in trials.iter().enumerate() { (row(build, trial, place)) } }
                }
            }
        }
    }
}

fn row(build: &v1::Build, trial: &v1::Trial, place: usize) -> Markup {
    let (from, to) = span(trial);
    html! {
        tr data-part=(trial.target) {
            td { (marks::trial(trial.state())) }
            td {
                @if trial.state() == v1::TrialState::Skipped { (trial.target) }
                @else { a href={ "#trial-" (place) } { (trial.target) } }
                @if !trial.required { " " span.tag { "not required" } }
            }
            td.where { (trial.cloud) }
            td.why {
                @if let Some(at) = &trial.retry_at {
                    "next attempt " (figures::due(crate::clock::utc(at)))
                } @else if trial.reason.is_empty() || failed_before(trial) {
                    span.none { "–" }
                } @else {
                    (marks::why_trial(trial))
                }
            }
            td.right { (figures::span(from, to)) }
            td.right.wide.num { (trial.attempt) }
            td.right.wide { a href=(address(&build.id, Log::Console, Some(&trial.target), "#log")) { "console" } }
        }
    }
}

/// What other images said of the targets.
pub(super) fn control_boots(build: &v1::Build) -> Markup {
    html! {
        @if controls(build).next().is_some() {
            section.failure.off aria-labelledby="controls" {
                h2 #controls { "Control boots" }
                @for (target, control) in controls(build) {
                    p.message { strong { (target) ": " } (said_of_target(control)) }
                }
            }
        }
    }
}

/// Each by itself: why it did not pass, its stages and checks, its server and agent.
pub(super) fn each(build: &v1::Build) -> Markup {
    let trials = several(build);
    html! {
        @if !trials.is_empty() {
            div #each {
                @for (place, trial) in trials.iter().enumerate() {
                    // Of one that was never begun the table says all.
                    @if trial.state() != v1::TrialState::Skipped { (one(build, trial, place)) }
                }
            }
        }
    }
}

fn one(build: &v1::Build, trial: &v1::Trial, place: usize) -> Markup {
    let told = build.failure.as_ref().map(|failure| failure.hint.as_str());
    html! {
        section.panel.trial id={ "trial-" (place) } aria-labelledby={ "trial-name-" (place) } {
            div.panel-head {
                h2 id={ "trial-name-" (place) } { (trial.target) }
                (marks::trial(trial.state()))
                span.muted {
                    (trial.cloud)
                    @if !trial.required { ", not required" }
                    @if trial.attempt > 1 { ", attempt " (trial.attempt) }
                }
                span.spacer {}
                span.actions {
                    a href=(address(&build.id, Log::Console, Some(&trial.target), "#log")) { "Console" }
                    a href=(address(&build.id, Log::Agent, Some(&trial.target), "#log")) { "Agent" }
                }
            }
            @if let Some(failure) = &trial.failure {
                div.said { (failure_of(trial, failure, failed_before(trial), told)) }
            }
            (stages(&trial.stages, &Timeline::of(build), Some(&trial.target)))
            @if !trial.checks.is_empty() {
                div.sub-head { h3 { "Checks" } span.muted { (tally(&trial.checks)) } }
                (check_list(&trial.checks, is_end(trial.state()), &format!("{place}-")))
            }
            (facts(trial, place))
        }
    }
}

/// The image, the server and the agent of a trial.
fn facts(trial: &v1::Trial, place: usize) -> Markup {
    html! {
        @if trial.image.is_some() || trial.server.is_some() {
            dl.facts {
                @if let Some(image) = &trial.image {
                    dt { "image" } dd { code.wrap { (image.name) } " " span.muted { "id " (image.id) } }
                }
                @if let Some(server) = &trial.server {
                    dt { "server" } dd { (server.flavor) ", " span.muted { "id " (server.id) } }
                    @if let Some(attached) = attach_time(&trial.stages, trial.agent.as_ref()) {
                        dt { "boot to agent" } dd { span.num { (figures::took(attached)) } }
                    }
                }
                @if let Some(agent) = &trial.agent { (agent_rows(agent, &format!("removal-{place}"))) }
            }
        }
    }
}
