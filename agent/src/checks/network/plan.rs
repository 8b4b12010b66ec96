//! What the metadata says of the network: OpenStack's `network_data.json`, as cloud-init kept it.

use std::net::IpAddr;

use serde_json::{Value as Json, json};

use super::routes::{Network, Route};
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
    /// Routes of networks with fixed addresses. Of several to the same place any one will do: the kernel takes no two that
    /// are alike.
    pub routes: Vec<Route>,
    /// Fixed addresses of what lies upon cards: bonds and VLANs.
    pub elsewhere: Vec<IpAddr>,
    /// Something of the kind has the way to everywhere, or may be given it.
    pub default_route_elsewhere: bool,
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
    /// It is in an IPv6 network in which it finds its address by itself, or is given it: which network that is. Empty:
    /// in none.
    pub six: String,
    /// It is in no network of its own: a port without addresses, or a part of a bond.
    pub unused: bool,
}

impl Plan {
    /// The card with this hardware address.
    pub fn link(&self, mac: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.mac.eq_ignore_ascii_case(mac))
    }

    /// Some card has the default route, or asks a server that may give it.
    pub fn needs_default_route(&self) -> bool {
        self.links.is_empty()
            || self.default_route_elsewhere
            || self.links.iter().any(|link| link.default_route)
    }

    pub(super) fn as_json(&self) -> Json {
        json!({
            "links": self.links.iter().map(|link| json!({
                "mac": link.mac,
                "mtu": link.mtu,
                "dhcp": link.dhcp,
                "ipv6": link.six,
                "unused": link.unused,
                "addresses": link.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
            "addresses_of_bonds_and_vlans": self.elsewhere.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "routes": self.routes.iter().map(ToString::to_string).collect::<Vec<_>>(),
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
        let mac = link.get("ethernet_mac_address").and_then(Json::as_str);
        let id = link.get("id");
        let networks: Vec<&Json> = list("networks").filter(|network| network.get("link") == id).collect();
        let one = one_link(mac.unwrap_or_default(), link.get("mtu").and_then(Json::as_u64), &networks);
        // What lies upon cards has a card's hardware address, and is no card.
        let kind = link.get("type").and_then(Json::as_str).unwrap_or_default();
        if matches!(kind, "bond" | "vlan") {
            plan.default_route_elsewhere |= one.default_route;
            plan.elsewhere.extend(one.addresses);
        } else if mac.is_some() {
            plan.links.push(one);
        } else {
            continue;
        }
        plan.routes.extend(networks.iter().flat_map(|network| routes(network)));
    }
    plan.routes.truncate(MOST);
    plan.elsewhere.truncate(MOST);
    let of_networks = list("networks").filter_map(|network| network.get("services")?.as_array());
    let services = list("services").chain(of_networks.flatten());
    let dns = services.filter(|service| service.get("type").and_then(Json::as_str) == Some("dns"));
    plan.name_servers = dns.filter_map(|service| address(service.get("address"))).take(MOST).collect();
    plan
}

fn one_link(mac: &str, mtu: Option<u64>, networks: &[&Json]) -> Link {
    let mut link = Link { mac: text::one_line(mac), mtu, unused: networks.is_empty(), ..Link::default() };
    let mut of_four = false;
    for network in networks {
        let kind = network.get("type").and_then(Json::as_str).unwrap_or_default();
        of_four |= kind.starts_with("ipv4");
        link.dhcp |= kind == "ipv4_dhcp";
        // `ipv6_slaac`, `ipv6_dhcp`, `ipv6_dhcpv6-stateful`, `ipv6_dhcpv6-stateless`.
        if kind.starts_with("ipv6_") && link.six.is_empty() {
            link.six = text::one_line(kind);
        }
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

/// The routes of a network with fixed addresses. Others have them from the lease or from a router, and the metadata may
/// name what those do not. One whose gateway is on no link the kernel does not take.
fn routes(network: &Json) -> Vec<Route> {
    let text = |json: &Json, key: &str| json.get(key).and_then(Json::as_str).map(str::to_owned);
    let own = || Network::parse(&text(network, "ip_address")?, text(network, "netmask").as_deref());
    if !matches!(text(network, "type").as_deref(), Some("ipv4" | "ipv6")) {
        return Vec::new();
    }
    let Some(own) = own() else { return Vec::new() };
    let reaches = |gateway: IpAddr| match gateway {
        IpAddr::V6(gateway) if gateway.is_unicast_link_local() => own.first.is_ipv6(),
        gateway => own.has(gateway),
    };
    let route = |route: &Json| {
        let to = Network::parse(&text(route, "network")?, text(route, "netmask").as_deref())?;
        let via: IpAddr = text(route, "gateway")?.parse().ok()?;
        reaches(via).then(|| Route { to, via: Some(via), card: String::new() })
    };
    let all = network.get("routes").and_then(Json::as_array).into_iter().flatten();
    all.take(MOST).filter_map(route).collect()
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
        let routes: Vec<String> = plan.routes.iter().map(ToString::to_string).collect();
        assert_eq!(routes, ["198.51.100.0/24 via 192.0.2.1"]);
        assert!(!first.unused && !second.unused && first.six.is_empty());
    }

    #[test]
    fn routes_that_the_kernel_can_take_are_wanted() {
        let plan = parse(&json!({
            "links": [{ "id": "a", "type": "ovs", "ethernet_mac_address": "fa:16:3e:00:00:01" }],
            "networks": [
                { "type": "ipv4", "link": "a", "ip_address": "192.0.2.7", "netmask": "255.255.255.0", "routes": [
                    { "network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1" },
                    { "network": "198.51.100.0", "netmask": "255.255.255.0", "gateway": "203.0.113.1" },
                    { "network": "nowhere", "netmask": "255.255.255.0", "gateway": "192.0.2.1" },
                ] },
                { "type": "ipv6", "link": "a", "ip_address": "2001:db8::7", "netmask": "ffff:ffff:ffff:ffff::", "routes": [
                    { "network": "::", "netmask": "::", "gateway": "fe80::1" },
                ] },
                { "type": "ipv6_slaac", "link": "a", "ip_address": "2001:db8:1::7", "netmask": "ffff:ffff:ffff:ffff::",
                  "routes": [{ "network": "::", "netmask": "::", "gateway": "2001:db8:1::1" }] },
            ],
        }));
        let routes: Vec<String> = plan.routes.iter().map(ToString::to_string).collect();
        assert_eq!(routes, ["0.0.0.0/0 via 192.0.2.1", "::/0 via fe80::1"]);
        assert_eq!(plan.links[0].six, "ipv6_slaac");
    }

    #[test]
    fn what_lies_upon_cards_has_their_networks() {
        let plan = parse(&json!({
            "links": [
                { "id": "one", "type": "phy", "ethernet_mac_address": "fa:16:3e:00:00:01" },
                { "id": "two", "type": "phy", "ethernet_mac_address": "fa:16:3e:00:00:02" },
                { "id": "both", "type": "bond", "bond_links": ["one", "two"], "ethernet_mac_address": "fa:16:3e:00:00:01" },
                { "id": "alone", "type": "ovs", "ethernet_mac_address": "fa:16:3e:00:00:03" },
            ],
            "networks": [
                { "type": "ipv4", "link": "both", "ip_address": "192.0.2.7", "netmask": "255.255.255.0",
                  "routes": [{ "network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1" }] },
            ],
        }));
        assert_eq!(plan.links.len(), 3);
        assert!(plan.links.iter().all(|link| link.unused));
        assert_eq!(plan.elsewhere, ["192.0.2.7".parse::<IpAddr>().unwrap()]);
        assert!(plan.needs_default_route());
        assert_eq!(plan.routes.len(), 1);
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
