//! The parts of a build's page.

use image_manager_proto::counted;
use image_manager_proto::v1::{self, CheckOutcome, StageState};
use maud::{Markup, html};
use prost_types::Timestamp;
use serde_json::Value as Json;

use super::{figures, marks};
use crate::clock;
use crate::cloud::ResourceKind;
use crate::history::{Named as _, observations};
use crate::lifecycle::trials::{self, several};
use crate::lifecycle::{elements_by_source, parts_to_show, short_digest, state};
use crate::operator::quantity::Unit;
use crate::stage::Stage;

/// Width of the drawing that a stage's bar is in.
const WIDTH: f64 = 1000.0;
/// Narrowest bar: a stage that took no time is seen all the same.
const LEAST: f64 = 6.0;

/// The build's own stages: each with its time, as a bar below those before it.
pub(super) fn build_stages(build: &v1::Build) -> Markup {
    html! {
        section.panel #stages {
            div.panel-head { h2 { @if several(build).is_empty() { "Stages" } @else { "Build stages" } } }
            (stages(&build.stages, &Timeline::of(build), None))
        }
    }
}

/// Stages with their times; `target` is whose, where the build has several.
pub(super) fn stages(stages: &[v1::Stage], timeline: &Timeline, target: Option<&str>) -> Markup {
    // By this the script finds the stage whose progress it is told.
    let key = |stage: &v1::Stage| match target {
        Some(target) => format!("{target} {}", stage.name),
        None => stage.name.clone(),
    };
    html! {
        ol.stages {
            @for stage in stages {
                li class=(stage.state().word()) data-stage=(key(stage)) {
                    (marks::stage(stage.state()))
                    span.name { (stage.name.replace('_', " ")) span.sr-only { ", " (stage.state().word()) } }
                    (timeline.bar(stage))
                    span.took { (figures::span(stage.started_at.as_ref(), timeline.end_of(stage))) }
                    @if !stage.detail.is_empty() || stage.state() == StageState::Running {
                        // What the script has written there is of this state.
                        p.detail data-part=(stage.state().word()) { (stage.detail) }
                    }
                }
            }
        }
    }
}

/// The time from a build's first stage to its end, or to now, that the bars of its stages are drawn in.
pub(super) struct Timeline<'a> {
    began: Option<&'a Timestamp>,
    ended: Option<&'a Timestamp>,
    now: Timestamp,
}

impl<'a> Timeline<'a> {
    pub(super) fn of(build: &'a v1::Build) -> Self {
        let now = clock::timestamp_of(clock::now());
        Self { began: build.started_at.as_ref(), ended: build.finished_at.as_ref(), now }
    }

    /// A stage that never ended ended with its build.
    fn end_of<'b>(&self, stage: &'b v1::Stage) -> Option<&'b Timestamp>
    where
        'a: 'b,
    {
        stage.finished_at.as_ref().or(self.ended)
    }

    fn bar(&self, stage: &v1::Stage) -> Markup {
        let whole = figures::between(self.began, self.ended.or(Some(&self.now)));
        let whole = whole.unwrap_or_default().as_secs_f64().max(0.001);
        let before = figures::between(self.began, stage.started_at.as_ref());
        let took = figures::between(stage.started_at.as_ref(), self.end_of(stage).or(Some(&self.now)));
        let scale = |seconds: f64| (seconds / whole * WIDTH).clamp(0.0, WIDTH);
        html! {
            svg.bar viewBox={ "0 0 " (WIDTH) " 10" } preserveAspectRatio="none" aria-hidden="true" {
                rect.track x="0" y="4" width=(WIDTH) height="2" {}
                @if let (Some(before), Some(took)) = (before, took) {
                    @let width = scale(took.as_secs_f64()).max(LEAST);
                    @let x = scale(before.as_secs_f64()).min(WIDTH - width);
                    rect.piece x=(format!("{x:.1}")) y="0" width=(format!("{width:.1}")) height="10" rx="2" {}
                }
            }
        }
    }
}

/// The checks with what they observed; what failed is open.
pub(super) fn checks(build: &v1::Build) -> Markup {
    html! {
        section.panel #checks {
            div.panel-head {
                h2 { "Checks" }
                @if !build.checks.is_empty() { span.muted { (tally(&build.checks)) } }
            }
            @if build.checks.is_empty() {
                p.hint { "The schedule has no checks." }
            }
            (check_list(&build.checks, state::is_end(build.state()), ""))
        }
    }
}

/// Checks with what they observed; `whose` makes their ids unlike those of other trials.
pub(super) fn check_list(checks: &[v1::Check], ended: bool, whose: &str) -> Markup {
    html! { @for check in checks { (one_check(check, ended, whose)) } }
}

pub(super) fn tally(checks: &[v1::Check]) -> String {
    let passed = checks.iter().filter(|check| check.outcome() == CheckOutcome::Pass).count();
    format!("{passed} of {} passed", checks.len())
}

fn one_check(check: &v1::Check, ended: bool, whose: &str) -> Markup {
    let seen = check.observations.as_ref().map(observations::to_json).unwrap_or_default();
    let took = check.duration.and_then(|duration| std::time::Duration::try_from(duration).ok());
    let open = matches!(check.outcome(), CheckOutcome::Fail | CheckOutcome::Inconclusive);
    html! {
        details.check id={ "check-" (whose) (check.name) } open[open] {
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
                    @for (key, value) in fields { dt { (key.replace('_', " ")) } dd { (value_of(value, Unit::of(key, None))) } }
                }
            } @else {
                p.hint { "No observations." }
            }
        }
    }
}

/// An observed value for people: lists a line an item, the fields of an object one after the other. `unit` is what its numbers
/// count.
fn value_of(value: &Json, unit: Option<Unit>) -> Markup {
    html! {
        @match value {
            Json::Null => span.none { "–" },
            Json::String(text) => (text),
            Json::Array(items) if items.is_empty() => span.none { "none" },
            Json::Array(items) => @for item in items { div { (value_of(item, unit)) } },
            Json::Object(fields) => {
                @for (index, (key, value)) in fields.iter().enumerate() {
                    @if index > 0 { " · " }
                    span.muted { (key.replace('_', " ")) } " " (value_of(value, Unit::of(key, unit)))
                }
            },
            Json::Number(number) => {
                @match unit.and_then(|unit| unit.write(number)) {
                    Some(told) => span.num title=(number) { (told) },
                    None => span.num { (number_of(number)) },
                }
            },
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
                    dt { "file size" } dd { span.num { (figures::size(image.size_bytes)) } }
                    dt { "disk size" } dd { span.num { (figures::size(image.virtual_size_bytes)) } }
                    @if !image.sha512.is_empty() {
                        dt { "sha512" } dd { code.hash { (image.sha512) } (copy(&image.sha512, "Copy the hash")) }
                    }
                }
            } @else if let Some(image) = trials::image(build) {
                dl.facts {
                    dt { "file size" } dd { span.num { (figures::size(image.size_bytes)) } }
                    dt { "disk size" } dd { span.num { (figures::size(image.virtual_size_bytes)) } }
                    dt { "sha512" } dd { code.hash { (image.sha512) } (copy(&image.sha512, "Copy the hash")) }
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
                    @if let Some(attached) = attach_time(&build.stages, build.agent.as_ref()) {
                        dt { "boot to agent" } dd { span.num { (figures::took(attached)) } }
                    }
                    @if let Some(agent) = &build.agent { (agent_rows(agent, "removal")) }
                }
            }
        }
    }
}

/// The agent's coming and going; `id` is that of the list of its paths.
pub(super) fn agent_rows(agent: &v1::Agent, id: &str) -> Markup {
    html! {
        dt { "agent" } dd { (agent.version) ", attached " (figures::instant(agent.attached_at.as_ref())) }
        dt { "removal" }
        dd {
            @match &agent.removal {
                Some(removal) => {
                    @if removal.complete { "removed itself completely" } @else { strong.bad-text { "did not remove itself completely" } }
                    details id=(id) {
                        summary { (counted(removal.paths.len(), "path")) }
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
pub(super) fn attach_time(stages: &[v1::Stage], agent: Option<&v1::Agent>) -> Option<std::time::Duration> {
    let booting = stages.iter().find(|stage| stage.name == Stage::Booting.word())?;
    let attached = agent?.attached_at.as_ref();
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
    use serde_json::json;

    use super::*;

    #[test]
    fn observations_are_told_in_peoples_units_and_as_they_were_made() {
        let seen = json!({ "free_bytes": 325_058_560, "stage_seconds": { "init": 12.25 }, "exit_code": 0 });
        let check = v1::Check { observations: Some(observations::from_json(&seen)), ..v1::Check::default() };
        let page = one_check(&check, true, "").into_string();
        for part in [
            "<dt>free bytes</dt><dd><span class=\"num\" title=\"325058560\">310.0 MiB</span></dd>",
            "<span class=\"muted\">init</span> <span class=\"num\" title=\"12.25\">12 s</span>",
            "<dt>exit code</dt><dd><span class=\"num\">0</span></dd>",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }
}
