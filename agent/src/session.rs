//! The session with the manager, over as many streams as it takes.
//!
//! ```text
//!              ┌─────────────────── pause <──────────────────┐
//!              v                                             │ lost, refused, unreachable
//!            dial ──> Hello ──> Proof ──> Welcome ──> conversation ──> closing ──> end
//!              │                                                     (RemovalReport, Goodbye)
//!              └── deadline: nobody waits for us any more ──> removal ──> end
//! ```
//!
//! What a stream cannot take with it when it breaks is kept here: the checks that run and the results
//! that they gave ([`requested`]), and the removal ([`closing`]). So a new stream goes on where the last one
//! broke, and no check runs twice.
//!
//! A refusal does not end the session: an agent that removed itself because somebody told it to go away
//! would make the image look healthy without a verdict. It is the manager who decides that an agent was
//! silent. Only when [`crate::Times::session`] is over, far beyond every deadline of a build, nobody can
//! wait any longer. The agent then removes itself and ends with code 0: a non-zero code would only have
//! systemd start it again, for ever, in what may be a server that somebody uses.

mod backoff;
mod closing;
mod conversation;
mod requested;

use std::collections::HashSet;
use std::sync::Arc;

use image_manager_proto::v1::agent_gateway_client::AgentGatewayClient;
use image_manager_proto::v1::agent_message::Kind;
use image_manager_proto::v1::{AgentMessage, Hello, ManagerMessage};
use secrecy::ExposeSecret as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use crate::checks::reboot::Kept;
use crate::identity::Identity;
use crate::tls::Pinned;
use crate::{Config, End, removal, text};

use backoff::Backoff;
use closing::Closing;
pub use requested::MOST_CHECKS;
use requested::RequestedChecks;

/// Largest message of the manager that is taken.
const LARGEST_MESSAGE: usize = 256 << 10;
/// So many messages may wait until the manager reads them. More: it does not read.
const OUTBOX: usize = 256;
/// So many different complaints are logged. More would be somebody's game.
const COMPLAINTS: usize = 32;

/// How a stream, or the attempt to have one, ended.
#[derive(Debug)]
enum Ended {
    /// Well, after the agent's last word.
    Well,
    /// It broke.
    Lost(String),
    /// The manager said no.
    Refused(Status),
    /// There was none.
    Unreachable(String),
    /// There was none, since this server has no network yet.
    Offline(String),
    /// The session's time is over.
    Deadline,
}

/// What a stream starts with.
struct Line {
    outbox: mpsc::Sender<AgentMessage>,
    inbox: Streaming<ManagerMessage>,
    /// Before its first message.
    began: Instant,
}

struct Session<'a> {
    config: &'a Config,
    identity: &'a Identity,
    checks: RequestedChecks,
    closing: Closing,
    deadline: Instant,
    boot_id: String,
    image_build_id: String,
}

/// Runs the session to its end.
pub(crate) async fn run(config: &Config, identity: &Identity, deadline: Instant) -> End {
    let mut session = Session {
        config,
        identity,
        checks: RequestedChecks::with(config.guest.clone(), Kept::of_build(&config.guest, &identity.build)),
        closing: Closing::new(config),
        deadline,
        boot_id: config.guest.boot_id(),
        // Now, because the removal takes it.
        image_build_id: config.guest.image_build_id(),
    };
    session.run().await
}

impl Session<'_> {
    async fn run(&mut self) -> End {
        let mut redial = Backoff::new(self.config.times.redial);
        let mut refused = Backoff::new(self.config.times.refused);
        let mut complaints = Complaints::default();
        loop {
            let began = Instant::now();
            let ended = self.stream().await;
            // Only a stream that lasted earns a quick redial again.
            if began.elapsed() > self.config.times.redial.1 {
                redial.reset();
            }
            let pause = match &ended {
                Ended::Well => return End::Reported,
                Ended::Refused(status) => {
                    complaints.say(&refusal(status));
                    if self.closing.is_due() && status.code() == Code::Unauthenticated {
                        // It has what it wanted and has forgotten the token.
                        return End::Reported;
                    }
                    refused.next()
                }
                Ended::Lost(why) => {
                    complaints.say(&format!("lost the manager: {why}"));
                    redial.next()
                }
                Ended::Unreachable(why) => {
                    complaints.say(&format!("cannot reach the manager at {}: {why}", self.identity.endpoint));
                    redial.next()
                }
                Ended::Offline(why) => {
                    complaints.say(&format!("cannot reach the manager at {}: {why}", self.identity.endpoint));
                    // The manager has lost nobody yet: when the network comes, it is dialled at once.
                    redial.reset();
                    self.config.times.offline
                }
                Ended::Deadline => redial.next(),
            };
            let deadline = self.closing.deadline().unwrap_or(self.deadline);
            if Instant::now() + pause >= deadline {
                return self.give_up().await;
            }
            sleep(pause).await;
        }
    }

    async fn give_up(&mut self) -> End {
        if self.closing.is_due() {
            tracing::warn!("the manager has the report, but cannot be told of the removal");
            self.closing.finish().await;
            return End::Reported;
        }
        tracing::error!("no manager took the report: removing the agent");
        removal::remove_and_log(&self.config.guest.root).await;
        End::NobodyWaits
    }

    /// One stream from its first to its last message.
    async fn stream(&mut self) -> Ended {
        match self.attach().await {
            Ok(line) => conversation::run(self, line).await,
            Err(ended) => ended,
        }
    }

    async fn attach(&self) -> Result<Line, Ended> {
        let patience = self.config.times.connect;
        let channel = self.dial().await?;
        let began = Instant::now();
        let (outbox, messages) = mpsc::channel(OUTBOX);
        let hello = AgentMessage { kind: Some(Kind::Hello(self.hello())) };
        outbox.try_send(hello).map_err(|error| Ended::Lost(error.to_string()))?;
        let mut request = Request::new(ReceiverStream::new(messages));
        request.metadata_mut().insert("authorization", self.authorization()?);
        let mut client = AgentGatewayClient::new(channel).max_decoding_message_size(LARGEST_MESSAGE);
        match timeout(patience, client.attach(request)).await {
            Ok(Ok(response)) => Ok(Line { outbox, inbox: response.into_inner(), began }),
            Ok(Err(status)) => Err(Ended::of(status)),
            Err(_) => Err(Ended::Unreachable(format!("no answer within {}", text::seconds(patience)))),
        }
    }

    async fn dial(&self) -> Result<Channel, Ended> {
        let unreachable = |error: tonic::transport::Error| {
            let causes = text::with_causes(&error);
            let why = causes.strip_prefix("transport error: ").unwrap_or(&causes).to_owned();
            if is_without_network(&error) { Ended::Offline(why) } else { Ended::Unreachable(why) }
        };
        let patience = self.config.times.connect;
        // The name is of no use to the manager; TLS wants one, and an IPv6 address would not do.
        let tls = ClientTlsConfig::new().domain_name("image-manager").timeout(patience);
        let endpoint = Endpoint::from_shared(format!("https://{}", self.identity.endpoint))
            .and_then(|endpoint| {
                endpoint.user_agent(concat!("image-manager-agent/", env!("CARGO_PKG_VERSION")))
            })
            .map_err(unreachable)?
            .connect_timeout(patience)
            .tls_config_with_verifier(tls, Arc::new(Pinned::new(self.identity.fingerprint)))
            .map_err(unreachable)?;
        match timeout(patience * 2, endpoint.connect()).await {
            Ok(connected) => connected.map_err(unreachable),
            Err(_) => Err(Ended::Unreachable(format!("no answer within {}", text::seconds(patience * 2)))),
        }
    }

    fn authorization(&self) -> Result<AsciiMetadataValue, Ended> {
        let bearer = format!("Bearer {}", self.identity.token.expose_secret());
        let mut value = AsciiMetadataValue::try_from(bearer)
            .map_err(|_| Ended::Unreachable("the token cannot be sent".to_owned()))?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn hello(&self) -> Hello {
        let guest = &self.config.guest;
        Hello {
            boot_id: self.boot_id.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            image_build_id: self.image_build_id.clone(),
            uptime: guest.uptime().try_into().ok(),
            kernel_release: guest.kernel_release(),
            operating_system: guest.operating_system(),
            public_key: self.identity.key.public(),
        }
    }
}

impl Ended {
    /// A stream that ended with a status.
    fn of(status: Status) -> Self {
        match status.code() {
            Code::Unauthenticated
            | Code::PermissionDenied
            | Code::AlreadyExists
            | Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::Unimplemented => Self::Refused(status),
            code => Self::Lost(text::one_line(&format!("{code:?}: {}", status.message()))),
        }
    }
}

/// Whether this server has no way to anybody: no address, or no route.
fn is_without_network(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::NetworkUnreachable)
}

fn refusal(status: &Status) -> String {
    let meaning = match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => {
            "it gave this server another token, or no build is waiting for this server any more"
        }
        Code::AlreadyExists => "another agent has connected with this server's token",
        Code::InvalidArgument | Code::FailedPrecondition => "agent and manager do not understand each other",
        _ => "no manager accepts agents at this address",
    };
    let said = text::one_line(status.message());
    format!("the manager refused: {:?} ({}); {meaning}", status.code(), text::or(&said, "no message"))
}

/// What went wrong, each once.
#[derive(Default)]
struct Complaints {
    said: HashSet<String>,
}

impl Complaints {
    fn say(&mut self, complaint: &str) {
        if self.said.len() < COMPLAINTS && self.said.insert(complaint.to_owned()) {
            tracing::warn!("{complaint}; trying again");
        }
    }
}
