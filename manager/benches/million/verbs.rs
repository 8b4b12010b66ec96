//! The verbs, each from the process's start to its end.

use std::process::Stdio;

use super::generate::{SCHEDULES, schedule};
use super::program::Program;
use super::table::{Act, Acts};

/// Those that read the history themselves.
pub(crate) fn reading<'a>(program: &'a Program, ids: &'a [String]) -> Acts<'a> {
    let fixed: [&[&str]; 21] = [
        &["--version"],
        &["--help"],
        &["completions", "bash"],
        &["check", "--file-only"],
        &["history"],
        &["history", "--schedule", "schedule-007"],
        &["history", "--state", "failed"],
        &["history", "--schedule", "schedule-007", "--state", "failed", "--format", "json"],
        &["history", "--since", "1h"],
        &["history", "--limit", "500", "--format", "csv"],
        &["show", "latest"],
        &["show", "schedule-007"],
        &["images"],
        &["images", "image-007", "--removed"],
        &["audit"],
        &["audit", "--since", "1h"],
        &["audit", "--limit", "1000", "--format", "csv"],
        &["report"],
        &["report", "--schedule", "schedule-007", "--since", "365d"],
        &["report", "--since", "2000d"],
        &["report", "--since", "2000d", "--format", "html"],
    ];
    let mut acts: Acts<'a> = fixed.into_iter().map(|arguments| act(program, arguments)).collect();
    let id = move |index: usize| ids[index % ids.len()].as_str();
    let more: [(&str, Act<'a>); 4] = [
        (
            "show BUILD --format json",
            Box::new(move |index| run(program, &["show", id(index), "--format", "json"])),
        ),
        ("show END-OF-ID", Box::new(move |index| run(program, &["show", end_of(id(index))]))),
        ("logs BUILD", Box::new(move |index| run(program, &["logs", id(index)]))),
        ("compare A B", Box::new(move |index| run(program, &["compare", id(index), id(index * 7 + 1)]))),
    ];
    acts.extend(more.map(|(what, act)| (format!("image-manager {what}"), act)));
    acts
}

/// Those that ask the manager that serves.
pub(crate) fn asking(program: &Program) -> Acts<'_> {
    let fixed: [&[&str]; 4] =
        [&["status"], &["status", "--format", "json"], &["schedules"], &["schedules", "--format", "json"]];
    let mut acts: Acts<'_> = fixed.into_iter().map(|arguments| act(program, arguments)).collect();
    // Of a schedule that has published nothing: nothing is begun.
    let last = schedule(SCHEDULES - 1);
    let refused = move |_| {
        let arguments = ["trigger", &last, "--verify"];
        let status = program.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        match status.unwrap().code() {
            Some(64) => Ok(()),
            other => Err(format!("expected the exit code 64, but it is {other:?}")),
        }
    };
    acts.push(("image-manager trigger SCHEDULE --verify, refused".to_owned(), Box::new(refused)));
    acts
}

/// The end of an id, long enough to be no other's.
pub(crate) fn end_of(id: &str) -> &str {
    &id[id.len() - 11..]
}

fn act<'a>(program: &'a Program, arguments: &'a [&'a str]) -> (String, Act<'a>) {
    (format!("image-manager {}", arguments.join(" ")), Box::new(move |_| run(program, arguments)))
}

fn run(program: &Program, arguments: &[&str]) -> Result<(), String> {
    let output = program.command(arguments).stdout(Stdio::null()).output().unwrap();
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}
