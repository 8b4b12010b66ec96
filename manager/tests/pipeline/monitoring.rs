//! `/metrics`, and that the dashboard and the alerts in `monitoring/` ask for what is there.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::harness::left_out::left_out;
use super::harness::{Place, repository, text, tiny_schedule};

/// What `/metrics` answers.
pub(crate) fn scrape(operator: &str) -> String {
    let (status, body) = get(operator, "/metrics", "");
    assert_eq!(status, 200, "{body}");
    body
}

/// A GET request without a library; returns status and body.
pub(super) fn get(operator: &str, path: &str, header: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(operator).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {operator}\r\n{header}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body = if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        // Each chunk follows a line with its size.
        body.split("\r\n").skip(1).step_by(2).collect()
    } else {
        body.to_owned()
    };
    (status, body)
}

#[track_caller]
fn value(metrics: &str, sample: &str) -> f64 {
    let found = metrics.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {sample} in\n{metrics}")).parse().unwrap()
}

#[test]
fn metrics_count_builds_and_remember_the_last_good_image() {
    let schedules = [
        tiny_schedule("good", "cron = \"0 3 * * *\"\nchecks = {}"),
        tiny_schedule("bad", "image.environment = { TINY_BUILD_FAIL = \"package\" }"),
    ];
    let place = Place::new(&schedules.concat());
    let serving = place.serve();
    let metrics = scrape(&serving.operator);
    assert!(value(&metrics, "image_manager_builds_total{schedule=\"good\",verdict=\"passed\"}").abs() < 0.1);
    assert!(value(&metrics, "image_manager_last_success_timestamp_seconds{schedule=\"good\"}").abs() < 0.1);
    let day = value(&metrics, "image_manager_schedule_interval_seconds{schedule=\"good\"}");
    assert!((day - 86_400.0).abs() < 1.0, "{day}");
    place.expect(&["run", "bad"], 1);
    place.expect(&["run", "good"], 0);
    let metrics = scrape(&serving.operator);
    let at_least_one = |sample: &str| assert!(value(&metrics, sample) >= 1.0, "{sample}\n{metrics}");
    at_least_one("image_manager_builds_total{schedule=\"good\",verdict=\"passed\"}");
    at_least_one("image_manager_builds_total{schedule=\"bad\",verdict=\"failed\"}");
    at_least_one("image_manager_stage_duration_seconds_count{schedule=\"good\",stage=\"booting\"}");
    at_least_one(
        "image_manager_stage_duration_seconds_bucket{schedule=\"good\",stage=\"booting\",le=\"+Inf\"}",
    );
    at_least_one("image_manager_image_size_bytes{schedule=\"good\"}");
    at_least_one("process_resident_memory_bytes");
    for nothing in
        ["image_manager_queue_length", "image_manager_agents_attached", "image_manager_leaked_resources"]
    {
        assert!(value(&metrics, nothing).abs() < 0.1, "{nothing}\n{metrics}");
    }
    let sample = "image_manager_last_success_timestamp_seconds{schedule=\"good\"}";
    let passed = value(&metrics, sample);
    assert!(passed > 1_700_000_000.0);
    shipped_files_ask_for_what_is_there(&metrics);
    promtool_likes(&metrics);
    assert_eq!(serving.terminate(), Some(0));

    let serving = place.serve();
    let restored = value(&scrape(&serving.operator), sample);
    assert!((restored - passed).abs() < 0.002, "{restored} is not {passed}");
    assert_eq!(serving.terminate(), Some(0));
}

/// Before anything was built: what has no sample yet has its family all the same.
#[test]
fn the_dashboard_and_the_alerts_ask_for_what_is_there_from_the_start() {
    let place = Place::tiny("cron = \"0 3 * * *\"");
    let serving = place.serve();
    let metrics = scrape(&serving.operator);
    shipped_files_ask_for_what_is_there(&metrics);
    promtool_likes(&metrics);
    assert_eq!(serving.terminate(), Some(0));
    // Of what is asked of promtool the script is part of `make check`, too.
    let judged = Command::new(repository().join("monitoring/check")).output().unwrap();
    assert!(judged.status.success(), "{}", text(&judged.stderr));
}

#[test]
fn metrics_are_behind_the_token_like_everything_else() {
    let place = Place::tiny("");
    place.secret("token", "0123456789abcdef-test\n");
    let serving = place.serve_with(&["--api-token-file", "token"]);
    assert_eq!(get(&serving.operator, "/metrics", "").0, 401);
    assert_eq!(get(&serving.operator, "/metrics", "authorization: Bearer 0123456789abcdef-tesT\r\n").0, 401);
    let (status, body) =
        get(&serving.operator, "/metrics", "authorization: Bearer 0123456789abcdef-test\r\n");
    assert_eq!(status, 200);
    assert!(body.contains("image_manager_build_info{version="), "{body}");
    let listed = place.expect(&["token", "list"], 0);
    assert!(listed.contains("api-token-file  admin"), "{listed}");
}

fn shipped_files_ask_for_what_is_there(metrics: &str) {
    let families: BTreeSet<&str> =
        metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let directory = repository().join("monitoring");
    let dashboard: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(directory.join("grafana-dashboard.json")).unwrap())
            .unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 10);
    let mut asked: Vec<String> = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .collect();
    // What a variable of the dashboard lists the values of.
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let listed: Vec<String> = variables
        .filter(|variable| variable["type"] == "query")
        .flat_map(|variable| ["query", "definition"].map(|key| variable[key].as_str().unwrap().to_owned()))
        .collect();
    assert!(!listed.is_empty(), "there is no choice of schedules");
    asked.extend(listed);
    asked.push(std::fs::read_to_string(directory.join("alerts.yml")).unwrap());
    for query in asked {
        let words = query.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let names: Vec<&str> =
            words.filter(|word| word.starts_with("image_manager_") || word.starts_with("process_")).collect();
        assert!(!names.is_empty(), "asks for nothing of ours: {query}");
        for name in names {
            let family =
                ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(families.contains(family) || families.contains(name), "there is no {name}: {query}");
        }
    }
}

/// Prometheus' own judgement of what is exposed; where its tool is not installed, that is said.
fn promtool_likes(metrics: &str) {
    let installed = std::path::Path::new("/opt/image-manager/prometheus/promtool");
    let tool = if installed.exists() { installed } else { std::path::Path::new("promtool") };
    let mut command = Command::new(tool);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut tool) = command.spawn() else {
        return left_out("promtool does not judge the metrics: it is not installed (setup/install test)");
    };
    tool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool: {}", text(&said));
}
