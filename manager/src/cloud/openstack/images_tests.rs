use super::*;
use crate::schedules::{Arch, Format};

fn new_image(properties: &[(&str, &str)]) -> NewImage {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    NewImage {
        build_id: "b".into(),
        name: "image-manager-b".into(),
        file: "x.qcow2".into(),
        format: Format::Qcow2,
        arch: Arch::Amd64,
        firmware: None,
        properties: properties.iter().map(pair).collect(),
    }
}

#[test]
fn new_images_are_private_hidden_and_described() {
    let now = DateTime::from_timestamp(1_795_000_000, 5).unwrap();
    let body = description(
        "i",
        &new_image(&[("os_distro", "debian"), ("hw_qemu_guest_agent", "no"), ("min_ram", "512")]),
        (2 << 30) + 1,
        now,
    );
    assert_eq!(
        body,
        json!({"id": "i", "name": "image-manager-b", "disk_format": "qcow2", "container_format": "bare",
            "visibility": "private", "os_hidden": true, "min_disk": 3, "min_ram": 512, "os_type": "linux",
            "architecture": "x86_64", "hw_qemu_guest_agent": "no", "os_distro": "debian",
            "image_manager_image": "i", "image_build_date": "2026-11-18T11:06:40Z"})
    );
    let arm = NewImage {
        format: Format::Raw,
        arch: Arch::Arm64,
        firmware: Some(Firmware::Uefi),
        ..new_image(&[("hw_machine_type", "virt-7.2")])
    };
    let arm = description("i", &arm, 1, now);
    let said =
        ["disk_format", "architecture", "hw_firmware_type", "hw_machine_type"].map(|key| text(&arm, key));
    assert_eq!(said, ["raw", "aarch64", "uefi", "virt-7.2"]);
    let secure = NewImage { firmware: Some(Firmware::UefiSecure), ..new_image(&[]) };
    let secure = description("i", &secure, 1, now);
    assert_eq!(["os_secure_boot", "hw_machine_type"].map(|key| text(&secure, key)), ["required", "q35"]);
    let sneaky = description("i", &new_image(&[("visibility", "public")]), 1, now);
    assert_eq!(sneaky["visibility"], "private", "only verified images are seen");
}

#[test]
fn what_came_out_must_be_what_went_in() {
    let sums = Sums { sha512: "ab".into(), sha256: String::new(), md5: String::new(), size: 3 };
    let image = |size: u64, hash: &str| json!({"id": "i", "size": size, "os_hash_algo": "sha512", "os_hash_value": hash});
    assert!(compare(&image(3, "AB"), &sums).is_ok());
    assert_eq!(compare(&image(2, "ab"), &sums).unwrap_err().trouble, Trouble::Corrupt);
    assert_eq!(compare(&image(3, "ac"), &sums).unwrap_err().trouble, Trouble::Corrupt);
    assert!(compare(&json!({"os_hash_algo": "sha256", "os_hash_value": "x"}), &sums).is_ok());
}
