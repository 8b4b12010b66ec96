//! The published image is verified again: nothing is built, and what it says decides about the name.

use std::fs;
use std::time::Duration;

use image_manager_proto::v1::TrialState;
use serde_json::Value as Json;
use tonic::Code;

use super::control::Control;
use super::harness::published::{self, PUBLISH};
use super::harness::{Place, text, tiny_schedule, wait_for};
use super::monitoring::scrape;

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

/// The image that has the name, as `images` prints it.
fn current_image(place: &Place) -> Json {
    let output = place.run(&["images", "tiny", "--format", "json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let all: Vec<Json> = serde_json::from_slice(&output.stdout).unwrap();
    all.into_iter().find(|image| image["state"] == "current").unwrap()
}

/// The build whose image has the name.
fn current(place: &Place) -> String {
    current_image(place)["build_id"].as_str().unwrap().to_owned()
}

/// How the image that has the name was verified last, and by which build.
fn verified(place: &Place) -> (String, String) {
    let image = current_image(place);
    assert!(image["verified_at"].is_string(), "{image}");
    let word = |key: &str| image[key].as_str().unwrap().to_owned();
    (word("verified_verdict"), word("verified_by"))
}

/// Waits for the end of the newest build.
fn ended(place: &Place) -> Json {
    wait_for("the verification to end", Duration::from_mins(4), || {
        let build = place.latest();
        (!build["finished_at"].is_null()).then_some(build)
    })
}

fn rewrite(place: &Place, more: &str) {
    fs::write(place.path().join("schedules.toml"), tiny_schedule("tiny", &format!("{PUBLISH}\n{more}")))
        .unwrap();
}

fn stage<'a>(build: &'a Json, name: &str) -> &'a Json {
    build["stages"].as_array().unwrap().iter().find(|stage| stage["name"] == name).unwrap()
}

/// By another name of an image, that is the one that may be lost.
fn verify_by_another_name(place: &Place, build: &str) {
    place.expect(&["promote", build, "--as", "stable"], 0);
    place.expect(&["verify", "stable"], 1);
    let failed = place.latest();
    assert_eq!(failed["trials"][0]["image_of"], build, "{failed}");
    let told = stage(&failed, "publishing")["detail"].as_str().unwrap();
    assert!(told.contains("stable on local did not go back"), "{told}");
    let said = place.expect(&["verify", "stabel"], 64);
    assert!(said.contains("no schedule \"stabel\""), "{said}");
}

#[test]
fn a_published_image_is_verified_again_and_keeps_or_loses_its_name() {
    let place = Place::tiny(PUBLISH);
    let said = place.expect(&["verify", "tiny"], 64);
    assert!(said.contains("no image has the name tiny on local"), "{said}");
    let said = place.expect(&["verify", "stable"], 64);
    assert!(said.contains("no schedule \"stable\"") && said.contains("schedules.toml"), "{said}");
    let old = build(&place);
    let new = build(&place);
    let file = place.state().join("images/published/tiny.qcow2");
    let before = fs::read(&file).unwrap();
    assert_eq!(verified(&place), ("passed".to_owned(), new.clone()), "by its own build");

    // In the foreground.
    place.expect(&["verify", "tiny"], 0);
    let again = place.latest();
    assert_eq!(verified(&place), ("passed".to_owned(), id(&again)));
    assert_eq!((&again["state"], &again["verification"]), (&"succeeded".into(), &true.into()), "{again}");
    assert_eq!(again["trials"][0]["image_of"], new.as_str(), "{again}");
    for skipped in ["building", "uploading", "publishing"] {
        assert_eq!(stage(&again, skipped)["state"], "skipped", "{again}");
    }
    assert_eq!(stage(&again, "verifying")["state"], "done", "{again}");
    let said = place.expect(&["show", "latest"], 0);
    assert!(said.contains(&format!("verification of the published image of build {new}")), "{said}");
    assert!(fs::read(&file).unwrap() == before, "the image is untouched");
    place.assert_nothing_left();

    // The image fails for real, and keeps its name.
    rewrite(&place, TOO_MUCH);
    let serving = place.serve();
    place.expect(&["verify", "tiny"], 1);
    let failed = place.latest();
    assert_eq!((&failed["state"], &failed["reason"]), (&"failed".into(), &"check_failed".into()), "{failed}");
    let told = stage(&failed, "publishing")["detail"].as_str().unwrap();
    assert!(told.contains("tiny on local stays this image"), "{told}");
    assert_eq!(current(&place), new);
    assert_eq!(verified(&place), ("failed".to_owned(), id(&failed)));
    let metrics = scrape(&serving.operator);
    for (verdict, value) in [("passed", 0), ("failed", 1), ("errored", 0)] {
        let sample = format!(
            "image_manager_image_verified{{name=\"tiny\",cloud=\"local\",verdict=\"{verdict}\"}} {value}"
        );
        assert!(metrics.contains(&sample), "{sample}\n{metrics}");
    }
    let at = "image_manager_image_verified_timestamp_seconds{name=\"tiny\",cloud=\"local\"} 1";
    assert!(metrics.contains(at), "{metrics}");
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
    verify_by_another_name(&place, &old);
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
fn a_verification_that_is_cut_off_before_its_server_is_gone_on_with() {
    cut_off([("create_build#1:after", "succeeded"), ("advance:trying#1:after", "succeeded")]);
}

#[test]
fn a_verification_that_is_cut_off_with_its_server_is_ended() {
    // The next manager's gateway is at another port, where its agent does not come.
    cut_off([("record:server#1:after", "errored"), ("trial:cleaning_up#1:after", "succeeded")]);
}

/// At each point, and how it ends then.
fn cut_off(points: [(&str, &str); 2]) {
    let (place, [only]) = published::place(PUBLISH);
    let file = place.state().join("images/published/tiny.qcow2");
    let before = fs::read(&file).unwrap();
    for (point, end) in points {
        let count = place.history().len();
        let serving = place.serve_in(&[], &[("IMAGE_MANAGER_TEST_KILL", point)]);
        place.expect(&["verify", "tiny"], 2);
        serving.ended();
        assert!(fs::read(&file).unwrap() == before, "{point}: the image is untouched");
        let serving = place.serve();
        let build = ended(&place);
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
    let (place, [old, _]) = published::place(PUBLISH);
    rewrite(&place, &format!("{TOO_MUCH}\non_failure = \"rollback\""));
    let serving = place.serve_in(&[], &[("IMAGE_MANAGER_TEST_KILL", "handover:begin#1:after")]);
    place.expect(&["verify", "tiny"], 2);
    serving.ended();
    let serving = place.serve();
    let build = ended(&place);
    assert_eq!((&build["state"], &build["reason"]), (&"failed".into(), &"check_failed".into()), "{build}");
    wait_for("the name to go back", Duration::from_mins(1), || (current(&place) == old).then_some(()));
    assert_eq!(serving.terminate(), Some(0));
    place.assert_nothing_left();
}

/// A verification comes due by itself, and says nothing of builds.
#[test]
fn a_published_image_is_verified_again_by_its_cron_entry() {
    let (place, [only]) = published::place(&format!("{PUBLISH}\nreverify = \"* * * * *\""));
    let serving = place.serve();
    let build = wait_for("a verification to end", Duration::from_mins(4), || {
        let build = place.latest();
        (build["verification"] == true && !build["finished_at"].is_null()).then_some(build)
    });
    assert_eq!((&build["state"], &build["trigger"]), (&"succeeded".into(), &"cron".into()), "{build}");
    assert_eq!(current(&place), only);
    drop(serving);
}

/// The image's file is removed by hand, then replaced: nothing is booted, no name moves, and the hint works.
#[test]
fn an_image_that_is_gone_or_replaced_is_told_as_that() {
    let more = format!("{PUBLISH}\non_failure = \"rollback\"\nretry = 2\nretry_backoff = \"1s\"");
    let (place, [old, new]) = published::place(&more);
    let file = place.state().join("images/published/tiny.qcow2");
    let image = fs::read(&file).unwrap();
    for replaced in [false, true] {
        if replaced {
            fs::write(&file, &image[..image.len() / 2]).unwrap();
        } else {
            fs::remove_file(&file).unwrap();
        }
        let serving = place.serve();
        let said = place.expect(&["verify", "tiny"], 2);
        assert!(said.contains("image-manager rollback"), "{said}");
        let told = place.latest();
        assert_eq!(
            (&told["verdict"], &told["reason"]),
            (&"errored".into(), &"image_unavailable".into()),
            "{told}"
        );
        assert_eq!(told["trials"][0]["attempt"], 1, "another attempt would find the same: {told}");
        assert_eq!(stage(&told, "booting")["state"], "failed", "{told}");
        assert_eq!(current(&place), new, "no name moves by itself");
        assert_eq!(verified(&place), ("errored".to_owned(), id(&told)));
        assert_eq!(serving.terminate(), Some(0));
        place.assert_nothing_left();
    }
    let serving = place.serve();
    place.expect(&["rollback", "tiny"], 0);
    assert_eq!(current(&place), old);
    place.expect(&["verify", "tiny"], 0);
    assert_eq!(serving.terminate(), Some(0));
    place.assert_nothing_left();
}

/// While it waits for its turn, behind a trial on the same cloud, the image is revoked; and a second one of the same
/// schedule is refused.
#[test]
fn an_image_that_was_revoked_meanwhile_is_not_booted() {
    let other = tiny_schedule(
        "other",
        "image.environment = { TINY_CANARY = \"cloud-init-hanging\" }\nchecks = { cloud_init = {} }",
    );
    let (place, [old, new]) = published::place(&format!("{PUBLISH}\nchecks.set = \"minimal\"\n{other}"));
    let serving = place.serve_with(&["--concurrent-trials", "1"]);
    let control = Control::of(&serving);
    let other = control.trigger("other").unwrap().id;
    wait_for("the other's server", Duration::from_mins(2), || control.build(&other).server.map(drop));
    let again = control.verify("tiny");
    let said = place.expect(&["verify", "tiny"], 2);
    assert!(said.contains("is being built already") && said.contains(&again.id), "{said}");
    place.expect(&["revoke", &new, "--reason", "leaked key"], 0);
    assert_eq!(current(&place), old);
    assert_eq!(control.build(&again.id).trials[0].state(), TrialState::Waiting);
    place.expect(&["cancel", &other], 0);
    let told = wait_for("the verification to end", Duration::from_mins(4), || {
        let build = control.build(&again.id);
        build.finished_at.is_some().then_some(build)
    });
    assert_eq!(told.reason, "image_replaced", "{told:?}");
    let failure = told.failure.unwrap();
    assert!(failure.message.contains("leaked key"), "{failure:?}");
    assert!(failure.hint.contains("image-manager verify"), "{failure:?}");
    assert_eq!(serving.terminate(), Some(0));
    place.assert_nothing_left();
}

/// A verification that waits when the manager is killed, and whose target is gone when the next one starts.
#[test]
fn a_verification_whose_target_is_gone_says_so() {
    let target = |name: &str| format!("{PUBLISH}\n[[schedule.tiny.targets]]\nname = \"{name}\"\n");
    let (place, [only]) = published::place(&target("small"));
    for point in ["create_build#1:after", "advance:trying#1:after", "record:server#1:after"] {
        fs::write(place.path().join("schedules.toml"), tiny_schedule("tiny", &target("small"))).unwrap();
        let serving = place.serve_in(&[], &[("IMAGE_MANAGER_TEST_KILL", point)]);
        place.expect(&["verify", "tiny"], 2);
        serving.ended();
        fs::write(place.path().join("schedules.toml"), tiny_schedule("tiny", &target("large"))).unwrap();
        let serving = place.serve();
        let told = ended(&place);
        assert_eq!(
            (&told["state"], &told["reason"]),
            (&"errored".into(), &"interrupted".into()),
            "{point}: {told}"
        );
        let message = told["failure"]["message"].as_str().unwrap();
        assert!(message.contains("its schedule has since changed"), "{point}: {message}");
        assert_eq!(current(&place), only, "{point}");
        // The new target has the image too.
        if point == "create_build#1:after" {
            place.expect(&["verify", "tiny"], 0);
            assert_eq!(place.latest()["trials"][0]["target"], "large");
        }
        assert_eq!(serving.terminate(), Some(0), "{point}");
    }
    place.assert_nothing_left();
}

/// Somebody removes the image while its server runs, which has it open; the next one says so. No manager does that: a name is
/// one schedule's, and that builds and prunes nothing meanwhile.
#[test]
fn an_image_that_is_removed_while_its_server_runs_is_verified_to_the_end() {
    let (place, [_]) = published::place(&format!("{PUBLISH}\nchecks = {{ disk = {{}} }}"));
    let serving = place.serve();
    let control = Control::of(&serving);
    let again = control.verify("tiny");
    assert_eq!(control.trigger("tiny").unwrap_err().code(), Code::AlreadyExists);
    wait_for("the server", Duration::from_mins(2), || control.build(&again.id).server.map(drop));
    fs::remove_file(place.state().join("images/published/tiny.qcow2")).unwrap();
    let told = wait_for("the verification to end", Duration::from_mins(4), || {
        let build = control.build(&again.id);
        build.finished_at.is_some().then_some(build)
    });
    assert_eq!(told.reason, "", "{told:?}");
    place.expect(&["verify", "tiny"], 2);
    assert_eq!(place.latest()["reason"], "image_unavailable");
    assert_eq!(serving.terminate(), Some(0));
    place.assert_nothing_left();
}
