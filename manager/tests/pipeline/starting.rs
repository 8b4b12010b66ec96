//! A manager that hears a signal while it starts: none of them may kill it in the middle.

use std::fs;
use std::io::Write as _;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::harness::{Place, text, tiny_schedule, wait_for};

/// A manager that is held up where it reads its schedules: a pipe that nobody has written to yet.
struct HeldUp {
    child: Child,
    pipe: fs::File,
}

impl HeldUp {
    fn start(place: &Place) -> Self {
        let file = place.path().join("schedules.toml");
        fs::remove_file(&file).unwrap();
        assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
        let log = fs::File::create(place.path().join("serve.log")).unwrap();
        let mut command = place.command(&["serve", "--operator", "127.0.0.1:0", "--gateway", "127.0.0.1:0"]);
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        // Opens only once the manager reads.
        let pipe = fs::OpenOptions::new().write(true).open(&file).unwrap();
        // Later looks at the file are answered at once.
        fs::write(place.path().join("whole"), tiny_schedule("tiny", "")).unwrap();
        fs::rename(place.path().join("whole"), &file).unwrap();
        Self { child, pipe }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    fn ended(&mut self, limit: Duration) -> Option<i32> {
        wait_for("the manager to end", limit, || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for HeldUp {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_reload_that_comes_too_early_ends_nothing() {
    let place = Place::tiny("");
    let mut held = HeldUp::start(&place);
    held.signal("HUP");
    held.pipe.write_all(tiny_schedule("tiny", "").as_bytes()).unwrap();
    held.pipe = fs::File::open("/dev/null").unwrap();
    let pid = held.child.id().to_string();
    wait_for("the manager to serve", Duration::from_mins(1), || {
        let ended = held.child.try_wait().unwrap();
        assert!(ended.is_none(), "it ended with {ended:?}:\n{}", place.serve_log());
        let holder = fs::read(place.state().join("manager.json")).ok()?;
        text(&holder).contains(&pid).then_some(())
    });
    held.signal("TERM");
    assert_eq!(held.ended(Duration::from_mins(1)), Some(0), "{}", place.serve_log());
}

#[test]
fn a_manager_that_opens_stops_at_once_when_told_to() {
    let place = Place::tiny("");
    let mut held = HeldUp::start(&place);
    let began = Instant::now();
    held.signal("TERM");
    assert_eq!(held.ended(Duration::from_secs(20)), Some(0), "{}", place.serve_log());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(!place.state().join("manager.json").exists());
}
