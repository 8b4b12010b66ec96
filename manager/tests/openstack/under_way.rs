//! A manager that is killed while the cloud works on its request: what comes of it later is removed, too.

use std::time::Duration;

use serde_json::Value as Json;

use super::lab::{Lab, pause, wait_for};
use super::proxy::{Proxy, detour, keystone};

/// How long the request is held back: longer than another manager needs to begin to clean up.
const HELD_BACK: u64 = 20;

#[test]
fn a_server_that_is_made_after_its_manager_was_killed_goes() {
    let Some(lab) = Lab::tiny("pause_after = 0") else { return };
    let door = keystone(&lab.clouds);
    let host = door.split(':').next().unwrap();
    let rule = format!("method=POST path=/servers$ delay={HELD_BACK}");
    let nova = Proxy::start(&format!("{host}:8774"), &door, &[rule]);
    let clouds = detour(&lab, &[("compute", nova.url("/v2.1"))]);
    let mut killed = lab.start(lab.command(&["run", "tiny"]).env("OS_CLIENT_CONFIG_FILE", &clouds));
    let asked = |build: &Json| {
        let rows = build["resources"].as_array().into_iter().flatten();
        rows.filter(|row| row["kind"] == "server").count() == 1
    };
    let build = wait_for("the server to be asked for", || lab.builds().into_iter().find(asked));
    pause(Duration::from_secs(1));
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    nova.assert_all_used();

    let mut serving = lab.start(&mut lab.command(&["serve", "--operator", "127.0.0.1:0"]));
    serving.wait_until_it_serves(&lab);
    let id = build["id"].as_str().unwrap();
    let ended = wait_for("the end of the build", || {
        let build = lab.builds().into_iter().find(|build| build["id"] == id)?;
        (build["state"] == "errored").then_some(build)
    });
    assert_eq!(ended["server"]["id"].as_str().unwrap_or_default(), "", "nobody saw it: {ended:#}");
    let made = format!("servers/detail?all_tenants=1&deleted=1&name={id}");
    assert_eq!(lab.admin.list("compute", &made, "servers").len(), 1, "it was made, and is gone");
    lab.assert_nothing_left();
}
