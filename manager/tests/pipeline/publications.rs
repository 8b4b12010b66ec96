//! Names that go to other images, with a client that asks for the name all the while.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value as Json;

use super::control::Control;
use super::harness::{Place, Serving, text, tiny_schedule, wait_for};

/// Asks for a name again and again. Returns how often it did; the first time that no whole image has the name ends it.
pub(super) struct Asking {
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    thread: JoinHandle<Result<(), String>>,
}

impl Asking {
    /// `sizes`: of the images that are verified.
    pub(super) fn of(file: PathBuf, sizes: Vec<u64>) -> Self {
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ended, count) = (Arc::clone(&stop), Arc::clone(&asked));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let there = fs::metadata(&file).map_err(|error| format!("{}: {error}", file.display()))?;
                if !sizes.contains(&there.len()) {
                    return Err(format!("{}: {} bytes are no verified image", file.display(), there.len()));
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        Self { stop, asked, thread }
    }

    #[track_caller]
    pub(super) fn never_without(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap().unwrap();
        assert!(self.asked.load(Ordering::Relaxed) > 100, "it was asked often");
    }
}

/// State and hash of the images of a name, by build.
pub(super) fn images(place: &Place, name: &str) -> BTreeMap<String, (String, String)> {
    let output = place.run(&["images", name, "--removed", "--format", "json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let all: Vec<Json> = serde_json::from_slice(&output.stdout).unwrap();
    let word = |image: &Json, key: &str| image[key].as_str().unwrap().to_owned();
    all.iter().map(|image| (word(image, "build_id"), (word(image, "state"), word(image, "sha512")))).collect()
}

pub(super) fn state(place: &Place, name: &str, build: &str) -> String {
    images(place, name).get(build).map(|(state, _)| state.clone()).unwrap_or_default()
}

pub(super) fn sha512(file: &Path) -> String {
    let said = std::process::Command::new("sha512sum").arg(file).output().unwrap();
    text(&said.stdout).split(' ').next().unwrap().to_owned()
}

pub(super) fn page_of(serving: &Serving<'_>, path: &str) -> String {
    let address = format!("http://{}{path}", serving.operator);
    text(&std::process::Command::new("curl").args(["-sS", "-m", "20", &address]).output().unwrap().stdout)
}

/// Builds, and returns the build's id.
pub(super) fn build(place: &Place) -> String {
    place.expect(&["run", "tiny"], 0);
    place.latest()["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_name_goes_to_other_images_and_is_never_without_one() {
    let schedule = tiny_schedule("tiny", "publish = { name = \"tiny\" }\ncron = \"\"");
    let place = Place::new(&schedule);
    let published = place.state().join("images/published");
    let current = published.join("tiny.qcow2");
    let old = build(&place);
    let new = build(&place);
    assert_eq!(state(&place, "tiny", &old), "previous");
    assert_eq!(state(&place, "tiny", &new), "current");
    let hash = |build: &str| images(&place, "tiny")[build].1.clone();
    assert_eq!(sha512(&current), hash(&new));
    let sizes = fs::read_dir(&published).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    let sizes: Vec<u64> = sizes.filter(|size| *size > 100_000).collect();
    let serving = place.serve();
    let asking = Asking::of(current.clone(), sizes.clone());

    let said = place.expect(&["rollback", "tiny", "--reason", "it is slow"], 0);
    assert!(said.contains("current") && said.contains(&old[..18]), "{said}");
    assert_eq!(
        (state(&place, "tiny", &old), state(&place, "tiny", &new)),
        ("current".into(), "previous".into())
    );
    assert_eq!(sha512(&current), hash(&old));
    let said = place.expect(&["rollback", "tiny"], 64);
    assert!(said.contains("tiny on local has no good image to go back to"), "{said}");
    place.expect(&["rollback", "tiny", "--to", &new], 0);
    assert_eq!(sha512(&current), hash(&new));
    let said = place.expect(&["rollback", "tiny", "--to", &new], 64);
    assert!(said.contains("it is already"), "{said}");
    let said = place.expect(&["rollback", "nothing"], 64);
    assert!(said.contains("no image is published as \"nothing\""), "{said}");

    place.expect(&["promote", &old, "--as", "stable", "--reason", "a week without trouble"], 0);
    let stable = published.join("stable.qcow2");
    assert_eq!(sha512(&stable), hash(&old));
    assert_eq!(state(&place, "stable", &old), "current");
    let said = place.expect(&["promote", &old, "--as", "../x"], 64);
    assert!(said.contains("a public name has letters"), "{said}");

    // The old one cannot be revoked: "stable" has no other.
    let said = place.expect(&["revoke", &old, "--reason", "leaked key"], 64);
    assert!(said.contains("stable on local has no good image to go back to"), "{said}");
    assert_eq!(state(&place, "tiny", &old), "previous");
    place.expect(&["revoke", &new, "--reason", "leaked key"], 0);
    assert_eq!(sha512(&current), hash(&old), "the name went back");
    assert_eq!(
        (state(&place, "tiny", &old), state(&place, "tiny", &new)),
        ("current".into(), "revoked".into())
    );
    let said = place.expect(&["rollback", "tiny", "--to", &new], 64);
    assert!(said.contains("it was revoked"), "{said}");
    asking.never_without();

    let said = place.expect(&["audit", "--format", "json"], 0);
    for told in ["image.rolled_back", "image.promoted", "image.revoked", "leaked key", "it is slow"] {
        assert!(said.contains(told), "{told}: {said}");
    }
    let control = Control::of(&serving);
    let listed = control.images("tiny");
    assert_eq!(listed.images.len(), 2);
    assert_eq!(listed.images[1].revoked_reason, "leaked key");
    // The revoked image is still there.
    let kept =
        fs::read_dir(&published).unwrap().flatten().filter(|entry| sha512(&entry.path()) == hash(&new));
    assert_eq!(kept.count(), 1);
    let page = page_of(&serving, "/images");
    assert!(page.contains("leaked key") && page.contains("stable"), "{page}");
    let metrics = page_of(&serving, "/metrics");
    assert!(metrics.contains("image_manager_image_age_seconds{name=\"tiny\",cloud=\"local\"}"), "{metrics}");
    assert_eq!(serving.terminate(), Some(0));
    // The next build takes the name as ever.
    let next = build(&place);
    assert_eq!(state(&place, "tiny", &next), "current");
    assert_eq!(sha512(&current), hash(&next));
    place.assert_nothing_left();
}

#[test]
fn older_images_stay_for_their_time() {
    let publish = |keep: &str| {
        tiny_schedule("tiny", &format!("publish = {{ name = \"tiny\", {keep} }}\nchecks = {{}}"))
    };
    let place = Place::new(&publish("keep_for = \"1d\""));
    let builds: Vec<String> = (0..3).map(|_| build(&place)).collect();
    assert_eq!(
        builds.iter().map(|build| state(&place, "tiny", build)).collect::<Vec<_>>(),
        ["previous", "previous", "current"]
    );
    fs::write(place.path().join("schedules.toml"), publish("keep = 1, keep_for = \"1s\"")).unwrap();
    let last = build(&place);
    let states: Vec<_> = builds.iter().chain([&last]).map(|build| state(&place, "tiny", build)).collect();
    assert_eq!(states, ["removed", "removed", "previous", "current"]);
    fs::write(place.path().join("schedules.toml"), publish("keep_for = 1")).unwrap();
    let said = place.expect(&["check"], 64);
    assert!(said.contains('^') && said.contains("1s"), "{said}");
    place.assert_nothing_left();
}

/// The manager is killed at each commit of a change: the next one finishes it, or it was never begun.
#[test]
fn a_change_that_is_cut_off_is_finished_or_was_never_begun() {
    let place = Place::tiny("publish = { name = \"tiny\" }");
    let current = place.state().join("images/published/tiny.qcow2");
    let old = build(&place);
    let new = build(&place);
    for (point, done) in [
        ("handover:begin#1:before", false),
        ("handover:begin#1:after", true),
        ("handover:done#1:before", true),
    ] {
        let hash = |build: &str| images(&place, "tiny")[build].1.clone();
        let serving = place.serve_in(&[], &[("IMAGE_MANAGER_TEST_KILL", point)]);
        place.expect(&["rollback", "tiny"], 2);
        serving.ended();
        assert!(
            [hash(&old), hash(&new)].contains(&sha512(&current)),
            "{point}: a verified image has the name"
        );
        let serving = place.serve();
        let (wanted, other) = if done { (&old, &new) } else { (&new, &old) };
        wait_for("the change to be settled", Duration::from_mins(1), || {
            (state(&place, "tiny", wanted) == "current").then_some(())
        });
        assert_eq!(state(&place, "tiny", other), "previous", "{point}");
        assert_eq!(sha512(&current), hash(wanted), "{point}");
        if done {
            place.expect(&["rollback", "tiny", "--to", &new], 0);
        }
        assert_eq!(serving.terminate(), Some(0));
    }
    place.assert_nothing_left();
}
