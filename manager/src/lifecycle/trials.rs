//! What is said of a build's trials wherever builds are shown. Pure.

use image_manager_proto::v1::{self, ControlOutcome, StageState, Verdict};
use prost_types::Timestamp;

use super::state::trial::is_end;

/// Failed checks that are named in a list.
const NAMED: usize = 3;

/// The trials of a build that has several. Of an only trial everything stands at the build's top, and nothing is said
/// twice.
pub fn several(build: &v1::Build) -> &[v1::Trial] {
    if build.trials.len() > 1 { &build.trials } else { &[] }
}

/// How many of them passed.
pub fn passed(trials: &[v1::Trial]) -> usize {
    trials.iter().filter(|trial| trial.verdict() == Verdict::Passed).count()
}

/// Whether a trial's failure is that of the attempt before.
pub fn failed_before(trial: &v1::Trial) -> bool {
    trial.failure.is_some() && trial.verdict() == Verdict::Unspecified && !is_end(trial.state())
}

/// How many of a build's trials passed, and of how many, when it has ended, has several, and not all of those that were
/// begun passed.
pub fn tally(build: &v1::Build) -> Option<(usize, usize)> {
    let trials = several(build);
    let passed = passed(trials);
    let tried = trials.iter().any(|trial| trial.verdict() != Verdict::Unspecified);
    (super::state::is_end(build.state()) && tried && passed < trials.len()).then_some((passed, trials.len()))
}

/// When a trial's present attempt began and ended, by its stages.
pub fn span(trial: &v1::Trial) -> (Option<&Timestamp>, Option<&Timestamp>) {
    let begun = |stage: &&v1::Stage| stage.started_at.is_some();
    let began = trial.stages.iter().find(begun).and_then(|stage| stage.started_at.as_ref());
    let under_way = trial.stages.iter().any(|stage| stage.state() == StageState::Running);
    let last = trial.stages.iter().rfind(begun).and_then(|stage| stage.finished_at.as_ref());
    (began, last.filter(|_| !under_way))
}

/// The image that a build made, as any of its clouds has it: file, hash and sizes are the same in all.
pub fn image(build: &v1::Build) -> Option<&v1::Image> {
    build.image.as_ref().or_else(|| build.trials.iter().find_map(|trial| trial.image.as_ref()))
}

/// The builds that made the images which a verification is about, each once.
pub fn made_by(build: &v1::Build) -> Vec<&str> {
    let mut of: Vec<&str> = build.trials.iter().map(|trial| trial.image_of.as_str()).collect();
    of.sort_unstable();
    of.dedup();
    of
}

/// Checks that failed, for a list: "disk, ssh, dns and 2 more"; empty where there are none.
pub fn named_checks<'a>(failed: impl Iterator<Item = &'a str>) -> String {
    let failed: Vec<&str> = failed.collect();
    let (named, more) = failed.split_at(failed.len().min(NAMED));
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    format!("{}{more}", named.join(", "))
}

/// Why a build ended as it did, with the checks that failed: "check_failed: disk"; empty where it has no reason.
pub fn why(build: &v1::Build) -> String {
    let named = named_checks(build.failed_checks.iter().map(String::as_str));
    if named.is_empty() { build.reason.clone() } else { format!("{}: {named}", build.reason) }
}

/// What another image said of a trial's target, for people.
pub fn said_of_target(control: &v1::Control) -> String {
    let mut said = format!("after {}: ", control.because);
    said.push_str(match control.outcome() {
        ControlOutcome::Unspecified if control.finished_at.is_none() => {
            "another image is booted to find out whether the target works"
        }
        _ => &control.detail,
    });
    if !control.answer_of.is_empty() {
        said = format!("{said} (found out by build {})", control.answer_of);
    }
    if !control.again.is_empty() {
        said = format!("{said}; booted once more, this image ended as {}", control.again);
    }
    said
}

/// The controls of a build's trials, each with its target's name where there are several.
pub fn controls(build: &v1::Build) -> impl Iterator<Item = (&str, &v1::Control)> {
    build.trials.iter().filter_map(|trial| Some((trial.target.as_str(), trial.control.as_ref()?)))
}

/// The trial that a build's failure is about, when it has several and the failure is one of theirs.
pub fn blamed<'a>(build: &'a v1::Build, failure: &v1::Failure) -> Option<&'a v1::Trial> {
    let same = |own: &v1::Failure| {
        own.reason == failure.reason && own.stage == failure.stage && own.evidence == failure.evidence
    };
    several(build).iter().find(|trial| {
        trial.failure.as_ref().is_some_and(|own| same(own) && failure.message.ends_with(&own.message))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(verdict: Verdict) -> v1::Trial {
        v1::Trial { verdict: verdict.into(), ..v1::Trial::default() }
    }

    fn build(state: v1::BuildState, verdicts: &[Verdict]) -> v1::Build {
        let trials = verdicts.iter().copied().map(trial).collect();
        v1::Build { state: state.into(), trials, ..v1::Build::default() }
    }

    #[test]
    fn only_what_is_not_plain_from_the_verdict_is_counted() {
        use Verdict::{Failed, Passed, Unspecified};
        use v1::BuildState as S;
        assert_eq!(tally(&build(S::Failed, &[Passed, Failed, Passed])), Some((2, 3)));
        assert_eq!(tally(&build(S::Cancelled, &[Passed, Unspecified])), Some((1, 2)));
        assert_eq!(tally(&build(S::Succeeded, &[Passed, Passed])), None);
        assert_eq!(tally(&build(S::Failed, &[Failed])), None, "it has one trial");
        assert_eq!(tally(&build(S::Trying, &[Passed, Unspecified])), None, "it is under way");
        assert_eq!(tally(&build(S::Failed, &[Unspecified, Unspecified])), None, "nothing was tried");
        assert!(several(&build(S::Failed, &[Failed])).is_empty());
    }

    #[test]
    fn a_trial_takes_from_its_first_stage_to_its_last() {
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let stage = |state: StageState, started_at, finished_at| v1::Stage {
            state: state.into(),
            started_at,
            finished_at,
            ..v1::Stage::default()
        };
        let mut trial = trial(Verdict::Unspecified);
        assert_eq!(span(&trial), (None, None));
        trial.stages = vec![stage(StageState::Done, at(5), at(9)), stage(StageState::Running, at(9), None)];
        assert_eq!(span(&trial), (at(5).as_ref(), None));
        trial.stages = vec![
            stage(StageState::Done, at(5), at(9)),
            stage(StageState::Skipped, None, None),
            stage(StageState::Done, at(9), at(12)),
        ];
        assert_eq!(span(&trial), (at(5).as_ref(), at(12).as_ref()));
    }
}
