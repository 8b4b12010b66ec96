//! Addresses that mean another machine here than in the server: the host's own, and those of its link.

use std::net::IpAddr;

use image_manager_agent::Guest;
use image_manager_agent::checks::dns;
use image_manager_agent::checks::internet::{Target, is_local, is_localhost};
use tokio::time::Instant;

/// A host, by name or in digits, that is local wherever it is asked.
pub(super) fn is_local_host(host: &str) -> bool {
    is_localhost(host) || parsed(host).is_some_and(is_local)
}

/// A failed name or target that is the server itself: no network can be to blame for it.
pub(super) fn is_own(what: &str) -> bool {
    let host = Target::parse(what).map_or_else(|_| what.to_owned(), |target| target.host);
    is_localhost(&host) || parsed(&host).is_some_and(|address| address.to_canonical().is_loopback())
}

/// Digits as resolvers take them too: `127.1`, `2130706433` and `0x7f000001` are 127.0.0.1.
fn parsed(host: &str) -> Option<IpAddr> {
    let host = host.split('%').next().unwrap_or_default();
    host.parse().ok().or_else(|| short_form(host).map(|number| IpAddr::V4(number.into())))
}

/// An IPv4 address in the forms of inet_aton(3).
fn short_form(host: &str) -> Option<u32> {
    let number = |text: &str| {
        let lower = text.to_ascii_lowercase();
        match lower.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None if lower.len() > 1 && lower.starts_with('0') => u32::from_str_radix(&lower, 8).ok(),
            None => lower.parse().ok(),
        }
    };
    let parts = host.split('.').map(number).collect::<Option<Vec<u32>>>()?;
    let (last, bytes) = parts.split_last()?;
    if bytes.len() > 3 || bytes.iter().any(|byte| *byte > 255) {
        return None;
    }
    let bits = 32_u32.checked_sub(8 * u32::try_from(bytes.len()).ok()?)?;
    if bits < 32 && *last >= 1 << bits {
        return None;
    }
    let high = bytes.iter().zip([24, 16, 8]).map(|(byte, shift)| byte << shift).sum::<u32>();
    Some(high | last)
}

/// The targets whose names lead to a local address from here.
pub(super) async fn leading_here(targets: &[String], host: &Guest, deadline: Instant) -> Vec<String> {
    let host_of = |target: &String| Target::parse(target).ok().map(|target| target.host);
    let mut names: Vec<String> =
        targets.iter().filter_map(host_of).filter(|name| parsed(name).is_none()).collect();
    names.dedup();
    if names.is_empty() {
        return Vec::new();
    }
    let found = dns::observe(&dns::Settings { names, fixed_servers: true }, host, deadline).await;
    let local = |name: &String| {
        found
            .names
            .iter()
            .any(|seen| seen.name == *name && seen.lookup.addresses.iter().any(|at| is_local(*at)))
    };
    targets.iter().filter(|target| host_of(target).is_some_and(|name| local(&name))).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_known_in_every_form() {
        for local in [
            "127.0.0.1",
            "127.8.9.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "0.0.0.0",
            "0",
            "169.254.169.254",
            "::1",
            "::",
            "fe80::1",
            "fe80::1%eth0",
            "::ffff:127.0.0.1",
            "::ffff:169.254.1.1",
            "localhost",
            "LOCALHOST.",
            "x.localhost",
        ] {
            assert!(is_local_host(local), "{local}");
        }
        for other in [
            "10.0.2.2",
            "192.0.2.1",
            "fd00::1",
            "::ffff:192.0.2.1",
            "localhost.example",
            "7f.example",
            "1.2.3.4.5",
        ] {
            assert!(!is_local_host(other), "{other}");
        }
        assert!(is_own("http://[::ffff:127.0.0.1]:80/x") && is_own("localhost") && is_own("tcp://127.1:22"));
        assert!(!is_own("http://169.254.169.254/") && !is_own("mirror.example"));
    }
}
