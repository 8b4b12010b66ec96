//! Which addresses of a target may be asked.
//!
//! The agent is root in a guest, and the manager repeats checks from its own host: neither is to be sent, by an
//! image or by whoever answers its resolver, to services that listen for their own host or link only (metadata
//! services first of all). A schedule may name such an address itself.

use std::net::IpAddr;
use std::path::Path;

use super::{MOST_ADDRESSES, PATIENCE, Target};
use crate::{resolver, text};

/// Why a target was not reached.
#[derive(Debug, PartialEq)]
pub(super) enum Denied {
    /// No address was found, or none answered.
    Failed(String),
    /// Nothing was asked: all addresses that were found, this one first, are the host's own or the link's.
    Local { first: IpAddr, why: String },
}

/// The first addresses of a target that may be asked. `named`: by the schedule itself.
pub(super) async fn of(getent: Option<&Path>, target: &Target, named: bool) -> Result<Vec<IpAddr>, Denied> {
    let mut found = all(getent, target, named).await?;
    found.truncate(MOST_ADDRESSES);
    Ok(found)
}

/// All of them.
pub(super) async fn all(getent: Option<&Path>, target: &Target, named: bool) -> Result<Vec<IpAddr>, Denied> {
    let host = target.host.as_str();
    if let Ok(address) = host.parse::<IpAddr>() {
        return permitted(host, vec![address], named);
    }
    let missing = || Denied::Failed("there is no getent to ask the guest's resolver with".to_owned());
    let lookup = resolver::look_up(getent.ok_or_else(missing)?, host, PATIENCE).await;
    if lookup.addresses.is_empty() {
        let why = format!("{host} does not resolve: {}", text::or(&lookup.error, "no addresses"));
        return Err(Denied::Failed(why));
    }
    permitted(host, lookup.addresses, named && is_localhost(host))
}

fn permitted(host: &str, found: Vec<IpAddr>, local_too: bool) -> Result<Vec<IpAddr>, Denied> {
    let first = found.first().copied();
    let kept = found.into_iter().filter(|address| local_too || !is_local(*address));
    let kept: Vec<IpAddr> = kept.collect();
    match first {
        Some(first) if kept.is_empty() => Err(Denied::Local {
            first,
            why: format!(
                "{host} is {first}, an address of the server itself or of its link, which is asked only if the \
                 schedule names it"
            ),
        }),
        _ => Ok(kept),
    }
}

/// Whether a name means the host that asks for it, wherever that is (RFC 6761, section 6.3).
pub fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

/// Loopback, link-local, and what the kernel takes for its own host. An IPv4 address in IPv6's clothes is what it is.
pub fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [first, ..] = address.octets();
            first == 0 || address.is_loopback() || address.is_link_local()
        }
        IpAddr::V6(address) => {
            address.is_unspecified() || address.is_loopback() || address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_known_in_every_form() {
        for local in [
            "127.0.0.1",
            "127.255.1.2",
            "0.0.0.0",
            "169.254.169.254",
            "::1",
            "::",
            "fe80::1",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_local(local.parse().unwrap()), "{local}");
        }
        for other in ["10.0.2.2", "192.0.2.1", "fd00::1", "2001:db8::1", "::ffff:192.0.2.1"] {
            assert!(!is_local(other.parse().unwrap()), "{other}");
        }
        assert!(
            is_localhost("LocalHost.") && is_localhost("x.localhost") && !is_localhost("localhost.example")
        );
    }

    #[test]
    fn what_may_be_asked_is_left() {
        let both: Vec<IpAddr> = vec!["127.0.0.1".parse().unwrap(), "192.0.2.1".parse().unwrap()];
        assert_eq!(permitted("x", both.clone(), false).unwrap(), both[1..]);
        assert_eq!(permitted("x", both.clone(), true).unwrap(), both);
        assert!(matches!(permitted("x", both[..1].to_vec(), false), Err(Denied::Local { .. })));
    }
}
