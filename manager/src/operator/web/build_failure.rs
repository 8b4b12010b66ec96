//! Why a build or a trial did not pass: the reason, what proves it, what to do next, and since when.

use image_manager_proto::v1;
use maud::{Markup, html};

use super::build_parts::copy;
use super::{figures, marks};
use crate::history::{RelatedBuild, RelatedBuilds};
use crate::lifecycle::trials::blamed;

/// Why it did not pass, and what proves it.
pub(super) fn failure(build: &v1::Build, failure: &v1::Failure, related: &RelatedBuilds) -> Markup {
    // The trial's own section has what proves it.
    let of_trial = blamed(build, failure).is_some();
    let says = match build.verdict() {
        v1::Verdict::Failed => "The image is bad",
        v1::Verdict::Errored => "This says nothing about the image",
        _ => "The build ended without a verdict",
    };
    html! {
        section class={ "failure " (tone(build.verdict())) } aria-labelledby="why" {
            h2 #why { (marks::reason(&failure.reason)) " while " (failure.stage.replace('_', " ")) }
            p.message { (failure.message) }
            p.muted { (says) "." }
            @if !failure.hint.is_empty() {
                p.next { strong { "Next:" } " " (marks::sentence(&failure.hint)) }
            }
            (since(build, related))
            @if !of_trial { (evidence(failure, "Evidence")) }
            p.command { code { "image-manager show " (build.id) } (copy(&format!("image-manager show {}", build.id), "Copy the command")) }
        }
    }
}

/// Since when the schedule's builds do not pass.
fn since(build: &v1::Build, related: &RelatedBuilds) -> Markup {
    let link = |beside: &RelatedBuild| {
        let at = chrono::DateTime::from_timestamp_millis(beside.created_ms);
        html! { a href={ "/builds/" (beside.id) } { (figures::short(&beside.id)) } " from " (figures::exact(at)) }
    };
    let after = if related.last_good.is_some() { " since then" } else { "" };
    html! {
        @if !build.verification {
            p.muted {
                @match &related.last_good {
                    Some(good) => { "Last good build: " (link(good)) "." },
                    None => "No build of this schedule has passed before.",
                }
                @match related.first_bad.as_ref() {
                    Some(first) if first.id == build.id => { " This is the first build" (after) " that did not pass." },
                    Some(first) => { " The first build" (after) " that did not pass: " (link(first)) "." },
                    None => {},
                }
            }
        }
    }
}

/// Why one of several trials did not pass. What to do next is not said where it is `told` already.
pub(super) fn failure_of(
    trial: &v1::Trial,
    failure: &v1::Failure,
    of_before: bool,
    told: Option<&str>,
) -> Markup {
    html! {
        div class={ "failure " (tone(trial.verdict())) } {
            @if of_before { p.muted { "The previous attempt errored." } }
            h3 { (marks::reason(&failure.reason)) " while " (failure.stage.replace('_', " ")) }
            p.message { (failure.message) }
            @if !failure.hint.is_empty() && told != Some(failure.hint.as_str()) {
                p.next { strong { "Next:" } " " (marks::sentence(&failure.hint)) }
            }
            (evidence(failure, &format!("Evidence for {}", trial.target)))
        }
    }
}

fn evidence(failure: &v1::Failure, label: &str) -> Markup {
    html! {
        @if !failure.evidence.is_empty() {
            h3 { "Evidence" }
            pre.evidence role="region" tabindex="0" aria-label=(label) { (failure.evidence) }
        }
    }
}

fn tone(verdict: v1::Verdict) -> &'static str {
    match verdict {
        v1::Verdict::Failed => "bad",
        v1::Verdict::Errored => "warn",
        _ => "off",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_to_do_next() {
        let said = |reason: &str, hint: &str| {
            let failed =
                v1::Failure { reason: reason.to_owned(), hint: hint.to_owned(), ..v1::Failure::default() };
            failure(&v1::Build::default(), &failed, &RelatedBuilds::default()).into_string()
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
    fn a_failure_says_since_when_builds_do_not_pass() {
        let beside =
            |id: &str| Some(RelatedBuild { id: id.to_owned(), created_ms: 1_790_000_000_000, took_ms: None });
        let said = |related: &RelatedBuilds| {
            let build = v1::Build { id: "b".to_owned(), ..v1::Build::default() };
            failure(&build, &v1::Failure::default(), related).into_string()
        };
        let page = said(&RelatedBuilds {
            last_good: beside("good"),
            first_bad: beside("first"),
            ..RelatedBuilds::default()
        });
        assert!(page.contains("Last good build: <a href=\"/builds/good\">"), "{page}");
        assert!(page.contains("did not pass: <a href=\"/builds/first\">"), "{page}");
        let page = said(&RelatedBuilds { first_bad: beside("b"), ..RelatedBuilds::default() });
        assert!(page.contains("has passed before.") && page.contains("the first build that did"), "{page}");
        assert!(page.contains("<code>image-manager show b</code>"), "{page}");
    }

    #[test]
    fn a_warning_is_shown_as_it_is() {
        let build = v1::Build { warnings: vec!["it is <btrfs>".to_owned()], ..v1::Build::default() };
        let page = warnings(&build).into_string();
        assert!(page.contains(r#"<p class="message">it is &lt;btrfs&gt;</p>"#), "{page}");
    }
}
