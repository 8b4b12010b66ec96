//! The history on a disk that fills or fails, and copies of it.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use super::control::Control;
use super::harness::Place;

/// A small file system as the state directory.
struct Small {
    place: Place,
}

impl Small {
    fn new(size: &str) -> Self {
        let place = Place::tiny("checks = {}");
        fs::create_dir(place.state()).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "tmpfs"]).arg(place.state());
        assert!(mount.status().unwrap().success(), "mounting needs root");
        Self { place }
    }

    /// Fills it to the last byte.
    fn fill(&self) -> PathBuf {
        let path = self.place.state().join("filler");
        let mut file = fs::File::create(&path).unwrap();
        let full = std::iter::repeat_with(|| file.write_all(&[0; 4096])).find_map(Result::err).unwrap();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: a test that panics may have left a manager in it.
        let _ = Command::new("umount").arg("--lazy").arg(self.place.state()).status();
    }
}

#[test]
fn a_full_disk_stops_new_builds_and_corrupts_nothing() {
    let small = Small::new("16m");
    let place = &small.place;
    let serving = place.serve();
    let control = Control::of(&serving);
    control.pause("tiny");
    let filler = small.fill();
    let refused = control.trigger("tiny").unwrap_err();
    assert!(refused.message().contains("free disk space"), "{refused}");
    // Writes of a few pages still fit into the log that is there; many do not.
    let full =
        (0..2000).find_map(|_| control.try_resume("tiny").and_then(|_| control.try_pause("tiny")).err());
    let full = full.expect("a full disk should be noticed");
    assert!(full.message().contains("the disk with the history is full"), "{full}");
    assert!(place.history().is_empty(), "it can be read");

    fs::remove_file(filler).unwrap();
    assert!(!control.resume("tiny").paused);
    drop(control);
    serving.kill();
    let again = place.serve();
    assert!(!Control::of(&again).schedules().schedules[0].paused);
    assert_eq!(again.terminate(), Some(0));
}

#[test]
fn a_damaged_history_is_refused_and_a_backup_takes_its_place() {
    let place = Place::tiny("image.environment = { TINY_BUILD_FAIL = \"package\" }");
    place.expect(&["run", "tiny"], 1);
    let serving = place.serve();
    let said = place.expect(&["backup", "copy.db"], 0);
    assert!(said.contains("copied 1 build to copy.db"), "{said}");
    let copy = fs::read(place.path().join("copy.db")).unwrap();
    let said = place.expect(&["backup", "copy.db"], 64);
    assert!(said.contains("overwrites nothing"), "{said}");
    assert_eq!(fs::read(place.path().join("copy.db")).unwrap(), copy);
    assert!(!place.path().join("copy.db.partial").exists());
    let said = place.expect(&["backup", "nowhere/copy.db"], 64);
    assert!(said.contains("nowhere: No such file") && said.contains("name a file"), "{said}");
    assert_eq!(serving.terminate(), Some(0));

    let database = place.state().join("image-manager.db");
    // So that all is in the one file.
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection.pragma_update(None, "journal_mode", "DELETE").unwrap();
    drop(connection);
    let mut bytes = fs::read(&database).unwrap();
    bytes[4096..8192].fill(0x5a);
    fs::write(&database, &bytes).unwrap();
    for verb in [&["serve", "--operator", "127.0.0.1:0", "--gateway", "127.0.0.1:0"][..], &["run", "tiny"]] {
        let said = place.expect(verb, 2);
        assert!(said.contains("image-manager.db is damaged") && said.contains("backup"), "{said}");
    }
    assert_eq!(fs::read(&database).unwrap(), bytes, "nothing was changed");

    fs::copy(place.path().join("copy.db"), &database).unwrap();
    assert_eq!(place.history().len(), 1);
    place.expect(&["run", "tiny"], 1);
    assert_eq!(place.history().len(), 2);
    place.assert_nothing_left();
}
