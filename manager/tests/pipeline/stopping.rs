//! Told to stop: what is under way may come to its end, what waits waits on, a second signal hurries.

use std::time::Duration;

use super::control::Control;
use super::harness::{Place, tiny_schedule, wait_for};

#[test]
fn a_build_under_way_may_come_to_its_end() {
    let slow = tiny_schedule("slow", "image.environment = { TINY_BUILD_SECONDS = \"10\" }\nchecks = {}");
    let place = Place::new(&format!("{slow}{}", tiny_schedule("other", "checks = {}")));
    let serving = place.serve_with(&["--grace", "5m"]);
    let control = Control::of(&serving);
    let slow = control.trigger("slow").unwrap().id;
    place.wait_for_state(&["building"], Duration::from_mins(1));
    let other = control.trigger("other").unwrap().id;
    let state = |id: &str| {
        let build = place.history().into_iter().find(|build| build["id"] == id).unwrap();
        build["state"].as_str().unwrap().to_owned()
    };
    serving.signal("TERM");
    wait_for("the manager to take no more builds", Duration::from_secs(30), || {
        place.serve_log().contains("no more builds are accepted").then_some(())
    });
    let refused = control.trigger("other").unwrap_err();
    assert!(matches!(refused.code(), tonic::Code::Unavailable | tonic::Code::AlreadyExists), "{refused}");
    assert_eq!(serving.ended(), Some(0));
    assert_eq!((state(&slow).as_str(), state(&other).as_str()), ("succeeded", "queued"));
    place.assert_nothing_left();

    let serving = place.serve();
    wait_for("what waited", Duration::from_mins(2), || (state(&other) == "succeeded").then_some(()));
    assert_eq!(serving.terminate(), Some(0));
}

#[test]
fn a_second_signal_hurries() {
    let place = Place::tiny("image.environment = { TINY_CANARY = \"cloud-init-hanging\" }");
    let serving = place.serve_with(&["--grace", "10m"]);
    Control::of(&serving).trigger("tiny").unwrap();
    place.wait_for_state(&["verifying"], Duration::from_mins(2));
    serving.signal("TERM");
    wait_for("the first signal to be heard", Duration::from_secs(30), || {
        place.serve_log().contains("no more builds are accepted").then_some(())
    });
    assert_eq!(serving.terminate(), Some(0));
    assert_eq!(place.latest()["reason"], "interrupted");
    place.assert_nothing_left();
}

/// A check that failed before the manager was gone decides, also when the agent never came to its last word.
#[test]
fn a_known_failure_decides_when_the_manager_stops_or_is_killed() {
    let place = Place::tiny(
        "image.environment = { TINY_CANARY = \"cloud-init-hanging\" }\n\
         checks = { disk = { min_free = \"100 GiB\", timeout = \"10s\" }, cloud_init = {} }",
    );
    for signal in ["TERM", "KILL"] {
        let serving = place.serve_with(&["--grace", "0s"]);
        Control::of(&serving).trigger("tiny").unwrap();
        wait_for("the disk's failure", Duration::from_mins(3), || {
            let latest = place.latest();
            let checks = latest["checks"].as_array()?.clone();
            let failed = |check: &serde_json::Value| check["name"] == "disk" && check["outcome"] == "fail";
            (latest["trials"][0]["state"] == "verifying" && checks.iter().any(failed)).then_some(())
        });
        serving.signal(signal);
        serving.ended();
        if signal == "KILL" {
            let next = place.serve();
            place.wait_for_state(&["failed"], Duration::from_mins(2));
            assert_eq!(next.terminate(), Some(0));
        }
        let build = place.latest();
        assert_eq!(
            (&build["state"], &build["reason"]),
            (&"failed".into(), &"check_failed".into()),
            "{signal}"
        );
        let message = build["failure"]["message"].as_str().unwrap();
        assert!(message.contains("then interrupted"), "{message}");
    }
    place.assert_nothing_left();
}
