//! The real disk-image-create on a host that lacks what an element calls: each is the host's fault, with the command
//! that mends it.
//!
//! The tool is really absent: the build's mount namespace gets directories of programs without it.

use std::os::unix::fs::PermissionsExt as _;

use image_manager::builder::BuilderError;
use image_manager::reason::Reason;

use super::bench::Bench;
use super::failures::{DIB, element, fails, real};

/// Runs disk-image-create where these programs and files are not there.
const WITHOUT: &str = r#"#!/bin/bash
set -e
changed=$TMP_DIR/changed
mkdir "$changed"
mount -t tmpfs changed "$changed"
for place in PLACES; do
    mkdir -p "$changed/upper$place" "$changed/work$place"
    mount -t overlay -o "lowerdir=$place,upperdir=$changed/upper$place,workdir=$changed/work$place" changed "$place"
done
rm -f ABSENT
exec DISK_IMAGE_CREATE "$@"
"#;

/// A build of these elements where this is absent: programs by their names, files by their paths.
fn without(name: &str, absent: &[&str], elements: &[&str]) -> Option<Bench> {
    let mut bench = real(name, elements)?;
    let mut places = vec!["/usr/bin", "/usr/sbin"];
    let mut files = Vec::new();
    for one in absent {
        match one.rsplit_once('/') {
            Some((directory, _)) => {
                places.push(directory);
                files.push((*one).to_owned());
            }
            None => files.extend(["/usr/bin", "/usr/sbin"].map(|place| format!("{place}/{one}"))),
        }
    }
    let script = WITHOUT
        .replace("PLACES", &places.join(" "))
        .replace("ABSENT", &files.join(" "))
        .replace("DISK_IMAGE_CREATE", DIB);
    let program = bench.directory.path().join("bin/disk-image-create");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    bench.order.program = program;
    // Nobody listens there: no archive is asked for anything, whatever becomes of the build.
    for name in ["DIB_DISTRIBUTION_MIRROR", "DIB_DEBIAN_SECURITY_MIRROR"] {
        bench.order.environment.insert(name.to_owned(), "http://127.0.0.1:9/debian".to_owned());
    }
    Some(bench)
}

fn told(error: &BuilderError, tool: &str, package: &str) {
    assert_eq!(error.reason, Reason::DibMissing, "{error:?}");
    assert!(
        error.message.starts_with(&format!("{tool} is not installed on this host, but element ")),
        "{error}"
    );
    let mend = format!("apt-get install --no-install-recommends {package}");
    assert!(error.message.ends_with(&mend), "{error}");
}

#[tokio::test]
async fn each_program_that_the_host_lacks_is_named_with_its_package() {
    let cases: [(&[&str], &str, &str, &str); 5] = [
        (&["podman"], "rocky-container", "podman", "9"),
        (&["rpm"], "centos-minimal", "rpm", "9-stream"),
        (&["dnf", "yum", "yumdownloader"], "centos-minimal", "dnf", "9-stream"),
        (&["zypper"], "opensuse-minimal", "zypper", "15.6"),
        (&["debootstrap", "mmdebstrap"], "debian-minimal", "debootstrap", "trixie"),
    ];
    for (absent, system, package, release) in cases {
        let Some(mut bench) = without(&format!("absent-{package}"), absent, &[system]) else { return };
        bench.order.environment.insert("DIB_RELEASE".to_owned(), release.to_owned());
        let error = fails(&bench).await;
        told(&error, package, package);
    }
}

#[tokio::test]
async fn podman_without_a_runtime_is_the_hosts_fault() {
    let Some(bench) = without("absent-crun", &["crun"], &["containerfile", "own"]) else { return };
    std::fs::create_dir_all(bench.order.cache.join("containerfile")).unwrap();
    element(&bench, "own", "containerfiles/bookworm", "FROM scratch\nLABEL a=b\n");
    element(&bench, "own", "environment.d/10-own.bash", "export DISTRO_NAME=debian\n");
    let error = fails(&bench).await;
    told(&error, "crun", "crun");
}

#[tokio::test]
async fn a_cloud_image_of_ubuntu_needs_unsquashfs() {
    let Some(mut bench) = without("absent-unsquashfs", &["unsquashfs"], &["ubuntu"]) else { return };
    let image = bench.order.cache.join("noble.squashfs");
    std::fs::create_dir_all(&bench.order.cache).unwrap();
    std::fs::write(&image, "no squashfs").unwrap();
    let mut set = |name: &str, value: &str| bench.order.environment.insert(name.to_owned(), value.to_owned());
    set("DIB_RELEASE", "noble");
    set("DIB_LOCAL_IMAGE", image.to_str().unwrap());
    let error = fails(&bench).await;
    told(&error, "unsquashfs", "squashfs-tools");
}

#[tokio::test]
async fn an_archive_whose_key_the_host_lacks_names_the_package_with_it() {
    // debootstrap looks for the key before it asks the archive for anything.
    let key = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let Some(mut bench) = without("absent-key", &["mmdebstrap", key], &["debian-minimal"]) else { return };
    bench.order.environment.insert("DIB_RELEASE".to_owned(), "trixie".to_owned());
    let error = fails(&bench).await;
    assert_eq!(error.reason, Reason::DibMissing, "{error:?}");
    assert!(error.message.contains("--no-install-recommends debian-archive-keyring"), "{error}");
}
