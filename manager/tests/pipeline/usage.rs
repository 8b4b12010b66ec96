//! Wrong usage and configuration: exit code 64, and what would be right.

use std::fs;
use std::process::Command;

use super::harness::{Place, text};

#[test]
fn six_mistakes_have_six_carets() {
    let place = Place::new(
        "[schedule.one]\n\
         cron = \"61 * * * *\"\n\
         timezone = \"Europe/Berlim\"\n\
         image = { elements = [] }\n\
         server = { memory = \"1 Gigabyte\" }\n\
         colour = \"red\"\n\
         timeouts = { build = \"soon\" }\n",
    );
    let said = place.expect(&["check"], 64);
    let carets =
        said.lines().filter(|line| line.trim_start_matches([' ', '|', '│']).starts_with('^')).count();
    assert_eq!(carets, 6, "{said}");
    assert!(said.contains("schedules.toml:2"), "{said}");
    assert!(said.contains("6 errors in"), "{said}");
    assert!(said.starts_with("error: `cron`"), "{said}");
}

#[test]
fn doctor_names_what_is_missing_and_what_mends_it() {
    let place = Place::tiny("");
    let mut doctor = place.command(&["doctor", "--dib", "/nowhere/disk-image-create"]);
    let output = doctor.env("PATH", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = super::harness::text(&output.stdout);
    assert!(said.contains("✘ qemu-system-x86_64"), "{said}");
    assert!(said.contains("apt-get install --no-install-recommends qemu-system-x86"), "{said}");
    assert!(said.contains("✘ disk-image-builder"), "{said}");
    assert!(said.contains("pip install diskimage-builder"), "{said}");
}

#[test]
fn a_host_without_qemus_user_is_told_before_anything_is_built() {
    let place = Place::tiny("");
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let others: Vec<&str> = users.lines().filter(|line| !line.starts_with("image-manager-qemu:")).collect();
    let passwd = place.path().join("passwd");
    fs::write(&passwd, others.join("\n") + "\n").unwrap();
    for (arguments, code) in [(["doctor"].as_slice(), 2), (&["run", "tiny"], 64)] {
        let inner = place.command(arguments);
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/passwd && exec \"$@\""]).arg(&passwd);
        command.arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(directory) = inner.get_current_dir() {
            command.current_dir(directory);
        }
        let output = command.output().unwrap();
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains("there is no user image-manager-qemu"), "{said}");
        assert!(said.contains("useradd --system"), "{said}");
    }
    assert_eq!(place.history(), [serde_json::Value::Null; 0], "there is no build");
}

#[test]
fn mistakes_of_every_kind_exit_with_64() {
    let place = Place::tiny("");
    let cases: [(&[&str], &str); 10] = [
        (&["run", "tiny", "--heartbeat-timeout", "0s"], "1s to 1h"),
        (&["run", "tinny"], "did you mean \"tiny\"?"),
        (&["run"], "<SCHEDULE>"),
        (&["rum", "tiny"], "run"),
        (&["check", "nowhere.toml"], "nowhere.toml"),
        (&["show", "latest"], "run SCHEDULE"),
        (&["history", "--state", "failed", "--state", "errored"], "at most one"),
        (&["history", "--since", "yesterday"], "2026-11-01"),
        (&["serve", "--operator", "localhost"], "--operator"),
        (&["run", "tiny", "--heartbeat-timeout", "soon"], "--heartbeat-timeout"),
    ];
    for (arguments, hint) in cases {
        let said = place.expect(arguments, 64);
        assert!(said.contains(hint), "{arguments:?} should say {hint:?}:\n{said}");
    }
}

#[test]
fn a_build_that_is_not_there_is_not_found() {
    let place = Place::tiny("image.environment = { TINY_BUILD_FAIL = \"package\" }");
    place.expect(&["run", "tiny"], 1);
    for id in ["ffff", "not-an-id", ""] {
        let said = place.expect(&["show", id], 64);
        assert!(said.contains("image-manager history"), "{said}");
    }
    assert!(place.expect(&["show", "latest"], 0).contains("FAILED"));
    assert!(place.expect(&["logs", "latest"], 0).contains("Unable to locate package"));
    let csv = place.expect(&["history", "--format", "csv"], 0);
    assert!(csv.starts_with("id,schedule,cloud,state,") && csv.lines().count() == 2, "{csv}");
}

/// What the README, the page of a first image and the shipped file show is what the program takes.
#[test]
fn the_examples_are_right() {
    for (page, count) in [("README.md", 2), ("docs/first-image.md", 1)] {
        let text = std::fs::read_to_string(super::harness::repository().join(page)).unwrap();
        let examples: Vec<&str> =
            text.split("```toml").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
        assert_eq!(examples.len(), count, "{page}");
        for example in examples {
            let said = Place::new(example).expect(&["check", "--file-only"], 0);
            assert!(said.contains("web"), "{said}");
        }
    }
    let shipped = super::harness::repository().join("schedules.toml");
    let said = Place::new("").expect(&["check", shipped.to_str().unwrap()], 0);
    assert!(said.contains("debian") && said.contains("0 3 * * *"), "{said}");
}
