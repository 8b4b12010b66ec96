//! What wrong tokens cost whoever brings them. A right one costs nothing: it is looked at first, so that nobody can
//! keep a colleague out by guessing beside them. That leaves a guesser with as many tries as they get connections;
//! what makes guessing hopeless is that tokens are random.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many wrong tokens within the window are taken for slips.
const SLIPS: u32 = 5;
/// The window.
const WINDOW: Duration = Duration::from_mins(1);
/// A slip is answered after this.
const PAUSE: Duration = Duration::from_millis(500);
/// Any further one after this, by so many requests at a time; those beyond are answered at once, and their
/// connection is ended.
const SHORT_PAUSE: Duration = Duration::from_millis(100);
const WAITING: usize = 32;
/// Peers that are remembered; whoever was heard of longest ago is forgotten first.
const PEERS: usize = 1024;

/// Who brings tokens: a network's host, or an account of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::operator) enum Peer {
    /// An address; of IPv6 the first 64 bits, all of which one host may have.
    Address(IpAddr),
    /// An account.
    Account(u32),
}

impl Peer {
    /// The peer at an address, when the kernel knows of no account there.
    pub(in crate::operator) fn at(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) if !address.is_loopback() => {
                let network = u128::from(address) & !u128::from(u64::MAX);
                Self::Address(IpAddr::V6(network.into()))
            }
            other => Self::Address(other),
        }
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(IpAddr::V6(network)) if !network.is_loopback() => write!(f, "from {network}/64"),
            Self::Address(address) => write!(f, "from {address}"),
            Self::Account(uid) => write!(f, "from uid {uid} of this host"),
        }
    }
}

/// What becomes of a request with a wrong token.
#[derive(Debug)]
pub(in crate::operator) enum Cost<'a> {
    /// It is refused after a pause.
    Pause(Duration),
    /// It is one of many, and is refused as such after a pause. The place is given back when this is dropped.
    Throttled(Duration, Waiting<'a>),
    /// There are more than may wait: it is refused at once, and its connection ended.
    End,
}

#[derive(Debug)]
struct Record {
    since: Instant,
    heard: Instant,
    wrong: u32,
    waiting: usize,
}

/// All peers that brought wrong tokens lately.
#[derive(Debug, Default)]
pub(in crate::operator) struct Throttle {
    peers: Mutex<BTreeMap<Peer, Record>>,
}

/// A request that waits for its refusal.
#[derive(Debug)]
pub(in crate::operator) struct Waiting<'a> {
    throttle: &'a Throttle,
    peer: Peer,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(record) = self.throttle.peers().get_mut(&self.peer) {
            record.waiting = record.waiting.saturating_sub(1);
        }
    }
}

impl Throttle {
    fn peers(&self) -> MutexGuard<'_, BTreeMap<Peer, Record>> {
        // Whole even after a panic elsewhere: each change is a single step.
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A peer has brought a wrong token.
    pub(in crate::operator) fn wrong(&self, peer: Peer) -> Cost<'_> {
        self.count(peer, Instant::now())
    }

    fn count(&self, peer: Peer, now: Instant) -> Cost<'_> {
        let mut peers = self.peers();
        if !peers.contains_key(&peer) && peers.len() >= PEERS {
            let longest = peers.iter().min_by_key(|(_, record)| record.heard).map(|(peer, _)| *peer);
            longest.map(|longest| peers.remove(&longest));
        }
        let fresh = || Record { since: now, heard: now, wrong: 0, waiting: 0 };
        let record = peers.entry(peer).or_insert_with(fresh);
        if now.saturating_duration_since(record.since) >= WINDOW {
            (record.since, record.wrong) = (now, 0);
        }
        record.heard = now;
        record.wrong = record.wrong.saturating_add(1);
        if record.wrong <= SLIPS {
            return Cost::Pause(PAUSE);
        }
        if record.waiting >= WAITING {
            return Cost::End;
        }
        record.waiting += 1;
        Cost::Throttled(SHORT_PAUSE, Waiting { throttle: self, peer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_forgiven_and_guessing_is_not() {
        let (throttle, now, peer) = (Throttle::default(), Instant::now(), Peer::Account(1000));
        for _ in 0..SLIPS {
            assert!(matches!(throttle.count(peer, now), Cost::Pause(_)));
        }
        let waiting: Vec<_> = (0..WAITING).map(|_| throttle.count(peer, now)).collect();
        assert!(waiting.iter().all(|cost| matches!(cost, Cost::Throttled(..))));
        assert!(matches!(throttle.count(peer, now), Cost::End));
        drop(waiting);
        assert!(matches!(throttle.count(peer, now), Cost::Throttled(..)), "places are given back");
        assert!(matches!(throttle.count(Peer::Account(1001), now), Cost::Pause(_)), "somebody else");
        assert!(matches!(throttle.count(peer, now + WINDOW), Cost::Pause(_)), "after a while");
    }

    #[test]
    fn the_table_is_bounded() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for uid in 0..5000 {
            throttle.count(Peer::Account(uid), now + Duration::from_micros(uid.into()));
        }
        let peers = throttle.peers();
        assert_eq!(peers.len(), PEERS);
        assert!(peers.contains_key(&Peer::Account(4999)) && !peers.contains_key(&Peer::Account(0)));
    }

    #[test]
    fn a_host_has_one_place_whatever_addresses_it_takes() {
        let at = |text: &str| Peer::at(text.parse().unwrap());
        assert_eq!(at("2001:db8::1"), at("2001:db8::2"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        assert_eq!(at("::1"), Peer::Address("::1".parse().unwrap()));
    }
}
