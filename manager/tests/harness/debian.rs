//! What holds of a real Debian that was built by the shipped schedule, whichever cloud it proved itself on.

use std::path::Path;
use std::process::Command;

use super::disk::Disk;

/// The agent has removed itself from the disk of the server, and nothing else.
pub(crate) fn has_no_agent(disk: &Path) {
    let disk = Disk::of(disk);
    for path in [
        "/usr/local/sbin/image-manager-agent",
        "/etc/systemd/system/image-manager-agent.service",
        "/etc/systemd/system/sysinit.target.wants/image-manager-agent.service",
        "/etc/image-manager",
    ] {
        assert!(!disk.has(path), "{path} is still on the server's disk");
    }
    assert!(disk.has("/usr/sbin/sshd"), "the look into the disk works");
}

/// What is published says by what it was made of, and not where.
pub(crate) fn tells_nothing_of_its_host(image: &Path) {
    let disk = Disk::of(image);
    let packages = disk.debugfs("cat /etc/dib-manifests/dib-manifest-dpkg-image");
    assert!(packages.contains("cloud-init"), "{packages}");
    for path in [
        "/etc/dib-manifests/dib_environment",
        "/etc/dib-manifests/dib_arguments",
        "/etc/.resolv.conf.systemd-resolved.bak",
        "/etc/apt/apt.conf.d/95disable-recommends",
    ] {
        assert!(!disk.has(path), "{path}");
    }
    let link = disk.debugfs("stat /etc/resolv.conf");
    assert!(link.contains("systemd/resolve/stub-resolv.conf"), "{link}");
    let name = disk.debugfs("stat /etc/hostname");
    assert!(name.contains("Mode:  0644"), "{name}");
    // Not in free blocks either.
    let host = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = host.lines().filter(|line| line.starts_with("nameserver ")).map(str::trim);
    for word in servers.chain(["declare -x DIB_"]) {
        let found = Command::new("grep").args(["-a", "-c", "-F", "-e", word]).arg(disk.raw()).output();
        assert_eq!(String::from_utf8_lossy(&found.unwrap().stdout).trim(), "0", "{word}");
    }
}

/// The loop devices of this host, to be the same before and after a build.
pub(crate) fn loop_devices() -> String {
    String::from_utf8_lossy(&Command::new("losetup").arg("-a").output().unwrap().stdout).into_owned()
}
