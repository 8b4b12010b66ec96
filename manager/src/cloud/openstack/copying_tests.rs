use std::sync::{Arc, Mutex};

use image_manager_proto::hex;
use sha2::{Digest as _, Sha512};

use super::*;
use crate::cloud::Cloud as _;
use crate::cloud::openstack::stage::{self, Lines, Stage};

const DATA: &str = "the data of an image";

fn sha512(data: &str) -> String {
    hex(&Sha512::digest(data))
}

/// The published image.
fn source() -> Value {
    json!({"id": "s", "name": "web", "owner": "p", "status": "active", "visibility": "community", "os_hidden": false,
        "protected": true, "size": DATA.len(), "virtual_size": null, "checksum": "c", "file": "/v2/images/s/file",
        "self": "/v2/images/s", "schema": "/v2/schemas/image", "created_at": "2026-11-01T00:00:00Z",
        "updated_at": "2026-11-01T00:00:00Z", "os_hash_algo": "sha512", "os_hash_value": sha512(DATA), "stores": "file",
        "disk_format": "qcow2", "container_format": "bare", "min_disk": 2, "min_ram": 512, "tags": ["golden"],
        "os_distro": "debian", "hw_firmware_type": "uefi", "image_build_date": "2026-11-01T00:00:00Z",
        "image_manager_owner": "me", "image_manager_build": "b", "image_manager_image": "s",
        "image_manager_published": "web", "os_glance_failed_import": "x", "owner_specified.openstack.md5": "m"})
}

fn image() -> Image {
    Image {
        id: "s".into(),
        name: "web".into(),
        sha512: sha512(DATA),
        size_bytes: DATA.len() as u64,
        virtual_size_bytes: 0,
    }
}

/// Glance with the published image, whose data is this; images that are made there are whole once they are filled.
async fn glance(data: &'static str) -> Stage {
    let made = Arc::new(Mutex::new(false));
    Stage::with(move |request| {
        let whole = || json!({"id": "n", "status": "active", "owner": "p", "image_manager_owner": "me",
            "visibility": "private", "size": data.len(), "os_hash_algo": "sha512", "os_hash_value": sha512(data)});
        match request {
            "GET /v2/images/s" => stage::json(&source()),
            "GET /v2/images/s/file" => {
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{data}", data.len())
            }
            "POST /v2/images" => {
                *made.lock().unwrap() = true;
                stage::json(&json!({}))
            }
            put if put.starts_with("PUT /v2/images/") => "HTTP/1.1 204 Done\r\n\r\n".to_owned(),
            patch if patch.starts_with("PATCH /v2/images/") => stage::json(&json!({})),
            get if get.starts_with("GET /v2/images/") && *made.lock().unwrap() => stage::json(&whole()),
            other => panic!("{other:?}"),
        }
    })
    .await
}

#[tokio::test]
async fn a_copy_has_the_data_and_the_properties_of_the_image() {
    let (stage, ledger) = (glance(DATA).await, Lines::default());
    let copy = stage.cloud().copy(&image(), "image-manager-b-copy-1", &ledger, &|_, _| {}).await.unwrap();
    let lines = ledger.0.lock().unwrap().clone();
    assert_eq!(lines, ["intend image image-manager-b-copy-1".to_owned(), format!("created {}", copy.id)]);
    assert_eq!((copy.sha512, copy.size_bytes), (sha512(DATA), DATA.len() as u64));
    assert_eq!(
        stage.body_of("POST /v2/images"),
        json!({"id": copy.id, "image_manager_image": copy.id, "name": "image-manager-b-copy-1", "visibility": "private",
            "os_hidden": true, "disk_format": "qcow2", "container_format": "bare", "min_disk": 2, "min_ram": 512,
            "tags": ["golden"], "os_distro": "debian", "hw_firmware_type": "uefi",
            "image_build_date": "2026-11-01T00:00:00Z", "image_manager_owner": "me", "image_manager_build": "b"}),
        "nothing of what is the other one's own, and nobody sees it yet"
    );
    assert_eq!(stage.bytes_of(&format!("PUT /v2/images/{}/file", copy.id)), DATA.as_bytes());
    let last = stage.requests().pop().unwrap();
    assert!(last.starts_with("PATCH"), "{last}");
    assert_eq!(stage.last_body(), json!([{"op": "replace", "path": "/visibility", "value": "community"}]));
}

#[tokio::test]
async fn a_copy_of_other_data_than_was_verified_is_none() {
    let (stage, ledger) = (glance("what somebody else wrote").await, Lines::default());
    let error = stage.cloud().copy(&image(), "copy", &ledger, &|_, _| {}).await.unwrap_err();
    // Fewer or more bytes than Glance says are seen first.
    assert!([Trouble::Corrupt, Trouble::Unavailable].contains(&error.trouble), "{error}");
    assert!(!stage.requests().iter().any(|request| request.starts_with("PATCH")), "{:?}", stage.requests());
    let (stage, ledger) = (glance("the data of an IMAGE").await, Lines::default());
    let error = stage.cloud().copy(&image(), "copy", &ledger, &|_, _| {}).await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Corrupt, "{error}");
    assert!(error.message.contains("not that of the image that was verified"), "{error}");
    assert!(!stage.requests().iter().any(|request| request.starts_with("PATCH")), "{:?}", stage.requests());
}

#[tokio::test]
async fn a_copy_that_was_cut_off_is_not_whole() {
    for (status, hash, owner, expected) in [
        ("active", sha512(DATA), "me", true),
        ("saving", sha512(DATA), "me", false),
        ("queued", String::new(), "me", false),
        ("active", sha512("other"), "me", false),
        ("active", sha512(DATA), "somebody", false),
    ] {
        let there = json!({"id": "n", "status": status, "owner": "p", "image_manager_owner": owner,
            "visibility": "private", "os_hash_algo": "sha512", "os_hash_value": hash});
        let stage = Stage::with(move |request| match request {
            "GET /v2/images/n" => stage::json(&there),
            "GET /v2/images/s" => stage::json(&source()),
            "PATCH /v2/images/n" => stage::json(&json!({})),
            "GET /v2/images/gone" => "HTTP/1.1 404 Gone\r\ncontent-length: 0\r\n\r\n".to_owned(),
            other => panic!("{other:?}"),
        })
        .await;
        let cloud = stage.cloud();
        assert_eq!(cloud.is_whole_copy(&image(), "n").await.unwrap(), expected, "{status} {owner}");
        let shared = stage.requests().contains(&"PATCH /v2/images/n".to_owned());
        assert_eq!(shared, expected, "it is as visible as the image once it is whole");
        assert!(!cloud.is_whole_copy(&image(), "gone").await.unwrap());
    }
}

#[tokio::test]
async fn data_that_is_refused_is_not_asked_for_again() {
    let stage = Stage::with(move |request| match request {
        "GET /v2/images/s" => stage::json(&source()),
        "GET /v2/images/s/file" => "HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "POST /v2/images" => stage::json(&json!({})),
        other => panic!("{other:?}"),
    })
    .await;
    let error = stage.cloud().copy(&image(), "copy", &Lines::default(), &|_, _| {}).await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Configuration, "{error}");
    assert!(error.message.contains("reading image s"), "{error}");
    assert_eq!(stage.requests().len(), 3, "{:?}", stage.requests());
}
