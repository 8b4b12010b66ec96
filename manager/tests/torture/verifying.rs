//! A verification of a published image, and the name that goes back by it, with the manager killed at each commit.
//!
//! Two images are published once; each kill gets a copy of that state directory. Whatever the manager is killed at, the
//! name is that of one of the two whole images all the while, and in the end that of the one that the history names.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::harness::{Place, text, tiny_schedule};
use super::kills::{Before, Means, SUCCEEDED};
use super::{SAMPLE, on_this_host, torture};

const PUBLISH: &str = "publish = { name = \"tiny\" }\nchecks = { disk = {} }";
/// More than the server's disk has: the image fails for real.
const TOO_MUCH: &str = "publish = { name = \"tiny\" }\nchecks = { disk = { min_free = \"500 MiB\" } }\non_failure = \"rollback\"";

/// A state directory with two published images, older and newer.
struct Published {
    place: Place,
}

impl Published {
    fn make() -> Self {
        let place = Place::new(&tiny_schedule("tiny", PUBLISH));
        for _ in 0..2 {
            // A guest's kernel panics about once in thirty boots under emulation.
            let passed = (0..3).any(|_| place.run(&["run", "tiny"]).status.success());
            assert!(passed, "{}", text(&place.run(&["show", "latest"]).stdout));
        }
        Self { place }
    }

    /// With links, dates and all: the date of a published image is its file's.
    fn copy_to(&self, place: &Place) {
        let copied = Command::new("cp").arg("-a").arg(self.place.state()).arg(place.state()).status();
        assert!(copied.unwrap().success());
    }

    fn builds(&self) -> usize {
        self.place.history().len()
    }
}

/// Looks at the public name again and again; the first time that no whole image has it ends that.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

fn name_of(place: &Path) -> PathBuf {
    place.join("state/images/published/tiny.qcow2")
}

impl Watch {
    fn of(place: &Place, sizes: Vec<u64>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, file) = (Arc::clone(&stop), name_of(place.path()));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let there = fs::metadata(&file).map_err(|error| format!("{}: {error}", file.display()))?;
                if !sizes.contains(&there.len()) {
                    return Err(format!("{} has {} bytes: no verified image", file.display(), there.len()));
                }
                std::thread::park_timeout(std::time::Duration::from_millis(2));
            }
            Ok(())
        });
        Self { stop, thread: Some(thread) }
    }

    fn said(mut self) -> Option<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take()?.join().unwrap().err()
    }
}

fn sizes(published: &Published) -> Vec<u64> {
    let entries = fs::read_dir(published.place.state().join("images/published")).unwrap().flatten();
    let images = entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "qcow2"));
    images.map(|entry| entry.metadata().unwrap().len()).collect()
}

/// What is wrong with the name in the end.
fn wrong_names(place: &Place, builds_before: usize, goes_back: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let connection = Connection::open(place.state().join("image-manager.db")).unwrap();
    let all = |query: &str| -> Vec<String> {
        let mut rows = connection.prepare(query).unwrap();
        rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    if !all("SELECT name FROM handover").is_empty() {
        wrong.push("a name is still being handed over".to_owned());
    }
    let current = all("SELECT sha512 FROM publication WHERE state = 'current' AND name = 'tiny'");
    let hash = Command::new("sha512sum").arg(name_of(place.path())).output().unwrap();
    let hash = text(&hash.stdout).split(' ').next().unwrap_or_default().to_owned();
    if current != [hash.clone()] {
        wrong.push(format!("the name is {hash}, and the history says {current:?}"));
    }
    let images = all("SELECT sha512 FROM publication WHERE name = 'tiny' ORDER BY build_id");
    let verdicts = all("SELECT coalesce(verdict, '') FROM build WHERE verification IS NOT NULL ORDER BY id");
    let back = goes_back && verdicts.iter().any(|verdict| verdict == "failed");
    let [old, new] = &images[..] else { panic!("two were published: {images:?}") };
    // A manager that finds that it cannot go on ends a verification without moving the name.
    let by_whom =
        all("SELECT detail FROM stage WHERE name = 'publishing' AND detail <> '' ORDER BY build_id");
    let gone = ["went back", "is now", "being given"];
    let settled = by_whom.iter().any(|detail| gone.iter().any(|words| detail.contains(words)));
    if (back && settled && hash != *old) || (!back && hash != *new) {
        wrong.push(format!("the name is {hash} of {images:?} after {verdicts:?}: {by_whom:?}"));
    }
    let count = all("SELECT id FROM build").len();
    if count != builds_before + 1 {
        wrong.push(format!("there are {count} builds: one was lost or doubled"));
    }
    wrong
}

fn verify(what: &str, schedules: String, end: &'static str, sample: usize) {
    let published = Arc::new(Published::make());
    let (builds, sizes) = (published.builds(), sizes(&published));
    let goes_back = end != SUCCEEDED;
    let watching: Arc<std::sync::Mutex<Vec<(PathBuf, Watch)>>> = Arc::default();
    let (begun, ended) = (Arc::clone(&watching), watching);
    let before = move |place: &Place| {
        published.copy_to(place);
        let watch = Watch::of(place, sizes.clone());
        begun.lock().unwrap().push((place.path().to_owned(), watch));
    };
    let leaks = move |place: &Place| {
        let mut wrong = wrong_names(place, builds, goes_back);
        let mut all = ended.lock().unwrap();
        let at = all.iter().position(|(path, _)| path == place.path()).unwrap();
        let (_, watch) = all.swap_remove(at);
        drop(all);
        wrong.extend(watch.said());
        wrong
    };
    let means = Means {
        leaks: Box::new(leaks),
        before: Some(Before { done: Box::new(before), builds }),
        verify: true,
        end,
        ..on_this_host(schedules, 1)
    };
    torture(what, &means, sample);
}

#[test]
fn killed_at_any_commit_of_a_verification_the_published_image_stays() {
    verify("a verification on local", tiny_schedule("tiny", PUBLISH), SUCCEEDED, SAMPLE);
}

#[test]
fn killed_at_any_commit_of_a_name_that_goes_back_it_has_a_verified_image() {
    verify("a name that goes back on local", tiny_schedule("tiny", TOO_MUCH), "failed", SAMPLE);
}
