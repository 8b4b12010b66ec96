//! How far a build is: one bar, by what the last good build of its schedule took.

use std::time::Duration;

use image_manager_proto::v1;
use maud::{Markup, html};
use prost_types::Timestamp;

use super::figures;
use crate::clock::{self, rfc3339, utc};
use crate::history::RelatedBuild;
use crate::lifecycle::state;

/// A build that is not over is never quite there.
const MOST: u64 = 99;

/// The bar of a build that is under way; nothing for others, and for one that waits or verifies again: how long that takes
/// is not known.
pub(super) fn bar(build: &v1::Build, last_good: Option<&RelatedBuild>) -> Markup {
    let running = !state::is_end(build.state()) && !build.verification;
    let began = build.started_at.as_ref().filter(|_| running);
    html! {
        div #progress {
            @if let Some(began) = began {
                section.panel.progress aria-label="Progress" { (of(began, last_good.and_then(|good| good.took_ms))) }
            }
        }
    }
}

fn of(began: &Timestamp, expected_ms: Option<i64>) -> Markup {
    let expected =
        expected_ms.and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms > 0).map(Duration::from_millis);
    let passed = utc(began).and_then(|began| (clock::now() - began).to_std().ok()).unwrap_or_default();
    html! {
        @match expected {
            Some(expected) => {
                progress max="100" value=(percent(passed, expected)) data-began=[utc(began).map(rfc3339)]
                    data-expected=(expected.as_secs().max(1)) aria-label="Build progress" {}
                p {
                    span.left { (left(passed, expected)) }
                    span.muted { " · the last good build took " (figures::took(expected)) }
                }
            },
            None => {
                progress aria-label="Build progress" {}
                p.muted { "The time left is unknown: no build of this schedule has passed yet." }
            },
        }
    }
}

fn percent(passed: Duration, expected: Duration) -> u64 {
    let percent = passed.as_millis().saturating_mul(100) / expected.as_millis().max(1);
    u64::try_from(percent).unwrap_or(MOST).min(MOST)
}

/// "43%, about 3 min left"; the script counts on in the same words.
fn left(passed: Duration, expected: Duration) -> String {
    let percent = percent(passed, expected);
    match expected.checked_sub(passed).as_ref().map(Duration::as_secs) {
        None | Some(0) => format!("{percent}%, longer than usual"),
        Some(seconds @ 1..60) => format!("{percent}%, about {seconds} s left"),
        Some(seconds) => format!("{percent}%, about {} min left", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_is_left_is_told_with_the_percentage() {
        let said = |passed, expected| left(Duration::from_secs(passed), Duration::from_secs(expected));
        assert_eq!(said(0, 600), "0%, about 10 min left");
        assert_eq!(said(258, 600), "43%, about 6 min left");
        assert_eq!(said(570, 600), "95%, about 30 s left");
        assert_eq!(said(601, 600), "99%, longer than usual");
    }

    #[test]
    fn only_a_build_under_way_has_a_bar() {
        let began = Some(clock::timestamp(clock::now().timestamp_millis() - 60_000));
        let build = |state: v1::BuildState| v1::Build {
            state: state.into(),
            started_at: began,
            ..v1::Build::default()
        };
        let good = RelatedBuild { id: "g".to_owned(), created_ms: 0, took_ms: Some(120_000) };
        let page = bar(&build(v1::BuildState::Building), Some(&good)).into_string();
        assert!(page.contains("value=\"50\"") && page.contains("data-expected=\"120\""), "{page}");
        assert!(page.contains("50%, about ") && page.contains("took 2 min 00 s"), "{page}");
        let page = bar(&build(v1::BuildState::Building), None).into_string();
        assert!(page.contains("<progress") && page.contains("is unknown"), "{page}");
        assert!(!bar(&build(v1::BuildState::Failed), Some(&good)).into_string().contains("<progress"));
        let queued = v1::Build { started_at: None, ..build(v1::BuildState::Queued) };
        assert!(!bar(&queued, Some(&good)).into_string().contains("<progress"));
    }
}
