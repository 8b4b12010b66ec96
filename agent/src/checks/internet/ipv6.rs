//! IPv6, where the server has it: a target that answers at its IPv4 address says nothing of it, and programs try IPv6
//! first (RFC 6724), so that each of their connections waits in vain where it is dead.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    ADDRESS_PATIENCE, FIRST_PAUSE, LONGEST_PAUSE, MOST_ADDRESSES, MOST_TARGETS, Means, Target, TargetSeen,
    address, talk, trust,
};
use crate::checks::{network, pause};
use crate::guest::Guest;
use crate::{resolver, text};

/// So long a target may take that has answered over IPv4 already.
const PATIENCE: Duration = Duration::from_secs(8);

/// Whether a host has IPv6 to everywhere: an address of the Internet, and a way for it.
pub async fn has_ipv6(guest: &Guest, deadline: Instant) -> bool {
    network::has_default_route_of_six(guest)
        && network::global_addresses(guest, deadline).await.into_iter().any(is_of_the_internet)
}

/// Whether an address is of those that are given out for the Internet (RFC 4291, section 2.4). Local ones
/// (RFC 4193) lead nowhere outside.
fn is_of_the_internet(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => {
            let [first, ..] = address.segments();
            first & 0xe000 == 0x2000
        }
    }
}

/// The targets that the schedule names, by IPv6 only. Those without an IPv6 address are left out.
pub async fn observe_by_ipv6(targets: Vec<String>, guest: &Guest, deadline: Instant) -> Vec<TargetSeen> {
    let means = Arc::new(Means { getent: resolver::find(guest), tls: trust(), named: true });
    ask(&means, targets, deadline).await
}

/// Asks targets by IPv6, side by side, in their order.
pub(super) async fn ask(means: &Arc<Means>, targets: Vec<String>, deadline: Instant) -> Vec<TargetSeen> {
    let latest = deadline.min(Instant::now() + PATIENCE);
    // Too little time to say that one does not answer.
    if latest.saturating_duration_since(Instant::now()) < ADDRESS_PATIENCE {
        return Vec::new();
    }
    let mut tasks = JoinSet::new();
    for (index, target) in targets.into_iter().take(MOST_TARGETS).enumerate() {
        let means = Arc::clone(means);
        tasks.spawn(async move { (index, reach(&means, &target, latest).await) });
    }
    let mut all = tasks.join_all().await;
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().filter_map(|(_, seen)| seen).collect()
}

/// What becomes of one target. None: it has no IPv6 address that may be asked.
async fn reach(means: &Means, target: &str, latest: Instant) -> Option<TargetSeen> {
    let target = Target::parse(target).ok()?;
    let mut seen = TargetSeen { target: target.to_string(), ..TargetSeen::default() };
    let mut wait = FIRST_PAUSE;
    loop {
        let found = address::all(means.getent.as_deref(), &target, means.named);
        let of_six: Vec<IpAddr> = timeout_at(latest, found)
            .await
            .ok()?
            .unwrap_or_default()
            .into_iter()
            .filter(|found| is_of_six(*found))
            .collect();
        // Names resolve by then: one that does not now is no matter of IPv6.
        if of_six.is_empty() {
            return None;
        }
        seen.tries += 1;
        let started = Instant::now();
        seen.error = once(means, &target, &of_six, &mut seen.address, latest).await.err().unwrap_or_default();
        seen.took = started.elapsed();
        if seen.error.is_empty() || !pause(&mut wait, LONGEST_PAUSE, latest).await {
            return Some(seen);
        }
    }
}

fn is_of_six(address: IpAddr) -> bool {
    address.to_canonical().is_ipv6()
}

/// Whether a target answers at any of its addresses. Whatever it answers, the way to it is there.
async fn once(
    means: &Means,
    target: &Target,
    addresses: &[IpAddr],
    asked: &mut Option<SocketAddr>,
    latest: Instant,
) -> Result<(), String> {
    let mut why = String::new();
    for address in addresses.iter().take(MOST_ADDRESSES) {
        let address = SocketAddr::new(*address, target.port);
        *asked = Some(address);
        let patience = ADDRESS_PATIENCE.min(latest.saturating_duration_since(Instant::now()));
        match timeout(patience, talk(means, target, false, address)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => why = error,
            Err(_) => why = format!("no answer within {}", text::seconds(patience)),
        }
    }
    Err(text::or(&why, "no answer").to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::checks::program::plant;

    #[test]
    fn addresses_of_the_internet_are_told_from_local_ones() {
        for (address, is) in [
            ("2001:db8::1", true),
            ("2a01:4f8::1", true),
            ("fd00::1", false),
            ("fec0::5054:ff:fe12:3456", false),
            ("fe80::1", false),
            ("::1", false),
            ("::ffff:192.0.2.1", false),
            ("192.0.2.1", false),
        ] {
            assert_eq!(is_of_the_internet(address.parse().unwrap()), is, "{address}");
        }
    }

    #[tokio::test]
    async fn a_server_has_ipv6_with_an_address_and_a_way() {
        let root = tempfile::tempdir().unwrap();
        let guest = Guest::below(root.path());
        let soon = || Instant::now() + Duration::from_secs(10);
        let shows = |address: &str| {
            let line = format!("2: eth0    inet6 {address}/64 scope global dynamic eth0");
            plant(&guest, "ip", &format!("echo '{line}'"));
        };
        shows("2001:db8::15");
        assert!(!has_ipv6(&guest, soon()).await, "no route");
        std::fs::create_dir_all(guest.path("/proc/net")).unwrap();
        let zeros = "0".repeat(32);
        let route = format!("{zeros} 00 {zeros} 00 {zeros} 00000400 00000001 00000000 00000003     eth0\n");
        std::fs::write(guest.path("/proc/net/ipv6_route"), route).unwrap();
        assert!(has_ipv6(&guest, soon()).await);
        shows("fd00::15");
        assert!(!has_ipv6(&guest, soon()).await, "a local address");
    }

    #[tokio::test]
    async fn targets_are_asked_by_ipv6_only() {
        let Ok(there) = TcpListener::bind("[::1]:0").await else { return };
        let (port, four) =
            (there.local_addr().unwrap().port(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let closed = TcpListener::bind("[::1]:0").await.unwrap().local_addr().unwrap().port();
        let root = tempfile::tempdir().unwrap();
        let guest = Guest::below(root.path());
        plant(&guest, "getent", "echo '127.0.0.1 STREAM x'; echo '::1 STREAM x'");
        let named = vec![
            format!("tcp://localhost:{port}"),
            format!("tcp://{}", four.local_addr().unwrap()),
            format!("tcp://localhost:{closed}"),
        ];
        let seen = observe_by_ipv6(named.clone(), &guest, Instant::now() + Duration::from_secs(9)).await;
        let told: Vec<(&str, bool)> =
            seen.iter().map(|seen| (seen.target.as_str(), seen.error.is_empty())).collect();
        assert_eq!(told, [(named[0].as_str(), true), (named[2].as_str(), false)], "one has no IPv6 address");
    }
}
