use std::fs;

use super::*;
use crate::checks::program::plant;

fn lease(before: u64, after: u64) -> Lease {
    Lease {
        card: "eth0".to_owned(),
        client: "systemd-networkd".to_owned(),
        obstacle: String::new(),
        before,
        after,
        refusal: String::new(),
    }
}

fn judged(leases: Vec<Lease>) -> (CheckOutcome, String) {
    let judgement = judge(&Observation { leases, ..Observation::default() });
    (judgement.outcome, judgement.summary)
}

#[test]
fn a_lifetime_that_grew_passes_and_no_other() {
    let (outcome, said) = judged(vec![lease(86_380, 86_400)]);
    assert_eq!(outcome, CheckOutcome::Pass);
    assert_eq!(said, "systemd-networkd renewed the lease of eth0: 86400 s left, 86380 s before");
    for after in [86_380, 86_350] {
        let (outcome, said) = judged(vec![lease(86_380, after)]);
        assert_eq!(outcome, CheckOutcome::Inconclusive, "{said}");
        assert!(said.contains("but it was not renewed") && said.contains("UDP port 68"), "{said}");
    }
    // One of two is not enough.
    let (outcome, _) = judged(vec![lease(10, 20), Lease { card: "eth1".to_owned(), ..lease(10, 9) }]);
    assert_eq!(outcome, CheckOutcome::Inconclusive);
}

#[test]
fn what_nobody_can_order_is_skipped() {
    assert_eq!(
        judged(Vec::new()),
        (CheckOutcome::Skipped, "no address is from a lease that expires".to_owned())
    );
    let (outcome, said) =
        judged(vec![Lease { obstacle: "cannot be renewed: so it is".to_owned(), ..lease(10, 10) }]);
    assert_eq!(
        (outcome, said.as_str()),
        (CheckOutcome::Skipped, "the lease of eth0 cannot be renewed: so it is")
    );
    let blind = Observation { blind: true, ..Observation::default() };
    assert_eq!(judge(&blind).outcome, CheckOutcome::Inconclusive);
    let (outcome, said) = judged(vec![Lease { refusal: "networkctl renew: no".to_owned(), ..lease(10, 10) }]);
    assert_eq!(outcome, CheckOutcome::Inconclusive, "{said}");
}

/// A guest with one card of networkd's. Its address ages by the clock, and `networkctl renew` does what is said here.
fn guest(renew: &str) -> (tempfile::TempDir, Guest) {
    let root = tempfile::tempdir().unwrap();
    let guest = Guest::below(root.path());
    for (path, content) in [
        ("/sys/class/net/eth0/device/vendor", "0x1af4"),
        ("/sys/class/net/eth0/ifindex", "2\n"),
        ("/run/systemd/netif/links/2", "ADMIN_STATE=configured\n"),
        (BUS, ""),
    ] {
        let path = guest.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let end = root.path().join("end");
    fs::write(&end, format!("{}\n", 1000 + now())).unwrap();
    let end = end.display();
    plant(
        &guest,
        "ip",
        &format!(
            "read -r end <{end}\nleft=$((end - $(date +%s)))\n\
             echo \"2: eth0    inet 10.0.2.15/24 scope global dynamic eth0\\\\       valid_lft ${{left}}sec preferred_lft ${{left}}sec\"\n"
        ),
    );
    plant(&guest, "networkctl", &format!("[ \"$*\" = 'renew eth0' ] || exit 9\nend={end}\n{renew}\n"));
    (root, guest)
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn a_renewal_is_ordered_and_seen() {
    let (_root, guest) = guest("(sleep 1; echo $(($(date +%s) + 1000)) >$end) >/dev/null 2>&1 &");
    let seen = observe(&guest, Instant::now() + Duration::from_mins(2)).await;
    let [lease] = seen.leases.as_slice() else { panic!("{seen:?}") };
    assert!(lease.before <= 998 && lease.after > lease.before, "{lease:?}");
    assert_eq!(judge(&seen).outcome, CheckOutcome::Pass);
}

#[tokio::test]
async fn an_order_that_is_refused_or_not_answered_is_told() {
    let (_root, refusing) = guest("echo 'Failed to renew: no such link' >&2; exit 1");
    let seen = observe(&refusing, Instant::now() + Duration::from_mins(2)).await;
    let judgement = judge(&seen);
    assert_eq!(judgement.outcome, CheckOutcome::Inconclusive);
    assert!(
        judgement.summary.ends_with("networkctl renew: Failed to renew: no such link"),
        "{}",
        judgement.summary
    );

    let (_root, silent) = guest("exit 0");
    let seen = observe(&silent, Instant::now() + Duration::from_secs(8)).await;
    let judgement = judge(&seen);
    assert_eq!(judgement.outcome, CheckOutcome::Inconclusive);
    assert!(judgement.summary.contains("but it was not renewed"), "{}", judgement.summary);
}

/// Its DHCP server answers by broadcast, which cannot be waited for.
#[tokio::test]
async fn on_the_user_network_of_qemu_nothing_is_ordered() {
    let (root, guest) = guest("touch $0.ordered");
    for (path, content) in [
        ("/run/systemd/netif/leases/2", "ADDRESS=10.0.2.15\nSERVER_ADDRESS=10.0.2.2\n"),
        ("/sys/class/dmi/id/sys_vendor", "QEMU\n"),
    ] {
        let path = guest.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let seen = observe(&guest, Instant::now() + Duration::from_mins(2)).await;
    let judgement = judge(&seen);
    assert_eq!(judgement.outcome, CheckOutcome::Skipped);
    assert!(judgement.summary.contains("QEMU's user network"), "{}", judgement.summary);
    let ordered = root.path().join("usr/bin/networkctl.ordered");
    assert!(!ordered.exists());
    // The same address on a server of Nova's is anybody's.
    fs::write(guest.path("/sys/class/dmi/id/sys_vendor"), "OpenStack Foundation\n").unwrap();
    observe(&guest, Instant::now() + Duration::from_secs(6)).await;
    assert!(ordered.exists());
}
