//! What the metadata says of the network: OpenStack's `network_data.json`, as cloud-init kept it.

use std::net::IpAddr;

use serde_json::{Value as Json, json};

use crate::guest::Guest;
use crate::text;

/// Most cards, and most addresses and name servers, that are looked at.
const MOST: usize = 64;

/// The network as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The cards.
    pub links: Vec<Link>,
    /// Name servers; any of them will do.
    pub name_servers: Vec<IpAddr>,
}

/// A card as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Its hardware address.
    pub mac: String,
    /// Its MTU. None: not said.
    pub mtu: Option<u64>,
    /// It gets an IPv4 address by DHCP, or nothing is said of IPv4.
    pub dhcp: bool,
    /// Its fixed addresses.
    pub addresses: Vec<IpAddr>,
    /// It has the way to everywhere, or may be given it.
    pub default_route: bool,
}

impl Plan {
    /// The card with this hardware address.
    pub fn link(&self, mac: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.mac.eq_ignore_ascii_case(mac))
    }

    /// Some card has the default route, or asks a server that may give it.
    pub fn needs_default_route(&self) -> bool {
        self.links.is_empty() || self.links.iter().any(|link| link.default_route)
    }

    pub(super) fn as_json(&self) -> Json {
        json!({
            "links": self.links.iter().map(|link| json!({
                "mac": link.mac,
                "mtu": link.mtu,
                "dhcp": link.dhcp,
                "addresses": link.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
            "name_servers": self.name_servers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }
}

/// What cloud-init kept of it.
pub(super) fn of(guest: &Guest) -> Option<Plan> {
    let text = guest
        .read("/run/cloud-init/instance-data-sensitive.json")
        .or_else(|_| guest.read("/run/cloud-init/instance-data.json"))
        .ok()?;
    let data: Json = serde_json::from_str(&text).ok()?;
    // The config drive's datasource has one name for it, and that of the service the other.
    let network = ["/ds/network_json", "/ds/networkdata"].iter().find_map(|at| data.pointer(at))?;
    network.get("links").and_then(Json::as_array)?;
    Some(parse(network))
}

fn parse(network: &Json) -> Plan {
    let list = |key: &str| network.get(key).and_then(Json::as_array).into_iter().flatten().take(MOST);
    let mut plan = Plan::default();
    for link in list("links") {
        let Some(mac) = link.get("ethernet_mac_address").and_then(Json::as_str) else { continue };
        // What lies upon cards has a card's hardware address, and is no card.
        let kind = link.get("type").and_then(Json::as_str).unwrap_or_default();
        if matches!(kind, "bond" | "vlan") {
            continue;
        }
        let id = link.get("id");
        let networks: Vec<&Json> = list("networks").filter(|network| network.get("link") == id).collect();
        plan.links.push(one_link(mac, link.get("mtu").and_then(Json::as_u64), &networks));
    }
    let of_networks = list("networks").filter_map(|network| network.get("services")?.as_array());
    let services = list("services").chain(of_networks.flatten());
    let dns = services.filter(|service| service.get("type").and_then(Json::as_str) == Some("dns"));
    plan.name_servers = dns.filter_map(|service| address(service.get("address"))).take(MOST).collect();
    plan
}

fn one_link(mac: &str, mtu: Option<u64>, networks: &[&Json]) -> Link {
    let mut link = Link { mac: text::one_line(mac), mtu, ..Link::default() };
    let mut of_four = false;
    for network in networks {
        let kind = network.get("type").and_then(Json::as_str).unwrap_or_default();
        of_four |= kind.starts_with("ipv4");
        link.dhcp |= kind == "ipv4_dhcp";
        if matches!(kind, "ipv4" | "ipv6") {
            link.addresses.extend(address(network.get("ip_address")));
        }
        let routes = network.get("routes").and_then(Json::as_array);
        let to_all =
            |route: &Json| matches!(route.get("network").and_then(Json::as_str), Some("0.0.0.0" | "::"));
        link.default_route |= routes.is_some_and(|routes| routes.iter().any(to_all)) || kind == "ipv4_dhcp";
    }
    link.dhcp |= !of_four;
    link.addresses.truncate(MOST);
    link
}

/// An address, with or without the length of its network.
fn address(json: Option<&Json>) -> Option<IpAddr> {
    json?.as_str()?.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openstacks_network_data_is_read() {
        let network = json!({
            "links": [
                { "id": "tap0", "type": "ovs", "mtu": 1442, "ethernet_mac_address": "fa:16:3e:00:00:01" },
                { "id": "tap1", "type": "ovs", "mtu": null, "ethernet_mac_address": "fa:16:3e:00:00:02" },
            ],
            "networks": [
                { "id": "network0", "type": "ipv4_dhcp", "link": "tap0" },
                { "id": "network1", "type": "ipv4", "link": "tap1", "ip_address": "192.0.2.7", "netmask": "255.255.255.0",
                  "routes": [{ "network": "198.51.100.0", "netmask": "255.255.255.0", "gateway": "192.0.2.1" }],
                  "services": [{ "type": "dns", "address": "192.0.2.53" }] },
                { "id": "network2", "type": "ipv6", "link": "tap1", "ip_address": "2001:db8::7/64" },
            ],
            "services": [{ "type": "dns", "address": "192.0.2.54" }, { "type": "ntp", "address": "192.0.2.1" }],
        });
        let plan = parse(&network);
        let first = plan.link("FA:16:3E:00:00:01").unwrap();
        assert_eq!((first.mtu, first.dhcp, first.default_route), (Some(1442), true, true));
        let second = plan.link("fa:16:3e:00:00:02").unwrap();
        assert_eq!((second.mtu, second.dhcp, second.default_route), (None, false, false));
        assert_eq!(
            second.addresses,
            ["192.0.2.7".parse::<IpAddr>().unwrap(), "2001:db8::7".parse().unwrap()]
        );
        assert_eq!(plan.name_servers.len(), 2);
        assert!(plan.needs_default_route());
    }

    #[test]
    fn without_a_known_form_there_is_no_plan() {
        let root = tempfile::tempdir().unwrap();
        let guest = Guest::below(root.path());
        assert_eq!(of(&guest), None);
        std::fs::create_dir_all(guest.path("/run/cloud-init")).unwrap();
        let write =
            |text: &str| std::fs::write(guest.path("/run/cloud-init/instance-data.json"), text).unwrap();
        write(r#"{"ds": {"meta_data": {}}, "v1": {}}"#);
        assert_eq!(of(&guest), None);
        write(r#"{"ds": {"network_json": {"links": [], "networks": [], "services": []}}}"#);
        assert_eq!(of(&guest), Some(Plan::default()));
    }
}
