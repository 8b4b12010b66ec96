//! Small drawings and badges: how a build, a stage or a check stands, in shape and word, not in colour alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use image_manager_proto::v1::{self, BuildState, CheckOutcome, StageState, TrialState};
use maud::{Markup, html};

use super::zone;
use crate::history::Named as _;
use crate::lifecycle::state::is_end;
use crate::lifecycle::trials;
use crate::reason::Reason;

/// The mark in the page's head.
pub(super) fn logo() -> Markup {
    html! {
        svg.logo viewBox="0 0 24 24" aria-hidden="true" {
            rect x="2.5" y="4.5" width="19" height="15" rx="3" {}
            path d="M7 12.2l3.2 3.2L17 8.8" {}
        }
    }
}

const CHECK: &str = "M4.5 8.4l2.4 2.4 4.6-5.2";
const CROSS: &str = "M5.2 5.2l5.6 5.6M10.8 5.2l-5.6 5.6";
const BANG: &str = "M8 4.3v4.4M8 11.3v.2";
const DASH: &str = "M5 8h6";
const CLOCK: &str = "M8 4.6V8l2.2 1.6";

/// A disc of 16 pixels with a sign; `class` gives its colour.
fn disc(class: &str, sign: Option<&str>) -> Markup {
    html! {
        svg class={ "mark " (class) } viewBox="0 0 16 16" aria-hidden="true" {
            circle cx="8" cy="8" r="7" {}
            @if let Some(sign) = sign { path d=(sign) {} }
        }
    }
}

/// The class that colours a state.
pub(super) fn tone(state: BuildState) -> &'static str {
    match state {
        BuildState::Succeeded | BuildState::Skipped => "good",
        BuildState::Failed => "bad",
        BuildState::Errored => "warn",
        BuildState::Cancelled => "off",
        BuildState::Queued => "wait",
        _ => "busy",
    }
}

/// A state for people: "cleaning up".
pub(super) fn words(state: BuildState) -> String {
    state.word().replace('_', " ")
}

/// A state as a badge.
pub(super) fn badge(state: BuildState) -> Markup {
    let sign = match state {
        BuildState::Succeeded => Some(CHECK),
        BuildState::Failed => Some(CROSS),
        BuildState::Errored => Some(BANG),
        BuildState::Cancelled | BuildState::Skipped => Some(DASH),
        BuildState::Queued => Some(CLOCK),
        _ => None,
    };
    html! {
        span class={ "badge " (tone(state)) } { (disc(tone(state), sign)) (words(state)) }
    }
}

/// How a trial stands, as a badge.
pub(super) fn trial(state: TrialState) -> Markup {
    let (tone, sign) = match state {
        TrialState::Succeeded => ("good", Some(CHECK)),
        TrialState::Failed => ("bad", Some(CROSS)),
        TrialState::Errored => ("warn", Some(BANG)),
        TrialState::Cancelled | TrialState::Skipped => ("off", Some(DASH)),
        TrialState::Waiting | TrialState::Unspecified => ("wait", Some(CLOCK)),
        _ => ("busy", None),
    };
    html! { span class={ "badge " (tone) } { (disc(tone, sign)) (state.word().replace('_', " ")) } }
}

/// A verdict as a badge.
pub(super) fn verdict(verdict: v1::Verdict) -> Markup {
    let (tone, sign) = match verdict {
        v1::Verdict::Passed => ("good", CHECK),
        v1::Verdict::Failed => ("bad", CROSS),
        v1::Verdict::Errored => ("warn", BANG),
        v1::Verdict::Unspecified => ("off", DASH),
    };
    html! { span class={ "badge " (tone) } { (disc(tone, Some(sign))) (verdict.word()) } }
}

/// How many of a build's trials passed, where its state does not say it.
pub(super) fn tally(build: &v1::Build) -> Markup {
    html! {
        @if let Some((passed, all)) = trials::tally(build) {
            span.tag title="Trials that passed" { (passed) " of " (all) }
        }
    }
}

/// The mark of a stage.
pub(super) fn stage(state: StageState) -> Markup {
    match state {
        StageState::Done => disc("good", Some(CHECK)),
        StageState::Failed => disc("bad", Some(CROSS)),
        StageState::Running => disc("busy", None),
        StageState::Skipped => disc("off", Some(DASH)),
        StageState::Pending | StageState::Unspecified => disc("idle", None),
    }
}

/// The mark of a check, with its word for who does not see it.
pub(super) fn check(outcome: CheckOutcome) -> Markup {
    let (class, sign, word) = match outcome {
        CheckOutcome::Pass => ("good", CHECK, "pass"),
        CheckOutcome::Fail => ("bad", CROSS, "fail"),
        CheckOutcome::Inconclusive => ("warn", BANG, "inconclusive"),
        CheckOutcome::Skipped => ("off", DASH, "skipped"),
        CheckOutcome::Unspecified => ("off", DASH, "not run"),
    };
    html! { span class={ "outcome " (class) } { (disc(class, Some(sign))) (word) } }
}

/// The mark of a check that is still to come.
pub(super) fn waiting() -> Markup {
    html! { span.outcome.idle { (disc("idle", None)) "pending" } }
}

/// A reason's word; what it means shows where one points at it. A word of another version stands alone.
pub(super) fn reason(word: &str) -> Markup {
    html! { code title=[Reason::parse(word).map(Reason::sentence)] { (word) } }
}

/// Why a build ended as it did, with the checks that failed: "check_failed: disk".
pub(super) fn why(build: &v1::Build) -> Markup {
    reason_with(&build.reason, build.failed_checks.iter().map(String::as_str))
}

/// The same of a trial.
pub(super) fn why_trial(trial: &v1::Trial) -> Markup {
    let failed = trial.checks.iter().filter(|check| check.required && check.outcome() == CheckOutcome::Fail);
    reason_with(&trial.reason, failed.map(|check| check.name.as_str()))
}

/// A reason with the first of the checks that failed, and how many more there are.
fn reason_with<'a>(word: &str, failed: impl Iterator<Item = &'a str>) -> Markup {
    let named = trials::named_checks(failed);
    html! {
        (reason(word))
        @if !named.is_empty() { ": " (named) }
    }
}

/// A sentence in which code stands in backquotes.
pub(super) fn sentence(text: &str) -> Markup {
    html! {
        @for (number, piece) in text.split('`').enumerate() {
            @if number % 2 == 0 { (piece) } @else { code { (piece) } }
        }
    }
}

/// The newest builds as a strip, oldest at the left. Height tells verdicts apart without colour.
pub(super) fn strip(builds: &[v1::Build]) -> Markup {
    html! {
        @if builds.is_empty() {
            span.none { "never built" }
        } @else {
            ol.strip aria-label="Recent builds, oldest first" {
                @for build in builds.iter().rev() {
                    @let state = build.state();
                    @let at = build.created_at.as_ref().and_then(crate::clock::utc);
                    @let when = at.map(zone::told).unwrap_or_default();
                    @let reason = if is_end(state) && !build.reason.is_empty() { format!(" ({})", build.reason) } else { String::new() };
                    @let label = format!("{}{reason}, {when}", words(state));
                    li data-part=(build.id) { a class=(tone(state)) href={ "/builds/" (build.id) } title=(label) aria-label=(label) {} }
                }
            }
        }
    }
}

/// The same as one picture, for lists of many schedules: small, and with one sentence for who does not see it.
pub(super) fn small_strip(builds: &[v1::Build]) -> Markup {
    /// Width of a build with its gap, and the height of all.
    const STEP: usize = 6;
    const HEIGHT: usize = 20;
    let mut bars: BTreeMap<&str, String> = BTreeMap::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (place, build) in builds.iter().rev().enumerate() {
        let tone = tone(build.state());
        let height = match tone {
            "bad" => HEIGHT,
            "warn" => 16,
            "off" => 6,
            _ => 12,
        };
        // A path takes far fewer bytes than an element for each build.
        let _ = write!(bars.entry(tone).or_default(), "M{} 20v-{height}", place * STEP + 2);
        *counts.entry(words(build.state())).or_default() += 1;
    }
    let counts: Vec<_> = counts.into_iter().map(|(words, count)| format!("{count} {words}")).collect();
    html! {
        @if !builds.is_empty() {
            svg.bars viewBox={ "0 0 " (builds.len() * STEP) " 20" } width=(builds.len() * STEP) height="20" role="img" aria-label={ "Recent builds: " (counts.join(", ")) } {
                @for (tone, path) in &bars { path class=(tone) d=(path) {} }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_name_the_checks_that_failed() {
        let said = |names: &[&str]| {
            let failed_checks = names.iter().map(|name| (*name).to_owned()).collect();
            let reason = "check_failed".to_owned();
            why(&v1::Build { reason, failed_checks, ..v1::Build::default() }).into_string()
        };
        assert!(said(&["disk"]).ends_with("</code>: disk"), "{}", said(&["disk"]));
        assert!(said(&["a", "b", "c", "<d>", "e"]).ends_with("</code>: a, b, c and 2 more"));
        assert!(said(&["<d>"]).ends_with(": &lt;d&gt;"));
        assert!(said(&[]).ends_with("check_failed</code>"));
    }

    #[test]
    fn a_trial_names_as_many_as_a_build() {
        let check = |name: &str, required, outcome: CheckOutcome| v1::Check {
            name: name.to_owned(),
            required,
            outcome: outcome.into(),
            ..v1::Check::default()
        };
        let mut checks: Vec<v1::Check> =
            ["a", "b", "c", "d", "e"].map(|name| check(name, true, CheckOutcome::Fail)).into();
        checks.push(check("not-required", false, CheckOutcome::Fail));
        checks.push(check("passed", true, CheckOutcome::Pass));
        let trial =
            v1::Trial { reason: "check_failed".to_owned(), checks: checks.clone(), ..v1::Trial::default() };
        let said = why_trial(&trial).into_string();
        assert!(said.ends_with("</code>: a, b, c and 2 more"), "{said}");
        let failed_checks = checks.iter().take(5).map(|check| check.name.clone()).collect();
        let build = v1::Build { reason: "check_failed".to_owned(), failed_checks, ..v1::Build::default() };
        assert_eq!(why(&build).into_string(), said);
    }

    #[test]
    fn a_small_strip_tells_each_build_once() {
        let build = |state: BuildState| v1::Build { state: state.into(), ..v1::Build::default() };
        let builds = [build(BuildState::Failed), build(BuildState::Succeeded), build(BuildState::Succeeded)];
        let strip = small_strip(&builds).into_string();
        assert!(strip.contains("aria-label=\"Recent builds: 1 failed, 2 succeeded\""), "{strip}");
        assert!(strip.contains("class=\"bad\" d=\"M14 20v-20\""), "the newest is at the right: {strip}");
        assert!(strip.contains("class=\"good\" d=\"M2 20v-12M8 20v-12\""), "{strip}");
        assert!(small_strip(&[]).into_string().is_empty());
    }
}
