//! The mirrors that may be asked for from the manager's host, and what asking them says of the network.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use image_manager_agent::Guest;
use image_manager_agent::checks::Mirrors;
use image_manager_agent::checks::internet::{Scheme, Target};
use tokio::time::Instant;

use super::{Here, NetworkCheck, addresses, examine};

/// How long finding out where names lead may take.
const RESOLVING: Duration = Duration::from_secs(5);
/// Most names or targets that are repeated.
const MOST: usize = 16;

/// Mirrors that the manager's host goes to by itself, or that the schedule builds from. An image has them when
/// its elements took them over, often with a port or an address in digits (a cache of packages on the site).
#[derive(Debug, Default)]
pub(super) struct Trusted {
    /// All of them.
    pub(super) mirrors: Vec<Target>,
    /// Those of the schedule, as they are written.
    of_the_schedule: Vec<String>,
}

impl Trusted {
    /// By the host's package sources and by the variables of the build that name mirrors.
    pub(super) fn of(host: &Guest, environment: &BTreeMap<String, String>) -> Self {
        // DIB_DISTRIBUTION_MIRROR, DIB_DEBIAN_SECURITY_MIRROR, and what other elements call theirs.
        let named = environment.iter().filter(|(name, _)| name.contains("MIRROR")).map(|(_, value)| value);
        let named = named.filter_map(|address| Target::parse(address).ok());
        let of_the_schedule: Vec<Target> = named
            .filter(|target| target.scheme != Scheme::Tcp && !addresses::is_local_host(&target.host))
            .collect();
        let of_the_host = Mirrors::of(host).addresses();
        let of_the_host = of_the_host.iter().filter_map(|address| Target::parse(address).ok());
        let mut mirrors = of_the_schedule.clone();
        mirrors.extend(of_the_host.filter(|target| !addresses::is_local_host(&target.host)));
        Self { mirrors, of_the_schedule: of_the_schedule.iter().map(ToString::to_string).collect() }
    }

    /// Of what failed: what may be asked for from here, and what may not.
    pub(super) async fn divide(
        &self,
        kind: &NetworkCheck,
        failed: Vec<String>,
        host: &Guest,
    ) -> (Vec<String>, Vec<String>) {
        let (mut mine, mut foreign): (Vec<String>, Vec<String>) = match kind {
            NetworkCheck::Dns { names } => {
                failed.into_iter().partition(|name| self.may_be_looked_up(name, names))
            }
            NetworkCheck::Internet { targets } => {
                failed.into_iter().partition(|target| self.may_be_called(target, targets))
            }
        };
        mine.truncate(MOST);
        if matches!(kind, NetworkCheck::Internet { .. }) {
            let local = addresses::leading_here(&mine, host, Instant::now() + RESOLVING).await;
            let (left, kept) = mine.into_iter().partition(|target| local.contains(target));
            foreign.extend::<Vec<String>>(left);
            mine = kept;
        }
        (mine, foreign)
    }

    /// A name of the schedule's; or, when it gives none, the host of a trusted mirror.
    fn may_be_looked_up(&self, name: &str, named: &[String]) -> bool {
        !addresses::is_local_host(name) && self.knows_name(name, named)
    }

    fn knows_name(&self, name: &str, named: &[String]) -> bool {
        let same = |known: &str| known.eq_ignore_ascii_case(name);
        named.iter().any(|known| same(known)) || self.mirrors.iter().any(|mirror| same(&mirror.host))
    }

    /// Why what failed is not asked for from here, as half of a sentence.
    pub(super) fn why_not_asked(&self, kind: &NetworkCheck, foreign: &[String]) -> String {
        let (known, only): (Vec<&String>, Vec<&String>) = foreign.iter().partition(|what| match kind {
            NetworkCheck::Dns { names } => self.knows_name(what, names),
            NetworkCheck::Internet { targets } => self.knows_target(what, targets),
        });
        let list = |all: Vec<&String>| all.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let mut parts = Vec::new();
        if !only.is_empty() {
            parts.push(format!("only the image names {}", list(only)));
        }
        if !known.is_empty() {
            let of = "would be this host itself or its own link, and is not asked from here";
            parts.push(format!("{} {of}", list(known)));
        }
        parts.join(", and ")
    }

    /// A target of the schedule's, or a trusted mirror. Of a mirror the path does not count: the security archive is
    /// often beside the main one.
    pub(super) fn may_be_called(&self, found: &str, named: &[String]) -> bool {
        let elsewhere = Target::parse(found).is_ok_and(|target| !addresses::is_local_host(&target.host));
        elsewhere && self.knows_target(found, named)
    }

    fn knows_target(&self, found: &str, named: &[String]) -> bool {
        let Ok(target) = Target::parse(found) else { return false };
        if !named.is_empty() {
            // Compared as read, for the agent says `https://a.example/` of `https://a.example`.
            return named.iter().any(|name| Target::parse(name).as_ref() == Ok(&target));
        }
        let same = |mirror: &Target| {
            (mirror.scheme, mirror.port) == (target.scheme, target.port)
                && mirror.host.eq_ignore_ascii_case(&target.host)
        };
        self.mirrors.iter().any(same)
    }

    /// Whether anything that is trusted answers from here: what proves that the network works.
    pub(super) async fn examine(&self, kind: &NetworkCheck, host: &Guest, patience: Duration) -> Here {
        // The names that are asked for are the schedule's own where it has some: they say nothing of the network.
        let of_the_schedule = match kind {
            NetworkCheck::Dns { .. } => self.hosts(),
            NetworkCheck::Internet { .. } => self.of_the_schedule.clone(),
        };
        if self.mirrors.is_empty() {
            let summary = "neither its package sources nor image.environment name a mirror".to_owned();
            return Here { works: false, summary };
        }
        let of_the_host = async {
            match kind {
                // Asked for as the host's own package manager asks, through its proxy.
                NetworkCheck::Internet { .. } => Some(examine(kind, Vec::new(), host, patience).await),
                NetworkCheck::Dns { .. } => None,
            }
        };
        let of_the_schedule = async {
            let any = !of_the_schedule.is_empty();
            if any { Some(examine(kind, of_the_schedule, host, patience).await) } else { None }
        };
        let (schedule, host) = tokio::join!(of_the_schedule, of_the_host);
        let all: Vec<Here> = schedule.into_iter().chain(host).collect();
        let works = all.iter().any(|here| here.works);
        let told = all.into_iter().filter(|here| here.works == works).map(|here| here.summary);
        Here { works, summary: told.collect::<Vec<_>>().join("; ") }
    }

    /// The names of the trusted mirrors' hosts.
    fn hosts(&self) -> Vec<String> {
        let mut hosts: Vec<String> = self.mirrors.iter().map(|mirror| mirror.host.clone()).collect();
        hosts.retain(|host| host.parse::<IpAddr>().is_err());
        hosts.sort();
        hosts.dedup();
        hosts.truncate(MOST);
        hosts
    }
}
