//! What errored is queued again as often as the schedule says; what goes wrong again and again pauses itself.

use std::time::Duration;

use serde_json::Value as Json;

use super::control::Control;
use super::harness::{Place, tiny_schedule, wait_for};

/// Waits until there are so many builds and all have ended; newest first.
fn ended(place: &Place, count: usize) -> Vec<Json> {
    wait_for(&format!("{count} builds that have ended"), Duration::from_mins(2), || {
        let builds = place.history();
        let all = builds.iter().all(|build| !build["finished_at"].is_null());
        (builds.len() == count && all).then_some(builds)
    })
}

#[test]
fn a_retry_survives_the_manager_and_a_row_of_failures_pauses() {
    // The disk is full, as disk-image-builder says it: no fault of the image.
    let place = Place::new(&tiny_schedule(
        "tiny",
        "cron = \"0 0 29 2 *\"\nretry = 1\nretry_backoff = \"10s\"\npause_after = 3\n\
         image.environment = { TINY_BUILD_FAIL = \"space\" }",
    ));
    let serving = place.serve();
    let control = Control::of(&serving);
    let first = control.trigger("tiny").unwrap();
    ended(&place, 1);
    let schedule = control.schedules().schedules.remove(0);
    assert!(schedule.retry_at.is_some() && schedule.failures_in_a_row == 1, "{schedule:?}");
    assert_eq!(schedule.next_fires.len(), 3);
    drop(control);
    serving.kill();

    let serving = place.serve();
    let builds = ended(&place, 2);
    assert_eq!((&builds[0]["trigger"], &builds[0]["reason"]), (&"retry".into(), &"scratch_full".into()));
    assert_eq!(builds[0]["retry_of"], first.id.as_str());
    let control = Control::of(&serving);
    assert_eq!(control.schedules().schedules[0].retry_at, None, "one retry, not two");

    control.trigger("tiny").unwrap();
    ended(&place, 3);
    let schedule = control.schedules().schedules.remove(0);
    assert!(schedule.paused && schedule.paused_at.is_some() && schedule.retry_at.is_none(), "{schedule:?}");
    assert!(schedule.pause_reason.contains("3 builds in a row"), "{schedule:?}");
    assert!(schedule.next_fires.is_empty());
    assert!(place.serve_log().contains("paused itself"));

    let schedule = control.resume("tiny");
    assert_eq!((schedule.paused, schedule.failures_in_a_row), (false, 0));
    assert_eq!(schedule.pause_reason, "");
    assert_eq!(control.pause("tiny").pause_reason, "paused on request");
    drop(control);
    assert_eq!(serving.terminate(), Some(0));
    assert_eq!(place.history().len(), 3);
    place.assert_nothing_left();
}

#[test]
fn a_schedule_that_is_taken_out_while_it_is_built_owes_nothing() {
    let more = "retry = 1\nretry_backoff = \"10s\"\n\
                image.environment = { TINY_BUILD_FAIL = \"space\", TINY_BUILD_SECONDS = \"8\" }";
    let (tiny, other) = (tiny_schedule("tiny", more), tiny_schedule("other", ""));
    let place = Place::new(&format!("{tiny}{other}"));
    let file = place.path().join("schedules.toml");
    let serving = place.serve();
    let control = Control::of(&serving);
    let names = |count: usize| {
        wait_for("the changed file", Duration::from_mins(1), || {
            let schedules = control.schedules().schedules;
            (schedules.len() == count).then_some(schedules)
        })
    };
    control.trigger("tiny").unwrap();
    place.wait_for_state(&["building"], Duration::from_mins(1));
    std::fs::write(&file, &other).unwrap();
    names(1);
    let builds = ended(&place, 1);
    assert_eq!(builds[0]["reason"], "scratch_full");

    std::fs::write(&file, format!("{tiny}{other}")).unwrap();
    for schedule in names(2) {
        assert!(schedule.retry_at.is_none() && !schedule.paused, "{schedule:?}");
    }
    assert_eq!(serving.terminate(), Some(0));
    assert_eq!(place.history().len(), 1);
}
