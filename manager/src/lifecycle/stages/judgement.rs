//! The verdict: a pure function of what the agent reported.

use image_manager_proto::v1::{self, CheckOutcome, PathFate};

use crate::history::{Named as _, observations};
use crate::lifecycle::failure::Failure;
use crate::schedules::CheckSpec;

/// A result as the build keeps it.
pub(super) fn check(specs: &[CheckSpec], result: &v1::CheckResult) -> v1::Check {
    let required = specs.iter().find(|spec| spec.name == result.name).is_none_or(|spec| spec.required);
    v1::Check {
        name: result.name.clone(),
        outcome: result.outcome,
        required,
        duration: result.duration,
        summary: result.summary.clone(),
        observations: result.observations.clone(),
    }
}

/// All results of a report, in the schedule's order.
pub(super) fn checks(specs: &[CheckSpec], report: &v1::Report) -> Vec<v1::Check> {
    specs
        .iter()
        .filter_map(|spec| report.results.iter().find(|result| result.name == spec.name))
        .map(|result| check(specs, result))
        .collect()
}

/// The rules: required + fail is FAILED; required + anything but pass is ERRORED, for then it is not known
/// whether the image is good; an agent that stays in the image is FAILED. A fail outweighs what is unknown.
pub(super) fn judge(checks: &[v1::Check], removal: &v1::RemovalReport) -> Result<(), Failure> {
    let required = |outcome: &dyn Fn(CheckOutcome) -> bool| -> Vec<&v1::Check> {
        checks.iter().filter(|check| check.required && outcome(check.outcome())).collect()
    };
    let failed = required(&|outcome| outcome == CheckOutcome::Fail);
    if !failed.is_empty() {
        return Err(
            Failure::failed("check_failed", sentence("failed", &failed)).with_evidence(evidence(&failed))
        );
    }
    if !removal.complete {
        return Err(Failure::failed(
            "agent_not_removed",
            "the agent could not remove all of itself: whoever boots the image would have it",
        )
        .with_evidence(kept(removal)));
    }
    let unknown = required(&|outcome| outcome != CheckOutcome::Pass);
    if !unknown.is_empty() {
        return Err(Failure::errored("check_inconclusive", sentence("gave no answer", &unknown))
            .with_evidence(evidence(&unknown)));
    }
    Ok(())
}

/// One line about the checks: "4 of 4 checks passed".
pub(super) fn summary(checks: &[v1::Check]) -> String {
    let passed = checks.iter().filter(|check| check.outcome() == CheckOutcome::Pass).count();
    format!("{passed} of {} checks passed", checks.len())
}

fn sentence(what: &str, checks: &[&v1::Check]) -> String {
    let each: Vec<_> = checks.iter().map(|check| format!("{}: {}", check.name, check.summary)).collect();
    let noun = if checks.len() == 1 { "check" } else { "checks" };
    format!("required {noun} {what}: {}", each.join("; "))
}

fn evidence(checks: &[&v1::Check]) -> String {
    let each = checks.iter().map(|check| {
        let json = check.observations.as_ref().map(observations::to_json).unwrap_or_default();
        let pretty = serde_json::to_string_pretty(&json).unwrap_or_default();
        format!("{} ({}): {}\nobserved: {pretty}", check.name, check.outcome().word(), check.summary)
    });
    each.collect::<Vec<_>>().join("\n\n")
}

fn kept(removal: &v1::RemovalReport) -> String {
    let kept = removal.paths.iter().filter(|path| path.fate() == PathFate::Kept);
    kept.map(|path| format!("{}: {}", path.path, path.detail)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use image_manager_proto::v1::Verdict;
    use proptest::prelude::*;

    fn one(outcome: CheckOutcome, required: bool) -> v1::Check {
        v1::Check { name: "disk".into(), outcome: outcome.into(), required, ..v1::Check::default() }
    }

    fn removed() -> v1::RemovalReport {
        v1::RemovalReport { complete: true, paths: Vec::new() }
    }

    fn verdict(checks: &[v1::Check]) -> Verdict {
        judge(checks, &removed()).map_or_else(|failure| failure.verdict, |()| Verdict::Passed)
    }

    #[test]
    fn rules() {
        use CheckOutcome::{Fail, Inconclusive, Pass, Skipped, Unspecified};
        let cases: &[(&[(CheckOutcome, bool)], Verdict)] = &[
            (&[], Verdict::Passed),
            (&[(Pass, true)], Verdict::Passed),
            (&[(Pass, true), (Fail, false)], Verdict::Passed),
            (&[(Pass, true), (Fail, true)], Verdict::Failed),
            (&[(Inconclusive, true), (Fail, true)], Verdict::Failed),
            (&[(Inconclusive, true)], Verdict::Errored),
            (&[(Skipped, true)], Verdict::Errored),
            (&[(Unspecified, true)], Verdict::Errored),
            (&[(Inconclusive, false)], Verdict::Passed),
        ];
        for (checks, expected) in cases {
            let checks: Vec<_> = checks.iter().map(|(outcome, required)| one(*outcome, *required)).collect();
            assert_eq!(verdict(&checks), *expected, "{checks:?}");
        }
    }

    #[test]
    fn an_agent_that_stays_fails_the_image() {
        let removal = v1::RemovalReport {
            complete: false,
            paths: vec![v1::RemovedPath {
                path: "/x".into(),
                fate: PathFate::Kept.into(),
                detail: "read-only file system".into(),
            }],
        };
        let failure = judge(&[one(CheckOutcome::Pass, true)], &removal).unwrap_err();
        assert_eq!(failure.verdict, Verdict::Failed);
        assert_eq!(failure.evidence, "/x: read-only file system");
    }

    proptest! {
        /// It passes only when every required check passed.
        #[test]
        fn a_pass_means_all_required_passed(outcomes in prop::collection::vec((0..5_i32, any::<bool>()), 0..8)) {
            let checks: Vec<_> = outcomes.iter()
                .map(|(outcome, required)| one(CheckOutcome::try_from(*outcome).unwrap(), *required)).collect();
            let all = checks.iter().filter(|c| c.required).all(|c| c.outcome() == CheckOutcome::Pass);
            prop_assert_eq!(verdict(&checks) == Verdict::Passed, all);
        }
    }
}
