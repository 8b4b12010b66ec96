//! Against a small server of our own: the testbed's OpenStack has no Cinder.

use std::collections::BTreeMap;

use super::*;
use crate::cloud::openstack::stage::{self, Lines, Stage};
use crate::cloud::{Cloud as _, Image};
use crate::schedules::{Arch, ServerSpec};

fn server() -> NewServer {
    let image = Image {
        id: "i".into(),
        name: "image-manager-b".into(),
        sha512: String::new(),
        size_bytes: 1,
        virtual_size_bytes: (3 << 30) + 1,
    };
    NewServer {
        build_id: "b".into(),
        name: "image-manager-b".into(),
        image,
        spec: ServerSpec {
            memory: 0,
            disk: 0,
            cpus: 0,
            firmware: None,
            arch: Arch::Amd64,
            flavor: Some("f".into()),
            network: None,
            security_groups: vec!["default".into()],
            availability_zone: None,
            ssh_key: None,
            config_drive: true,
            boot_from_volume: true,
            user_data: None,
        },
        metadata: BTreeMap::new(),
        console_log: "console.log".into(),
        private_key: "ssh_key".into(),
    }
}

fn volume(id: &str, status: &str, owner: &str) -> Value {
    json!({"id": id, "name": "image-manager-b", "status": status,
        "metadata": {"image_manager_owner": owner, "image_manager_build": "b"}})
}

/// Cinder and the rest. A volume is filled while it is looked at twice; `create` is the answer to its creation,
/// `statuses` what later looks at it find, then nothing.
async fn cinder(create: &'static str, statuses: Vec<&'static str>) -> Stage {
    let mut statuses = statuses.into_iter();
    Stage::with(move |request| {
        let (method, target) = request.split_once(' ').unwrap();
        match (method, target.split('?').next().unwrap()) {
            ("POST", "/volumes") if create.is_empty() => String::new(),
            ("POST", "/volumes") => stage::json(&json!({"volume": volume(create, "creating", "me")})),
            ("GET", "/volumes/detail") => stage::json(&json!({"volumes":
                [volume("somebodys", "available", "you"), volume("v", "available", "me")]})),
            ("GET", "/volumes/v") => match statuses.next() {
                Some(status) => stage::json(&json!({"volume": volume("v", status, "me")})),
                None => "HTTP/1.1 404 None\r\ncontent-length: 0\r\n\r\n".to_owned(),
            },
            ("DELETE", "/volumes/v") => "HTTP/1.1 202 Going\r\ncontent-length: 0\r\n\r\n".to_owned(),
            ("GET", "/flavors/f") => stage::json(&json!({"flavor":
                {"id": "f", "name": "f", "ram": 1024, "vcpus": 1, "disk": 2, "OS-FLV-EXT-DATA:ephemeral": 0,
                 "swap": 0, "os-flavor-access:is_public": true, "rxtx_factor": 1.0, "links": []}})),
            ("POST", "/servers") => stage::json(&json!({"server": {"id": "s"}})),
            _ => stage::nothing(),
        }
    })
    .await
}

#[tokio::test]
async fn a_server_boots_from_a_volume_that_is_ours() {
    let stage = cinder("v", vec!["creating", "downloading", "available"]).await;
    let (cloud, ledger) = (stage.cloud(), Lines::default());
    let flavor = Flavor { id: "f".into(), name: "f".into(), memory_mib: 1024, cpus: 1, disk_gib: 2 };
    assert_eq!(cloud.make_volume(&server(), &flavor, &ledger).await.unwrap(), "v");
    assert_eq!(*ledger.0.lock().unwrap(), ["intend volume image-manager-b", "created v"]);
    let body = stage.body_of("POST /volumes");
    assert_eq!(
        body["volume"],
        json!({"name": "image-manager-b", "size": 4, "imageRef": "i", "availability_zone": null,
            "metadata": {"image_manager_owner": "me", "image_manager_build": "b"}}),
        "as large as the image needs, though the flavor has less"
    );
}

#[tokio::test]
async fn a_volume_whose_creation_was_not_answered_is_found_by_its_name_and_mark() {
    let stage = cinder("", Vec::new()).await;
    let (cloud, ledger) = (stage.cloud(), Lines::default());
    let entry = (&ledger as &dyn Ledger, EntryId(1));
    assert_eq!(cloud.create_volume("image-manager-b", json!({}), entry).await.unwrap(), "v");
    assert!(ledger.0.lock().unwrap().is_empty(), "nobody refused it");
}

#[tokio::test]
async fn of_a_volume_that_was_refused_nothing_is_looked_for() {
    for (status, certain) in [(403, true), (408, false), (500, false)] {
        let stage = Stage::with(move |request| match request {
            "POST /volumes" => format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n"),
            _ => stage::json(&json!({"volumes": [volume("v", "available", "me")]})),
        })
        .await;
        let (cloud, ledger) = (stage.cloud(), Lines::default());
        let entry = (&ledger as &dyn Ledger, EntryId(1));
        let made = cloud.create_volume("image-manager-b", json!({}), entry).await;
        // A gateway's error may hide that it was made.
        assert_eq!(made.is_ok(), status == 500, "{status}: {made:?}");
        assert_eq!(!ledger.0.lock().unwrap().is_empty(), certain, "{status}");
    }
}

#[tokio::test]
async fn a_volume_that_cannot_be_filled_is_a_fault() {
    let stage = cinder("v", vec!["error"]).await;
    let error = stage.cloud().wait_until_filled("v").await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Fault);
    assert!(error.message.contains("it is error"), "{error}");
}

#[tokio::test]
async fn a_volume_that_nova_left_is_removed_and_waited_for() {
    let resource = |external_id: Option<&str>| Resource {
        kind: ResourceKind::Volume,
        name: "image-manager-b".into(),
        external_id: external_id.map(str::to_owned),
        build_id: "b".into(),
    };
    let deletions = |stage: &Stage| stage.requests().iter().filter(|line| line.starts_with("DELETE")).count();
    let stage = cinder("v", vec!["in-use", "available", "deleting"]).await;
    assert_eq!(stage.cloud().remove(&resource(Some("v"))).await.unwrap(), Removal::Gone);
    assert_eq!(deletions(&stage), 1, "not while a server has it, and once");
    let stage = cinder("v", vec!["available"]).await;
    assert_eq!(stage.cloud().remove(&resource(None)).await.unwrap(), Removal::Gone);
    assert_eq!(deletions(&stage), 1, "found by its name; somebody else's stays");
    let other = Resource { name: "image-manager-c".into(), ..resource(None) };
    assert_eq!(stage.cloud().remove(&other).await.unwrap(), Removal::Unseen, "it may be made yet");
    let stage = cinder("v", Vec::new()).await;
    assert_eq!(stage.cloud().remove(&resource(Some("v"))).await.unwrap(), Removal::Gone);
    assert_eq!(deletions(&stage), 0, "Nova took it with the server");
}

#[tokio::test]
async fn volumes_of_ours_are_in_the_inventory() {
    let stage = cinder("v", Vec::new()).await;
    let found = stage.cloud().inventory().await.unwrap();
    let ids: Vec<_> = found.iter().filter_map(|resource| resource.external_id.as_deref()).collect();
    assert_eq!(ids, ["v"], "{found:?}");
}

#[tokio::test]
async fn a_cloud_without_cinder_says_so_before_anything_starts() {
    let stage = Stage::with(|_| stage::json(&json!({}))).await;
    let cloud = stage.cloud_without_volumes();
    let error = cloud.prove_volumes().await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Configuration);
    assert!(error.message.contains("no block storage service"), "{error}");
    assert!(cloud.volumes().await.unwrap().is_empty(), "which is no obstacle to a sweep");
}

#[test]
fn the_volume_quota_is_read() {
    let limits = |most: i64, used: i64| {
        json!({"limits": {"absolute": {"maxTotalVolumes": -1, "totalVolumesUsed": 9,
            "maxTotalVolumeGigabytes": most, "totalGigabytesUsed": used}}})
    };
    assert!(volume_room(4, &limits(10, 6)).is_ok());
    assert!(volume_room(4, &json!({})).is_ok());
    assert_eq!(volume_room(4, &limits(10, 7)).unwrap_err().trouble, Trouble::NoRoom);
}
