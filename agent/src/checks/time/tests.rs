use super::*;
use crate::checks::program::plant;

fn good() -> Observation {
    Observation {
        ahead: Some(0.2),
        service: "systemd-timesyncd.service".to_owned(),
        known: true,
        synchronised: true,
        source: "tsc".to_owned(),
        ..Observation::default()
    }
}

fn judged(settings: &Settings, seen: &Observation) -> (CheckOutcome, String) {
    let judgement = judge(settings, seen);
    (judgement.outcome, judgement.summary)
}

fn wanting(word: &str) -> Settings {
    Settings { synchronisation: word.to_owned(), ..Settings::default() }
}

#[test]
fn a_clock_that_is_right_and_kept_passes() {
    let (outcome, said) = judged(&Settings::default(), &good());
    assert_eq!(outcome, CheckOutcome::Pass);
    assert_eq!(
        said,
        "the clock is within 0.2 s of the manager's, kept by systemd-timesyncd.service, synchronised"
    );
}

#[test]
fn synchronisation_may_be_under_way_unless_it_must_be_reached() {
    let seen = Observation { synchronised: false, ..good() };
    let (outcome, said) = judged(&Settings::default(), &seen);
    assert_eq!(outcome, CheckOutcome::Pass);
    assert!(said.ends_with("which has reached no time server yet"), "{said}");
    assert_eq!(judged(&wanting("reached"), &seen).0, CheckOutcome::Inconclusive);
    assert_eq!(judged(&wanting("reached"), &good()).0, CheckOutcome::Pass);
}

#[test]
fn a_clock_that_is_behind_fails_whatever_keeps_it() {
    let behind = |seconds: f64| Observation { ahead: Some(-seconds), ..good() };
    assert_eq!(
        judged(&Settings::default(), &behind(7200.4)),
        (CheckOutcome::Fail, "the clock is 2 hours behind".to_owned())
    );
    assert_eq!(judged(&Settings::default(), &behind(259_200.0)).1, "the clock is 3 days behind");
    assert_eq!(judged(&Settings::default(), &behind(6.0)).1, "the clock is 6.0 s behind");
    assert_eq!(judged(&Settings::default(), &behind(4.9)).0, CheckOutcome::Pass);
    let wide = Settings { max_offset: Some(Seconds(Duration::from_hours(3))), ..Settings::default() };
    assert_eq!(judged(&wide, &behind(7200.0)).0, CheckOutcome::Pass);
}

#[test]
fn a_request_that_was_long_on_its_way_is_no_fault_of_the_clock() {
    let ahead = |seconds: f64, synchronised| Observation { ahead: Some(seconds), synchronised, ..good() };
    assert_eq!(judged(&Settings::default(), &ahead(30.0, true)).0, CheckOutcome::Pass);
    assert_eq!(judged(&Settings::default(), &ahead(30.0, false)).0, CheckOutcome::Inconclusive);
    let (outcome, said) = judged(&Settings::default(), &ahead(86400.0 * 3.0, true));
    assert_eq!((outcome, said.as_str()), (CheckOutcome::Fail, "the clock is 3 days ahead"));
}

#[test]
fn something_must_keep_the_clock_unless_the_hypervisor_is_meant_to() {
    let none = Observation {
        service: String::new(),
        synchronised: false,
        idle: vec!["systemd-timesyncd.service is disabled".to_owned()],
        ..good()
    };
    let (outcome, said) = judged(&Settings::default(), &none);
    assert_eq!(outcome, CheckOutcome::Fail);
    assert!(said.ends_with("(NTP) keeps the clock right: systemd-timesyncd.service is disabled"), "{said}");
    let without = Observation { idle: Vec::new(), ..none.clone() };
    assert!(judged(&Settings::default(), &without).1.ends_with("is installed"));
    assert_eq!(judged(&wanting("none"), &none).0, CheckOutcome::Pass);
    let blind = Observation { known: false, ..none };
    assert_eq!(judged(&Settings::default(), &blind).0, CheckOutcome::Inconclusive);
    assert_eq!(
        judged(&Settings::default(), &Observation { ahead: None, ..good() }).0,
        CheckOutcome::Inconclusive
    );
}

fn asked(guest: Guest) -> Examination {
    Examination {
        settings: json!({}),
        server: image_manager_proto::v1::ServerFacts::default(),
        guest,
        deadline: Instant::now() + Duration::from_secs(12),
        clock_ahead: Some(1.0),
    }
}

/// What systemctl prints of the services, in their order; `states` are those of the first ones.
fn systemctl(states: &[&str]) -> String {
    let absent = "LoadState=not-found\\nActiveState=inactive\\nUnitFileState=\\n";
    let all: Vec<&str> =
        states.iter().copied().chain(std::iter::repeat(absent)).take(SERVICES.len()).collect();
    format!("printf '{}'", all.join("\\n"))
}

#[tokio::test]
async fn the_guests_services_are_asked() {
    let root = tempfile::tempdir().unwrap();
    let guest = Guest::below(root.path());
    let on = "LoadState=loaded\\nActiveState=active\\nUnitFileState=enabled\\n";
    plant(
        &guest,
        "systemctl",
        &systemctl(&["LoadState=masked\\nActiveState=inactive\\nUnitFileState=masked\\n", on]),
    );
    plant(&guest, "timedatectl", "[ $1 = show ] && echo NTPSynchronized=yes");
    let seen = observe(&Settings::default(), &asked(guest)).await;
    assert_eq!((seen.service.as_str(), seen.synchronised), ("chronyd.service", true), "{seen:?}");
    assert_eq!(seen.idle, ["systemd-timesyncd.service is masked"]);
    assert!((seen.ahead.unwrap() - 1.0).abs() < 0.5);
}

#[tokio::test]
async fn a_service_that_is_off_is_named() {
    let root = tempfile::tempdir().unwrap();
    let guest = Guest::below(root.path());
    plant(
        &guest,
        "systemctl",
        &systemctl(&["LoadState=loaded\\nActiveState=inactive\\nUnitFileState=disabled\\n"]),
    );
    let seen = observe(&Settings::default(), &asked(guest)).await;
    assert_eq!(judged(&Settings::default(), &seen).0, CheckOutcome::Fail);
    assert_eq!(seen.idle, ["systemd-timesyncd.service is disabled"]);
}
