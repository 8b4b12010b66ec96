//! `/api/v1`: what the manager tells, as JSON, and what it says of a request that makes no sense.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

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
        ("/api/v1/compare?b=latest", 404, "not_found", "no build of bad before"),
        ("/api/v1/images?page_size=1001", 400, "invalid_argument", "expected at most 1000"),
        ("/api/v1/images?name=typo", 404, "not_found", "no image is published as"),
        ("/api/v1/report?points=201", 400, "invalid_argument", "expected at most 200"),
        ("/api/v1/report?since=9999-01-01", 400, "invalid_argument", "expected a time that has passed"),
        ("/api/v1/builds?since=9999-01-01", 400, "invalid_argument", "expected a time that has passed"),
    ] {
        let (answered, body) = ask(path);
        assert_eq!((answered, &body["error"]["code"]), (status, &code.into()), "{path}: {body}");
        assert!(body["error"]["message"].as_str().unwrap().contains(said), "{path}: {body}");
    }
    for (path, status, said) in [
        ("/builds?schedule=bda", 404, "did you mean &quot;bad&quot;?"),
        ("/builds?schedule=good", 200, "No builds match"),
        ("/builds?before=zzz", 400, "expected the whole id of a build"),
        ("/?page=abc", 400, "expected a whole number"),
        ("/images?after=x", 400, "expected a whole number"),
    ] {
        let (answered, page) = get(operator, path, "");
        assert!(answered == status && page.contains(said) && page.contains("<html"), "{path}: {page}");
    }
    let (_, document) = ask("/api/v1/openapi.json");
    assert_eq!(document["openapi"], "3.1.0");
    for key in latest.as_object().unwrap().keys() {
        assert!(document["components"]["schemas"]["Build"]["properties"][key].is_object(), "{key}");
    }
    it_is_as_its_document_says(&place, operator);
    serving.terminate();
}

/// A POST request with a body of one byte and this header, over a socket; returns the answer's head and body.
fn post(operator: &str, path: &str, header: &str) -> (String, String) {
    let mut stream = TcpStream::connect(operator).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {operator}\r\n{header}content-length: 1\r\nconnection: close\r\n\r\na"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_ascii_lowercase(), body.to_owned())
}

#[test]
fn a_content_type_that_is_not_taken_is_told_which_one_is() {
    let place = Place::tiny("");
    let serving = place.serve();
    let form = "application/x-www-form-urlencoded";
    for (path, said) in [
        ("/build", "takes a form (schedule=NAME) or JSON"),
        ("/schedules/tiny/pause", form),
        ("/schedules/tiny/resume", form),
        ("/login", form),
        ("/image_manager.v1.ImageManager/ListBuilds", "gRPC accepts only the content type application/grpc"),
        ("/grpc.health.v1.Health/Check", "gRPC accepts only the content type application/grpc"),
    ] {
        for header in
            ["", "content-type: text/plain\r\n", "content-type: application/xml\r\n", "content-type: \r\n"]
        {
            let (head, body) = post(&serving.operator, path, header);
            assert!(head.starts_with("http/1.1 415 "), "{path} {header:?}: {head}");
            assert!(body.contains(said), "{path} {header:?}: {body}");
        }
    }
    // The JSON interface reads only, and says so whatever comes.
    for path in ["/api/v1/builds", "/api/v1/report", "/metrics", "/healthz", "/builds"] {
        for header in ["", "content-type: application/json\r\n", "content-type: text/plain\r\n"] {
            let (head, body) = post(&serving.operator, path, header);
            assert!(
                head.starts_with("http/1.1 405 ") && head.contains("\r\nallow: get,head"),
                "{path}: {head}"
            );
            assert!(body.contains("the header Allow names"), "{path}: {body:?}");
        }
    }
    assert_eq!(place.history().len(), 0, "nothing was triggered");
    assert_eq!(serving.terminate(), Some(0));
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
