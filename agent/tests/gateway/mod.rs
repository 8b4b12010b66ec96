//! A manager's gateway for tests: real TLS, real gRPC, and every stream is handed to the test, which
//! plays the manager.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use image_manager_agent::{Config, End, Guest, IdentityError, PATHS, Times};
use image_manager_proto::v1::agent_gateway_server::{AgentGateway, AgentGatewayServer};
use image_manager_proto::v1::agent_message::Kind;
use image_manager_proto::v1::manager_message::Kind as ManagerKind;
use image_manager_proto::v1::{
    AgentMessage, CheckRequest, CheckResult, Heartbeat, Hello, ManagerMessage, RemovalReport, Report,
    ReportAccepted, Welcome,
};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const TOKEN: &str = "t0ken-of-the-test";

/// The gateway, and the streams that agents open.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) fingerprint: String,
    /// So many attempts are refused before one is let in.
    pub(crate) refuse: Arc<AtomicU32>,
    pub(crate) refused: Arc<AtomicU32>,
    streams: mpsc::Receiver<Stream>,
}

/// One stream, from the manager's side.
pub(crate) struct Stream {
    pub(crate) authorization: String,
    outbox: mpsc::Sender<Result<ManagerMessage, Status>>,
    inbox: Streaming<AgentMessage>,
}

struct Service {
    streams: mpsc::Sender<Stream>,
    refuse: Arc<AtomicU32>,
    refused: Arc<AtomicU32>,
}

#[tonic::async_trait]
impl AgentGateway for Service {
    type AttachStream = ReceiverStream<Result<ManagerMessage, Status>>;

    async fn attach(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let left = self.refuse.load(Ordering::SeqCst);
        if left > 0 {
            self.refuse.store(left - 1, Ordering::SeqCst);
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(Status::unauthenticated("unknown token"));
        }
        let authorization =
            request.metadata().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let (outbox, messages) = mpsc::channel(16);
        let stream =
            Stream { authorization: authorization.unwrap_or_default(), outbox, inbox: request.into_inner() };
        self.streams.send(stream).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

impl Gateway {
    pub(crate) async fn start() -> Self {
        let certified = rcgen::generate_simple_self_signed(vec!["manager".to_owned()]).unwrap();
        let identity = Identity::from_pem(certified.cert.pem(), certified.signing_key.serialize_pem());
        let fingerprint = format!("{:x}", Sha256::digest(certified.cert.der()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (send, streams) = mpsc::channel(16);
        let (refuse, refused) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let service = Service { streams: send, refuse: Arc::clone(&refuse), refused: Arc::clone(&refused) };
        let server = Server::builder()
            .tls_config(ServerTlsConfig::new().identity(identity))
            .unwrap()
            .add_service(AgentGatewayServer::new(service))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        Self { address, fingerprint, refuse, refused, streams }
    }

    /// The next stream, with its Hello taken and Welcome said.
    pub(crate) async fn welcome(&mut self, checks: u32) -> (Stream, Hello) {
        let mut stream = self.next().await;
        let Kind::Hello(hello) = stream.hear().await else { panic!("the first message is no Hello") };
        let duration = |milliseconds| Duration::from_millis(milliseconds).try_into().ok();
        let heartbeat_interval = duration(100);
        let heartbeat_timeout = duration(1500);
        stream.say(ManagerKind::Welcome(Welcome { checks, heartbeat_interval, heartbeat_timeout })).await;
        (stream, hello)
    }

    pub(crate) async fn next(&mut self) -> Stream {
        timeout(PATIENCE, self.streams.recv()).await.expect("the agent dials").unwrap()
    }

    /// No agent comes for a while.
    pub(crate) async fn stays_alone(&mut self, while_: Duration) -> bool {
        timeout(while_, self.streams.recv()).await.is_err()
    }
}

impl Stream {
    pub(crate) async fn say(&self, kind: ManagerKind) {
        self.outbox.send(Ok(ManagerMessage { kind: Some(kind) })).await.expect("the agent listens");
    }

    pub(crate) async fn beat(&self) {
        self.say(ManagerKind::Heartbeat(Heartbeat {})).await;
    }

    /// The next message that is no heartbeat. The manager's own heartbeats go on meanwhile.
    pub(crate) async fn hear(&mut self) -> Kind {
        let outbox = self.outbox.clone();
        let beats = async move {
            loop {
                tokio::time::sleep(Duration::from_millis(200)).await;
                let beat = ManagerMessage { kind: Some(ManagerKind::Heartbeat(Heartbeat {})) };
                let _ = outbox.send(Ok(beat)).await;
            }
        };
        let next = async {
            loop {
                match self.inbox.message().await.unwrap().expect("another message").kind.unwrap() {
                    Kind::Heartbeat(_) => {}
                    kind => return kind,
                }
            }
        };
        tokio::select! {
            kind = timeout(PATIENCE, next) => kind.expect("the agent says something"),
            () = beats => unreachable!(),
        }
    }

    /// Whether the agent ends the stream.
    pub(crate) async fn gives_up(&mut self) -> bool {
        let end = async { while let Ok(Some(_)) = self.inbox.message().await {} };
        timeout(PATIENCE, end).await.is_ok()
    }

    pub(crate) async fn request(&self, request: CheckRequest) {
        self.say(ManagerKind::CheckRequest(request)).await;
    }

    pub(crate) async fn result(&mut self) -> CheckResult {
        match self.hear().await {
            Kind::CheckResult(result) => result,
            other => panic!("no result: {other:?}"),
        }
    }

    pub(crate) async fn report(&mut self) -> Report {
        match self.hear().await {
            Kind::Report(report) => report,
            other => panic!("no report: {other:?}"),
        }
    }

    /// Ends the stream as a manager does that is stopped.
    pub(crate) async fn break_off(self) {
        let _ = self.outbox.send(Err(Status::unavailable("the manager stops"))).await;
    }

    /// Takes the report and all that follows, to the end of the stream.
    pub(crate) async fn accept(self) -> RemovalReport {
        self.say(ManagerKind::ReportAccepted(ReportAccepted {})).await;
        self.farewell().await
    }

    pub(crate) async fn farewell(mut self) -> RemovalReport {
        let Kind::RemovalReport(report) = self.hear().await else { panic!("no removal report") };
        assert!(matches!(self.hear().await, Kind::Goodbye(_)));
        assert!(self.inbox.message().await.unwrap().is_none(), "something after Goodbye");
        report
    }
}

/// A made-up guest with the agent installed, and what the manager would hand to it.
pub(crate) struct TestServer {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) config: Config,
}

impl TestServer {
    pub(crate) fn new(meta: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        put(root, "proc/sys/kernel/random/boot_id", "boot-of-the-test\n");
        put(root, "proc/uptime", "12.34 20.00\n");
        put(root, "proc/sys/kernel/osrelease", "6.12.0-test\n");
        put(root, "etc/os-release", "PRETTY_NAME=\"Test OS\"\n");
        put(root, "etc/image-manager/build", "0199-build\n");
        put(root, PATHS[0].trim_start_matches('/'), "link");
        put(root, PATHS[1].trim_start_matches('/'), "[Unit]");
        put(root, PATHS[7].trim_start_matches('/'), "ELF");
        put(root, "meta_data.json", meta);
        // Made by the manager that the metadata names, unless a test says otherwise.
        let named = serde_json::from_str::<serde_json::Value>(meta).unwrap_or_default();
        let pin = named.pointer("/meta/image_manager_fingerprint").and_then(serde_json::Value::as_str);
        let pin = pin.unwrap_or_default();
        put(root, "etc/image-manager/manager", &format!("{pin}\n"));
        let milliseconds = Duration::from_millis;
        let config = Config {
            guest: Guest::below(root),
            meta_data: Some(root.join("meta_data.json")),
            // Nothing listens on this port of loopback.
            metadata_service: SocketAddr::from(([127, 0, 0, 1], 9)),
            times: Times {
                identity: milliseconds(600),
                identity_retry: (milliseconds(20), milliseconds(50)),
                drive_grace: milliseconds(100),
                redial: (milliseconds(50), milliseconds(200)),
                refused: (milliseconds(50), milliseconds(100)),
                session: PATIENCE,
                removal_report: Duration::from_secs(10),
                ..Times::default()
            },
        };
        Self { folder, config }
    }

    pub(crate) fn of(gateway: &Gateway) -> Self {
        Self::new(&meta_data(gateway.address, &gateway.fingerprint))
    }

    pub(crate) fn start(&self) -> JoinHandle<Result<End, IdentityError>> {
        let config = self.config.clone();
        tokio::spawn(async move { image_manager_agent::run(&config).await })
    }

    /// What is left of the agent.
    pub(crate) fn left(&self) -> Vec<&'static str> {
        let there = |path: &&str| fs::symlink_metadata(self.config.guest.path(path)).is_ok();
        PATHS.into_iter().filter(there).collect()
    }
}

pub(crate) async fn ended(agent: JoinHandle<Result<End, IdentityError>>) -> Result<End, IdentityError> {
    timeout(PATIENCE, agent).await.expect("the agent ends").unwrap()
}

pub(crate) fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

pub(crate) fn meta_data(address: SocketAddr, fingerprint: &str) -> String {
    serde_json::json!({
        "uuid": "83679162-1378-4288-a2d4-70e13ec132aa",
        "meta": {
            "image_manager_endpoint": address.to_string(),
            "image_manager_token": TOKEN,
            "image_manager_fingerprint": fingerprint,
            "image_manager_build": "0199-build",
            "image_manager_owner": "owner-of-the-test",
        },
    })
    .to_string()
}
