//! What goes wrong on the way: the verdict, its evidence, and nothing left.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::lab::{Lab, repository};

#[test]
fn an_image_that_does_not_boot_is_silent() {
    let Some(lab) = Lab::tiny("image.environment = { TINY_CANARY = \"no-boot\" }\ntimeouts.boot = \"60s\"")
    else {
        return;
    };
    lab.expect(&["run", "tiny"], 2);
    let build = lab.latest();
    assert_eq!(build["reason"], "agent_silent");
    let failure = &build["failure"];
    assert!(failure["message"].as_str().unwrap().contains("security groups"), "{failure}");
    assert!(failure["evidence"].as_str().unwrap().contains("last lines of the console"), "{failure}");
    lab.assert_nothing_left();
}

#[test]
fn an_agent_that_cannot_be_reached_leaves_its_console() {
    let Some(lab) =
        Lab::tiny("image.environment = { TINY_CANARY = \"no-network\" }\ntimeouts.boot = \"60s\"")
    else {
        return;
    };
    lab.expect(&["run", "tiny"], 2);
    let build = lab.latest();
    assert_eq!(build["reason"], "agent_silent");
    assert!(build["failure"]["evidence"].as_str().unwrap().contains("tiny:"), "{}", build["failure"]);
    lab.assert_nothing_left();
}

#[test]
fn a_flavor_that_is_too_small_is_novas_fault_in_the_evidence() {
    let Some(lab) = Lab::tiny("") else { return };
    // A disk of two gigabytes; the flavor has one.
    let program = lab.path().join("disk-image-create");
    let real = repository().join("testbed/tiny-image/disk-image-create");
    fs::write(&program, format!("#!/bin/sh\nexec {} --image-size 2 \"$@\"\n", real.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Lab::expect_of(lab.command(&["run", "tiny"]).env("IMAGE_MANAGER_DIB", &program), 2);
    let build = lab.latest();
    assert_eq!((&build["state"], &build["failure"]["stage"]), (&"errored".into(), &"booting".into()));
    let evidence = build["failure"]["evidence"].as_str().unwrap();
    assert!(evidence.contains("disk is smaller than") || evidence.contains("too small"), "{evidence}");
    lab.assert_nothing_left();
}

#[test]
fn a_quota_that_is_used_up_is_no_room() {
    let Some(lab) = Lab::tiny("") else { return };
    let before = lab.admin.set_instances(0);
    let output = lab.command(&["run", "tiny"]).output().unwrap();
    lab.admin.set_instances(before);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("no room for a server: 0 of 0 instances"), "{said}");
    assert!(lab.builds().is_empty());
}
