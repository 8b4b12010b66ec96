//! Whose fault it is that a server on a cloud said nothing.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, symlink};

use serde_json::{Value as Json, json};

use super::lab::{Lab, repository, tiny_schedule};

/// The lab with what control images are made of, downloaded once for all tests.
fn lab(more: &str) -> Option<Lab> {
    let lab = Lab::tiny(&format!("control = true\n{more}"))?;
    let state = lab.path().join("state");
    fs::DirBuilder::new().mode(0o700).create(&state).unwrap();
    symlink(repository().join("target/tiny-image"), state.join("control")).unwrap();
    Some(lab)
}

/// How many things of a kind the build has made.
fn made(build: &Json, kind: &str) -> usize {
    build["resources"].as_array().unwrap().iter().filter(|row| row["kind"] == kind).count()
}

#[test]
fn a_cloud_whose_servers_have_no_network_is_at_fault() {
    let name = format!("im-test-no-way-out-{}", std::process::id());
    let more = format!(
        "server = {{ flavor = \"lab.tiny\", network = \"lab-net\", security_groups = [\"{name}\"] }}\n\
         timeouts.boot = \"100s\""
    );
    let Some(lab) = lab(&more) else { return };
    let body = json!({"security_group": {"name": name, "description": "lets nothing out"}});
    let group = lab.tenant.make("network", "v2.0/security-groups", "security_group", body);
    lab.plant("network", format!("v2.0/security-groups/{}", group["id"].as_str().unwrap()));
    for rule in group["security_group_rules"].as_array().unwrap() {
        let path = format!("v2.0/security-group-rules/{}", rule["id"].as_str().unwrap());
        assert_eq!(lab.tenant.ask(reqwest::Method::DELETE, "network", &path, None).0, 204);
    }
    let report = lab.expect(&["run", "tiny"], 2);
    let build = lab.latest();
    assert_eq!(
        (&build["reason"], &build["verdict"]),
        (&"cloud_at_fault".into(), &"errored".into()),
        "{report}"
    );
    let control = &build["trials"][0]["control"];
    assert_eq!(
        (&control["because"], &control["outcome"]),
        (&"agent_silent".into(), &"failed".into()),
        "{control}"
    );
    let evidence = build["failure"]["evidence"].as_str().unwrap();
    assert!(evidence.matches("tiny:").count() > 1 && evidence.contains("the control boot:"), "{evidence}");
    assert_eq!((made(&build, "image"), made(&build, "server")), (2, 2), "{build:#}");
    lab.assert_nothing_left();
}

#[test]
#[ignore = "five minutes, and the same on this host is in the suite: make torture"]
fn an_image_whose_kernel_panics_is_at_fault_where_the_published_one_comes() {
    let Some(lab) = lab("publish.name = \"whose-fault\"") else { return };
    lab.expect(&["run", "tiny"], 0);
    let good = lab.latest();
    let bad = "control = true\npublish.name = \"whose-fault\"\ntimeouts.boot = \"2m\"\n\
               image.environment = { TINY_CANARY = \"kernel-panic\" }";
    lab.reschedule(&tiny_schedule("tiny", "lab", bad));
    let report = lab.expect(&["run", "tiny"], 1);
    let build = lab.latest();
    assert_eq!(
        (&build["reason"], &build["verdict"]),
        (&"image_at_fault".into(), &"failed".into()),
        "{report}"
    );
    let control = &build["trials"][0]["control"];
    assert_eq!((&control["outcome"], &control["image_of"]), (&"passed".into(), &good["id"]), "{control}");
    assert_eq!(control["again"], control["because"]);
    let evidence = build["failure"]["evidence"].as_str().unwrap();
    assert!(evidence.contains("Kernel panic") && evidence.contains("the second boot:"), "{evidence}");
    assert_eq!((made(&build, "image"), made(&build, "server")), (1, 3), "{build:#}");
    lab.assert_nothing_left();
}
