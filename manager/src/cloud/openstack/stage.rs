//! A small server for tests: Keystone and all services at one address, answering as a test says.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use reqwest::Url;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::OpenStackCloud;
use super::config::{CloudConfig, Credentials};
use super::session::Session;
use crate::cloud::{CloudError, EntryId, Ledger, ResourceKind};

/// A request's first line, and what was sent with it.
type Body = (String, Vec<u8>);

/// Answers requests and notes their heads. Keystone answers by itself.
pub(super) struct Stage {
    address: String,
    pub(super) heads: Arc<Mutex<Vec<String>>>,
    /// Bodies that came, each with its request's first line.
    bodies: Arc<Mutex<Vec<Body>>>,
}

impl Stage {
    /// Answers come in this order; an empty one cuts the connection.
    pub(super) async fn new(answers: Vec<&'static str>) -> Self {
        let mut answers = answers.into_iter();
        Self::with(move |_| answers.next().unwrap_or("HTTP/1.1 418 Over\r\n\r\n").to_owned()).await
    }

    /// Answers are made of requests' first lines, such as "GET /v2/images".
    pub(super) async fn with(answer: impl FnMut(&str) -> String + Send + 'static) -> Self {
        Self::in_regions(&[], answer).await
    }

    /// The same with a catalog of services, which are in these regions. Their addresses have no versions.
    pub(super) async fn in_regions(
        regions: &[&str],
        mut answer: impl FnMut(&str) -> String + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (heads, bodies) = (Arc::new(Mutex::new(Vec::new())), Arc::<Mutex<Vec<_>>>::default());
        let token = token(&address, regions);
        let (noted, kept) = (Arc::clone(&heads), Arc::clone(&bodies));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (head, length) = head_of(&mut stream).await;
                let words = if head.contains("/auth/tokens") {
                    let (number, size) = (noted.lock().unwrap().len(), token.len());
                    format!(
                        "HTTP/1.1 201 Created\r\nx-subject-token: t{number}\r\ncontent-length: {size}\r\n\r\n{token}"
                    )
                } else {
                    answer(head.lines().next().unwrap().trim_end_matches(" HTTP/1.1"))
                };
                let first = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
                noted.lock().unwrap().push(head);
                if words.is_empty() {
                    continue;
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).await.unwrap();
                kept.lock().unwrap().push((first, body));
                stream.write_all(words.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        Self { address, heads, bodies }
    }

    pub(super) fn session(&self) -> Session {
        self.session_with(&["image", "compute", "network", "block-storage"], None)
    }

    fn session_with(&self, services: &[&'static str], region: Option<&str>) -> Session {
        let url = Url::parse(&self.address).unwrap();
        Session::new(CloudConfig {
            name: "stage".into(),
            source: "test".into(),
            auth_url: url.clone(),
            credentials: Credentials::Token("t".into()),
            scope: None,
            region: region.map(str::to_owned),
            interface: "public".into(),
            verify: true,
            ca_certificate: None,
            client_certificate: None,
            overrides: services.iter().map(|service| (*service, url.clone())).collect(),
            note: None,
        })
        .unwrap()
    }

    /// A cloud whose owner is "me".
    pub(super) fn cloud(&self) -> OpenStackCloud {
        OpenStackCloud::with_session("stage", "me".to_owned(), self.session())
    }

    /// The same cloud without Cinder.
    pub(super) fn cloud_without_volumes(&self) -> OpenStackCloud {
        let session = self.session_with(&["image", "compute", "network"], None);
        OpenStackCloud::with_session("stage", "me".to_owned(), session)
    }

    /// A cloud whose services are where the catalog says.
    pub(super) fn catalogued(&self, region: Option<&str>) -> OpenStackCloud {
        OpenStackCloud::with_session("stage", "me".to_owned(), self.session_with(&[], region))
    }

    /// What was sent with a request, in JSON.
    pub(super) fn body_of(&self, request: &str) -> serde_json::Value {
        let bodies = self.bodies.lock().unwrap();
        let (_, body) = bodies.iter().find(|(line, _)| line == request).unwrap();
        serde_json::from_slice(body).unwrap()
    }

    /// What was sent with a request.
    pub(super) fn bytes_of(&self, request: &str) -> Vec<u8> {
        let bodies = self.bodies.lock().unwrap();
        let (_, body) = bodies.iter().find(|(line, _)| line == request).unwrap();
        body.clone()
    }

    /// What was sent last, in JSON.
    pub(super) fn last_body(&self) -> serde_json::Value {
        let bodies = self.bodies.lock().unwrap();
        serde_json::from_slice(&bodies.last().unwrap().1).unwrap()
    }

    /// First lines of what came, without Keystone's.
    pub(super) fn requests(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        let lines =
            heads.iter().map(|head| head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned());
        lines.filter(|line| !line.contains("/auth/tokens")).collect()
    }
}

/// Keystone's answer.
fn token(address: &str, regions: &[&str]) -> String {
    let catalog = ["image", "compute", "network"].map(|service| {
        let endpoint = |region: &&str| {
            serde_json::json!({"interface": "public", "region_id": region, "url": format!("{address}/{service}")})
        };
        serde_json::json!({"type": service, "endpoints": regions.iter().map(endpoint).collect::<Vec<_>>()})
    });
    serde_json::json!({"token": {"expires_at": "2099-01-01T00:00:00.000000Z", "project": {"id": "p"},
        "catalog": catalog}})
    .to_string()
}

/// An answer with a body.
pub(super) fn json(body: &serde_json::Value) -> String {
    let body = body.to_string();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// An answer that every list is empty in.
pub(super) fn nothing() -> String {
    let keys = ["images", "servers", "keypairs", "volumes", "ports", "security_groups"];
    json(&keys.iter().map(|key| ((*key).to_owned(), serde_json::json!([]))).collect())
}

async fn head_of(stream: &mut TcpStream) -> (String, usize) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.unwrap() == 1 {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let lower = head.to_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    (head, length.unwrap_or(0))
}

/// A ledger: what is written down, in its order.
#[derive(Default)]
pub(super) struct Lines(pub(super) Mutex<Vec<String>>);

#[async_trait]
impl Ledger for Lines {
    async fn intend(&self, kind: ResourceKind, name: &str) -> Result<EntryId, CloudError> {
        self.0.lock().unwrap().push(format!("intend {kind} {name}"));
        Ok(EntryId(1))
    }

    async fn refused(&self, _: EntryId) -> Result<(), CloudError> {
        self.0.lock().unwrap().push("refused".to_owned());
        Ok(())
    }

    async fn created(&self, _: EntryId, external_id: &str) -> Result<(), CloudError> {
        self.0.lock().unwrap().push(format!("created {external_id}"));
        Ok(())
    }
}
