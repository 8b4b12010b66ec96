//! What the agent must know after a reboot.
//!
//! It is in a file that only root may read, on the disk of a server that is thrown away: beside the results there is the
//! agent's key, by which the manager knows it again. The removal takes the file with the rest.

use std::fs;
use std::io::{self, ErrorKind};
use std::time::SystemTime;

use image_manager_proto::v1::CheckResult;
use prost::Message as _;
use prost_types::Timestamp;

use super::State;
use crate::guest::Guest;

/// Where it is, in the agent's folder.
const FILE: &str = "/var/lib/image-manager/reboot";
/// Its name there, for the removal.
pub(crate) const FILE_NAME: &str = "reboot";
/// The name under which it is written.
pub(crate) const NEW_FILE_NAME: &str = "reboot.new";
/// Largest file that is read, in bytes: results fit into one message, as in a report.
const LARGEST: u64 = 2 << 20;

/// What is kept.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Kept {
    /// The build under test.
    #[prost(string, tag = "1")]
    pub(crate) build: String,
    /// What the agent's key is made from.
    #[prost(string, tag = "2")]
    pub(crate) key: String,
    /// The results of the checks that had ended.
    #[prost(message, repeated, tag = "3")]
    pub(crate) results: Vec<CheckResult>,
    /// When the reboot was ordered, by the guest's clock.
    #[prost(message, optional, tag = "4")]
    pub(crate) ordered_at: Option<Timestamp>,
    /// The earliest that the boot before can have begun.
    #[prost(message, optional, tag = "5")]
    pub(crate) booted_at: Option<Timestamp>,
    /// How the server was.
    #[prost(message, optional, tag = "6")]
    pub(crate) before: Option<State>,
}

impl Kept {
    /// What an agent of this build has kept. None: nothing, or nothing that can be read.
    pub(crate) fn of_build(guest: &Guest, build: &str) -> Option<Self> {
        let bytes = guest.read_bytes(FILE, LARGEST).ok()?;
        Self::decode(bytes.as_slice()).ok().filter(|kept| kept.build == build)
    }

    /// Whether it was written in another boot than this one.
    pub(crate) fn is_of_an_earlier_boot(&self, guest: &Guest) -> bool {
        let (now, then) = (guest.boot_id(), self.before.as_ref().map_or("", |before| &before.boot_id));
        !now.is_empty() && !then.is_empty() && now != then
    }

    pub(crate) fn write(&self, guest: &Guest) -> io::Result<()> {
        guest.write_private(FILE, &self.encode_to_vec())
    }

    pub(crate) fn ordered_at(&self) -> Option<SystemTime> {
        SystemTime::try_from(self.ordered_at?).ok()
    }

    pub(crate) fn booted_at(&self) -> Option<SystemTime> {
        SystemTime::try_from(self.booted_at?).ok()
    }
}

/// Takes the file away, if it is there.
pub(crate) fn forget(guest: &Guest) {
    match fs::remove_file(guest.path(FILE)) {
        Err(error) if error.kind() != ErrorKind::NotFound => tracing::warn!("cannot remove {FILE}: {error}"),
        _ => {}
    }
}
