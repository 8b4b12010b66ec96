//! A raw image: Ceph-backed Glance wants one.

use super::lab::{Lab, tiny_schedule};

#[test]
fn a_raw_image_is_uploaded_whole_boots_and_is_described_as_what_it_is() {
    let name = &format!("im-test-raw-{}", std::process::id());
    let more = format!(
        "publish = {{ name = \"{name}\" }}\nimage.format = \"raw\"\n\
         server = {{ flavor = \"lab.tiny\", network = \"lab-net\", firmware = \"bios\" }}"
    );
    let Some(lab) = Lab::with(&tiny_schedule("tiny", "lab", &more)) else { return };
    lab.expect(&["run", "tiny"], 0);
    let build = lab.latest();
    assert_eq!(build["verdict"], "passed");
    let images = lab.admin.images_of(build["id"].as_str().unwrap());
    let [image] = images.as_slice() else { panic!("{images:?}") };
    assert_eq!((&image["disk_format"], &image["name"]), (&"raw".into(), &name.as_str().into()));
    assert_eq!((&image["architecture"], &image["hw_firmware_type"]), (&"x86_64".into(), &"bios".into()));
    assert_eq!(image["os_hash_value"], build["image"]["sha512"]);
    for key in ["size_bytes", "virtual_size_bytes"] {
        assert_eq!(image["size"].to_string(), build["image"][key].to_string().replace('"', ""), "{key}");
    }
    lab.assert_nothing_left();
}
