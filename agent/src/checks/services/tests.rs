use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::checks::program::plant;

fn unit(name: &str, loaded: &str, active: &str, sub: &str, file: &str) -> Unit {
    let [name, loaded, active, sub, file] = [name, loaded, active, sub, file].map(str::to_owned);
    Unit { name, loaded, active, sub, file }
}

fn listener(number: u16, protocol: &'static str, program: &str) -> Listener {
    Listener { protocol, address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), number, program: program.to_owned() }
}

/// A Debian 12 of disk-image-builder on a hypervisor with a channel for the guest agent.
fn good() -> Observation {
    Observation {
        state: "running".to_owned(),
        channel: true,
        guest_agent: true,
        units: vec![unit(GUEST_AGENT, "loaded", "active", "running", "static")],
        listeners: vec![
            listener(22, "tcp", "sshd"),
            listener(5355, "tcp", "systemd-resolve"),
            listener(5355, "udp", "systemd-resolve"),
            listener(68, "udp", "systemd-network"),
        ],
        waited: Duration::from_secs(80),
        ..Observation::default()
    }
}

fn judged(settings: &Settings, seen: &Observation) -> (CheckOutcome, String) {
    let judgement = judge(settings, seen);
    (judgement.outcome, judgement.summary)
}

fn failure(settings: &Settings, seen: &Observation) -> String {
    let (outcome, summary) = judged(settings, seen);
    assert_eq!(outcome, CheckOutcome::Fail, "{summary}");
    summary
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_good_system_passes() {
    let (outcome, summary) = judged(&Settings::default(), &good());
    assert_eq!(outcome, CheckOutcome::Pass);
    assert_eq!(summary, "the system is running, 4 listening ports, all expected");
}

#[test]
fn a_unit_that_failed_is_named_with_its_reason() {
    let failed = Failed {
        unit: "site.service".to_owned(),
        why: "it ended with exit code 1 and logged nothing".to_owned(),
    };
    let seen = Observation { state: "degraded".to_owned(), failed: vec![failed.clone()], ..good() };
    let said = failure(&Settings::default(), &seen);
    assert_eq!(said, "site.service failed: it ended with exit code 1 and logged nothing");
    let seen = Observation { failed: vec![failed.clone(), failed], ..seen };
    assert!(failure(&Settings::default(), &seen).ends_with("(and 1 more)"));
    // One that may fail is left out by the look, and the system stays degraded.
    let seen = Observation { state: "degraded".to_owned(), ..good() };
    assert_eq!(judged(&Settings::default(), &seen).0, CheckOutcome::Pass);
}

#[test]
fn a_service_that_never_stays_up_is_named() {
    let again =
        Failed { unit: "site.service".to_owned(), why: "7 times since the boot, no such file".to_owned() };
    let seen = Observation { restarting: vec![again], ..good() };
    assert!(failure(&Settings::default(), &seen).starts_with("site.service keeps restarting: 7 times"));
}

#[test]
fn a_start_that_does_not_end_says_what_it_waits_for() {
    let seen = Observation { state: "starting".to_owned(), pending: names(&["site.service"]), ..good() };
    assert_eq!(
        failure(&Settings::default(), &seen),
        "the system is still starting after 80.0 s, waiting for site.service"
    );
    let seen = Observation { state: "maintenance".to_owned(), ..good() };
    assert!(failure(&Settings::default(), &seen).contains("maintenance, not running"));
}

#[test]
fn the_guest_agent_runs_where_there_is_a_channel() {
    let masked = vec![unit(GUEST_AGENT, "masked", "inactive", "dead", "masked")];
    let seen = Observation { units: masked, ..good() };
    assert!(failure(&Settings::default(), &seen).ends_with("qemu-guest-agent.service is masked"));
    let dead = vec![unit(GUEST_AGENT, "loaded", "failed", "failed", "enabled")];
    let seen = Observation { units: dead, ..good() };
    assert!(failure(&Settings::default(), &seen).ends_with("qemu-guest-agent.service is failed (failed)"));
    let without = Observation { channel: false, units: Vec::new(), ..good() };
    assert_eq!(judged(&Settings::default(), &without).0, CheckOutcome::Pass);
}

/// As the check `guest_agent` has it: the channel is always there on the local cloud, and an image need not use it.
#[test]
fn an_image_need_not_have_the_guest_agent_unless_it_is_named() {
    let none = vec![unit(GUEST_AGENT, "not-found", "inactive", "dead", "")];
    let seen = Observation { guest_agent: false, units: none, ..good() };
    let (outcome, said) = judged(&Settings::default(), &seen);
    assert_eq!(outcome, CheckOutcome::Pass, "{said}");
    assert!(said.ends_with("; the image has no guest agent"), "{said}");
    let named = Settings { active: names(&[GUEST_AGENT]), ..Settings::default() };
    assert!(failure(&named, &seen).contains("is not installed, but must be active"));
}

#[tokio::test]
async fn the_guest_agent_is_known_by_its_program_or_its_unit() {
    let deadline = || Instant::now() + Duration::from_secs(20);
    for (loaded, program, installed) in [
        ("not-found", false, false),
        ("masked", false, false),
        ("masked", true, true),
        ("loaded", false, true),
    ] {
        let root = tempfile::tempdir().unwrap();
        let guest = guest(root.path(), "");
        std::fs::create_dir_all(guest.path("/dev/virtio-ports")).unwrap();
        std::fs::write(guest.path(CHANNEL), "").unwrap();
        let shown = format!("LoadState={loaded}");
        let script = std::fs::read_to_string(guest.path("/usr/bin/systemctl")).unwrap();
        std::fs::write(guest.path("/usr/bin/systemctl"), script.replace("LoadState=loaded", &shown)).unwrap();
        if program {
            plant(&guest, GUEST_AGENT_PROGRAM, ":");
        }
        let seen = look(&Settings::default(), &guest, deadline(), &mut None).await;
        assert_eq!((seen.channel, seen.guest_agent), (true, installed), "{loaded} {program}");
    }
}

#[test]
fn named_units_are_active_and_enabled() {
    let settings = Settings { active: names(&["site.service"]), ..Settings::default() };
    let with = |one: Unit| {
        let mut seen = good();
        seen.units.push(one);
        seen
    };
    let off = with(unit("site.service", "loaded", "inactive", "dead", "disabled"));
    assert_eq!(failure(&settings, &off), "site.service is inactive and not enabled, but must be active");
    let none = with(unit("site.service", "not-found", "inactive", "dead", ""));
    assert!(failure(&settings, &none).contains("is not installed"));
    let on = with(unit("site.service", "loaded", "active", "running", "disabled"));
    assert_eq!(judged(&settings, &on).0, CheckOutcome::Pass);
    let settings = Settings { enabled: names(&["site.service"]), ..Settings::default() };
    assert_eq!(failure(&settings, &on), "site.service is disabled, but must be enabled");
    let on = with(unit("site.service", "loaded", "inactive", "dead", "enabled"));
    assert_eq!(judged(&settings, &on).0, CheckOutcome::Pass);
}

#[test]
fn nothing_unexpected_listens() {
    let mut seen = good();
    seen.listeners.push(listener(8080, "tcp", "python3"));
    let said = failure(&Settings::default(), &seen);
    assert!(said.starts_with("python3 listens on port 8080/tcp of 0.0.0.0, which is not expected"), "{said}");
    let settings = Settings {
        sockets: Some(names(&["22/tcp", "8080/tcp", "5355/tcp", "5355/udp"])),
        ..Settings::default()
    };
    assert_eq!(judged(&settings, &seen).0, CheckOutcome::Pass);
    let none = Settings { sockets: Some(Vec::new()), ..Settings::default() };
    assert!(failure(&none, &seen).starts_with("sshd listens on port 22/tcp"));
}

#[test]
fn without_systemd_there_is_no_verdict() {
    let (outcome, said) = judged(&Settings::default(), &Observation::default());
    assert_eq!(outcome, CheckOutcome::Skipped);
    assert!(said.contains("checks.services = false"));
    let silent = Observation { error: "Connection refused".to_owned(), ..good() };
    assert_eq!(judged(&Settings::default(), &silent).0, CheckOutcome::Inconclusive);
}

/// A guest whose systemctl comes to `running` at the third question, and knows what it is asked for.
fn guest(root: &std::path::Path, failed: &str) -> Guest {
    let guest = Guest::below(root);
    std::fs::create_dir_all(guest.path("/run/systemd/system")).unwrap();
    let looks = root.join("looks").display().to_string();
    let script = format!(
        "case \"$1\" in
         is-system-running)
             echo x >>{looks}
             if [ $(wc -l <{looks}) -lt 3 ]; then echo starting; exit 1; fi
             echo {}; exit 0 ;;
         list-units) echo '{failed}' ;;
         show)
             case \"$*\" in
             *FinishTimestampMonotonic*) echo FinishTimestampMonotonic=34500000 ;;
             *NRestarts*) printf 'Id=a.service\\nNRestarts=0\\nSubState=running\\n' ;;
             *Result*) printf 'Result=exit-code\\nExecMainStatus=1\\n' ;;
             *) printf 'Id=ssh.service\\nLoadState=loaded\\nActiveState=active\\nSubState=running\\nUnitFileState=enabled\\n' ;;
             esac ;;
         esac",
        if failed.is_empty() { "running" } else { "degraded" },
    );
    plant(&guest, "systemctl", &script);
    guest
}

#[tokio::test]
async fn the_end_of_the_start_is_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let guest = guest(root.path(), "");
    let settings =
        Settings { active: names(&["ssh.service"]), enabled: names(&["ssh.service"]), ..Settings::default() };
    let seen = observe(&settings, &guest, Instant::now() + Duration::from_mins(1)).await;
    assert_eq!(seen.state, "running");
    assert_eq!(seen.running, Some(34.5), "systemd's own time, not when it was seen");
    assert_eq!(judged(&settings, &seen).0, CheckOutcome::Pass, "{seen:?}");
}

#[tokio::test]
async fn what_failed_is_read_with_the_journals_word() {
    let root = tempfile::tempdir().unwrap();
    let guest = guest(root.path(), "site.service loaded failed failed A site");
    plant(&guest, "journalctl", "echo Starting; echo 'Failed to find module no_such_module'; echo bye");
    let seen = observe(&Settings::default(), &guest, Instant::now() + Duration::from_secs(20)).await;
    assert_eq!(
        failure(&Settings::default(), &seen),
        "site.service failed: Failed to find module no_such_module"
    );
    let allowed = Settings { allowed_failed: names(&["site.service"]), ..Settings::default() };
    let seen = observe(&allowed, &guest, Instant::now() + Duration::from_secs(20)).await;
    assert_eq!(judged(&allowed, &seen).0, CheckOutcome::Pass);
}

#[tokio::test]
async fn a_start_that_takes_too_long_is_not_waited_for_beyond_the_deadline() {
    let root = tempfile::tempdir().unwrap();
    let guest = Guest::below(root.path());
    std::fs::create_dir_all(guest.path("/run/systemd/system")).unwrap();
    let script = "case $1 in is-system-running) echo starting; exit 1 ;;
                  list-jobs) echo '12 site.service start running'; echo '13 b.target start waiting' ;; esac";
    plant(&guest, "systemctl", script);
    let seen = observe(&Settings::default(), &guest, Instant::now() + Duration::from_secs(12)).await;
    assert_eq!(seen.pending, ["site.service"]);
    assert_eq!(seen.running, None);
    assert!(failure(&Settings::default(), &seen).contains("still starting"));
}
