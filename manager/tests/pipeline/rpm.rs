//! Images of rpm: verified before they are uploaded and in the server, and with a list of packages.

use std::fs;

use serde_json::Value as Json;

use super::harness::{Place, tiny_schedule};

fn building(build: &Json) -> &str {
    let stages = build["stages"].as_array().unwrap();
    stages.iter().find(|stage| stage["name"] == "building").unwrap()["detail"].as_str().unwrap()
}

#[test]
fn an_image_of_rpm_is_verified_before_the_upload_and_in_the_server() {
    let place = Place::tiny("image.environment = { TINY_RPM = \"1.0\" }\nchecks.packages.max_changed = 0");
    let report = place.expect(&["run", "tiny"], 0);
    let build = place.latest();
    assert!(
        building(&build).contains("; 3 packaged files verified, 1 edited configuration file in "),
        "{report}"
    );
    assert_eq!(build["warnings"], Json::Array(Vec::new()));
    assert!(!report.contains("WARNING"), "{report}");
    let checks = build["checks"].as_array().unwrap();
    let packages = checks.iter().find(|check| check["name"] == "packages").unwrap();
    assert_eq!(packages["outcome"], "pass");
    assert_eq!(
        packages["summary"],
        "3 files of 1 package verified, 0 changed, 0 missing, 1 edited configuration file"
    );
    assert_eq!(
        (&packages["observations"]["same"], &packages["observations"]["edited"]),
        (&3.into(), &1.into())
    );

    // Another build ends early; what is in its image is known all the same.
    let more = "image.environment = { TINY_RPM = \"1.1\" }\ntimeouts.boot = \"1s\"";
    fs::write(place.path().join("schedules.toml"), tiny_schedule("tiny", more)).unwrap();
    place.expect(&["run", "tiny"], 2);
    let said = place.expect(&["compare", "previous", "latest"], 0);
    assert!(said.contains("  ~ tool 1.0-3 -> 1.1-3\n"), "{said}");
}

#[test]
fn a_blank_file_of_rpm_is_caught_before_the_upload() {
    let place = Place::tiny("image.environment = { TINY_RPM = \"1.0\", TINY_CANARY = \"rpm-blank\" }");
    place.expect(&["run", "tiny"], 2);
    let build = place.latest();
    assert_eq!(build["reason"], "image_damaged", "{build}");
    assert_eq!(build["failure"]["stage"], "building");
    assert_eq!(build["failure"]["evidence"], "blank: /usr/lib/tool/more");
    let kinds: Vec<&Json> = build["resources"].as_array().unwrap().iter().map(|row| &row["kind"]).collect();
    assert_eq!(kinds, ["scratch"], "nothing was uploaded");
    place.assert_nothing_left();
}

#[test]
fn an_image_that_cannot_be_verified_says_so_wherever_its_verdict_is_read() {
    let place = Place::tiny("timeouts.boot = \"1s\"");
    let report = place.expect(&["run", "tiny"], 2);
    let build = place.latest();
    let warning = "it was not verified that the image holds what was put into it: \
                   it has neither a dpkg nor an rpm database";
    assert_eq!(build["warnings"], Json::from(vec![warning]));
    assert!(building(&build).contains("WARNING: packaged files not verified: "), "{build}");
    for said in [report, place.expect(&["show", "latest"], 0)] {
        assert!(said.contains(&format!("WARNING: {warning}\n")), "{said}");
    }
}
