//! Tests of the schedules.

mod additions;
mod cron;
mod design;
mod documents;
mod environment;
mod errors;
mod machines;
mod merging;
mod overview;
mod planner;
mod quantities;
mod rendering;
mod targets;
mod zones;

use std::path::Path;

use chrono::{DateTime, Utc};

use super::cron::Cron;
use super::{LoadError, Schedule, Schedules, parse};

/// A schedule that is complete without more.
const ELEMENTS: &str = "image.elements = [\"vm\"]\n";

fn read(text: &str) -> Schedules {
    parse(Path::new("schedules.toml"), text).unwrap_or_else(|error| panic!("{}", error.render(false)))
}

fn refused(text: &str) -> LoadError {
    parse(Path::new("schedules.toml"), text).expect_err("this has a mistake")
}

/// The only schedule, named `a`, with these lines besides its elements.
fn one(lines: &str) -> Schedule {
    let schedules = read(&format!("[schedule.a]\n{ELEMENTS}{lines}"));
    schedules.schedules.into_iter().next().unwrap()
}

fn fires_by(entry: &str, zone: &str) -> Schedule {
    let mut schedule = one(&format!("timezone = \"{zone}\"\n"));
    schedule.cron = Some(Cron::parse(entry).unwrap());
    schedule
}

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Texts of the numbers below `count`, one after the other.
fn repeated(count: usize, text: impl Fn(usize) -> String) -> String {
    (0..count).map(text).collect::<Vec<_>>().concat()
}
