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
mod routes;
pub use cards::{Address, Card};
pub use plan::{Link, Plan};
pub use routes::{Network, Route};

/// So long a bad look is repeated after cloud-init's end.
const PATIENCE: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// Most routes that are told of.
const MOST_TOLD: usize = 32;
/// IPv6 takes no less, and no cloud gives less.
const LEAST_MTU: u64 = 1280;

/// The check.
pub static CHECK: Check = Check {
    kind: "network",
    proves: "every network card has the addresses and the MTU from the metadata, and the server has its name servers, \
             its routes and a default route",
    details: "If the metadata says DHCP, the address must be from a lease: an address that came with the image fits \
              the first server only. A card that the metadata gives an IPv6 network (SLAAC or DHCPv6) must have an \
              IPv6 address; if no router is seen on it, the result says so, for the network may be silent. The routes \
              of networks with fixed addresses must be there. A card that the metadata puts into no network, such \
              as a member of a bond, needs no address. If the metadata has no network, every card, or the bond or \
              bridge that it belongs to, must have a leased address.",
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
    /// The kernel's routes. None: `ip` does not tell them.
    pub routes: Option<Vec<Route>>,
    /// The addresses of all interfaces.
    pub addresses: Vec<IpAddr>,
    /// The name servers that the guest asks.
    pub name_servers: Vec<String>,
    /// What the metadata says of the network. None: nothing, or nothing in a known form.
    pub plan: Option<Plan>,
    /// The guest has no `ip`, so nothing is known of addresses.
    pub blind: bool,
    /// cloud-init had not ended when this was seen.
    pub unsettled: bool,
    /// How long it was waited for.
    pub waited: Duration,
}

/// Looks after cloud-init's end until all is well or the time is up.
pub async fn observe(settings: &Settings, guest: &Guest, deadline: Instant) -> Observation {
    let started = Instant::now();
    let unsettled = !boot::cloud_init_ended(guest, boot::before(deadline)).await;
    let latest = boot::before(deadline).min(Instant::now() + PATIENCE);
    let mut wait = FIRST_PAUSE;
    loop {
        let addresses = cards::addresses(guest, deadline).await;
        let seen = Observation {
            cards: cards::of(guest, addresses.as_deref().unwrap_or_default()),
            default_route: cards::default_route(guest),
            routes: routes::of(guest, deadline).await,
            addresses: addresses.iter().flatten().map(|(_, address)| address.address).collect(),
            name_servers: dns::NameServers::of(guest, None).asked,
            plan: plan::of(guest),
            blind: addresses.is_none(),
            unsettled,
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

/// Whether there is a way to everywhere by IPv6.
pub(super) fn has_default_route_of_six(guest: &Guest) -> bool {
    cards::default_route_of_six(guest)
}

/// What an observation means.
pub fn judge(settings: &Settings, seen: &Observation) -> Judgement {
    let (outcome, summary) = match verdict(settings, seen) {
        Ok(summary) => (CheckOutcome::Pass, summary),
        Err(unsound) => boot::unless_unsettled(seen.unsettled, unsound),
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
            if !link.unused {
                planned(link, card)?;
            }
        }
    }
    for card in &seen.cards {
        let link = seen.plan.as_ref().and_then(|plan| plan.link(&card.mac));
        if link.is_some_and(|link| link.unused) {
            continue;
        }
        working(card, link)?;
        if let Some(link) = link {
            of_six(card, link, seen)?;
        }
    }
    let wanted = seen.plan.as_ref().is_none_or(Plan::needs_default_route) && settings.default_route;
    if wanted && !seen.default_route {
        return Err((
            Fail,
            "there is no default route: the server cannot reach anything outside its own network".to_owned(),
        ));
    }
    planned_routes(settings, seen)?;
    name_servers(settings, seen)?;
    let cards: Vec<String> = seen.cards.iter().filter_map(in_words).collect();
    let cards = if cards.is_empty() { "no card has an address".to_owned() } else { text::list(&cards) };
    let by = if seen.plan.is_some() { ", as the metadata says" } else { "" };
    Ok(format!("{cards}{by}{}", silent(seen)))
}

/// What to say of cards that have heard nothing of the IPv6 network that the metadata gives them.
fn silent(seen: &Observation) -> String {
    let is_silent = |card: &&Card| {
        let link = seen.plan.as_ref().and_then(|plan| plan.link(&card.mac));
        let has = card.addresses.iter().any(|address| address.address.is_ipv6() && address.global);
        link.is_some_and(|link| !link.unused && !link.six.is_empty()) && !has
    };
    let cards: Vec<String> = seen.cards.iter().filter(is_silent).map(|card| card.name.clone()).collect();
    if cards.is_empty() {
        return String::new();
    }
    format!("; no IPv6 router is known on {}, whose metadata names an IPv6 network", text::list(&cards))
}

/// Whether a card has an IPv6 address, if the metadata puts it into a network where it finds or is given one.
fn of_six(card: &Card, link: &Link, seen: &Observation) -> Result<(), Unsound> {
    use CheckOutcome::Fail;
    let mut of_six = card.addresses.iter().filter(|address| address.address.is_ipv6());
    if link.six.is_empty() || of_six.clone().any(|address| address.global) {
        return Ok(());
    }
    let (name, six) = (&card.name, &link.six);
    // The kernel gives itself an address for the link wherever IPv6 is on.
    if of_six.next().is_none() {
        return Err((
            Fail,
            format!("IPv6 is off on {name}, but the metadata gives it an IPv6 network ({six})"),
        ));
    }
    let is_of_router = |route: &Route| route.to == Network::ALL_OF_SIX && route.card == *name;
    if seen.routes.iter().flatten().any(is_of_router) {
        let why =
            format!("{name} knows an IPv6 router, but has taken no IPv6 address ({six} in the metadata)");
        return Err((Fail, why));
    }
    // The image does not listen to its router, or, more often, the network has none: nothing shows a fault.
    Ok(())
}

/// Whether the routes and addresses are there that the metadata gives to no card in particular.
fn planned_routes(settings: &Settings, seen: &Observation) -> Result<(), Unsound> {
    use CheckOutcome::Fail;
    let (Some(plan), Some(routes)) = (&seen.plan, &seen.routes) else { return Ok(()) };
    if let Some(missing) = plan.elsewhere.iter().find(|wanted| !seen.addresses.contains(wanted)) {
        let why = format!("no interface has the address {missing} that the metadata gives to a bond or VLAN");
        return Err((Fail, why));
    }
    let is_there = |wanted: &Route| routes.iter().any(|has| has.to == wanted.to && has.via == wanted.via);
    for wanted in &plan.routes {
        if wanted.to.is_everything() && !settings.default_route {
            continue;
        }
        if !plan.routes.iter().filter(|other| other.to == wanted.to).any(is_there) {
            return Err((Fail, format!("there is no route to {wanted}, which the metadata names")));
        }
    }
    Ok(())
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

/// The card with its addresses. None: it has none.
fn in_words(card: &Card) -> Option<String> {
    let addresses: Vec<String> = card
        .addresses
        .iter()
        .filter(|address| address.global)
        .map(|address| address.address.to_string())
        .collect();
    (!addresses.is_empty()).then(|| format!("{} has {}", card.name, text::list(&addresses)))
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
        "routes": seen.routes.as_ref().map(|routes| {
            routes.iter().take(MOST_TOLD).map(ToString::to_string).collect::<Vec<_>>()
        }),
        "cloud_init_ended": !seen.unsettled,
        "name_servers": seen.name_servers,
        "metadata": seen.plan.as_ref().map(Plan::as_json),
        "waited_seconds": seen.waited.as_secs_f64(),
    })
}

#[cfg(test)]
mod tests;
