//! Hostile callers at the real port, over sockets, beside an honest agent. They are played by these tests: the
//! real agent cannot be made to misbehave.

mod claims;
mod messages;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use image_manager_proto::v1::agent_gateway_client::AgentGatewayClient;
use image_manager_proto::v1::{
    self, AgentMessage, CheckOutcome, CheckRequest, CheckResult, Goodbye, Hello, ManagerMessage, Report,
    agent_message, manager_message,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use super::{AgentEvent, Certificate, Claimant, Gateway, GatewaySettings, Session, Token, serve};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A gateway that serves, and what it has logged.
struct TestGateway {
    gateway: Gateway,
    address: SocketAddr,
    pem: String,
    fingerprint: String,
    stop: CancellationToken,
    log: Log,
    _directory: tempfile::TempDir,
    _logging: tracing::subscriber::DefaultGuard,
}

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn count(&self, text: &str) -> usize {
        String::from_utf8_lossy(&self.0.lock().unwrap()).lines().filter(|line| line.contains(text)).count()
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl TestGateway {
    async fn new(change: impl FnOnce(&mut GatewaySettings)) -> Self {
        // All of a test's tasks run on its own thread, so this is theirs alone.
        let log = Log::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let logging = tracing::subscriber::set_default(subscriber);
        let directory = tempfile::tempdir().unwrap();
        let certificate = Certificate::load_or_make(directory.path()).unwrap();
        let mut settings = GatewaySettings { heartbeat_timeout: PATIENCE, ..GatewaySettings::default() };
        change(&mut settings);
        let gateway = Gateway::new(settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (pem, fingerprint) = (certificate.pem.clone(), certificate.fingerprint.clone());
        let stop = CancellationToken::new();
        let (served, ended) = (gateway.clone(), stop.clone());
        tokio::spawn(async move { serve(served, listener, &certificate, ended).await });
        Self { gateway, address, pem, fingerprint, stop, log, _directory: directory, _logging: logging }
    }

    fn session(&self, checks: Vec<CheckRequest>) -> (Token, Session) {
        let token = Token::generate().unwrap();
        let session = self.gateway.open(token.hash(), "build-1", checks, None);
        (token, session)
    }

    async fn channel(&self) -> Channel {
        let tls = ClientTlsConfig::new()
            .ca_certificate(tonic::transport::Certificate::from_pem(&self.pem))
            .domain_name("image-manager");
        let endpoint = Endpoint::from_shared(format!("https://{}", self.address)).unwrap();
        let endpoint = endpoint.connect_timeout(PATIENCE).tls_config(tls).unwrap();
        endpoint.connect().await.unwrap()
    }

    async fn attach(&self, token: &str, boot: &str) -> Result<Agent, Status> {
        let (say, said) = mpsc::channel(16);
        let hello = Hello { boot_id: boot.to_owned(), ..Hello::default() };
        say.send(message(agent_message::Kind::Hello(hello))).await.unwrap();
        let request = bearing(token, ReceiverStream::new(said));
        let hear = AgentGatewayClient::new(self.channel().await).attach(request).await?.into_inner();
        Ok(Agent { say, hear })
    }

    async fn wait_for_log(&self, text: &str) {
        let start = Instant::now();
        while self.log.count(text) == 0 {
            assert!(start.elapsed() < PATIENCE, "never logged {text:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The agent's side of a stream.
#[derive(Debug)]
struct Agent {
    say: mpsc::Sender<AgentMessage>,
    hear: Streaming<ManagerMessage>,
}

impl Agent {
    async fn say(&self, kind: agent_message::Kind) {
        self.say.send(message(kind)).await.unwrap();
    }

    /// The next message that is no heartbeat.
    async fn hear(&mut self) -> Result<manager_message::Kind, Status> {
        loop {
            let heard = timeout(PATIENCE, self.hear.message()).await.expect("nothing was said");
            match heard?.and_then(|message| message.kind) {
                Some(manager_message::Kind::Heartbeat(_)) => {}
                Some(kind) => return Ok(kind),
                None => return Err(Status::cancelled("the end")),
            }
        }
    }

    /// Is taken in and does its work.
    async fn finish(self, session: &mut Session) {
        admit(session).await;
        self.work(session).await;
    }

    /// Hears out what it is asked for, reports, and is done, as an honest agent.
    async fn work(mut self, session: &mut Session) {
        let mut results = Vec::new();
        loop {
            match self.hear().await.unwrap() {
                manager_message::Kind::CheckRequest(check) => results.push(passed(&check.name)),
                manager_message::Kind::Welcome(welcome) => assert_eq!(welcome.checks, 1),
                other => panic!("{other:?}"),
            }
            if !results.is_empty() {
                break;
            }
        }
        self.say(agent_message::Kind::Report(Report { results })).await;
        let AgentEvent::Report { accept, .. } = next(session).await else { panic!("no report") };
        accept.send(()).unwrap();
        assert!(matches!(self.hear().await.unwrap(), manager_message::Kind::ReportAccepted(_)));
        self.say(agent_message::Kind::Goodbye(Goodbye {})).await;
        assert!(matches!(next(session).await, AgentEvent::Goodbye));
    }
}

async fn next(session: &mut Session) -> AgentEvent {
    timeout(PATIENCE, session.next()).await.expect("no event").unwrap()
}

/// Takes in the agent that comes next.
async fn admit(session: &mut Session) -> Claimant {
    match next(session).await {
        AgentEvent::Attached { claimant, admit, .. } => {
            admit.send(()).unwrap();
            claimant
        }
        other => panic!("{other:?}"),
    }
}

fn message(kind: agent_message::Kind) -> AgentMessage {
    AgentMessage { kind: Some(kind) }
}

fn bearing<T>(token: &str, what: T) -> Request<T> {
    let mut request = Request::new(what);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

fn check(name: &str) -> CheckRequest {
    CheckRequest { name: name.to_owned(), ..CheckRequest::default() }
}

fn passed(name: &str) -> CheckResult {
    CheckResult { name: name.to_owned(), outcome: CheckOutcome::Pass.into(), ..CheckResult::default() }
}

/// Whether the other side ends a connection, whatever it says before.
async fn is_ended(stream: &mut TcpStream) -> bool {
    let mut said = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut said)).await.is_ok()
}

#[tokio::test]
async fn without_tls_nobody_comes_in_and_the_log_has_one_line() {
    let place = TestGateway::new(|_| {}).await;
    let (token, mut session) = place.session(vec![check("disk")]);
    let honest = place.attach(token.expose(), "boot-1").await.unwrap();
    for _ in 0..30 {
        let mut stream = TcpStream::connect(place.address).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        assert!(is_ended(&mut stream).await);
    }
    honest.finish(&mut session).await;
    assert_eq!(place.log.count("no TLS"), 1);
    place.stop.cancel();
    place.wait_for_log("again: closed a connection: no TLS times=29").await;
}

#[tokio::test]
async fn wrong_missing_and_replayed_tokens_are_refused() {
    let place = TestGateway::new(|_| {}).await;
    let (token, mut session) = place.session(vec![check("disk")]);
    let honest = place.attach(token.expose(), "boot-1").await.unwrap();
    for _ in 0..3 {
        let refused = place.attach(&"0".repeat(64), "boot-1").await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
    }
    let (_say, said) = mpsc::channel::<AgentMessage>(1);
    let mut client = AgentGatewayClient::new(place.channel().await);
    let refused = client.attach(ReceiverStream::new(said)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(place.gateway.unknown_tokens(), 4);

    honest.finish(&mut session).await;
    drop(session);
    let replayed = place.attach(token.expose(), "boot-1").await.unwrap_err();
    assert_eq!(replayed.code(), Code::Unauthenticated);
    for (line, times) in [("no running build", 1), ("no bearer token", 1)] {
        assert_eq!(place.log.count(line), times, "{line}");
    }
    place.stop.cancel();
    place.wait_for_log("no running build has handed out its token times=3").await;
    assert_eq!(place.log.count(token.expose()), 0, "a token is in the log");
}

#[tokio::test]
async fn a_flood_of_connections_is_bounded_and_shuts_no_agent_out() {
    let place = TestGateway::new(|settings| settings.connections = 8).await;
    let (token, mut session) = place.session(vec![check("disk")]);
    let honest = place.attach(token.expose(), "boot-1").await.unwrap();
    let mut flood = Vec::new();
    for _ in 0..60 {
        flood.push(TcpStream::connect(place.address).await.unwrap());
    }
    // All but seven are ended: the honest agent has the eighth place.
    let mut ended = 0;
    for stream in flood.iter_mut().take(53) {
        ended += usize::from(is_ended(stream).await);
    }
    assert_eq!(ended, 53);
    // Who comes now comes in, though all of them are still there.
    let (other, mut others) = place.session(vec![check("disk")]);
    place.attach(other.expose(), "boot-9").await.unwrap().finish(&mut others).await;
    honest.finish(&mut session).await;
    assert_eq!(place.log.count("too many are open"), 1);
    place.stop.cancel();
    place.wait_for_log("again: closed a connection: too many").await;
    drop(flood);
}

#[tokio::test]
async fn who_takes_too_long_is_ended() {
    let place = TestGateway::new(|settings| {
        settings.handshake = Duration::from_millis(300);
        settings.hello_timeout = Duration::from_millis(300);
    })
    .await;
    let (token, mut session) = place.session(vec![check("disk")]);
    let honest = place.attach(token.expose(), "boot-1").await.unwrap();
    let mut silent = TcpStream::connect(place.address).await.unwrap();
    assert!(is_ended(&mut silent).await);
    place.wait_for_log("no handshake in time").await;

    // TLS, and then nothing: no HTTP/2, no token.
    let mut roots = rustls::RootCertStore::empty();
    let pem = rustls::pki_types::pem::PemObject::from_pem_slice(place.pem.as_bytes()).unwrap();
    roots.add(pem).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = rustls::pki_types::ServerName::try_from("image-manager").unwrap();
    let stream = TcpStream::connect(place.address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, stream).await.unwrap();
    let mut said = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("it may stay for ever");

    // A token, and then no Hello.
    let (_say, said) = mpsc::channel::<AgentMessage>(1);
    let request = bearing(token.expose(), ReceiverStream::new(said));
    let late = AgentGatewayClient::new(place.channel().await).attach(request).await.unwrap_err();
    assert!(matches!(late.code(), Code::DeadlineExceeded | Code::Unknown | Code::Unavailable), "{late:?}");
    // Meanwhile the honest one has been there for longer than all of them may.
    honest.finish(&mut session).await;
}

#[tokio::test]
async fn an_agent_that_does_not_read_is_given_up() {
    let place = TestGateway::new(|settings| {
        settings.heartbeat_interval = Duration::from_millis(200);
        settings.heartbeat_timeout = Duration::from_secs(3);
    })
    .await;
    let (token, mut session) = place.session(vec![check("disk")]);
    let honest = place.attach(token.expose(), "boot-1").await.unwrap();
    admit(&mut session).await;
    // More than fits into all windows and queues on the way.
    let many = (0..400).map(|number| check(&format!("{number}{}", "x".repeat(60_000)))).collect();
    let (other, mut others) = place.session(many);
    let slow = place.attach(other.expose(), "boot-1").await.unwrap();
    admit(&mut others).await;
    let beat = async {
        loop {
            let _ = slow.say.send(message(agent_message::Kind::Heartbeat(v1::Heartbeat {}))).await;
            let _ = honest.say.send(message(agent_message::Kind::Heartbeat(v1::Heartbeat {}))).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let lost = async {
        loop {
            if let AgentEvent::Detached { why, .. } = next(&mut others).await {
                return why;
            }
        }
    };
    let why = tokio::select! {
        why = lost => why,
        () = beat => unreachable!(),
    };
    assert_eq!(why, "it does not read its stream");
    honest.work(&mut session).await;
}

/// A TLS handshake with the gateway, with these versions offered.
async fn shake(
    place: &TestGateway,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> std::io::Result<()> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::pem::PemObject::from_pem_slice(place.pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from("image-manager").unwrap();
    let stream = TcpStream::connect(place.address).await?;
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.map(drop)
}

#[tokio::test]
async fn only_tls_1_3_is_spoken() {
    let place = TestGateway::new(|_| {}).await;
    let error = shake(&place, &[&rustls::version::TLS12]).await.expect_err("TLS 1.2 came in");
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
    place.wait_for_log("no TLS").await;
    shake(&place, &[&rustls::version::TLS13]).await.unwrap();
}
