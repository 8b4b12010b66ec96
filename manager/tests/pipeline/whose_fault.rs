//! Whose fault it is that a server said nothing: another image is asked on the same target.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::harness::{Place, repository, tiny_schedule};

const SETTINGS: &str = "control = true\npause_after = 0";

/// A place with the schedule `tiny` whose image has something wrong with it, and with what control images are made of.
fn place(canary: &str, more: &str) -> Place {
    let place = Place::new(&schedule(canary, more));
    fs::DirBuilder::new().mode(0o700).create(place.state()).unwrap();
    // Downloaded once for all tests.
    symlink(repository().join("target/tiny-image"), place.state().join("control")).unwrap();
    place
}

fn schedule(canary: &str, more: &str) -> String {
    tiny_schedule(
        "tiny",
        &format!("{SETTINGS}\n{more}\nimage.environment = {{ TINY_CANARY = \"{canary}\" }}"),
    )
}

/// The schedule's file has another image from now on.
fn change(place: &Place, canary: &str, more: &str) {
    fs::write(place.path().join("schedules.toml"), schedule(canary, more)).unwrap();
}

/// Builds once; returns the build and what was printed.
#[track_caller]
fn run(place: &Place, path: Option<&PathBuf>, code: i32, reason: &str) -> (Json, String) {
    let mut command = place.command(&["run", "tiny", "--reattach", "6s", "--heartbeat-timeout", "8s"]);
    if let Some(path) = path {
        command.env("PATH", format!("{}:{}", path.display(), std::env::var("PATH").unwrap()));
    }
    let output = command.output().unwrap();
    let report =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{report}");
    let build = place.latest();
    assert_eq!(build["reason"], reason, "{report}");
    place.assert_nothing_left();
    (build, report)
}

fn control(build: &Json) -> &Json {
    &build["trials"][0]["control"]
}

fn text<'a>(json: &'a Json, key: &str) -> &'a str {
    json[key].as_str().unwrap()
}

/// QEMU without a network card.
fn without_network(place: &Place) -> PathBuf {
    let programs = place.path().join("programs");
    fs::create_dir(&programs).unwrap();
    for directory in [place.path().to_owned(), programs.clone()] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let program = programs.join("qemu-system-x86_64");
    fs::write(
        &program,
        "#!/bin/bash\n\
         # QEMU, whose servers have no network card.\n\
         line=() before=\n\
         for word; do\n\
             case $before$word in\n\
             -devicevirtio-net-*) unset 'line[-1]' ;;\n\
             *) line+=(\"$word\") ;;\n\
             esac\n\
             before=$word\n\
         done\n\
         exec /usr/bin/qemu-system-x86_64 \"${line[@]}\"\n",
    )
    .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    programs
}

#[test]
fn an_image_whose_kernel_panics_is_at_fault_and_the_next_one_within_the_hour_too() {
    let place = place("kernel-panic", "");
    let (build, _) = run(&place, None, 1, "image_at_fault");
    let evidence = text(&build["failure"], "evidence");
    assert_eq!(evidence.matches("the server stopped by itself").count(), 2, "{evidence}");
    assert!(evidence.contains("the first boot:") && evidence.contains("the second boot:"), "{evidence}");
    for log in ["console.1.log", "console.log"] {
        let log = place.state().join("builds").join(text(&build, "id")).join(log);
        assert!(fs::read_to_string(log).unwrap().contains("Kernel panic"), "each boot has its console");
    }
    let asked = control(&build);
    assert_eq!((text(asked, "because"), text(asked, "outcome")), ("server_stopped", "passed"), "{asked}");
    assert_eq!((text(asked, "image_of"), text(asked, "again")), ("", "server_stopped"), "{asked}");
    assert!(
        text(asked, "detail").contains("control image")
            && text(asked, "detail").contains("its agent attached")
    );
    let shown = place.expect(&["show", "latest"], 0);
    assert!(shown.contains("control boots") && shown.contains("its agent attached"), "{shown}");
    // The control image was the trial's own, and is no image of the build.
    let images = build["resources"].as_array().unwrap().iter().filter(|row| row["kind"] == "image");
    assert_eq!(images.count(), 2, "{build:#}");
    assert!(!text(&build["image"], "name").contains("control"));
    // It worked a moment ago: no other one is booted.
    let (second, _) = run(&place, None, 1, "image_at_fault");
    assert_eq!(control(&second)["answer_of"], build["id"], "{second:#}");
    let servers = second["resources"].as_array().unwrap().iter().filter(|row| row["kind"] == "server");
    assert_eq!(servers.count(), 2, "the image twice: {second:#}");
}

/// The control image boots by the target's own firmware.
#[test]
fn an_image_for_uefi_is_compared_with_a_control_image_for_uefi() {
    let place = place("kernel-panic\", TINY_FIRMWARE = \"uefi", "");
    let file = place.path().join("schedules.toml");
    let uefi = fs::read_to_string(&file).unwrap().replace("server = { ", "server = { firmware = \"uefi\", ");
    fs::write(file, uefi).unwrap();
    let (build, _) = run(&place, None, 1, "image_at_fault");
    let asked = control(&build);
    assert_eq!((text(asked, "because"), text(asked, "outcome")), ("server_stopped", "passed"), "{asked}");
    let log = place.state().join("builds").join(text(&build, "id")).join("control.log");
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("BdsDxe: starting") && log.contains("tiny: ready at"), "{log}");
}

#[test]
fn a_host_whose_servers_have_no_network_is_at_fault_for_the_hour() {
    let place = place("", "timeouts.boot = \"25s\"");
    let programs = without_network(&place);
    let (build, report) = run(&place, Some(&programs), 2, "cloud_at_fault");
    let asked = control(&build);
    assert_eq!((text(asked, "because"), text(asked, "outcome")), ("agent_silent", "failed"), "{asked}");
    assert_eq!(text(asked, "again"), "", "{report}");
    let evidence = text(&build["failure"], "evidence");
    for piece in ["this image:", "the control boot:"] {
        assert!(evidence.contains(piece), "{evidence}");
    }
    assert_eq!(evidence.matches("tiny: ready at").count(), 2, "both consoles: {evidence}");
    let log = place.state().join("builds").join(text(&build, "id")).join("control.log");
    assert!(fs::read_to_string(log).unwrap().contains("tiny: ready at"));
    let began = Instant::now();
    let (second, _) = run(&place, Some(&programs), 2, "cloud_at_fault");
    assert_eq!(control(&second)["answer_of"], build["id"], "{second:#}");
    assert!(began.elapsed() < Duration::from_mins(1), "only its own silence was waited for");
}

#[test]
fn the_published_image_is_asked_before_one_is_made() {
    let place = place("", "publish.name = \"tiny\"");
    place.expect(&["run", "tiny"], 0);
    let good = place.latest();
    change(&place, "no-agent", "publish.name = \"tiny\"\ntimeouts.boot = \"25s\"");
    let (build, report) = run(&place, None, 1, "image_at_fault");
    let asked = control(&build);
    assert_eq!((&asked["image_of"], text(asked, "again")), (&good["id"], "agent_silent"), "{report}");
    assert!(place.state().join("images/published/tiny.qcow2").exists(), "it is still there");
    assert!(text(&build["failure"], "message").contains(text(&good, "id")), "{report}");
}

#[test]
fn switched_off_or_without_its_parts_an_end_says_what_it_said() {
    let place = Place::tiny("control = false\nimage.environment = { TINY_CANARY = \"kernel-panic\" }");
    let (build, _) = run(&place, None, 2, "server_stopped");
    assert_eq!(*control(&build), Json::Null);
    // Firmware that no control image is started by.
    if !std::path::Path::new("/usr/share/OVMF").exists() {
        return;
    }
    let uefi = schedule("kernel-panic", "timeouts.boot = \"30s\"")
        .replace("server = { ", "server = { firmware = \"uefi-secure\", ");
    fs::write(place.path().join("schedules.toml"), uefi).unwrap();
    let (build, report) = run(&place, None, 2, "agent_silent");
    assert_eq!(text(control(&build), "outcome"), "unknown", "{report}");
    assert!(
        text(&build["failure"], "message").contains("there is none for amd64 that uefi-secure can start"),
        "{report}"
    );
}

#[test]
fn fail_fast_ends_with_the_first_check_that_failed() {
    let more = "fail_fast = true\npublish.name = \"tiny\"";
    // cloud-init never ends: only who does not wait for it is soon done.
    let checks = "checks = { dns = false, internet = false, disk = { min_free = \"400 GiB\", timeout = \"20s\" }, cloud_init = { timeout = \"150s\" } }";
    let place = place("cloud-init-hanging", &format!("{more}\n{checks}"));
    let began = Instant::now();
    let (build, report) = run(&place, None, 1, "check_failed");
    assert!(began.elapsed() < Duration::from_mins(2), "{report}");
    let message = text(&build["failure"], "message");
    assert!(
        message.contains("disk") && message.contains("fail_fast: 1 of 2 checks had not reported"),
        "{message}"
    );
    let checks = build["checks"].as_array().unwrap();
    let outcome = |name: &str| checks.iter().find(|check| check["name"] == name).unwrap()["outcome"].clone();
    assert_eq!((outcome("disk"), outcome("cloud_init")), ("fail".into(), Json::Null), "{report}");
}

#[test]
fn what_the_image_and_the_control_image_both_cannot_reach_is_the_clouds_fault() {
    // Nobody has this name, for a server as little as for the manager.
    let checks = "checks = { dns = false, cloud_init = false, disk = false, \
                  internet = { targets = [\"tcp://nobody.invalid:9\"], timeout = \"8s\" } }";
    let place = place("", checks);
    let (build, report) = run(&place, None, 2, "cloud_at_fault");
    let asked = control(&build);
    assert_eq!(
        (text(asked, "because"), text(asked, "outcome")),
        ("check_inconclusive", "failed"),
        "{report}"
    );
    assert!(text(asked, "detail").contains("its agent attached, and found internet"), "{asked}");
}
