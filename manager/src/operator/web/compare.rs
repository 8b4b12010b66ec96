//! `/compare?a=&b=`: what differs between two builds; without `a`, since the last good one.

use std::time::Duration;

use axum::extract::State;
use image_manager_proto::counted;
use image_manager_proto::v1;
use maud::{Markup, html};
use serde::Deserialize;

use super::asked::Asked;
use super::build_parts::attach_time;
use super::error::{Answer, Refusal};
use super::layout::{Page, Section};
use super::{Web, figures, marks};
use crate::lifecycle::trials;
use crate::lifecycle::{compare, short_digest};
use crate::operator::access::Caller;

/// Packages that a page shows.
const PACKAGES: usize = 2000;

/// The two builds. Without the first it is the last good one before the second.
#[derive(Debug, Deserialize)]
pub(super) struct Parameters {
    #[serde(default)]
    a: String,
    #[serde(default)]
    b: String,
}

pub(super) async fn page(
    State(web): State<Web>,
    caller: Caller,
    Asked(parameters): Asked<Parameters>,
) -> Answer {
    if parameters.b.is_empty() {
        return Err(Refusal::bad_request(
            "name a build to compare with the last good one before it, /compare?b=BUILD; or two builds, \
             /compare?a=BUILD&b=BUILD; or choose them on /builds",
        ));
    }
    let history = web.manager.history();
    let (a, b) = history.resolve_pair(&parameters.a, &parameters.b).await?;
    let found = compare(history, &web.manager.settings().state, &a, &b).await?;
    let (Some(a), Some(b)) = (&found.a, &found.b) else {
        return Err(Refusal::not_found("one of the builds no longer exists"));
    };
    let page = Page {
        title: format!("Compare {} and {}", figures::short(&a.id), figures::short(&b.id)),
        section: Section::Builds,
        events: None,
        login: caller.is_browser(),
    };
    let body = html! {
        div.page-head {
            div {
                p.crumbs { a href="/builds" { "Builds" } " / Compare" }
                h1 {
                    @if a.schedule == b.schedule { "Two builds of " (a.schedule) }
                    @else { "Builds of " (a.schedule) " and " (b.schedule) }
                }
            }
            div.actions { a.button href={ "/compare?a=" (b.id) "&b=" (a.id) } { "Swap" } }
        }
        @for note in &found.notes { p.notice-line.warn { (note) } }
        section.panel { (side_by_side(&found, a, b)) }
        (definition(&found))
        (packages(&found))
    };
    Ok(page.render(&body))
}

/// A row of the comparison.
struct Row {
    name: String,
    a: Markup,
    b: Markup,
    change: Markup,
}

fn side_by_side(found: &v1::CompareBuildsResponse, a: &v1::Build, b: &v1::Build) -> Markup {
    html! {
        div.table-box tabindex="0" role="region" aria-label="Side by side" {
            table.compare {
                thead { tr { th scope="col" { span.sr-only { "What" } } (build_head("A", a)) (build_head("B", b)) th.right scope="col" { "Change" } } }
                @for (title, rows) in [("Build", outcome(a, b)), ("Image", image(a, b)), ("Trials", trials_of(found)), ("Times", times(found, a, b)), ("Checks", checks(a, b))] {
                    @if !rows.is_empty() {
                        tbody {
                            tr.group { th scope="rowgroup" colspan="4" { (title) } }
                            @for row in &rows {
                                tr { th scope="row" { (row.name) } td { (row.a) } td { (row.b) } td.right { (row.change) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn build_head(letter: &str, build: &v1::Build) -> Markup {
    html! {
        th scope="col" {
            span.muted { (letter) } " " a href={ "/builds/" (build.id) } title=(build.id) { code { (figures::short(&build.id)) } }
            div.muted { (figures::instant(build.created_at.as_ref())) }
        }
    }
}

fn outcome(a: &v1::Build, b: &v1::Build) -> Vec<Row> {
    let reason = |build: &v1::Build| html! { @if build.reason.is_empty() { span.none { "–" } } @else { (marks::reason(&build.reason)) } };
    vec![
        Row {
            name: "state".to_owned(),
            a: marks::badge(a.state()),
            b: marks::badge(b.state()),
            change: differs(a.state() != b.state()),
        },
        Row { name: "reason".to_owned(), a: reason(a), b: reason(b), change: differs(a.reason != b.reason) },
    ]
}

fn image(a: &v1::Build, b: &v1::Build) -> Vec<Row> {
    let row = |name: &str, of: fn(&v1::Image) -> u64| {
        let (a, b) = (trials::image(a).map(of), trials::image(b).map(of));
        let show = |bytes: Option<u64>| html! { @if let Some(bytes) = bytes { span.num { (figures::size(bytes)) } } @else { span.none { "–" } } };
        Row { name: name.to_owned(), a: show(a), b: show(b), change: change_of_size(a, b) }
    };
    let hash = |build: &v1::Build| trials::image(build).map(|image| image.sha512.clone()).unwrap_or_default();
    let show = |hash: &str| html! { @if let Some(start) = hash.get(..12) { code title=(hash) { (start) "…" } } @else { span.none { "–" } } };
    let (hash_a, hash_b) = (hash(a), hash(b));
    vec![
        row("file size", |image| image.size_bytes),
        row("disk size", |image| image.virtual_size_bytes),
        Row {
            name: "sha512".to_owned(),
            a: show(&hash_a),
            b: show(&hash_b),
            change: differs(hash_a != hash_b),
        },
    ]
}

fn times(found: &v1::CompareBuildsResponse, a: &v1::Build, b: &v1::Build) -> Vec<Row> {
    let row = |name: String, a: Option<Duration>, b: Option<Duration>| Row {
        name,
        a: duration(a),
        b: duration(b),
        change: change_of_time(a, b),
    };
    let known = |duration: Option<prost_types::Duration>| duration.and_then(|d| Duration::try_from(d).ok());
    let attached = |build: &v1::Build| attach_time(&build.stages, build.agent.as_ref());
    let whole = |build: &v1::Build| figures::between(build.started_at.as_ref(), build.finished_at.as_ref());
    let mut rows = vec![row("whole build".to_owned(), whole(a), whole(b))];
    rows.extend(found.stages.iter().map(|stage| {
        row(named(&stage.target, &stage.name), known(stage.duration_a), known(stage.duration_b))
    }));
    if found.trials.is_empty() {
        rows.push(row("boot to agent".to_owned(), attached(a), attached(b)));
    }
    for trial in &found.trials {
        rows.push(row(named(&trial.target, "boot to agent"), known(trial.boot_a), known(trial.boot_b)));
    }
    rows
}

/// How the trials ended, where either build has several.
fn trials_of(found: &v1::CompareBuildsResponse) -> Vec<Row> {
    let show = |state: v1::TrialState, reason: &str| {
        html! {
            @if state == v1::TrialState::Unspecified { span.none { "no trial" } } @else { (marks::trial(state)) }
            @if !reason.is_empty() { " " (marks::reason(reason)) }
        }
    };
    let row = |trial: &v1::TrialChange| Row {
        name: trial.target.clone(),
        a: show(trial.state_a(), &trial.reason_a),
        b: show(trial.state_b(), &trial.reason_b),
        change: differs(trial.state_a != trial.state_b || trial.reason_a != trial.reason_b),
    };
    found.trials.iter().map(row).collect()
}

/// Whose it is, where there are several.
fn named(target: &str, name: &str) -> String {
    let name = name.replace('_', " ");
    if target.is_empty() { name } else { format!("{target}: {name}") }
}

/// The checks of both builds, by target where either has several.
fn checks(a: &v1::Build, b: &v1::Build) -> Vec<Row> {
    let by_target = !(trials::several(a).is_empty() && trials::several(b).is_empty());
    let all = |build: &v1::Build| -> Vec<(String, v1::CheckOutcome)> {
        let each = build.trials.iter().flat_map(|trial| trial.checks.iter().map(move |check| (trial, check)));
        let whose = |trial: &v1::Trial| if by_target { trial.target.clone() } else { String::new() };
        each.map(|(trial, check)| (named(&whose(trial), &check.name), check.outcome())).collect()
    };
    let (of_a, of_b) = (all(a), all(b));
    let mut names: Vec<&str> = of_a.iter().chain(&of_b).map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let find = |all: &[(String, v1::CheckOutcome)], name: &str| {
        all.iter().find(|(other, _)| other == name).map(|(_, outcome)| *outcome)
    };
    let show = |outcome: Option<v1::CheckOutcome>| html! { @if let Some(outcome) = outcome { (marks::check(outcome)) } @else { span.none { "not requested" } } };
    let row = |name: &str| {
        let (a, b) = (find(&of_a, name), find(&of_b, name));
        Row { name: name.to_owned(), a: show(a), b: show(b), change: differs(a != b) }
    };
    names.into_iter().map(row).collect()
}

fn duration(duration: Option<Duration>) -> Markup {
    html! { @if let Some(duration) = duration { span.num { (figures::took(duration)) } } @else { span.none { "–" } } }
}

fn differs(yes: bool) -> Markup {
    html! { @if yes { strong { "differs" } } @else { span.none { "same" } } }
}

fn change_of_size(a: Option<u64>, b: Option<u64>) -> Markup {
    html! {
        @match (a, b) {
            (Some(a), Some(b)) if a == b => span.none { "same" },
            (Some(a), Some(b)) => span.num { (sign(b > a)) (figures::size(a.abs_diff(b))) },
            _ => span.none { "–" },
        }
    }
}

fn change_of_time(a: Option<Duration>, b: Option<Duration>) -> Markup {
    html! {
        @match (a, b) {
            (Some(a), Some(b)) if a.abs_diff(b) < Duration::from_millis(50) => span.none { "same" },
            (Some(a), Some(b)) => span.num { (sign(b > a)) (figures::took(a.abs_diff(b))) },
            _ => span.none { "–" },
        }
    }
}

fn sign(more: bool) -> &'static str {
    if more { "+" } else { "−" }
}

/// What the images were defined by, as far as it differs.
fn definition(found: &v1::CompareBuildsResponse) -> Markup {
    if found.definition_a.is_none() || found.definition_b.is_none() {
        return html! {};
    }
    html! {
        section.panel {
            div.panel-head {
                h2 { "Definition" }
                span.muted {
                    (counted(found.definition.len(), "part"))
                    @if found.definition.len() == 1 { " differs" } @else { " differ" }
                }
            }
            @if found.definition.is_empty() {
                p.hint { "Both builds have the same definition: elements, settings, files and programs." }
            } @else {
                div.table-box tabindex="0" role="region" aria-label="Definition" {
                    table.packages {
                        thead { tr { th scope="col" { "Part" } th scope="col" { "A" } th scope="col" { "B" } th.right scope="col" { "Change" } } }
                        tbody { @for change in &found.definition { (definition_change(change)) } }
                    }
                }
            }
        }
    }
}

fn definition_change(change: &v1::DefinitionChange) -> Markup {
    let said = |part: Option<&v1::DefinitionPart>| {
        html! {
            @match part {
                None => span.none { "–" },
                Some(part) => {
                    @if !part.value.is_empty() { code title=(part.value) { (short_digest(&part.value)) } " " }
                    span.muted { (part.source) }
                }
            }
        }
    };
    html! {
        tr {
            th scope="row" { (change.kind) " " (change.name) }
            td { (said(change.a.as_ref())) }
            td { (said(change.b.as_ref())) }
            td.right { (kind_of_change(change.a.is_none(), change.b.is_none())) }
        }
    }
}

fn kind_of_change(added: bool, removed: bool) -> Markup {
    html! {
        @if added { span.outcome.good { "added" } }
        @else if removed { span.outcome.bad { "removed" } }
        @else { span.muted { "changed" } }
    }
}

fn packages(found: &v1::CompareBuildsResponse) -> Markup {
    let (Some(count_a), Some(count_b)) = (found.packages_a, found.packages_b) else { return html! {} };
    let changes = &found.packages;
    let added = changes.iter().filter(|change| change.version_a.is_empty()).count();
    let removed = changes.iter().filter(|change| change.version_b.is_empty()).count();
    html! {
        section.panel {
            div.panel-head {
                h2 { "Packages" }
                span.muted { (added) " added, " (removed) " removed, " (changes.len() - added - removed) " changed; " (count_a) " in A, " (count_b) " in B" }
            }
            @if changes.is_empty() {
                p.hint { "Both images have the same packages in the same versions." }
            } @else {
                div.table-box tabindex="0" role="region" aria-label="Packages" {
                    table.packages {
                        thead { tr { th scope="col" { "Package" } th scope="col" { "A" } th scope="col" { "B" } th.right scope="col" { "Change" } } }
                        tbody { @for change in changes.iter().take(PACKAGES) { (package(change)) } }
                    }
                }
                @if changes.len() > PACKAGES {
                    p.hint { "The first " (PACKAGES) " are shown; " code { "image-manager compare" } " prints all of them." }
                }
            }
        }
    }
}

fn package(change: &v1::PackageChange) -> Markup {
    let version = |version: &str| html! { @if version.is_empty() { span.none { "–" } } @else { code.wrap { (version) } } };
    html! {
        tr {
            th scope="row" { (change.package) }
            td { (version(&change.version_a)) }
            td { (version(&change.version_b)) }
            td.right {
                (kind_of_change(change.version_a.is_empty(), change.version_b.is_empty()))
            }
        }
    }
}
