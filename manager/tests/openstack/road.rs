//! The good road.

use super::lab::{Lab, tiny_schedule};

#[test]
fn passes_publishes_and_leaves_nothing_behind() {
    let more = "publish = { name = \"im-test-tiny\", keep = 1, visibility = \"community\" }\n\
                image.properties = { os_distro = \"debian\", hw_disk_bus = \"virtio\" }";
    let Some(lab) = Lab::tiny(more) else { return };
    for round in 1..=3 {
        let report = lab.expect(&["run", "tiny"], 0);
        for stage in ["building", "uploading", "booting", "verifying", "publishing", "cleaning_up"] {
            assert!(report.contains(stage), "no {stage} in\n{report}");
        }
        let build = lab.latest();
        assert_eq!((&build["verdict"], &build["cloud"]), (&"passed".into(), &"lab".into()));
        lab.assert_nothing_left();
        let images = lab.admin.images_of(build["id"].as_str().unwrap());
        let [image] = images.as_slice() else { panic!("round {round}: {images:?}") };
        assert_eq!(image["name"], "im-test-tiny");
        assert_eq!((&image["status"], &image["visibility"]), (&"active".into(), &"community".into()));
        assert_eq!(image["os_hidden"], false);
        assert_eq!(image["os_hash_value"], build["image"]["sha512"]);
        assert_eq!(image["size"].to_string(), build["image"]["size_bytes"].to_string().replace('"', ""));
        for (property, value) in [
            ("os_distro", "debian"),
            ("hw_disk_bus", "virtio"),
            ("hw_qemu_guest_agent", "yes"),
            ("os_type", "linux"),
            ("architecture", "x86_64"),
            ("image_manager_build", build["id"].as_str().unwrap()),
        ] {
            assert_eq!(image[property], value, "{property}");
        }
        let console = std::fs::read_to_string(
            lab.path().join(format!("state/builds/{}/console.log", build["id"].as_str().unwrap())),
        );
        assert!(console.unwrap().contains("tiny:"), "the console is kept of good builds too");
    }
    // The current one and one older; the oldest of the three has gone.
    let builds = lab.builds();
    let [_, older, oldest] = builds.as_slice() else { panic!("{}", builds.len()) };
    let older = lab.admin.images_of(older["id"].as_str().unwrap());
    assert_eq!(older.len(), 1);
    assert!(older[0]["name"].as_str().unwrap().starts_with("im-test-tiny (20"), "{}", older[0]["name"]);
    assert_eq!(older[0]["os_hidden"], true);
    assert_eq!(lab.admin.images_of(oldest["id"].as_str().unwrap()).len(), 0);
}

#[test]
fn the_identity_comes_from_the_metadata_service_too() {
    let Some(lab) =
        Lab::tiny("server = { flavor = \"lab.tiny\", network = \"lab-net\", config_drive = false }")
    else {
        return;
    };
    lab.expect(&["run", "tiny"], 0);
    lab.assert_nothing_left();
}

#[test]
fn an_application_credential_a_key_pair_and_user_data() {
    let more = "server = { flavor = \"lab.tiny\", network = \"auto\", ssh_key = true, user_data = \"#!/bin/sh\\n\
                echo hello from user data\" }";
    let Some(lab) = Lab::with(&tiny_schedule("tiny", "lab-appcred", more)) else { return };
    lab.expect(&["run", "tiny"], 0);
    let build = lab.latest();
    let resources = build["resources"].as_array().unwrap();
    for kind in ["image", "security_group", "key_pair", "server"] {
        assert!(resources.iter().any(|resource| resource["kind"] == kind), "no {kind}: {resources:?}");
    }
    lab.assert_nothing_left();
    assert!(lab.expect(&["sweep", "--cloud", "lab-appcred", "--dry-run"], 0).contains("0 left over"));
}
