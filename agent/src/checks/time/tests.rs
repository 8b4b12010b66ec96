use super::*;
use crate::checks::program::plant;

fn good() -> Observation {
    Observation {
        ahead: Some(0.2),
        service: "systemd-timesyncd.service".to_owned(),
        servers: Some(vec!["0.debian.pool.ntp.org".to_owned()]),
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
fn a_clock_that_is_behind_fails() {
    let behind = |seconds: f64| Observation { ahead: Some(-seconds), synchronised: false, ..good() };
    assert_eq!(
        judged(&Settings::default(), &behind(7200.4)),
        (CheckOutcome::Fail, "the clock is 2 hours behind".to_owned())
    );
    assert_eq!(judged(&Settings::default(), &behind(259_200.0)).1, "the clock is 3 days behind");
    assert_eq!(judged(&Settings::default(), &behind(6.0)).1, "the clock is 6.0 s behind");
    assert_eq!(judged(&Settings::default(), &behind(4.9)).0, CheckOutcome::Pass);
    let wide = Settings { max_offset: Some(Seconds(Duration::from_hours(3))), ..Settings::default() };
    assert_eq!(judged(&wide, &behind(7200.0)).0, CheckOutcome::Pass);
    // However long the request was on its way.
    let slow = Observation { uncertain: 100.0, ..behind(6.0) };
    assert_eq!(judged(&Settings::default(), &slow).0, CheckOutcome::Fail);
}

#[test]
fn a_clock_is_ahead_as_far_as_the_requests_way_cannot_explain_it() {
    use CheckOutcome::{Fail, Inconclusive, Pass};
    let ahead = |seconds: f64, uncertain| Observation {
        ahead: Some(seconds),
        uncertain,
        synchronised: false,
        ..good()
    };
    let usual = Settings::default();
    assert_eq!(judged(&usual, &ahead(60.0, 0.4)), (Fail, "the clock is at least 59.6 s ahead".to_owned()));
    assert_eq!(judged(&usual, &ahead(86400.0 * 3.0, 2.0)).1, "the clock is at least 3 days ahead");
    // The way may have been as long.
    assert_eq!(judged(&usual, &ahead(30.0, 26.0)).0, Inconclusive);
    let seen = Observation { synchronised: true, ..ahead(30.0, 26.0) };
    assert_eq!(judged(&usual, &seen).0, Pass);
    assert_eq!(judged(&usual, &ahead(5.3, 0.4)).0, Inconclusive);
    assert_eq!(judged(&usual, &ahead(4.9, 0.4)).0, Pass);
}

#[test]
fn whose_clock_is_wrong_is_not_known_where_the_servers_is_synchronised() {
    for (ahead, said) in [(60.0, "at least 59.0 s ahead"), (-60.0, "60.0 s behind")] {
        let seen = Observation { ahead: Some(ahead), uncertain: 1.0, ..good() };
        let judgement = judge(&Settings::default(), &seen);
        assert_eq!(judgement.outcome, CheckOutcome::Inconclusive, "{}", judgement.summary);
        assert!(judgement.summary.contains(said), "{}", judgement.summary);
        assert!(judgement.summary.contains("its time server or the manager's clock is wrong"));
        let observed = crate::checks::observations::to_json(Some(&judgement.observations));
        assert_eq!(observed[DISPUTED], true);
        let alone = judge(&Settings::default(), &Observation { synchronised: false, ..seen });
        assert_eq!(alone.outcome, CheckOutcome::Fail);
    }
    let observed = judge(&Settings::default(), &good()).observations;
    assert_eq!(crate::checks::observations::to_json(Some(&observed))[DISPUTED], false);
}

#[test]
fn a_service_without_a_time_server_keeps_no_clock() {
    let alone = Observation { servers: Some(Vec::new()), synchronised: false, ..good() };
    let (outcome, said) = judged(&Settings::default(), &alone);
    assert_eq!(outcome, CheckOutcome::Fail);
    assert!(said.contains("systemd-timesyncd.service runs, but has no time server to ask"), "{said}");
    assert_eq!(judged(&wanting("none"), &alone).0, CheckOutcome::Pass);
    let unknown = Observation { servers: None, ..alone.clone() };
    assert_eq!(judged(&Settings::default(), &unknown).0, CheckOutcome::Pass);
    let kept = Observation { synchronised: true, ..alone };
    assert_eq!(judged(&Settings::default(), &kept).0, CheckOutcome::Pass, "the kernel knows better");
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
    let early = Observation { unsettled: true, ..none.clone() };
    assert_eq!(judged(&Settings::default(), &early).0, CheckOutcome::Inconclusive, "it may yet start");
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
        clock_ahead: Some(Clock {
            ahead: 1.0,
            longest_way: Duration::from_millis(300),
            at: (std::time::SystemTime::now(), Instant::now()),
        }),
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
    assert!((seen.uncertain - 0.3).abs() < 0.01, "{seen:?}");
}

#[tokio::test]
async fn a_service_that_dies_again_and_again_does_not_run() {
    let root = tempfile::tempdir().unwrap();
    let guest = Guest::below(root.path());
    let starting = |sub: &str| {
        systemctl(&[
            "LoadState=not-found\\nActiveState=inactive\\nUnitFileState=\\n",
            &format!("LoadState=loaded\\nActiveState=activating\\nSubState={sub}\\nUnitFileState=enabled\\n"),
        ])
    };
    for (sub, runs) in [("start", true), ("auto-restart", false), ("auto-restart-queued", false)] {
        plant(&guest, "systemctl", &starting(sub));
        let seen = look(&guest, Instant::now() + Duration::from_secs(10)).await;
        assert_eq!(!seen.service.is_empty(), runs, "{sub}: {seen:?}");
        let seen = Observation { ahead: Some(0.1), ..seen };
        let (outcome, said) = judged(&Settings::default(), &seen);
        assert_eq!(outcome == CheckOutcome::Pass, runs, "{said}");
        assert!(runs || said.ends_with("chronyd.service keeps restarting"), "{said}");
    }
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
