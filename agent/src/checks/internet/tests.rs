use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

fn seen(targets: &[(&str, Option<u16>, &str)]) -> Observation {
    let target = |(target, status, error): &(&str, Option<u16>, &str)| TargetSeen {
        target: (*target).to_owned(),
        address: Some("192.0.2.1:80".parse().unwrap()),
        status: *status,
        took: Duration::from_millis(120),
        error: (*error).to_owned(),
        tries: 1,
    };
    Observation { targets: targets.iter().map(target).collect(), waited: Duration::from_secs(9) }
}

fn judged(seen: &Observation) -> (CheckOutcome, String) {
    let judgement = judge(&InternetCheck::default(), seen);
    (judgement.outcome, judgement.summary)
}

#[test]
fn an_answer_is_an_answer() {
    for status in [200, 301, 403, 404] {
        let (outcome, summary) = judged(&seen(&[("http://a.example/", Some(status), "")]));
        assert_eq!((outcome, summary.as_str()), (CheckOutcome::Pass, "http://a.example/ answers in 0.1 s"));
    }
    assert_eq!(judged(&seen(&[("tcp://a.example:22", None, "")])).0, CheckOutcome::Pass);
    assert_eq!(judged(&seen(&[])).0, CheckOutcome::Skipped);
}

#[test]
fn a_failure_is_told() {
    let (outcome, summary) = judged(&seen(&[
        ("http://a.example/", Some(200), ""),
        ("https://b.example/", None, "TLS: invalid peer certificate: UnknownIssuer"),
    ]));
    assert_eq!(outcome, CheckOutcome::Fail);
    assert_eq!(
        summary,
        "https://b.example/ does not answer after 9.0 s: TLS: invalid peer certificate: UnknownIssuer"
    );
    let (outcome, summary) = judged(&seen(&[("http://a.example/", Some(503), "")]));
    assert_eq!(outcome, CheckOutcome::Fail);
    assert!(summary.ends_with("it answers 503"), "{summary}");
}

#[test]
fn what_failed_can_be_repeated_elsewhere() {
    let both = seen(&[("http://a.example/", Some(200), ""), ("tcp://b.example:1", None, "refused")]);
    let judgement = judge(&InternetCheck::default(), &both);
    assert_eq!(repetition(&judgement.observations).unwrap().targets, ["tcp://b.example:1"]);
}

async fn serve(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    address
}

async fn examined(target: String) -> Judgement {
    let settings = InternetCheck { targets: vec![target] };
    let deadline = Instant::now() + Duration::from_secs(2);
    judge(&settings, &observe(&settings, &Guest::default(), deadline).await)
}

#[tokio::test]
async fn targets_are_reached() {
    let there = serve("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(examined(format!("http://{there}/x")).await.outcome, CheckOutcome::Pass);
    assert_eq!(examined(format!("tcp://{there}")).await.outcome, CheckOutcome::Pass);
    assert_eq!(examined(format!("http://localhost:{}/x", there.port())).await.outcome, CheckOutcome::Pass);
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let broken = serve("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
    assert!(examined(format!("http://{broken}/")).await.summary.ends_with("it answers 502"));
    let plain = serve("SSH-2.0-x\r\n").await;
    let judgement = examined(format!("https://{plain}/")).await;
    assert_eq!(judgement.outcome, CheckOutcome::Fail);
    assert!(judgement.summary.contains("TLS: "), "{}", judgement.summary);
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let judgement = examined(format!("tcp://{gone}")).await;
    assert!(judgement.summary.contains("refused"), "{}", judgement.summary);
    assert!(examined("gopher://x".to_owned()).await.summary.contains("neither http://"));
}
