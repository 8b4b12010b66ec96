//! Builds that pass: three under one public name, each on another way.

use std::fs;

use serde_json::{Value as Json, json};

use super::lab::{Lab, detail_of, tiny_schedule, wait_for};

/// A schedule whose image is published as `name`.
fn schedule(cloud: &str, name: &str, keep: u32, server: &str) -> String {
    let more = format!(
        "publish = {{ name = \"{name}\", keep = {keep}, visibility = \"community\" }}\n\
         image.properties = {{ os_distro = \"debian\", hw_disk_bus = \"virtio\" }}\n\
         server = {{ flavor = \"lab.tiny\", {server} }}"
    );
    tiny_schedule("tiny", cloud, &more)
}

/// The build's image as the administrator sees it: as published, whole, described.
#[track_caller]
fn published(lab: &Lab, build: &Json, name: &str) -> Json {
    assert_eq!(build["verdict"], "passed");
    let images = lab.admin.images_of(build["id"].as_str().unwrap());
    let [image] = images.as_slice() else { panic!("{images:?}") };
    assert_eq!(image["name"], name);
    assert_eq!((&image["status"], &image["visibility"]), (&"active".into(), &"community".into()));
    assert_eq!(image["os_hidden"], false);
    assert_eq!(image["os_hash_value"], build["image"]["sha512"]);
    assert_eq!(image["owner_specified.openstack.md5"], image["checksum"]);
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
    let console = fs::read_to_string(lab.directory_of(build).join("console.log")).unwrap();
    assert!(console.contains("tiny:"), "the console is kept of good builds too");
    image.clone()
}

#[test]
fn three_builds_pass_publish_and_leave_nothing_behind() {
    let name = &format!("im-test-tiny-{}", std::process::id());
    // By config drive.
    let Some(lab) = Lab::with(&schedule("lab", name, 1, "network = \"lab-net\"")) else { return };
    let report = lab.expect(&["run", "tiny"], 0);
    for stage in ["building", "uploading", "booting", "verifying", "publishing", "cleaning_up"] {
        assert!(report.contains(stage), "no {stage} in\n{report}");
    }
    let first = lab.latest();
    let image = published(&lab, &first, name);
    lab.assert_nothing_left();

    // By the metadata service: there is no config drive that the agent could read.
    lab.reschedule(&schedule("lab", name, 1, "network = \"lab-net\", config_drive = false"));
    lab.expect(&["run", "tiny"], 0);
    let second = lab.latest();
    published(&lab, &second, name);
    lab.assert_nothing_left();
    let older = lab.admin.images_of(first["id"].as_str().unwrap());
    assert_eq!(older.len(), 1, "one older image stays");
    assert!(older[0]["name"].as_str().unwrap().starts_with(&format!("{name} (20")), "{}", older[0]["name"]);
    assert_eq!(older[0]["os_hidden"], true);

    // As an application credential, with all that can be made for a server. One older image is protected.
    let path = format!("v2/images/{}", image["id"].as_str().unwrap());
    let protect = json!([{"op": "replace", "path": "/protected", "value": true}]);
    assert_eq!(lab.tenant.ask(reqwest::Method::PATCH, "image", &path, Some(protect)).0, 200);
    let server = "network = \"auto\", ssh_key = true, user_data = \"#!/bin/sh\\necho hello from user data\"";
    lab.reschedule(&schedule("lab-appcred", name, 0, server));
    let mut run = lab.start(&mut lab.command(&["run", "tiny"]));
    let key = wait_for("the private key", || {
        assert!(!run.ended(), "{}", run.said());
        let key = lab.directory_of(lab.builds().first()?).join("ssh_key");
        fs::read_to_string(&key).is_ok_and(|text| text.contains("PRIVATE KEY")).then_some(key)
    });
    run.expect(0);
    let third = lab.latest();
    published(&lab, &third, name);
    assert!(!key.exists(), "the private key goes with its key pair");
    let resources = third["resources"].as_array().unwrap();
    for kind in ["image", "security_group", "key_pair", "server"] {
        assert!(resources.iter().any(|resource| resource["kind"] == kind), "no {kind}: {resources:?}");
    }
    lab.assert_nothing_left();
    assert!(detail_of(&third, "publishing").contains("is protected"), "{third:#}");
    assert_eq!(lab.admin.images_of(first["id"].as_str().unwrap()).len(), 1, "held, not forced");
    assert_eq!(lab.admin.images_of(second["id"].as_str().unwrap()).len(), 0, "too old");
    assert!(
        lab.expect(&["sweep", "--cloud", "lab-appcred", "--dry-run"], 0).contains("0 resources left over")
    );
}
