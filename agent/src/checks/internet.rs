//! Check `internet`: targets outside answer.
//!
//! A target that answers at all has been reached: a mirror that says 404 or redirects, too. Only a server's own
//! failure (5xx) does not count, because it is what proxies and portals say, too; 501 does, the answer of one that has
//! no HEAD. More than a HEAD is asked of nobody, and no redirect is followed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use image_manager_proto::v1::CheckOutcome;
use prost_types::Struct;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::descriptor::{BadSettings, Check, Examination, Key, Observer, Rule, Set, ValueType};
use super::mirrors::{Mirror, Via};
use super::{DEFAULT_TIMEOUT, Judgement, Mirrors, observations, pause};
use crate::guest::Guest;
use crate::{http, resolver, text, tls};

mod address;
mod proxy;
mod target;
use address::Denied;
pub use address::{is_local, is_localhost};
pub use target::{Scheme, Target};

/// Most targets of one check.
const MOST_TARGETS: usize = 16;
/// Most addresses of one target that are tried.
const MOST_ADDRESSES: usize = 4;
/// For one try, the name included.
const PATIENCE: Duration = Duration::from_secs(20);
/// For one address of several, so that a dead one leaves time for the next.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(6);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// In the observations: the targets that did not answer.
const UNREACHED: &str = "unreached";

/// The check.
pub static CHECK: Check = Check {
    kind: "internet",
    proves: "targets outside answer, and `https` is verified with the image's own certificate authorities",
    details: "Any answer proves that a target can be reached, except 5xx other than 501, which may come from a proxy. \
              Targets are asked with `HEAD` only. Loopback and link-local addresses are asked only if the schedule \
              names them.",
    set: Set::Minimal,
    observer: Observer::Agent,
    timeout: DEFAULT_TIMEOUT,
    cost: "a request to each target",
    repeatable: true,
    keys: &[Key {
        name: "targets",
        value: ValueType::Texts(&TARGET),
        default: "the package mirrors",
        help: "`http://`, `https://` or `tcp://host:port`, as in [\"https://example.org/\"]",
    }],
    examine: Some(|asked| Box::pin(examine(asked))),
};

/// A target that can be named.
pub static TARGET: Rule = Rule {
    what: "a target",
    help: "`http://host/...`, `https://host/...` or `tcp://host:port`, without user and password",
    holds: target::is_target,
};

/// Its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `http://...`, `https://...` or `tcp://host:port`. Empty: the package mirrors that the guest's own configuration
    /// of apt, dnf, yum or zypper names.
    pub targets: Vec<String>,
}

async fn examine(asked: Examination) -> Result<Judgement, BadSettings> {
    let settings = asked.settings()?;
    Ok(judge(&settings, &observe(&settings, &asked.guest, asked.deadline).await))
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// The last answer of each target.
    pub targets: Vec<TargetSeen>,
    /// How long all of it took.
    pub waited: Duration,
    /// Why there was no target.
    pub nothing: String,
}

/// What was seen of one target.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TargetSeen {
    /// The target as text, without a password.
    pub target: String,
    /// The address that was talked to last; or the one that was not asked.
    pub address: Option<SocketAddr>,
    /// The HTTP status, when there was one.
    pub status: Option<u16>,
    /// How long the last try took.
    pub took: Duration,
    /// Why it did not answer. Empty: it did.
    pub error: String,
    /// How many times it was tried.
    pub tries: u32,
    /// It was not asked, because it is of the server itself or of its link, and the schedule does not name it; or
    /// because the check does not know the way there.
    pub not_asked: bool,
}

impl TargetSeen {
    /// Whether it answered, and not with a failure of its own.
    pub fn is_reached(&self) -> bool {
        self.error.is_empty() && self.status.is_none_or(|status| status < 500 || status == 501)
    }
}

/// The same check for the targets that did not answer, to repeat it from another host.
/// `None`: there is none.
pub fn repetition(observations: &Struct) -> Option<Settings> {
    let targets = observations::texts(observations, UNREACHED);
    (!targets.is_empty()).then_some(Settings { targets })
}

/// What all tries share.
struct Means {
    getent: Option<PathBuf>,
    tls: Result<Arc<ClientConfig>, String>,
    /// The targets are the schedule's own, and not the image's choice.
    named: bool,
}

/// Goes to the targets until all answer or the time is up.
pub async fn observe(settings: &Settings, guest: &Guest, deadline: Instant) -> Observation {
    let started = Instant::now();
    let named = !settings.targets.is_empty();
    let (targets, nothing) = if named {
        let alone = |target: &String| Mirror { addresses: vec![target.clone()], via: Via::Direct };
        (settings.targets.iter().map(alone).collect(), String::new())
    } else {
        let mirrors = Mirrors::settled(guest, deadline).await;
        let nothing = mirrors.nothing("checks.internet.targets");
        (mirrors.all, nothing)
    };
    let means = Arc::new(Means { getent: resolver::find(guest), tls: trust(), named });
    let mut tasks = JoinSet::new();
    for (index, target) in targets.into_iter().take(MOST_TARGETS).enumerate() {
        let means = Arc::clone(&means);
        tasks.spawn(async move { (index, reach_any(&means, target, deadline).await) });
    }
    let mut all = tasks.join_all().await;
    all.sort_by_key(|(index, _)| *index);
    let targets = all.into_iter().flat_map(|(_, seen)| seen).collect();
    Observation { targets, waited: started.elapsed(), nothing }
}

/// Goes to alternatives side by side until one answers: then that one is told of, else all are.
async fn reach_any(means: &Arc<Means>, mirror: Mirror, deadline: Instant) -> Vec<TargetSeen> {
    let mut tasks = JoinSet::new();
    for (index, address) in mirror.addresses.into_iter().take(MOST_TARGETS).enumerate() {
        let (means, via) = (Arc::clone(means), mirror.via.clone());
        tasks.spawn(async move { (index, reach(&means, &address, &via, deadline).await) });
    }
    let mut missed = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        match ended {
            // The others end with the set.
            Ok((_, seen)) if seen.is_reached() => return vec![seen],
            Ok(missing) => missed.push(missing),
            Err(error) => tracing::warn!("asking a target failed: {error}"),
        }
    }
    missed.sort_by_key(|(index, _)| *index);
    missed.into_iter().map(|(_, seen)| seen).collect()
}

fn trust() -> Result<Arc<ClientConfig>, String> {
    match tls::of_the_guest() {
        Ok((_, 0)) => Err("no certificate authorities are installed".to_owned()),
        Ok((config, _)) => Ok(config),
        Err(error) => Err(text::with_causes(&error)),
    }
}

async fn reach(means: &Means, target: &str, via: &Via, deadline: Instant) -> TargetSeen {
    let target = match Target::parse(target) {
        Ok(target) => target,
        Err(error) => {
            return TargetSeen { target: text::one_line(target), error, ..TargetSeen::default() };
        }
    };
    if let Via::Unknown(way) = via {
        let error = format!("it is reached through {way}, which this check does not support");
        return TargetSeen { target: target.to_string(), error, not_asked: true, ..TargetSeen::default() };
    }
    let mut wait = FIRST_PAUSE;
    let mut tries = 0;
    loop {
        tries += 1;
        let started = Instant::now();
        let patience = PATIENCE.min(deadline.saturating_duration_since(started));
        let mut seen = TargetSeen { target: target.to_string(), tries, ..TargetSeen::default() };
        match timeout(patience, try_once(means, &target, via, &mut seen)).await {
            Ok(Ok(())) => seen.error.clear(),
            Ok(Err(Denied::Failed(why))) => seen.error = why,
            Ok(Err(Denied::Local { first, why: error })) => {
                // It stays so: nothing more is tried.
                let address = Some(SocketAddr::new(first, target.port));
                let not_asked = !means.named;
                return TargetSeen { address, error, not_asked, took: started.elapsed(), ..seen };
            }
            Err(_) if seen.error.is_empty() => {
                seen.error = format!("no answer within {}", text::seconds(patience));
            }
            Err(_) => {}
        }
        seen.took = started.elapsed();
        if seen.is_reached() || !pause(&mut wait, LONGEST_PAUSE, deadline).await {
            return seen;
        }
    }
}

async fn try_once(means: &Means, target: &Target, via: &Via, seen: &mut TargetSeen) -> Result<(), Denied> {
    // A proxy resolves the target's name itself.
    let proxy = match via {
        Via::Proxy { host, port } => {
            Some(Target { scheme: Scheme::Http, host: host.clone(), port: *port, path: "/".to_owned() })
        }
        Via::Direct | Via::Unknown(_) => None,
    };
    let first = proxy.as_ref().unwrap_or(target);
    let addresses = address::of(means.getent.as_deref(), first, means.named).await?;
    let several = addresses.len() > 1;
    for address in addresses {
        let address = SocketAddr::new(address, first.port);
        seen.address = Some(address);
        let patience = if several { ADDRESS_PATIENCE } else { PATIENCE };
        match timeout(patience, talk(means, target, proxy.is_some(), address)).await {
            Ok(Ok(status)) => {
                seen.status = status;
                return Ok(());
            }
            Ok(Err(error)) => seen.error = error,
            Err(_) => seen.error = format!("no answer within {}", text::seconds(patience)),
        }
    }
    Err(Denied::Failed(std::mem::take(&mut seen.error)))
}

async fn talk(
    means: &Means,
    target: &Target,
    by_proxy: bool,
    address: SocketAddr,
) -> Result<Option<u16>, String> {
    let mut stream = TcpStream::connect(address).await.map_err(|error| text::with_causes(&error))?;
    let host = target.host_header();
    if by_proxy && target.scheme != Scheme::Http {
        proxy::tunnel(&mut stream, target).await?;
    }
    let status = match target.scheme {
        Scheme::Tcp => return Ok(None),
        Scheme::Http if by_proxy => {
            let status = http::status(stream, &host, &target.to_string()).await;
            if status.as_ref().is_ok_and(|status| status.as_u16() == 407) {
                return Err("the proxy asks for a password".to_owned());
            }
            status
        }
        Scheme::Http => http::status(stream, &host, &target.path).await,
        Scheme::Https => {
            let name = ServerName::try_from(target.host.clone()).map_err(|error| error.to_string())?;
            let connector = TlsConnector::from(means.tls.clone()?);
            let stream = connector.connect(name, stream).await;
            let stream = stream.map_err(|error| format!("TLS: {}", text::with_causes(&error)))?;
            http::status(stream, &host, &target.path).await
        }
    };
    status.map(|status| Some(status.as_u16())).map_err(|error| text::with_causes(&error))
}

/// What an observation means.
pub fn judge(_settings: &Settings, seen: &Observation) -> Judgement {
    let (skipped, asked): (Vec<&TargetSeen>, Vec<_>) = seen.targets.iter().partition(|seen| seen.not_asked);
    let bad: Vec<&TargetSeen> = asked.iter().copied().filter(|target| !target.is_reached()).collect();
    let unreached: Vec<String> = bad.iter().map(|target| target.target.clone()).collect();
    let observed = json!({
        "targets": seen.targets.iter().map(target_as_json).collect::<Vec<_>>(),
        UNREACHED: unreached,
        "waited_seconds": seen.waited.as_secs_f64(),
    });
    let (outcome, summary) = match (asked.as_slice(), bad.first()) {
        ([], _) if !skipped.is_empty() => {
            let which: Vec<String> = skipped.iter().map(|seen| seen.target.clone()).collect();
            let why = skipped.first().map_or("", |seen| seen.error.as_str());
            let such = skipped.iter().find_map(|seen| by_address(seen));
            let such = such.map(|such| format!(", {such} if that is intended")).unwrap_or_default();
            let summary = format!(
                "none of the image's package sources can be asked ({}): {why}; name targets in \
                 checks.internet.targets{such}",
                text::list(&which)
            );
            (CheckOutcome::Skipped, summary)
        }
        ([], _) => (CheckOutcome::Skipped, seen.nothing.clone()),
        (_, Some(first)) => {
            let verb = if unreached.len() == 1 { "does" } else { "do" };
            let why = match first.status {
                Some(status) => format!("it answers {status}"),
                None => first.error.clone(),
            };
            let after = text::seconds(seen.waited);
            let summary = format!("{} {verb} not answer after {after}: {why}", text::list(&unreached));
            (CheckOutcome::Fail, summary)
        }
        ([one], None) => {
            let summary = format!("{} answers in {}", one.target, text::seconds(one.took));
            (CheckOutcome::Pass, summary)
        }
        (many, None) => (CheckOutcome::Pass, format!("all {} targets answer", many.len())),
    };
    Judgement::new(outcome, summary, &observed)
}

/// A target as the schedule would have to name it: by the address that was not asked.
fn by_address(seen: &TargetSeen) -> Option<String> {
    let target = Target::parse(&seen.target).ok()?;
    let host = seen.address?.ip().to_canonical().to_string();
    Some(Target { host, ..target }.to_string())
}

fn target_as_json(target: &TargetSeen) -> Json {
    json!({
        "target": target.target,
        "address": target.address.map(|address| address.to_string()),
        "status": target.status,
        "milliseconds": u64::try_from(target.took.as_millis()).unwrap_or(u64::MAX),
        "error": target.error,
        "not_asked": target.not_asked,
        "tries": target.tries,
    })
}

#[cfg(test)]
mod tests;
