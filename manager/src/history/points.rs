//! A name for every commit, and what lets tests kill the manager right before or after one.
//!
//! Two variables of the environment, for tests only; when neither is set, a commit costs nothing more:
//!
//! - `IMAGE_MANAGER_TEST_POINTS=FILE` writes a line for each commit, `<number> <name>#<occurrence>`: the list of
//!   points at which a manager can be killed comes from a run of the program itself, not from somebody's memory.
//! - `IMAGE_MANAGER_TEST_KILL=<point>:before` or `:after` ends the process by SIGKILL right before or right after
//!   that commit. The point is a number (`17`) or a name with its occurrence (`intend:server#1`), counted from
//!   the process's start.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write as _;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rusqlite::Connection;

use super::HistoryError;

/// Where the points are written.
const POINTS: &str = "IMAGE_MANAGER_TEST_POINTS";
/// The point to be killed at.
const KILL: &str = "IMAGE_MANAGER_TEST_KILL";

/// Which commit it is.
pub(super) enum Point {
    /// The name alone says it.
    Plain(&'static str),
    /// `<what>:<word>`.
    Of(&'static str, String),
    /// `<what>:<kind>`, with the kind of a row of the ledger.
    Row(&'static str, i64),
}

impl From<&'static str> for Point {
    fn from(name: &'static str) -> Self {
        Self::Plain(name)
    }
}

impl Point {
    fn name(&self, connection: &Connection) -> rusqlite::Result<String> {
        Ok(match self {
            Self::Plain(name) => (*name).to_owned(),
            Self::Of(what, word) => format!("{what}:{word}"),
            Self::Row(what, row) => {
                let kind = "SELECT kind FROM resource WHERE id = ?1";
                let kind: String = connection.query_row(kind, [row], |found| found.get(0))?;
                format!("{what}:{kind}")
            }
        })
    }
}

/// On which side of the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

/// Which commit to be killed at.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    Number(u64),
    /// `<name>#<occurrence>`.
    Name(String),
}

/// A commit that has begun.
pub(super) struct Commit {
    number: u64,
    /// `<name>#<occurrence>`.
    name: String,
}

/// What tests ask for at commits.
pub(super) struct TestPoints {
    points: Option<File>,
    kill: Option<(Target, Side)>,
    count: u64,
    /// How often each name was seen; there are as many as the code has.
    seen: BTreeMap<String, u64>,
}

impl TestPoints {
    /// What the environment asks for; `None` when it asks for nothing.
    pub(super) fn from_environment() -> Result<Option<Self>, HistoryError> {
        Self::open(std::env::var_os(POINTS), std::env::var_os(KILL))
    }

    fn open(points: Option<OsString>, target: Option<OsString>) -> Result<Option<Self>, HistoryError> {
        if points.is_none() && target.is_none() {
            return Ok(None);
        }
        let file = |path: OsString| {
            let wrong = |error| HistoryError::TestPoints(format!("{POINTS}={}: {error}", path.display()));
            OpenOptions::new().create(true).append(true).open(&path).map_err(wrong)
        };
        let kill = |text: OsString| {
            let wrong = "must be <number>:before, or <name>#<occurrence>:after";
            let read = text.to_str().and_then(parse);
            read.ok_or_else(|| HistoryError::TestPoints(format!("{KILL}={} {wrong}", text.display())))
        };
        let (points, kill) = (points.map(file).transpose()?, target.map(kill).transpose()?);
        tracing::warn!("a hook for tests is on: {POINTS} or {KILL} is set");
        Ok(Some(Self { points, kill, count: 0, seen: BTreeMap::new() }))
    }

    /// Right before a commit: its work is done and can be undone.
    pub(super) fn before(&mut self, point: &Point, connection: &Connection) -> rusqlite::Result<Commit> {
        let name = point.name(connection)?;
        self.count = self.count.saturating_add(1);
        let occurrence = self.seen.entry(name.clone()).or_default();
        *occurrence = occurrence.saturating_add(1);
        let commit = Commit { number: self.count, name: format!("{name}#{occurrence}") };
        self.die_at(&commit, Side::Before);
        Ok(commit)
    }

    /// Right after a commit.
    pub(super) fn after(&mut self, commit: &Commit) {
        if let Some(file) = &mut self.points
            && let Err(error) = writeln!(file, "{commit}")
        {
            tracing::error!("cannot write the point {commit}: {error}");
        }
        self.die_at(commit, Side::After);
    }

    fn die_at(&self, commit: &Commit, side: Side) {
        let Some((target, wanted)) = &self.kill else { return };
        let here = match target {
            Target::Number(number) => *number == commit.number,
            Target::Name(name) => *name == commit.name,
        };
        if here && *wanted == side {
            // To itself it always arrives, before the call returns.
            let _ = kill(Pid::this(), Signal::SIGKILL);
        }
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.name)
    }
}

fn parse(text: &str) -> Option<(Target, Side)> {
    let (point, side) = text.rsplit_once(':')?;
    let side = match side {
        "before" => Side::Before,
        "after" => Side::After,
        _ => return None,
    };
    if let Ok(number) = point.parse() {
        return Some((Target::Number(number), side));
    }
    let (name, occurrence) = point.rsplit_once('#')?;
    let occurrence: u64 = occurrence.parse().ok()?;
    (!name.is_empty()).then(|| (Target::Name(format!("{name}#{occurrence}")), side))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_a_number_or_a_name() {
        assert_eq!(parse("17:before"), Some((Target::Number(17), Side::Before)));
        let name = Target::Name("intend:server#2".to_owned());
        assert_eq!(parse("intend:server#2:after"), Some((name, Side::After)));
        for wrong in ["", "17", "17:during", "intend:server:after", "#1:after", "intend:server#x:after"] {
            assert_eq!(parse(wrong), None, "{wrong}");
            assert!(TestPoints::open(None, Some(wrong.into())).is_err(), "{wrong}");
        }
        assert!(TestPoints::open(None, None).unwrap().is_none());
    }

    #[test]
    fn each_commit_has_its_line() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("points");
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE resource (id INTEGER, kind TEXT); INSERT INTO resource VALUES (7, 'server')",
            )
            .unwrap();
        let mut points = TestPoints::open(Some(file.clone().into()), None).unwrap().unwrap();
        for point in [Point::from("owner"), Point::Of("advance", "booting".to_owned())] {
            let commit = points.before(&point, &connection).unwrap();
            points.after(&commit);
        }
        for _ in 0..2 {
            let commit = points.before(&Point::Row("gone", 7), &connection).unwrap();
            points.after(&commit);
        }
        // Not committed: no line, but its number is taken.
        points.before(&Point::from("owner"), &connection).unwrap();
        let lines = std::fs::read_to_string(&file).unwrap();
        assert_eq!(lines, "1 owner#1\n2 advance:booting#1\n3 gone:server#1\n4 gone:server#2\n");
    }
}
