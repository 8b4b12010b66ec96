//! What people see of a build with several trials: which did what, at a glance.

use serde_json::Value as Json;

use super::harness::several::{CONSOLE, TARGETS, place};
use super::harness::text;
use super::untrusted::{both, on_terminal};

#[test]
fn show_says_at_a_glance_which_trial_did_what() {
    let (place, [good, bad]) = place();
    let said = place.expect(&["show", &bad], 0);
    let head = said.split("\n\n").nth(1).unwrap();
    let rows: Vec<&str> = head.lines().collect();
    assert_eq!(rows[0], "trials  1 of 3 passed", "{said}");
    let words = |row: &str| row.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(rows[2])[..3], ["small", "local", "succeeded"], "{said}");
    assert_eq!(words(rows[3])[..4], ["tight-flavor", "local", "failed", "check_failed"], "{said}");
    assert_eq!(words(rows[4])[..4], ["lab-region-1", "lab", "errored", "agent_silent"], "{said}");
    assert_eq!(words(rows[4])[6..], ["2", "no"], "{said}");
    for line in [
        "check_failed while verifying: target tight-flavor: the required check disk failed",
        "trial tight-flavor\n  on cloud local, attempt 1  FAILED\n",
        "trial lab-region-1\n  on cloud lab, not required, attempt 2  ERRORED\n",
        "  | GRUB loading",
        "  ✘ disk         fail",
        "  checks that did not run: dns",
        "trial small\n  on cloud local, attempt 1  SUCCEEDED\n",
        "  checks disk pass, dns not run (not required)",
        "  the same file in each cloud\n",
    ] {
        assert!(said.contains(line), "{line} is not in\n{said}");
    }
    assert_eq!(said.matches("  | disk: fail").count(), 1, "the evidence is shown once:\n{said}");
    // What failed is said before what passed.
    assert!(said.find("trial tight-flavor") < said.find("trial small"), "{said}");
    let said = place.expect(&["show", &good], 0);
    assert!(said.contains("trials  3 of 3 passed"), "{said}");

    let terminal = on_terminal(&place, &["show", &bad]).output().unwrap();
    assert!(terminal.status.success(), "{}", both(&terminal));
}

#[test]
fn history_is_a_line_a_build_with_how_many_passed() {
    let (place, [good, bad]) = place();
    let said = place.expect(&["history"], 0);
    let row = |id: &str| said.lines().find(|line| line.contains(id)).unwrap().to_owned();
    assert!(row(&bad).contains("failed 1/3") && row(&bad).contains("several"), "{said}");
    assert!(row(&good).contains("succeeded  ") && !row(&good).contains("/3"), "{said}");
    assert_eq!(said.lines().count(), 3, "{said}");
    let csv = place.expect(&["history", "--format", "csv"], 0);
    assert!(csv.lines().skip(1).all(|line| line.ends_with(",104857600")), "{csv}");
    let listed = place.history();
    assert_eq!(listed[0]["trials"].as_array().unwrap().len(), 3);
    assert_eq!(listed[0]["checks"], Json::Array(Vec::new()));
}

#[test]
fn logs_are_of_one_target() {
    let (place, [_, bad]) = place();
    for (target, _) in TARGETS {
        let said = place.expect(&["logs", &bad, "--console", "--target", target], 0);
        assert_eq!(said, format!("{CONSOLE} {target}\n"));
        let said = place.expect(&["logs", &bad, "--agent", "--target", target], 0);
        assert!(said.contains(target), "{said}");
    }
    assert_eq!(place.expect(&["logs", &bad], 0), "the build's own log\n");
    let said = place.expect(&["logs", &bad, "--console"], 64);
    assert!(said.contains("--target NAME, one of small, tight-flavor, lab-region-1"), "{said}");
    let said = place.expect(&["logs", &bad, "--console", "--target", "../small"], 64);
    assert!(said.contains("no target") && said.contains("its targets are small"), "{said}");
    let said = place.expect(&["logs", &bad, "--target", "small"], 64);
    assert!(said.contains("--console"), "{said}");
    let output = place.run(&["show", &bad, "--format", "json"]);
    let shown: Json = serde_json::from_str(&text(&output.stdout)).unwrap();
    assert_eq!(shown["trials"][2]["attempt"], 2);
}

#[test]
fn builds_are_compared_and_summed_up_by_target() {
    let (place, [good, bad]) = place();
    let said = place.expect(&["compare", &good, &bad], 0);
    for line in [
        "  small            succeeded\n",
        "  tight-flavor     succeeded -> failed (check_failed)\n",
        "  lab-region-1     succeeded -> errored (agent_silent)\n",
        " tight-flavor disk pass -> fail\n",
        " lab-region-1 disk pass -> not run\n",
    ] {
        assert!(said.contains(line), "{line} is not in\n{said}");
    }
    assert!(said.contains("image size") && said.contains("the same"), "{said}");
    let said = place.expect(&["report"], 0);
    assert!(said.contains("small             2 of 2 passed, 0 failed, 0 errored, boot to agent"), "{said}");
    assert!(said.contains("tight-flavor      1 of 2 passed, 1 failed, 0 errored"), "{said}");
    assert!(said.contains("lab-region-1      1 of 2 passed, 0 failed, 1 errored"), "{said}");
    let output = place.run(&["report", "--format", "json"]);
    let report: Json = serde_json::from_str(&text(&output.stdout)).unwrap();
    let targets = &report["schedules"][0]["targets"];
    assert_eq!(targets[2]["target"], "tight-flavor");
    assert_eq!(targets[2]["success_rate"], 0.5);
    assert_eq!(report["schedules"][0]["builds"], 2);
}
