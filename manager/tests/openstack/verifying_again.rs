//! A published image in Glance is booted and asked once more: without an upload, and without a copy of it.

use std::fs;

use reqwest::Method;
use serde_json::{Value as Json, json};

use super::lab::{Lab, detail_of, tiny_schedule};
use super::publications::{image, serve};

/// More than the flavor's disk has: the image fails for real.
const TOO_MUCH: &str = "checks = { disk = { min_free = \"50 GiB\" } }";

fn schedule(name: &str, more: &str) -> String {
    tiny_schedule("tiny", "lab", &format!("publish = {{ name = \"{name}\" }}\n{more}"))
}

fn id(build: &Json) -> &str {
    build["id"].as_str().unwrap()
}

/// The row of a build in `images`.
#[track_caller]
fn row(lab: &Lab, name: &str, build: &Json) -> Json {
    let listed = lab.command(&["images", name, "--format", "json"]).output().unwrap();
    let listed: Vec<Json> = serde_json::from_slice(&listed.stdout).unwrap();
    listed.into_iter().find(|row| row["build_id"] == build["id"]).unwrap()
}

/// Glance's own images and the manager's that a verification must neither make nor change.
fn images(lab: &Lab, builds: &[&Json]) -> Vec<Json> {
    let mut all: Vec<Json> = builds.iter().flat_map(|build| lab.admin.images_of(id(build))).collect();
    for image in &mut all {
        // Nova notes nothing in an image that it boots; only what changes is compared.
        image.as_object_mut().unwrap().retain(|key, _| {
            ["id", "name", "status", "os_hidden", "os_hash_value", "updated_at", "visibility"]
                .contains(&&**key)
        });
    }
    all
}

#[test]
fn a_published_image_is_booted_from_glance_and_keeps_or_loses_its_name() {
    let name = format!("im-test-again-{}", std::process::id());
    let Some(lab) = Lab::with(&schedule(&name, "checks = { disk = {} }")) else { return };
    let [old, new] = [(); 2].map(|()| {
        lab.expect(&["run", "tiny"], 0);
        lab.latest()
    });
    let before = images(&lab, &[&old, &new]);
    let has = |build: &Json| {
        let image = image(&lab, build);
        image["name"] == *name && image["os_hidden"] == false
    };
    assert!(has(&new) && !has(&old));

    // It passes, and nothing in Glance is made, copied or changed.
    lab.expect(&["verify", "tiny"], 0);
    let again = lab.latest();
    assert_eq!((&again["state"], &again["verification"]), (&"succeeded".into(), &true.into()), "{again:#}");
    assert_eq!(again["trials"][0]["image_of"], new["id"]);
    assert_eq!(again["image"]["id"], new["image"]["id"], "the image in Glance itself");
    let kinds: Vec<_> =
        again["resources"].as_array().unwrap().iter().map(|row| row["kind"].clone()).collect();
    assert!(!kinds.iter().any(|kind| kind == "image" || kind == "scratch"), "{kinds:?}");
    assert!(lab.admin.images_of(id(&again)).is_empty(), "no image of its own");
    assert_eq!(images(&lab, &[&old, &new]), before);
    let directory = lab.directory_of(&again);
    assert!(!directory.join("build.log").exists(), "disk-image-builder did not run");
    for log in ["console.log", "agent.jsonl"] {
        assert!(fs::metadata(directory.join(log)).unwrap().len() > 0, "{log}");
    }
    let told = row(&lab, &name, &new);
    assert_eq!((&told["verified_verdict"], &told["verified_by"]), (&"passed".into(), &again["id"]), "{told}");
    lab.assert_nothing_left();

    // It fails, and keeps its name.
    lab.reschedule(&schedule(&name, TOO_MUCH));
    lab.expect(&["verify", "tiny"], 1);
    let failed = lab.latest();
    assert_eq!((&failed["reason"], &failed["stage"]), (&"check_failed".into(), &Json::Null), "{failed:#}");
    let told = detail_of(&failed, "publishing");
    assert!(told.contains(&format!("{name} on lab stays this image")), "{told}");
    assert!(has(&new) && !has(&old));
    assert_eq!(row(&lab, &name, &new)["verified_verdict"], "failed");

    // It fails, and the name goes back.
    lab.reschedule(&schedule(&name, &format!("{TOO_MUCH}\non_failure = \"rollback\"")));
    let serving = serve(&lab);
    lab.expect(&["verify", "tiny"], 1);
    let told = lab.latest();
    let told = detail_of(&told, "publishing");
    assert!(told.contains(&format!("went back to build {}", id(&old))), "{told}");
    assert!(has(&old) && !has(&new));
    let now = row(&lab, &name, &old);
    assert_eq!((&now["state"], &now["kind"]), (&"current".into(), &"rolled_back".into()), "{now}");
    assert_eq!(now["published_by"], "manager");
    lab.assert_nothing_left();
    drop(serving);
}

/// What people do to a published image by hand: each verification says what became of it, and moves no name.
#[test]
fn an_image_that_was_hidden_deactivated_or_deleted_by_hand_is_told_as_it_is() {
    let name = format!("im-test-byhand-{}", std::process::id());
    let more = "checks = { disk = {} }\non_failure = \"rollback\"\nretry = 2\nretry_backoff = \"1s\"";
    let Some(lab) = Lab::with(&schedule(&name, more)) else { return };
    let [old, new] = [(); 2].map(|()| {
        lab.expect(&["run", "tiny"], 0);
        lab.latest()
    });
    let path = format!("v2/images/{}", new["image"]["id"].as_str().unwrap());
    let verify = |code| {
        lab.expect(&["verify", "tiny"], code);
        let build = lab.latest();
        assert_eq!(row(&lab, &name, &new)["state"], "current", "{build:#}");
        assert_eq!(image(&lab, &old)["os_hidden"], true, "{build:#}");
        lab.assert_nothing_left();
        build
    };
    let hide = |hidden: bool| json!([{"op": "replace", "path": "/os_hidden", "value": hidden}]);
    lab.admin.ask(Method::PATCH, "image", &path, Some(hide(true)));
    let hidden = verify(0);
    assert_eq!(hidden["state"], "succeeded", "a hidden image can be booted as ever");
    lab.admin.ask(Method::PATCH, "image", &path, Some(hide(false)));

    let (code, _) = lab.admin.ask(Method::POST, "image", &format!("{path}/actions/deactivate"), None);
    assert!(code < 300, "{code}");
    let told = verify(2);
    assert_eq!((&told["verdict"], &told["trials"][0]["attempt"]), (&"errored".into(), &1.into()), "{told:#}");
    assert_eq!(told["reason"], "image_unavailable", "{told:#}");
    let message = told["failure"]["message"].as_str().unwrap();
    assert!(message.contains("deactivated"), "{message}");
    lab.admin.ask(Method::POST, "image", &format!("{path}/actions/reactivate"), None);

    lab.admin.ask(Method::DELETE, "image", &path, None);
    assert!(lab.admin.images_of(id(&new)).is_empty());
    let gone = {
        lab.expect(&["verify", "tiny"], 2);
        lab.latest()
    };
    assert_eq!(
        (&gone["verdict"], &gone["reason"]),
        (&"errored".into(), &"image_unavailable".into()),
        "{gone:#}"
    );
    assert_eq!(gone["trials"][0]["attempt"], 1, "another attempt would find the same");
    assert!(gone["failure"]["hint"].as_str().unwrap().contains("image-manager rollback"), "{gone:#}");
    assert_eq!(row(&lab, &name, &new)["state"], "current", "nobody moves a name by itself");
    lab.assert_nothing_left();
    // As the hint says.
    let serving = serve(&lab);
    lab.expect(&["rollback", &name], 0);
    assert_eq!(image(&lab, &old)["name"], *name);
    lab.expect(&["verify", "tiny"], 0);
    drop(serving);
    let log = fs::read_to_string(lab.path().join("run.log")).unwrap_or_default();
    assert!(!log.contains("panic"), "{log}");
    lab.assert_nothing_left();
}
