//! The check `reboot` on the real agent, in the tiny image.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value as Json;

use super::harness::Place;

fn place(canary: &str, more: &str) -> Place {
    let canary = if canary.is_empty() {
        String::new()
    } else {
        format!("image.environment = {{ TINY_CANARY = \"{canary}\" }}\n")
    };
    Place::tiny(&format!("{canary}publish.name = \"tiny\"\ncontrol = false\n{more}"))
}

fn reboot(build: &Json) -> &Json {
    let checks = build["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == "reboot").unwrap_or_else(|| panic!("no reboot in {checks:?}"))
}

/// What the agent's log has of an event so far.
fn events(place: &Place, build: &str, event: &str) -> Vec<Json> {
    let log = place.state().join("builds").join(build).join("agent.jsonl");
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
    lines.filter(|line| line["event"] == event).collect()
}

/// The boots that the agent attached from.
fn boots(place: &Place, build: &str) -> BTreeSet<String> {
    let attached = events(place, build, "attached").into_iter();
    attached.map(|line| line["boot_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_server_that_comes_back_as_it_was_passes_and_nothing_of_the_agent_is_left() {
    let place = place("", "checks = { set = \"minimal\", reboot = { again = [\"disk\", \"cloud_init\"] } }");
    place.expect(&["run", "tiny"], 0);
    let build = place.latest();
    let check = reboot(&build);
    assert_eq!(check["outcome"], "pass", "{check}");
    assert!(check["summary"].as_str().unwrap().ends_with("passed again: cloud_init, disk"), "{check}");
    let seen = &check["observations"];
    assert_ne!(seen["before"]["boot_id"], seen["after"]["boot_id"]);
    assert_eq!(seen["before"]["host_name"], seen["after"]["host_name"]);
    assert_eq!(boots(&place, build["id"].as_str().unwrap()).len(), 2);
    assert_eq!(build["agent"]["removal"]["complete"], true, "{}", build["agent"]);
}

#[test]
fn a_server_that_is_another_one_after_a_reboot_fails() {
    let place = place("host-name-once", "checks = { reboot = { again = [\"disk\"], timeout = \"150s\" } }");
    place.expect(&["run", "tiny"], 1);
    let build = place.latest();
    assert_eq!((&build["reason"], &reboot(&build)["outcome"]), (&"check_failed".into(), &"fail".into()));
    let said = reboot(&build)["summary"].as_str().unwrap();
    assert_eq!(said, "after the reboot the host name is \"localhost\", but was \"tiny\"");
}

#[test]
fn a_server_that_does_not_come_back_has_lost_its_agent_by_the_reboot() {
    let place = place("network-once", "checks = { disk = {}, reboot = { timeout = \"75s\" } }");
    place.expect(&["run", "tiny"], 2);
    let build = place.latest();
    assert_eq!(build["reason"], "agent_lost");
    let message = build["failure"]["message"].as_str().unwrap();
    let expected =
        "the server was told to reboot by the check reboot, but its agent did not come back within 1m 15s";
    assert!(message.starts_with(expected), "{message}");
    let evidence = build["failure"]["evidence"].as_str().unwrap();
    assert!(evidence.contains("no network"), "the second boot's console: {evidence}");
}
