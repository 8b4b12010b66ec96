//! The verbs that ask the manager which serves, and tell it what to do.

use std::time::Duration;

use serde_json::Value as Json;

use super::harness::{Place, text, tiny_schedule, wait_for};

#[test]
fn a_manager_that_serves_is_told_what_to_do_and_says_what_it_does() {
    let slow = tiny_schedule("slow", "image.environment = { TINY_BUILD_SECONDS = \"300\" }\nchecks = {}");
    let nightly = tiny_schedule("nightly", "cron = \"0 2 * * *\"\nchecks = {}");
    let place = Place::new(&format!("{slow}{nightly}"));
    let nobody = place.expect(&["status"], 64);
    assert!(nobody.contains("start `image-manager serve` first"), "{nobody}");
    let serving = place.serve();
    let idle = place.expect(&["status"], 0);
    assert!(idle.contains("2 schedules") && idle.contains("no build\n"), "{idle}");
    assert!(idle.contains("nightly in ") && idle.trim_end().ends_with("nothing"), "{idle}");

    // The id alone on stdout: for scripts.
    let id = text(&place.run(&["trigger", "slow"]).stdout).trim().to_owned();
    assert_eq!(id.len(), 36, "{id}");
    place.wait_for_state(&["building"], Duration::from_mins(1));
    let busy = place.expect(&["status"], 0);
    assert!(busy.contains("slow building, for ") && busy.contains(&id), "{busy}");
    let json: Json = serde_json::from_slice(&place.run(&["status", "--format", "json"]).stdout).unwrap();
    assert_eq!(
        (&json["builds"][0]["id"], &json["schedules"][0]["name"]),
        (&id.clone().into(), &"slow".into())
    );

    let said = place.expect(&["cancel", id.get(..18).unwrap()], 0);
    assert!(said.contains(&id) && said.contains("is being cancelled"), "{said}");
    wait_for("the build to be cancelled", Duration::from_mins(1), || {
        (place.latest()["state"] == "cancelled").then_some(())
    });
    let again = place.expect(&["cancel", &id], 64);
    assert!(again.contains("has already ended"), "{again}");

    let paused = place.expect(&["pause", "nightly"], 0);
    assert!(paused.contains("nightly is paused"), "{paused}");
    let listed = place.expect(&["schedules"], 0);
    assert!(listed.lines().any(|line| line.contains("nightly") && line.contains("paused")), "{listed}");
    let status = place.expect(&["status"], 0);
    assert!(status.contains("image-manager resume nightly"), "{status}");
    let resumed = place.expect(&["resume", "nightly"], 0);
    assert!(resumed.contains("it fires next at 20"), "{resumed}");
    let slip = place.expect(&["pause", "nigtly"], 64);
    assert!(slip.contains("did you mean \"nightly\"?"), "{slip}");
    serving.terminate();
    place.assert_nothing_left();
}
