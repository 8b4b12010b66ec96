//! Routes, as the metadata names them and as the kernel has them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::time::Instant;

use crate::checks::program::program;
use crate::guest::Guest;

/// Most routes of the kernel that are looked at.
const MOST: usize = 1024;
/// Kinds of routes that lead nowhere, or to this server itself.
const NOWHERE: [&str; 8] =
    ["unreachable", "blackhole", "prohibit", "throw", "local", "broadcast", "multicast", "anycast"];

/// A way to somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub to: Network,
    /// The gateway. None: it is on the link.
    pub via: Option<IpAddr>,
    /// The interface. Empty: any.
    pub card: String,
}

/// A part of the addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Its first address.
    pub first: IpAddr,
    /// How many bits all its addresses have in common.
    pub length: u8,
}

impl Network {
    /// All IPv4 addresses.
    pub const ALL_OF_FOUR: Self = Self { first: IpAddr::V4(Ipv4Addr::UNSPECIFIED), length: 0 };
    /// All IPv6 addresses.
    pub const ALL_OF_SIX: Self = Self { first: IpAddr::V6(Ipv6Addr::UNSPECIFIED), length: 0 };

    /// As `ip` and the metadata write it: an address, and after a slash the length, or a mask beside it.
    pub(super) fn parse(text: &str, mask: Option<&str>) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, mask),
        };
        let first: IpAddr = address.parse().ok()?;
        let whole = if first.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => whole,
            Some(length) => match length.parse::<IpAddr>() {
                Ok(mask) => length_of(mask)?,
                Err(_) => length.parse().ok().filter(|length| *length <= whole)?,
            },
        };
        Some(Self { first: masked(first, length), length })
    }

    /// Whether an address is in it.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        let same = |one: u128, other: u128, bits: u32| {
            // What is left of the addresses' bits must not be shifted out as a whole.
            let rest = bits.saturating_sub(u32::from(self.length));
            one.checked_shr(rest).unwrap_or(0) == other.checked_shr(rest).unwrap_or(0)
        };
        match (self.first, address) {
            (IpAddr::V4(one), IpAddr::V4(other)) => same(u32::from(one).into(), u32::from(other).into(), 32),
            (IpAddr::V6(one), IpAddr::V6(other)) => same(one.into(), other.into(), 128),
            _ => false,
        }
    }

    /// Whether it is all of a kind of addresses: a route to it is the default one.
    pub(super) fn is_everything(&self) -> bool {
        self.length == 0
    }
}

/// The first address of the network that an address is in.
fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0);
            Ipv4Addr::from(u32::from(address) & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0);
            Ipv6Addr::from(u128::from(address) & mask).into()
        }
    }
}

/// How many ones a mask begins with. None: it has others after a zero.
fn length_of(mask: IpAddr) -> Option<u8> {
    let (ones, all) = match mask {
        IpAddr::V4(mask) => (u32::from(mask).leading_ones(), u32::from(mask).count_ones()),
        IpAddr::V6(mask) => (u128::from(mask).leading_ones(), u128::from(mask).count_ones()),
    };
    u8::try_from(ones).ok().filter(|_| ones == all)
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.length)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to)?;
        self.via.map_or(Ok(()), |via| write!(f, " via {via}"))
    }
}

/// The kernel's routes in all its tables, by `ip`. None: there is no `ip`, or it does not say.
pub(super) async fn of(guest: &Guest, deadline: Instant) -> Option<Vec<Route>> {
    let mut all = Vec::new();
    for (family, everything) in [("-4", Network::ALL_OF_FOUR), ("-6", Network::ALL_OF_SIX)] {
        let asked = program(guest, "ip")?.with(["-o", family, "route", "show", "table", "all"]);
        let ended = asked.run(deadline).await;
        if !ended.is_good() {
            return None;
        }
        all.extend(ended.out.lines().flat_map(|line| routes(line, everything)));
    }
    all.truncate(MOST);
    Some(all)
}

/// The ways of a line like `default via 192.0.2.1 dev eth0 proto dhcp ...`; several if it has several next hops.
fn routes(line: &str, everything: Network) -> Vec<Route> {
    let words: Vec<&str> = line.split(['\\', ' ', '\t']).filter(|word| !word.is_empty()).collect();
    let to = match words.first() {
        Some(&"default") => Some(everything),
        Some(first) if !NOWHERE.contains(first) => Network::parse(first, None),
        _ => None,
    };
    let Some(to) = to else { return Vec::new() };
    let after = |word: &str| {
        let places = words.iter().enumerate().filter(move |(_, one)| **one == word);
        places.map(|(place, _)| place + 1).collect::<Vec<_>>()
    };
    let card = |from: usize| {
        let place = after("dev").into_iter().find(|place| *place > from);
        place.and_then(|place| words.get(place)).map(|name| (*name).to_owned()).unwrap_or_default()
    };
    let hops: Vec<Route> = after("via")
        .into_iter()
        .filter_map(|place| {
            // `via inet6 fe80::1` for a gateway of the other kind.
            let via = words.iter().skip(place).take(2).find_map(|word| word.parse().ok())?;
            Some(Route { to, via: Some(via), card: card(place) })
        })
        .collect();
    if hops.is_empty() { vec![Route { to, via: None, card: card(0) }] } else { hops }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::parse(text, None).unwrap()
    }

    #[test]
    fn networks_are_read() {
        let masked = |text, mask| Network::parse(text, Some(mask)).map(|network| network.to_string());
        assert_eq!(masked("198.51.100.0", "255.255.255.0").unwrap(), "198.51.100.0/24");
        assert_eq!(masked("0.0.0.0", "0.0.0.0").unwrap(), "0.0.0.0/0");
        assert_eq!(masked("2001:db8::", "ffff:ffff:ffff:ffff::").unwrap(), "2001:db8::/64");
        assert_eq!(masked("2001:db8::", "64").unwrap(), "2001:db8::/64");
        assert_eq!(masked("::", "::").unwrap(), "::/0");
        assert_eq!(masked("198.51.100.0", "255.0.255.0"), None);
        assert_eq!(masked("198.51.100.0", "33"), None);
        assert_eq!(Network::parse("somewhere", None), None);
        assert_eq!(network("192.0.2.7").to_string(), "192.0.2.7/32");
        // As a host route of Neutron's may be written.
        assert_eq!(network("10.1.0.5/16").to_string(), "10.1.0.0/16");
        assert_eq!(network("2001:db8::5/64").to_string(), "2001:db8::/64");
        assert_eq!(network("192.0.2.7/0").to_string(), "0.0.0.0/0");
    }

    #[test]
    fn an_address_is_in_a_network_or_not() {
        let is = |network_: &str, address: &str| network(network_).has(address.parse().unwrap());
        assert!(is("192.0.2.7/24", "192.0.2.254") && !is("192.0.2.0/24", "192.0.3.1"));
        assert!(is("0.0.0.0/0", "192.0.2.1") && !is("0.0.0.0/0", "2001:db8::1"));
        assert!(is("192.0.2.7/32", "192.0.2.7") && !is("192.0.2.7/32", "192.0.2.6"));
        assert!(is("2001:db8::/64", "2001:db8::ffff") && !is("2001:db8::/64", "2001:db8:0:1::1"));
        assert!(is("::/0", "fe80::1"));
    }

    #[test]
    fn routes_of_the_kernel_are_read() {
        let four = |line| routes(line, Network::ALL_OF_FOUR);
        let found = four("default via 10.0.2.2 dev eth0 proto dhcp src 10.0.2.15 metric 1024");
        let via = Some("10.0.2.2".parse().unwrap());
        assert_eq!(found, [Route { to: Network::ALL_OF_FOUR, via, card: "eth0".to_owned() }]);
        let found = four("10.0.2.0/24 dev eth0 proto kernel scope link src 10.0.2.15");
        assert_eq!((found[0].to_string().as_str(), found[0].card.as_str()), ("10.0.2.0/24", "eth0"));
        assert_eq!(four("blackhole 198.51.100.0/24"), []);
        assert_eq!(four("local 10.0.2.15 dev eth0 table local proto kernel scope host"), []);
        assert_eq!(four("garbage"), []);
        let several = r"default proto static metric 100 \        nexthop via 192.0.2.1 dev eth0 weight 1 \ nexthop via 192.0.2.2 dev eth1 weight 1";
        let found: Vec<String> =
            four(several).iter().map(|route| format!("{route} {}", route.card)).collect();
        assert_eq!(found, ["0.0.0.0/0 via 192.0.2.1 eth0", "0.0.0.0/0 via 192.0.2.2 eth1"]);
        let found =
            routes("default via fe80::2 dev eth0 proto ra metric 1024 expires 1799sec", Network::ALL_OF_SIX);
        assert_eq!(found[0].to_string(), "::/0 via fe80::2");
        let found = four("192.0.2.0/24 via inet6 fe80::1 dev eth0");
        assert_eq!(found[0].to_string(), "192.0.2.0/24 via fe80::1");
    }
}
