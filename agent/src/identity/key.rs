//! The key that this agent is known by: made when it starts, and in the guest's memory only,
//! except across a reboot that the agent itself orders.
//!
//! The manager binds the server's token to it, so that a token which somebody else has read is of no use beside the
//! agent. An agent that is started again in the same boot finds its key in `/run`, which only root may read and which
//! goes with the boot.

use std::fmt;

use image_manager_proto::{NONCE, proof_message};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use secrecy::{ExposeSecret as _, SecretString};

use super::bytes_of;

/// An Ed25519 key pair.
pub struct AgentKey {
    /// What the pair is made from, as hexadecimal digits.
    seed: SecretString,
    pair: Ed25519KeyPair,
}

impl AgentKey {
    /// A new one. `None`: the system has no randomness.
    pub(super) fn generate() -> Option<Self> {
        let mut seed = [0_u8; 32];
        SystemRandom::new().fill(&mut seed).ok()?;
        Self::from_seed(&image_manager_proto::hex(&seed))
    }

    /// The one that was kept.
    pub(super) fn from_seed(digits: &str) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&bytes_of(digits)?).ok()?;
        Some(Self { seed: digits.into(), pair })
    }

    /// To keep it.
    pub(crate) fn seed(&self) -> &str {
        self.seed.expose_secret()
    }

    /// Its public half.
    pub(crate) fn public(&self) -> Vec<u8> {
        self.pair.public_key().as_ref().to_vec()
    }

    /// Proves it to the manager with this certificate. `None`: that is no challenge.
    pub(crate) fn prove(&self, nonce: &[u8], fingerprint: &[u8], build: &str) -> Option<Vec<u8>> {
        let message = proof_message(nonce, &image_manager_proto::hex(fingerprint), build);
        (nonce.len() == NONCE).then(|| self.pair.sign(&message).as_ref().to_vec())
    }
}

impl fmt::Debug for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentKey").finish_non_exhaustive()
    }
}
