//! Guests, disk-image-builder and clouds that try to steer the terminal of who looks on.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use image_manager_proto::v1::{CheckOutcome, CheckResult, agent_message, manager_message};

use super::harness::{Place, text, wait_for};
use super::hostile;
use super::untrusted::{CANARY, assert_all_is_seen, both, on_terminal};

/// What of the canary a terminal would obey, as it is.
#[track_caller]
fn assert_nothing_is_obeyed(what: &str, said: &str) {
    for raw in ["\x1b]0;", "\x1b[35m", "\u{9b}", "\u{202e}", "\u{2066}", "\u{200b}", "\u{2028}"] {
        assert!(!said.contains(raw), "{what}: {raw:?} reached the terminal:\n{said:?}");
    }
    let forged = said.split(['\n', '\r']).find(|line| line.starts_with("FORGED"));
    assert_eq!(forged, None, "{what}:\n{said}");
}

#[test]
fn disk_image_builder_does_not_steer_the_terminal() {
    let place = Place::tiny("image.environment = { TINY_BUILD_FAIL = \"hook\" }");
    let real = super::harness::repository().join("testbed/tiny-image/disk-image-create");
    let script = place.path().join("disk-image-create");
    let said = format!("cat '{}'\nexec '{}' \"$@\"", place.path().join("said").display(), real.display());
    fs::write(place.path().join("said"), format!("{CANARY}\n")).unwrap();
    fs::write(&script, format!("#!/bin/bash\n{said}\n")).unwrap();
    assert!(Command::new("chmod").arg("755").arg(&script).status().unwrap().success());
    let mut run = on_terminal(&place, &["run", "tiny", "--verbose", "--log", "info,dib=info"]);
    let output = run.env("IMAGE_MANAGER_DIB", &script).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    let said = both(&output);
    assert!(said.contains("[DIB]") && said.contains("owned"), "it was shown:\n{said}");
    assert_nothing_is_obeyed("run", &said);
    place.assert_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guest_does_not_steer_the_terminal() {
    let place = Place::tiny("image.environment = { TINY_CANARY = \"escapes\" }");
    let run = on_terminal(&place, &["run", "tiny", "--verbose", "--reattach", "5s"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let handed = hostile::handed(&place);
    let (say, mut heard) = hostile::attach(&place, &handed, &handed.token, CANARY).await.unwrap();
    let mut asked = Vec::new();
    while asked.len() < 4 {
        let next = heard.message().await.unwrap().unwrap().kind;
        if let Some(manager_message::Kind::CheckRequest(check)) = next {
            asked.push(check.name);
        }
    }
    for name in &asked {
        let observations = prost_types::Struct {
            fields: [(
                CANARY.to_owned(),
                prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(CANARY.to_owned())) },
            )]
            .into(),
        };
        let result = CheckResult {
            name: name.clone(),
            outcome: CheckOutcome::Pass.into(),
            summary: CANARY.to_owned(),
            observations: Some(observations),
            ..CheckResult::default()
        };
        say.send(hostile::message(agent_message::Kind::CheckResult(result))).await.unwrap();
    }
    wait_for("the results to be recorded", Duration::from_secs(30), || {
        let checks = place.latest()["checks"].as_array().unwrap().clone();
        checks.iter().all(|check| check["outcome"] == "pass").then_some(())
    });
    wait_for("the guest to try", Duration::from_mins(2), || {
        let log = place.run(&["logs", "latest", "--console", "--raw"]);
        text(&log.stdout).contains("FORGED").then_some(())
    });
    drop((say, heard));
    let output = run.wait_with_output().unwrap();
    let said = both(&output);
    assert!(said.contains("[console]") && said.contains("tiny: escapes"), "the console was shown:\n{said}");
    assert_nothing_is_obeyed("run", &said);
    let log = place.run(&["logs", "latest", "--console", "--raw"]);
    assert!(text(&log.stdout).contains("\x1b]0;owned"), "the guest has tried:\n{}", text(&log.stdout));
    for arguments in
        [&["logs", "latest", "--console"][..], &["show", "latest"], &["logs", "latest", "--agent"]]
    {
        let output = on_terminal(&place, arguments).output().unwrap();
        assert_all_is_seen(&format!("{arguments:?}"), &both(&output));
    }
    place.assert_nothing_left();
}

/// A Keystone that lets nobody in, and says so in its own way.
fn keystone() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // Ends with the test's process.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // The head and a short body come at once, or what is missing of them matters to nobody.
            let _ = stream.read(&mut vec![0; 65536]);
            let body =
                serde_json::json!({"error": {"code": 401, "title": CANARY, "message": CANARY}}).to_string();
            let answer = format!(
                "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                 connection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn keystone_does_not_steer_the_terminal() {
    let schedule = super::harness::tiny_schedule("far", "cloud = \"evil\"");
    let place = Place::new(&schedule.replace("server =", "server.flavor = \"m1\"\n#"));
    let auth = format!(
        "{{ auth_url: \"http://{}/v3\", username: u, password: p, project_name: x, user_domain_name: d, \
         project_domain_name: d }}",
        keystone()
    );
    let clouds = place.path().join("clouds.yaml");
    fs::write(&clouds, format!("clouds:\n  evil:\n    auth: {auth}\n")).unwrap();
    for arguments in [
        &["doctor", "--cloud", "evil"][..],
        &["run", "far", "--agent-endpoint", "192.0.2.1:50051"],
        &["sweep", "--cloud", "evil", "--dry-run"],
    ] {
        let mut command = on_terminal(&place, arguments);
        let said = both(&command.env("OS_CLIENT_CONFIG_FILE", &clouds).output().unwrap());
        assert!(said.contains("owned"), "{arguments:?}: what Keystone said was not shown:\n{said}");
        assert_all_is_seen(&format!("{arguments:?} on a terminal"), &said);
        let said = both(&place.command(arguments).env("OS_CLIENT_CONFIG_FILE", &clouds).output().unwrap());
        assert_all_is_seen(&format!("{arguments:?} in a pipe"), &said);
    }
}
