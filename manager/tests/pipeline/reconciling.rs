//! What a clean-up cannot take away is not forgotten: it is tried again at each start, and every few minutes.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value as Json;

use super::control::Control;
use super::harness::{Place, wait_for};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);
/// More levels of directories than a removal goes down.
const LEVELS: usize = 220;

/// Puts something into the build's scratch directory that no removal gets through; returns it.
fn obstruct(place: &Place) -> PathBuf {
    let top = wait_for("a scratch directory", PATIENCE, || {
        let entry = fs::read_dir(place.state().join("scratch")).ok()?.flatten().next()?;
        Some(entry.path().join("deep"))
    });
    let levels: PathBuf = std::iter::repeat_n("d", LEVELS).collect();
    fs::create_dir_all(top.join(levels)).unwrap();
    top
}

fn scratch_row(place: &Place) -> Json {
    let build = place.latest();
    let resources = build["resources"].as_array().unwrap().clone();
    resources.into_iter().find(|resource| resource["kind"] == "scratch").unwrap()
}

#[test]
fn what_a_clean_up_leaves_is_tried_again() {
    let place =
        Place::tiny("image.environment = { TINY_BUILD_FAIL = \"package\", TINY_BUILD_SECONDS = \"10\" }");
    // Sixty times as fast: every few minutes is every few seconds.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let clock = format!("{now}x60");
    let serve = || place.serve_in(&[], &[("IMAGE_MANAGER_TEST_CLOCK", &clock)]);
    let serving = serve();
    Control::of(&serving).trigger("tiny").unwrap();
    let deep = obstruct(&place);
    let build = place.wait_for_state(&["failed", "errored"], PATIENCE);
    let detail = build["stages"].as_array().unwrap().last().unwrap()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("left for the reconciler") && detail.contains("cannot remove"), "{detail}");
    assert_eq!(scratch_row(&place)["state"], "deleting");

    // The next manager tries at its start, and says what is still there.
    assert_eq!(serving.terminate(), Some(0));
    let serving = serve();
    wait_for("what is still there", PATIENCE, || {
        place.serve_log().contains("not removed yet: scratch").then_some(())
    });
    assert_eq!(scratch_row(&place)["state"], "deleting");
    fs::remove_dir_all(&deep).unwrap();
    wait_for("the scratch directory to go", PATIENCE, || {
        (scratch_row(&place)["state"] == "gone").then_some(())
    });
    assert!(place.serve_log().contains("removed the scratch"));
    assert_eq!(serving.terminate(), Some(0));
    place.assert_nothing_left();
}

/// A request that was under way when a manager was killed: what came of it may come after the first look.
#[test]
fn what_was_never_seen_is_looked_for_once_more() {
    let place = Place::tiny("image.environment = { TINY_BUILD_FAIL = \"package\" }");
    place.expect(&["run", "tiny"], 1);
    let id = place.latest()["id"].as_str().unwrap().to_owned();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let closed = i64::try_from(now).unwrap() - 60_000;
    let history = rusqlite::Connection::open(place.state().join("image-manager.db")).unwrap();
    history
        .execute(
            "INSERT INTO resource (build_id, cloud, kind, name, state, created_at, updated_at)
             VALUES (?1, 'local', 'image', 'image-manager-late', 'gone', ?2, ?2)",
            rusqlite::params![id, closed],
        )
        .unwrap();
    // Its build has been over for some time.
    history
        .execute("UPDATE build SET finished_at = ?2 WHERE id = ?1", rusqlite::params![id, closed])
        .unwrap();
    drop(history);
    let late = place.state().join("images/image-manager-late.qcow2");
    fs::create_dir_all(late.parent().unwrap()).unwrap();
    fs::write(&late, "late").unwrap();
    let serving = place.serve();
    wait_for("what came late to go", PATIENCE, || (!late.exists()).then_some(()));
    assert_eq!(serving.terminate(), Some(0));
    place.assert_nothing_left();
}

/// The server of a manager that was killed, and whose history was lost.
#[test]
fn what_no_history_knows_is_swept() {
    let place = Place::tiny("image.environment = { TINY_CANARY = \"cloud-init-hanging\" }");
    let serving = place.serve();
    Control::of(&serving).trigger("tiny").unwrap();
    place.wait_for_state(&["verifying"], PATIENCE);
    serving.kill();
    for file in ["image-manager.db", "image-manager.db-wal", "image-manager.db-shm"] {
        let _ = fs::remove_file(place.state().join(file));
    }
    let owner = fs::read_to_string(place.state().join("owner")).unwrap();
    let builds = "scratch/0199aaaa-0000-7000-8000-000000000001";
    fs::create_dir_all(place.state().join(builds)).unwrap();
    fs::create_dir_all(place.state().join("scratch/somebodys")).unwrap();

    let serving = place.serve();
    assert_eq!(fs::read_to_string(place.state().join("owner")).unwrap(), owner);
    assert!(!place.leaks().is_empty(), "the new manager knows of nothing");
    let listed = place.expect(&["sweep", "--cloud", "local", "--dry-run"], 0);
    assert!(listed.contains("3 resources left over on local") && listed.contains(builds), "{listed}");
    let swept = place.expect(&["sweep", "--cloud", "local"], 0);
    assert_eq!(swept.matches("  removed\n").count(), 3, "{swept}");
    assert_eq!(serving.terminate(), Some(0));
    assert!(place.state().join("scratch/somebodys").exists(), "it is not named like a build");
    fs::remove_dir(place.state().join("scratch/somebodys")).unwrap();
    place.assert_nothing_left();
}
