//! The cards as they are.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use tokio::time::Instant;

use crate::checks::program::program;
use crate::guest::Guest;
use crate::text;

/// Most cards that are looked at.
const MOST_CARDS: usize = 32;
/// Most addresses of all cards.
const MOST_ADDRESSES: usize = 256;
/// Most files in which a lease is looked for.
const MOST_LEASES: usize = 128;
/// Where the clients of DHCP keep their leases in words: networkd, dhclient in its places, NetworkManager.
const LEASES: [&str; 6] = [
    "/run/systemd/netif/leases",
    "/var/lib/dhcp",
    "/var/lib/dhclient",
    "/run",
    "/var/lib/NetworkManager",
    "/run/NetworkManager/devices",
];

/// A network card.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Card {
    /// For example `eth0`.
    pub name: String,
    /// Its hardware address.
    pub mac: String,
    /// Its MTU.
    pub mtu: u64,
    /// It is switched on.
    pub up: bool,
    /// It has a link.
    pub carrier: bool,
    /// networkd's word for it: `configured`; `configuring` while it asks for an address; `unmanaged` when it leaves it alone.
    /// Empty: networkd does not know it.
    pub networkd: String,
    /// Its addresses, and those of the bond or bridge that it is a part of.
    pub addresses: Vec<Address>,
}

/// An address of a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// It is good beyond its own link.
    pub global: bool,
    /// A lease gave it, or a router's announcement.
    pub leased: bool,
    /// Seconds that it is good for yet. None: it has no end.
    pub seconds: Option<u64>,
}

/// The cards, with their addresses. What is no card (bridges, bonds, links of containers) has no device.
pub(in crate::checks) fn of(guest: &Guest, addresses: &[(String, Address)]) -> Vec<Card> {
    let Ok(entries) = fs::read_dir(guest.path("/sys/class/net")) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    let cards = names.into_iter().filter(|name| guest.has(format!("/sys/class/net/{name}/device")));
    cards.take(MOST_CARDS).map(|name| card(guest, name, addresses)).collect()
}

fn card(guest: &Guest, name: String, addresses: &[(String, Address)]) -> Card {
    let read = |file: &str| {
        let text = guest.read(format!("/sys/class/net/{name}/{file}"));
        text::one_line(&text.unwrap_or_default())
    };
    let flags = read("flags");
    let flags = u64::from_str_radix(flags.strip_prefix("0x").unwrap_or(&flags), 16).unwrap_or(0);
    let networkd = guest.read(format!("/run/systemd/netif/links/{}", read("ifindex"))).unwrap_or_default();
    let networkd = networkd.lines().find_map(|line| line.strip_prefix("ADMIN_STATE="));
    let master = fs::read_link(guest.path(format!("/sys/class/net/{name}/master"))).unwrap_or_default();
    let master = master.file_name().map(|name| name.to_string_lossy().into_owned());
    // All parts of a bond show the hardware address of one of them.
    let own = read("bonding_slave/perm_hwaddr");
    Card {
        mac: if own.is_empty() { read("address") } else { own },
        mtu: read("mtu").parse().unwrap_or(0),
        up: flags & 1 == 1,
        carrier: read("carrier") == "1",
        networkd: text::one_line(networkd.unwrap_or_default()),
        addresses: addresses
            .iter()
            .filter(|(of, _)| *of == name || Some(of) == master.as_ref())
            .map(|(_, address)| address.clone())
            .collect(),
        name,
    }
}

/// All addresses with their cards, by `ip`. None: there is no `ip`, or it does not work.
pub(in crate::checks) async fn addresses(guest: &Guest, deadline: Instant) -> Option<Vec<(String, Address)>> {
    let ended = program(guest, "ip")?.with(["-o", "addr", "show"]).run(deadline).await;
    if !ended.is_good() {
        return None;
    }
    let mut found: Vec<_> = ended.out.lines().filter_map(address).take(MOST_ADDRESSES).collect();
    if found.iter().any(|(_, address)| !address.leased && address.global && address.address.is_ipv4()) {
        let leases = leases(guest);
        let client = has_silent_client(guest);
        for (_, address) in &mut found {
            address.leased |=
                client || leases.iter().any(|lease| mentions(lease, &address.address.to_string()));
        }
    }
    Some(found)
}

/// A line like `2: eth0    inet 192.0.2.15/24 brd 192.0.2.255 scope global dynamic eth0\ ...`.
fn address(line: &str) -> Option<(String, Address)> {
    let words: Vec<&str> = line.split(['\\', ' ', '\t']).filter(|word| !word.is_empty()).collect();
    let card = words.get(1)?.split('@').next()?;
    let at = words.iter().position(|word| matches!(*word, "inet" | "inet6"))?;
    let address: IpAddr = words.get(at + 1)?.split('/').next()?.parse().ok()?;
    let scope = words.iter().position(|word| *word == "scope").and_then(|at| words.get(at + 1));
    let global = scope == Some(&"global") && !address.is_loopback();
    let lifetime = words.iter().position(|word| *word == "valid_lft").and_then(|at| words.get(at + 1));
    let seconds = lifetime.and_then(|lifetime| lifetime.strip_suffix("sec")?.parse().ok());
    Some((card.to_owned(), Address { address, global, leased: words.contains(&"dynamic"), seconds }))
}

/// The texts of all leases.
fn leases(guest: &Guest) -> Vec<String> {
    let mut texts = Vec::new();
    for folder in LEASES {
        let Ok(entries) = fs::read_dir(guest.path(folder)) else { continue };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let everything = folder.ends_with("leases") || folder.ends_with("devices");
        let is_lease = |name: &String| everything || name.contains("lease");
        let rest = MOST_LEASES.saturating_sub(texts.len());
        for name in names.filter(is_lease).take(rest) {
            let path = Path::new(folder).join(name);
            if guest.path(&path).is_file() {
                texts.extend(guest.read(path));
            }
        }
    }
    texts
}

/// Whether the text has the address as a word of its own.
fn mentions(text: &str, address: &str) -> bool {
    let part = |c: char| c.is_ascii_hexdigit() || c == '.' || c == ':';
    text.split(|c: char| !part(c)).any(|word| word == address)
}

/// Whether a client of DHCP runs that keeps its leases to itself.
fn has_silent_client(guest: &Guest) -> bool {
    runs(guest, &["udhcpc", "dhcpcd"])
}

/// Whether a process of any of these names runs.
pub(in crate::checks) fn runs(guest: &Guest, programs: &[&str]) -> bool {
    let Ok(processes) = fs::read_dir(guest.path("/proc")) else { return false };
    let numbers = processes.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    numbers.filter(|name| name.parse::<u32>().is_ok()).any(|process| {
        let name = guest.read(format!("/proc/{process}/comm")).unwrap_or_default();
        programs.contains(&name.trim())
    })
}

/// Whether there is a way to everywhere, by IPv4 or IPv6.
pub(super) fn default_route(guest: &Guest) -> bool {
    let four = guest.read("/proc/net/route").unwrap_or_default();
    let is_default = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let up = words
            .get(3)
            .and_then(|flags| u32::from_str_radix(flags, 16).ok())
            .is_some_and(|flags| flags & 1 == 1);
        words.get(1) == Some(&"00000000") && words.get(7) == Some(&"00000000") && up
    };
    four.lines().any(is_default) || default_route_of_six(guest)
}

/// Whether there is a way to everywhere by IPv6.
pub(super) fn default_route_of_six(guest: &Guest) -> bool {
    let six = guest.read("/proc/net/ipv6_route").unwrap_or_default();
    let is_default = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // The kernel has one of its own on lo, which says that there is none.
        let nowhere = words.last() == Some(&"lo");
        words.first().is_some_and(|to| to.chars().all(|c| c == '0'))
            && words.get(1) == Some(&"00")
            && !nowhere
    };
    six.lines().any(is_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ip_is_read() {
        let line = r"2: eth0    inet 10.0.2.15/24 metric 1024 brd 10.0.2.255 scope global dynamic eth0\       valid_lft 86349sec preferred_lft 86349sec";
        let (card, found) = address(line).unwrap();
        assert_eq!((card.as_str(), found.address.to_string().as_str()), ("eth0", "10.0.2.15"));
        assert!(found.global && found.leased);
        assert_eq!(found.seconds, Some(86_349));
        let (_, found) =
            address(r"2: eth0    inet6 fe80::5054:ff:fe12:3456/64 scope link \       valid_lft forever")
                .unwrap();
        assert!(!found.global && !found.leased);
        assert_eq!(found.seconds, None);
        let (_, found) =
            address(r"1: lo    inet 127.0.0.1/8 scope host lo\       valid_lft forever").unwrap();
        assert!(!found.global);
        assert_eq!(address("garbage"), None);
    }

    #[test]
    fn a_lease_mentions_its_address_as_a_word() {
        assert!(mentions("# private\nADDRESS=10.0.2.15\nNETMASK=255.255.255.0\n", "10.0.2.15"));
        assert!(mentions("lease {\n  fixed-address 10.0.2.15;\n}", "10.0.2.15"));
        assert!(!mentions("ADDRESS=10.0.2.151\n", "10.0.2.15"));
    }

    #[test]
    fn default_routes_are_seen() {
        let root = tempfile::tempdir().unwrap();
        let guest = Guest::below(root.path());
        fs::create_dir_all(guest.path("/proc/net")).unwrap();
        let head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n";
        let local = format!("{head}eth0\t0002000A\t00000000\t0001\t0\t0\t1024\t00FFFFFF\t0\t0\t0\n");
        fs::write(guest.path("/proc/net/route"), &local).unwrap();
        let six = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n";
        fs::write(guest.path("/proc/net/ipv6_route"), six).unwrap();
        assert!(!default_route(&guest));
        fs::write(guest.path("/proc/net/ipv6_route"), six.replace("      lo", "    eth0")).unwrap();
        assert!(default_route(&guest));
        fs::write(guest.path("/proc/net/ipv6_route"), "").unwrap();
        let out = format!("{local}eth0\t00000000\t0202000A\t0003\t0\t0\t1024\t00000000\t0\t0\t0\n");
        fs::write(guest.path("/proc/net/route"), out).unwrap();
        assert!(default_route(&guest));
    }
}
