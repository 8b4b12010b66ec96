//! A script that fails for no known cause, in a build that is defined as one that passed, is built once more by itself:
//! only the same failure twice is the image's.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value as Json;

use super::control::Control;
use super::harness::{Place, tiny_schedule, wait_for};

/// A place whose builds fail as the file `failures` says, with an element of its own.
fn place() -> (Place, PathBuf) {
    let place = Place::new("");
    let failures = place.path().join("failures");
    fs::write(&failures, "").unwrap();
    let more = format!(
        "cron = \"0 0 29 2 *\"\nretry_backoff = \"1s\"\npause_after = 2\n\
         image.environment = {{ TINY_BUILD_FAILURES = \"{}\" }}",
        failures.display()
    );
    fs::write(place.path().join("schedules.toml"), tiny_schedule("tiny", &more)).unwrap();
    fs::create_dir_all(place.path().join("own/tiny/install.d")).unwrap();
    fs::write(place.path().join("own/tiny/install.d/50-tiny"), "true\n").unwrap();
    (place, failures)
}

/// The elements of that place.
fn elements(place: &Place) -> String {
    place.path().join("own").display().to_string()
}

fn ended(place: &Place, count: usize) -> Vec<Json> {
    wait_for(&format!("{count} builds that have ended"), Duration::from_mins(4), || {
        let builds = place.history();
        let all = builds.iter().all(|build| !build["finished_at"].is_null());
        (builds.len() == count && all).then_some(builds)
    })
}

fn said(build: &Json) -> (&str, &str, &str) {
    let part = |name: &str| build["failure"][name].as_str().unwrap();
    (build["state"].as_str().unwrap(), part("reason"), part("message"))
}

#[test]
fn a_script_that_fails_for_no_known_cause_is_built_once_more() {
    let (place, failures) = place();
    let own = elements(&place);
    let serving = place.serve_in(&[], &[("IMAGE_MANAGER_ELEMENTS", &own)]);
    let control = Control::of(&serving);
    let trigger = |fail: &str, builds: usize| {
        fs::write(&failures, fail).unwrap();
        control.trigger("tiny").unwrap();
        ended(&place, builds)
    };
    // Nothing has passed yet: the definition is to blame at once.
    let builds = trigger("3\n", 1);
    assert_eq!((&builds[0]["state"], &builds[0]["reason"]), (&"failed".into(), &"dib_hook_failed".into()));
    let passed = trigger("", 2)[0].clone();
    assert_eq!(passed["state"], "succeeded", "{passed}");

    // It fails once, and the second build passes.
    let builds = trigger("3\n", 4);
    let (state, reason, message) = said(&builds[1]);
    assert_eq!((state, reason), ("errored", "dib_hook_unexplained"));
    assert!(message.contains(passed["id"].as_str().unwrap()), "{message}");
    assert_eq!((&builds[0]["state"], &builds[0]["trigger"]), (&"succeeded".into(), &"retry".into()));
    assert_eq!(builds[0]["retry_of"], builds[1]["id"]);

    // It fails twice in the same way, and that pauses nothing: the first of the two does not count.
    let builds = trigger("3\n3\n3\n", 6);
    let (state, reason, message) = said(&builds[0]);
    assert_eq!((state, reason), ("failed", "dib_hook_failed"), "{message}");
    let evidence = builds[0]["failure"]["evidence"].as_str().unwrap();
    assert!(evidence.starts_with("nothing in the definition has changed since build "), "{evidence}");
    assert!(
        evidence.contains(builds[1]["id"].as_str().unwrap()) && evidence.contains("configure-broken"),
        "{evidence}"
    );
    assert!(!control.schedules().schedules[0].paused);

    // A changed element is a changed definition.
    trigger("", 7);
    fs::write(place.path().join("own/tiny/install.d/50-tiny"), "false\n").unwrap();
    let builds = trigger("3\n", 8);
    assert_eq!(said(&builds[0]).1, "dib_hook_failed");
    assert!(control.schedules().schedules[0].retry_at.is_none());
    drop(control);
    assert_eq!(serving.terminate(), Some(0));
    assert_eq!(place.history().len(), 8);
    place.assert_nothing_left();
}

#[test]
fn a_second_build_in_the_foreground_follows_at_once_and_there_is_no_third() {
    let (place, failures) = place();
    let own = elements(&place);
    let run = |fail: &str| {
        fs::write(&failures, fail).unwrap();
        let output = place.command(&["run", "tiny"]).env("IMAGE_MANAGER_ELEMENTS", &own).output().unwrap();
        (output.status.code(), place.history())
    };
    assert_eq!(run("").0, Some(0));
    let (code, builds) = run("3\n");
    assert_eq!((code, builds.len()), (Some(0), 3));
    assert_eq!(builds[0]["retry_of"], builds[1]["id"]);
    // It fails in another way: still unknown, and not built again.
    let (code, builds) = run("3\n4\n3\n");
    assert_eq!((code, builds.len()), (Some(2), 5));
    let (state, reason, message) = said(&builds[0]);
    assert_eq!((state, reason), ("errored", "dib_hook_unexplained"));
    assert!(message.contains(" in another way, though nothing in the definition has changed"), "{message}");
    // The next one fails as one of them did.
    let (code, builds) = run("3\n");
    assert_eq!((code, builds.len()), (Some(1), 6));
    assert_eq!(said(&builds[0]).1, "dib_hook_failed");
    place.assert_nothing_left();
}

#[test]
fn a_second_build_that_is_owed_outlives_the_manager() {
    let (place, failures) = place();
    let own = elements(&place);
    let elements = [("IMAGE_MANAGER_ELEMENTS", own.as_str())];
    let serving = place.serve_in(&[], &elements);
    Control::of(&serving).trigger("tiny").unwrap();
    ended(&place, 1);
    assert_eq!(serving.terminate(), Some(0));
    fs::write(&failures, "3\n").unwrap();
    // Killed right after the commit that ends the build.
    let kill = [elements[0], ("IMAGE_MANAGER_TEST_KILL", "advance:errored#1:after")];
    let serving = place.serve_in(&[], &kill);
    // It may be gone before it answers.
    let _ = Control::of(&serving).trigger("tiny");
    wait_for("the end of the manager", Duration::from_mins(1), || {
        let builds = place.history();
        (builds.len() == 2 && builds[0]["state"] == "errored").then_some(())
    });
    drop(serving);
    let serving = place.serve_in(&[], &elements);
    let builds = ended(&place, 3);
    assert_eq!((&builds[0]["state"], &builds[0]["retry_of"]), (&"succeeded".into(), &builds[1]["id"]));
    assert_eq!(serving.terminate(), Some(0));
    assert_eq!(place.history().len(), 3);
}
