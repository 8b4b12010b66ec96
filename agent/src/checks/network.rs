//! Check `network`: every card is as the metadata says that it should be.
//!
//! What should be is the `network_data` that cloud-init kept of the metadata, in OpenStack's format; where there is none,
//! every card must have an address that a lease gave it, and one of them the default route. What is, is in the kernel's files and in what
//! `ip` prints.

use std::net::IpAddr;
use std::time::Duration;

use image_manager_proto::v1::CheckOutcome;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::descriptor::{BadSettings, Check, Examination, Key, Observer, Set, ValueType};
use super::{Judgement, LONG_TIMEOUT, boot, dns, pause};
use crate::guest::Guest;
use crate::text;

pub(super) mod cards;
mod plan;
pub use cards::{Address, Card};
pub use plan::{Link, Plan};

/// So long a bad look is repeated after cloud-init's end.
const PATIENCE: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// IPv6 takes no less, and no cloud gives less.
const LEAST_MTU: u64 = 1280;

/// The check.
pub static CHECK: Check = Check {
    kind: "network",
    proves: "every network card has the addresses and the MTU from the metadata, and the server has its name servers \
             and a default route",
    details: "If the metadata says DHCP, the address must be from a lease: an address that came with the image fits \
              the first server only. If the metadata has no network, every card must have a leased address.",
    set: Set::Cloud,
    observer: Observer::Agent,
    timeout: LONG_TIMEOUT,
    cost: "waits for cloud-init to finish",
    repeatable: false,
    keys: &[
        Key {
            name: "default_route",
            value: ValueType::Flag,
            default: "true",
            help: "there must be a default route, unless the metadata says otherwise",
        },
        Key {
            name: "fixed_servers",
            value: ValueType::Flag,
            default: "false",
            help: "the image has name servers of its own, as with `dns.fixed_servers`",
        },
    ],
    examine: Some(|asked| Box::pin(examine(asked))),
};

/// Its keys.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// There must be a default route.
    pub default_route: bool,
    /// The image has name servers of its own.
    pub fixed_servers: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { default_route: true, fixed_servers: false }
    }
}

async fn examine(asked: Examination) -> Result<Judgement, BadSettings> {
    let settings = asked.settings()?;
    Ok(judge(&settings, &observe(&settings, &asked.guest, asked.deadline).await))
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// The server's cards.
    pub cards: Vec<Card>,
    /// There is a way to everywhere.
    pub default_route: bool,
    /// The name servers that the guest asks.
    pub name_servers: Vec<String>,
    /// What the metadata says of the network. None: nothing, or nothing in a known form.
    pub plan: Option<Plan>,
    /// The guest has no `ip`, so nothing is known of addresses.
    pub blind: bool,
    /// How long it was waited for.
    pub waited: Duration,
}

/// Looks after cloud-init's end until all is well or the time is up.
pub async fn observe(settings: &Settings, guest: &Guest, deadline: Instant) -> Observation {
    let started = Instant::now();
    boot::cloud_init_ended(guest, boot::before(deadline)).await;
    let latest = boot::before(deadline).min(Instant::now() + PATIENCE);
    let mut wait = FIRST_PAUSE;
    loop {
        let addresses = cards::addresses(guest, deadline).await;
        let seen = Observation {
            cards: cards::of(guest, addresses.as_deref().unwrap_or_default()),
            default_route: cards::default_route(guest),
            name_servers: dns::NameServers::of(guest, None).asked,
            plan: plan::of(guest),
            blind: addresses.is_none(),
            waited: started.elapsed(),
        };
        let good = judge(settings, &seen).outcome == CheckOutcome::Pass;
        if good || !pause(&mut wait, LONGEST_PAUSE, latest).await {
            return seen;
        }
    }
}

/// The addresses of the server's cards that are good beyond their link; none where `ip` does not say.
pub(super) async fn global_addresses(guest: &Guest, deadline: Instant) -> Vec<IpAddr> {
    let found = cards::addresses(guest, deadline).await.unwrap_or_default();
    found.into_iter().map(|(_, address)| address).filter(|one| one.global).map(|one| one.address).collect()
}

/// What an observation means.
pub fn judge(settings: &Settings, seen: &Observation) -> Judgement {
    let (outcome, summary) = match verdict(settings, seen) {
        Ok(summary) => (CheckOutcome::Pass, summary),
        Err(unsound) => unsound,
    };
    Judgement::new(outcome, summary, &as_json(seen))
}

type Unsound = (CheckOutcome, String);

fn verdict(settings: &Settings, seen: &Observation) -> Result<String, Unsound> {
    use CheckOutcome::{Fail, Inconclusive};
    if seen.blind {
        return Err((Inconclusive, "the image has no program ip to list its addresses".to_owned()));
    }
    if seen.cards.is_empty() {
        return Err((Fail, "the kernel sees no network card".to_owned()));
    }
    if let Some(plan) = &seen.plan {
        for link in &plan.links {
            let card = seen.cards.iter().find(|card| card.mac.eq_ignore_ascii_case(&link.mac));
            let Some(card) = card else {
                let why = format!("the metadata names a card {}, which the kernel does not see", link.mac);
                return Err((Inconclusive, why));
            };
            planned(link, card)?;
        }
    }
    for card in &seen.cards {
        let link = seen.plan.as_ref().and_then(|plan| plan.link(&card.mac));
        working(card, link)?;
    }
    let wanted = seen.plan.as_ref().is_none_or(Plan::needs_default_route) && settings.default_route;
    if wanted && !seen.default_route {
        return Err((
            Fail,
            "there is no default route: the server cannot reach anything outside its own network".to_owned(),
        ));
    }
    name_servers(settings, seen)?;
    let cards: Vec<String> = seen.cards.iter().map(in_words).collect();
    let by = if seen.plan.is_some() { ", as the metadata says" } else { "" };
    Ok(format!("{}{by}", text::list(&cards)))
}

/// Whether a card has what the metadata gives it.
fn planned(link: &Link, card: &Card) -> Result<(), Unsound> {
    use CheckOutcome::Fail;
    let name = &card.name;
    let missing =
        link.addresses.iter().find(|wanted| !card.addresses.iter().any(|has| has.address == **wanted));
    if let Some(missing) = missing {
        return Err((Fail, format!("{name} does not have the address {missing} that the metadata gives it")));
    }
    match link.mtu {
        Some(mtu) if mtu != card.mtu => {
            Err((Fail, format!("{name} has an MTU of {}, but the metadata says {mtu}", card.mtu)))
        }
        _ => Ok(()),
    }
}

/// Whether a card works, and its addresses are this server's.
fn working(card: &Card, link: Option<&Link>) -> Result<(), Unsound> {
    use CheckOutcome::{Fail, Inconclusive};
    let name = &card.name;
    if !card.up {
        return Err((Fail, format!("the card {name} ({}) is not up", card.mac)));
    }
    if !card.carrier {
        return Err((Inconclusive, format!("the card {name} ({}) has no carrier", card.mac)));
    }
    if card.mtu < LEAST_MTU {
        return Err((
            Fail,
            format!("{name} has an MTU of {}, less than the {LEAST_MTU} of any network", card.mtu),
        ));
    }
    let global: Vec<&Address> = card.addresses.iter().filter(|address| address.global).collect();
    if global.is_empty() {
        let managed = if card.networkd == "unmanaged" { ": nothing in the image manages it" } else { "" };
        // A client that asks and hears nothing is no fault of the image.
        let outcome = if card.networkd == "configuring" { Inconclusive } else { Fail };
        return Err((outcome, format!("the card {name} ({}) has no address{managed}", card.mac)));
    }
    let by_lease = link.is_none_or(|link| link.dhcp);
    let of_four: Vec<&&Address> = global.iter().filter(|address| address.address.is_ipv4()).collect();
    if by_lease
        && let Some(first) = of_four.first()
        && !of_four.iter().any(|address| address.leased)
    {
        let why =
            format!("{name} has the address {} without a DHCP lease: it came with the image", first.address);
        return Err((Fail, why));
    }
    Ok(())
}

fn name_servers(settings: &Settings, seen: &Observation) -> Result<(), Unsound> {
    let Some(plan) = &seen.plan else { return Ok(()) };
    let parsed = |server: &String| server.split('%').next().and_then(|server| server.parse::<IpAddr>().ok());
    let has = |wanted: &IpAddr| seen.name_servers.iter().filter_map(parsed).any(|server| server == *wanted);
    if settings.fixed_servers || plan.name_servers.is_empty() || plan.name_servers.iter().any(has) {
        return Ok(());
    }
    let wanted: Vec<String> = plan.name_servers.iter().map(ToString::to_string).collect();
    let asks = if seen.name_servers.is_empty() { "none".to_owned() } else { text::list(&seen.name_servers) };
    let why = format!("the name servers are {asks}, but the metadata says {}", text::list(&wanted));
    Err((CheckOutcome::Fail, why))
}

fn in_words(card: &Card) -> String {
    let addresses: Vec<String> = card
        .addresses
        .iter()
        .filter(|address| address.global)
        .map(|address| address.address.to_string())
        .collect();
    format!("{} has {}", card.name, text::list(&addresses))
}

fn as_json(seen: &Observation) -> Json {
    json!({
        "cards": seen.cards.iter().map(|card| json!({
            "name": card.name,
            "mac": card.mac,
            "mtu": card.mtu,
            "up": card.up,
            "carrier": card.carrier,
            "networkd": card.networkd,
            "addresses": card.addresses.iter().map(|address| json!({
                "address": address.address.to_string(),
                "global": address.global,
                "leased": address.leased,
            })).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "default_route": seen.default_route,
        "name_servers": seen.name_servers,
        "metadata": seen.plan.as_ref().map(Plan::as_json),
        "waited_seconds": seen.waited.as_secs_f64(),
    })
}

#[cfg(test)]
mod tests;
