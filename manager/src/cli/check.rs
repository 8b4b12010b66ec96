//! `image-manager check`: every mistake of schedules.toml, or what it means and what this host lacks for it.

use chrono::Utc;

use super::arguments::CheckArguments;
use super::doctor::{clouds, lacking, show};
use super::host::{Loaded, load_definition, load_schedules};
use super::text::{self, Screen, Style, line, say};
use super::{Exit, Outcome};
use crate::readiness::{self, Finding};
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
    let Loaded { schedules: found, definition, settings } = load_definition(&host, &everything)?;
    text::print_document(&schedules::describe(&found, Utc::now()));
    for note in &definition.notes {
        say!("note: ", *note);
    }
    for note in readiness::notes(&found, &settings) {
        say!("note: ", note);
    }
    let mut findings = readiness::findings(&found, &definition, &settings, &everything);
    findings.extend(clouds(&found));
    let lacks = lacking(&findings);
    if lacks.is_empty() {
        return Ok(Exit::Done);
    }
    let mut out = Screen::default();
    out.blank();
    line!(out, "the file is correct, but this host cannot build all of it yet:");
    show(&mut out, &lacks, Style::of_stdout());
    let (ready, not_ready): (Vec<&str>, Vec<&str>) = found
        .schedules
        .iter()
        .map(|schedule| schedule.name.as_str())
        .partition(|name| is_ready(&lacks, name));
    if !ready.is_empty() {
        line!(out, format_args!("can be built: {}", ready.join(", ")));
        line!(out, format_args!("cannot be built yet: {}", not_ready.join(", ")));
    }
    out.blank();
    line!(out, "`image-manager doctor` examines everything; `--file-only` checks only the file");
    text::print(&out);
    Ok(Exit::Errored)
}

/// Whether a schedule lacks nothing: neither what every build needs nor what is its own.
fn is_ready(lacks: &[&Finding], schedule: &str) -> bool {
    lacks.iter().all(|lack| !lack.schedules.is_empty() && !lack.schedules.iter().any(|name| name == schedule))
}
