//! Whether somebody who calls from an address can be a server of ours.
//!
//! A server need not be seen by an address of its own: a router may translate it, and the address is then the router's,
//! which Neutron shows to administrators only. So not every foreign address is a stranger's, but only one that no
//! router would give the server: one of the server's own subnets that it does not have, one that Neutron gave to
//! somebody else (a port, a floating IP), one of this host, one of its link. What is left may be a translation.

use std::net::IpAddr;

use serde_json::Value;

use super::OpenStackCloud;
use super::answers::{list, text};
use super::services::Service;
use super::session::Call;
use crate::cloud::{CloudError, Server, is_own_address};

impl OpenStackCloud {
    /// Why whoever calls from `peer` cannot be this server.
    pub(super) async fn why_stranger(
        &self,
        server: &Server,
        peer: IpAddr,
    ) -> Result<Option<String>, CloudError> {
        let tried = format!("asking which addresses server {} has", server.id);
        let call = Call::get(Service::Compute, format!("servers/{}", server.id));
        let answer = self.session.call(&call).await.map_err(|error| error.when(&tried))?;
        if addresses_of(&answer).contains(&peer) {
            return Ok(None);
        }
        // Nova's copy may be old; Neutron's own word counts.
        let call = Call::get(Service::Network, "ports").query("device_id", &server.id);
        let ports = self.session.list_all(&call, "ports").await.map_err(|error| error.when(&tried))?;
        let ports: Vec<&Value> = ports.iter().filter(|port| text(port, "device_id") == server.id).collect();
        let own: Vec<IpAddr> = ports.iter().flat_map(|port| addresses_of_port(port)).collect();
        if own.contains(&peer) {
            return Ok(None);
        }
        let has = own.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if is_of_this_host(peer) {
            return Ok(Some(format!("{peer} is an address of the manager's own host; the server has {has}")));
        }
        let ids: Vec<&str> = ports.iter().map(|port| text(port, "id")).collect();
        let found = match self.floating_owner(peer, &ids).await? {
            Owner::Server => None,
            Owner::Other => Some("is a floating IP of something else".to_owned()),
            Owner::Unknown => self.subnet_with(&ports, peer).await?,
        };
        Ok(found.map(|what| format!("{peer} {what}; the server has {has}")))
    }

    async fn floating_owner(&self, peer: IpAddr, ports: &[&str]) -> Result<Owner, CloudError> {
        let call = Call::get(Service::Network, "floatingips").query("floating_ip_address", peer.to_string());
        let found = match self.session.list_all(&call, "floatingips").await {
            Ok(found) => found,
            // Not every Neutron has them, nor shows them.
            Err(error) if error.is(404) || error.is(403) => Vec::new(),
            Err(error) => return Err(error.when(&format!("asking for floating IP {peer}"))),
        };
        let found = found.iter().find(|ip| text(ip, "floating_ip_address").parse() == Ok(peer));
        Ok(match found.map(|ip| text(ip, "port_id")) {
            Some(port) if ports.contains(&port) => Owner::Server,
            Some(_) => Owner::Other,
            None => Owner::Unknown,
        })
    }

    /// Which of the server's subnets an address is in.
    async fn subnet_with(&self, ports: &[&Value], peer: IpAddr) -> Result<Option<String>, CloudError> {
        let mut networks: Vec<&str> = ports.iter().map(|port| text(port, "network_id")).collect();
        networks.sort_unstable();
        networks.dedup();
        for network in networks {
            let call = Call::get(Service::Network, "subnets").query("network_id", network);
            let tried = format!("listing subnets of network {network}");
            let subnets =
                self.session.list_all(&call, "subnets").await.map_err(|error| error.when(&tried))?;
            let ranges = subnets.iter().map(|subnet| text(subnet, "cidr"));
            if let Some(range) = ranges.into_iter().find(|range| is_in(peer, range)) {
                return Ok(Some(format!("belongs to something else in the server's subnet {range}")));
            }
        }
        Ok(None)
    }
}

/// Whose a floating IP is.
enum Owner {
    Server,
    Other,
    Unknown,
}

/// What Nova says that a server has, floating IPs included.
fn addresses_of(answer: &Value) -> Vec<IpAddr> {
    let networks = answer.pointer("/server/addresses").and_then(Value::as_object);
    let entries = networks.into_iter().flat_map(|networks| networks.values()).filter_map(Value::as_array);
    entries.flatten().filter_map(|entry| text(entry, "addr").parse().ok()).collect()
}

/// The addresses that a port may send from.
fn addresses_of_port(port: &Value) -> Vec<IpAddr> {
    let entries = list(port, "fixed_ips").iter().chain(list(port, "allowed_address_pairs"));
    entries.filter_map(|entry| text(entry, "ip_address").parse().ok()).collect()
}

/// Whether an address is in a range as `192.0.2.0/24`.
fn is_in(address: IpAddr, range: &str) -> bool {
    let Some((network, bits)) = range.split_once('/') else { return false };
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    let rest = |width: u32| width.checked_sub(bits);
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let (address, network) = (u32::from(address), u32::from(network));
            rest(32).is_some_and(|rest| (address ^ network).checked_shr(rest).unwrap_or(0) == 0)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let (address, network) = (u128::from(address), u128::from(network));
            rest(128).is_some_and(|rest| (address ^ network).checked_shr(rest).unwrap_or(0) == 0)
        }
        _ => false,
    }
}

/// Only an address of this host can be bound. A server of a cloud has none of them, nor one of a link.
fn is_of_this_host(address: IpAddr) -> bool {
    let link = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    link || address.is_loopback() || is_own_address(address)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;
    use crate::cloud::Cloud as _;
    use crate::cloud::openstack::stage::{self, Stage};

    /// A server with 10.0.0.5 (and 10.0.0.99 as an allowed pair) in 10.0.0.0/24, and the floating IP 203.0.113.5;
    /// 203.0.113.6 is another's.
    async fn neutron() -> Stage {
        Stage::with(|request| {
            let (method, target) = request.split_once(' ').unwrap();
            let floating = |ip: &str, port: &str| {
                let found = json!([{"floating_ip_address": ip, "port_id": port}]);
                stage::json(&json!({"floatingips": if target.contains(ip) { found } else { json!([]) }}))
            };
            match (method, target.split('?').next().unwrap()) {
                ("GET", "/servers/s") => stage::json(&json!({"server": {"addresses": {"net": [
                    {"addr": "10.0.0.5", "version": 4, "OS-EXT-IPS:type": "fixed"}]}}})),
                ("GET", "/v2.0/ports") => stage::json(&json!({"ports": [{"id": "p", "device_id": "s",
                    "network_id": "n", "fixed_ips": [{"ip_address": "10.0.0.5", "subnet_id": "x"}],
                    "allowed_address_pairs": [{"ip_address": "10.0.0.99"}]}]})),
                ("GET", "/v2.0/floatingips") if target.contains("113.5") => floating("203.0.113.5", "p"),
                ("GET", "/v2.0/floatingips") => floating("203.0.113.6", "q"),
                ("GET", "/v2.0/subnets") => stage::json(&json!({"subnets": [{"cidr": "10.0.0.0/24"}]})),
                ("GET", "/") => stage::json(&json!({})),
                other => panic!("{other:?}"),
            }
        })
        .await
    }

    #[tokio::test]
    async fn an_address_is_the_servers_or_a_translation_or_a_strangers() {
        let stage = neutron().await;
        let cloud = stage.cloud();
        let server = Server {
            id: "s".to_owned(),
            name: "image-manager-b".to_owned(),
            flavor: String::new(),
            console_log: PathBuf::new(),
        };
        for own in ["10.0.0.5", "10.0.0.99", "203.0.113.5"] {
            assert_eq!(cloud.stranger(&server, own.parse().unwrap()).await.unwrap(), None, "{own}");
        }
        // A router's address, or that of a site behind which the cloud is.
        assert_eq!(cloud.stranger(&server, "198.51.100.1".parse().unwrap()).await.unwrap(), None);
        for (other, why) in [
            ("10.0.0.6", "subnet 10.0.0.0/24"),
            ("203.0.113.6", "floating IP of something else"),
            ("127.0.0.1", "manager's own host"),
            ("169.254.169.254", "manager's own host"),
        ] {
            let found = cloud.stranger(&server, other.parse().unwrap()).await.unwrap().unwrap_or_default();
            assert!(found.contains(why) && found.contains("10.0.0.5"), "{other}: {found}");
        }
    }

    #[test]
    fn ranges_are_read() {
        for (address, range, inside) in [
            ("10.0.0.5", "10.0.0.0/24", true),
            ("10.0.1.5", "10.0.0.0/24", false),
            ("10.0.0.5", "0.0.0.0/0", true),
            ("10.0.0.5", "10.0.0.5/32", true),
            ("10.0.0.5", "10.0.0.0/33", false),
            ("2001:db8::5", "2001:db8::/64", true),
            ("2001:db9::5", "2001:db8::/64", false),
            ("10.0.0.5", "2001:db8::/64", false),
            ("10.0.0.5", "", false),
        ] {
            assert_eq!(is_in(address.parse().unwrap(), range), inside, "{address} {range}");
        }
    }
}
