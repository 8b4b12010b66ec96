//! The road once with nothing stood in for: the real disk-image-builder, a real Debian, the shipped schedule.
//! `openstack/real_debian` does the same on this host and an OpenStack at once (`make test-openstack`).

use super::harness::{Place, debian, repository, text};

#[test]
fn debian_passes() {
    let place = Place::new("");
    let disk = place.path().join("kept.qcow2");
    let mut run = place.command(&["run", "debian", "--keep-disk", disk.to_str().unwrap()]);
    run.env_remove("IMAGE_MANAGER_DIB").env_remove("IMAGE_MANAGER_HEARTBEAT_TIMEOUT");
    // The cache of a developer's demo saves the package downloads.
    run.env("IMAGE_MANAGER_SCHEDULES", repository().join("schedules.toml"));
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
    let packages = std::fs::read_to_string(
        place.state().join("builds").join(build["id"].as_str().unwrap()).join("manifest.json"),
    );
    assert!(packages.unwrap().contains("cloud-init"));
    debian::has_no_agent(&disk);
    debian::tells_nothing_of_its_host(&place.state().join("images/published/debian-12.qcow2"));
    assert_eq!(debian::loop_devices(), before);
    place.assert_nothing_left();
}
