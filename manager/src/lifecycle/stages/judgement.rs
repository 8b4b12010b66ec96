//! The verdict: a pure function of what the schedule asked for and what the agent reported.

use image_manager_proto::counted;
use image_manager_proto::v1::{self, CheckOutcome, PathFate, Verdict};

use crate::history::{Named as _, observations};
use crate::lifecycle::failure::Failure;
use crate::reason::Reason;
use crate::schedules::CheckSpec;

/// The reason of a verdict that [`judge`] has given already.
const INCONCLUSIVE: Reason = Reason::CheckInconclusive;
/// Endings that say whose results these are: nothing that was reported may count after them.
const IDENTITY: [Reason; 2] = [Reason::WrongImage, Reason::AgentContested];

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

/// All results, those that the schedule asked for in its order, and after them what nobody asked for: nothing is left
/// out here, so that [`judge`] sees what was reported.
pub(super) fn checks(specs: &[CheckSpec], results: &[v1::CheckResult]) -> Vec<v1::Check> {
    let place = |result: &v1::CheckResult| specs.iter().position(|spec| spec.name == result.name);
    let mut ordered: Vec<&v1::CheckResult> = results.iter().collect();
    ordered.sort_by_key(|result| place(result).unwrap_or(specs.len()));
    ordered.into_iter().map(|result| check(specs, result)).collect()
}

/// The rules, over what the schedule asked for: required + fail is FAILED; an agent that stays in the image is FAILED;
/// anything but exactly one result for each requested check, or a required one that did not pass, is ERRORED, for then
/// it is not known whether the image is good. A fail outweighs what is unknown.
pub(super) fn judge(
    specs: &[CheckSpec],
    checks: &[v1::Check],
    removal: &v1::RemovalReport,
) -> Result<(), Failure> {
    if let Some(failure) = known_failure(checks) {
        return Err(failure);
    }
    let left = not_removed(removal);
    if !left.is_empty() {
        return Err(Failure::new(
            Reason::AgentNotRemoved,
            "the agent has not shown that it removed all of itself: whoever boots the image would have the rest",
        )
        .with_evidence(left.join("\n")));
    }
    let strange = mismatches(specs, checks);
    if !strange.is_empty() {
        let message = format!("the report does not answer what was asked: {}", strange.join("; "));
        return Err(Failure::new(Reason::CheckInconclusive, message).with_evidence(strange.join("\n")));
    }
    let unknown: Vec<&v1::Check> =
        checks.iter().filter(|check| check.required && check.outcome() != CheckOutcome::Pass).collect();
    if !unknown.is_empty() {
        return Err(Failure::new(Reason::CheckInconclusive, sentence("gave no answer", &unknown))
            .with_evidence(evidence(&unknown)));
    }
    Ok(())
}

/// FAILED when a required check is known to have failed, whatever else is known.
pub(in crate::lifecycle) fn known_failure(checks: &[v1::Check]) -> Option<Failure> {
    let failed: Vec<&v1::Check> =
        checks.iter().filter(|check| check.required && check.outcome() == CheckOutcome::Fail).collect();
    let failure = Failure::new(Reason::CheckFailed, sentence("failed", &failed));
    (!failed.is_empty()).then(|| failure.with_evidence(evidence(&failed)))
}

/// The end of a build that came before the agent's last word: a required check that is known to have failed decides.
/// Not when somebody cancelled the build, and not when the results may be another image's or another agent's.
pub(in crate::lifecycle) fn outweigh(later: Failure, checks: &[v1::Check]) -> Failure {
    if may_be_outweighed(&later) { by_what_failed(later, checks) } else { later }
}

/// The same of a trial whose manager is gone. Here what was inconclusive is a first boot, which was judged already and had
/// no required check that failed: one that is recorded is of the second boot, and counts as that of any boot.
pub(in crate::lifecycle) fn outweigh_lost(lost: Failure, checks: &[v1::Check]) -> Failure {
    let may_be = may_be_outweighed(&lost) || lost.reason == INCONCLUSIVE;
    if may_be { by_what_failed(lost, checks) } else { lost }
}

fn by_what_failed(later: Failure, checks: &[v1::Check]) -> Failure {
    let Some(mut known) = known_failure(checks) else { return later };
    known.message = format!("{}; then {}: {}", known.message, later.reason, later.message);
    let all = [later.evidence, known.evidence.clone()].join("\n\n");
    known.with_evidence(all.trim())
}

/// Whether what the checks found counts at such an end. Checks that were judged already were repeated from here, too:
/// asked once more, a network that has come back would blame the image for its absence.
pub(super) fn may_be_outweighed(later: &Failure) -> bool {
    later.verdict() == Verdict::Errored && !IDENTITY.contains(&later.reason) && later.reason != INCONCLUSIVE
}

/// Where the results are not exactly one for each requested check, in words; empty when they are.
fn mismatches(specs: &[CheckSpec], checks: &[v1::Check]) -> Vec<String> {
    let results_of = |name: &str| checks.iter().filter(|check| check.name == name).count();
    let asked = specs.iter().filter_map(|spec| match results_of(&spec.name) {
        0 => Some(format!("no result for the check {}", spec.name)),
        1 => None,
        many => Some(format!("{many} results for the check {}", spec.name)),
    });
    let strange = checks.iter().filter(|check| !specs.iter().any(|spec| spec.name == check.name));
    let strange =
        strange.map(|check| format!("a result for the check {:?}, which was not requested", check.name));
    asked.chain(strange).collect()
}

/// What keeps a removal from being complete, a line each; empty when each path that the agent can have is named once,
/// as removed or absent, and the agent says that nothing of it is left.
pub(super) fn not_removed(removal: &v1::RemovalReport) -> Vec<String> {
    let mut left: Vec<String> = removal
        .paths
        .iter()
        .filter(|path| !matches!(path.fate(), PathFate::Removed | PathFate::Absent))
        .map(|path| {
            let fate = Some(path.fate().word()).filter(|word| !word.is_empty()).unwrap_or("fate unknown");
            format!("{} ({fate}): {}", path.path, path.detail)
        })
        .collect();
    for path in image_manager_agent::PATHS {
        match removal.paths.iter().filter(|named| named.path == path).count() {
            0 => left.push(format!("{path}: missing from the removal report")),
            1 => {}
            many => left.push(format!("{path}: named {many} times in the removal report")),
        }
    }
    if left.is_empty() && !removal.complete {
        left.push("the agent says that something of it is left, but not what".to_owned());
    }
    left
}

/// One line about the checks: "4 of 4 checks passed".
pub(super) fn summary(checks: &[v1::Check]) -> String {
    let passed = checks.iter().filter(|check| check.outcome() == CheckOutcome::Pass).count();
    format!("{passed} of {} passed", counted(checks.len(), "check"))
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

#[cfg(test)]
mod tests;
