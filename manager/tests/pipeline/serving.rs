//! `serve`: schedules fire by themselves, one manager a state directory.

use std::time::Duration;

use super::harness::{Place, tiny_schedule};

#[test]
fn a_schedule_fires_with_nobody_asking() {
    let place = Place::new(&tiny_schedule("tiny", "cron = \"* * * * *\"\nchecks = {}"));
    let serving = place.serve();
    let build = place.wait_for_state(&["succeeded"], Duration::from_mins(3));
    assert_eq!(build["trigger"], "cron");
    assert_eq!(serving.terminate(), Some(0));
    place.assert_nothing_left();
}

#[test]
fn a_state_directory_has_one_manager() {
    let place = Place::tiny("");
    let serving = place.serve();
    let said = place.expect(&["serve", "--operator", "127.0.0.1:0"], 64);
    assert!(said.contains(&format!("pid {}", serving.child.id())), "{said}");
}

#[test]
fn a_taken_port_is_named() {
    let place = Place::tiny("");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = place.expect(&["serve", "--operator", &address], 64);
    assert!(said.contains("--operator") && said.contains(&address), "{said}");
    let said = place.expect(&["serve", "--operator", "127.0.0.1:0", "--gateway", &address], 64);
    assert!(said.contains("--gateway") && said.contains(&address), "{said}");
}

#[test]
fn other_addresses_than_loopback_need_a_token() {
    let place = Place::tiny("");
    let said = place.expect(&["serve", "--operator", "0.0.0.0:0"], 64);
    assert!(said.contains("--api-token-file"), "{said}");
}
