//! Places with images that were built, verified and published before the test begins. The program builds them for real, once
//! for all tests; each test has a copy.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use super::{Place, agent, repository, tiny_schedule};

/// The settings that the images of [`place`] were published with.
pub(crate) const PUBLISH: &str = "publish = { name = \"tiny\" }";

/// A place with one schedule `tiny` with `more` settings, and so many builds of it, whose image has the name `tiny` or had it;
/// their ids, oldest first.
pub(crate) fn place<const BUILDS: usize>(more: &str) -> (Place, [String; BUILDS]) {
    let place = Place::tiny(more);
    let made = made(BUILDS);
    copy(&made, &place.state());
    let mut builds = place.history();
    builds.reverse();
    let ids: Vec<_> = builds.iter().map(|build| build["id"].as_str().unwrap().to_owned()).collect();
    (place, ids.try_into().unwrap())
}

/// The state directory that is copied. It is made anew when the program, its agent or what stands in for DIB has changed.
fn made(builds: usize) -> PathBuf {
    let tiny = repository().join("testbed/tiny-image");
    let parts =
        [PathBuf::from(env!("CARGO_BIN_EXE_image-manager")), agent(), tiny.join("build"), tiny.join("guest")];
    let changed = parts.map(|part| {
        let changed = fs::metadata(part).unwrap().modified().unwrap();
        changed.duration_since(UNIX_EPOCH).unwrap().as_nanos().to_string()
    });
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("published");
    fs::create_dir_all(&all).unwrap();
    let lock = File::create(all.join("lock")).unwrap();
    lock.lock().unwrap();
    let version = changed.join("-");
    if fs::read_to_string(all.join("version")).ok().as_ref() != Some(&version) {
        for count in 1..10 {
            remove(&all.join(count.to_string()));
        }
        fs::write(all.join("version"), version).unwrap();
    }
    (1..=builds).fold(PathBuf::new(), |before, count| {
        let state = all.join(count.to_string());
        if !state.exists() {
            let place = Place::new(&tiny_schedule("tiny", PUBLISH));
            if count > 1 {
                copy(&before, &place.state());
            }
            place.expect(&["run", "tiny"], 0);
            let unfinished = all.join("unfinished");
            remove(&unfinished);
            copy(&place.state(), &unfinished);
            fs::rename(&unfinished, &state).unwrap();
        }
        state
    })
}

fn remove(directory: &Path) {
    if directory.exists() {
        fs::remove_dir_all(directory).unwrap();
    }
}

/// Copies a state directory, and tells its history where its images are now.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
    let history = rusqlite::Connection::open(to.join("image-manager.db")).unwrap();
    history
        .execute(
            "UPDATE publication SET location = ?1 || substr(location, instr(location, '/images/published/'))",
            [to.to_str().unwrap()],
        )
        .unwrap();
}
