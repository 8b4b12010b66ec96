//! What makes a server the same one before and after a reboot.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::checks::identity::{HOST_NAME, MACHINE_ID};
use crate::checks::network::global_addresses;
use crate::checks::{host_keys, sshd};
use crate::guest::Guest;

/// How a server is.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct State {
    /// The kernel's boot id.
    #[prost(string, tag = "1")]
    pub(crate) boot_id: String,
    /// systemd's machine id; empty when there is none.
    #[prost(string, tag = "2")]
    pub(crate) machine_id: String,
    /// The kernel's host name.
    #[prost(string, tag = "3")]
    pub(crate) host_name: String,
    /// Its SSH host keys, by the name of the file, with their fingerprints.
    #[prost(btree_map = "string, string", tag = "4")]
    pub(crate) host_keys: BTreeMap<String, String>,
    /// Addresses that are good beyond their link, sorted. IPv4 only: those of IPv6 may be made anew in each boot.
    #[prost(string, repeated, tag = "5")]
    pub(crate) addresses: Vec<String>,
}

impl State {
    /// Looks at the guest.
    pub(crate) async fn look(guest: &Guest, deadline: Instant) -> Self {
        // By its files alone: what sshd itself says depends on whether it can start already.
        let configured = sshd::Written::find(guest).await.all("hostkey");
        let keys = host_keys::look(guest, &configured).into_iter();
        let host_keys = keys.map(|key| (key.name.clone(), key.fingerprint())).collect();
        let mut addresses: Vec<String> = global_addresses(guest, deadline)
            .await
            .into_iter()
            .filter(IpAddr::is_ipv4)
            .map(|address| address.to_string())
            .collect();
        addresses.sort_unstable();
        Self {
            boot_id: guest.boot_id(),
            machine_id: guest.line(MACHINE_ID),
            host_name: guest.line(HOST_NAME),
            host_keys,
            addresses,
        }
    }

    /// How a later state differs, as the end of a sentence. None: it is the same server.
    pub(crate) fn difference(&self, after: &Self) -> Option<String> {
        for (name, fingerprint) in &self.host_keys {
            match after.host_keys.get(name) {
                None => return Some(format!("host key {name} is gone")),
                Some(now) if now != fingerprint => return Some(format!("host key {name} has changed")),
                Some(_) => {}
            }
        }
        if let Some(name) = after.host_keys.keys().find(|name| !self.host_keys.contains_key(*name)) {
            return Some(format!("there is a new host key {name}"));
        }
        let texts = [
            ("the machine id", &self.machine_id, &after.machine_id),
            ("the host name", &self.host_name, &after.host_name),
            ("the address", &self.addresses.join(", "), &after.addresses.join(", ")),
        ];
        texts.into_iter().find(|(_, before, after)| before != after).map(|(what, before, after)| {
            let word = |text: &str| if text.is_empty() { "none".to_owned() } else { format!("{text:?}") };
            format!("{what} is {}, but was {}", word(after), word(before))
        })
    }

    pub(crate) fn as_json(&self) -> Json {
        json!({
            "boot_id": self.boot_id,
            "machine_id": self.machine_id,
            "host_name": self.host_name,
            "host_keys": self.host_keys,
            "addresses": self.addresses,
        })
    }
}
