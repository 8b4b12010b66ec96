//! Whoever floods the operator port: with bodies that never end, with messages that are too long, with wrong tokens.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use image_manager_proto::v1::GetBuildRequest;
use image_manager_proto::v1::image_manager_client::ImageManagerClient;
use tokio::runtime::Runtime;
use tonic::Code;

use super::grpc::PYTHON;
use super::harness::{Place, Serving, repository, text};

const GOOD: &str = "4be1c9d27f05a38668d0f3127bce954a";

/// Resident memory of the manager, in bytes.
fn resident(serving: &Serving<'_>) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", serving.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

/// Most that the manager grows by while the script keeps its bodies open.
fn growth(serving: &Serving<'_>, token: &str) -> (u64, String) {
    let script = repository().join("manager/tests/pipeline/open_bodies.py");
    let before = resident(serving);
    let mut child = Command::new(PYTHON)
        .arg(Path::new(&script))
        .args([serving.operator.as_str(), "6", token])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut most = before;
    while child.try_wait().unwrap().is_none() {
        most = most.max(resident(serving));
        #[expect(clippy::disallowed_methods, reason = "a test without a runtime")]
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    (most.saturating_sub(before), said)
}

#[test]
fn open_bodies_take_no_memory() {
    let place = Place::tiny("");
    place.secret("token", GOOD);
    let serving = place.serve_with(&["--api-token-file", "token"]);
    // What the first requests take stays.
    let ask = |token: &str| get(&serving.operator, "/builds", token);
    assert_eq!(ask(GOOD).unwrap(), 200);
    for token in ["", GOOD] {
        let (grown, said) = growth(&serving, token);
        eprintln!("with {:?}: {} KiB more; {said}", !token.is_empty(), grown / 1024);
        assert!(said.contains("streams=16 opened=200"), "{said}");
        assert!(grown < 16 << 20, "{grown} bytes more: {said}");
        assert_eq!(ask(GOOD).unwrap(), 200);
    }
    assert_eq!(serving.terminate(), Some(0));
}

#[test]
fn a_body_that_does_not_come_and_a_message_that_is_too_long_are_refused() {
    let place = Place::tiny("");
    let serving = place.serve();
    let mut stream = TcpStream::connect(&serving.operator).unwrap();
    let head = "POST /build HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).unwrap();
    let began = Instant::now();

    let request = GetBuildRequest { id: "x".repeat(65 * 1024) };
    let status = Runtime::new().unwrap().block_on(async {
        let address = format!("http://{}", serving.operator);
        ImageManagerClient::connect(address).await.unwrap().get_build(request).await.unwrap_err()
    });
    assert!(status.code() == Code::OutOfRange && status.message().contains("65536"), "{status}");

    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    let answer = text(&answer);
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert!(began.elapsed() > Duration::from_secs(10), "a slow client has some time: {:?}", began.elapsed());
    assert_eq!(serving.terminate(), Some(0));
}

/// One request; its status.
fn get(operator: &str, path: &str, token: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(operator)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = text(&answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.ok_or_else(|| std::io::Error::other(answer))
}

#[test]
fn wrong_tokens_are_logged_and_throttled_and_a_right_one_does_not_wait() {
    const GUESSES: usize = 10_000;
    let place = Place::tiny("");
    place.secret("token", GOOD);
    let serving = place.serve_with(&["--api-token-file", "token"]);
    let limit = Instant::now() + Duration::from_mins(3);
    let operator = serving.operator.as_str();
    let (next, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let answers = [(); 3].map(|()| AtomicUsize::new(0));
    let began = Instant::now();
    let slowest = std::thread::scope(|scope| {
        let guessers: Vec<_> = (0..48)
            .map(|_| {
                scope.spawn(|| {
                    while next.fetch_add(1, Ordering::Relaxed) < GUESSES {
                        assert!(Instant::now() < limit, "it takes too long");
                        let guess = format!("{:032x}", next.load(Ordering::Relaxed));
                        let kind = match get(operator, "/builds", &guess) {
                            Ok(401) => 0,
                            Ok(429) => 1,
                            Ok(other) => panic!("{other}"),
                            Err(_) => 2,
                        };
                        answers[kind].fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let right = scope.spawn(|| {
            let mut slowest = Duration::ZERO;
            while !over.load(Ordering::Relaxed) {
                let asked = Instant::now();
                let status = get(operator, "/compare", GOOD).unwrap();
                assert_eq!(status, 400, "let in, and told to name two builds");
                slowest = slowest.max(asked.elapsed());
                #[expect(clippy::disallowed_methods, reason = "a test without a runtime")]
                std::thread::sleep(Duration::from_millis(20));
            }
            slowest
        });
        for guesser in guessers {
            guesser.join().unwrap();
        }
        over.store(true, Ordering::Relaxed);
        right.join().unwrap()
    });
    let [refused, throttled, ended] = answers.map(AtomicUsize::into_inner);
    let took = began.elapsed();
    eprintln!(
        "{refused} refused, {throttled} throttled, {ended} ended in {took:?}; a right one took {slowest:?}"
    );
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert!(refused < 200, "{refused} were answered as if they were slips");
    assert!(throttled > GUESSES / 2, "{throttled}");
    assert_eq!(serving.terminate(), Some(0));
    let log = place.serve_log();
    assert!(log.contains("its token is unknown") && log.contains("throttled: from "), "{log}");
    assert!(log.contains("again: refused a request"), "{log}");
    assert!(log.lines().filter(|line| line.contains("token is unknown")).count() < 20, "{log}");
}
