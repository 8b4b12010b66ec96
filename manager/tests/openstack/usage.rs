//! What is wrong before anything starts: exit code 64, and nothing begun.

use std::fs;
use std::time::Duration;

use serde_json::json;

use super::account::{Account, entry};
use super::lab::{Lab, tiny_schedule, wait_for};

#[test]
fn a_wrong_password_is_said_before_anything_starts() {
    let Some(lab) = Lab::tiny("") else { return };
    let clouds = fs::read_to_string(&lab.clouds).unwrap();
    let wrong = lab.path().join("wrong.yaml");
    let lines = clouds.lines().map(|line| match line.split_once("password:") {
        Some((indent, _)) if !line.contains("auth_type") => format!("{indent}password: wrong\n"),
        _ => format!("{line}\n"),
    });
    fs::write(&wrong, lines.collect::<String>()).unwrap();
    let said = Lab::expect_of(lab.command(&["run", "tiny"]).env("OS_CLIENT_CONFIG_FILE", &wrong), 64);
    assert!(said.contains("user, password, domain or project is wrong"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    assert!(lab.builds().is_empty());
}

#[test]
fn an_application_credential_that_has_expired() {
    let Some(lab) = Lab::with(&tiny_schedule("tiny", "old", "")) else { return };
    let auth_url = entry(&lab.clouds, "lab")["auth"]["auth_url"].as_str().unwrap().to_owned();
    let path = format!("users/{}/application_credentials", lab.tenant.user());
    let expires =
        (chrono::Utc::now() + Duration::from_secs(5)).format("%Y-%m-%dT%H:%M:%S.000000").to_string();
    let name = format!("im-test-expired-{}", std::process::id());
    let body = json!({"application_credential": {"name": name, "secret": "a secret of the test", "expires_at": expires}});
    let credential = lab.tenant.make("identity", &path, "application_credential", body);
    let id = credential["id"].as_str().unwrap();
    lab.plant("identity", format!("{path}/{id}"));
    let log_in = json!({"auth": {"identity": {"methods": ["application_credential"],
        "application_credential": {"id": id, "secret": "a secret of the test"}}}});
    Account::authenticate(&auth_url, &log_in).unwrap_or_else(|status| panic!("it was good once: {status}"));
    wait_for("the credential's end", || Account::authenticate(&auth_url, &log_in).is_err().then_some(()));

    let file = lab.path().join("clouds.yaml");
    let text = format!(
        "clouds: {{old: {{auth: {{auth_url: '{auth_url}', application_credential_id: '{id}', \
         application_credential_secret: 'a secret of the test'}}}}}}"
    );
    fs::write(&file, text).unwrap();
    let said = Lab::expect_of(lab.command(&["run", "tiny"]).env("OS_CLIENT_CONFIG_FILE", &file), 64);
    assert!(said.contains("the application credential is wrong, expired or revoked"), "{said}");
    assert!(!said.contains("a secret of the test"), "{said}");
    assert!(lab.builds().is_empty());
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let server = |flavor: &str, network: &str| {
        format!("server = {{ flavor = \"{flavor}\", network = \"{network}\" }}")
    };
    let schedules = [
        tiny_schedule("flavor", "lab", &server("lab.none", "lab-net")),
        tiny_schedule("network", "lab", &server("lab.tiny", "no-net")),
        tiny_schedule("cloud", "nowhere", ""),
        tiny_schedule(
            "group",
            "lab",
            "server = { flavor = \"lab.tiny\", network = \"lab-net\", security_groups = [\"x\"] }",
        ),
    ];
    let Some(lab) = Lab::with(&schedules.concat()) else { return };
    for (schedule, words) in [
        ("flavor", ["no flavor \"lab.none\"", "lab.tiny"]),
        ("network", ["no network \"no-net\"", "lab-net"]),
        ("cloud", ["no cloud \"nowhere\"", "lab-appcred"]),
        ("group", ["no security group \"x\"", "lab"]),
    ] {
        let said = lab.expect(&["run", schedule], 64);
        for words in words {
            assert!(said.contains(words), "{schedule}: {said}");
        }
    }
    assert!(lab.builds().is_empty());
}

#[test]
fn doctor_proves_what_can_be_proved() {
    let Some(lab) = Lab::tiny("") else { return };
    let said = lab.expect(&["doctor", "--cloud", "lab"], 0);
    for words in [
        "give access to project",
        "microversion 2.60",
        "lab.tiny (128 MiB",
        "fits the quota",
        "cannot be proved",
    ] {
        assert!(said.contains(words), "no {words:?} in\n{said}");
    }
}
