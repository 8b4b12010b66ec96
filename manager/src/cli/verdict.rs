//! The last lines of `run`: the verdict, the reason, and what to do next. All the rest is what `show` is for.

use std::path::Path;

use image_manager_proto::v1;

use super::show::{
    clouds, trials, write_circumstances, write_evidence, write_hint, write_warnings, write_what_happened,
};
use super::text::{Screen, Style, line};
use super::when;
use crate::history::Named as _;
use crate::lifecycle::trials::several;

/// The variable that names the state directory, and where it is without one.
const STATE: (&str, &str) = ("IMAGE_MANAGER_STATE", "state");

/// What is said when a build has ended; `state` is the directory that it is in the history of.
pub(super) fn last_lines(build: &v1::Build, state: &Path, style: Style) -> Screen {
    let mut out = Screen::default();
    trials::write_table(&mut out, build, style);
    if let Some(failure) = build.failure.as_ref().filter(|failure| !failure.evidence.is_empty()) {
        out.blank();
        write_evidence(&mut out, failure, style);
    }
    out.blank();
    let verdict = style.by_state(build.state(), &build.state().word().to_uppercase()).bold(style);
    let took = build.started_at.as_ref().map(|from| when::between(Some(from), build.finished_at.as_ref()));
    let took = took.map_or_else(String::new, |took| format!(", took {took}"));
    let places =
        if several(build).is_empty() { clouds(build) } else { format!("{} targets", several(build).len()) };
    line!(out, verdict, format_args!("  build {} of {} on {places}{took}", build.id, build.schedule));
    write_circumstances(&mut out, build);
    if let Some(failure) = &build.failure {
        write_what_happened(&mut out, "", failure, style);
    }
    write_warnings(&mut out, build, style);
    line!(out, style.bold("Details: "), show_command(&build.id, state));
    if let Some(failure) = &build.failure {
        write_hint(&mut out, failure, style);
    }
    out
}

/// What shows the build, to be copied into a shell.
fn show_command(id: &str, state: &Path) -> String {
    let (variable, default) = STATE;
    let known = std::env::var_os(variable).unwrap_or_else(|| default.into());
    let flag = if state.as_os_str() == known { String::new() } else { format!(" --state {}", quoted(state)) };
    format!("image-manager show {id}{flag}")
}

/// As a shell takes it for one word.
fn quoted(path: &Path) -> String {
    let path = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@".contains(c);
    if path.chars().all(plain) { path.into_owned() } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reason::Reason;

    fn build(reason: &str, hint: &str) -> v1::Build {
        let failure = v1::Failure {
            reason: reason.to_owned(),
            stage: "booting".to_owned(),
            message: "no agent attached".to_owned(),
            evidence: "last lines of the console".to_owned(),
            hint: hint.to_owned(),
        };
        v1::Build {
            id: "0199-1".to_owned(),
            schedule: "web".to_owned(),
            cloud: "local".to_owned(),
            state: v1::BuildState::Errored.into(),
            warnings: vec!["it is old".to_owned()],
            failure: (!reason.is_empty()).then_some(failure),
            ..v1::Build::default()
        }
    }

    #[test]
    fn a_run_ends_with_the_verdict_the_reason_and_what_to_do_next() {
        for reason in Reason::ALL.iter().filter(|reason| !reason.hint().is_empty()) {
            let build = build(reason.word(), reason.hint());
            let said = last_lines(&build, Path::new("state"), Style::plain()).as_str().to_owned();
            let expected = format!(
                "\n  | last lines of the console\n\nERRORED  build 0199-1 of web on local\n\
                 {reason} while booting: no agent attached\nWARNING: it is old\n\
                 Details: image-manager show 0199-1\nNext: {}\n",
                reason.hint()
            );
            assert_eq!(said, expected);
        }
        let passed = last_lines(&build("", ""), Path::new("state"), Style::plain());
        assert!(passed.as_str().ends_with("WARNING: it is old\nDetails: image-manager show 0199-1\n"));
    }

    #[test]
    fn the_command_finds_the_build_from_the_same_shell() {
        let command = |state: &str| show_command("0199-1", Path::new(state));
        assert_eq!(command("/var/lib/im"), "image-manager show 0199-1 --state /var/lib/im");
        assert_eq!(command("it's mine"), "image-manager show 0199-1 --state 'it'\\''s mine'");
    }
}
