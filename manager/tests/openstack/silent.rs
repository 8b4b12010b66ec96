//! No agent comes: the infrastructure's fault or the image's, nobody knows; the console is the evidence.

use serde_json::{Value as Json, json};

use super::lab::Lab;

/// Runs the schedule to its end as `agent_silent`; returns the failure.
#[track_caller]
fn silent(lab: &Lab) -> Json {
    lab.expect(&["run", "tiny"], 2);
    let build = lab.latest();
    assert_eq!(build["reason"], "agent_silent", "{build:#}");
    assert_eq!(build["verdict"], "errored");
    let failure = build["failure"].clone();
    assert!(failure["hint"].as_str().unwrap().contains("security groups"), "{failure}");
    assert!(failure["evidence"].as_str().unwrap().contains("last lines of the console"), "{failure}");
    lab.assert_nothing_left();
    failure
}

#[test]
fn an_image_that_does_not_boot() {
    let more = "image.environment = { TINY_CANARY = \"no-boot\" }\ntimeouts.boot = \"1m\"";
    let Some(lab) = Lab::tiny(more) else { return };
    let failure = silent(&lab);
    assert!(!failure["evidence"].as_str().unwrap().contains("tiny:"), "no kernel ever spoke: {failure}");
}

#[test]
fn a_server_without_a_way_to_the_manager() {
    let name = format!("im-test-closed-{}", std::process::id());
    let more = format!(
        "server = {{ flavor = \"lab.tiny\", network = \"lab-net\", security_groups = [\"{name}\"] }}\n\
         timeouts.boot = \"2m\""
    );
    let Some(lab) = Lab::tiny(&more) else { return };
    let body = json!({"security_group": {"name": name, "description": "lets nothing out"}});
    let group = lab.tenant.make("network", "v2.0/security-groups", "security_group", body);
    lab.plant("network", format!("v2.0/security-groups/{}", group["id"].as_str().unwrap()));
    for rule in group["security_group_rules"].as_array().unwrap() {
        let path = format!("v2.0/security-group-rules/{}", rule["id"].as_str().unwrap());
        assert_eq!(lab.tenant.ask(reqwest::Method::DELETE, "network", &path, None).0, 204);
    }
    let failure = silent(&lab);
    let evidence = failure["evidence"].as_str().unwrap();
    assert!(evidence.contains("tiny:") && evidence.contains("agent"), "the guest is up: {evidence}");
    let groups = lab.tenant.list("network", &format!("v2.0/security-groups?name={name}"), "security_groups");
    assert_eq!(groups.len(), 1, "a group that the schedule names is not ours to remove");
}
