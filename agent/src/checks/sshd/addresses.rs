//! Lists of addresses and networks as sshd_config(5) has them in `Match Address`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::patterns;

/// An address that all lists mean: `otherwise`, or one of those that they name. None: there is none that one could tell.
pub(super) fn meeting(lists: &[&[String]], otherwise: &str) -> Option<String> {
    if lists.is_empty() {
        return Some(otherwise.to_owned());
    }
    let means = |list: &[String], address: IpAddr| {
        let taken_out = list.iter().filter_map(|one| one.strip_prefix('!')).any(|one| holds(one, address));
        !taken_out && list.iter().any(|one| holds(one, address))
    };
    let named = lists.iter().flat_map(|list| list.iter()).flat_map(|one| examples(one));
    let mut candidates = otherwise.parse().ok().into_iter().chain(named);
    candidates.find(|address| lists.iter().all(|list| means(list, *address))).map(|found| found.to_string())
}

/// Whether an address is in a network, or as a pattern says.
fn holds(pattern: &str, address: IpAddr) -> bool {
    match network(pattern) {
        Some((base, bits)) => {
            base.is_ipv4() == address.is_ipv4() && number(base) >> bits == number(address) >> bits
        }
        None => patterns::matches(&address.to_string(), pattern),
    }
}

/// Addresses that a pattern is likely to hold: of a network the first, the last, and one in its midst.
fn examples(pattern: &str) -> Vec<IpAddr> {
    if let Some((base, bits)) = network(pattern) {
        let first = number(base) >> bits << bits;
        let others = !(u128::MAX << bits);
        let like = |number: u128| address(base.is_ipv4(), number);
        return [first, first | others, first | (others >> 1), first | (1 & others)].map(like).to_vec();
    }
    let words: Vec<&str> = pattern.split('.').chain(["*"; 3]).take(4).collect();
    let fourfold = words.join(".").replace(['*', '?'], "1");
    let texts = [pattern.replacen('*', ":1", 1).replace(['*', '?'], "1"), fourfold];
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

/// A network, as its address and how many bits are free in it. An address alone is one.
fn network(text: &str) -> Option<(IpAddr, u32)> {
    let (base, length) = text.split_once('/').unwrap_or((text, ""));
    let base: IpAddr = base.parse().ok()?;
    let most: u32 = if base.is_ipv4() { 32 } else { 128 };
    let length = if length.is_empty() { most } else { length.parse().ok()? };
    // A network of all addresses has all bits free; so many cannot be shifted away.
    Some((base, most.checked_sub(length)?.min(127)))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn address(four: bool, number: u128) -> IpAddr {
    if four {
        Ipv4Addr::from_bits(u32::try_from(number & u128::from(u32::MAX)).unwrap_or_default()).into()
    } else {
        Ipv6Addr::from_bits(number).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_that_is_meant() {
        const ABROAD: &str = "198.51.100.7";
        for (list, found) in [
            ("10.0.0.0/8", Some("10.0.0.0")),
            ("10.0.0.0/8,!10.0.0.0/24", Some("10.255.255.255")),
            ("10.0.0.0/8,!10.0.0.0/24,!10.128.0.0/9", Some("10.127.255.255")),
            ("10.0.0.0/8,!10.0.0.0/8", None),
            ("!10.0.0.0/8,*", Some(ABROAD)),
            ("0.0.0.0/0", Some(ABROAD)),
            ("::/0", Some("::")),
            ("192.168.*", Some("192.168.1.1")),
            ("192.168.?.7", Some("192.168.1.7")),
            ("fd00:*", Some("fd00::1")),
            ("fd00::/8", Some("fd00::")),
            ("203.0.113.5", Some("203.0.113.5")),
            ("nowhere", None),
            ("10.0.0.0/99", None),
        ] {
            let list: Vec<String> = list.split(',').map(str::to_owned).collect();
            assert_eq!(meeting(&[&list], ABROAD).as_deref(), found, "{list:?}");
        }
        assert_eq!(meeting(&[], ABROAD).as_deref(), Some(ABROAD));
        let (outer, inner) = (["10.0.0.0/8".to_owned()], ["10.9.0.0/16".to_owned()]);
        assert_eq!(meeting(&[&outer, &inner], ABROAD).as_deref(), Some("10.9.0.0"));
    }
}
