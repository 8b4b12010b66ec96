//! Check `internet`: targets outside answer, over IPv6 too where the server has it, and the image has certificate
//! authorities.
//!
//! A target that answers at all has been reached: a mirror that says 404 or redirects, too. Only a server's own
//! failure (5xx) does not count, because it is what proxies and portals say, too; 501 does, the answer of one that has
//! no HEAD. More than a HEAD is asked of nobody, and no redirect is followed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prost_types::Struct;
use prost_types::value::Kind;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::descriptor::{BadSettings, Check, Examination, Key, Observer, Rule, Set, ValueType};
use super::mirrors::{Mirror, Via};
use super::{DEFAULT_TIMEOUT, Judgement, Mirrors, boot, observations, pause};
use crate::guest::Guest;
use crate::{http, resolver, text, tls};

mod address;
mod certificates;
mod ipv6;
mod proxy;
mod target;
mod verdict;
use address::Denied;
pub use address::{is_local, is_localhost};
pub use certificates::Store;
pub use ipv6::{has_ipv6, observe_by_ipv6};
pub use target::{Scheme, Target};
pub use verdict::judge;

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
/// In the observations: those that answered, but not at their IPv6 addresses.
const UNREACHED_BY_IPV6: &str = "unreached_by_ipv6";
/// In the observations: what is wrong is in the image, and no network's fault.
const OF_THE_IMAGE: &str = "of_the_image";

/// The check.
pub static CHECK: Check = Check {
    kind: "internet",
    proves: "targets outside answer, over IPv6 too if the server has it, and the image has certificate authorities, \
             with which `https` is verified",
    details: "Any answer proves that a target can be reached, except 5xx other than 501, which may come from a proxy. \
              Targets are asked with `HEAD` only. Loopback and link-local addresses are asked only if the schedule \
              names them.\n\n\
              A server has IPv6 if it has an address of the Internet and a default route. Then a target with an IPv6 \
              address must answer there too, unless it is reached through a proxy. If it does not, the manager asks \
              it over IPv6: the check fails only if it answers there. A manager whose host has no IPv6 cannot tell, \
              and the result notes it.\n\n\
              The image must have a file or a directory of certificate authorities with at least one that can be \
              read, whatever the targets are, unless nothing in it would use them: `certificates` says otherwise.",
    set: Set::Minimal,
    observer: Observer::Agent,
    timeout: DEFAULT_TIMEOUT,
    cost: "a request to each target, or two; waits for cloud-init to finish",
    repeatable: true,
    keys: &[
        Key {
            name: "targets",
            value: ValueType::Texts(&TARGET),
            default: "the package mirrors",
            help: "`http://`, `https://` or `tcp://host:port`, as in [\"https://example.org/\"]",
        },
        Key {
            name: "ipv6",
            value: ValueType::Flag,
            default: "true",
            help: "targets must answer over IPv6 too if the server has it; `false` if its network leads nowhere",
        },
        Key {
            name: "certificates",
            value: ValueType::Flag,
            default: "true if the image has OpenSSL, GnuTLS or NSS",
            help: "the image must have certificate authorities",
        },
    ],
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
    /// They must answer over IPv6 too, where the server has it. None: they must.
    pub ipv6: Option<bool>,
    /// The image must have certificate authorities. None: if something in it uses them.
    pub certificates: Option<bool>,
}

impl Settings {
    /// These targets, and nothing else.
    pub fn only(targets: Vec<String>) -> Self {
        Self { targets, ipv6: Some(false), certificates: Some(false) }
    }
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
    /// The server has IPv6 to everywhere. False, too: nobody wanted to know.
    pub ipv6: bool,
    /// Those that have answered, once more at their IPv6 addresses if they have any. An error: they do not answer there.
    pub by_ipv6: Vec<TargetSeen>,
    /// The image's certificate authorities.
    pub certificates: Store,
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
    /// A proxy was asked for it.
    pub by_proxy: bool,
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
    (!targets.is_empty()).then(|| Settings::only(targets))
}

/// The targets that did not answer over IPv6.
pub fn unreached_by_ipv6(observations: &Struct) -> Vec<String> {
    observations::texts(observations, UNREACHED_BY_IPV6)
}

/// Whether what is wrong is in the image, whatever became of the targets.
pub fn is_of_the_image(observations: &Struct) -> bool {
    let flag = observations.fields.get(OF_THE_IMAGE).and_then(|value| value.kind.as_ref());
    matches!(flag, Some(Kind::BoolValue(true)))
}

/// Whether these are the observations of a look at which each target answered in some way: by IPv4, or by IPv6.
pub fn all_answered(observations: &Struct) -> bool {
    let told = observations.fields.contains_key(UNREACHED_BY_IPV6);
    let asked = observations.fields.get("targets").and_then(|value| value.kind.as_ref());
    let any = matches!(asked, Some(Kind::ListValue(list)) if !list.values.is_empty());
    told && any && observations::texts(observations, UNREACHED).is_empty()
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
    let (mut seen, certificates) = tokio::join!(
        reach_all(settings, guest, deadline),
        certificates::look(guest, settings.certificates, deadline)
    );
    seen.certificates = certificates;
    seen.waited = started.elapsed();
    seen
}

async fn reach_all(settings: &Settings, guest: &Guest, deadline: Instant) -> Observation {
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
    let mut seen = Observation { targets, nothing, ..Observation::default() };
    if settings.ipv6 == Some(false) {
        return seen;
    }
    // A router may be heard later than a lease is given.
    let settled = boot::cloud_init_ended(guest, boot::before(deadline)).await;
    // A network that is still being set up is no dead one.
    seen.ipv6 = settled && ipv6::has_ipv6(guest, deadline).await;
    if seen.ipv6 {
        let direct = seen.targets.iter().filter(|target| target.is_reached() && !target.by_proxy);
        let direct = direct.map(|target| target.target.clone()).collect();
        seen.by_ipv6 = ipv6::ask(&means, direct, deadline).await;
    }
    seen
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
        let by_proxy = matches!(via, Via::Proxy { .. });
        let mut seen = TargetSeen { target: target.to_string(), tries, by_proxy, ..TargetSeen::default() };
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

#[cfg(test)]
mod tests;
