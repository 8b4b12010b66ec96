//! The webhook, with a small real HTTP server that says what it is told to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hmac::{Hmac, Mac as _};
use serde_json::Value as Json;

use super::harness::{Place, wait_for};

const SECRET: &str = "a secret of the tests";
/// A build that ends at once, badly.
const FAILS: &str = "pause_after = 0\nimage.environment = { TINY_BUILD_FAIL = \"package\" }";

/// What came.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    headers: Vec<(String, String)>,
    body: String,
    at: Instant,
}

impl Heard {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map_or_else(|| panic!("no {name} in {:?}", self.headers), |(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A receiver that gives these answers one after the other, then 204. 0 is no answer at all.
pub(super) struct Receiver {
    address: String,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Receiver {
    pub(super) fn start(answers: &'static [u16]) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), answers)
    }

    fn on(listener: TcpListener, answers: &'static [u16]) -> Self {
        let address = listener.local_addr().unwrap().to_string();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&heard);
        // Ends with the test's process.
        std::thread::spawn(move || {
            let mut unanswered = Vec::new();
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let mut stream = stream;
                let Some(request) = read(&stream) else { continue };
                told.lock().unwrap().push(request);
                match answers.get(number).copied().unwrap_or(204) {
                    0 => unanswered.push(stream),
                    status => {
                        let answer =
                            format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                        // A client that is gone wants no answer.
                        let _ = stream.write_all(answer.as_bytes());
                    }
                }
            }
        });
        Self { address, heard }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hooks/SECRET-IN-THE-PATH", self.address)
    }

    pub(super) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    pub(super) fn wait_for(&self, number: usize) -> Vec<Heard> {
        wait_for(&format!("{number} requests"), Duration::from_mins(2), || {
            let heard = self.heard();
            (heard.len() >= number).then_some(heard)
        })
    }
}

fn read(stream: &TcpStream) -> Option<Heard> {
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    lines.read_line(&mut line).ok()?;
    assert!(line.starts_with("POST /hooks/"), "{line}");
    let mut headers = Vec::new();
    loop {
        line.clear();
        lines.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    lines.read_exact(&mut body).ok()?;
    Some(Heard { headers, body: String::from_utf8(body).ok()?, at: Instant::now() })
}

#[test]
fn verdicts_are_told_signed_and_again_until_they_are_taken() {
    let receiver = Receiver::start(&[500, 503]);
    let place = Place::tiny(FAILS);
    place.secret("secret", &format!("{SECRET}\n"));
    let url = receiver.url();
    let serving = place.serve_with(&[
        "--webhook-url",
        &url,
        "--webhook-secret-file",
        "secret",
        "--public-url",
        "https://images.example/",
    ]);
    place.expect(&["run", "tiny"], 1);
    let build = place.latest();
    let heard = receiver.wait_for(3);
    assert!(heard[2].at - heard[1].at >= Duration::from_millis(1900), "the pause grows");
    let taken = &heard[2];
    assert!(heard.iter().all(|request| request.body == taken.body), "{heard:?}");
    assert_eq!(taken.header("content-type"), "application/json");
    assert_eq!(taken.header("image-manager-event"), "build.ended");
    let body = taken.json();
    assert_eq!(taken.header("image-manager-delivery"), body["id"].to_string());
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{}.{}", taken.header("image-manager-timestamp"), taken.body).as_bytes());
    let digest =
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    assert_eq!(taken.header("image-manager-signature"), format!("sha256={digest}"));

    let id = build["id"].as_str().unwrap();
    assert_eq!(body["link"], format!("https://images.example/builds/{id}"));
    for key in ["id", "schedule", "state", "verdict", "reason"] {
        assert_eq!(body["build"][key], build[key], "{key}");
    }
    assert_eq!(body["build"]["state"], "failed");
    assert!(body["build"]["evidence"].as_array().unwrap().len() <= 10, "{body}");
    let metrics = super::monitoring::scrape(&serving.operator);
    let counted = |line: &str| assert!(metrics.lines().any(|found| found == line), "no {line} in\n{metrics}");
    counted("image_manager_webhook_deliveries_total{outcome=\"retried\"} 2");
    counted("image_manager_webhook_deliveries_total{outcome=\"delivered\"} 1");
    assert_eq!(serving.terminate(), Some(0));
    assert!(place.serve_log().contains("503"), "{}", place.serve_log());
    assert!(!place.serve_log().contains("SECRET-IN-THE-PATH"), "{}", place.serve_log());
    assert_eq!(receiver.heard().len(), 3, "what was taken is not told again");
}

#[test]
fn a_test_is_sent_as_serve_would_send_and_says_what_was_answered() {
    let receiver = Receiver::start(&[404]);
    let place = Place::new("");
    place.secret("secret", SECRET);
    let url = receiver.url();
    let test = ["webhook", "test", "--webhook-url", &url];
    let said = place.expect(&[&test[..], &["--webhook-format", "cloudevents"]].concat(), 2);
    for part in
        ["webhook.test, not signed, as application/cloudevents+json", "answer  404", "did not accept it"]
    {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    let more = ["--webhook-secret-file", "secret", "--public-url", "https://images.example/"];
    let said = place.expect(&[&test[..], &more].concat(), 0);
    assert!(
        said.contains("webhook.test, signed, as application/json") && said.contains("answer  204"),
        "{said}"
    );
    assert!(!said.contains("SECRET-IN-THE-PATH"), "{said}");

    let heard = receiver.heard();
    assert_eq!(heard.len(), 2, "each is sent once: {heard:?}");
    let event = heard[0].json();
    assert_eq!(heard[0].header("content-type"), "application/cloudevents+json");
    assert_eq!((&event["specversion"], &event["source"]), (&"1.0".into(), &"http://127.0.0.1:8080".into()));
    assert_eq!(event["type"], "image_manager.v1.webhook.test");
    assert_eq!(event["data"]["event"], "webhook.test");
    assert!(heard[1].header("image-manager-signature").starts_with("sha256="));
    assert_eq!(heard[1].json()["link"], "https://images.example/");
    assert_ne!(heard[0].header("image-manager-delivery"), heard[1].header("image-manager-delivery"));
    // Where nobody listens.
    let said = place.expect(&["webhook", "test", "--webhook-url", "http://127.0.0.1:1/x-secret"], 2);
    assert!(said.contains("did not answer") && !said.contains("x-secret"), "{said}");
}

#[test]
fn a_receiver_that_never_answers_holds_nothing_up_and_a_restart_loses_nothing() {
    let receiver = Receiver::start(&[0, 0, 0, 0, 0, 0]);
    let place = Place::tiny(FAILS);
    let serving = place.serve_with(&["--webhook-url", &receiver.url(), "--webhook-format", "chat"]);
    place.expect(&["run", "tiny"], 1);
    receiver.wait_for(1);
    // The first request hangs now; the manager builds on.
    place.expect(&["run", "tiny"], 1);
    let first = place.latest()["id"].as_str().unwrap().to_owned();
    serving.kill();

    let receiver = Receiver::start(&[]);
    let serving = place.serve_with(&["--webhook-url", &receiver.url(), "--webhook-format", "chat"]);
    let heard = receiver.wait_for(2);
    let texts: Vec<String> =
        heard.iter().map(|request| request.json()["text"].as_str().unwrap().to_owned()).collect();
    assert!(texts.iter().any(|text| text.contains(&first)), "{texts:?}");
    assert!(texts[0].starts_with("✘ tiny FAILED: the image is bad\ndib_package_missing: "), "{texts:?}");
    assert_eq!(serving.terminate(), Some(0));

    // Without a webhook nothing waits for one that comes later.
    place.expect(&["run", "tiny", "--log", "error"], 1);
    let serving = place.serve();
    assert_eq!(serving.terminate(), Some(0));
    let receiver = Receiver::start(&[]);
    let serving = place.serve_with(&["--webhook-url", &receiver.url()]);
    place.expect(&["run", "tiny"], 1);
    let last = place.latest()["id"].as_str().unwrap().to_owned();
    receiver.wait_for(1);
    assert_eq!(serving.terminate(), Some(0));
    let told: Vec<Json> =
        receiver.heard().iter().map(|request| request.json()["build"]["id"].clone()).collect();
    assert_eq!(told, [Json::from(last)]);
}

#[test]
fn a_schedule_that_pauses_itself_is_told() {
    let receiver = Receiver::start(&[]);
    let place = Place::tiny(&FAILS.replace("pause_after = 0", "pause_after = 1"));
    let serving = place.serve_with(&["--webhook-url", &receiver.url()]);
    place.expect(&["run", "tiny"], 1);
    let heard = receiver.wait_for(2);
    let paused =
        heard.iter().find(|told| told.header("image-manager-event") == "schedule.paused").unwrap().json();
    assert_eq!(paused["schedule"], "tiny");
    assert!(paused["reason"].as_str().unwrap().contains("did not pass"), "{paused}");
    assert_eq!(paused["link"], format!("http://{}/schedules/tiny", serving.operator));
    let metrics = super::monitoring::scrape(&serving.operator);
    assert!(metrics.contains("image_manager_schedule_paused{schedule=\"tiny\"} 1\n"), "{metrics}");
    assert_eq!(serving.terminate(), Some(0));
}
