//! The agent of Image Manager: it is baked into an image under test, finds out whom it works for, dials
//! that manager, runs the checks that the manager requests, reports, and removes itself.
//!
//! ```text
//!  identity ── none, or another manager's ─────────┐
//!     │                                            v
//!     └── some ──> session (checks) ── accepted ──> removal ──> exit 0
//! ```
//!
//! The agent reaches its end only over `removal`; anything else ends with a non-zero code, and systemd
//! starts it again. The release profile aborts on panics, so nothing in here may panic.

pub mod arguments;
pub mod checks;
mod console;
#[cfg(fuzzing)]
pub mod fuzzing;
mod guest;
mod http;
mod identity;
pub mod log_fields;
mod removal;
mod resolver;
mod session;
mod text;
mod tls;
pub mod visible;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

pub use guest::{Guest, started};
pub use identity::{AgentKey, Identity, IdentityError};
pub use removal::{PATHS, remove};
pub use session::MOST_CHECKS;

/// Everything that the agent's behaviour depends on and that a test may want to be different.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the guest's files are: `/`, or a directory that plays guest.
    pub guest: Guest,
    /// Instance metadata to read instead of looking for the config drive and the metadata service.
    pub meta_data: Option<PathBuf>,
    /// The metadata service.
    pub metadata_service: SocketAddr,
    /// How long what may take.
    pub times: Times,
}

/// How long what may take.
#[derive(Debug, Clone)]
pub struct Times {
    /// Longest search for an identity. Nobody's server is so slow, and nobody wants the agent longer.
    pub identity: Duration,
    /// First and longest pause between two looks for an identity.
    pub identity_retry: (Duration, Duration),
    /// So long the config drive's device may take to appear. Before that, a metadata service that knows
    /// nothing of us is not believed: a CD's driver can be seconds late, and a service that answers may be
    /// the one of the host on which the server runs.
    pub drive_grace: Duration,
    /// For dialling, and again for the manager's first word.
    pub connect: Duration,
    /// First and longest pause between two dials.
    pub redial: (Duration, Duration),
    /// Pause between two dials while this server has no network at all: such a dial asks nobody.
    pub offline: Duration,
    /// First and longest pause between two dials after the manager refused.
    pub refused: (Duration, Duration),
    /// For the whole session. After this nobody waits for the agent any more.
    pub session: Duration,
    /// For the manager to end the stream after the last word.
    pub closing: Duration,
    /// For delivering the removal report when the connection broke after the removal.
    pub removal_report: Duration,
}

/// [`Times::session`] of the agent in an image. The manager takes no schedule that waits longer for it.
pub const LONGEST_SESSION: Duration = Duration::from_hours(2);

impl Default for Times {
    fn default() -> Self {
        Self {
            identity: Duration::from_mins(5),
            identity_retry: (Duration::from_millis(250), Duration::from_secs(3)),
            drive_grace: Duration::from_secs(20),
            connect: Duration::from_secs(5),
            redial: (Duration::from_millis(250), Duration::from_secs(5)),
            offline: Duration::from_millis(300),
            refused: (Duration::from_secs(2), Duration::from_secs(30)),
            session: LONGEST_SESSION,
            closing: Duration::from_secs(5),
            removal_report: Duration::from_mins(1),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            guest: Guest::default(),
            meta_data: None,
            metadata_service: SocketAddr::from((Ipv4Addr::new(169, 254, 169, 254), 80)),
            times: Times::default(),
        }
    }
}

/// How the agent's life ended. Whatever it is, the agent has removed itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// This server is not under test.
    NoIdentity,
    /// It is under test by another manager, or for another build, than the one that made the image.
    NotOurs,
    /// The manager has the report, and the stream ended well or could not be had any more.
    Reported,
    /// No manager took the report within [`Times::session`].
    NobodyWaits,
}

/// The agent's whole life.
///
/// An error means that the agent is still installed and should be started again.
pub async fn run(config: &Config) -> Result<End, IdentityError> {
    tracing::info!(
        "agent {}, image build {}",
        env!("CARGO_PKG_VERSION"),
        text::or(&config.guest.image_build_id(), "unknown")
    );
    let started = Instant::now();
    let Some(identity) = identity::find(config).await? else {
        tracing::info!("this server is not under test: removing the agent");
        removal::remove_and_log(&config.guest.root).await;
        return Ok(End::NoIdentity);
    };
    if let Some(whose) = identity.foreign(&config.guest) {
        tracing::warn!("the instance metadata names {whose}: removing the agent");
        removal::remove_and_log(&config.guest.root).await;
        return Ok(End::NotOurs);
    }
    tracing::info!("build {} of manager {} at {}", identity.build, identity.owner, identity.endpoint);
    Ok(session::run(config, &identity, started + config.times.session).await)
}
