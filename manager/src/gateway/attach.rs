//! The service: who may attach, and serving it.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use image_manager_proto::v1::agent_gateway_server::{AgentGateway, AgentGatewayServer};
use image_manager_proto::v1::{AgentMessage, CheckRequest, Hello, ManagerMessage, agent_message};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use super::claim::KEY;
use super::listener::{self, AttachedConnection, Bounds, OpenConnection};
use super::pending_agent::PendingAgent;
use super::refusals::Refused;
use super::{
    Attached, Certificate, Claimant, Conflict, Contest, Expectation, Gateway, MESSAGE_LIMIT, MESSAGES, Slot,
    TokenHash,
};

/// Messages to one agent that may wait on its stream.
const OUTGOING: usize = 64;
/// Streams that one connection may open: an agent needs one.
const STREAMS: u32 = 4;

/// Largest headers of a request: a token and little else.
const HEADERS: u32 = 16 * 1024;
/// Beyond the time for Hello, how long a connection may be open with nobody attached.
const IDLE: Duration = Duration::from_secs(5);

/// The gateway cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its certificate cannot be used.
    #[error("the gateway's certificate cannot be used: {0}")]
    Certificate(String),
    /// The service has failed.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
}

/// Serves the gateway on `listener` until `stop`, then ends all streams.
///
/// # Errors
/// When the certificate is not usable or the listener fails.
pub async fn serve(
    gateway: Gateway,
    listener: TcpListener,
    certificate: &Certificate,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let tls = certificate.acceptor().map_err(ServeError::Certificate)?;
    let _ = gateway.inner.fingerprint.set(certificate.fingerprint.clone());
    let settings = gateway.inner.settings;
    let bounds = Bounds {
        connections: settings.connections,
        handshake: settings.handshake,
        idle: settings.hello_timeout + IDLE.min(settings.hello_timeout),
    };
    let refusals = Arc::clone(&gateway.inner.refusals);
    let connections = listener::receive(listener, bounds, refusals, tls, stop.clone());
    let service = AgentGatewayServer::new(gateway)
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT);
    let ended = stop.clone();
    let server = Server::builder()
        .max_concurrent_streams(STREAMS)
        .concurrency_limit_per_connection(STREAMS as usize)
        .http2_max_header_list_size(HEADERS)
        .http2_keepalive_interval(Some(settings.heartbeat_timeout))
        .add_service(service)
        .serve_with_incoming_shutdown(ReceiverStream::new(connections), async move {
            ended.cancelled().await;
        });
    // A graceful shutdown waits for open streams; sessions end theirs when they are dropped, and what is
    // left then is nobody's.
    tokio::select! {
        result = server => Ok(result?),
        () = async { stop.cancelled().await; tokio::time::sleep(Duration::from_secs(2)).await } => Ok(()),
    }
}

/// The one slot of a session, as the stream that took it holds it.
pub(super) struct SessionSlot {
    /// Number of the stream.
    pub(super) stream: u64,
    /// Ends the stream from outside.
    pub(super) end: CancellationToken,
    /// What the build asks for.
    pub(super) expectation: Expectation,
    /// The build's ear.
    pub(super) events: mpsc::Sender<super::AgentEvent>,
    /// Lets its connection stay.
    #[expect(dead_code, reason = "it is held, not read")]
    pub(super) welcomed: Option<AttachedConnection>,
}

#[tonic::async_trait]
impl AgentGateway for Gateway {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<ManagerMessage, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let connection = request.extensions().get::<OpenConnection>().cloned();
        let peer = connection.as_ref().map(|connection| connection.peer);
        let token = self.authenticate(&request, peer)?;
        let deadline = Instant::now() + self.inner.settings.hello_timeout;
        let mut incoming = request.into_inner();
        let hello = timeout_at(deadline, first_hello(&mut incoming))
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("no Hello came in time")))
            .inspect_err(|status| self.inner.refusals.note(Refused::NoHello, peer, status.message()))?;
        let claimant = Claimant::of(&hello, peer);
        self.expect(token, &claimant, peer)?;
        let (outgoing, answers) = mpsc::channel(OUTGOING);
        let pending = PendingAgent { gateway: self.clone(), token, claimant, connection, outgoing, deadline };
        // What is asked of it now is asked on the stream of answers.
        tokio::spawn(pending.admit(hello, incoming));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

async fn first_hello(incoming: &mut Streaming<AgentMessage>) -> Result<Hello, Status> {
    match incoming.message().await?.and_then(|message| message.kind) {
        Some(agent_message::Kind::Hello(hello)) if hello.boot_id.is_empty() => {
            Err(Status::invalid_argument("Hello without a boot id"))
        }
        Some(agent_message::Kind::Hello(hello)) if ![0, KEY].contains(&hello.public_key.len()) => {
            Err(Status::invalid_argument("the key in Hello is not an Ed25519 key"))
        }
        Some(agent_message::Kind::Hello(hello)) => Ok(hello),
        _ => Err(Status::invalid_argument("the first message must be Hello")),
    }
}

impl Gateway {
    fn authenticate(
        &self,
        request: &Request<Streaming<AgentMessage>>,
        peer: Option<SocketAddr>,
    ) -> Result<TokenHash, Status> {
        let header = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let presented = header.and_then(|value| value.strip_prefix("Bearer ")).map(TokenHash::of);
        match presented {
            Some(hash) if self.slots().contains_key(&hash) => Ok(hash),
            Some(_) => {
                self.inner.unknown_tokens.fetch_add(1, Ordering::Relaxed);
                self.inner.refusals.note(Refused::UnknownToken, peer, "");
                Err(Status::unauthenticated("no running build has handed out this token"))
            }
            None => {
                self.inner.unknown_tokens.fetch_add(1, Ordering::Relaxed);
                self.inner.refusals.note(Refused::NoToken, peer, "");
                Err(Status::unauthenticated("send the token as `authorization: Bearer <token>`"))
            }
        }
    }

    /// Whether somebody may be the agent of a session, as far as its Hello says.
    fn expect(&self, token: TokenHash, claimant: &Claimant, peer: Option<SocketAddr>) -> Result<(), Status> {
        let mut slots = self.slots();
        let slot = slots.get_mut(&token).ok_or_else(over)?;
        self.compare(slot, claimant, peer)
    }

    /// Compares whoever comes with the one to whom the token is bound. Another one contests it, for good.
    fn compare(&self, slot: &mut Slot, claimant: &Claimant, peer: Option<SocketAddr>) -> Result<(), Status> {
        let may_reboot = slot.expectation.may_reboot();
        let conflict = slot.claim.as_ref().and_then(|first| first.conflict(claimant, may_reboot));
        let Some(conflict) = conflict else {
            return if slot.contest.borrow().is_none() { Ok(()) } else { Err(bound()) };
        };
        self.contest(slot, claimant, conflict, peer);
        Err(bound())
    }

    fn contest(&self, slot: &mut Slot, second: &Claimant, conflict: Conflict, peer: Option<SocketAddr>) {
        let build = format!("build {}", slot.expectation.build_id);
        self.inner.refusals.note(Refused::SecondAgent, peer, &build);
        let contest = Contest { first: slot.claim.clone(), second: second.clone(), conflict };
        slot.contest.send_if_modified(|before| {
            let is_first = before.is_none();
            *before = before.take().or(Some(contest));
            is_first
        });
    }

    /// Whether a signature proves the key of a Hello. A wrong one contests the token: an honest agent has its key.
    pub(super) fn check_proof(
        &self,
        token: TokenHash,
        claimant: &Claimant,
        (nonce, signature): (&[u8], &[u8]),
        peer: Option<SocketAddr>,
    ) -> Result<(), Status> {
        let fingerprint = self.inner.fingerprint.get().map(String::as_str).unwrap_or_default();
        let mut slots = self.slots();
        let slot = slots.get_mut(&token).ok_or_else(over)?;
        if claimant.proves(signature, nonce, fingerprint, &slot.expectation.build_id) {
            return Ok(());
        }
        self.contest(slot, claimant, Conflict::WrongProof, peer);
        Err(Status::permission_denied("the proof is wrong"))
    }

    /// Takes the one slot of a session, binding its token to the first who does. That one may take it over from its
    /// own earlier stream (whose connection is dead, or it would not dial again).
    pub(super) fn take_slot(
        &self,
        token: TokenHash,
        claimant: &Claimant,
        peer: Option<SocketAddr>,
    ) -> Result<SessionSlot, Status> {
        let stream = self.inner.next_stream.fetch_add(1, Ordering::Relaxed);
        let end = CancellationToken::new();
        let mut slots = self.slots();
        let slot = slots.get_mut(&token).ok_or_else(over)?;
        // Once more: another may have come while this one proved its key.
        self.compare(slot, claimant, peer)?;
        slot.claim.get_or_insert_with(|| claimant.clone());
        if let Some(before) = slot.attached.replace(Attached { stream, end: end.clone() }) {
            before.end.cancel();
        }
        Ok(SessionSlot {
            stream,
            end,
            expectation: slot.expectation.clone(),
            events: slot.events.clone(),
            welcomed: None,
        })
    }

    /// What is asked of a session's agent, as it is known now. `None`: the session is over.
    pub(super) fn asked(&self, token: TokenHash) -> Option<Vec<CheckRequest>> {
        self.slots().get(&token).map(|slot| slot.expectation.checks.clone())
    }

    /// Counts a message of a session's agent. False when it has said more than it may.
    pub(super) fn count(&self, token: TokenHash) -> bool {
        self.slots().get_mut(&token).is_some_and(|slot| {
            slot.heard = slot.heard.saturating_add(1);
            slot.heard <= MESSAGES
        })
    }

    /// Gives the slot of a stream back, unless another one has taken it over. True when it was given back.
    pub(super) fn leave_slot(&self, token: TokenHash, stream: u64) -> bool {
        let mut slots = self.slots();
        match slots.get_mut(&token) {
            Some(slot) if slot.attached.as_ref().is_some_and(|attached| attached.stream == stream) => {
                slot.attached = None;
                true
            }
            _ => false,
        }
    }
}

fn over() -> Status {
    Status::unauthenticated("the build that handed out this token has ended")
}

fn bound() -> Status {
    Status::already_exists("this token is bound to another agent")
}
