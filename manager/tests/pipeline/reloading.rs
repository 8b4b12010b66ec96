//! Another schedules.toml while the manager serves.

use std::fs;
use std::time::Duration;

use super::control::Control;
use super::harness::{Place, tiny_schedule, wait_for};

const PATIENCE: Duration = Duration::from_mins(1);

fn names(control: &Control) -> Vec<String> {
    control.schedules().schedules.into_iter().map(|schedule| schedule.name).collect()
}

#[test]
fn a_changed_file_is_read_and_a_broken_one_is_not_used() {
    let slow = "image.environment = { TINY_BUILD_SECONDS = \"20\" }\n";
    let one = tiny_schedule("one", &format!("{slow}checks = {{}}"));
    let place = Place::new(&one);
    let file = place.path().join("schedules.toml");
    let serving = place.serve();
    let control = Control::of(&serving);
    assert_eq!(names(&control), ["one"]);

    // `one` gets checks while it is being built without any.
    let first = control.trigger("one").unwrap().id;
    place.wait_for_state(&["building"], PATIENCE);
    let two = tiny_schedule("two", "cron = \"0 3 * * *\"");
    fs::write(&file, format!("{}{two}", tiny_schedule("one", slow))).unwrap();
    wait_for("the second schedule", PATIENCE, || (names(&control) == ["one", "two"]).then_some(()));
    assert_eq!(control.schedules().schedules[1].next_fires.len(), 3);
    let waits = control.trigger("two").unwrap().id;

    fs::write(&file, format!("{one}{}", two.replace("0 3 *", "61 3 *"))).unwrap();
    let error = wait_for("the refusal", PATIENCE, || {
        let error = control.schedules().schedules_error;
        (!error.is_empty()).then_some(error)
    });
    assert!(error.contains("61 3 * * *") && error.contains("schedules.toml:"), "{error}");
    assert_eq!(names(&control), ["one", "two"], "the old ones stay");
    assert!(place.serve_log().contains("the schedules stay as they were"));

    // Asked for, it is read at once; a schedule that is gone is not built any more though it waits.
    fs::write(&file, &one).unwrap();
    serving.signal("HUP");
    wait_for("the third file", PATIENCE, || (names(&control) == ["one"]).then_some(()));
    assert_eq!(control.schedules().schedules_error, "");
    assert!(place.serve_log().contains("SIGHUP"));
    let ended = |id: &str, state: &str| {
        wait_for(&format!("a build that is {state}"), Duration::from_mins(3), || {
            let build = place.history().into_iter().find(|build| build["id"] == id)?;
            (!build["finished_at"].is_null()).then_some(build)
        })
    };
    let build = ended(&waits, "cancelled");
    assert_eq!((&build["state"], &build["reason"]), (&"cancelled".into(), &"schedule_removed".into()));
    // The other one had its turn as soon as this one's image was made.
    let one = ended(&first, "succeeded");
    assert_eq!((&one["state"], one["checks"].as_array().unwrap().len()), (&"succeeded".into(), 0));
    assert_eq!(serving.terminate(), Some(0));
    place.assert_nothing_left();
}

#[test]
fn a_good_file_is_used_once_what_it_needs_is_there() {
    let place = Place::tiny("");
    let clouds = place.path().join("clouds.yaml");
    let serving = place.serve_in(
        &["--agent-endpoint", "192.0.2.1:50051"],
        &[("OS_CLIENT_CONFIG_FILE", clouds.to_str().unwrap())],
    );
    let control = Control::of(&serving);
    let far = tiny_schedule("far", "cloud = \"faraway\"").replace("server =", "server.flavor = \"m1\"\n#");
    fs::write(place.path().join("schedules.toml"), format!("{}{far}", tiny_schedule("tiny", ""))).unwrap();
    let error = wait_for("the refusal", PATIENCE, || {
        let error = control.schedules().schedules_error;
        (!error.is_empty()).then_some(error)
    });
    assert!(error.contains("\"far\"") && error.contains("clouds.yaml"), "{error}");
    assert_eq!(names(&control), ["tiny"]);

    let entry = "{ auth_url: \"http://192.0.2.1:5000/v3\", username: u, password: p, project_name: x }";
    fs::write(&clouds, format!("clouds:\n  faraway:\n    auth: {entry}\n")).unwrap();
    wait_for("the file to be used", PATIENCE, || (names(&control) == ["tiny", "far"]).then_some(()));
    assert_eq!(control.schedules().schedules_error, "");
    let log = place.serve_log();
    assert_eq!(log.matches("the schedules stay as they were").count(), 1, "told once:\n{log}");
    assert_eq!(serving.terminate(), Some(0));
}
