//! Against small servers of our own, for faults that a real cloud does not show when asked.

use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::cloud::openstack::config::Credentials;

const TOKEN: &str =
    r#"{"token": {"expires_at": "2099-01-01T00:00:00.000000Z", "project": {"id": "p"}, "catalog": []}}"#;

/// Answers requests with what a script says, in order, and notes their heads. Keystone answers by itself.
struct Stage {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Stage {
    /// An empty answer cuts the connection.
    async fn new(answers: Vec<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (noted, mut answers) = (Arc::clone(&heads), answers.into_iter());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let head = head_of(&mut stream).await;
                let answer = if head.contains("/auth/tokens") {
                    let length = TOKEN.len();
                    format!(
                        "HTTP/1.1 201 Created\r\nx-subject-token: t{}\r\ncontent-length: {length}\r\n\r\n{TOKEN}",
                        noted.lock().unwrap().len()
                    )
                } else {
                    answers.next().unwrap_or("HTTP/1.1 418 Over\r\n\r\n").to_owned()
                };
                noted.lock().unwrap().push(head);
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        Self { address, heads }
    }

    fn session(&self) -> Session {
        let url = Url::parse(&self.address).unwrap();
        Session::new(CloudConfig {
            name: "stage".into(),
            source: "test".into(),
            auth_url: url.clone(),
            credentials: Credentials::Token("t".into()),
            scope: None,
            region: None,
            interface: "public".into(),
            verify: true,
            ca_certificate: None,
            client_certificate: None,
            overrides: [("image", url.clone()), ("compute", url)].into(),
        })
        .unwrap()
    }

    /// First lines of what came, without Keystone's.
    fn requests(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        let lines = heads.iter().map(|head| head.lines().next().unwrap().to_owned());
        lines.filter(|line| !line.contains("/auth/tokens")).collect()
    }
}

async fn head_of(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.unwrap() == 1 {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length =
        head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.unwrap();
    head
}

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
    assert!(stage.session().call(&get().patience(Patience::SHORT)).await.unwrap_err().is(503));
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
