//! The service: who may attach, and the open door.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use image_manager_proto::v1::agent_gateway_server::{AgentGateway, AgentGatewayServer};
use image_manager_proto::v1::{AgentMessage, Hello, ManagerMessage, agent_message};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

use super::conversation::Conversation;
use super::door::{Bounds, Door, Visitor, Welcomed};
use super::refusals::Refused;
use super::{Attached, Certificate, Expectation, Gateway, MESSAGE_LIMIT, MESSAGES, TokenHash};

/// Messages to one agent that may wait on its stream.
const OUTGOING: usize = 64;
/// Streams that one connection may open: an agent needs one.
const STREAMS: u32 = 4;

/// Largest headers of a request: a token and little else.
const HEADERS: u32 = 16 * 1024;
/// Beyond the time for Hello, how long a connection may be open with nobody attached.
const IDLE: Duration = Duration::from_secs(5);

/// The door cannot be opened.
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
    let settings = gateway.inner.settings;
    let bounds = Bounds {
        connections: settings.connections,
        handshake: settings.handshake,
        idle: settings.hello_timeout + IDLE.min(settings.hello_timeout),
    };
    let connections =
        Door::new(bounds, Arc::clone(&gateway.inner.refusals)).receive(listener, tls, stop.clone());
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

/// The one place of a session, as the stream that took it holds it.
pub(super) struct Place {
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
    welcomed: Option<Welcomed>,
}

#[tonic::async_trait]
impl AgentGateway for Gateway {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<ManagerMessage, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let visitor = request.extensions().get::<Visitor>().cloned();
        let peer = visitor.as_ref().map(|visitor| visitor.peer);
        let token = self.authenticate(&request, peer)?;
        let mut incoming = request.into_inner();
        let hello = tokio::time::timeout(self.inner.settings.hello_timeout, first_hello(&mut incoming))
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("no Hello came in time")))
            .inspect_err(|status| self.inner.refusals.note(Refused::NoHello, peer, status.message()))?;
        let welcomed = visitor.map(|visitor| visitor.welcome());
        let place = Place { welcomed, ..self.take_place(token, &hello, peer)? };
        let (outgoing, answers) = mpsc::channel(OUTGOING);
        let conversation = Conversation { gateway: self.clone(), token, place, outgoing };
        tokio::spawn(conversation.run(hello, peer, incoming));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

async fn first_hello(incoming: &mut Streaming<AgentMessage>) -> Result<Hello, Status> {
    match incoming.message().await?.and_then(|message| message.kind) {
        Some(agent_message::Kind::Hello(hello)) if !hello.boot_id.is_empty() => Ok(hello),
        Some(agent_message::Kind::Hello(_)) => Err(Status::invalid_argument("Hello without a boot id")),
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
                Err(Status::unauthenticated("bring the token as `authorization: Bearer <token>`"))
            }
        }
    }

    /// Takes the one place of a session. The same boot may take it over (its old connection is dead, or it
    /// would not dial again); another boot may not while one is attached.
    pub(super) fn take_place(
        &self,
        token: TokenHash,
        hello: &Hello,
        peer: Option<SocketAddr>,
    ) -> Result<Place, Status> {
        let stream = self.inner.next_stream.fetch_add(1, Ordering::Relaxed);
        let end = CancellationToken::new();
        let mut slots = self.slots();
        let Some(slot) = slots.get_mut(&token) else {
            return Err(Status::unauthenticated("the build that handed out this token has ended"));
        };
        if let Some(attached) = &slot.attached {
            if attached.boot_id != hello.boot_id {
                slot.refused = slot.refused.saturating_add(1);
                let build = format!("build {}", slot.expectation.build_id);
                self.inner.refusals.note(Refused::SecondAgent, peer, &build);
                return Err(Status::already_exists("another boot's agent is attached with this token"));
            }
            attached.end.cancel();
        }
        slot.attached = Some(Attached { boot_id: hello.boot_id.clone(), stream, end: end.clone() });
        Ok(Place {
            stream,
            end,
            expectation: slot.expectation.clone(),
            events: slot.events.clone(),
            welcomed: None,
        })
    }

    /// Counts a message of a session's agent. False when it has said more than it may.
    pub(super) fn count(&self, token: TokenHash) -> bool {
        self.slots().get_mut(&token).is_some_and(|slot| {
            slot.heard = slot.heard.saturating_add(1);
            slot.heard <= MESSAGES
        })
    }

    /// Gives the place of a stream back, unless another one has taken it over. True when it was given back.
    pub(super) fn leave_place(&self, token: TokenHash, stream: u64) -> bool {
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
