//! Who am I, and whom do I call: the instance metadata that the manager gave to the server.
//!
//! ```text
//!  cache of this boot ──> config drive ──> metadata service ──> nobody
//!                              ^                  │ no answer
//!                              └───── pause ──────┘
//! ```
//!
//! cloud-init is never asked, because it is one of the things under test. A config drive that carries
//! metadata decides, with or without our keys: OpenStack puts the same into both places. The device may
//! appear late and the network later, so both are tried in turn until one answers. When neither has done
//! so after [`crate::Times::identity`], this is not a server under test: an image that was published with
//! the agent still in it must not keep it for ever.
//!
//! Whoever gives a server its metadata may be anybody: a neighbour that answers for the metadata service, or a user of
//! an image that got out with the agent in it. The agent obeys the manager that made its image and no other, so the
//! build's id and the certificate's fingerprint are in the image, and metadata must name the same.

mod drive;
mod key;
mod service;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use crate::checks::reboot::Kept;
use crate::guest::Guest;
use crate::{Config, text};

pub use key::AgentKey;

const META_DATA: &str = "openstack/latest/meta_data.json";
const USER_DATA: &str = "openstack/latest/user_data";

const ENDPOINT: &str = "image_manager_endpoint";
const TOKEN: &str = "image_manager_token";
const FINGERPRINT: &str = "image_manager_fingerprint";
const BUILD: &str = "image_manager_build";
const OWNER: &str = "image_manager_owner";
const KEYS: [&str; 5] = [ENDPOINT, TOKEN, FINGERPRINT, BUILD, OWNER];

/// In the cache only: the agent's key, and the boot that all of it is good for.
const KEY: &str = "agent_key";
const BOOT_ID: &str = "boot_id";
const CACHE: &str = "/run/image-manager/identity.json";

/// Longest value of a key, in bytes.
const LONGEST_VALUE: usize = 1024;
/// So often in a row the metadata service must say that it has nothing. Neutron's proxy says so, too,
/// while it does not know the port of a server that has only just started.
const DENIALS: u32 = 3;

/// What the manager gave to this server.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Where the manager's gateway listens.
    pub endpoint: SocketAddr,
    /// Proves that this is the server that the manager started.
    pub token: SecretString,
    /// SHA-256 of the manager's certificate.
    pub fingerprint: [u8; 32],
    /// The build under test.
    pub build: String,
    /// The manager's installation id.
    pub owner: String,
    /// What this agent proves itself with; not from the metadata.
    pub key: Arc<AgentKey>,
}

impl Identity {
    /// Why this is not of the manager and the build that made the image. `None`: it is.
    pub(crate) fn foreign(&self, guest: &Guest) -> Option<&'static str> {
        if bytes_of(&guest.manager_fingerprint()) != Some(self.fingerprint) {
            return Some("another manager than the one that made this image");
        }
        (guest.image_build_id() != self.build).then_some("another build than the one that made this image")
    }
}

/// There is metadata for the agent, and it cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The file named on the command line cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not what Nova writes.
    #[error("the instance metadata from {origin} is not a JSON object")]
    NotJson {
        /// Where the metadata is from.
        origin: String,
    },
    /// Some of our keys are there and this one is not.
    #[error("the instance metadata from {origin} has no {key}, but has others of the manager's keys")]
    Missing {
        /// Where the metadata is from.
        origin: String,
        /// The key.
        key: &'static str,
    },
    /// A key has a value that cannot be used. The value is not shown: it may be a secret.
    #[error("{key} in the instance metadata from {origin} is not {expected}")]
    Malformed {
        /// Where the metadata is from.
        origin: String,
        /// The key.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The kernel gives no random bytes for the agent's key.
    #[error("the system gives no random bytes for the agent's key")]
    NoRandomness,
}

/// What a source of metadata says.
#[derive(Debug)]
enum Answer {
    /// Metadata, in Nova's format.
    MetaData(String),
    /// The source is there and has no metadata for this server.
    Denied(String),
    /// No such source, or it does not work (yet).
    None(String),
}

impl Answer {
    fn text(self) -> String {
        if let Self::MetaData(text) = self { text } else { String::new() }
    }

    fn reason(&self) -> &str {
        match self {
            Self::MetaData(_) => "",
            Self::Denied(why) | Self::None(why) => why,
        }
    }
}

/// What a server was told about itself. Holds the agent's token.
pub(crate) struct ServerIdentity {
    /// By whom: "the config drive", for people.
    pub(crate) origin: &'static str,
    /// In Nova's format.
    pub(crate) meta_data: String,
    /// Empty: none.
    pub(crate) user_data: String,
}

/// Asks again what this server was told, the drive before the service. The error is for people.
pub(crate) async fn told(guest: &Guest, service: SocketAddr) -> Result<ServerIdentity, String> {
    let drive = drive::look(guest, META_DATA).await;
    if let Answer::MetaData(meta_data) = drive {
        let user_data = drive::look(guest, USER_DATA).await.text();
        return Ok(ServerIdentity { origin: "the config drive", meta_data, user_data });
    }
    match service::ask(service, META_DATA).await {
        Answer::MetaData(meta_data) => {
            let user_data = service::ask(service, USER_DATA).await.text();
            Ok(ServerIdentity { origin: "the metadata service", meta_data, user_data })
        }
        Answer::Denied(why) | Answer::None(why) => {
            Err(format!("config drive: {}; metadata service: {why}", drive.reason()))
        }
    }
}

/// Finds the identity. `None`: this server is not under test.
pub(crate) async fn find(config: &Config) -> Result<Option<Identity>, IdentityError> {
    if let Some(path) = &config.meta_data {
        let text = fs::read_to_string(path)
            .map_err(|source| IdentityError::Unreadable { path: path.clone(), source })?;
        return parse(&text, &path.display().to_string());
    }
    if let Some(identity) = cached(&config.guest) {
        tracing::info!("started again in the same boot");
        return Ok(Some(identity));
    }
    let mut found = search(config).await?;
    if let Some(identity) = &mut found
        && let Some(key) = key_of_an_earlier_boot(&config.guest, &identity.build)
    {
        tracing::info!("started again after a reboot");
        identity.key = Arc::new(key);
    }
    if let Some(identity) = &found
        && let Err(error) = keep(&config.guest, identity)
    {
        tracing::warn!("cannot store the identity for a restart: {error}");
    }
    Ok(found)
}

/// The key that the manager knows, when the check `reboot` had the server start again.
fn key_of_an_earlier_boot(guest: &Guest, build: &str) -> Option<AgentKey> {
    let kept = Kept::of_build(guest, build)?;
    AgentKey::from_seed(&kept.key)
}

async fn search(config: &Config) -> Result<Option<Identity>, IdentityError> {
    let times = &config.times;
    let started = Instant::now();
    let (mut pause, longest) = times.identity_retry;
    let mut denials = 0;
    let mut said = String::new();
    loop {
        let drive = drive::look(&config.guest, META_DATA).await;
        if let Answer::MetaData(text) = &drive {
            return parse(text, "the config drive");
        }
        let service = service::ask(config.metadata_service, META_DATA).await;
        let waited = started.elapsed();
        denials = if matches!(service, Answer::None(_)) { 0 } else { denials + 1 };
        match &service {
            Answer::MetaData(text) if waited >= times.drive_grace || mentions_us(text) => {
                return parse(text, "the metadata service");
            }
            Answer::Denied(reason) if waited >= times.drive_grace && denials >= DENIALS => {
                tracing::info!("no config drive; metadata service: {reason}");
                return Ok(None);
            }
            _ => {}
        }
        if waited >= times.identity {
            tracing::info!("no config drive and no metadata service for {}", text::seconds(waited));
            return Ok(None);
        }
        let now = describe(&drive, &service);
        if now != said {
            tracing::info!("looking for instance metadata: {now}");
            said = now;
        }
        sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

fn describe(drive: &Answer, service: &Answer) -> String {
    let words = |answer: &Answer| match answer {
        Answer::MetaData(_) => "answers".to_owned(),
        Answer::Denied(reason) | Answer::None(reason) => reason.clone(),
    };
    format!("config drive: {}; metadata service: {}", words(drive), words(service))
}

fn mentions_us(text: &str) -> bool {
    KEYS.iter().any(|key| text.contains(key))
}

/// Reads Nova's `meta_data.json`. `None`: none of our keys is in it.
pub(crate) fn parse(text: &str, origin: &str) -> Result<Option<Identity>, IdentityError> {
    let not_json = || IdentityError::NotJson { origin: origin.to_owned() };
    let whole: Value = serde_json::from_str(text).map_err(|_| not_json())?;
    let whole = whole.as_object().ok_or_else(not_json)?;
    let Some(meta) = whole.get("meta").and_then(Value::as_object) else { return Ok(None) };
    if !KEYS.iter().any(|key| meta.contains_key(*key)) {
        return Ok(None);
    }
    let key = AgentKey::generate().ok_or(IdentityError::NoRandomness)?;
    from_keys(meta, origin, key).map(Some)
}

fn from_keys(meta: &Map<String, Value>, origin: &str, key: AgentKey) -> Result<Identity, IdentityError> {
    let value = |key: &'static str| {
        let value = meta.get(key).ok_or_else(|| IdentityError::Missing { origin: origin.to_owned(), key })?;
        let value = value.as_str().map(str::trim).unwrap_or_default();
        let usable = !value.is_empty()
            && value.len() <= LONGEST_VALUE
            && value.chars().all(|c| c.is_ascii() && !c.is_ascii_control());
        usable.then_some(value).ok_or_else(|| malformed(origin, key, "short ASCII text"))
    };
    // All first, so that the error names a missing key rather than a malformed one.
    let (endpoint, token, fingerprint) = (value(ENDPOINT)?, value(TOKEN)?, value(FINGERPRINT)?);
    let (build, owner) = (value(BUILD)?.to_owned(), value(OWNER)?.to_owned());
    Ok(Identity {
        endpoint: endpoint.parse().map_err(|_| malformed(origin, ENDPOINT, "an address as ip:port"))?,
        token: SecretString::from(token),
        fingerprint: bytes_of(fingerprint)
            .ok_or_else(|| malformed(origin, FINGERPRINT, "a SHA-256 in hexadecimal digits"))?,
        build,
        owner,
        key: Arc::new(key),
    })
}

fn malformed(origin: &str, key: &'static str, expected: &'static str) -> IdentityError {
    IdentityError::Malformed { origin: origin.to_owned(), key, expected }
}

/// 64 hexadecimal digits in either case, with or without colons between the bytes.
fn bytes_of(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| *c != ':')
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| high << 4 | low).collect::<Vec<u8>>().try_into().ok()
}

/// The identity that an agent of this boot found. Anything wrong with it: there is none.
fn cached(guest: &Guest) -> Option<Identity> {
    let kept: Value = serde_json::from_str(&guest.read(CACHE).ok()?).ok()?;
    let kept = kept.as_object()?;
    let boot_id = kept.get(BOOT_ID)?.as_str()?;
    if boot_id.is_empty() || boot_id != guest.boot_id() {
        return None;
    }
    let key = AgentKey::from_seed(kept.get(KEY)?.as_str()?)?;
    from_keys(kept, CACHE, key).ok()
}

/// Keeps the identity for an agent that is started again in this boot. It holds the token and the key: only
/// root may read it, and `/run` does not outlive the boot.
fn keep(guest: &Guest, identity: &Identity) -> std::io::Result<()> {
    let text = json!({
        ENDPOINT: identity.endpoint.to_string(),
        TOKEN: identity.token.expose_secret(),
        FINGERPRINT: image_manager_proto::hex(&identity.fingerprint),
        BUILD: identity.build,
        OWNER: identity.owner,
        KEY: identity.key.seed(),
        BOOT_ID: guest.boot_id(),
    });
    guest.write_private(CACHE, text.to_string().as_bytes())
}

#[cfg(test)]
mod tests;
