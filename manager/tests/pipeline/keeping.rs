//! `run --keep-disk`: refused before anything is built, and never at the cost of a verified image.

use std::fs;
use std::time::Duration;

use super::harness::{Place, text, wait_for};

#[test]
fn a_place_that_cannot_be_written_is_refused_before_anything_is_built() {
    let place = Place::tiny("");
    fs::create_dir(place.path().join("directory")).unwrap();
    for (file, why) in [
        ("nowhere/disk.qcow2", "nowhere: No such file or directory"),
        ("directory", "it is a directory"),
        ("/proc/disk.qcow2", "cannot write to /proc: "),
    ] {
        let said = place.expect(&["run", "tiny", "--keep-disk", file], 64);
        assert!(said.contains(&format!("--keep-disk {file}")) && said.contains(why), "{said}");
        assert!(place.history().is_empty(), "nothing was built");
    }
    assert_eq!(fs::read_dir(place.path().join("directory")).unwrap().count(), 0);
    let far = Place::tiny("");
    let schedules = "[schedule.far]\nimage.elements = [\"tiny\"]\ncloud = \"c\"\nserver.flavor = \"f\"\n";
    fs::write(far.path().join("schedules.toml"), schedules).unwrap();
    let said = far.expect(&["run", "far", "--keep-disk", "disk.qcow2"], 64);
    assert!(said.contains("works only on the cloud \"local\""), "{said}");
}

#[test]
fn a_disk_that_cannot_be_kept_does_not_take_the_verified_image_away() {
    let place = Place::tiny("publish = { name = \"tiny\" }");
    let directory = place.path().join("out");
    fs::create_dir(&directory).unwrap();
    let mut run = place.command(&["run", "tiny", "--keep-disk", "out/disk.qcow2"]);
    let run = run.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    wait_for("the build", Duration::from_mins(2), || place.history().into_iter().next());
    fs::remove_dir(&directory).unwrap();
    let output = run.wait_with_output().unwrap();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("the disk could not be saved in"), "{said}");
    assert!(place.state().join("images/published/tiny.qcow2").exists());
    place.assert_nothing_left();
}
