//! The life cycle once with nothing stood in for: the real disk-image-builder, a real Debian, the shipped schedule.
//! `openstack/real_debian` does the same on this host and an OpenStack at once (`make test-openstack`).

use std::fs;

use super::harness::{Place, debian, repository, text};

/// All that the shipped schedule asks for: a second boot, a package that is installed, every packaged file read. Where QEMU
/// has to emulate, that takes a quarter of an hour beside others (`make test-distributions`).
#[test]
fn debian_passes_thoroughly() {
    passes(&shipped());
}

#[test]
fn debian_passes() {
    let shipped = shipped();
    let usual = shipped.replace("set  = \"thorough\"", "set  = \"cloud\"");
    assert_ne!(usual, shipped);
    passes(&usual);
}

fn shipped() -> String {
    fs::read_to_string(repository().join("schedules.toml")).unwrap()
}

fn passes(schedules: &str) {
    let place = Place::new(schedules);
    let disk = place.path().join("kept.qcow2");
    let mut run = place.command(&["run", "debian", "--keep-disk", disk.to_str().unwrap()]);
    run.env_remove("IMAGE_MANAGER_DIB").env_remove("IMAGE_MANAGER_HEARTBEAT_TIMEOUT");
    let before = debian::loop_devices();
    let output = run.output().unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    let build = place.latest();
    assert_eq!(build["verdict"], "passed");
    for check in build["checks"].as_array().unwrap() {
        assert_eq!(check["outcome"], "pass", "{check}");
    }
    assert_eq!(build["agent"]["removal"]["complete"], true);
    let packages = fs::read_to_string(
        place.state().join("builds").join(build["id"].as_str().unwrap()).join("manifest.json"),
    );
    assert!(packages.unwrap().contains("cloud-init"));
    debian::has_no_agent(&disk);
    debian::tells_nothing_of_its_host(&place.state().join("images/published/debian-12.qcow2"));
    assert_eq!(debian::loop_devices(), before);
    place.assert_nothing_left();
}
