//! Against stand-in clouds whose services describe themselves, and list, in ways that real ones do.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::cloud::openstack::OpenStackCloud;
use crate::cloud::openstack::flavors_and_networks::Network;
use crate::cloud::openstack::stage::{self, Stage};
use crate::cloud::{Cloud as _, Trouble};
use crate::schedules::{Arch, ServerSpec};

const PAGE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 13\r\n\r\n<html></html>";
const CHOICES: &str = "HTTP/1.1 300 Choices\r\ncontent-length: 15\r\n\r\n{\"choices\": []}";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}";
const CUT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"flavors\": [";

fn spec() -> ServerSpec {
    ServerSpec {
        memory: 0,
        disk: 0,
        cpus: 1,
        firmware: None,
        arch: Arch::Amd64,
        flavor: Some("small".into()),
        network: Some("private".into()),
        security_groups: Vec::new(),
        availability_zone: None,
        ssh_key: None,
        config_drive: true,
        boot_from_volume: false,
        user_data: None,
    }
}

fn flavors(names: &[(&str, &str)]) -> String {
    let all: Vec<_> = names.iter().map(|(id, name)| json!({"id": id, "name": name})).collect();
    stage::json(&json!({"flavors": all}))
}

fn flavor(id: &str) -> String {
    stage::json(&json!({"flavor": {"id": id, "name": "small", "ram": 512, "vcpus": 1, "disk": 2}}))
}

fn network(id: &str) -> Value {
    json!({"id": id, "name": "private", "status": "ACTIVE", "admin_state_up": true,
        "port_security_enabled": false})
}

/// A cloud like most: a version document whose links name `elsewhere`, one flavor, one network.
fn usual(request: &str, elsewhere: &str) -> String {
    let link = json!([{"rel": "self", "href": format!("{elsewhere}/v2.1/")}]);
    let version =
        json!({"id": "v2.1", "status": "CURRENT", "version": "2.90", "min_version": "2.1", "links": link});
    let path = request.strip_prefix("GET ").unwrap().split('?').next().unwrap();
    match path {
        "/compute" | "/compute/" | "/network" | "/network/" => stage::json(&json!({"versions": [version]})),
        "/compute/v2.1/flavors" => flavors(&[("f1", "small")]),
        "/compute/v2.1/flavors/f1" => flavor("f1"),
        "/network/v2.0/networks" => stage::json(&json!({"networks": [network("n1")]})),
        "/image/v2/images" => stage::json(&json!({"images": []})),
        "/compute/v2.1/limits" => stage::json(&json!({"limits": {"absolute": {}}})),
        _ => NOT_FOUND.to_owned(),
    }
}

async fn looked_up(cloud: &OpenStackCloud) {
    let found = cloud.flavor(Some("small")).await.unwrap();
    assert_eq!((&*found.id, found.memory_mib), ("f1", 512));
    let found = cloud.network(Some("private")).await.unwrap();
    assert_eq!(found, Network::One { id: "n1".into(), filters: false });
}

#[tokio::test]
async fn no_link_of_a_version_document_is_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let link = format!("http://{}", elsewhere.local_addr().unwrap());
    let stage = Stage::in_regions(&["R1"], move |request| usual(request, &link)).await;
    looked_up(&stage.catalogued(None)).await;
    let nobody = elsewhere.accept().unwrap_err();
    assert_eq!(
        nobody.kind(),
        std::io::ErrorKind::WouldBlock,
        "a request went where the catalog does not name"
    );
    let requests = stage.requests();
    assert!(!requests.iter().any(|request| request.contains("extra_specs")), "{requests:?}");
}

#[tokio::test]
async fn a_version_document_for_people_says_nothing() {
    let stage = Stage::in_regions(&["R1"], |request| match request.split('?').next().unwrap() {
        "GET /network" | "GET /network/" | "GET /compute/" => PAGE.to_owned(),
        "GET /compute/flavors" => flavors(&[("f1", "small")]),
        "GET /compute/flavors/f1" => flavor("f1"),
        _ => usual(request, "http://127.0.0.1:1"),
    })
    .await;
    looked_up(&stage.catalogued(None)).await;
}

#[tokio::test]
async fn a_choice_of_versions_is_no_list() {
    for answer in [CHOICES, PAGE] {
        let stage = Stage::in_regions(&["R1"], move |request| match request.split('?').next().unwrap() {
            "GET /compute/v2.1/flavors" | "GET /network/v2.0/networks/private" => answer.to_owned(),
            _ => usual(request, "http://127.0.0.1:1"),
        })
        .await;
        let cloud = stage.catalogued(None);
        let error = cloud.flavor(Some("small")).await.unwrap_err();
        assert_eq!(error.trouble, Trouble::Configuration);
        assert!(error.message.contains("check the address of the compute service in the catalog"), "{error}");
        let error = cloud.network(Some("private")).await.unwrap_err();
        assert_eq!(error.trouble, Trouble::Configuration);
        assert!(error.message.contains("check the address of the network service in the catalog"), "{error}");
    }
}

#[tokio::test]
async fn a_list_that_was_cut_is_asked_for_again() {
    let mut cut = Some(CUT);
    let stage =
        Stage::in_regions(&["R1"], move |request| match cut.filter(|_| request.contains("/flavors")) {
            Some(answer) => {
                cut = None;
                answer.to_owned()
            }
            None => usual(request, "http://127.0.0.1:1"),
        })
        .await;
    looked_up(&stage.catalogued(None)).await;
}

#[tokio::test]
async fn of_several_with_one_name_the_ids_are_told() {
    let stage = Stage::in_regions(&["R1"], |request| match request.split('?').next().unwrap() {
        "GET /compute/v2.1/flavors" => flavors(&[("f1", "small"), ("f2", "small"), ("small2", "large")]),
        "GET /compute/v2.1/flavors/f2" => flavor("f2"),
        "GET /network/v2.0/networks/n2" => stage::json(&json!({"network": network("n2")})),
        "GET /network/v2.0/networks" => stage::json(&json!({"networks": [network("n1"), network("n2")]})),
        _ => usual(request, "http://127.0.0.1:1"),
    })
    .await;
    let cloud = stage.catalogued(None);
    let error = cloud.flavor(Some("small")).await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Configuration);
    assert!(error.message.contains("2 flavors named \"small\", with the ids f1, f2: put the id"), "{error}");
    let error = cloud.network(Some("private")).await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Configuration);
    assert!(
        error.message.contains("2 networks named \"private\", with the ids n1, n2: put the id"),
        "{error}"
    );
    assert_eq!(cloud.flavor(Some("f2")).await.unwrap().id, "f2");
    assert!(matches!(cloud.network(Some("n2")).await.unwrap(), Network::One { id, .. } if id == "n2"));
}

#[tokio::test]
async fn a_flavor_that_is_not_listed_is_found_by_its_id() {
    let stage = Stage::in_regions(&["R1"], |request| match request {
        "GET /compute/v2.1/flavors/hidden" => flavor("hidden"),
        _ => usual(request, "http://127.0.0.1:1"),
    })
    .await;
    let cloud = stage.catalogued(None);
    assert_eq!(cloud.flavor(Some("hidden")).await.unwrap().id, "hidden");
    for wanted in ["nowhere", "../servers", ".."] {
        let error = cloud.flavor(Some(wanted)).await.unwrap_err();
        assert!(error.message.contains("for this project; there are: small"), "{error}");
    }
    assert!(!stage.requests().iter().any(|request| request.contains("/servers")));
}

#[tokio::test]
async fn a_region_that_is_not_clear_is_said_once_with_those_there_are() {
    let stage = Stage::in_regions(&["North", "South"], |request| usual(request, "http://127.0.0.1:1")).await;
    for (region, expected) in [(None, "has several regions"), (Some("Nroth"), "has no region \"Nroth\"")] {
        let cloud = stage.catalogued(region);
        let proofs = cloud.diagnose("127.0.0.1:7777".parse().unwrap()).await;
        assert_eq!(proofs.len(), 1, "{proofs:?}");
        for error in [
            proofs.into_iter().next().unwrap().found.unwrap_err(),
            cloud.prove(&spec()).await.unwrap_err(),
            cloud.inventory().await.unwrap_err(),
        ] {
            assert_eq!(error.trouble, Trouble::Configuration);
            assert!(error.message.contains(expected), "{error}");
            assert!(error.message.contains("`region_name` in test to one of these: North, South"), "{error}");
        }
    }
    looked_up(&stage.catalogued(Some("South"))).await;
}
