//! The road once with nothing stood in for: the real disk-image-builder, a real Debian, a real OpenStack.

use super::lab::Lab;

#[test]
fn real_debian_passes_as_a_tenant() {
    let name = format!("im-test-debian-{}", std::process::id());
    let schedule = format!(
        "[schedule.debian-openstack]\ncloud = \"lab\"\n\
         image.elements = [\"debian-minimal\", \"vm\", \"cloud-init-custom\", \"agent-install\"]\n\
         image.environment = {{ DIB_RELEASE = \"bookworm\" }}\n\
         image.properties = {{ os_distro = \"debian\", os_version = \"12\" }}\n\
         server = {{ flavor = \"lab.medium\", network = \"lab-net\" }}\n\
         checks.disk = {{ min_free = \"500 MiB\" }}\nchecks.dns = {{ names = [\"manager.lab\"] }}\n\
         checks.cloud_init = {{}}\n\
         # The lab's servers reach this machine and nothing beyond.\n\
         checks.internet = {{ targets = [\"tcp://manager.lab:GATEWAY\"] }}\n\
         publish = {{ name = \"{name}\", visibility = \"shared\" }}\ntimeouts.boot = \"15m\"\ntimeouts.verify = \"15m\"\n"
    );
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let Some(lab) = Lab::with(&schedule.replace("GATEWAY", &port)) else { return };
    let mut run = lab.command(&["run", "debian-openstack"]);
    run.env_remove("IMAGE_MANAGER_DIB");
    let said = Lab::expect_of(&mut run, 0);
    let build = lab.latest();
    assert_eq!(build["verdict"], "passed", "{said}");
    let checks = build["checks"].as_array().unwrap();
    assert_eq!(checks.len(), 4);
    assert!(checks.iter().all(|check| check["outcome"] == "pass"), "{checks:?}");
    assert_eq!(build["agent"]["removal"]["complete"], true);
    lab.assert_nothing_left();
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
