use super::*;

fn state(boot: &str) -> State {
    State {
        boot_id: boot.to_owned(),
        machine_id: "0123".to_owned(),
        host_name: "web-1".to_owned(),
        host_keys: [("ssh_host_ed25519_key".to_owned(), "SHA256:a".to_owned())].into(),
        addresses: vec!["192.0.2.7".to_owned()],
    }
}

fn seen() -> Observation {
    let again = CheckResult {
        name: "ssh".to_owned(),
        outcome: CheckOutcome::Pass.into(),
        summary: "it answers".to_owned(),
        ..CheckResult::default()
    };
    Observation {
        before: state("a"),
        after: state("b"),
        took: Some(Duration::from_secs(40)),
        again: vec![again],
    }
}

fn judged(change: impl FnOnce(&mut Observation)) -> (CheckOutcome, String) {
    let mut seen = seen();
    change(&mut seen);
    let judgement = judge(&Settings::default(), &seen);
    (judgement.outcome, judgement.summary)
}

#[test]
fn the_same_server_passes() {
    let (outcome, summary) = judged(|_| {});
    assert_eq!(outcome, CheckOutcome::Pass, "{summary}");
    assert_eq!(summary, "rebooted in 40.0 s, and is still the same server; passed again: ssh");
}

#[test]
fn another_server_fails_by_what_is_another() {
    use CheckOutcome::Fail;
    let failed = |summary: &str| (Fail, summary.to_owned());
    let key = "ssh_host_ed25519_key";
    assert_eq!(
        judged(|seen| drop(seen.after.host_keys.insert(key.to_owned(), "SHA256:b".to_owned()))),
        failed("after the reboot host key ssh_host_ed25519_key has changed")
    );
    assert_eq!(
        judged(|seen| drop(seen.after.host_keys.remove(key))),
        failed("after the reboot host key ssh_host_ed25519_key is gone")
    );
    assert_eq!(
        judged(|seen| drop(seen.after.host_keys.insert("ssh_host_rsa_key".to_owned(), String::new()))),
        failed("after the reboot there is a new host key ssh_host_rsa_key")
    );
    assert_eq!(
        judged(|seen| seen.after.machine_id = "4567".to_owned()),
        failed("after the reboot the machine id is \"4567\", but was \"0123\"")
    );
    assert_eq!(
        judged(|seen| seen.after.host_name = "localhost".to_owned()),
        failed("after the reboot the host name is \"localhost\", but was \"web-1\"")
    );
    assert_eq!(
        judged(|seen| seen.after.addresses.clear()),
        failed("after the reboot the address is none, but was \"192.0.2.7\"")
    );
    assert_eq!(
        judged(|seen| seen.took = Some(Duration::from_secs(301))),
        failed("the server took 301.0 s to reboot, more than within = 300.0 s")
    );
}

#[test]
fn what_does_not_hold_again_decides() {
    use CheckOutcome::{Fail, Inconclusive};
    for outcome in [Fail, Inconclusive] {
        let (judged, summary) = judged(|seen| {
            seen.again[0].outcome = outcome.into();
            "sshd does not run".clone_into(&mut seen.again[0].summary);
        });
        assert_eq!(
            (judged, summary.as_str()),
            (outcome, "after the reboot the check ssh: sshd does not run")
        );
    }
}

#[test]
fn its_settings_are_read() {
    let settings: Settings = serde_json::from_value(json!({ "within": 90, "again": ["dns"] })).unwrap();
    assert_eq!(
        settings,
        Settings { within: Seconds(Duration::from_secs(90)), again: vec!["dns".to_owned()] }
    );
    assert_eq!(serde_json::from_value::<Settings>(json!({})).unwrap(), Settings::default());
    for kind in AGAIN {
        assert!((KIND.holds)(kind), "{kind}");
    }
    assert!(!(KIND.holds)("reboot") && !(KIND.holds)("console") && !(KIND.holds)("nonsense"));
}

#[test]
fn what_is_kept_is_of_this_build_and_another_boot_and_only_root_reads_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = tempfile::tempdir().unwrap();
    let guest = Guest::below(root.path());
    let boot = |id: &str| {
        let file = guest.path("/proc/sys/kernel/random/boot_id");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, id).unwrap();
    };
    boot("a\n");
    assert_eq!(Kept::of_build(&guest, "build"), None);
    let keep = Kept {
        build: "build".to_owned(),
        key: "secret".to_owned(),
        before: Some(state("a")),
        ..Kept::default()
    };
    keep.write(&guest).unwrap();
    let file = guest.path("/var/lib/image-manager/reboot");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(Kept::of_build(&guest, "build"), Some(keep.clone()));
    assert_eq!(Kept::of_build(&guest, "another"), None);
    assert!(!keep.is_of_an_earlier_boot(&guest), "the server has not gone down yet");
    boot("b\n");
    assert!(keep.is_of_an_earlier_boot(&guest));
    assert!(crate::remove(root.path()).complete && !file.exists(), "the removal takes it");
}

#[tokio::test]
async fn a_server_that_does_not_go_down_fails_and_keeps_nothing() {
    let root = tempfile::tempdir().unwrap();
    let guest = Guest::below(root.path());
    let request = CheckRequest {
        name: "reboot".to_owned(),
        timeout: Some(prost_types::Duration { seconds: 2, nanos: 0 }),
        ..CheckRequest::default()
    };
    let result = order(request.clone(), guest.clone(), Kept::default()).await;
    assert_eq!(
        (result.outcome(), result.summary.as_str()),
        (CheckOutcome::Fail, "the image has no program to reboot with")
    );

    std::fs::create_dir_all(guest.path("/sbin")).unwrap();
    let refuse = |text: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        let program = guest.path("/sbin/reboot");
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    refuse("#!/bin/sh\necho 'Operation inhibited by \"backup\"' >&2\nexit 1\n");
    let result = order(request.clone(), guest.clone(), Kept::default()).await;
    assert_eq!(result.summary, "the order to reboot was refused: Operation inhibited by \"backup\"");
    refuse("#!/bin/sh\nexit 0\n");
    let result = order(request, guest.clone(), Kept::default()).await;
    assert_eq!(result.outcome(), CheckOutcome::Fail);
    assert!(result.summary.contains("but was still running"), "{}", result.summary);
    assert!(!guest.has("/var/lib/image-manager/reboot"));
}
