use super::*;
use crate::cloud::openstack::stage::{Lines, Stage};
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

#[tokio::test]
async fn of_an_image_that_was_refused_nothing_is_looked_for() {
    let refused = "HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n";
    let not_hidden = "HTTP/1.1 403 No\r\ncontent-length: 9\r\n\r\nos_hidden";
    let log_in = "HTTP/1.1 401 Log in\r\ncontent-length: 0\r\n\r\n";
    let busy = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";
    let there = "HTTP/1.1 409 There\r\ncontent-length: 0\r\n\r\n";
    let unknown = "HTTP/1.1 404 Unknown\r\ncontent-length: 0\r\n\r\n";
    let cut = "";
    for (answers, certain) in [
        (vec![refused], true),
        (vec![log_in, refused], true),
        (vec![not_hidden, refused], true),
        // What was not answered, or by a gateway, may be made yet.
        (vec![cut, refused], false),
        (vec![busy, refused], false),
        (vec![cut, log_in, refused], false),
        (vec![cut, not_hidden, refused], false),
        (vec![there, unknown], false),
    ] {
        let stage = Stage::new(answers.clone()).await;
        let (cloud, ledger) = (stage.cloud(), Lines::default());
        let row = (&ledger as &dyn Ledger, EntryId(1));
        let described = cloud.describe("i", json!({"id": "i", "os_hidden": true}), row).await;
        assert!(described.is_err(), "{answers:?}");
        assert_eq!(!ledger.0.lock().unwrap().is_empty(), certain, "{answers:?}");
        assert_eq!(stage.requests().len(), answers.len(), "{answers:?}");
    }
}
