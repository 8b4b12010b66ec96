use std::fs;

use super::*;

const LOCAL: &str = r#""init-local": {"errors": [], "finished": 1732547545.6, "recoverable_errors": {}, "start": 1732547545.3}"#;
const DATASOURCE: &str = r#""datasource": "DataSourceConfigDrive [net,ver=2][source=/dev/vdb]""#;

/// As 24.4 writes it; `changed` replaces the last stage.
fn status(modules_final: &str, stage: &str) -> String {
    format!(
        r#"{{"v1": {{{DATASOURCE}, "init": {{"errors": [], "finished": 1732547547.5, "recoverable_errors": {{}}, "start": 1732547546.8}},
        {LOCAL}, "modules-config": {{"errors": [], "finished": 1732547549.0, "start": 1732547548.0}},
        "modules-final": {modules_final}, "stage": {stage}}}}}"#
    )
}

fn done() -> String {
    status(
        r#"{"errors": [], "finished": 1732547560.2, "recoverable_errors": {}, "start": 1732547550.2}"#,
        "null",
    )
}

fn seen(status: &str, finished: bool) -> Observation {
    let result = finished.then_some(r#"{"v1": {"datasource": "x", "errors": []}}"#);
    Observation {
        installed: true,
        status: Some(Status::parse(status, result).unwrap()),
        finished,
        waited: Duration::from_secs(42),
        ..Observation::default()
    }
}

fn judged(settings: &Settings, seen: &Observation) -> (CheckOutcome, String) {
    let judgement = judge(settings, seen);
    (judgement.outcome, judgement.summary)
}

#[test]
fn a_good_end_passes() {
    let (outcome, summary) = judged(&Settings::default(), &seen(&done(), true));
    assert_eq!(outcome, CheckOutcome::Pass);
    assert_eq!(summary, "cloud-init finished with DataSourceConfigDrive [net,ver=2][source=/dev/vdb]");
    let observed = judge(&Settings::default(), &seen(&done(), true)).observations;
    assert!(observed.fields.contains_key("stage_seconds") && observed.fields.contains_key("datasource"));
}

#[test]
fn stages_are_in_order_with_their_times() {
    let status = Status::parse(&done(), None).unwrap();
    let names: Vec<&str> = status.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names, ORDER_OF_STAGES);
    assert!((status.stages[3].seconds().unwrap() - 10.0).abs() < 0.01);
}

const ORDER_OF_STAGES: [&str; 4] = ["init-local", "init", "modules-config", "modules-final"];

#[test]
fn errors_fail_with_their_stage() {
    let text = status(
        r#"{"errors": ["('scripts_user', RuntimeError('Runparts: 1 failures'))"], "finished": 5, "start": 4}"#,
        "null",
    );
    let (outcome, summary) = judged(&Settings::default(), &seen(&text, true));
    assert_eq!(outcome, CheckOutcome::Fail);
    assert!(summary.starts_with("cloud-init failed in modules-final: ('scripts_user'"), "{summary}");
    // Errors do not wait for the end.
    assert_eq!(judged(&Settings::default(), &seen(&text, false)).0, CheckOutcome::Fail);
}

#[test]
fn errors_that_only_the_result_has_fail() {
    let result = r#"{"v1": {"datasource": "x", "errors": ["late"]}}"#;
    let status = Status::parse(&done(), Some(result)).unwrap();
    let seen = Observation { status: Some(status), ..seen(&done(), true) };
    assert!(judged(&Settings::default(), &seen).1.contains("cloud-init failed: late"));
}

#[test]
fn recoverable_errors_are_told_and_fail_when_asked() {
    let text = status(
        r#"{"errors": [], "finished": 5, "start": 4, "recoverable_errors":
            {"WARNING": ["Failed to run", "again"], "DEPRECATED": ["old"]}}"#,
        "null",
    );
    let (outcome, summary) = judged(&Settings::default(), &seen(&text, true));
    assert_eq!(outcome, CheckOutcome::Pass);
    assert!(summary.contains("3 recoverable errors"), "{summary}");
    let strict = Settings { fail_on_recoverable_errors: true, ..Settings::default() };
    assert_eq!(judged(&strict, &seen(&text, true)).0, CheckOutcome::Fail);
}

#[test]
fn the_end_must_come() {
    let text = status(r#"{"errors": [], "finished": null, "start": 4}"#, r#""modules-final""#);
    let (outcome, summary) = judged(&Settings::default(), &seen(&text, false));
    assert_eq!(outcome, CheckOutcome::Fail);
    assert_eq!(summary, "cloud-init has not finished after 42.0 s: it is in modules-final");
    let text = status(r#"{"errors": [], "finished": null, "start": null}"#, "null");
    let waited = "cloud-init has not finished after 42.0 s";
    let summary = judged(&Settings::default(), &seen(&text, false)).1;
    assert_eq!(summary, format!("{waited}: modules-final has not started"));
    // The stage that comes next, and not the last one.
    let text = format!(r#"{{"v1": {{{DATASOURCE}, {LOCAL}, "stage": null}}}}"#);
    let summary = judged(&Settings::default(), &seen(&text, false)).1;
    assert_eq!(summary, format!("{waited}: init has not started"));
    let text = status(r#"{"errors": [], "finished": null, "start": 4}"#, "null");
    let summary = judged(&Settings::default(), &seen(&text, false)).1;
    assert_eq!(summary, format!("{waited}: modules-final has not finished"));
}

/// The users that `init` makes are missed later, which is an error of a stage that is not the cause.
#[test]
fn a_stage_that_was_passed_over_comes_before_the_errors_of_later_ones() {
    let text = status(
        r#"{"errors": ["('ssh_authkey_fingerprints', KeyError(\"name not found: 'debian'\"))"], "finished": 5, "start": 4}"#,
        "null",
    );
    let mut whole: Json = serde_json::from_str(&text).unwrap();
    whole["v1"]["init"] = json!({"errors": [], "start": null, "finished": null});
    for finished in [true, false] {
        let (outcome, summary) = judged(&Settings::default(), &seen(&whole.to_string(), finished));
        assert_eq!(outcome, CheckOutcome::Fail);
        assert_eq!(summary, "cloud-init's stage init never started, though modules-final did");
    }
}

#[test]
fn the_datasource_is_compared() {
    for (expected, outcome) in [
        ("ConfigDrive", CheckOutcome::Pass),
        ("datasourceconfigdrive", CheckOutcome::Pass),
        ("OpenStack", CheckOutcome::Fail),
    ] {
        let settings = Settings { datasource: expected.to_owned(), ..Settings::default() };
        assert_eq!(judged(&settings, &seen(&done(), true)).0, outcome, "{expected}");
    }
    let from = |name: &str| Status { datasource: name.to_owned(), ..Status::default() };
    assert!(from("DataSourceOpenStackLocal [net,ver=2]").is_from("OpenStack"));
    assert!(from("DataSourceNoCloud [seed=/dev/sr0]").is_from("NoCloud"));
    assert!(!from("").is_from("NoCloud"));
}

#[test]
fn what_is_not_there_is_said() {
    let settings = Settings::default();
    let bare = Observation { installed: true, ..Observation::default() };
    assert_eq!(judged(&settings, &Observation::default()).1, "cloud-init is not installed");
    assert_eq!(
        judged(&settings, &Observation { disabled: true, ..bare.clone() }).1,
        "cloud-init is disabled"
    );
    assert!(judged(&settings, &bare).1.starts_with("cloud-init has not started"));
    let broken = Observation { unreadable: "status.json: x".to_owned(), ..bare };
    assert!(judged(&settings, &broken).1.contains("cannot be read: status.json: x"));
    assert!(Status::parse("{", None).is_err() && Status::parse("{}", None).is_err());
}

#[test]
fn each_stage_must_start_and_finish() {
    for stage in ORDER_OF_STAGES {
        for (gap, why) in [
            (r#"{"errors": [], "start": null, "finished": null}"#, "never started"),
            (r#"{"errors": [], "start": null, "finished": 9.0}"#, "never started"),
            (r#"{"errors": [], "start": 7.5, "finished": null}"#, "did not finish"),
        ] {
            let mut whole: Json = serde_json::from_str(&done()).unwrap();
            whole["v1"][stage] = serde_json::from_str(gap).unwrap();
            let (outcome, summary) = judged(&Settings::default(), &seen(&whole.to_string(), true));
            assert_eq!(outcome, CheckOutcome::Fail, "{stage} {gap}");
            assert!(summary.contains(&format!("stage {stage} {why}")), "{summary}");
        }
        let mut whole: Json = serde_json::from_str(&done()).unwrap();
        whole["v1"].as_object_mut().unwrap().remove(stage);
        let (outcome, summary) = judged(&Settings::default(), &seen(&whole.to_string(), true));
        assert!(outcome == CheckOutcome::Fail && summary.contains("never started"), "{summary}");
    }
}

#[test]
fn the_fallback_is_no_datasource_unless_it_is_expected() {
    for datasource in ["DataSourceNone", "", "DataSourceNone [seed=x]"] {
        let mut whole: Json = serde_json::from_str(&done()).unwrap();
        whole["v1"]["datasource"] = json!(datasource);
        let mut found = seen(&whole.to_string(), true);
        found.status.as_mut().unwrap().datasource = datasource.to_owned();
        let (outcome, summary) = judged(&Settings::default(), &found);
        assert!(
            outcome == CheckOutcome::Fail && summary.contains("no datasource"),
            "{datasource:?}: {summary}"
        );
        let meant = Settings { datasource: "None".to_owned(), ..Settings::default() };
        let expected = if datasource.is_empty() { CheckOutcome::Fail } else { CheckOutcome::Pass };
        assert_eq!(judged(&meant, &found).0, expected, "{datasource:?}");
    }
}

/// What the check says of a guest that came to a good end, with these configuration files.
async fn with_files(files: &[(&str, &[u8])]) -> (CheckOutcome, String) {
    let root = tempfile::tempdir().unwrap();
    let guest = Guest::below(root.path());
    let result = br#"{"v1": {"datasource": "x", "errors": []}}"#;
    let done = done();
    let own: [(&str, &[u8]); 2] = [("/run/cloud-init/status.json", done.as_bytes()), (RESULT, result)];
    for (path, bytes) in own.iter().chain(files) {
        fs::create_dir_all(guest.path(path).parent().unwrap()).unwrap();
        fs::write(guest.path(path), bytes).unwrap();
    }
    let settings = Settings::default();
    let found = observe(&guest, Instant::now() + Duration::from_secs(5)).await;
    judged(&settings, &found)
}

#[tokio::test]
async fn a_configuration_file_that_cannot_be_read_fails_and_is_named() {
    let good: &[u8] = b"datasource_list: [ConfigDrive]\n";
    let fine = [("/etc/cloud/cloud.cfg", good), ("/etc/cloud/cloud.cfg.d/README", b"- \xff" as &[u8])];
    assert_eq!(with_files(&fine).await.0, CheckOutcome::Pass);
    for (path, bytes, why) in [
        ("/etc/cloud/cloud.cfg", b"users: [default\n" as &[u8], "line"),
        ("/etc/cloud/cloud.cfg.d/05_logging.cfg", b"- a list\n", "a list"),
        ("/etc/cloud/cloud.cfg.d/99.cfg", b"a: 1\nb: \xff\n", "line 2 is not UTF-8"),
        ("/run/cloud-init/cloud.cfg", b"words\n", "text"),
    ] {
        let (outcome, summary) = with_files(&[("/etc/cloud/x", b""), (path, bytes)]).await;
        assert_eq!(outcome, CheckOutcome::Fail, "{path}");
        assert!(summary.contains(path) && summary.contains(why), "{summary}");
    }
    let elsewhere = [
        ("/etc/cloud/cloud.cfg", b"conf_d: /etc/own\n" as &[u8]),
        ("/etc/cloud/cloud.cfg.d/unused.cfg", b"- not read\n"),
        ("/etc/own/1.cfg", b"- read\n"),
    ];
    assert!(with_files(&elsewhere).await.1.contains("/etc/own/1.cfg: line 1: a list"));
}

#[tokio::test]
async fn the_guest_is_watched_until_the_end() {
    let root = tempfile::tempdir().unwrap();
    let guest = Guest::below(root.path());
    let run = guest.path("/run/cloud-init");
    fs::create_dir_all(&run).unwrap();
    let running = status(r#"{"errors": [], "finished": null, "start": 4}"#, r#""modules-final""#);
    fs::write(run.join("status.json"), running).unwrap();
    let finish = async {
        sleep(Duration::from_millis(700)).await;
        fs::write(run.join("status.json"), done()).unwrap();
        fs::write(run.join("result.json"), r#"{"v1": {"datasource": "x", "errors": []}}"#).unwrap();
    };
    let settings = Settings::default();
    let deadline = Instant::now() + Duration::from_secs(10);
    let (seen, ()) = tokio::join!(observe(&guest, deadline), finish);
    assert_eq!(judge(&settings, &seen).outcome, CheckOutcome::Pass);
    assert!(seen.waited < Duration::from_secs(5));
}
