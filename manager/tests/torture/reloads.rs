//! schedules.toml as its owners change it while the manager serves.

use std::fs;
use std::process::{Child, Command};

use super::harness::Place;

/// One after the other: as it was, with other settings, with one schedule more, broken.
const VARIANTS: usize = 4;

/// Changes the file of a place.
pub(crate) struct Reloads {
    plain: String,
    count: usize,
}

impl Reloads {
    /// Of a file that is `plain` now.
    pub(crate) fn of(plain: String) -> Self {
        Self { plain, count: 0 }
    }

    /// Changes the file; every other round SIGHUP says so at once. None of it moves a fire time.
    pub(crate) fn change(&mut self, place: &Place, manager: &Child) {
        self.count += 1;
        let text = match self.count % VARIANTS {
            0 => self.plain.clone(),
            1 => self.plain.replace("retry_backoff = \"5m\"", "retry_backoff = \"7m\""),
            2 => format!("{}[schedule.extra]\ncron = \"\"\nimage.elements = [\"tiny\"]\n", self.plain),
            _ => format!("{}[schedule.broken\n", self.plain),
        };
        fs::write(place.path().join("schedules.toml"), text).unwrap();
        if (self.count / VARIANTS).is_multiple_of(2) {
            let told = Command::new("kill").args(["-HUP", &manager.id().to_string()]).status();
            assert!(told.unwrap().success(), "the manager is gone:\n{}", place.serve_log());
        }
    }

    /// As it was: no manager starts on a broken file.
    pub(crate) fn mend(&self, place: &Place) {
        fs::write(place.path().join("schedules.toml"), &self.plain).unwrap();
    }

    /// What a log must say of it.
    pub(crate) fn assert_told(log: &str) {
        for words in ["SIGHUP: reading", "the schedules were reloaded", "is not used; the schedules stay"] {
            assert!(log.contains(words), "nothing about {words:?} in the log");
        }
    }
}
