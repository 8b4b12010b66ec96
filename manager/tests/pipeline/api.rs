//! `/api/v1`: what the manager tells, as JSON, and what it says of a request that makes no sense.

use std::process::Command;

use serde_json::Value as Json;

use super::harness::{Place, text, tiny_schedule};
use super::monitoring::get;

#[test]
fn what_the_command_line_tells_is_told_over_http_too() {
    let good = tiny_schedule("good", "cron = \"0 3 * * *\"\nchecks = {}");
    let bad = tiny_schedule("bad", "image.environment = { TINY_BUILD_FAIL = \"package\" }");
    let place = Place::new(&format!("{good}{bad}"));
    place.expect(&["run", "bad"], 1);
    let serving = place.serve();
    let operator = &serving.operator;
    let ask = |path: &str| -> (u16, Json) {
        let (status, body) = get(operator, path, "");
        (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}")))
    };
    let latest = place.latest();
    let id = latest["id"].as_str().unwrap();
    for path in
        ["/api/v1/builds/latest".to_owned(), "/api/v1/builds/bad".to_owned(), format!("/api/v1/builds/{id}")]
    {
        assert_eq!(ask(&path), (200, latest.clone()), "{path}");
    }
    let (status, builds) = ask("/api/v1/builds?schedule=bad&state=failed&page_size=1");
    assert_eq!((status, &builds["builds"][0]), (200, &latest));
    assert_eq!(ask("/api/v1/builds?state=succeeded").1["builds"], Json::Array(Vec::new()));
    let (_, schedules) = ask("/api/v1/schedules");
    assert_eq!(
        (&schedules["schedules"][1]["name"], &schedules["schedules"][0]["cron"]),
        (&"bad".into(), &"0 3 * * *".into())
    );
    assert_eq!(ask("/api/v1/report?since=1h").1["schedules"][0]["failed"], 1);
    assert_eq!(ask("/api/v1/images").1["images"], Json::Array(Vec::new()));
    assert_eq!(ask(&format!("/api/v1/compare?a={id}&b=latest")).1["a"]["id"], id);

    for (path, status, code, said) in [
        ("/api/v1/builds/nothing", 404, "not_found", "expected an id"),
        ("/api/v1/builds?state=done", 400, "invalid_argument", "one of queued, building"),
        ("/api/v1/builds?stat=failed", 400, "invalid_argument", "it takes schedule, state"),
        ("/api/v1/compare?a=latest", 400, "invalid_argument", "needs the parameter b"),
        ("/api/v1/images?page_size=1001", 400, "invalid_argument", "the most is 1000"),
    ] {
        let (answered, body) = ask(path);
        assert_eq!((answered, &body["error"]["code"]), (status, &code.into()), "{path}: {body}");
        assert!(body["error"]["message"].as_str().unwrap().contains(said), "{path}: {body}");
    }
    let (_, document) = ask("/api/v1/openapi.json");
    assert_eq!(document["openapi"], "3.1.0");
    for key in latest.as_object().unwrap().keys() {
        assert!(document["components"]["schemas"]["Build"]["properties"][key].is_object(), "{key}");
    }
    it_is_as_its_document_says(&place, operator);
    serving.terminate();
}

/// Schemathesis asks what the document allows and what it does not, and compares each answer with it. Two things are not asked
/// for: that all is accepted which the document allows, for it cannot say that `since` is before `until`, and which page tokens
/// there are; and that all else is refused, for an empty parameter is one that was not given.
///
/// It goes through the cases that follow from the document. With `IMAGE_MANAGER_TEST_API_SECONDS` it makes up others, and
/// follows answers, for so long.
fn it_is_as_its_document_says(place: &Place, operator: &str) {
    let mut asking = Command::new("/opt/image-manager/test/bin/schemathesis");
    asking
        // It keeps what it has found where it is called.
        .current_dir(place.path())
        .args(["run", &format!("http://{operator}/api/v1/openapi.json"), "--checks", "all"])
        .args(["--exclude-checks", "positive_data_acceptance,negative_data_rejection"])
        .args(["--request-timeout", "60", "--suppress-health-check", "all", "--no-color"]);
    match std::env::var("IMAGE_MANAGER_TEST_API_SECONDS") {
        Ok(seconds) => asking.args(["--max-time", &seconds]),
        Err(_) => asking.args(["--phases", "coverage", "--seed", "1"]),
    };
    let asked = asking
        .output()
        .unwrap_or_else(|error| panic!("schemathesis: {error}; setup/install test installs it"));
    assert!(asked.status.success(), "{}", text(&asked.stdout));
}
