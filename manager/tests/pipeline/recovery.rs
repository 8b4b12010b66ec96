//! The manager is killed, and the next one cleans up.

use std::time::Duration;

use serde_json::Value as Json;

use super::control::Control;
use super::harness::{Place, Serving, tiny_schedule, wait_for};

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

/// A server of an interrupted build is on a cloud whose Keystone takes connections and says nothing.
#[test]
fn a_cloud_that_does_not_answer_holds_up_no_other() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let far = "[schedule.far]\ncloud = \"far\"\nimage.elements = [\"tiny\"]\nserver.flavor = \"any\"\n";
    let fails = tiny_schedule("tiny", "image.environment = { TINY_BUILD_FAIL = \"package\" }");
    let place = Place::new(&fails);
    place.expect(&["run", "tiny"], 1);
    std::fs::write(place.path().join("schedules.toml"), format!("{fails}{far}")).unwrap();
    let clouds = place.path().join("clouds.yaml");
    let auth = format!(
        "{{auth_url: 'http://{}/v3', username: u, password: p, project_name: p, user_domain_name: d, \
         project_domain_name: d}}",
        silent.local_addr().unwrap()
    );
    std::fs::write(&clouds, format!("clouds: {{far: {{auth: {auth}}}}}\n")).unwrap();
    let history = rusqlite::Connection::open(place.state().join("image-manager.db")).unwrap();
    history
        .execute_batch(
            "UPDATE build SET schedule = 'far', cloud = 'far', state = 'cleaning_up', finished_at = NULL;
             INSERT INTO resource (build_id, cloud, kind, name, external_id, state, created_at, updated_at)
             SELECT id, 'far', 'server', 'image-manager-' || id, 's', 'created', 1, 1 FROM build;",
        )
        .unwrap();
    drop(history);

    let clouds = [("OS_CLIENT_CONFIG_FILE", clouds.to_str().unwrap())];
    let serving = place.serve_in(&["--agent-endpoint", "127.0.0.1:50051"], &clouds);
    let control = Control::of(&serving);
    let built = control.trigger("tiny").unwrap().id;
    wait_for("the other schedule's build", Duration::from_mins(1), || {
        let builds = place.history();
        let build = builds.iter().find(|build| build["id"] == built.as_str())?;
        (build["state"] == "failed").then_some(())
    });
    let refused = control.trigger("far").unwrap_err();
    assert!(refused.message().contains("is being built already"), "{refused}");
    drop(control);
    assert_eq!(serving.terminate(), Some(0));
    let far = place.history().into_iter().find(|build| build["schedule"] == "far").unwrap();
    assert_eq!(far["state"], "cleaning_up", "the next start goes on with it");
}
