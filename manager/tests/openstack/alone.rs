//! Faults that everybody in the lab feels: these tests have it to themselves, and mend it before they leave.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::lab::{Lab, detail_of, pause, repository, tiny_schedule, wait_for};

/// Undoes a fault, however the test ends.
struct Mend<F: FnMut()>(F);

impl<F: FnMut()> Drop for Mend<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Sets how many instances the tenant may have.
fn set_instances(lab: &Lab, most: i64) {
    let path = format!("os-quota-sets/{}", lab.tenant.project());
    let body = json!({"quota_set": {"instances": most}});
    let (status, answer) = lab.admin.ask(reqwest::Method::PUT, "compute", &path, Some(body));
    assert_eq!(status, 200, "{answer}");
}

#[test]
fn a_quota_that_is_used_up_is_no_room() {
    // Time enough to use the quota up between the first look at it and the server.
    let more = "image.environment = { TINY_BUILD_SECONDS = \"20\" }";
    let Some(lab) = Lab::alone(&tiny_schedule("tiny", "lab", more)) else { return };
    let path = format!("os-quota-sets/{}", lab.tenant.project());
    let (_, before) = lab.admin.ask(reqwest::Method::GET, "compute", &path, None);
    let before = before["quota_set"]["instances"].as_i64().unwrap();
    let _mend = Mend(|| set_instances(&lab, before));

    set_instances(&lab, 0);
    let said = lab.expect(&["run", "tiny"], 2);
    assert!(said.contains("no room for a server: 0 of 0 instances"), "{said}");
    assert!(lab.builds().is_empty(), "nothing was begun");

    set_instances(&lab, before);
    let run = lab.start(&mut lab.command(&["run", "tiny"]));
    wait_for_build_log(&lab);
    set_instances(&lab, 0);
    run.expect(2);
    let build = lab.latest();
    assert_eq!((&build["reason"], &build["failure"]["stage"]), (&"cloud_no_room".into(), &"booting".into()));
    let evidence = build["failure"]["evidence"].as_str().unwrap();
    assert!(evidence.contains("HTTP 403") && evidence.contains("Quota exceeded"), "{evidence}");
    lab.assert_nothing_left();
}

#[test]
fn no_host_for_the_server_is_novas_fault() {
    let Some(lab) = Lab::alone(&tiny_schedule("tiny", "lab", "")) else { return };
    let services = lab.admin.list("compute", "os-services?binary=nova-compute", "services");
    let path = format!("os-services/{}", services[0]["id"].as_str().unwrap());
    let set = |status: &str| {
        let body = json!({"status": status});
        let (code, answer) = lab.admin.ask(reqwest::Method::PUT, "compute", &path, Some(body));
        assert_eq!(code, 200, "{answer}");
    };
    let _mend = Mend(|| set("enabled"));
    set("disabled");
    lab.expect(&["run", "tiny"], 2);
    let build = lab.latest();
    assert_eq!((&build["verdict"], &build["reason"]), (&"errored".into(), &"server_fault".into()));
    let failure = &build["failure"];
    assert!(failure["message"].as_str().unwrap().contains("No valid host was found"), "{failure}");
    assert!(failure["evidence"].as_str().unwrap().contains("No valid host was found"), "{failure}");
    lab.assert_nothing_left();
}

/// Breaks or mends a service of the lab.
fn fault(lab: &Lab, service: &str, what: &str) {
    let output = Command::new(repository().join("testbed/openstack/fault"))
        .args([service, what])
        .env("LAB_STATE", lab.clouds.parent().unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A minute in which nobody answers.
fn outage(lab: &Lab) {
    pause(Duration::from_secs(55));
    // Some seconds more until it answers again.
    fault(lab, "nova-api", "start");
}

/// Waits until disk-image-create says something: the last look at the cloud before it is over.
fn wait_for_build_log(lab: &Lab) {
    wait_for("disk-image-create's first words", || {
        let log = lab.directory_of(lab.builds().first()?).join("build.log");
        std::fs::metadata(log).is_ok_and(|log| log.len() > 0).then_some(())
    });
}

#[test]
fn nova_may_be_down_for_a_minute_during_boot_and_during_delete() {
    let more = "image.environment = { TINY_BUILD_SECONDS = \"10\" }";
    let Some(lab) = Lab::alone(&tiny_schedule("tiny", "lab", more)) else { return };
    let _mend = Mend(|| fault(&lab, "nova-api", "start"));
    let run = lab.start(&mut lab.command(&["run", "tiny"]));
    wait_for_build_log(&lab);
    fault(&lab, "nova-api", "stop");
    outage(&lab);
    lab.wait_for_state(&["verifying", "cleaning_up"]);
    fault(&lab, "nova-api", "stop");
    outage(&lab);
    run.expect(0);
    let build = lab.latest();
    assert_eq!(build["verdict"], "passed");
    let (booting, cleaning) = (detail_of(&build, "booting"), detail_of(&build, "cleaning_up"));
    assert!(booting.contains("asked again"), "{booting}");
    assert!(cleaning.contains("everything was removed") && cleaning.contains("asked again"), "{cleaning}");
    lab.assert_nothing_left();
}
