//! The parts of a build's page.

use image_manager_proto::v1::{self, CheckOutcome, StageState};
use maud::{Markup, html};
use serde_json::Value as Json;

use super::{figures, marks};
use crate::cloud::ResourceKind;
use crate::history::{Named as _, observations};
use crate::lifecycle::{elements_by_source, parts_to_show, short_digest, state};
use crate::stage::Stage;

/// Width of the drawing that a stage's bar is in.
const ROAD: f64 = 1000.0;
/// Narrowest bar: a stage that took no time is seen all the same.
const LEAST: f64 = 6.0;

/// Why it did not pass, and what proves it.
pub(super) fn failure(build: &v1::Build, failure: &v1::Failure) -> Markup {
    let tone = match build.verdict() {
        v1::Verdict::Failed => "bad",
        v1::Verdict::Errored => "warn",
        _ => "off",
    };
    let says = match build.verdict() {
        v1::Verdict::Failed => "The image is bad",
        v1::Verdict::Errored => "This says nothing about the image",
        _ => "It was ended",
    };
    html! {
        section class={ "failure " (tone) } aria-labelledby="why" {
            h2 #why { (marks::reason(&failure.reason)) " while " (failure.stage.replace('_', " ")) }
            p.message { (failure.message) }
            p.muted { (says) "." }
            @if !failure.hint.is_empty() {
                p.next { strong { "Next:" } " " (marks::sentence(&failure.hint)) }
            }
            @if !failure.evidence.is_empty() {
                h3 { "Evidence" }
                pre.evidence tabindex="0" aria-label="Evidence" { (failure.evidence) }
            }
        }
    }
}

/// What should be known of the image although it is no failure.
pub(super) fn warnings(build: &v1::Build) -> Markup {
    html! {
        section class="failure warn" aria-labelledby="warnings" {
            h2 #warnings { "Warning" }
            @for warning in &build.warnings { p.message { (warning) } }
        }
    }
}

/// The road: each stage with its time, as a bar below those before it.
pub(super) fn road(build: &v1::Build) -> Markup {
    let whole = whole(build);
    html! {
        section.panel #road data-swap {
            div.panel-head { h2 { "Road" } }
            ol.road {
                @for stage in &build.stages {
                    li class=(stage.state().word()) data-stage=(stage.name) {
                        (marks::stage(stage.state()))
                        span.name { (stage.name.replace('_', " ")) span.sr-only { ", " (stage.state().word()) } }
                        (bar(build, stage, whole))
                        span.took { (figures::span(stage.started_at.as_ref(), end_of(build, stage))) }
                        @if stage.state() == StageState::Running {
                            progress max="1" aria-label={ "Progress of " (stage.name.replace('_', " ")) } {}
                        }
                        @if !stage.detail.is_empty() || stage.state() == StageState::Running {
                            p.detail { (stage.detail) }
                        }
                    }
                }
            }
        }
    }
}

/// A stage that never ended ended with its build.
fn end_of<'a>(build: &'a v1::Build, stage: &'a v1::Stage) -> Option<&'a prost_types::Timestamp> {
    stage.finished_at.as_ref().or(build.finished_at.as_ref())
}

/// Seconds from the first stage's beginning to the last one's end, or to now.
fn whole(build: &v1::Build) -> f64 {
    let now = prost_types::Timestamp::from(std::time::SystemTime::now());
    let end = build.finished_at.as_ref().unwrap_or(&now);
    figures::between(build.started_at.as_ref(), Some(end)).unwrap_or_default().as_secs_f64().max(0.001)
}

fn bar(build: &v1::Build, stage: &v1::Stage, whole: f64) -> Markup {
    let before = figures::between(build.started_at.as_ref(), stage.started_at.as_ref());
    let now = prost_types::Timestamp::from(std::time::SystemTime::now());
    let took = figures::between(stage.started_at.as_ref(), end_of(build, stage).or(Some(&now)));
    let scale = |seconds: f64| (seconds / whole * ROAD).clamp(0.0, ROAD);
    html! {
        svg.bar viewBox={ "0 0 " (ROAD) " 10" } preserveAspectRatio="none" aria-hidden="true" {
            rect.track x="0" y="4" width=(ROAD) height="2" {}
            @if let (Some(before), Some(took)) = (before, took) {
                @let width = scale(took.as_secs_f64()).max(LEAST);
                @let x = scale(before.as_secs_f64()).min(ROAD - width);
                rect.piece x=(format!("{x:.1}")) y="0" width=(format!("{width:.1}")) height="10" rx="2" {}
            }
        }
    }
}

/// The checks with what they observed; what failed is open.
pub(super) fn checks(build: &v1::Build) -> Markup {
    html! {
        section.panel #checks data-swap {
            div.panel-head {
                h2 { "Checks" }
                @if !build.checks.is_empty() { span.muted { (tally(build)) } }
            }
            @if build.checks.is_empty() {
                p.hint { "The schedule asks for no checks." }
            }
            @for check in &build.checks { (one_check(check, state::is_end(build.state()))) }
        }
    }
}

fn tally(build: &v1::Build) -> String {
    let passed = build.checks.iter().filter(|check| check.outcome() == CheckOutcome::Pass).count();
    format!("{passed} of {} passed", build.checks.len())
}

fn one_check(check: &v1::Check, ended: bool) -> Markup {
    let seen = check.observations.as_ref().map(observations::to_json).unwrap_or_default();
    let took = check.duration.and_then(|duration| std::time::Duration::try_from(duration).ok());
    let open = matches!(check.outcome(), CheckOutcome::Fail | CheckOutcome::Inconclusive);
    html! {
        details.check id={ "check-" (check.name) } open[open] {
            summary {
                @if check.outcome() == CheckOutcome::Unspecified && !ended { (marks::waiting()) }
                @else { (marks::check(check.outcome())) }
                strong { (check.name) }
                @if !check.required { span.tag { "not required" } }
                span.says { (check.summary) }
                span.took { @if let Some(took) = took { (figures::took(took)) } }
            }
            @if let Some(fields) = seen.as_object().filter(|fields| !fields.is_empty()) {
                dl.facts.seen {
                    @for (key, value) in fields { dt { (key.replace('_', " ")) } dd { (value_of(value)) } }
                }
            } @else {
                p.hint { "Nothing was observed yet." }
            }
        }
    }
}

/// An observed value for people: lists a line an item, nested objects as JSON.
fn value_of(value: &Json) -> Markup {
    html! {
        @match value {
            Json::Null => span.none { "–" },
            Json::String(text) => (text),
            Json::Array(items) if items.is_empty() => span.none { "none" },
            Json::Array(items) => @for item in items { div { (value_of(item)) } },
            Json::Object(fields) => {
                @for (index, (key, value)) in fields.iter().enumerate() {
                    @if index > 0 { " · " }
                    span.muted { (key.replace('_', " ")) } " " (value_of(value))
                }
            },
            Json::Number(number) => span.num { (number_of(number)) },
            other => span.num { (other) },
        }
    }
}

/// A number with two digits after the point at most.
fn number_of(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(value) if value.fract() != 0.0 => format!("{value:.2}"),
        _ => number.to_string(),
    }
}

/// What the image is, with its hash.
pub(super) fn image(build: &v1::Build) -> Markup {
    html! {
        section.panel #image {
            div.panel-head { h2 { "Image" } }
            @if let Some(image) = &build.image {
                dl.facts {
                    dt { "name" } dd { (image.name) }
                    dt { "id" } dd { code.wrap { (image.id) } }
                    dt { "file" } dd { span.num { (figures::size(image.size_bytes)) } }
                    dt { "disk" } dd { span.num { (figures::size(image.virtual_size_bytes)) } }
                    @if !image.sha512.is_empty() {
                        dt { "sha512" } dd { code.hash { (image.sha512) } (copy(&image.sha512, "Copy the hash")) }
                    }
                }
            } @else {
                p.hint { @if state::is_end(build.state()) { "No image was made." } @else { "Not made yet." } }
            }
        }
    }
}

/// What the image was defined by: what is the site's own, part by part.
pub(super) fn definition(build: &v1::Build) -> Markup {
    html! {
        @if !build.definition.is_empty() {
            section.panel #definition {
                div.panel-head { h2 { "Definition" } }
                dl.facts {
                    dt { "elements" } dd { (elements_by_source(&build.definition)) }
                    @for part in parts_to_show(&build.definition) {
                        dt { (part.kind) } dd { (part.name) " " code title=(part.value) { (short_digest(&part.value)) } }
                    }
                    dt { "sha256" } dd { code.hash { (build.definition_digest) } (copy(&build.definition_digest, "Copy the digest")) }
                }
            }
        }
    }
}

/// A button that the script makes work; without it there is none.
pub(super) fn copy(text: &str, label: &str) -> Markup {
    html! { button.copy type="button" hidden data-copy=(text) aria-label=(label) title=(label) { "Copy" } }
}

/// The server that booted it, and the agent's coming and going.
pub(super) fn server_and_agent(build: &v1::Build) -> Markup {
    html! {
        @if let Some(server) = &build.server {
            section.panel {
                div.panel-head { h2 { "Server" } }
                dl.facts {
                    dt { "flavor" } dd { (server.flavor) }
                    dt { "id" } dd { code.wrap { (server.id) } }
                    @if let Some(attached) = attach_time(build) {
                        dt { "boot to attach" } dd { span.num { (figures::took(attached)) } }
                    }
                    @if let Some(agent) = &build.agent { (agent_rows(agent)) }
                }
            }
        }
    }
}

fn agent_rows(agent: &v1::Agent) -> Markup {
    html! {
        dt { "agent" } dd { (agent.version) ", attached " (figures::instant(agent.attached_at.as_ref())) }
        dt { "removal" }
        dd {
            @match &agent.removal {
                Some(removal) => {
                    @if removal.complete { "removed itself completely" } @else { strong.bad-text { "could not remove all of itself" } }
                    details id="removal" {
                        summary { (removal.paths.len()) " paths" }
                        ul.paths {
                            @for path in &removal.paths {
                                li { code.wrap { (path.path) } " " span.muted { (path.fate().word()) @if !path.detail.is_empty() { ": " (path.detail) } } }
                            }
                        }
                    }
                },
                None => span.muted { "not reported" },
            }
        }
    }
}

/// From the server's creation until the agent attached.
pub(super) fn attach_time(build: &v1::Build) -> Option<std::time::Duration> {
    let booting = build.stages.iter().find(|stage| stage.name == Stage::Booting.word())?;
    let attached = build.agent.as_ref()?.attached_at.as_ref();
    figures::between(booting.started_at.as_ref(), attached)
}

/// What it made anywhere, and what became of each.
pub(super) fn resources(build: &v1::Build) -> Markup {
    html! {
        @if !build.resources.is_empty() {
            section.panel {
                div.panel-head { h2 { "Resources" } }
                ul.resources {
                    @for resource in &build.resources {
                        li {
                            span.kind { (resource.kind) }
                            span.where { (resource.cloud) }
                            span class={ "fate " (resource.state) } { (resource.state) }
                            @if let Some(kind) = ResourceKind::parse(&resource.kind) {
                                p.covers { (kind.covers(&resource.cloud)) }
                            }
                            code.wrap { (resource.name) }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_to_do_next() {
        let said = |reason: &str, hint: &str| {
            let failed =
                v1::Failure { reason: reason.to_owned(), hint: hint.to_owned(), ..v1::Failure::default() };
            failure(&v1::Build::default(), &failed).into_string()
        };
        let page = said("check_failed", "Read `logs --build` & mend it.");
        let next =
            "<p class=\"next\"><strong>Next:</strong> Read <code>logs --build</code> &amp; mend it.</p>";
        assert!(page.contains(next), "{page}");
        assert!(page.contains("<code title=\"A required check failed.\">check_failed</code>"), "{page}");
        // Of a history that another version has written.
        let page = said("of_<tomorrow>", "");
        assert!(page.contains("<code>of_&lt;tomorrow&gt;</code>") && !page.contains("Next"), "{page}");
    }

    #[test]
    fn a_warning_is_shown_as_it_is() {
        let build = v1::Build { warnings: vec!["it is <btrfs>".to_owned()], ..v1::Build::default() };
        let page = warnings(&build).into_string();
        assert!(page.contains(r#"<p class="message">it is &lt;btrfs&gt;</p>"#), "{page}");
    }
}
