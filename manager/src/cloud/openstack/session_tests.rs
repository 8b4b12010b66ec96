//! Against small servers of our own, for faults that a real cloud does not show when asked.

use super::*;
use crate::cloud::openstack::stage::Stage;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{\"a\": 1}";
const BUSY: &str = "HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";
const BROKEN_ANSWER: &str = "HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n";
const LOG_IN: &str = "HTTP/1.1 401 Log in\r\ncontent-length: 0\r\n\r\n";

fn get() -> Call {
    Call::get(Service::Image, "images")
}

fn post() -> Call {
    Call::post(Service::Image, "images", serde_json::json!({}))
}

#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    let stage = Stage::new(vec![LOG_IN, OK, LOG_IN, LOG_IN]).await;
    let session = stage.session();
    assert_eq!(session.call(&post()).await.unwrap()["a"], 1);
    let heads = stage.heads.lock().unwrap().clone();
    assert_eq!(heads.iter().filter(|head| head.contains("/auth/tokens")).count(), 2);
    assert!(heads[1].contains("x-auth-token: t0") && heads[3].contains("x-auth-token: t2"), "{heads:?}");
    assert!(heads[1].contains(concat!("user-agent: image-manager/", env!("CARGO_PKG_VERSION"))), "{heads:?}");
    assert!(session.call(&get()).await.unwrap_err().is(401), "the second time it stands");
}

#[tokio::test]
async fn a_busy_service_is_asked_again_when_it_says() {
    let stage = Stage::new(vec![BUSY, BUSY, OK]).await;
    let began = Instant::now();
    assert_eq!(stage.session().call(&post()).await.unwrap()["a"], 1);
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(stage.requests().len(), 3);
}

#[tokio::test]
async fn what_may_have_had_its_effect_is_repeated_only_where_that_does_no_harm() {
    for (fault, name) in [(BROKEN_ANSWER, "500"), ("", "cut")] {
        let stage = Stage::new(vec![fault, OK]).await;
        assert!(stage.session().call(&get()).await.is_ok(), "{name}");
        let stage = Stage::new(vec![fault, OK]).await;
        let error = stage.session().call(&post()).await.unwrap_err();
        assert!(error.is(500) || matches!(error, ApiError::Lost(_)), "{error:?}");
        assert_eq!(stage.requests().len(), 1, "{name}");
        let stage = Stage::new(vec![fault, OK]).await;
        assert!(stage.session().call(&post().repeatable()).await.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn without_patience_there_is_one_try() {
    let stage = Stage::new(vec![BUSY, OK]).await;
    assert!(stage.session().call(&get().timeouts(RequestTimeouts::SHORT)).await.unwrap_err().is(503));
}

#[tokio::test]
async fn nobody_listening_means_that_nothing_left() {
    let stage = Stage::new(vec![]).await;
    let session = stage.session();
    session.project().await.unwrap();
    let nobody = Url::parse("http://127.0.0.1:1/").unwrap();
    let request = session.http.get(nobody);
    assert!(matches!(session.send(request).await.unwrap_err(), ApiError::Unreachable(_)));
}

#[tokio::test]
async fn tokens_follow_no_redirection_elsewhere() {
    let moved = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.2:9/\r\ncontent-length: 0\r\n\r\n";
    let stage = Stage::new(vec![moved]).await;
    assert!(stage.session().call(&get()).await.unwrap_err().is(302));
}

#[tokio::test]
async fn the_microversion_is_asked_for_once_and_sent() {
    let description = "HTTP/1.1 200 OK\r\ncontent-length: 57\r\n\r\n\
                       {\"version\": {\"version\": \"2.42\", \"min_version\": \"2.1\"}}    ";
    let stage = Stage::new(vec![description, OK, OK]).await;
    let session = stage.session();
    for _ in 0..2 {
        session.call(&Call::get(Service::Compute, "servers")).await.unwrap();
    }
    let heads = stage.heads.lock().unwrap();
    assert!(heads.last().unwrap().contains("openstack-api-version: compute 2.42"), "{heads:?}");
    assert_eq!(heads.len(), 4);
}
