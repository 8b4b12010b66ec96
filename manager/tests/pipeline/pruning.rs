//! Older images go when their time has come, though nothing is built any more.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::harness::{Place, Serving, published, wait_for};
use super::publications::{images, page_of, state};

/// An hour of the manager's is six seconds of the test's.
fn serve<'a>(place: &'a Place, more: &[(&str, &str)]) -> Serving<'a> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let clock = format!("{now}x600");
    place.serve_in(&[], &[more, &[("IMAGE_MANAGER_TEST_CLOCK", clock.as_str())]].concat())
}

/// The files of older images of `tiny`.
fn dated(place: &Place) -> Vec<PathBuf> {
    let published = fs::read_dir(place.state().join("images/published")).unwrap().flatten();
    let older = |path: &PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        path.extension() == Some("qcow2".as_ref()) && name.starts_with("tiny.")
    };
    let mut dated: Vec<PathBuf> = published.map(|entry| entry.path()).filter(older).collect();
    dated.sort();
    dated
}

#[test]
fn an_image_goes_when_its_time_has_come_though_nothing_is_built() {
    let (place, [old, new]) = published::place("publish = { name = \"tiny\", keep_for = \"2h\" }");
    assert_eq!(state(&place, "tiny", &old), "previous");
    assert_eq!(dated(&place).len(), 1);
    // A name that no build gets is looked after as the schedule of its image says.
    for build in [&old, &new] {
        place.expect(&["promote", build, "--as", "stable"], 0);
    }
    assert_eq!(state(&place, "stable", &old), "previous");

    // What cannot be removed is told, and tried again. A directory cannot be removed as a file; for a file that root cannot
    // remove the file system of the tests would have to take the attribute.
    let file = dated(&place).remove(0);
    let aside = place.path().join("aside");
    fs::rename(&file, &aside).unwrap();
    fs::create_dir(&file).unwrap();
    let serving = serve(&place, &[]);
    let told = wait_for("what is held to be told", Duration::from_mins(2), || {
        let told = place.expect(&["images", "tiny", "--format", "json"], 0);
        told.contains("\"held\": \"tiny.").then_some(told)
    });
    assert!(told.contains("directory"), "{told}");
    let page = page_of(&serving, "/images");
    assert!(page.contains("held: tiny."), "{page}");
    assert!(
        place.serve_log().contains("an image that nothing keeps cannot be removed"),
        "{}",
        place.serve_log()
    );
    fs::remove_dir(&file).unwrap();
    fs::rename(&aside, &file).unwrap();
    wait_for("the old image to go", Duration::from_mins(2), || {
        (state(&place, "tiny", &old) == "removed").then_some(())
    });
    assert_eq!(dated(&place), [] as [PathBuf; 0]);
    assert_eq!(state(&place, "tiny", &new), "current", "whatever its age, it has the name");
    wait_for("the old image to lose its other name", Duration::from_mins(2), || {
        (state(&place, "stable", &old) == "removed").then_some(())
    });
    assert_eq!(state(&place, "stable", &new), "current");
    assert!(!place.expect(&["images", "--removed", "--format", "json"], 0).contains("\"held\": \"t"));
    assert!(place.state().join("images/published/tiny.qcow2").is_file());
    assert_eq!(serving.terminate(), Some(0));
    place.assert_nothing_left();
}

/// A manager that is killed between the removal and the history's word for it: the next look finds out.
#[test]
fn a_removal_that_nobody_wrote_down_is_found_out() {
    let (place, [old, _]) = published::place("publish = { name = \"tiny\", keep_for = \"2h\" }");
    serve(&place, &[("IMAGE_MANAGER_TEST_KILL", "publication:there#1:before")]).ended();
    assert_eq!(dated(&place), [] as [PathBuf; 0]);
    assert_eq!(images(&place, "tiny")[&old].0, "previous", "nobody wrote it down");
    let serving = serve(&place, &[]);
    wait_for("the history to know", Duration::from_mins(2), || {
        (state(&place, "tiny", &old) == "removed").then_some(())
    });
    assert_eq!(serving.terminate(), Some(0), "{}", place.serve_log());
    place.assert_nothing_left();
}
