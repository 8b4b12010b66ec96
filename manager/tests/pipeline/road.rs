//! A build that passes, from the trigger to the published image.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::harness::disk::Disk;
use super::harness::{Place, text};

/// What the elements put into an image for the agent.
const AGENT_PATHS: [&str; 5] = [
    "/usr/local/sbin/image-manager-agent",
    "/etc/systemd/system/image-manager-agent.service",
    "/etc/systemd/system/sysinit.target.wants/image-manager-agent.service",
    "/etc/image-manager",
    "/var/lib/image-manager",
];

#[test]
fn passes_publishes_and_leaves_no_agent_behind() {
    let place = Place::tiny("publish = { name = \"tiny\", keep = 1 }");
    let disk = place.path().join("kept.qcow2");
    let report = place.expect(&["run", "tiny", "--keep-disk", disk.to_str().unwrap()], 0);
    for stage in ["building", "uploading", "booting", "verifying", "publishing", "cleaning_up"] {
        assert!(report.contains(stage), "no {stage} in\n{report}");
    }
    let build = place.latest();
    assert_eq!(build["state"], "succeeded");
    assert_eq!(build["verdict"], "passed");
    assert_eq!(build["reason"], "");
    assert_eq!(build["trigger"], "cli");
    let checks = build["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 4);
    for check in checks {
        assert_eq!(check["outcome"], "pass", "{check}");
        assert!(!check["observations"].as_object().unwrap().is_empty(), "{check}");
    }
    for stage in build["stages"].as_array().unwrap() {
        assert_eq!(stage["state"], "done", "{stage}");
    }
    assert_eq!(build["agent"]["removal"]["complete"], true);
    assert_eq!(build["image"]["name"], "tiny");

    let published = place.state().join("images/published/tiny.qcow2");
    let hash = Command::new("sha512sum").arg(&published).output().unwrap();
    assert!(text(&hash.stdout).starts_with(build["image"]["sha512"].as_str().unwrap()));
    place.assert_nothing_left();

    // The published image has the agent, which removes itself at a user's first boot; the disk of the server
    // that was verified has none of it.
    let (published, disk) = (Disk::of(&published), Disk::of(&disk));
    for path in AGENT_PATHS.iter().take(4) {
        assert!(published.has(path), "{path} should be in the published image");
    }
    for path in AGENT_PATHS {
        assert!(!disk.has(path), "{path} is still on the server's disk");
    }
}

#[test]
fn older_images_stay_as_many_as_asked_for() {
    let place = Place::tiny("publish = { name = \"tiny\", keep = 1 }\nchecks = {}");
    let mut hashes = Vec::new();
    for _ in 0..3 {
        place.expect(&["run", "tiny"], 0);
        hashes.push(place.latest()["image"]["sha512"].as_str().unwrap().to_owned());
    }
    let published = place.state().join("images/published");
    let mut images: Vec<_> = fs::read_dir(&published)
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "qcow2"))
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    images.sort();
    assert_eq!(images.len(), 2, "the current one and one older: {images:?}");
    assert!(images.contains(&"tiny.qcow2".to_owned()), "{images:?}");
    place.assert_nothing_left();
    assert_eq!(place.history().len(), 3);
}

#[test]
fn nothing_of_the_agent_starts_at_the_next_boot() {
    let place = Place::tiny("checks = {}");
    let disk = place.path().join("kept.qcow2");
    place.expect(&["run", "tiny", "--keep-disk", disk.to_str().unwrap()], 0);
    let console = boot_again(&disk, place.path());
    assert!(console.contains("tiny: no agent"), "{console}");
}

/// Boots a disk without a config drive until the guest says what came of its agent.
fn boot_again(disk: &Path, directory: &Path) -> String {
    let console = directory.join("second-boot.log");
    let mut qemu = Command::new("qemu-system-x86_64")
        .args([
            "-machine",
            "q35",
            "-accel",
            "tcg",
            "-cpu",
            "max",
            "-m",
            "256",
            "-nodefaults",
            "-display",
            "none",
        ])
        .args(["-no-reboot", "-nic", "user,model=virtio-net-pci"])
        .args(["-serial", &format!("file:{}", console.display())])
        .args(["-drive", &format!("file={},format=qcow2,if=virtio", disk.display())])
        .spawn()
        .unwrap();
    let read = || fs::read_to_string(&console).unwrap_or_default();
    super::harness::wait_for("the second boot", std::time::Duration::from_mins(2), || {
        (read().contains("tiny: ready") || read().contains("tiny: no agent")).then_some(())
    });
    qemu.kill().unwrap();
    qemu.wait().unwrap();
    read()
}
