//! The service: who may attach, and the open door.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering;

use image_manager_proto::v1::agent_gateway_server::{AgentGateway, AgentGatewayServer};
use image_manager_proto::v1::{AgentMessage, Hello, ManagerMessage, agent_message};
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

use super::conversation::Conversation;
use super::{Attached, Certificate, Expectation, Gateway, MESSAGE_LIMIT, MESSAGES, TokenHash};

/// Messages to one agent that may wait on its stream.
const OUTGOING: usize = 64;
/// How long a TLS handshake may take.
const HANDSHAKE: std::time::Duration = std::time::Duration::from_secs(10);
/// Streams that one connection may open: an agent needs one.
const STREAMS: u32 = 4;

/// Serves the gateway on `listener` until `stop`, then ends all streams.
///
/// # Errors
/// When the certificate is not usable or the listener fails.
pub async fn serve(
    gateway: Gateway,
    listener: TcpListener,
    certificate: &Certificate,
    stop: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let identity = Identity::from_pem(&certificate.pem, certificate.key.expose_secret());
    let service = AgentGatewayServer::new(gateway.clone())
        .max_decoding_message_size(MESSAGE_LIMIT)
        .max_encoding_message_size(MESSAGE_LIMIT);
    let ended = stop.clone();
    let server = Server::builder()
        .tls_config(ServerTlsConfig::new().identity(identity).timeout(HANDSHAKE))?
        .max_concurrent_streams(STREAMS)
        .concurrency_limit_per_connection(STREAMS as usize)
        .http2_keepalive_interval(Some(gateway.inner.settings.heartbeat_timeout))
        .add_service(service)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), async move {
            ended.cancelled().await;
        });
    // A graceful shutdown waits for open streams; sessions end theirs when they are dropped, and what is
    // left then is nobody's.
    tokio::select! {
        result = server => result,
        () = async { stop.cancelled().await; tokio::time::sleep(std::time::Duration::from_secs(2)).await } => Ok(()),
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
}

#[tonic::async_trait]
impl AgentGateway for Gateway {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<ManagerMessage, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let peer = request.remote_addr();
        let token = self.authenticate(&request, peer)?;
        let mut incoming = request.into_inner();
        let hello = tokio::time::timeout(self.inner.settings.hello_timeout, first_hello(&mut incoming))
            .await
            .map_err(|_| Status::deadline_exceeded("no Hello came in time"))??;
        let place = self.take_place(token, &hello, peer)?;
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
                tracing::warn!(?peer, "refused an agent: no running build has handed out its token");
                Err(Status::unauthenticated("no running build has handed out this token"))
            }
            None => {
                self.inner.unknown_tokens.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(?peer, "refused an agent: it brought no bearer token");
                Err(Status::unauthenticated("bring the token as `authorization: Bearer <token>`"))
            }
        }
    }

    /// Takes the one place of a session. The same boot may take it over (its old connection is dead, or it
    /// would not dial again); another boot may not while one is attached.
    fn take_place(&self, token: TokenHash, hello: &Hello, peer: Option<SocketAddr>) -> Result<Place, Status> {
        let stream = self.inner.next_stream.fetch_add(1, Ordering::Relaxed);
        let end = CancellationToken::new();
        let mut slots = self.slots();
        let Some(slot) = slots.get_mut(&token) else {
            return Err(Status::unauthenticated("the build that handed out this token has ended"));
        };
        if let Some(attached) = &slot.attached {
            if attached.boot_id != hello.boot_id {
                slot.refused = slot.refused.saturating_add(1);
                tracing::warn!(?peer, build = slot.expectation.build_id, "refused a second agent");
                return Err(Status::already_exists("another boot's agent is attached with this token"));
            }
            attached.end.cancel();
        }
        slot.attached = Some(Attached { boot_id: hello.boot_id.clone(), stream, end: end.clone() });
        Ok(Place { stream, end, expectation: slot.expectation.clone(), events: slot.events.clone() })
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
