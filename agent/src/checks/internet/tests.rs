use std::sync::Mutex;

use image_manager_proto::v1::CheckOutcome;
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
        ..TargetSeen::default()
    };
    Observation {
        targets: targets.iter().map(target).collect(),
        waited: Duration::from_secs(9),
        nothing: "nothing to ask for".to_owned(),
        ..Observation::default()
    }
}

fn judged(seen: &Observation) -> (CheckOutcome, String) {
    let judgement = judge(&Settings::default(), seen);
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

/// A dual-stack server whose targets answer, once over IPv6 and once not.
fn by_ipv6(errors: &[&str]) -> Observation {
    let mut both = seen(&[("http://a.example/", Some(200), ""), ("http://b.example/", Some(200), "")]);
    both.ipv6 = true;
    let again =
        |(target, error): (&TargetSeen, &&str)| TargetSeen { error: (*error).to_owned(), ..target.clone() };
    both.by_ipv6 = both.targets.iter().zip(errors).map(again).collect();
    both
}

#[test]
fn what_answers_answers_over_ipv6_too_where_the_server_has_it() {
    assert_eq!(judged(&by_ipv6(&[])), (CheckOutcome::Pass, "all 2 targets answer".to_owned()));
    assert_eq!(
        judged(&by_ipv6(&["", ""])),
        (CheckOutcome::Pass, "all 2 targets answer, over IPv6 too".to_owned())
    );
    let dead = by_ipv6(&["", "no answer within 6.0 s"]);
    let judgement = judge(&Settings::default(), &dead);
    assert_eq!(judgement.outcome, CheckOutcome::Fail);
    let said = "http://b.example/ does not answer over IPv6, though the server has an IPv6 address and a default route: \
                no answer within 6.0 s";
    assert!(judgement.summary.starts_with(said), "{}", judgement.summary);
    assert_eq!(repetition(&judgement.observations), None);
    assert_eq!(unreached_by_ipv6(&judgement.observations), ["http://b.example/"]);
    assert!(all_answered(&judgement.observations) && !is_of_the_image(&judgement.observations));
    // What does not answer at all says more.
    let mut none = dead;
    none.targets[0].error = "refused".to_owned();
    none.targets[0].status = None;
    let judgement = judge(&Settings::default(), &none);
    assert!(judgement.summary.contains("refused"), "{}", judgement.summary);
    assert!(!all_answered(&judgement.observations));
}

#[test]
fn without_certificate_authorities_the_image_fails_whatever_its_targets_do() {
    let empty = Store {
        place: "/etc/ssl/certs/ca-certificates.crt".to_owned(),
        user: "/usr/lib64/libssl.so.3".to_owned(),
        ..Store::default()
    };
    for targets in
        [vec![("http://a.example/", Some(200), "")], vec![("http://a.example/", None, "refused")], Vec::new()]
    {
        let bad = Observation { certificates: empty.clone(), ..seen(&targets) };
        let judgement = judge(&Settings::default(), &bad);
        assert_eq!(judgement.outcome, CheckOutcome::Fail);
        let said = "/etc/ssl/certs/ca-certificates.crt holds no certificate authority that can be read";
        assert!(judgement.summary.starts_with(said), "{}", judgement.summary);
        assert!(is_of_the_image(&judgement.observations), "no network is to blame");
        let unwanted = judge(&Settings { certificates: Some(false), ..Settings::default() }, &bad);
        assert_ne!(unwanted.summary, judgement.summary);
        let early = Store { unsettled: true, ..empty.clone() };
        let early = judge(&Settings::default(), &Observation { certificates: early, ..bad });
        assert_eq!(early.outcome, CheckOutcome::Inconclusive);
        assert!(!is_of_the_image(&early.observations));
    }
}

#[tokio::test]
async fn a_guests_certificate_authorities_are_looked_at_though_no_target_is_https() {
    let there = serve("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let root = tempfile::tempdir().unwrap();
    let guest = guest_with(root.path(), &[], "192.0.2.1");
    let settings = Settings { targets: vec![format!("http://{there}/")], ..Settings::default() };
    let examined = async || {
        let deadline = Instant::now() + Duration::from_secs(10);
        judge(&settings, &observe(&settings, &guest, deadline).await)
    };
    assert_eq!(examined().await.outcome, CheckOutcome::Pass, "nothing there would use them");
    std::fs::create_dir_all(guest.path("/usr/lib64")).unwrap();
    std::fs::write(guest.path("/usr/lib64/libssl.so.3"), "").unwrap();
    let judgement = examined().await;
    assert_eq!(judgement.outcome, CheckOutcome::Fail);
    assert!(
        judgement.summary.starts_with("the image has no certificate authorities"),
        "{}",
        judgement.summary
    );
}

#[test]
fn what_failed_can_be_repeated_elsewhere() {
    let both = seen(&[("http://a.example/", Some(200), ""), ("tcp://b.example:1", None, "refused")]);
    let judgement = judge(&Settings::default(), &both);
    assert_eq!(repetition(&judgement.observations).unwrap().targets, ["tcp://b.example:1"]);
}

async fn serve(answer: &'static str) -> SocketAddr {
    serve_and_note(answer).await.0
}

/// Serves, and keeps the first line of each request.
async fn serve_and_note(answer: &'static str) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap_or_default();
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            noted.lock().unwrap().push(text.lines().next().unwrap_or_default().to_owned());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (address, asked)
}

/// With time for an answer also on a busy machine.
async fn answered(target: String) -> Judgement {
    examined_in(&Guest::default(), vec![target]).await
}

/// With little time, for what does not answer.
async fn examined(target: String) -> Judgement {
    let settings = Settings::only(vec![target]);
    let deadline = Instant::now() + Duration::from_secs(2);
    judge(&settings, &observe(&settings, &Guest::default(), deadline).await)
}

#[tokio::test]
async fn targets_are_reached() {
    let there = serve("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(answered(format!("http://{there}/x")).await.outcome, CheckOutcome::Pass);
    assert_eq!(answered(format!("tcp://{there}")).await.outcome, CheckOutcome::Pass);
    assert_eq!(answered(format!("http://localhost:{}/x", there.port())).await.outcome, CheckOutcome::Pass);
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

#[tokio::test]
async fn a_target_is_asked_for_its_head_only_and_no_redirect_is_followed() {
    let answer = "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n";
    let (there, asked) = serve_and_note(answer).await;
    assert_eq!(answered(format!("http://{there}/reboot?now=1")).await.outcome, CheckOutcome::Pass);
    assert_eq!(*asked.lock().unwrap(), ["HEAD /reboot?now=1 HTTP/1.1"]);
    // What the method is unknown to has answered, too.
    let there = serve("HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(answered(format!("http://{there}/")).await.outcome, CheckOutcome::Pass);
}

/// A guest whose sources name these mirrors, and whose resolver gives this address for each name.
fn guest_with(root: &std::path::Path, mirrors: &[String], address: &str) -> Guest {
    use std::os::unix::fs::PermissionsExt as _;
    let guest = Guest::below(root);
    for folder in ["/etc/apt", "/usr/bin"] {
        std::fs::create_dir_all(guest.path(folder)).unwrap();
    }
    let lines: Vec<String> = mirrors.iter().map(|mirror| format!("deb {mirror} stable main")).collect();
    std::fs::write(guest.path("/etc/apt/sources.list"), lines.join("\n")).unwrap();
    let getent = guest.path("/usr/bin/getent");
    std::fs::write(&getent, format!("#!/bin/sh\necho \"{address} STREAM x\"\n")).unwrap();
    std::fs::set_permissions(&getent, std::fs::Permissions::from_mode(0o755)).unwrap();
    guest
}

async fn examined_in(guest: &Guest, targets: Vec<String>) -> Judgement {
    let settings = Settings::only(targets);
    let deadline = Instant::now() + Duration::from_secs(10);
    judge(&settings, &observe(&settings, guest, deadline).await)
}

#[tokio::test]
async fn an_image_cannot_have_loopback_and_link_local_addresses_asked() {
    let (there, asked) = serve_and_note("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let port = there.port();
    for (mirror, resolved) in [
        (format!("http://127.0.0.1:{port}/debian"), "192.0.2.1"),
        (format!("http://127.9.9.9:{port}/debian"), "192.0.2.1"),
        (format!("http://[::ffff:127.0.0.1]:{port}/debian"), "192.0.2.1"),
        (format!("http://[::1]:{port}/debian"), "192.0.2.1"),
        (format!("http://0.0.0.0:{port}/debian"), "192.0.2.1"),
        (format!("http://localhost:{port}/debian"), "127.0.0.1"),
        (format!("http://mirror.example:{port}/debian"), "127.0.0.1"),
        (format!("http://mirror.example:{port}/debian"), "::ffff:127.0.0.1"),
        ("http://169.254.169.254/latest".to_owned(), "192.0.2.1"),
        ("http://mirror.example/debian".to_owned(), "169.254.169.254"),
        ("http://mirror.example/debian".to_owned(), "fe80::1"),
    ] {
        let root = tempfile::tempdir().unwrap();
        let guest = guest_with(root.path(), std::slice::from_ref(&mirror), resolved);
        let judgement = examined_in(&guest, Vec::new()).await;
        assert_eq!(judgement.outcome, CheckOutcome::Skipped, "{mirror} {resolved}: {}", judgement.summary);
        assert!(judgement.summary.contains("checks.internet.targets"), "{}", judgement.summary);
        assert_eq!(repetition(&judgement.observations), None, "nobody else is to ask it either");
    }
    assert_eq!(asked.lock().unwrap().len(), 0, "{:?}", asked.lock().unwrap());
}

#[tokio::test]
async fn a_schedule_may_name_a_loopback_address_but_a_name_does_not_lead_there() {
    let (there, asked) = serve_and_note("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let root = tempfile::tempdir().unwrap();
    let guest = guest_with(root.path(), &[], "127.0.0.1");
    for named in [format!("http://{there}/"), format!("http://localhost:{}/", there.port())] {
        assert_eq!(examined_in(&guest, vec![named]).await.outcome, CheckOutcome::Pass);
    }
    assert_eq!(asked.lock().unwrap().len(), 2);
    let judgement = examined_in(&guest, vec![format!("http://mirror.example:{}/", there.port())]).await;
    assert_eq!(judgement.outcome, CheckOutcome::Fail);
    assert!(judgement.summary.contains("127.0.0.1"), "{}", judgement.summary);
    assert_eq!(asked.lock().unwrap().len(), 2, "asked all the same");
}

/// The addresses of these mirrors as [`Mirror`]s, of which any one will do.
fn alternatives(addresses: &[String], via: Via) -> Mirror {
    Mirror { addresses: addresses.to_vec(), via }
}

fn means() -> Arc<Means> {
    Arc::new(Means { getent: None, tls: trust(), named: true })
}

#[tokio::test]
async fn one_of_a_list_of_mirrors_will_do() {
    let there = serve("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (good, bad) = (format!("http://{there}/"), format!("http://{closed}/"));
    let late = Instant::now() + Duration::from_secs(10);
    let seen = reach_any(&means(), alternatives(&[bad.clone(), good.clone()], Via::Direct), late).await;
    assert_eq!(seen.iter().map(|seen| seen.target.as_str()).collect::<Vec<_>>(), [good]);
    let soon = Instant::now() + Duration::from_millis(900);
    let seen = reach_any(&means(), alternatives(&[bad.clone(), bad], Via::Direct), soon).await;
    assert!(seen.len() == 2 && !seen[0].is_reached());
}

#[tokio::test]
async fn a_mirror_is_reached_through_its_proxy() {
    let soon = || Instant::now() + Duration::from_millis(900);
    let via = |at: SocketAddr| Via::Proxy { host: at.ip().to_string(), port: at.port() };
    let plain = ["http://mirror.example/debian".to_owned()];
    let (proxy, asked) = serve_and_note("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let seen =
        reach_any(&means(), alternatives(&plain, via(proxy)), Instant::now() + Duration::from_secs(10)).await;
    assert!(seen[0].is_reached(), "{seen:?}");
    assert_eq!(*asked.lock().unwrap(), ["HEAD http://mirror.example/debian HTTP/1.1"]);

    let refuses = serve("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n").await;
    let seen = reach_any(&means(), alternatives(&plain, via(refuses)), soon()).await;
    assert!(seen[0].error.contains("password"), "{seen:?}");

    let secure = ["https://mirror.example/debian".to_owned()];
    let (proxy, asked) = serve_and_note("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
    let seen = reach_any(&means(), alternatives(&secure, via(proxy)), soon()).await;
    assert!(seen[0].error.contains("the proxy refuses mirror.example:443"), "{seen:?}");
    assert_eq!(asked.lock().unwrap()[0], "CONNECT mirror.example:443 HTTP/1.1");

    let unknown = Via::Unknown("a proxy that speaks socks5h://".to_owned());
    let seen = reach_any(&means(), alternatives(&plain, unknown), soon()).await;
    let judgement = judge(&Settings::default(), &Observation { targets: seen, ..seen_nothing() });
    assert_eq!(judgement.outcome, CheckOutcome::Skipped);
    assert!(judgement.summary.contains("socks5h") && judgement.summary.contains("checks.internet.targets"));
}

fn seen_nothing() -> Observation {
    seen(&[])
}

/// A mirror on the server itself, found by a `mirror+file:` list and by a name of the image's own `/etc/hosts`.
#[tokio::test]
async fn a_mirror_on_the_server_itself_is_told_of_and_asked_once_the_schedule_names_it() {
    let (there, asked) = serve_and_note("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let mirror = format!("http://mirror.test:{}/debian", there.port());
    let root = tempfile::tempdir().unwrap();
    let guest = guest_with(root.path(), &[], "127.0.0.1");
    for (path, text) in [
        ("/etc/apt/mirrors/debian.list", mirror.clone()),
        ("/etc/apt/sources.list", "deb mirror+file:///etc/apt/mirrors/debian.list trixie main\n".to_owned()),
    ] {
        std::fs::create_dir_all(guest.path(path).parent().unwrap()).unwrap();
        std::fs::write(guest.path(path), text).unwrap();
    }
    let judgement = examined_in(&guest, Vec::new()).await;
    assert_eq!(judgement.outcome, CheckOutcome::Skipped, "{}", judgement.summary);
    let named = format!("http://{there}/debian");
    let hint = format!("name targets in checks.internet.targets, {named} if that is intended");
    assert!(judgement.summary.ends_with(&hint), "{}", judgement.summary);
    let observed = format!("{:?}", judgement.observations);
    for part in [mirror.as_str(), &there.to_string(), "mirror.test is 127.0.0.1", "\"not_asked\""] {
        assert!(observed.contains(part), "{part}: {observed}");
    }
    assert!(asked.lock().unwrap().is_empty());
    // As the summary says.
    let judgement = examined_in(&guest, vec![named]).await;
    assert_eq!(judgement.outcome, CheckOutcome::Pass, "{}", judgement.summary);
    assert_eq!(*asked.lock().unwrap(), ["HEAD /debian HTTP/1.1"]);
}
