//! The agents' port: the gRPC service `AgentGateway` behind TLS, its tokens and its sessions.
//!
//! A build that boots a server opens a [`Session`] and hands the server its token. Whoever presents that
//! token talks to that session and to nothing else. The gateway keeps the protocol (order of messages,
//! heartbeats, bounds); what the messages mean for the build is for the reader of the session's events.
//! The gateway knows nothing of stages.
//!
//! A new message is a field of `agent.proto`, taken in its order by `conversation` here and by `session` in the
//! agent.

mod attach;
mod certificate;
mod claim;
mod conversation;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod listener;
mod pending_agent;
mod refusals;
#[cfg(test)]
mod tests;
mod token;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use image_manager_proto::v1;
use tokio::sync::{mpsc, oneshot, watch};

pub use attach::{ServeError, serve};
pub use certificate::{Certificate, CertificateError};
pub use claim::{Claimant, Conflict, Contest};
pub use token::{Token, TokenHash};

/// Events of one session that may wait for their reader. Each may be a report of the longest kind.
const EVENTS: usize = 8;
/// Longest message that an agent may send, in bytes: a report on 64 checks, each with all the observations that an
/// honest agent sends.
pub const MESSAGE_LIMIT: usize = 1 << 20;

/// Most messages of one session, heartbeats not counted. An honest agent sends some thirty, and repeats them
/// when it attaches anew.
const MESSAGES: u32 = 1000;

/// What the gateway may be told to do differently.
#[derive(Debug, Clone, Copy)]
pub struct GatewaySettings {
    /// How often both sides send a heartbeat.
    pub heartbeat_interval: Duration,
    /// Who is silent for this long is dead.
    pub heartbeat_timeout: Duration,
    /// How long a new stream may take to say Hello and to prove its key.
    pub hello_timeout: Duration,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// Most connections that are open at once. When there are more, those with nobody attached go.
    pub connections: usize,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_secs(5),
            // An emulated server that swaps or boots may stand still for a while.
            heartbeat_timeout: Duration::from_secs(30),
            hello_timeout: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            connections: 256,
        }
    }
}

/// What an agent did, in the order in which it did it.
#[derive(Debug)]
pub enum AgentEvent {
    /// It attached, or attached anew. It hears Welcome and the checks when `admit` is fired: the first time, after
    /// the commit of what binds the token to it.
    Attached {
        /// Its first message.
        hello: v1::Hello,
        /// What the token is bound to.
        claimant: Claimant,
        /// Number of its stream.
        stream: u64,
        /// To be fired when it may go on; dropped, its stream ends.
        admit: oneshot::Sender<()>,
    },
    /// Somebody else came with its token: nothing that was or will be heard can be trusted.
    Contested(Box<Contest>),
    /// A check has ended.
    Result(v1::CheckResult),
    /// Its last word. The agent hears ReportAccepted when `accept` is fired, after the commit.
    Report {
        /// The report; it has one result for each requested check.
        report: v1::Report,
        /// To be fired once the report is committed.
        accept: oneshot::Sender<()>,
    },
    /// All checks have ended but the one that has the server reboot. The agent hears RebootAllowed when `allow` is fired.
    Rebooting {
        /// To be fired when the server may go down; dropped, the stream ends.
        allow: oneshot::Sender<()>,
    },
    /// What became of its files.
    Removal(v1::RemovalReport),
    /// It is done.
    Goodbye,
    /// Its stream ended before Goodbye; it may come back.
    Detached {
        /// Why, for people.
        why: String,
        /// Number of the stream that ended. The agent may have attached by a newer one already.
        stream: u64,
    },
}

/// What a session asks of its agent.
#[derive(Debug, Clone)]
struct Expectation {
    build_id: String,
    checks: Vec<v1::CheckRequest>,
}

impl Expectation {
    /// Whether the agent may come from another boot than the first: it has been asked to have its server reboot.
    fn may_reboot(&self) -> bool {
        self.checks.iter().any(|check| check.kind == image_manager_agent::checks::REBOOT)
    }
}

struct Slot {
    expectation: Expectation,
    events: mpsc::Sender<AgentEvent>,
    /// The stream that is attached now, and the means to end it.
    attached: Option<Attached>,
    /// To whom the token is bound.
    claim: Option<Claimant>,
    /// Set once, when somebody else comes with it.
    contest: watch::Sender<Option<Contest>>,
    /// Messages of the agent other than heartbeats, over all of its streams.
    heard: u32,
}

struct Attached {
    stream: u64,
    end: tokio_util::sync::CancellationToken,
}

struct Inner {
    settings: GatewaySettings,
    slots: Mutex<HashMap<TokenHash, Slot>>,
    next_stream: std::sync::atomic::AtomicU64,
    unknown_tokens: std::sync::atomic::AtomicU64,
    /// Of the certificate with which it is served.
    fingerprint: OnceLock<String>,
    refusals: Arc<refusals::RefusalLog>,
}

/// All sessions; cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

/// A build's ear at the gateway. Dropping it makes its token worthless and ends the agent's stream.
pub struct Session {
    gateway: Gateway,
    token: TokenHash,
    events: mpsc::Receiver<AgentEvent>,
    /// Beside the events, whose queue may be full.
    contest: watch::Receiver<Option<Contest>>,
}

impl Gateway {
    /// A gateway without sessions. [`serve`] opens its port.
    pub fn new(settings: GatewaySettings) -> Self {
        Self {
            inner: Arc::new(Inner {
                settings,
                slots: Mutex::default(),
                next_stream: std::sync::atomic::AtomicU64::new(1),
                unknown_tokens: std::sync::atomic::AtomicU64::new(0),
                fingerprint: OnceLock::new(),
                refusals: Arc::default(),
            }),
        }
    }

    /// Opens a session: whoever is first to present the token with this hash is this build's agent and is asked for
    /// `checks`. `claim`: who was first already, at an earlier manager.
    pub fn open(
        &self,
        hash: TokenHash,
        build_id: &str,
        checks: Vec<v1::CheckRequest>,
        claim: Option<Claimant>,
    ) -> Session {
        let (sender, events) = mpsc::channel(EVENTS);
        let (contested, contest) = watch::channel(None);
        let expectation = Expectation { build_id: build_id.to_owned(), checks };
        let slot = Slot { expectation, events: sender, attached: None, claim, contest: contested, heard: 0 };
        self.slots().insert(hash, slot);
        Session { gateway: self.clone(), token: hash, events, contest }
    }

    /// How many attempts with a token that nobody handed out were refused since the start.
    pub fn unknown_tokens(&self) -> u64 {
        self.inner.unknown_tokens.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// How many agents are attached now.
    pub fn attached(&self) -> usize {
        self.slots().values().filter(|slot| slot.attached.is_some()).count()
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<TokenHash, Slot>> {
        // The map is whole even after a panic elsewhere: each change to it is a single step.
        self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// The next thing that the agent does. Never ends by itself: the caller has a deadline. Once the session is
    /// contested it says nothing else.
    pub async fn next(&mut self) -> Option<AgentEvent> {
        tokio::select! {
            biased;
            contest = contested(&mut self.contest) => Some(AgentEvent::Contested(Box::new(contest))),
            event = self.events.recv() => event,
        }
    }

    /// Says which server its agent runs on: a cloud gives it an id only when it has taken it. Counts for whoever is
    /// admitted from now on.
    pub fn tell_server(&self, id: &str, name: &str) {
        if let Some(slot) = self.gateway.slots().get_mut(&self.token) {
            for check in &mut slot.expectation.checks {
                let server = check.server.get_or_insert_default();
                id.clone_into(&mut server.id);
                name.clone_into(&mut server.name);
            }
        }
    }

    /// Who else has come with the token until now, if anybody has.
    pub fn contest(&self) -> Option<Contest> {
        self.contest.borrow().clone()
    }
}

/// Waits until the session is contested.
async fn contested(contest: &mut watch::Receiver<Option<Contest>>) -> Contest {
    loop {
        let now = contest.borrow_and_update().clone();
        if let Some(contest) = now {
            return contest;
        }
        if contest.changed().await.is_err() {
            // The session is over; its events say so.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(attached) = self.gateway.slots().remove(&self.token).and_then(|slot| slot.attached) {
            attached.end.cancel();
        }
    }
}
