//! The manager is killed, and the next one cleans up.

use std::time::Duration;

use serde_json::Value as Json;

use super::harness::{Place, Serving};

fn trigger(serving: &Serving<'_>, place: &Place) {
    // A second `run` asks the manager that serves, and follows it; it is not needed any more once it has asked.
    let mut asking = place.command(&["run", "tiny"]).spawn().unwrap();
    super::harness::wait_for("the build to be queued", Duration::from_secs(30), || {
        (!place.history().is_empty()).then_some(())
    });
    asking.kill().unwrap();
    asking.wait().unwrap();
    assert!(!serving.operator.is_empty());
}

fn interrupted_in(state: &str, schedule: &str, ready: impl FnOnce(&Place)) {
    let place = Place::tiny(schedule);
    let serving = place.serve();
    trigger(&serving, &place);
    place.wait_for_state(&[state], Duration::from_mins(2));
    ready(&place);
    serving.kill();

    let again = place.serve();
    let build = place.wait_for_state(&["errored"], Duration::from_secs(90));
    assert_eq!(build["reason"], "interrupted");
    assert_eq!(build["failure"]["stage"], state);
    assert_eq!(build["verdict"], "errored");
    assert_ne!(build["finished_at"], Json::Null);
    place.assert_nothing_left_but(&again);
    assert_eq!(again.terminate(), Some(0));
    place.assert_nothing_left();
}

#[test]
fn killed_while_building() {
    // With a tmpfs, a loop device and a child process, as disk-image-builder has them.
    let schedule = "image.environment = { TINY_BUILD_SECONDS = \"30\", TINY_BUILD_MOUNT = \"1\" }";
    interrupted_in("building", schedule, Place::wait_for_loop_device);
}

#[test]
fn killed_while_verifying() {
    interrupted_in("verifying", "image.environment = { TINY_CANARY = \"cloud-init-hanging\" }", |_| {});
}

#[test]
fn told_to_stop_it_cleans_up_first() {
    let place = Place::tiny("image.environment = { TINY_CANARY = \"cloud-init-hanging\" }");
    let serving = place.serve_with(&["--grace", "1s"]);
    trigger(&serving, &place);
    place.wait_for_state(&["verifying"], Duration::from_mins(2));
    assert_eq!(serving.terminate(), Some(0));
    assert_eq!(place.latest()["reason"], "interrupted");
    place.assert_nothing_left();
}

#[test]
fn interrupted_by_its_user_a_run_is_cancelled() {
    let place = Place::tiny("image.environment = { TINY_BUILD_SECONDS = \"30\", TINY_BUILD_MOUNT = \"1\" }");
    let mut run = place.command(&["run", "tiny"]).spawn().unwrap();
    place.wait_for_loop_device();
    let interrupt =
        std::process::Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    assert_eq!(run.wait().unwrap().code(), Some(130));
    assert_eq!(place.latest()["state"], "cancelled");
    place.assert_nothing_left();
}

/// A build that only waited when the manager was killed belongs to nobody. It must not stand in the way of a
/// build in the foreground, nor be built and published by it when another schedule was asked for.
#[test]
fn what_waited_does_not_block_a_run() {
    let slow = super::harness::tiny_schedule("slow", "image.environment = { TINY_BUILD_SECONDS = \"60\" }");
    let tiny = super::harness::tiny_schedule("tiny", "checks = {}");
    let other = super::harness::tiny_schedule("other", "checks = {}");
    let place = Place::new(&format!("{slow}{tiny}{other}"));
    let serving = place.serve();
    for (schedule, count) in [("slow", 1), ("tiny", 2), ("other", 3)] {
        let mut asking = place.command(&["run", schedule]).spawn().unwrap();
        super::harness::wait_for("the build to be queued", Duration::from_secs(30), || {
            (place.history().len() == count).then_some(())
        });
        asking.kill().unwrap();
        asking.wait().unwrap();
    }
    serving.kill();

    place.expect(&["run", "tiny"], 0);
    let states: Vec<(String, String)> = place
        .history()
        .iter()
        .map(|build| {
            (build["schedule"].as_str().unwrap().to_owned(), build["state"].as_str().unwrap().to_owned())
        })
        .collect();
    let expected = [("tiny", "succeeded"), ("other", "queued"), ("tiny", "errored"), ("slow", "errored")];
    assert_eq!(states, expected.map(|(schedule, state)| (schedule.to_owned(), state.to_owned())));

    // The next manager that serves builds what still waits.
    let again = place.serve();
    let build = place.wait_for_state(&["succeeded"], Duration::from_mins(2));
    assert_eq!(build["schedule"], "tiny");
    super::harness::wait_for("the other build", Duration::from_mins(2), || {
        place.history().iter().any(|b| b["schedule"] == "other" && b["state"] == "succeeded").then_some(())
    });
    assert_eq!(again.terminate(), Some(0));
    place.assert_nothing_left();
}
