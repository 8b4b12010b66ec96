//! `image-manager check`: every mistake of schedules.toml, or what it means and what this host lacks for it.

use std::path::absolute;

use chrono::Utc;

use super::arguments::CheckArguments;
use super::doctor::{clouds, lacking, show};
use super::instance::{load_definition, load_schedules, settings};
use super::text::{self, Screen, Style, line};
use super::{Exit, Outcome, Trouble};
use crate::readiness;
use crate::schedules;

pub(crate) fn run(arguments: &CheckArguments) -> Outcome {
    let mut host = arguments.host.clone();
    if let Some(file) = &arguments.file {
        host.schedules.schedules.clone_from(file);
    }
    if arguments.file_only {
        let found = load_schedules(&host.schedules.schedules)?;
        text::print_document(&schedules::describe(&found, Utc::now()));
        return Ok(Exit::Done);
    }
    let everything = |_: &schedules::Schedule| true;
    let (found, definition) = load_definition(&host, &everything)?;
    text::print_document(&schedules::describe(&found, Utc::now()));
    let settings = settings(&host, &absolute(&host.state.state).map_err(Trouble::usage)?, 1);
    let mut noted = Screen::default();
    for note in readiness::notes(&found, &settings) {
        line!(noted, "note: ", note);
    }
    text::print(&noted);
    let mut findings = readiness::findings(&found, &definition, &settings, &everything);
    findings.extend(clouds(&found));
    let lacks = lacking(&findings);
    if lacks.is_empty() {
        return Ok(Exit::Done);
    }
    let mut out = Screen::default();
    out.blank();
    line!(out, "the file is right, and this host cannot build it yet:");
    show(&mut out, &lacks, Style::of_stdout());
    out.blank();
    line!(out, "`image-manager doctor` looks at everything; `--file-only` leaves the host out");
    text::print(&out);
    Ok(Exit::Errored)
}
