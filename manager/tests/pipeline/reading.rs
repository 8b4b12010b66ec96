//! What people read afterwards: tables, reports, comparisons, logs; on a terminal and in a pipe.

use std::fs;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value as Json;

use super::harness::{Place, text, tiny_schedule, wait_for};

/// A build that has an image with these packages, and ends early: no agent can come within a second.
fn build(place: &Place, packages: &str) -> String {
    let more = format!("image.environment = {{ TINY_PACKAGES = \"{packages}\" }}\ntimeouts.boot = \"1s\"");
    fs::write(place.path().join("schedules.toml"), tiny_schedule("tiny", &more)).unwrap();
    place.expect(&["run", "tiny"], 2);
    place.latest()["id"].as_str().unwrap().to_owned()
}

#[test]
fn two_builds_are_compared_and_summed_up() {
    let place = Place::tiny("");
    let a = build(&place, "curl=7.88 zsh=5.9");
    let b = build(&place, "curl=8.14 tmux=3.5");
    compared(&place, &a, &b);
    summed_up(&place);
    on_a_terminal(&place);

    fs::remove_dir_all(place.state().join("builds").join(&a)).unwrap();
    let said = place.expect(&["compare", &a, &b], 0);
    assert!(said.contains(&format!("the packages of build {a} are not known")), "{said}");
    assert!(said.contains("building") && said.contains("image size"), "the rest is compared:\n{said}");
    let said = place.expect(&["logs", &a], 2);
    assert!(said.contains("have been removed") && said.contains("--keep-logs"), "{said}");
}

fn compared(place: &Place, a: &str, b: &str) {
    let said = place.expect(&["compare", a, "latest"], 0);
    for line in ["  ~ curl 7.88 -> 8.14\n", "  + tmux 3.5\n", "  - zsh 5.9\n"] {
        assert!(said.contains(line), "{line:?} is not in\n{said}");
    }
    assert_eq!(place.expect(&["compare", "previous", "latest"], 0), said);
    let none = place.expect(&["compare", "previous", a], 64);
    assert!(
        none.contains("no build of tiny came before") && none.contains("image-manager history"),
        "{none}"
    );
    let json = json(place, &["compare", a, b, "--format", "json"]);
    assert_eq!((&json["a"]["id"], &json["b"]["id"]), (&Json::from(a), &Json::from(b)));
    assert_eq!(json["packages"].as_array().unwrap().len(), 3, "{json}");
    assert_eq!(json["packages_a"], json["packages_b"]);
    assert_eq!(json["notes"], Json::Array(Vec::new()));
}

fn summed_up(place: &Place) {
    let said = place.expect(&["report"], 0);
    assert!(said.contains("tiny  2 builds, success rate unknown"), "{said}");
    assert!(said.contains("0 passed, 0 failed, 2 errored, 0 cancelled"), "{said}");
    let report = json(place, &["report", "--schedule", "tiny", "--since", "1h", "--format", "json"]);
    let tiny = &report["schedules"][0];
    assert_eq!((&tiny["builds"], &tiny["errored"], &tiny["flaky"]), (&2.into(), &2.into(), &0.into()));
    assert_eq!(tiny["stages"][0]["name"], "building");
    assert_eq!(tiny["points"].as_array().unwrap().len(), 2);
    let page = place.expect(&["report", "--format", "html"], 0);
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("<svg "), "{page}");
    let said = place.expect(&["report", "--until", "1h"], 0);
    assert!(said.contains("no build ended in this range"), "{said}");
}

fn on_a_terminal(place: &Place) {
    let escapes = |output: &Output| text(&output.stdout).contains('\x1b');
    for verb in ["history", "show latest", "report", "compare latest latest"] {
        assert!(escapes(&terminal(place, 90, verb, "")), "{verb} on a terminal has colours");
        assert!(!escapes(&terminal(place, 90, verb, "1")), "{verb} with NO_COLOR");
    }
    for columns in [60, 90, 200] {
        let said = text(&terminal(place, columns, "history", "1").stdout);
        let widest = said.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= columns && said.contains("agent_silent") == (columns >= 90), "{columns}:\n{said}");
    }
    // In a pipe it is whole.
    let id = place.latest()["id"].as_str().unwrap().to_owned();
    assert!(place.expect(&["history"], 0).contains(&id));
}

/// Runs a verb on a terminal of so many columns.
fn terminal(place: &Place, columns: usize, verb: &str, no_color: &str) -> Output {
    let program = env!("CARGO_BIN_EXE_image-manager");
    let command = place.command(&[]);
    let mut on_terminal = std::process::Command::new("script");
    on_terminal
        .args(["-qec", &format!("stty rows 24 cols {columns}; '{program}' {verb}"), "/dev/null"])
        .current_dir(place.path())
        .stdin(Stdio::null())
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("TERM", "xterm")
        .env("NO_COLOR", no_color);
    let output = on_terminal.output().unwrap();
    assert!(output.status.success(), "{verb}: {}", text(&output.stdout));
    output
}

fn json(place: &Place, arguments: &[&str]) -> Json {
    let output = place.run(arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_followed_log_ends_with_its_build() {
    let place = Place::tiny("image.environment = { TINY_BUILD_SECONDS = \"3\" }\ntimeouts.boot = \"1s\"");
    let mut run =
        place.command(&["run", "tiny"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let state = wait_for("the build", Duration::from_mins(2), || place.history().into_iter().next());
    assert_eq!(state["finished_at"], Json::Null, "it has only begun");
    let followed = place.expect(&["logs", "latest", "--follow"], 0);
    assert_eq!(run.wait().unwrap().code(), Some(2));
    assert!(place.latest()["finished_at"].is_string());
    let log = place.state().join("builds").join(state["id"].as_str().unwrap()).join("build.log");
    assert_eq!(followed, fs::read_to_string(log).unwrap());
    assert!(followed.contains("Build completed successfully"), "{followed}");
}
