//! `image-manager check`: every mistake of schedules.toml, or what it means.

use chrono::Utc;

use super::arguments::CheckArguments;
use super::instance::load_schedules;
use super::text;
use super::{Exit, Outcome};
use crate::schedules;

pub(crate) fn run(arguments: &CheckArguments) -> Outcome {
    let path = arguments.file.as_ref().unwrap_or(&arguments.schedules.schedules);
    let found = load_schedules(path)?;
    text::print_document(&schedules::describe(&found, Utc::now()));
    Ok(Exit::Done)
}
