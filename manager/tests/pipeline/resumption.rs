//! The manager is killed beside a commit, and the next one goes on where that is right.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value as Json;

use super::harness::{Place, wait_for};

/// An address that nothing listens on; the next manager takes it again.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Serves at this gateway, has `tiny` built, and is killed beside the commit. Returns the build's id.
fn killed_at(place: &Place, gateway: &str, point: &str) -> String {
    let known = place.history().len();
    let log = fs::File::create(place.path().join("killed.log")).unwrap();
    let mut serve = place
        .command(&["serve", "--operator", "127.0.0.1:0", "--gateway", gateway])
        .env("IMAGE_MANAGER_TEST_KILL", point)
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let said = || fs::read_to_string(place.path().join("killed.log")).unwrap_or_default();
    let holder = place.state().join("manager.json");
    wait_for("the manager to serve", Duration::from_secs(90), || {
        assert!(serve.try_wait().unwrap().is_none(), "it ended:\n{}", said());
        let holder: Json = serde_json::from_str(&fs::read_to_string(&holder).ok()?).ok()?;
        (holder["pid"] == u64::from(serve.id()) && !holder["operator"].is_null()).then_some(())
    });
    let mut asking = place.command(&["run", "tiny"]);
    let mut asking = asking.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status =
        wait_for(&format!("the kill at {point}"), Duration::from_mins(3), || serve.try_wait().unwrap());
    assert_eq!(status.signal(), Some(9), "{}", said());
    asking.wait().unwrap();
    let history = place.history();
    assert_eq!(history.len(), known + 1, "{}", said());
    history[0]["id"].as_str().unwrap().to_owned()
}

/// Serves again until the build has ended; returns it.
#[track_caller]
fn resumed(place: &Place, gateway: &str, id: &str) -> Json {
    let serving = place.serve_with(&["--gateway", gateway]);
    let build = wait_for("the build's end", Duration::from_mins(3), || {
        let build = place.history().into_iter().find(|build| build["id"] == id)?;
        (!build["finished_at"].is_null()).then_some(build)
    });
    assert_eq!(serving.terminate(), Some(0));
    place.assert_nothing_left();
    build
}

#[track_caller]
fn assert_passed(place: &Place, build: &Json) {
    assert_eq!(build["state"], "succeeded", "{build}\n{}", place.serve_log());
    assert!(place.serve_log().contains("resumed"), "{}", place.serve_log());
    let published = place.state().join("images/published/tiny.qcow2");
    let hash = std::process::Command::new("sha512sum").arg(published).output().unwrap();
    assert!(super::harness::text(&hash.stdout).starts_with(build["image"]["sha512"].as_str().unwrap()));
}

#[test]
fn a_whole_artifact_is_uploaded_again() {
    let place = Place::tiny("publish.name = \"tiny\"\nchecks = {}");
    let gateway = free_address();
    // Nothing of the upload has happened; then all of it but its last word.
    for point in ["trial:uploading#1:after", "created:image#1:before"] {
        let id = killed_at(&place, &gateway, point);
        let build = resumed(&place, &gateway, &id);
        assert_passed(&place, &build);
    }
}

#[test]
fn a_damaged_artifact_is_built_again_when_the_schedule_says_so() {
    let place = Place::tiny("checks = {}\nretry = 1\nretry_backoff = \"1s\"");
    let gateway = free_address();
    let id = killed_at(&place, &gateway, "trial:uploading#1:after");
    let image = fs::read_dir(place.state().join("scratch").join(&id).join("out")).unwrap().flatten();
    let image = image.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|e| e == "qcow2"));
    let image = image.unwrap();
    let length = image.metadata().unwrap().len();
    fs::File::options().write(true).open(&image).unwrap().set_len(length - 1).unwrap();

    let serving = place.serve();
    let builds = wait_for("the retry", Duration::from_mins(3), || {
        let builds = place.history();
        (builds.len() == 2 && builds.iter().all(|build| !build["finished_at"].is_null())).then_some(builds)
    });
    assert_eq!((&builds[1]["id"], &builds[1]["reason"]), (&id.as_str().into(), &"interrupted".into()));
    assert_eq!(builds[1]["failure"]["stage"], "uploading");
    assert!(builds[1]["failure"]["message"].as_str().unwrap().contains("no longer what was built"));
    assert_eq!((&builds[0]["retry_of"], &builds[0]["state"]), (&id.as_str().into(), &"succeeded".into()));
    assert_eq!(serving.terminate(), Some(0));
    place.assert_nothing_left();
}

#[test]
fn a_server_whose_agent_can_come_goes_on() {
    let place = Place::tiny("publish.name = \"tiny\"\nchecks = { disk = {} }");
    let gateway = free_address();
    // Before the agent came, and after: then it comes once more.
    for point in ["record:server#1:after", "record:agent#1:after"] {
        let id = killed_at(&place, &gateway, point);
        let server = place.latest()["server"]["id"].clone();
        assert!(server.is_string());
        let build = resumed(&place, &gateway, &id);
        assert_passed(&place, &build);
        assert_eq!(build["server"]["id"], server, "no second server");
    }

    // Its agent dials an address where nobody is any more.
    let id = killed_at(&place, &gateway, "record:server#1:after");
    let build = resumed(&place, &free_address(), &id);
    assert_eq!((&build["state"], &build["reason"]), (&"errored".into(), &"interrupted".into()));
    let message = build["failure"]["message"].as_str().unwrap();
    assert!(message.contains("its agent dials"), "{message}");
}

#[test]
fn publishing_is_finished() {
    let place = Place::tiny("publish = { name = \"tiny\", keep = 1 }\nchecks = {}");
    let gateway = free_address();
    // Before the name was given, and after.
    for point in ["advance:publishing#1:after", "record:image#2:before"] {
        let id = killed_at(&place, &gateway, point);
        let build = resumed(&place, &gateway, &id);
        assert_passed(&place, &build);
        assert_eq!(build["image"]["name"], "tiny");
    }
}
