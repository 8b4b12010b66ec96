//! The road once with nothing stood in for: the real disk-image-builder, a real Debian, the shipped schedule.

use std::process::Command;

use super::harness::{Place, repository, text};
use super::private_repository::{in_image, raw_disk};
use super::road::exists_in;

#[test]
fn debian_passes() {
    let place = Place::new("");
    let disk = place.path().join("kept.qcow2");
    let mut run = place.command(&["run", "debian", "--keep-disk", disk.to_str().unwrap()]);
    run.env_remove("IMAGE_MANAGER_DIB").env_remove("IMAGE_MANAGER_HEARTBEAT_TIMEOUT");
    // The cache of a developer's demo saves the package downloads.
    run.env("IMAGE_MANAGER_SCHEDULES", repository().join("schedules.toml"));
    let before = loop_devices();
    let output = run.output().unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    let build = place.latest();
    assert_eq!(build["verdict"], "passed");
    for check in build["checks"].as_array().unwrap() {
        assert_eq!(check["outcome"], "pass", "{check}");
    }
    assert_eq!(build["agent"]["removal"]["complete"], true);
    assert!(place.state().join("images/published/debian-12.qcow2").exists());
    let packages = std::fs::read_to_string(
        place.state().join("builds").join(build["id"].as_str().unwrap()).join("manifest.json"),
    );
    assert!(packages.unwrap().contains("cloud-init"));
    for path in [
        "/usr/local/sbin/image-manager-agent",
        "/etc/systemd/system/image-manager-agent.service",
        "/etc/systemd/system/sysinit.target.wants/image-manager-agent.service",
        "/etc/image-manager",
    ] {
        assert!(!exists_in(&disk, path), "{path} is still on the server's disk");
    }
    assert!(exists_in(&disk, "/usr/sbin/sshd"), "the look into the disk works");
    tells_nothing_of_its_host(&place);
    assert_eq!(loop_devices(), before);
    place.assert_nothing_left();
}

/// What is published says by what it was made of, and not where.
fn tells_nothing_of_its_host(place: &Place) {
    let raw = raw_disk(place, &place.state().join("images/published/debian-12.qcow2"));
    let packages = in_image(&raw, "cat /etc/dib-manifests/dib-manifest-dpkg-image");
    assert!(packages.contains("cloud-init"), "{packages}");
    for path in [
        "/etc/dib-manifests/dib_environment",
        "/etc/dib-manifests/dib_arguments",
        "/etc/.resolv.conf.systemd-resolved.bak",
        "/etc/apt/apt.conf.d/95disable-recommends",
    ] {
        assert!(in_image(&raw, &format!("stat {path}")).contains("File not found"), "{path}");
    }
    let link = in_image(&raw, "stat /etc/resolv.conf");
    assert!(link.contains("systemd/resolve/stub-resolv.conf"), "{link}");
    let name = in_image(&raw, "stat /etc/hostname");
    assert!(name.contains("Mode:  0644"), "{name}");
    // Not in free blocks either.
    let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = host.lines().filter(|line| line.starts_with("nameserver ")).map(str::trim);
    for word in servers.chain(["declare -x DIB_"]) {
        let found = Command::new("grep").args(["-a", "-c", "-F", "-e", word]).arg(&raw).output().unwrap();
        assert_eq!(text(&found.stdout).trim(), "0", "{word}");
    }
}

fn loop_devices() -> String {
    text(&Command::new("losetup").arg("-a").output().unwrap().stdout)
}
