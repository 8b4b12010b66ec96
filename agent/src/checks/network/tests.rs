use std::fs;

use super::*;
use crate::checks::program::plant;

const MAC: &str = "fa:16:3e:00:00:01";

fn address(text: &str, leased: bool) -> Address {
    Address { address: text.parse().unwrap(), global: !text.starts_with("fe80"), leased, seconds: None }
}

fn card(name: &str, mac: &str, addresses: Vec<Address>) -> Card {
    Card {
        name: name.to_owned(),
        mac: mac.to_owned(),
        mtu: 1500,
        up: true,
        carrier: true,
        addresses,
        ..Card::default()
    }
}

fn configured(card: Card) -> Card {
    Card { networkd: "configured".to_owned(), ..card }
}

fn route(to: &str, via: &str) -> Route {
    let to = Network::parse(to, None).unwrap();
    Route { to, via: Some(via.parse().unwrap()), card: "eth0".to_owned() }
}

/// A Debian 12 on the local cloud.
fn good() -> Observation {
    let link =
        Link { mac: MAC.to_owned(), mtu: Some(1500), dhcp: true, default_route: true, ..Link::default() };
    Observation {
        cards: vec![card("eth0", MAC, vec![address("10.0.2.15", true), address("fe80::1", false)])],
        default_route: true,
        name_servers: vec!["10.0.2.3".to_owned()],
        routes: Some(vec![route("0.0.0.0/0", "10.0.2.2")]),
        plan: Some(Plan { links: vec![link], ..Plan::default() }),
        ..Observation::default()
    }
}

fn judged(settings: &Settings, seen: &Observation) -> (CheckOutcome, String) {
    let judgement = judge(settings, seen);
    (judgement.outcome, judgement.summary)
}

fn failure(seen: &Observation) -> String {
    let (outcome, said) = judged(&Settings::default(), seen);
    assert_eq!(outcome, CheckOutcome::Fail, "{said}");
    said
}

fn with_card(change: impl FnOnce(&mut Card)) -> Observation {
    let mut seen = good();
    change(&mut seen.cards[0]);
    seen
}

#[test]
fn a_good_network_passes() {
    let (outcome, said) = judged(&Settings::default(), &good());
    assert_eq!((outcome, said.as_str()), (CheckOutcome::Pass, "eth0 has 10.0.2.15, as the metadata says"));
    let alone = Observation { plan: None, ..good() };
    assert_eq!(judged(&Settings::default(), &alone), (CheckOutcome::Pass, "eth0 has 10.0.2.15".to_owned()));
}

#[test]
fn an_address_that_no_lease_gave_came_with_the_image() {
    let baked = with_card(|card| card.addresses = vec![address("10.0.2.77", false)]);
    assert_eq!(
        failure(&baked),
        "eth0 has the address 10.0.2.77 without a DHCP lease: it came with the image"
    );
    assert!(failure(&Observation { plan: None, ..baked.clone() }).contains("10.0.2.77"));
    // Where the metadata gives fixed addresses there is no lease.
    let mut fixed = baked;
    let link = &mut fixed.plan.as_mut().unwrap().links[0];
    (link.dhcp, link.addresses) = (false, vec!["10.0.2.77".parse().unwrap()]);
    assert_eq!(judged(&Settings::default(), &fixed).0, CheckOutcome::Pass);
    fixed.plan.as_mut().unwrap().links[0].addresses = vec!["10.0.2.78".parse().unwrap()];
    assert_eq!(failure(&fixed), "eth0 does not have the address 10.0.2.78 that the metadata gives it");
}

#[test]
fn the_largest_packet_is_the_networks() {
    assert_eq!(
        failure(&with_card(|card| card.mtu = 1000)),
        "eth0 has an MTU of 1000, but the metadata says 1500"
    );
    let alone = Observation { plan: None, ..with_card(|card| card.mtu = 1000) };
    assert_eq!(failure(&alone), "eth0 has an MTU of 1000, less than the 1280 of any network");
    let alone = Observation { plan: None, ..with_card(|card| card.mtu = 1442) };
    assert_eq!(judged(&Settings::default(), &alone).0, CheckOutcome::Pass);
}

#[test]
fn there_must_be_a_way_out() {
    let seen = Observation { default_route: false, ..good() };
    assert!(failure(&seen).starts_with("there is no default route"));
    let settings = Settings { default_route: false, ..Settings::default() };
    assert_eq!(judged(&settings, &seen).0, CheckOutcome::Pass);
    // The metadata may say that there is none.
    let mut isolated = seen;
    isolated.plan.as_mut().unwrap().links[0].default_route = false;
    assert_eq!(judged(&Settings::default(), &isolated).0, CheckOutcome::Pass);
}

#[test]
fn every_card_works() {
    let mut seen = good();
    seen.cards.push(card("eth1", "fa:16:3e:00:00:02", Vec::new()));
    let said = failure(&seen);
    assert_eq!(said, "the card eth1 (fa:16:3e:00:00:02) has no address");
    "unmanaged".clone_into(&mut seen.cards[1].networkd);
    assert!(failure(&seen).ends_with("has no address: nothing in the image manages it"));
    // One that asks and hears nothing may be on a network without DHCP.
    "configuring".clone_into(&mut seen.cards[1].networkd);
    assert_eq!(judged(&Settings::default(), &seen).0, CheckOutcome::Inconclusive);
    seen.cards[1].up = false;
    assert_eq!(failure(&seen), "the card eth1 (fa:16:3e:00:00:02) is not up");
    (seen.cards[1].up, seen.cards[1].carrier) = (true, false);
    assert_eq!(judged(&Settings::default(), &seen).0, CheckOutcome::Inconclusive);
}

#[test]
fn a_card_in_no_network_needs_no_address() {
    let mut seen = good();
    seen.cards.push(card("eth1", "fa:16:3e:00:00:02", Vec::new()));
    let port = Link { mac: "fa:16:3e:00:00:02".to_owned(), unused: true, ..Link::default() };
    seen.plan.as_mut().unwrap().links.push(port);
    let (outcome, said) = judged(&Settings::default(), &seen);
    assert_eq!((outcome, said.as_str()), (CheckOutcome::Pass, "eth0 has 10.0.2.15, as the metadata says"));
    // Nor a link: nothing is said of it.
    (seen.cards[1].up, seen.cards[1].carrier) = (false, false);
    assert_eq!(judged(&Settings::default(), &seen).0, CheckOutcome::Pass);
    seen.plan.as_mut().unwrap().links[1].unused = false;
    assert!(failure(&seen).contains("eth1"));
}

#[test]
fn what_the_metadata_gives_to_a_bond_is_on_some_interface() {
    let mut seen = good();
    let member = |mac: &str| Link { mac: mac.to_owned(), unused: true, ..Link::default() };
    seen.plan = Some(Plan {
        links: vec![member(MAC)],
        elsewhere: vec!["192.0.2.7".parse().unwrap()],
        ..Plan::default()
    });
    assert_eq!(
        failure(&seen),
        "no interface has the address 192.0.2.7 that the metadata gives to a bond or VLAN"
    );
    seen.addresses = vec!["192.0.2.7".parse().unwrap()];
    assert_eq!(judged(&Settings::default(), &seen).0, CheckOutcome::Pass);
}

#[test]
fn routes_are_the_metadatas() {
    let mut seen = good();
    let plan = seen.plan.as_mut().unwrap();
    plan.routes = vec![route("198.51.100.0/24", "10.0.2.9"), route("198.51.100.0/24", "10.0.2.8")];
    assert_eq!(failure(&seen), "there is no route to 198.51.100.0/24 via 10.0.2.9, which the metadata names");
    // Of several to one place the kernel takes the first only.
    seen.routes
        .as_mut()
        .unwrap()
        .push(Route { card: "bond0".to_owned(), ..route("198.51.100.0/24", "10.0.2.8") });
    assert_eq!(judged(&Settings::default(), &seen).0, CheckOutcome::Pass);
    seen.plan.as_mut().unwrap().routes = vec![route("0.0.0.0/0", "10.0.2.1")];
    assert!(failure(&seen).contains("0.0.0.0/0 via 10.0.2.1"), "another gateway");
    let settings = Settings { default_route: false, ..Settings::default() };
    assert_eq!(judged(&settings, &seen).0, CheckOutcome::Pass);
    let unknown = Observation { routes: None, ..seen };
    assert_eq!(judged(&Settings::default(), &unknown).0, CheckOutcome::Pass, "it cannot be seen");
}

#[test]
fn a_card_in_a_network_of_ipv6_has_an_address_of_it() {
    use CheckOutcome::Pass;
    let mut seen = good();
    seen.plan.as_mut().unwrap().links[0].six = "ipv6_slaac".to_owned();
    let (outcome, said) = judged(&Settings::default(), &seen);
    assert_eq!(outcome, Pass, "nobody may have announced it: {said}");
    assert!(
        said.ends_with("; no IPv6 router is known on eth0, whose metadata names an IPv6 network"),
        "{said}"
    );
    seen.routes.as_mut().unwrap().push(route("::/0", "fe80::2"));
    assert!(failure(&seen).starts_with("eth0 knows an IPv6 router, but has taken no IPv6 address"));
    seen.cards[0].addresses.truncate(1);
    assert!(failure(&seen).starts_with("IPv6 is off on eth0"));
    seen.cards[0].addresses.push(address("2001:db8::15", true));
    let (outcome, said) = judged(&Settings::default(), &seen);
    assert!(outcome == Pass && !said.contains("router"), "{said}");
}

#[test]
fn before_cloud_inits_end_nobody_is_blamed() {
    let early = Observation { unsettled: true, ..with_card(|card| card.mtu = 1000) };
    let (outcome, said) = judged(&Settings::default(), &early);
    assert_eq!(outcome, CheckOutcome::Inconclusive);
    assert!(said.contains("MTU of 1000") && said.contains("longer timeout"), "{said}");
    assert_eq!(
        judged(&Settings::default(), &Observation { unsettled: true, ..good() }).0,
        CheckOutcome::Pass
    );
}

#[test]
fn a_card_of_the_metadata_must_be_there() {
    let seen = Observation {
        cards: vec![card("eth0", "fa:16:3e:00:00:09", vec![address("10.0.2.15", true)])],
        ..good()
    };
    let (outcome, said) = judged(&Settings::default(), &seen);
    assert_eq!(outcome, CheckOutcome::Inconclusive);
    assert!(said.contains(MAC), "{said}");
    assert_eq!(
        judged(&Settings::default(), &Observation { blind: true, ..good() }).0,
        CheckOutcome::Inconclusive
    );
    assert!(failure(&Observation { cards: Vec::new(), ..good() }).contains("no network card"));
}

#[test]
fn name_servers_are_the_metadatas() {
    let mut seen = good();
    seen.plan.as_mut().unwrap().name_servers = vec!["192.0.2.53".parse().unwrap()];
    assert_eq!(failure(&seen), "the name servers are 10.0.2.3, but the metadata says 192.0.2.53");
    let fixed = Settings { fixed_servers: true, ..Settings::default() };
    assert_eq!(judged(&fixed, &seen).0, CheckOutcome::Pass);
    seen.name_servers.push("192.0.2.53".to_owned());
    assert_eq!(judged(&Settings::default(), &seen).0, CheckOutcome::Pass);
}

fn guest(root: &std::path::Path, addresses: &str) -> Guest {
    let guest = Guest::below(root);
    for folder in [
        "/sys/class/net/eth0/device",
        "/sys/class/net/lo",
        "/proc/net",
        "/run/systemd/netif/leases",
        "/run/systemd/netif/links",
        "/etc",
    ] {
        fs::create_dir_all(guest.path(folder)).unwrap();
    }
    for (file, text) in [
        ("/sys/class/net/eth0/address", "fa:16:3e:00:00:01\n"),
        ("/sys/class/net/eth0/mtu", "1500\n"),
        ("/sys/class/net/eth0/flags", "0x1003\n"),
        ("/sys/class/net/eth0/carrier", "1\n"),
        ("/sys/class/net/eth0/ifindex", "2\n"),
        ("/run/systemd/netif/links/2", "# private\nADMIN_STATE=configured\n"),
        ("/run/systemd/netif/leases/2", "# private\nADDRESS=10.0.2.15\n"),
        (
            "/proc/net/route",
            "Iface\tDestination\n eth0\t00000000\t0202000A\t0003\t0\t0\t1024\t00000000\t0\t0\t0\n",
        ),
        ("/etc/resolv.conf", "nameserver 10.0.2.3\n"),
    ] {
        fs::write(guest.path(file), text).unwrap();
    }
    plant(&guest, "ip", &format!("cat <<'X'\n1: lo    inet 127.0.0.1/8 scope host lo\n{addresses}\nX"));
    guest
}

#[tokio::test]
async fn leased_addresses_are_told_from_those_of_the_image() {
    for (line, leased) in [
        ("2: eth0    inet 10.0.2.15/24 scope global dynamic eth0", true),
        // Some clients set no time, and their lease tells.
        ("2: eth0    inet 10.0.2.15/24 scope global eth0", true),
        ("2: eth0    inet 10.0.2.77/24 scope global eth0", false),
    ] {
        let root = tempfile::tempdir().unwrap();
        let guest = guest(root.path(), line);
        let addresses = cards::addresses(&guest, Instant::now() + Duration::from_mins(1)).await.unwrap();
        let seen = cards::of(&guest, &addresses);
        let address = line.split_whitespace().nth(3).unwrap().trim_end_matches("/24");
        assert_eq!(seen, [configured(card("eth0", MAC, vec![self::address(address, leased)]))], "{line}");
    }
}

#[tokio::test]
async fn a_part_of_a_bond_has_the_bonds_addresses_and_its_own_hardware_address() {
    let root = tempfile::tempdir().unwrap();
    let guest = guest(root.path(), "5: bond0    inet 10.0.2.15/24 scope global dynamic bond0");
    let card = guest.path("/sys/class/net/eth0");
    fs::create_dir_all(card.join("bonding_slave")).unwrap();
    fs::write(card.join("bonding_slave/perm_hwaddr"), "fa:16:3e:00:00:07\n").unwrap();
    assert!(cards_of(&guest).await[0].addresses.is_empty());
    std::os::unix::fs::symlink("../bond0", card.join("master")).unwrap();
    let seen = cards_of(&guest).await;
    assert_eq!(seen[0].mac, "fa:16:3e:00:00:07");
    assert_eq!(seen[0].addresses, [address("10.0.2.15", true)]);
}

async fn cards_of(guest: &Guest) -> Vec<Card> {
    let addresses = cards::addresses(guest, Instant::now() + Duration::from_mins(1)).await.unwrap();
    cards::of(guest, &addresses)
}

#[tokio::test]
async fn a_guest_is_looked_at() {
    let root = tempfile::tempdir().unwrap();
    let guest = guest(root.path(), "2: eth0    inet 10.0.2.15/24 scope global dynamic eth0");
    let seen = observe(&Settings::default(), &guest, Instant::now() + Duration::from_mins(1)).await;
    assert_eq!(
        (seen.default_route, seen.name_servers.as_slice()),
        (true, ["10.0.2.3".to_owned()].as_slice())
    );
    assert_eq!(judged(&Settings::default(), &seen).0, CheckOutcome::Pass);
}
