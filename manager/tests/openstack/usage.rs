//! What is wrong before anything starts: exit code 64, and nothing begun.

use std::fs;

use super::lab::{Lab, tiny_schedule};

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
fn an_application_credential_that_is_no_more() {
    let Some(lab) = Lab::with(&tiny_schedule("tiny", "gone", "")) else { return };
    let clouds = fs::read_to_string(&lab.clouds).unwrap();
    let url = clouds.lines().find_map(|line| line.trim().strip_prefix("auth_url: ")).unwrap();
    let file = lab.path().join("clouds.yaml");
    let text = format!(
        "clouds: {{gone: {{auth: {{auth_url: '{url}', application_credential_id: x, application_credential_secret: y}}}}}}"
    );
    fs::write(&file, text).unwrap();
    let said = Lab::expect_of(lab.command(&["run", "tiny"]).env("OS_CLIENT_CONFIG_FILE", &file), 64);
    assert!(said.contains("the application credential is wrong, expired or revoked"), "{said}");
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
        "let us into project",
        "microversion 2.60",
        "lab.tiny (128 MiB",
        "fits the quota",
        "cannot be proved",
    ] {
        assert!(said.contains(words), "no {words:?} in\n{said}");
    }
}
