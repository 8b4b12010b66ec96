use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn one(name: &str, outcome: CheckOutcome, required: bool) -> v1::Check {
    v1::Check { name: name.to_owned(), outcome: outcome.into(), required, ..v1::Check::default() }
}

fn spec(name: &str, required: bool) -> CheckSpec {
    let check = crate::checks::find("packages").unwrap();
    CheckSpec {
        name: name.to_owned(),
        required,
        timeout: Duration::from_secs(1),
        check,
        settings: serde_json::Map::new(),
    }
}

fn removed() -> v1::RemovalReport {
    let path = |path: &str| v1::RemovedPath {
        path: path.to_owned(),
        fate: PathFate::Removed.into(),
        detail: String::new(),
    };
    v1::RemovalReport { complete: true, paths: image_manager_agent::PATHS.map(path).to_vec() }
}

fn verdict(specs: &[CheckSpec], checks: &[v1::Check]) -> Verdict {
    judge(specs, checks, &removed()).map_or_else(|failure| failure.verdict(), |()| Verdict::Passed)
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
        let names = ["a", "b"];
        let specs: Vec<_> =
            names.iter().zip(*checks).map(|(name, (_, required))| spec(name, *required)).collect();
        let checks: Vec<_> = names
            .iter()
            .zip(*checks)
            .map(|(name, (outcome, required))| one(name, *outcome, *required))
            .collect();
        assert_eq!(verdict(&specs, &checks), *expected, "{checks:?}");
    }
}

#[test]
fn absence_is_not_success() {
    let specs = [spec("disk", true), spec("dns", false)];
    let pass = |name: &str| one(name, CheckOutcome::Pass, true);
    let reports: [(&[v1::Check], &str); 4] = [
        (&[], "no result for the check disk"),
        (&[pass("disk")], "no result for the check dns"),
        (&[pass("disk"), pass("disk"), pass("dns")], "2 results for the check disk"),
        (&[pass("disk"), pass("dns"), pass("other")], "\"other\", which was not requested"),
    ];
    for (checks, why) in reports {
        let failure = judge(&specs, checks, &removed()).unwrap_err();
        assert_eq!(failure.reason, Reason::CheckInconclusive);
        assert!(failure.message.contains(why), "{}", failure.message);
    }
}

#[test]
fn results_are_not_dropped_on_the_way_to_the_verdict() {
    let specs = [spec("disk", true), spec("dns", true)];
    let result = |name: &str| v1::CheckResult { name: name.to_owned(), ..v1::CheckResult::default() };
    let all = checks(&specs, &[result("x"), result("dns"), result("disk"), result("dns")]);
    let names: Vec<_> = all.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["disk", "dns", "dns", "x"]);
}

#[test]
fn a_known_failure_decides() {
    let checks = [one("disk", CheckOutcome::Fail, true), one("cloud_init", CheckOutcome::Unspecified, true)];
    let later = [
        Reason::VerifyTimeout,
        Reason::AgentLost,
        Reason::TotalTimeout,
        Reason::Interrupted,
        Reason::ServerStopped,
    ];
    for reason in later {
        let failure = outweigh(Failure::new(reason, "late").with_evidence("console"), &checks);
        assert_eq!(failure.reason, Reason::CheckFailed, "{reason}");
        assert!(failure.message.ends_with(&format!("then {reason}: late")), "{}", failure.message);
        assert!(failure.evidence.starts_with("console\n\ndisk (fail)"), "{}", failure.evidence);
    }
    assert_eq!(outweigh(Failure::cancelled(), &checks).reason, Reason::Cancelled);
    for reason in [Reason::WrongImage, Reason::AgentContested, INCONCLUSIVE] {
        assert_eq!(outweigh(Failure::new(reason, ""), &checks).reason, reason);
    }
    // The manager was killed at the second boot of an image whose first one was inconclusive.
    let lost = |reason| outweigh_lost(Failure::new(reason, ""), &checks).reason;
    assert_eq!(lost(INCONCLUSIVE), Reason::CheckFailed);
    assert_eq!(lost(Reason::Interrupted), Reason::CheckFailed);
    assert_eq!(lost(Reason::WrongImage), Reason::WrongImage);
    assert_eq!(lost(Reason::ImageAtFault), Reason::ImageAtFault);
    let optional = [one("disk", CheckOutcome::Fail, false)];
    assert_eq!(outweigh(Failure::new(Reason::AgentLost, ""), &optional).reason, Reason::AgentLost);
}

#[test]
fn an_agent_that_stays_fails_the_image() {
    let mut removal = removed();
    removal.complete = false;
    removal.paths[1].set_fate(PathFate::Kept);
    "read-only file system".clone_into(&mut removal.paths[1].detail);
    let failure = judge(&[spec("a", true)], &[one("a", CheckOutcome::Pass, true)], &removal).unwrap_err();
    assert_eq!(failure.verdict(), Verdict::Failed);
    assert_eq!(failure.evidence, format!("{} (kept): read-only file system", image_manager_agent::PATHS[1]));
}

type Spoil<'a> = &'a dyn Fn(&mut v1::RemovalReport);

#[test]
fn a_removal_names_every_path_once() {
    let last = image_manager_agent::PATHS.len() - 1;
    let spoiled: [(Spoil<'_>, &str); 5] = [
        (&|removal| removal.paths.clear(), "missing from the removal report"),
        (&|removal| drop(removal.paths.pop()), "image-manager-agent: missing from the removal report"),
        (&|removal| removal.paths.push(removal.paths[0].clone()), "named 2 times"),
        (&|removal| removal.paths[0].set_fate(PathFate::Kept), "(kept)"),
        (&|removal| removal.paths[0].set_fate(PathFate::Unspecified), "(fate unknown)"),
    ];
    for (spoil, why) in spoiled {
        let mut removal = removed();
        spoil(&mut removal);
        let failure = judge(&[], &[], &removal).unwrap_err();
        assert_eq!(failure.reason, Reason::AgentNotRemoved);
        assert!(failure.evidence.contains(why), "{why}: {}", failure.evidence);
    }
    let mut absent = removed();
    absent.paths[last].set_fate(PathFate::Absent);
    assert!(judge(&[], &[], &absent).is_ok());
    absent.complete = false;
    assert!(judge(&[], &[], &absent).is_err());
}

proptest! {
    /// It passes only when there is exactly one result for each check that was asked for, and every required one
    /// passed.
    #[test]
    fn a_pass_means_all_that_was_asked_for(
        asked in prop::collection::vec(any::<bool>(), 0..5),
        reported in prop::collection::vec((0..6_usize, 0..5_i32), 0..8),
    ) {
        let names = ["a", "b", "c", "d", "e", "f"];
        let specs: Vec<_> = names.iter().zip(&asked).map(|(name, required)| spec(name, *required)).collect();
        let results: Vec<_> = reported.iter().map(|(name, outcome)| v1::CheckResult {
            name: names[*name].to_owned(), outcome: *outcome, ..v1::CheckResult::default()
        }).collect();
        let one_each = results.len() == specs.len()
            && specs.iter().all(|spec| results.iter().any(|result| result.name == spec.name));
        let all = specs.iter().filter(|spec| spec.required).all(|spec| {
            results.iter().any(|result| result.name == spec.name && result.outcome() == CheckOutcome::Pass)
        });
        prop_assert_eq!(verdict(&specs, &checks(&specs, &results)) == Verdict::Passed, one_each && all);
    }
}
