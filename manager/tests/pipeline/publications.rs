//! Names that go to other images, with a client that asks for the name all the while.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde_json::Value as Json;

use super::control::Control;
use super::harness::published::{self, PUBLISH};
use super::harness::{Place, Serving, text, tiny_schedule, wait_for};

/// The pause between two looks at a name: without one they would take a processor for themselves.
const PAUSE: Duration = Duration::from_micros(300);
/// So often at least a name must have been looked at; what is shorter is the kernel's to tell.
const EVERY: Duration = Duration::from_millis(5);

/// The file that has a name, by inode and size, from a time on; `None`: there is none.
type Seen = (DateTime<Utc>, Option<(u64, u64)>);

/// Looks at a name again and again. What is published is never written to, so a file is its inode and its size. A name
/// that is taken away for shorter than a look is told by the kernel.
pub(super) struct Asking {
    taken_away: TakenAway,
    stop: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    began: Instant,
    thread: JoinHandle<Vec<Seen>>,
}

impl Asking {
    pub(super) fn of(file: PathBuf) -> Self {
        let taken_away = TakenAway::of(&file);
        let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ended, count) = (Arc::clone(&stop), Arc::clone(&asked));
        let thread = std::thread::spawn(move || {
            let mut seen = Vec::<Seen>::new();
            while !ended.load(Ordering::Relaxed) {
                let there = fs::metadata(&file).ok().map(|there| (there.ino(), there.len()));
                if seen.last().is_none_or(|(_, last)| *last != there) {
                    seen.push((Utc::now(), there));
                }
                count.fetch_add(1, Ordering::Relaxed);
                #[expect(clippy::disallowed_methods, reason = "a thread of a test")]
                std::thread::sleep(PAUSE);
            }
            seen
        });
        Self { taken_away, stop, asked, began: Instant::now(), thread }
    }

    /// Ends it; returns what was wrong with the name, by the files and builds as they are now, and how many images it was.
    pub(super) fn end(self, place: &Place) -> (Vec<String>, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.thread.join().unwrap();
        let every = self.began.elapsed() / u32::try_from(self.asked.load(Ordering::Relaxed)).unwrap();
        assert!(every < EVERY, "it was looked at every {every:?} only");
        let files = fs::read_dir(place.state().join("images/published")).unwrap().flatten();
        let identity = |file: &fs::Metadata| (file.ino(), file.len());
        let hashes: BTreeMap<_, _> =
            files.map(|file| (identity(&file.metadata().unwrap()), sha512(&file.path()))).collect();
        let builds = place.history();
        let wrong = seen.iter().filter_map(|(at, there)| {
            let Some(there) = there else { return Some(format!("no image at {at}")) };
            let Some(hash) = hashes.get(there) else {
                return Some(format!("another file at {at}: {there:?}"));
            };
            let verified = builds.iter().any(|build| verified(build, hash).is_some_and(|done| done <= *at));
            (!verified).then(|| format!("an image at {at} that was not verified: {hash}"))
        });
        (
            self.taken_away.times().into_iter().chain(wrong).collect(),
            hashes.keys().filter(|there| seen.iter().any(|seen| seen.1 == Some(**there))).count(),
        )
    }
}

/// The kernel's word for each time that a file's name was removed or moved away; what is renamed over it takes nothing.
struct TakenAway {
    watch: Inotify,
    name: OsString,
}

impl TakenAway {
    fn of(file: &Path) -> Self {
        let watch = Inotify::init(InitFlags::IN_NONBLOCK).unwrap();
        let what = AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_FROM;
        watch.add_watch(file.parent().unwrap(), what).unwrap();
        Self { watch, name: file.file_name().unwrap().to_owned() }
    }

    fn times(&self) -> Vec<String> {
        let mut times = Vec::new();
        while let Ok(events) = self.watch.read_events() {
            let lost = |mask: AddWatchFlags| mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
            let told = events
                .into_iter()
                .filter(|event| lost(event.mask) || event.name.as_ref() == Some(&self.name));
            times.extend(told.map(|event| format!("the name was taken away: {:?}", event.mask)));
        }
        times
    }
}

/// When the image with this hash had passed, if it is this build's.
fn verified(build: &Json, hash: &str) -> Option<DateTime<Utc>> {
    if build["image"]["sha512"] != hash || build["verdict"] != "passed" {
        return None;
    }
    let stage = build["stages"].as_array()?.iter().find(|stage| stage["name"] == "verifying")?;
    stage["finished_at"].as_str()?.parse().ok()
}

/// Says that a name without an image would be seen, however shortly.
fn prove_that_gaps_are_seen(place: &Place, file: &Path) {
    let asking = Asking::of(file.to_owned());
    let aside = file.with_extension("aside");
    for _ in 0..3 {
        fs::rename(file, &aside).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test without a runtime")]
        std::thread::sleep(EVERY * 50);
        fs::rename(&aside, file).unwrap();
    }
    let (wrong, _) = asking.end(place);
    assert!(wrong.iter().any(|line| line.starts_with("no image")), "{wrong:?}");
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
    let (place, [old, new]) = published::place(&format!("{PUBLISH}\ncron = \"\""));
    let published = place.state().join("images/published");
    let current = published.join("tiny.qcow2");
    assert_eq!(state(&place, "tiny", &old), "previous");
    assert_eq!(state(&place, "tiny", &new), "current");
    let hash = |build: &str| images(&place, "tiny")[build].1.clone();
    assert_eq!(sha512(&current), hash(&new));
    let serving = place.serve();
    prove_that_gaps_are_seen(&place, &current);
    let asking = Asking::of(current.clone());

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
    assert!(said.contains("it already is"), "{said}");
    let said = place.expect(&["rollback", "nothing"], 64);
    assert!(said.contains("no image is published as \"nothing\""), "{said}");
    let said = place.expect(&["revoke", &old, "--reason", "leaked key", "--cloud", "lab"], 64);
    assert!(said.contains("has no published image there"), "{said}");

    place.expect(&["promote", &old, "--as", "stable", "--reason", "a week without trouble"], 0);
    let stable = published.join("stable.qcow2");
    assert_eq!(sha512(&stable), hash(&old));
    assert_eq!(state(&place, "stable", &old), "current");
    let said = place.expect(&["promote", &old, "--as", "../x"], 64);
    assert!(said.contains("a public name has at most 100 letters"), "{said}");

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
    // A build publishes as well, and its image has the name once it is verified.
    let third = build(&place);
    assert_eq!(sha512(&current), hash(&third));
    let (wrong, images) = asking.end(&place);
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(images, 3, "each of them had the name for a while");

    let said = place.expect(&["audit", "--format", "json"], 0);
    for told in ["image.rolled_back", "image.promoted", "image.revoked", "leaked key", "it is slow"] {
        assert!(said.contains(told), "{told}: {said}");
    }
    let control = Control::of(&serving);
    let listed = control.images("tiny");
    assert_eq!(listed.images.len(), 3);
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
    let (place, [oldest, old]) =
        published::place("publish = { name = \"tiny\", keep_for = \"1d\" }\nchecks = {}");
    let builds = [oldest, old, build(&place)];
    assert_eq!(
        builds.iter().map(|build| state(&place, "tiny", build)).collect::<Vec<_>>(),
        ["previous", "previous", "current"]
    );
    fs::write(place.path().join("schedules.toml"), publish("keep = 1, keep_for = \"1s\"")).unwrap();
    let last = build(&place);
    let states: Vec<_> = builds.iter().chain([&last]).map(|build| state(&place, "tiny", build)).collect();
    assert_eq!(states, ["removed", "removed", "previous", "current"]);
    // A revoked image takes the place of no good one: the name can go back. It goes as one would that is older than that.
    place.expect(&["revoke", &last, "--reason", "leaked key", "--cloud", "local"], 0);
    assert_eq!(state(&place, "tiny", &builds[2]), "current");
    let new = build(&place);
    let states: Vec<_> = [&builds[2], &last, &new].map(|build| state(&place, "tiny", build)).into();
    assert_eq!(states, ["previous", "removed", "current"]);
    place.expect(&["rollback", "tiny"], 0);
    assert_eq!(state(&place, "tiny", &builds[2]), "current");
    fs::write(place.path().join("schedules.toml"), publish("keep_for = 1")).unwrap();
    let said = place.expect(&["check"], 64);
    assert!(said.contains('^') && said.contains("1s"), "{said}");
    place.assert_nothing_left();
}

/// The manager is killed at each commit of a change: the next one finishes it, or it was never begun.
#[test]
fn a_change_that_is_cut_off_is_finished_or_was_never_begun() {
    let (place, [old, new]) = published::place(PUBLISH);
    let current = place.state().join("images/published/tiny.qcow2");
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
