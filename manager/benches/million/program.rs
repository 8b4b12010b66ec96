//! A program that is measured, in a directory of its own.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use image_manager::history::History;
use rusqlite::Connection;

use super::generate::{self, SCHEDULES};
use super::made_up::mixed;
use super::serving::Serving;

/// What the last schedule publishes: there is no image of that name, so its verification is refused.
const NOTHING: &str = "nothing";

/// A program that is measured.
pub(crate) struct Program {
    path: PathBuf,
    directory: PathBuf,
}

impl Program {
    /// The program at `path`, with its schedules and state in a directory.
    pub(crate) fn new(path: PathBuf, directory: PathBuf) -> Self {
        std::fs::create_dir_all(directory.join("state")).unwrap();
        std::fs::write(directory.join("schedules.toml"), schedules()).unwrap();
        Self { path, directory }
    }

    /// Where it keeps its history.
    pub(crate) fn database(&self) -> PathBuf {
        self.state().join("image-manager.db")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The program in its directory, without what the caller's environment says to it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.path);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("IMAGE_MANAGER_")) {
            command.env_remove(name);
        }
        // Nothing is built. With the stand-in there is nobody who would have to be asked what the elements are.
        let stand_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testbed/tiny-image/disk-image-create");
        command.env("IMAGE_MANAGER_DIB", stand_in.canonicalize().unwrap());
        command.args(arguments).current_dir(&self.directory).stdin(Stdio::null());
        command
    }

    /// Brings a copy of a history of long ago to this program's schema by the library, and says how long that took.
    pub(crate) fn migrate(&self, old: &Path) -> Duration {
        self.copy(old);
        let began = Instant::now();
        drop(History::open(&self.database()).unwrap());
        let took = began.elapsed();
        generate::prune(&self.database());
        let history = History::open(&self.database()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(history.refresh_day_sums()).unwrap();
        took
    }

    /// The same by the program itself, which does it before it serves. `summed`: a history of the same builds with sums.
    pub(crate) fn migrate_by_serving(&self, old: &Path, summed: &Path) -> Duration {
        self.copy(old);
        let serving = Serving::start(self);
        let took = serving.started_within();
        drop(serving);
        generate::prune(&self.database());
        generate::copy_sums(summed, &self.database());
        took
    }

    fn copy(&self, old: &Path) {
        generate::remove(&self.database());
        std::fs::copy(old, self.database()).unwrap();
    }

    /// Ids of builds all over the history.
    pub(crate) fn ids(&self, count: u64) -> Vec<String> {
        let connection = Connection::open(self.database()).unwrap();
        let most: i64 = connection.query_row("SELECT max(rowid) FROM build", [], |row| row.get(0)).unwrap();
        let id = |number| {
            let row = i64::try_from(mixed(number) % most.unsigned_abs()).unwrap() + 1;
            connection.query_row("SELECT id FROM build WHERE rowid = ?1", [row], |row| row.get(0)).unwrap()
        };
        (0..count).map(id).collect()
    }
}

/// Schedules that fire once a day, but not while they are measured.
fn schedules() -> String {
    let hour = (chrono::Utc::now() + chrono::TimeDelta::hours(12)).format("%H").to_string();
    (0..SCHEDULES).fold(String::new(), |mut text, number| {
        let name = if number + 1 == SCHEDULES { NOTHING.to_owned() } else { generate::public_name(number) };
        let schedule = generate::schedule(number);
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "[schedule.{schedule}]\ncron = \"{} {hour} * * *\"\nimage.elements = [\"x\"]\npublish = {{ name = \"{name}\" }}",
            number % 60
        );
        text
    })
}
