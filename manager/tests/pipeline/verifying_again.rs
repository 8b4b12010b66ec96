//! The published image is verified again: nothing is built, and what it says decides about the name.

use std::fs;
use std::time::Duration;

use serde_json::Value as Json;

use super::harness::{Place, text, tiny_schedule, wait_for};

const PUBLISH: &str = "publish = { name = \"tiny\" }";
/// More than the server's disk has: the image fails for real.
const TOO_MUCH: &str = "checks.disk = { min_free = \"500 MiB\" }";

/// Builds, and returns the build's id.
fn build(place: &Place) -> String {
    place.expect(&["run", "tiny"], 0);
    id(&place.latest())
}

fn id(build: &Json) -> String {
    build["id"].as_str().unwrap().to_owned()
}

/// The build whose image has the name.
fn current(place: &Place) -> String {
    let output = place.run(&["images", "tiny", "--format", "json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let all: Vec<Json> = serde_json::from_slice(&output.stdout).unwrap();
    let current = all.iter().find(|image| image["state"] == "current").unwrap();
    current["build_id"].as_str().unwrap().to_owned()
}

fn rewrite(place: &Place, more: &str) {
    fs::write(place.path().join("schedules.toml"), tiny_schedule("tiny", &format!("{PUBLISH}\n{more}")))
        .unwrap();
}

fn stage<'a>(build: &'a Json, name: &str) -> &'a Json {
    build["stages"].as_array().unwrap().iter().find(|stage| stage["name"] == name).unwrap()
}

#[test]
fn a_published_image_is_verified_again_and_keeps_or_loses_its_name() {
    let place = Place::tiny(PUBLISH);
    let said = place.expect(&["verify", "tiny"], 64);
    assert!(said.contains("no image has the name tiny on local"), "{said}");
    let old = build(&place);
    let new = build(&place);
    let file = place.state().join("images/published/tiny.qcow2");
    let before = fs::read(&file).unwrap();

    // In the foreground.
    place.expect(&["verify", "tiny"], 0);
    let again = place.latest();
    assert_eq!((&again["state"], &again["verification"]), (&"succeeded".into(), &true.into()), "{again}");
    assert_eq!(again["trials"][0]["image_of"], new.as_str(), "{again}");
    for skipped in ["building", "uploading", "publishing"] {
        assert_eq!(stage(&again, skipped)["state"], "skipped", "{again}");
    }
    assert_eq!(stage(&again, "verifying")["state"], "done", "{again}");
    let said = place.expect(&["show", "latest"], 0);
    assert!(said.contains(&format!("verified again: the published image of build {new}")), "{said}");
    assert!(fs::read(&file).unwrap() == before, "the image is untouched");
    place.assert_nothing_left();

    // The image fails for real, and keeps its name.
    rewrite(&place, TOO_MUCH);
    let serving = place.serve();
    place.expect(&["verify", "tiny"], 1);
    let failed = place.latest();
    assert_eq!((&failed["state"], &failed["reason"]), (&"failed".into(), &"check_failed".into()), "{failed}");
    let told = stage(&failed, "publishing")["detail"].as_str().unwrap();
    assert!(told.contains("tiny on local stays what it is"), "{told}");
    assert_eq!(current(&place), new);
    assert_eq!(serving.terminate(), Some(0));

    // The schedule wants the name to go back.
    rewrite(&place, &format!("{TOO_MUCH}\non_failure = \"rollback\""));
    let serving = place.serve();
    place.expect(&["verify", "tiny"], 1);
    assert_eq!(current(&place), old, "{}", place.latest());
    let failed = place.latest();
    let told = stage(&failed, "publishing")["detail"].as_str().unwrap();
    assert!(told.contains(&format!("went back to build {old}")), "{told}");
    let audit = place.expect(&["audit", "--format", "json"], 0);
    assert!(audit.contains("image.rolled_back") && audit.contains("verified again by build"), "{audit}");
    // The old one fails as well, and there is no other: it stays.
    place.expect(&["verify", "tiny"], 1);
    assert_eq!(current(&place), old);
    let failed = place.latest();
    let told = stage(&failed, "publishing")["detail"].as_str().unwrap();
    assert!(told.contains("no good image to go back to"), "{told}");
    assert_eq!(serving.terminate(), Some(0));
    // Reports are about builds.
    let report = place.run(&["report", "--format", "json"]);
    let report: Json = serde_json::from_slice(&report.stdout).unwrap();
    assert!(
        report.to_string().contains("\"builds\":\"2\"") || report.to_string().contains("\"builds\":2"),
        "{report}"
    );
    place.assert_nothing_left();
}

/// The manager is killed at commits of a verification: the published image stays, and the next manager goes on or says why
/// not; nothing is left behind.
#[test]
fn a_verification_that_is_cut_off_leaves_the_published_image_alone() {
    let place = Place::tiny(PUBLISH);
    let only = build(&place);
    let file = place.state().join("images/published/tiny.qcow2");
    let before = fs::read(&file).unwrap();
    for (point, end) in [
        ("create_build#1:after", "succeeded"),
        ("advance:trying#1:after", "succeeded"),
        // The next manager's gateway is at another port, where its agent does not come.
        ("record:server#1:after", "errored"),
        ("trial:cleaning_up#1:after", "succeeded"),
    ] {
        let count = place.history().len();
        let serving = place.serve_in(&[], &[("IMAGE_MANAGER_TEST_KILL", point)]);
        place.expect(&["verify", "tiny"], 2);
        serving.ended();
        assert!(fs::read(&file).unwrap() == before, "{point}: the image is untouched");
        let serving = place.serve();
        let build = wait_for("the verification to end", Duration::from_mins(3), || {
            let build = place.latest();
            (!build["finished_at"].is_null()).then_some(build)
        });
        assert_eq!(place.history().len(), count + 1, "{point}: neither lost nor doubled");
        assert_eq!(build["state"], end, "{point}: {build}");
        assert!(fs::read(&file).unwrap() == before, "{point}: the image is untouched");
        assert_eq!(current(&place), only, "{point}");
        assert_eq!(serving.terminate(), Some(0), "{point}");
    }
    place.assert_nothing_left();
}

/// The manager is killed while the name goes back: the next one finishes it.
#[test]
fn a_name_that_was_to_go_back_goes_back() {
    let place = Place::tiny(PUBLISH);
    let old = build(&place);
    build(&place);
    rewrite(&place, &format!("{TOO_MUCH}\non_failure = \"rollback\""));
    let serving = place.serve_in(&[], &[("IMAGE_MANAGER_TEST_KILL", "handover:begin#1:after")]);
    place.expect(&["verify", "tiny"], 2);
    serving.ended();
    let serving = place.serve();
    let build = wait_for("the verification to end", Duration::from_mins(3), || {
        let build = place.latest();
        (!build["finished_at"].is_null()).then_some(build)
    });
    assert_eq!((&build["state"], &build["reason"]), (&"failed".into(), &"check_failed".into()), "{build}");
    wait_for("the name to go back", Duration::from_mins(1), || (current(&place) == old).then_some(()));
    assert_eq!(serving.terminate(), Some(0));
    place.assert_nothing_left();
}

/// A verification comes due by itself, and says nothing of builds.
#[test]
fn a_published_image_is_verified_again_by_its_cron_entry() {
    let place = Place::tiny(&format!("{PUBLISH}\nreverify = \"* * * * *\""));
    let only = build(&place);
    let serving = place.serve();
    let build = wait_for("a verification to end", Duration::from_mins(4), || {
        let build = place.latest();
        (build["verification"] == true && !build["finished_at"].is_null()).then_some(build)
    });
    assert_eq!((&build["state"], &build["trigger"]), (&"succeeded".into(), &"cron".into()), "{build}");
    assert_eq!(current(&place), only);
    drop(serving);
}
