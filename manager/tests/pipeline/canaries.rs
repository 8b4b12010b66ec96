//! Images that must not pass, and what is said of each.

use image_manager::reason::hint_of;
use serde_json::Value as Json;

use super::harness::Place;

/// Builds the tiny image with something wrong with it; expects an exit code and a reason.
#[track_caller]
fn canary(canary: &str, more: &str, code: i32, reason: &str) -> Json {
    let place = Place::tiny(&format!(
        "image.environment = {{ TINY_CANARY = \"{canary}\" }}\npublish.name = \"tiny\"\n{more}"
    ));
    canary_in(&place, code, reason)
}

#[track_caller]
fn canary_in(place: &Place, code: i32, reason: &str) -> Json {
    let report = place.expect(&["run", "tiny", "--reattach", "6s", "--heartbeat-timeout", "8s"], code);
    let build = place.latest();
    assert_eq!(build["reason"], reason, "{report}");
    assert_eq!(build["failure"]["reason"], reason);
    assert_ne!(build["failure"]["message"], "");
    assert_eq!(build["failure"]["hint"], hint_of(reason));
    assert!(report.trim_end().ends_with(&format!("\nNext: {}", hint_of(reason))), "{report}");
    assert_ne!(build["failure"]["evidence"], "", "a failure without evidence:\n{report}");
    assert_eq!(build["state"], if code == 1 { "failed" } else { "errored" });
    assert!(!place.state().join("images/published").join("tiny.qcow2").exists());
    place.assert_nothing_left();
    build
}

fn check<'a>(build: &'a Json, name: &str) -> &'a Json {
    build["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()
}

fn evidence(build: &Json) -> &str {
    build["failure"]["evidence"].as_str().unwrap()
}

/// For images whose agent never comes.
const SHORT_BOOT: &str = "timeouts.boot = \"40s\"";

#[test]
fn no_agent_in_the_image() {
    let build = canary("no-agent", SHORT_BOOT, 2, "agent_silent");
    assert!(evidence(&build).contains("tiny: no agent"), "the console is the evidence: {}", evidence(&build));
    assert_eq!(build["agent"], Json::Null);
}

#[test]
fn a_wrong_token() {
    let build = canary("wrong-token", SHORT_BOOT, 2, "agent_silent");
    let message = build["failure"]["message"].as_str().unwrap();
    assert!(message.contains("wrong token"), "{message}");
}

#[test]
fn a_resolv_conf_that_came_with_the_image_fails_though_its_server_answers() {
    let more = "checks = { dns = { timeout = \"10s\" }, internet = false, disk = false, cloud_init = false }";
    let build = canary("dns-baked", more, 1, "check_failed");
    let dns = check(&build, "dns");
    assert_eq!(dns["outcome"], "fail");
    let summary = dns["summary"].as_str().unwrap();
    assert!(summary.contains("10.0.2.3 came with the image"), "{summary}");
    let names = dns["observations"]["names"].as_array().unwrap();
    assert!(names.iter().all(|name| name["addresses"] != serde_json::json!([])), "its server answers: {dns}");
    // Where it is meant, it passes.
    let more = more.replace("dns = {", "dns = { fixed_servers = true,");
    let place = Place::tiny(&format!("image.environment = {{ TINY_CANARY = \"dns-baked\" }}\n{more}"));
    place.expect(&["run", "tiny"], 0);
    place.assert_nothing_left();
}

#[test]
fn dns_is_broken() {
    // The names of the mirrors resolve here and not in the image: the image's fault.
    let more = "checks = { dns = { timeout = \"10s\" }, internet = false, disk = false, cloud_init = false }";
    let build = canary("dns-broken", more, 1, "check_failed");
    let dns = check(&build, "dns");
    assert_eq!(dns["outcome"], "fail");
    assert!(build["failure"]["message"].as_str().unwrap().contains("dns"), "{}", build["failure"]);
    assert!(evidence(&build).contains("127.0.0.1"), "the nameserver that was asked: {}", evidence(&build));
}

#[test]
fn the_disk_did_not_grow() {
    let build = canary("disk-not-grown", "checks.disk.timeout = \"20s\"", 1, "check_failed");
    let disk = check(&build, "disk");
    assert_eq!(disk["outcome"], "fail");
    assert!(disk["summary"].as_str().unwrap().contains("did not grow"), "{disk}");
    assert!(evidence(&build).contains("disk"), "{}", evidence(&build));
}

#[test]
fn the_disk_is_full() {
    let build =
        canary("disk-full", "checks.disk = { timeout = \"20s\", min_free = \"100 MiB\" }", 1, "check_failed");
    assert_eq!(check(&build, "disk")["outcome"], "fail");
}

#[test]
fn cloud_init_fails() {
    let build = canary("cloud-init-failing", "", 1, "check_failed");
    let cloud_init = check(&build, "cloud_init");
    assert_eq!(cloud_init["outcome"], "fail");
    assert!(evidence(&build).contains("RuntimeError"), "{}", evidence(&build));
}

#[test]
fn the_agent_freezes() {
    let build = canary("agent-frozen", "", 2, "agent_lost");
    assert!(
        build["failure"]["message"].as_str().unwrap().contains("nothing was heard"),
        "{}",
        build["failure"]
    );
}

#[test]
fn the_kernel_panics() {
    let build = canary("kernel-panic", "", 2, "server_stopped");
    assert!(evidence(&build).contains("panic"), "{}", evidence(&build));
}

#[test]
fn what_fails_from_here_too_is_not_the_images_fault() {
    // Nothing listens on this port, neither in the server nor here.
    let place = Place::tiny(
        "publish.name = \"tiny\"\nchecks = { internet = { targets = [\"tcp://nobody.invalid:9\"], timeout = \"5s\" }, disk = false, dns = false, \
         cloud_init = false }",
    );
    let build = canary_in(&place, 2, "check_inconclusive");
    let internet = check(&build, "internet");
    assert_eq!(internet["outcome"], "inconclusive");
    assert!(internet["summary"].as_str().unwrap().contains("manager's host"), "{internet}");
}

#[test]
fn a_failed_check_that_is_not_required_fails_nothing() {
    let place = Place::tiny(
        "image.environment = { TINY_CANARY = \"cloud-init-failing\" }\nchecks.cloud_init.required = false",
    );
    place.expect(&["run", "tiny"], 0);
    assert_eq!(check(&place.latest(), "cloud_init")["outcome"], "fail");
}

#[test]
fn a_build_that_fails_names_element_and_script() {
    let place = Place::tiny("image.environment = { TINY_BUILD_FAIL = \"hook\" }");
    place.expect(&["run", "tiny"], 1);
    let build = place.latest();
    assert_eq!(build["reason"], "dib_hook_failed");
    let message = build["failure"]["message"].as_str().unwrap();
    assert!(message.contains("60-broken"), "{message}");
    assert_ne!(evidence(&build), "");
    place.assert_nothing_left();
}
