//! Check `lease`: the server's leases of DHCP are renewed.
//!
//! A server asks for its first lease over a raw socket, before any firewall matters, and renews it over UDP as everybody
//! else talks (RFC 2131, 4.4.5). So an image that cannot renew loses its address when the lease is over: hours after all
//! other checks have passed. The client of the image is told to renew now, and the kernel's lifetime of the address must
//! grow.

use std::time::Duration;

use image_manager_proto::v1::CheckOutcome;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::descriptor::{BadSettings, Check, Examination, Observer, Set};
use super::network::cards::{self, Address, Card};
use super::program::program;
use super::{Judgement, LONG_TIMEOUT, boot, pause};
use crate::guest::Guest;
use crate::text;

/// So much time passes in lifetimes before the order, so that a renewal shows.
const AGEING: Duration = Duration::from_secs(2);
/// So long a server may take to answer; a client asks again after some seconds.
const PATIENCE: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// In a lease of systemd-networkd: the address that QEMU gives its DHCP server.
const SERVER_OF_QEMU: &str = "SERVER_ADDRESS=10.0.2.2";
/// Where D-Bus listens, by which `networkctl` gives its orders.
const BUS: &str = "/run/dbus/system_bus_socket";

/// The check.
pub static CHECK: Check = Check {
    kind: "lease",
    proves: "DHCP leases are renewed when the server asks, as it must for as long as it runs",
    details: "systemd-networkd and dhcpcd are told to renew, and the address must then be valid for longer than \
              before. The check is skipped if no address is leased, for other clients, which cannot be told to renew, \
              and for systemd-networkd on the cloud `local`: QEMU's user network answers a renewal by broadcast, \
              which systemd-networkd does not receive. A required check that is skipped makes the trial errored, so \
              name it with `required = false`, or on the targets where it can be made.",
    set: Set::Named,
    observer: Observer::Agent,
    timeout: LONG_TIMEOUT,
    cost: "a few seconds once cloud-init has finished; up to half a minute if nobody answers",
    repeatable: false,
    keys: &[],
    examine: Some(|asked| Box::pin(examine(asked))),
};

/// It has no keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {}

async fn examine(asked: Examination) -> Result<Judgement, BadSettings> {
    let Settings {} = asked.settings()?;
    Ok(judge(&observe(&asked.guest, asked.deadline).await))
}

/// A lease that was to be renewed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lease {
    /// Its card, for example `eth0`.
    pub card: String,
    /// Who looks after it: `systemd-networkd`, `dhcpcd`. Empty: somebody else.
    pub client: String,
    /// Why it is not ordered to renew, after "the lease of eth0". Empty: it is.
    pub obstacle: String,
    /// Seconds that the address was good for before the order.
    pub before: u64,
    /// The same afterwards, when it was more; else the last that was seen.
    pub after: u64,
    /// What the client said against the order. Empty: nothing.
    pub refusal: String,
}

impl Lease {
    /// A card's, before anything is ordered.
    fn of(guest: &Guest, card: &Card, left: u64) -> Self {
        let (client, obstacle) = client(guest, card);
        let (client, obstacle) = (client.to_owned(), obstacle.to_owned());
        Self { card: card.name.clone(), client, obstacle, before: left, after: left, refusal: String::new() }
    }

    fn is_renewed(&self) -> bool {
        self.after > self.before
    }
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// Of the cards' IPv4 addresses those with an end.
    pub leases: Vec<Lease>,
    /// The guest has no `ip`, so nothing is known of addresses.
    pub blind: bool,
    /// How long it was waited for.
    pub waited: Duration,
}

/// Has all leases renewed, and looks until they are or the time is up.
pub async fn observe(guest: &Guest, deadline: Instant) -> Observation {
    boot::cloud_init_ended(guest, boot::before(deadline)).await;
    let started = Instant::now();
    let Some(cards) = leased(guest, deadline).await else {
        return Observation { blind: true, ..Observation::default() };
    };
    let mut leases: Vec<Lease> = cards.iter().map(|(card, left)| Lease::of(guest, card, *left)).collect();
    if leases.iter().all(|lease| !lease.obstacle.is_empty()) {
        return Observation { leases, blind: false, waited: started.elapsed() };
    }
    tokio::time::sleep(AGEING).await;
    let now = leased(guest, deadline).await.unwrap_or_default();
    for lease in leases.iter_mut().filter(|lease| lease.obstacle.is_empty()) {
        lease.before = left_of(&now, &lease.card).unwrap_or(lease.before);
        lease.after = lease.before;
        lease.refusal = renew(guest, lease, deadline).await;
    }
    let latest = boot::before(deadline).min(Instant::now() + PATIENCE);
    let mut wait = FIRST_PAUSE;
    let under_way =
        |lease: &Lease| !lease.is_renewed() && lease.obstacle.is_empty() && lease.refusal.is_empty();
    while leases.iter().any(under_way) && pause(&mut wait, LONGEST_PAUSE, latest).await {
        let now = leased(guest, deadline).await.unwrap_or_default();
        for lease in leases.iter_mut().filter(|lease| under_way(lease)) {
            // For a moment it may have none.
            lease.after = left_of(&now, &lease.card).unwrap_or(lease.after);
        }
    }
    Observation { leases, blind: false, waited: started.elapsed() }
}

/// The cards with an IPv4 address that comes to an end, and the seconds until then. None: `ip` does not say.
async fn leased(guest: &Guest, deadline: Instant) -> Option<Vec<(Card, u64)>> {
    let addresses = cards::addresses(guest, deadline).await?;
    let ends = |address: &Address| address.address.is_ipv4().then_some(address.seconds).flatten();
    let left = |card: Card| card.addresses.iter().find_map(ends).map(|left| (card.clone(), left));
    Some(cards::of(guest, &addresses).into_iter().filter_map(left).collect())
}

fn left_of(cards: &[(Card, u64)], name: &str) -> Option<u64> {
    cards.iter().find(|(card, _)| card.name == name).map(|(_, left)| *left)
}

/// Who looks after a card, and what keeps them from renewing on demand.
fn client(guest: &Guest, card: &Card) -> (&'static str, &'static str) {
    if !card.networkd.is_empty() && card.networkd != "unmanaged" {
        let obstacle = if !guest.has(BUS) {
            "cannot be renewed on request: systemd-networkd takes requests over D-Bus, and there is none"
        } else if is_user_network(guest, &card.name) {
            "cannot be renewed on QEMU's user network: it answers by broadcast, which systemd-networkd does not \
             receive"
        } else {
            ""
        };
        ("systemd-networkd", obstacle)
    } else if cards::runs(guest, &["dhcpcd"]) {
        ("dhcpcd", "")
    } else {
        ("", "cannot be renewed on request: its DHCP client accepts no such request")
    }
}

/// Whether a card's lease is from the DHCP server that QEMU has itself, by its address and the machine's maker: Nova writes
/// OpenStack there. To renew, systemd-networkd binds its socket to the leased address, which a broadcast does not
/// reach (seen with QEMU 7.2 and systemd 252).
fn is_user_network(guest: &Guest, card: &str) -> bool {
    let index = guest.read(format!("/sys/class/net/{card}/ifindex")).unwrap_or_default();
    let lease = guest.read(format!("/run/systemd/netif/leases/{}", index.trim())).unwrap_or_default();
    let maker = guest.read("/sys/class/dmi/id/sys_vendor").unwrap_or_default();
    lease.lines().any(|line| line == SERVER_OF_QEMU) && maker.trim() == "QEMU"
}

/// Gives the order; what was said against it.
async fn renew(guest: &Guest, lease: &Lease, deadline: Instant) -> String {
    let (name, order) = match lease.client.as_str() {
        "systemd-networkd" => ("networkctl", "renew"),
        "dhcpcd" => ("dhcpcd", "--renew"),
        _ => return String::new(),
    };
    let Some(program) = program(guest, name) else { return format!("the image has no program {name}") };
    let ended = program.with([order, &lease.card]).run(deadline).await;
    if ended.is_good() { String::new() } else { format!("{name} {order}: {}", ended.complaint()) }
}

/// What an observation means. A lease that is not renewed is inconclusive: the cloud's server may have been silent.
pub fn judge(seen: &Observation) -> Judgement {
    let (outcome, summary) = verdict(seen);
    Judgement::new(outcome, summary, &as_json(seen))
}

fn verdict(seen: &Observation) -> (CheckOutcome, String) {
    use CheckOutcome::{Inconclusive, Pass, Skipped};
    if seen.blind {
        return (Inconclusive, "the image has no program ip to list its addresses".to_owned());
    }
    if let Some(lease) = seen.leases.iter().find(|lease| !lease.refusal.is_empty()) {
        return (Inconclusive, format!("the lease of {} was not renewed: {}", lease.card, lease.refusal));
    }
    let (ordered, left): (Vec<_>, Vec<_>) = seen.leases.iter().partition(|lease| lease.obstacle.is_empty());
    if let Some(lease) = ordered.iter().find(|lease| !lease.is_renewed()) {
        let why = format!(
            "{} was told to renew the lease of {}, but it was not renewed: the address expires in {} s. Either the \
             image (for example a firewall that drops UDP port 68) or the cloud's DHCP server is at fault",
            lease.client, lease.card, lease.after
        );
        return (Inconclusive, why);
    }
    let renewed: Vec<String> = ordered
        .iter()
        .map(|lease| {
            format!(
                "{} renewed the lease of {}: {} s left, {} s before",
                lease.client, lease.card, lease.after, lease.before
            )
        })
        .collect();
    match (renewed.is_empty(), left.first()) {
        (false, _) => (Pass, text::list(&renewed)),
        (true, Some(lease)) => (Skipped, format!("the lease of {} {}", lease.card, lease.obstacle)),
        (true, None) => (Skipped, "no address is from a lease that expires".to_owned()),
    }
}

fn as_json(seen: &Observation) -> Json {
    json!({
        "leases": seen.leases.iter().map(|lease| json!({
            "card": lease.card,
            "client": lease.client,
            "obstacle": lease.obstacle,
            "seconds_before": lease.before,
            "seconds_after": lease.after,
            "refusal": lease.refusal,
        })).collect::<Vec<_>>(),
        "waited_seconds": seen.waited.as_secs_f64(),
    })
}

#[cfg(test)]
mod tests;
