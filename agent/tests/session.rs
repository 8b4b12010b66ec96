//! The agent's whole life against a real gateway over TLS.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

#[path = "session/early.rs"]
mod early;
mod gateway;
#[path = "session/whose.rs"]
mod whose;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gateway::{Gateway, TOKEN, TestServer, ended, meta_data, put};
use image_manager_agent::{End, IdentityError};
use image_manager_proto::v1::agent_message::Kind;
use image_manager_proto::v1::manager_message::Kind as ManagerKind;
use image_manager_proto::v1::{CheckOutcome, CheckRequest, PathFate, ReportAccepted};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A check that counts how often it runs: its `getent` leaves a line each time.
fn counted(server: &TestServer, name: &str) -> CheckRequest {
    let count = count_file(server);
    let script = format!("#!/bin/sh\necho x >>{}\nsleep 0.3\necho \"192.0.2.7 STREAM x\"\n", count.display());
    let getent = server.config.guest.path("/usr/bin/getent");
    put(server.folder.path(), "usr/bin/getent", &script);
    std::fs::set_permissions(getent, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    CheckRequest {
        name: name.to_owned(),
        kind: "dns".to_owned(),
        settings: Some(list("names", "x.example")),
        ..CheckRequest::default()
    }
}

/// Settings with a list of one text.
fn list(key: &str, text: &str) -> prost_types::Struct {
    use prost_types::value::Kind;
    let value = |kind| prost_types::Value { kind: Some(kind) };
    let texts = prost_types::ListValue { values: vec![value(Kind::StringValue(text.to_owned()))] };
    prost_types::Struct { fields: [(key.to_owned(), value(Kind::ListValue(texts)))].into() }
}

fn count_file(server: &TestServer) -> PathBuf {
    server.folder.path().join("count")
}

fn runs(server: &TestServer) -> usize {
    std::fs::read_to_string(count_file(server)).unwrap_or_default().lines().count()
}

#[tokio::test]
async fn the_good_road() {
    let mut gateway = Gateway::start().await;
    let server = TestServer::of(&gateway);
    let agent = server.start();
    let (mut stream, hello) = gateway.welcome(2).await;
    assert_eq!(stream.authorization, format!("Bearer {TOKEN}"));
    assert_eq!(hello.boot_id, "boot-of-the-test");
    assert_eq!(hello.image_build_id, "0199-build");
    assert_eq!(hello.operating_system, "Test OS");
    assert_eq!(hello.kernel_release, "6.12.0-test");
    assert_eq!(hello.uptime.unwrap().seconds, 12);
    stream.request(counted(&server, "dns")).await;
    stream
        .request(CheckRequest {
            name: "internet".to_owned(),
            kind: "internet".to_owned(),
            settings: Some(list("targets", &format!("tcp://{}", gateway.address))),
            ..CheckRequest::default()
        })
        .await;
    let results = [stream.result().await, stream.result().await];
    assert!(results.iter().all(|result| result.outcome() == CheckOutcome::Pass), "{results:?}");
    assert!(results.iter().all(|result| result.started_at.is_some() && result.duration.is_some()));
    let report = stream.report().await;
    // In the order of the requests, whichever ended first.
    assert_eq!(
        report.results.iter().map(|result| result.name.as_str()).collect::<Vec<_>>(),
        ["dns", "internet"]
    );
    assert_eq!(server.left().len(), 6, "nothing goes before the report is accepted");
    let removal = stream.accept().await;
    assert!(removal.complete);
    assert_eq!(removal.paths.iter().filter(|path| path.fate() == PathFate::Removed).count(), 6);
    assert_eq!(ended(agent).await.unwrap(), End::Reported);
    assert!(server.left().is_empty());
}

#[tokio::test]
async fn without_checks_it_reports_at_once() {
    let mut gateway = Gateway::start().await;
    let server = TestServer::of(&gateway);
    let agent = server.start();
    let (mut stream, _) = gateway.welcome(0).await;
    assert!(stream.report().await.results.is_empty());
    stream.accept().await;
    assert_eq!(ended(agent).await.unwrap(), End::Reported);
}

#[tokio::test]
async fn a_new_stream_goes_on_where_the_last_broke() {
    let mut gateway = Gateway::start().await;
    let server = TestServer::of(&gateway);
    let agent = server.start();
    let slow = || CheckRequest { name: "slow".to_owned(), ..counted(&server, "slow") };

    // The stream breaks while a check runs.
    let (stream, _) = gateway.welcome(2).await;
    stream.request(slow()).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    stream.break_off().await;

    // It breaks again when that check has ended and another has not been requested.
    let (mut stream, hello) = gateway.welcome(2).await;
    assert_eq!(hello.boot_id, "boot-of-the-test");
    stream.request(slow()).await;
    assert_eq!(stream.result().await.name, "slow");
    drop(stream);

    let (mut stream, _) = gateway.welcome(2).await;
    assert_eq!(stream.result().await.name, "slow", "what ended is told again");
    stream.request(slow()).await;
    stream.request(CheckRequest { name: "other".to_owned(), ..CheckRequest::default() }).await;
    assert_eq!(stream.result().await.outcome(), CheckOutcome::Skipped);
    assert_eq!(stream.report().await.results.len(), 2);
    stream.accept().await;
    assert_eq!(ended(agent).await.unwrap(), End::Reported);
    assert_eq!(runs(&server), 1, "no check runs twice");
}

#[tokio::test]
async fn a_report_that_nobody_accepted_is_sent_again() {
    let mut gateway = Gateway::start().await;
    let server = TestServer::of(&gateway);
    let agent = server.start();
    let (mut stream, _) = gateway.welcome(0).await;
    stream.report().await;
    drop(stream);
    let (mut stream, _) = gateway.welcome(0).await;
    stream.report().await;
    assert!(!server.left().is_empty());
    stream.accept().await;
    assert_eq!(ended(agent).await.unwrap(), End::Reported);
}

#[tokio::test]
async fn a_manager_that_is_silent_is_dead() {
    let mut gateway = Gateway::start().await;
    let server = TestServer::of(&gateway);
    let agent = server.start();
    let (silent, _) = gateway.welcome(1).await;
    // The stream stays open and says nothing: another is dialled.
    let (mut stream, _) = gateway.welcome(0).await;
    drop(silent);
    stream.report().await;
    stream.accept().await;
    assert_eq!(ended(agent).await.unwrap(), End::Reported);
}

#[tokio::test]
async fn the_removal_is_told_over_another_stream() {
    let mut gateway = Gateway::start().await;
    let server = TestServer::of(&gateway);
    let agent = server.start();
    let (mut stream, _) = gateway.welcome(0).await;
    stream.report().await;
    stream.say(ManagerKind::ReportAccepted(ReportAccepted {})).await;
    stream.break_off().await;
    let (stream, _) = gateway.welcome(0).await;
    let removal = stream.farewell().await;
    assert!(removal.complete);
    assert_eq!(removal.paths.iter().filter(|path| path.fate() == PathFate::Removed).count(), 6);
    assert_eq!(ended(agent).await.unwrap(), End::Reported);
}

#[tokio::test]
async fn after_the_removal_a_refusal_is_an_end() {
    let mut gateway = Gateway::start().await;
    let server = TestServer::of(&gateway);
    let agent = server.start();
    let (mut stream, _) = gateway.welcome(0).await;
    stream.report().await;
    gateway.refuse.store(1, Ordering::SeqCst);
    stream.say(ManagerKind::ReportAccepted(ReportAccepted {})).await;
    stream.break_off().await;
    assert_eq!(ended(agent).await.unwrap(), End::Reported);
    assert!(server.left().is_empty());
}

#[tokio::test]
async fn a_refusal_is_no_end() {
    let mut gateway = Gateway::start().await;
    gateway.refuse.store(3, Ordering::SeqCst);
    let server = TestServer::of(&gateway);
    let agent = server.start();
    let (mut stream, _) = gateway.welcome(0).await;
    assert_eq!(gateway.refused.load(Ordering::SeqCst), 3);
    stream.report().await;
    stream.accept().await;
    assert_eq!(ended(agent).await.unwrap(), End::Reported);
}

#[tokio::test]
async fn another_certificate_is_refused() {
    let mut gateway = Gateway::start().await;
    let mut server = TestServer::new(&meta_data(gateway.address, &"ab".repeat(32)));
    server.config.times.session = Duration::from_secs(2);
    let agent = server.start();
    assert!(gateway.stays_alone(Duration::from_millis(1500)).await, "no token for a stranger");
    assert_eq!(ended(agent).await.unwrap(), End::NobodyWaits);
    assert!(server.left().is_empty());
}

#[tokio::test]
async fn a_server_without_our_keys_is_left() {
    let server = TestServer::new(r#"{"uuid": "x", "meta": {"role": "web"}}"#);
    assert_eq!(ended(server.start()).await.unwrap(), End::NoIdentity);
    assert!(server.left().is_empty());
}

#[tokio::test]
async fn a_server_without_any_metadata_is_left_after_a_while() {
    let mut server = TestServer::new("");
    server.config.meta_data = None;
    assert_eq!(ended(server.start()).await.unwrap(), End::NoIdentity);
    assert!(server.left().is_empty());
}

#[tokio::test]
async fn unusable_keys_remove_nothing() {
    let gateway = Gateway::start().await;
    let server = TestServer::new(&meta_data(gateway.address, "not-a-fingerprint"));
    let error = ended(server.start()).await.unwrap_err();
    assert!(matches!(error, IdentityError::Malformed { key: "image_manager_fingerprint", .. }), "{error}");
    assert_eq!(server.left().len(), 6);
}

async fn metadata_service(answer: String) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn the_metadata_service_is_asked_and_remembered() {
    let mut gateway = Gateway::start().await;
    let mut server = TestServer::new("");
    let body = meta_data(gateway.address, &gateway.fingerprint);
    put(server.folder.path(), "etc/image-manager/manager", &gateway.fingerprint);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    server.config.meta_data = None;
    server.config.metadata_service = metadata_service(answer).await;
    let first = server.start();
    drop(gateway.welcome(1).await);
    first.abort();
    let _ = first.await;

    // Started again in the same boot, when the metadata service is gone.
    server.config.metadata_service = TestServer::new("").config.metadata_service;
    let agent = server.start();
    let stream = loop {
        // The first agent's last attempts may still come in.
        let (mut stream, _) = gateway.welcome(0).await;
        if matches!(stream.hear().await, Kind::Report(_)) {
            break stream;
        }
    };
    stream.beat().await;
    stream.accept().await;
    assert_eq!(ended(agent).await.unwrap(), End::Reported);
    assert!(server.left().is_empty(), "the identity is gone, too");
}

#[tokio::test]
async fn a_metadata_service_that_knows_nothing_ends_it() {
    let mut server = TestServer::new("");
    server.config.meta_data = None;
    server.config.times.identity = Duration::from_mins(5);
    server.config.metadata_service =
        metadata_service("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned()).await;
    assert_eq!(ended(server.start()).await.unwrap(), End::NoIdentity);
    assert!(server.left().is_empty());
}
