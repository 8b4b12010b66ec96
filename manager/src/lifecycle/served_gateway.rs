//! The gateway as the servers of trials find it.

use std::net::SocketAddr;

use crate::gateway::Gateway;

/// The gateway with what a server must know to dial it; cheap to clone.
#[derive(Clone)]
pub(super) struct ServedGateway {
    pub(super) gateway: Gateway,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// SHA-256 of its certificate, lower-case hexadecimal.
    pub(super) fingerprint: String,
}
