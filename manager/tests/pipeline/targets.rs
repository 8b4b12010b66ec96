//! One build tried on several targets: what is built once, what runs side by side, what is published where, and what is
//! tried again alone.

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value as Json;

use super::clouds::{cloud, usual};
use super::control::Control;
use super::harness::{Place, tiny_schedule, wait_for};

/// A schedule with these lines and targets, each a name and further lines.
fn schedule(more: &str, targets: &[(&str, &str)]) -> String {
    let mut text = tiny_schedule("tiny", more);
    for (name, lines) in targets {
        write!(text, "[[schedule.tiny.targets]]\nname = \"{name}\"\n{lines}\n").unwrap();
    }
    text
}

/// Names of what is published in this place.
fn published(place: &Place) -> Vec<String> {
    let files = fs::read_dir(place.state().join("images/published")).into_iter().flatten().flatten();
    files.map(|file| file.file_name().to_string_lossy().into_owned()).collect()
}

fn trial<'a>(build: &'a Json, target: &str) -> &'a Json {
    let trials = build["trials"].as_array().unwrap();
    trials.iter().find(|trial| trial["target"] == target).unwrap_or_else(|| panic!("{target}: {build}"))
}

fn verdicts(build: &Json) -> Vec<(&str, &str)> {
    let trials = build["trials"].as_array().unwrap();
    trials
        .iter()
        .map(|trial| (trial["target"].as_str().unwrap(), trial["verdict"].as_str().unwrap_or("none")))
        .collect()
}

fn stage<'a>(of: &'a Json, name: &str) -> &'a Json {
    let stages = of["stages"].as_array().unwrap();
    stages.iter().find(|stage| stage["name"] == name).unwrap_or_else(|| panic!("{name}: {of}"))
}

/// When a stage ran.
fn span(stage: &Json) -> (DateTime<Utc>, DateTime<Utc>) {
    let at = |key: &str| stage[key].as_str().unwrap_or_else(|| panic!("{stage}")).parse().unwrap();
    (at("started_at"), at("finished_at"))
}

fn overlap(one: &Json, other: &Json) -> bool {
    let ((from, until), (other_from, other_until)) = (span(one), span(other));
    from < other_until && other_from < until
}

/// How often disk-image-builder ran for the newest build: its scratch directories in the ledger.
fn artifacts(build: &Json) -> usize {
    let resources = build["resources"].as_array().unwrap().iter();
    resources.filter(|resource| resource["kind"] == "scratch").count()
}

fn images(build: &Json) -> Vec<&str> {
    let resources = build["resources"].as_array().unwrap().iter();
    resources
        .filter(|resource| resource["kind"] == "image")
        .map(|resource| resource["state"].as_str().unwrap())
        .collect()
}

const FAILS: &str = "checks = { disk = { min_free = \"20 GiB\" } }";
const PASSES: &str = "checks = { disk = {} }";

#[test]
fn three_targets_of_one_build_run_side_by_side_and_one_that_fails_keeps_the_name_back() {
    let place = Place::new(&schedule(
        "publish = { name = \"tiny\" }",
        &[
            ("small", PASSES),
            ("large", &format!("server = {{ memory = \"384 MiB\", disk = \"1 GiB\" }}\n{PASSES}")),
            ("never", FAILS),
        ],
    ));
    let said = place.expect(&["run", "tiny"], 1);
    let build = place.latest();
    assert_eq!(verdicts(&build), [("small", "passed"), ("large", "passed"), ("never", "failed")], "{said}");
    assert_eq!((&build["verdict"], &build["reason"]), (&"failed".into(), &"check_failed".into()));
    assert!(build["failure"]["message"].as_str().unwrap().contains("target never"), "{build}");
    assert_eq!((artifacts(&build), images(&build)), (1, vec!["gone"]), "one build, one upload");
    let boots = ["small", "large", "never"].map(|target| stage(trial(&build, target), "booting").clone());
    assert!(overlap(&boots[0], &boots[1]) && overlap(&boots[1], &boots[2]), "{boots:?}");
    assert_eq!(stage(&build, "publishing")["state"], "skipped");
    assert_eq!(published(&place), Vec::<String>::new());
    place.assert_nothing_left();

    // All targets are on one cloud, so its own trials have not all passed.
    let text = fs::read_to_string(place.path().join("schedules.toml")).unwrap();
    let text = text.replace("name = \"tiny\" }", "name = \"tiny\", when = \"each\" }");
    fs::write(place.path().join("schedules.toml"), &text).unwrap();
    place.expect(&["run", "tiny"], 1);
    assert_eq!(published(&place), Vec::<String>::new());

    // What is not required is reported, and holds nothing up.
    fs::write(place.path().join("schedules.toml"), format!("{text}required = false\n")).unwrap();
    place.expect(&["run", "tiny", "--concurrent-trials", "1"], 0);
    let build = place.latest();
    assert_eq!(verdicts(&build), [("small", "passed"), ("large", "passed"), ("never", "failed")]);
    assert_eq!(build["verdict"], "passed");
    let boots = ["small", "large", "never"].map(|target| stage(trial(&build, target), "booting").clone());
    assert!(!overlap(&boots[0], &boots[1]) && !overlap(&boots[1], &boots[2]), "{boots:?}");
    assert_eq!(
        published(&place).iter().filter(|name| name.starts_with("tiny")).count(),
        published(&place).len()
    );
    assert!(!published(&place).is_empty());
    place.assert_nothing_left();
}

/// Where servers of the other cloud would dial.
const AWAY: [&str; 2] = ["--agent-endpoint", "192.0.2.1:50051"];

/// The target on a cloud that is none.
const FAR: (&str, &str) = ("away", "cloud = \"away\"\nserver.flavor = \"small\"");

/// A place with a schedule on `local` and on a cloud that lets everybody in and makes no image.
fn half_broken(more: &str) -> Place {
    let more = format!("timeouts.upload = \"20s\"\n{more}");
    with_cloud(usual, &schedule(&format!("checks = {{ disk = {{}} }}\n{more}"), &[("here", ""), FAR]))
}

/// A place with these schedules, and a cloud `away` that answers so.
fn with_cloud(answer: impl Fn(&str) -> (u16, Json) + Send + 'static, schedules: &str) -> Place {
    let address = cloud(&["r"], answer);
    let place = Place::new(schedules);
    let auth = format!(
        "{{auth_url: 'http://{address}/v3', username: u, password: p, project_id: p, user_domain_id: d}}"
    );
    let clouds = format!("clouds: {{away: {{region_name: r, auth: {auth}}}}}\n");
    fs::write(place.path().join("clouds.yaml"), clouds).unwrap();
    place
}

#[test]
fn a_broken_cloud_is_tried_again_alone_and_keeps_no_other_from_its_name_when_each_is_published() {
    let place = half_broken(
        "retry = 1\nretry_backoff = \"1s\"\npause_after = 0\npublish = { name = \"tiny\", when = \"each\" }",
    );
    let serving = place.serve_with(&AWAY);
    let control = Control::of(&serving);
    control.trigger("tiny").unwrap();
    wait_for("the build's end", Duration::from_mins(5), || {
        place.history().last().filter(|build| !build["finished_at"].is_null()).cloned()
    });
    let build = place.history().pop().unwrap();
    assert_eq!(verdicts(&build), [("here", "passed"), ("away", "errored")], "{build}");
    assert_eq!(build["verdict"], "errored");
    assert_eq!((artifacts(&build), &trial(&build, "here")["attempt"]), (1, &1.into()));
    assert_eq!(trial(&build, "away")["attempt"], 2, "{build}");
    assert_eq!(stage(&build, "publishing")["state"], "done");
    assert!(!published(&place).is_empty());
    drop(control);
    assert_eq!(serving.terminate(), Some(0));
    place.assert_nothing_left();
}

/// An answer of the cloud that keeps whoever uploads an image waiting, until that is false.
fn hanging() -> (Arc<AtomicBool>, impl Fn(&str) -> (u16, Json) + Send + 'static) {
    let hangs = Arc::new(AtomicBool::new(true));
    let until = Arc::clone(&hangs);
    let answer = move |path: &str| {
        while path.starts_with("/image/v2/images/") && until.load(Ordering::Relaxed) {
            #[expect(clippy::disallowed_methods, reason = "a thread of its own, which is to hang")]
            std::thread::sleep(Duration::from_millis(100));
        }
        // What was uploaded is not there.
        usual(path)
    };
    (hangs, answer)
}

fn build(place: &Place, id: &str) -> Json {
    place.history().into_iter().find(|build| build["id"] == id).unwrap()
}

/// There is one place for builds, and one for trials on each cloud: the cloud that hangs keeps no more than its own.
#[test]
fn a_cloud_that_hangs_holds_up_neither_another_target_nor_another_schedule() {
    let (hangs, answer) = hanging();
    let tiny = schedule("checks = { disk = {} }\ntimeouts.upload = \"10m\"", &[FAR, ("here", "")]);
    let place = with_cloud(answer, &format!("{tiny}{}", tiny_schedule("other", "checks = {}")));
    let serving = place.serve_with(&[&AWAY[..], &["--concurrent-trials", "1"]].concat());
    let control = Control::of(&serving);
    let tiny = control.trigger("tiny").unwrap().id;
    wait_for("the other target", Duration::from_mins(3), || {
        (trial(&build(&place, &tiny), "here")["verdict"] == "passed").then_some(())
    });
    let other = control.trigger("other").unwrap().id;
    wait_for("the other schedule", Duration::from_mins(3), || {
        (build(&place, &other)["state"] == "succeeded").then_some(())
    });
    let hung = build(&place, &tiny);
    assert_eq!((&hung["state"], &trial(&hung, "away")["state"]), (&"trying".into(), &"uploading".into()));
    hangs.store(false, Ordering::Relaxed);
    let hung = wait_for("the end of what hung", Duration::from_mins(3), || {
        Some(build(&place, &tiny)).filter(|build| !build["finished_at"].is_null())
    });
    assert_eq!(verdicts(&hung), [("away", "errored"), ("here", "passed")], "{hung}");
    drop(control);
    assert_eq!(serving.terminate(), Some(0));
    place.assert_nothing_left();
}

/// A stop is no worse than a kill: the next manager goes on with the trial, on the artifact that is there.
#[test]
fn an_upload_is_left_to_the_next_manager() {
    let (hangs, answer) = hanging();
    let more = "checks = {}\nretry = 0\npause_after = 0";
    // No target is on this host, where memory and processors would be chosen.
    let place = with_cloud(answer, &schedule(more, &[FAR]).replace("\nserver =", "\n#"));
    let serving = place.serve_with(&[&AWAY[..], &["--grace", "0s"]].concat());
    let id = Control::of(&serving).trigger("tiny").unwrap().id;
    place.wait_for_state(&["uploading"], Duration::from_mins(2));
    assert_eq!(serving.terminate(), Some(0), "{}", place.serve_log());
    let left = build(&place, &id);
    let away = trial(&left, "away");
    assert_eq!(
        (&left["state"], &away["state"], &away["attempt"]),
        (&"trying".into(), &"uploading".into(), &1.into())
    );
    let scratch = place.state().join("scratch").join(&id);
    assert!(left["finished_at"].is_null() && scratch.is_dir(), "{left}");

    hangs.store(false, Ordering::Relaxed);
    let serving = place.serve_with(&AWAY);
    let ended = wait_for("the build's end", Duration::from_mins(3), || {
        Some(build(&place, &id)).filter(|build| !build["finished_at"].is_null())
    });
    assert!(place.serve_log().contains("resumed"), "{}", place.serve_log());
    assert_eq!(
        (&ended["state"], &trial(&ended, "away")["attempt"]),
        (&"errored".into(), &1.into()),
        "{ended}"
    );
    assert_ne!(ended["reason"], "interrupted", "it was tried: {ended}");
    assert_eq!(artifacts(&ended), 1, "on the same artifact");
    assert_eq!(serving.terminate(), Some(0));
    assert_eq!(place.history().len(), 1, "nothing was built anew");
    place.assert_nothing_left();
}

#[test]
fn a_broken_cloud_keeps_the_name_back_when_all_are_published() {
    let place = half_broken("publish = { name = \"tiny\", when = \"all\" }");
    let said = place.expect(&["run", "tiny", "--gateway", "127.0.0.1:0", AWAY[0], AWAY[1]], 2);
    let build = place.latest();
    assert_eq!(verdicts(&build), [("here", "passed"), ("away", "errored")], "{said}");
    assert_eq!((&build["verdict"], images(&build)), (&"errored".into(), vec!["gone", "gone"]));
    assert_eq!(published(&place), Vec::<String>::new());
    place.assert_nothing_left();
}

/// The manager is killed while it publishes a build of which one trial has failed: the next one publishes it.
#[test]
fn what_each_cloud_is_owed_survives_a_kill_while_it_is_published() {
    let place = half_broken("pause_after = 0\npublish = { name = \"tiny\", when = \"each\" }");
    let kill = [("IMAGE_MANAGER_TEST_KILL", "advance:publishing#1:after")];
    let serving = place.serve_in(&AWAY, &kill);
    Control::of(&serving).trigger("tiny").unwrap();
    assert_eq!(serving.ended(), None, "killed");
    assert_eq!(place.history()[0]["state"], "publishing");
    let serving = place.serve_with(&AWAY);
    let build = place.wait_for_state(&["errored"], Duration::from_mins(2));
    wait_for("the build's end", Duration::from_mins(2), || {
        place.history().pop().filter(|build| !build["finished_at"].is_null())
    });
    assert_eq!(verdicts(&build), [("here", "passed"), ("away", "errored")]);
    assert_eq!(serving.terminate(), Some(0));
    assert_eq!(place.latest()["verdict"], "errored");
    assert!(!published(&place).is_empty());
    place.assert_nothing_left();
}
