//! Agents that do not keep to the protocol. They are played by this test: the real agent cannot be made to
//! die at a given message. They dial the real gateway, with the real token from the server's config drive.

use std::fs;
use std::time::Duration;

use image_manager_proto::v1::agent_gateway_client::AgentGatewayClient;
use image_manager_proto::v1::{
    AgentMessage, CheckOutcome, CheckResult, Hello, ManagerMessage, agent_message, manager_message,
};
use serde_json::Value as Json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use super::harness::{Place, wait_for};

/// What the server was handed.
pub(super) struct Handed {
    endpoint: String,
    pub(super) token: String,
    build: String,
}

/// Waits for a server of the place and reads what it was handed from its config drive.
pub(super) fn handed(place: &Place) -> Handed {
    let meta: Json = wait_for("a config drive", Duration::from_mins(1), || {
        let servers = fs::read_dir(place.state().join("servers")).ok()?;
        let drive = servers.flatten().find_map(|server| {
            fs::read_dir(server.path()).ok()?.flatten().find_map(|file| {
                let bytes = fs::read(file.path()).ok()?;
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let start = text.find("{\"")?;
                text.contains("image_manager_token").then(|| text[start..].to_owned())
            })
        })?;
        let mut values = serde_json::Deserializer::from_str(&drive).into_iter::<Json>();
        values.next()?.ok().filter(|meta| meta["meta"]["image_manager_token"].is_string())
    });
    let value = |key: &str| meta["meta"][key].as_str().unwrap().to_owned();
    let port = value("image_manager_endpoint").split_once(':').unwrap().1.to_owned();
    Handed {
        endpoint: format!("https://127.0.0.1:{port}"),
        token: value("image_manager_token"),
        build: value("image_manager_build"),
    }
}

pub(super) type Attached = (mpsc::Sender<AgentMessage>, Streaming<ManagerMessage>);

pub(super) async fn attach(
    place: &Place,
    handed: &Handed,
    token: &str,
    boot: &str,
) -> Result<Attached, Status> {
    let ca = fs::read(place.state().join("tls/cert.pem")).unwrap();
    let tls = ClientTlsConfig::new()
        .ca_certificate(tonic::transport::Certificate::from_pem(ca))
        .domain_name("image-manager");
    let channel: Channel = Endpoint::from_shared(handed.endpoint.clone())
        .unwrap()
        .tls_config(tls)
        .unwrap()
        .connect()
        .await
        .unwrap();
    let (say, said) = mpsc::channel(16);
    let hello = Hello {
        boot_id: boot.to_owned(),
        agent_version: "test".to_owned(),
        image_build_id: handed.build.clone(),
        ..Hello::default()
    };
    say.send(message(agent_message::Kind::Hello(hello))).await.unwrap();
    let mut request = Request::new(ReceiverStream::new(said));
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let heard = AgentGatewayClient::new(channel).attach(request).await?.into_inner();
    Ok((say, heard))
}

pub(super) fn message(kind: agent_message::Kind) -> AgentMessage {
    AgentMessage { kind: Some(kind) }
}

fn result(name: &str) -> AgentMessage {
    message(agent_message::Kind::CheckResult(CheckResult {
        name: name.to_owned(),
        outcome: CheckOutcome::Pass.into(),
        ..CheckResult::default()
    }))
}

/// A place whose image has no agent of its own, with a build under way.
fn place_without_agent() -> Place {
    Place::tiny("image.environment = { TINY_CANARY = \"no-agent\" }")
}

#[tokio::test(flavor = "multi_thread")]
async fn dies_after_the_last_check_but_before_its_report() {
    let place = place_without_agent();
    let mut run = place.command(&["run", "tiny", "--reattach", "5s"]).spawn().unwrap();
    let handed = handed(&place);
    let (say, mut heard) = attach(&place, &handed, &handed.token, "boot-1").await.unwrap();
    let mut asked = Vec::new();
    while asked.len() < 4 {
        if let Some(manager_message::Kind::CheckRequest(check)) = heard.message().await.unwrap().unwrap().kind
        {
            asked.push(check.name);
        }
    }
    for name in &asked {
        say.send(result(name)).await.unwrap();
    }
    wait_for("the results to be recorded", Duration::from_secs(20), || {
        let checks = place.latest()["checks"].as_array().unwrap().clone();
        checks.iter().all(|check| check["outcome"] == "pass").then_some(())
    });
    drop((say, heard));
    assert_eq!(run.wait().unwrap().code(), Some(2), "all checks passed, but nobody said so in the end");
    assert_eq!(place.latest()["reason"], "agent_lost");
    place.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_refused_and_made_up_results_end_a_stream() {
    let place = place_without_agent();
    let mut run = place.command(&["run", "tiny", "--reattach", "5s"]).spawn().unwrap();
    let handed = handed(&place);
    let wrong = "0".repeat(64);
    let refused = attach(&place, &handed, &wrong, "boot-1").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let (say, mut heard) = attach(&place, &handed, &handed.token, "boot-1").await.unwrap();
    say.send(result("made-up")).await.unwrap();
    let status = loop {
        match heard.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without a status"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert_eq!(run.wait().unwrap().code(), Some(2));
    assert_eq!(place.latest()["reason"], "agent_lost");
    place.assert_nothing_left();
}

/// What a contested build says; both who came are in it.
fn assert_contested(place: &Place, boots: [&str; 2]) {
    let build = place.latest();
    assert_eq!(
        (&build["state"], &build["reason"]),
        (&"errored".into(), &"agent_contested".into()),
        "{build:#}"
    );
    let evidence = build["failure"]["evidence"].as_str().unwrap();
    for part in
        boots.map(|boot| format!("boot id {boot}")).iter().map(String::as_str).chain(["from 127.0.0.1 at"])
    {
        assert!(evidence.contains(part), "{part}: {evidence}");
    }
    let message = build["failure"]["message"].as_str().unwrap();
    assert!(message.contains("rebooted") && message.contains("somebody else has the token"), "{message}");
    place.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_agent_makes_even_a_known_failure_nobodys_word() {
    let place = place_without_agent();
    let mut run = place.command(&["run", "tiny", "--reattach", "30s"]).spawn().unwrap();
    let handed = handed(&place);
    let (say, heard) = attach(&place, &handed, &handed.token, "boot-1").await.unwrap();
    let outcome = CheckOutcome::Fail.into();
    let failed = CheckResult { name: "disk".to_owned(), outcome, ..CheckResult::default() };
    say.send(message(agent_message::Kind::CheckResult(failed))).await.unwrap();
    wait_for("the result to be recorded", Duration::from_secs(20), || {
        let checks = place.latest()["checks"].as_array().unwrap().clone();
        checks.iter().any(|check| check["outcome"] == "fail").then_some(())
    });
    // The first stream breaks; the second comes in its name, with the token and without a key to prove.
    drop((say, heard));
    let second = attach(&place, &handed, &handed.token, "boot-1").await.unwrap_err();
    assert_eq!(second.code(), Code::AlreadyExists);
    assert_eq!(run.wait().unwrap().code(), Some(2));
    assert_contested(&place, ["boot-1", "boot-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thief_beside_the_real_agent_contests() {
    let place = Place::tiny("image.environment = { TINY_CANARY = \"cloud-init-hanging\" }");
    let mut run = place.command(&["run", "tiny"]).spawn().unwrap();
    let handed = handed(&place);
    let boot = wait_for("the agent", Duration::from_mins(3), || {
        let build = place.latest();
        let attached = build["trials"][0]["state"] == "verifying";
        attached.then(|| build["agent"]["boot_id"].as_str().unwrap().to_owned())
    });
    let thief = attach(&place, &handed, &handed.token, &boot).await.unwrap_err();
    assert_eq!(thief.code(), Code::AlreadyExists);
    assert_eq!(run.wait().unwrap().code(), Some(2));
    assert_contested(&place, [&boot, &boot]);
    let evidence = place.latest()["failure"]["evidence"].as_str().unwrap().to_owned();
    let (first, second) = evidence.split_once('\n').unwrap();
    assert!(!first.contains("key none") && second.contains("key none"), "{evidence}");
}
