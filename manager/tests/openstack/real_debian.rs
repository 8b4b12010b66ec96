//! The life cycle once with nothing stood in for: the real disk-image-builder, a real Debian by the shipped schedule, tried at
//! the same time on this host and on a real OpenStack. It takes ten minutes on a machine of its own: `make test-openstack`
//! runs it, `make test` does not.

use std::fs;

use serde_json::Value as Json;

use super::debian;
use super::lab::{Lab, repository};

/// The shipped schedule with two targets. The lab's servers reach this machine and nothing beyond, so of the network
/// checks only what can be asked of the manager is asked there.
fn schedules(name: &str, gateway: u16) -> String {
    let shipped = fs::read_to_string(repository().join("schedules.toml")).unwrap();
    let publish = format!("visibility = \"shared\", name = \"{name}\"");
    // Two guests are emulated side by side, beside other tests.
    let changes = [
        ("name = \"debian-12\"", publish.as_str()),
        ("boot   = \"10m\"", "boot = \"15m\""),
        ("verify = \"10m\"", "verify = \"15m\""),
        ("min_free = \"500 MiB\"", "min_free = \"500 MiB\", timeout = \"10m\""),
    ];
    let shipped = changes.iter().fold(shipped, |text, (from, to)| {
        assert!(text.contains(from), "{from} is not in {text}");
        text.replace(from, to)
    });
    format!(
        "{shipped}
[schedule.debian.image.properties]
os_distro = \"debian\"
os_version = \"12\"

[[schedule.debian.targets]]
name = \"here\"

[[schedule.debian.targets]]
name = \"lab\"
cloud = \"lab\"
server = {{ flavor = \"lab.medium\", network = \"lab-net\" }}
[schedule.debian.targets.checks]
set = \"minimal\"
dns = {{ names = [\"manager.lab\"] }}
internet = {{ targets = [\"tcp://manager.lab:{gateway}\"] }}
cloud_init = {{}}
lease = {{}}
"
    )
}

#[test]
fn real_debian_passes_here_and_as_a_tenant() {
    let name = format!("im-test-debian-{}", std::process::id());
    let gateway = std::net::TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
    let Some(lab) = Lab::with(&schedules(&name, gateway)) else { return };
    let disk = lab.path().join("kept.qcow2");
    let mut run = lab.command(&["run", "debian", "--keep-disk", disk.to_str().unwrap()]);
    run.env_remove("IMAGE_MANAGER_DIB").env("IMAGE_MANAGER_GATEWAY", format!("0.0.0.0:{gateway}"));
    let before = debian::loop_devices();
    let said = Lab::expect_of(&mut run, 0);
    let build = lab.latest();
    assert_eq!(build["verdict"], "passed", "{said}");
    let trials = build["trials"].as_array().unwrap();
    assert_eq!(trials.len(), 2);
    for (trial, asked) in trials.iter().zip([15, 5]) {
        let checks = trial["checks"].as_array().unwrap();
        assert!(checks.len() >= asked, "{trial:#}");
        for check in checks {
            assert_eq!(check["outcome"], "pass", "{check}");
        }
        assert_eq!(trial["agent"]["removal"]["complete"], true, "{trial:#}");
    }
    lab.assert_nothing_left();
    let manifest = fs::read_to_string(lab.directory_of(&build).join("manifest.json")).unwrap();
    assert!(manifest.contains("cloud-init"));
    debian::has_no_agent(&disk);
    debian::tells_nothing_of_its_host(&lab.path().join(format!("state/images/published/{name}.qcow2")));
    assert_eq!(debian::loop_devices(), before);
    is_described(&lab, &build, &name);
}

/// Glance has the image under its name, with all that Nova and a user need to know of it.
fn is_described(lab: &Lab, build: &Json, name: &str) {
    let images = lab.admin.images_of(build["id"].as_str().unwrap());
    let [image] = images.as_slice() else { panic!("{images:?}") };
    assert_eq!((&image["name"], &image["status"]), (&name.into(), &"active".into()));
    assert_eq!((&image["visibility"], &image["os_hidden"]), (&"shared".into(), &false.into()));
    assert_eq!(image["os_hash_value"], build["image"]["sha512"]);
    assert_eq!(image["owner"], lab.tenant.project());
    for (property, value) in
        [("os_distro", "debian"), ("os_version", "12"), ("os_type", "linux"), ("architecture", "x86_64")]
    {
        assert_eq!(image[property], value, "{property}");
    }
    assert!(image["min_disk"].as_u64().unwrap() >= 1);
    assert!(image["image_build_date"].as_str().unwrap().starts_with("20"));
    assert_eq!(image["owner_specified.openstack.sha256"].as_str().unwrap().len(), 64);
    // Glance's own sum beside SHA-512 is an MD5.
    assert_eq!(image["owner_specified.openstack.md5"], image["checksum"]);
}
