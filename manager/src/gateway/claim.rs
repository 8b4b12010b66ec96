//! Whose a token is: the first agent that comes with it binds it to its key and its address, and nobody else may use it.
//!
//! ```text
//!  token ──> Hello ──> is it bound? ── no ──> proof ──> bound, attached
//!                          │                    ^
//!                          └ to this key ───────┘
//!                          └ to another key, or the caller is elsewhere ──> contested
//! ```
//!
//! What a build says of its image is what the agent says. When two come with one server's token, it cannot be told
//! which of them is the server's: whoever stole a token may as well have been first. So a contest ends the build,
//! whatever was heard before, and neither is believed.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use chrono::{DateTime, Utc};
use image_manager_proto::v1::Hello;
use image_manager_proto::{hex, proof_message};
use ring::signature::{ED25519, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};

use super::conversation::clean;
use crate::clock;

/// Length of an Ed25519 public key, in bytes.
pub(super) const KEY: usize = 32;

/// Who came with a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    /// Its public key. Empty: an agent that has none; it may have one stream.
    pub key: Vec<u8>,
    /// Where it called from.
    pub address: Option<IpAddr>,
    /// Its boot.
    pub boot_id: String,
    /// What it says of itself: its version, and the build that baked it.
    pub says: String,
    /// When it came.
    pub at: DateTime<Utc>,
}

/// Why two claims do not go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// The second has another key, or only one of them has a key, or neither.
    OtherKey,
    /// It has the key of the first, from another boot.
    OtherBoot,
    /// It has the key of the first, and calls from another address.
    OtherAddress,
    /// It does not have the key that it names.
    WrongProof,
}

/// Two came with one token.
#[derive(Debug, Clone)]
pub struct Contest {
    /// To whom the token was bound, if it was.
    pub first: Option<Claimant>,
    /// Who came then.
    pub second: Claimant,
    /// Why it is not the first.
    pub conflict: Conflict,
}

impl Claimant {
    pub(super) fn of(hello: &Hello, peer: Option<SocketAddr>) -> Self {
        let mut boot_id = hello.boot_id.clone();
        let mut says = format!("agent {}, image build {}", hello.agent_version, hello.image_build_id);
        clean(&mut boot_id);
        clean(&mut says);
        let address = peer.map(|peer| peer.ip().to_canonical());
        Self { key: hello.public_key.clone(), address, boot_id, says, at: clock::now() }
    }

    /// What is wrong with another that comes with the same token. `may_reboot`: it may come from another boot, with the key
    /// that it has proved in the first.
    pub(super) fn conflict(&self, other: &Self, may_reboot: bool) -> Option<Conflict> {
        if self.key.is_empty() || self.key != other.key {
            return Some(Conflict::OtherKey);
        }
        if self.boot_id != other.boot_id && !may_reboot {
            return Some(Conflict::OtherBoot);
        }
        (self.address != other.address).then_some(Conflict::OtherAddress)
    }

    /// Whether a signature proves the key, for this nonce, certificate and build.
    pub(super) fn proves(&self, signature: &[u8], nonce: &[u8], fingerprint: &str, build_id: &str) -> bool {
        let message = proof_message(nonce, fingerprint, build_id);
        UnparsedPublicKey::new(&ED25519, &self.key).verify(&message, signature).is_ok()
    }

    /// Where it called from, for people.
    pub fn from(&self) -> String {
        self.address.map_or_else(|| "an unknown address".to_owned(), |address| address.to_string())
    }

    /// All that is known of it, in a line.
    pub fn describe(&self) -> String {
        let key = if self.key.is_empty() { "none".to_owned() } else { hex(&Sha256::digest(&self.key)) };
        let at = clock::rfc3339_seconds(self.at);
        let mut text = format!("from {} at {at}, boot id {}, key {key}", self.from(), self.boot_id);
        if !self.says.is_empty() {
            let _ = write!(text, ", {}", self.says);
        }
        text
    }
}

impl Contest {
    /// What happened, in a sentence.
    pub fn message(&self) -> String {
        let second = self.second.from();
        let Some(first) = &self.first else {
            return format!("somebody at {second} connected with this server's token and a wrong proof");
        };
        let first = first.from();
        let what = match self.conflict {
            Conflict::OtherKey => "has another key",
            Conflict::OtherBoot => "has the key of the first, from another boot",
            Conflict::OtherAddress => "has the key of the first, but calls from another address",
            Conflict::WrongProof => "does not have the key that it names",
        };
        format!(
            "a second agent connected with this server's token: the first called from {first}, the second from \
             {second}, and it {what}; somebody else has the token, or the server was rebooted though no check asked \
             for that"
        )
    }

    /// Both of them.
    pub fn evidence(&self) -> String {
        let first = self.first.as_ref().map_or_else(|| "nobody".to_owned(), Claimant::describe);
        format!("first: {first}\nsecond: {}", self.second.describe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimant(key: u8, address: &str, boot_id: &str) -> Claimant {
        let hello = Hello { public_key: vec![key; KEY], boot_id: boot_id.to_owned(), ..Hello::default() };
        Claimant::of(&hello, Some(SocketAddr::new(address.parse().unwrap(), 7)))
    }

    #[test]
    fn only_the_first_may_come_again() {
        let first = claimant(1, "192.0.2.1", "a");
        assert_eq!(first.conflict(&claimant(1, "192.0.2.1", "a"), false), None);
        assert_eq!(first.conflict(&claimant(1, "::ffff:192.0.2.1", "a"), false), None, "the same address");
        for (other, conflict) in [
            (claimant(2, "192.0.2.1", "a"), Conflict::OtherKey),
            (claimant(1, "192.0.2.1", "b"), Conflict::OtherBoot),
            (claimant(1, "192.0.2.2", "a"), Conflict::OtherAddress),
            (Claimant { key: Vec::new(), ..first.clone() }, Conflict::OtherKey),
        ] {
            assert_eq!(first.conflict(&other, false), Some(conflict), "{other:?}");
            let rebooted = Some(conflict).filter(|conflict| *conflict != Conflict::OtherBoot);
            assert_eq!(first.conflict(&other, true), rebooted, "{other:?}");
        }
        let without = Claimant { key: Vec::new(), ..first };
        assert_eq!(
            without.conflict(&without, true),
            Some(Conflict::OtherKey),
            "nothing proves that it is the same"
        );
    }

    #[test]
    fn what_a_claimant_says_is_one_line() {
        let hello = Hello {
            boot_id: "b\n\u{1b}[2J".to_owned(),
            agent_version: "1\r2".to_owned(),
            ..Hello::default()
        };
        let text = Claimant::of(&hello, None).describe();
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
}
