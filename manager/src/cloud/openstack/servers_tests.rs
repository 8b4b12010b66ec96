use std::collections::BTreeMap;

use super::*;
use crate::cloud::Image;
use crate::cloud::openstack::stage::{self, Lines, Stage};
use crate::schedules::{Arch, ServerSpec};

fn spec() -> ServerSpec {
    ServerSpec {
        memory: 0,
        disk: 0,
        cpus: 0,
        firmware: None,
        arch: Arch::Amd64,
        flavor: Some("lab.tiny".into()),
        network: None,
        security_groups: Vec::new(),
        availability_zone: None,
        ssh_key: None,
        config_drive: true,
        boot_from_volume: false,
        user_data: None,
    }
}

fn new_server(spec: ServerSpec) -> NewServer {
    NewServer {
        build_id: "b".into(),
        name: "image-manager-b".into(),
        image: Image {
            id: "i".into(),
            name: "image-manager-b".into(),
            sha512: String::new(),
            size_bytes: 1,
            virtual_size_bytes: 1,
        },
        spec,
        metadata: BTreeMap::from([("image_manager_build".to_owned(), "b".to_owned())]),
        console_log: "console.log".into(),
        private_key: "ssh_key".into(),
    }
}

fn flavor() -> Flavor {
    Flavor { id: "f".into(), name: "lab.tiny".into(), memory_mib: 128, cpus: 1, disk_gib: 1 }
}

#[test]
fn a_request_says_what_is_wanted_and_nothing_else() {
    let groups = ["g".to_owned()];
    let further = ServerParts { networks: Some(json!("auto")), groups: &groups, ..ServerParts::default() };
    let body = request(&new_server(spec()), &flavor(), further);
    assert_eq!(
        body,
        json!({"server": {"name": "image-manager-b", "imageRef": "i", "flavorRef": "f", "config_drive": true,
            "metadata": {"image_manager_build": "b"}, "networks": "auto", "security_groups": [{"name": "g"}]}})
    );
    let spec = ServerSpec { config_drive: false, availability_zone: Some("z".into()), ..spec() };
    let further = ServerParts { key: Some("k"), user_data: Some("eA=="), ..ServerParts::default() };
    let body = request(&new_server(spec), &flavor(), further);
    assert_eq!(
        body,
        json!({"server": {"name": "image-manager-b", "imageRef": "i", "flavorRef": "f", "config_drive": false,
            "metadata": {"image_manager_build": "b"}, "availability_zone": "z", "key_name": "k", "user_data": "eA=="}})
    );
}

#[test]
fn a_server_with_a_volume_has_no_other_disk() {
    let further = ServerParts { volume: Some("v"), ..ServerParts::default() };
    let body = request(&new_server(spec()), &flavor(), further);
    assert_eq!(
        body,
        json!({"server": {"name": "image-manager-b", "flavorRef": "f", "config_drive": true,
            "metadata": {"image_manager_build": "b"}, "block_device_mapping_v2": [{"boot_index": 0, "uuid": "v",
                "source_type": "volume", "destination_type": "volume", "delete_on_termination": true}]}})
    );
}

#[test]
fn user_data_is_encoded_and_measured_so() {
    assert_eq!(encoded_user_data(None).unwrap(), None);
    assert_eq!(encoded_user_data(Some("x")).unwrap().as_deref(), Some("eA=="));
    assert!(encoded_user_data(Some(&"x".repeat(49_149))).is_ok());
    let error = encoded_user_data(Some(&"x".repeat(49_152))).unwrap_err();
    assert_eq!(error.trouble, Trouble::Configuration);
}

#[test]
fn novas_words_become_ours() {
    for (server, expected) in [
        (json!({"status": "BUILD"}), ServerStatus::Building),
        (json!({"status": "ACTIVE"}), ServerStatus::Active),
        (json!({"status": "REBOOT"}), ServerStatus::Active),
        (json!({"status": "SHUTOFF"}), ServerStatus::Stopped("Nova reports that it is shut off".into())),
        (json!({"status": "PAUSED"}), ServerStatus::Error("somebody has paused it".into())),
        (
            json!({"status": "SHELVED_OFFLOADED"}),
            ServerStatus::Error("somebody has shelved and offloaded it".into()),
        ),
        (json!({"status": "DELETED"}), ServerStatus::Missing),
        (
            json!({"status": "ERROR", "fault": {"code": 500, "message": "No valid host was found."}}),
            ServerStatus::Error("No valid host was found. (code 500)".into()),
        ),
        (json!({"status": "ERROR"}), ServerStatus::Error("Nova gives no reason".into())),
    ] {
        assert_eq!(status_of(&server), expected);
    }
}

#[test]
fn nova_chooses_the_network_where_it_can() {
    let version =
        |newest| Microversion::negotiate(&json!({"version": {"version": newest, "min_version": "2.1"}}));
    assert_eq!(Network::Auto.request(version("2.93")), Some(json!("auto")));
    assert_eq!(Network::Auto.request(version("2.20")), None);
    let one = Network::One { id: "n".into(), filters: true };
    assert_eq!(one.request(None), Some(json!([{"uuid": "n"}])));
}

#[tokio::test]
async fn a_server_whose_creation_was_not_answered_is_found_by_its_name() {
    let stage = Stage::with(|request| match request.split('?').next().unwrap() {
        "POST /servers" => String::new(),
        "GET /servers/detail" => stage::json(&json!({"servers": [
            {"id": "other", "name": "image-manager-b", "metadata": {"image_manager_owner": "somebody"}},
            {"id": "ours", "name": "image-manager-b", "metadata": {"image_manager_owner": "me"}}]})),
        _ => stage::json(&json!({})),
    })
    .await;
    let (cloud, ledger) = (stage.cloud(), Lines::default());
    let entry = (&ledger as &dyn Ledger, EntryId(1));
    let id = cloud.create(&new_server(spec()), json!({"server": {}}), entry).await.unwrap();
    assert_eq!(id, "ours");
    assert_eq!(stage.requests().iter().filter(|request| request.starts_with("POST")).count(), 1);
}

#[tokio::test]
async fn novas_refusal_is_the_evidence() {
    let stage = Stage::with(|request| {
        if request != "POST /servers" {
            return stage::json(&json!({}));
        }
        let body = r#"{"forbidden": {"code": 403, "message": "Quota exceeded for cores"}}"#;
        let length = body.len();
        format!("HTTP/1.1 403 No\r\nx-openstack-request-id: req-7\r\ncontent-length: {length}\r\n\r\n{body}")
    })
    .await;
    let (cloud, ledger) = (stage.cloud(), Lines::default());
    let entry = (&ledger as &dyn Ledger, EntryId(1));
    let error = cloud.create(&new_server(spec()), json!({"server": {}}), entry).await.unwrap_err();
    assert_eq!(error.trouble, Trouble::NoRoom);
    assert_eq!(*ledger.0.lock().unwrap(), ["refused"], "nothing is there to be looked for");
    assert!(
        error.evidence.contains("req-7") && error.evidence.contains("Quota exceeded"),
        "{}",
        error.evidence
    );
}

/// A Nova that accepts a deletion, shows the server like this from one look to the next, and then knows it no more.
async fn going(looks: Vec<Value>) -> Stage {
    let mut looks = looks.into_iter();
    Stage::with(move |request| match request.split('?').next().unwrap() {
        "GET /servers/s" => match looks.next() {
            Some(server) => stage::json(&json!({"server": server})),
            None => "HTTP/1.1 404 None\r\ncontent-length: 0\r\n\r\n".to_owned(),
        },
        "GET /v2.0/ports" => stage::json(&json!({"ports": []})),
        _ => "HTTP/1.1 202 Going\r\ncontent-length: 0\r\n\r\n".to_owned(),
    })
    .await
}

/// Deletes it, and says how often Nova was asked to delete it and how often for the server.
async fn requests_until_gone(stage: &Stage) -> (usize, usize) {
    assert_eq!(stage.cloud().delete_server("s").await.unwrap(), Removal::Gone);
    let requests = stage.requests();
    let count = |request: &str| requests.iter().filter(|line| line.starts_with(request)).count();
    (count("DELETE /servers/s"), count("GET /servers/s"))
}

/// As the lab's Nova was seen to do when the token was revoked between its accepting the deletion and doing it.
#[tokio::test]
async fn a_deletion_that_nova_gives_up_is_asked_for_again() {
    let look = |task: Value| json!({"id": "s", "status": "ACTIVE", "OS-EXT-STS:task_state": task});
    let stage = going(vec![look(json!("deleting")), look(Value::Null), look(json!("deleting"))]).await;
    assert_eq!(requests_until_gone(&stage).await, (2, 4));
}

#[tokio::test]
async fn a_server_is_gone_when_nova_does_not_know_it_any_more() {
    let look = |status: &str| json!({"id": "s", "status": status, "OS-EXT-STS:task_state": null});
    let stage = going(vec![look("DELETED"), look("SOFT_DELETED")]).await;
    assert_eq!(requests_until_gone(&stage).await, (1, 3));
    assert_eq!(stage.body_of("POST /servers/s/action"), json!({"forceDelete": null}));
}

#[tokio::test]
async fn a_server_that_was_off_before_was_not_stopped_by_its_power_button() {
    for (statuses, in_order) in [(["SHUTOFF", "SHUTOFF"], false), (["ACTIVE", "SHUTOFF"], true)] {
        let mut statuses = statuses.into_iter();
        let stage = Stage::with(move |request| match request {
            "POST /servers/s/action" if in_order => {
                "HTTP/1.1 202 Yes\r\ncontent-length: 0\r\n\r\n".to_owned()
            }
            "POST /servers/s/action" => "HTTP/1.1 409 No\r\ncontent-length: 2\r\n\r\n{}".to_owned(),
            "GET /servers/s" => {
                stage::json(&json!({"server": {"status": statuses.next().unwrap_or("SHUTOFF")}}))
            }
            _ => stage::json(&json!({})),
        })
        .await;
        match stage.cloud().stop_server("s").await.unwrap() {
            Shutdown::Otherwise { how, by_guest: true } if !in_order => {
                assert!(how.contains("off before"), "{how}");
            }
            Shutdown::InOrder if in_order => {}
            other => panic!("{other:?}"),
        }
    }
}
