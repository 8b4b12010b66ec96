use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// A manager's host with these lines in sources.list, and whose resolver knows these names.
fn host_with(sources: &str, names: &[(&str, &str)]) -> (tempfile::TempDir, Guest) {
    let root = tempfile::tempdir().unwrap();
    for folder in ["etc/apt", "usr/bin"] {
        std::fs::create_dir_all(root.path().join(folder)).unwrap();
    }
    std::fs::write(root.path().join("etc/apt/sources.list"), sources).unwrap();
    let answers: Vec<String> =
        names.iter().map(|(name, at)| format!("{name}) echo '{at} STREAM';;\n")).collect();
    let getent = root.path().join("usr/bin/getent");
    std::fs::write(&getent, format!("#!/bin/sh\ncase $2 in\n{}*) exit 2;;\nesac\n", answers.concat()))
        .unwrap();
    std::fs::set_permissions(&getent, std::fs::Permissions::from_mode(0o755)).unwrap();
    let guest = Guest::below(root.path());
    (root, guest)
}

fn trusted(host: &Guest, environment: &[(&str, &str)]) -> Trusted {
    let pairs = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Trusted::of(host, &pairs.collect())
}

fn failed(kind: &NetworkCheck, what: &[&str]) -> v1::Check {
    let key = if matches!(kind, NetworkCheck::Dns { .. }) { "unresolved" } else { "unreached" };
    let name = if key == "unresolved" { "dns" } else { "internet" };
    let observed = serde_json::json!({ key: what });
    let mut check = v1::Check {
        name: name.to_owned(),
        required: true,
        observations: Some(observations::from_json(&observed)),
        ..v1::Check::default()
    };
    check.set_outcome(CheckOutcome::Fail);
    check
}

const SOON: Duration = Duration::from_millis(900);

fn any_name() -> NetworkCheck {
    NetworkCheck::Dns { names: Vec::new() }
}

fn any_target() -> NetworkCheck {
    NetworkCheck::Internet { targets: Vec::new() }
}

async fn opinion(kind: &NetworkCheck, what: &[&str], host: &Guest, trusted: &Trusted) -> Opinion {
    repeat(kind, &failed(kind, what), host, trusted, SOON).await.unwrap()
}

#[test]
fn the_image_does_not_choose_whom_the_host_calls() {
    let nobody = Trusted::default();
    let may = |found: &str, named: &[&str]| {
        let named: Vec<String> = named.iter().map(|&name| name.to_owned()).collect();
        nobody.may_be_called(found, &named)
    };
    assert!(!may("http://mirror.example/debian", &[]), "only the image names it");
    assert!(!may("tcp://10.0.0.1:22", &[]));
    assert!(!may("http://mirror.example/debian", &["tcp://a:1"]));
    assert!(may("tcp://10.0.0.1:22", &["tcp://10.0.0.1:22"]));
    // As the agent writes what the schedule has without a path.
    assert!(may("https://a.example/", &["https://a.example"]));
    assert!(!may("https://a.example/other", &["https://a.example"]));
    for bad in ["http://169.254.169.254/latest", "http://localhost/x", "http://a:8080/", "ftp://a.b/"] {
        assert!(!may(bad, &[]), "{bad}");
    }
    // Also when the schedule names them: they are the server's own, or its link's.
    for local in
        ["http://127.0.0.1:80/", "http://[::1]:1/", "http://[::ffff:127.0.0.1]/", "tcp://169.254.169.254:80"]
    {
        assert!(!may(local, &[local]), "{local}");
    }
}

#[test]
fn mirrors_of_the_host_and_of_the_schedule_may_be_called() {
    let (_root, host) = host_with(
        "deb http://10.0.0.5:3142/debian bookworm main\ndeb http://127.0.0.1:3142/debian bookworm main\n",
        &[],
    );
    let trusted = trusted(
        &host,
        &[
            ("DIB_DEBIAN_SECURITY_MIRROR", "http://user:secret@proxy:8081/security"),
            ("DIB_DISTRIBUTION_MIRROR_UBUNTU_IGNORE", "http://(security|archive)"),
            ("DIB_RELEASE", "http://10.0.0.9:1/"),
        ],
    );
    for good in ["http://10.0.0.5:3142/debian", "http://10.0.0.5:3142/debian-security", "http://proxy:8081/x"]
    {
        assert!(trusted.may_be_called(good, &[]), "{good}");
        assert!(!trusted.may_be_called(good, &["tcp://a:1".to_owned()]), "the schedule names others: {good}");
    }
    for bad in [
        "http://10.0.0.5:22/debian",
        "https://10.0.0.5:3142/debian",
        "tcp://10.0.0.5:3142",
        "http://127.0.0.1:3142/debian",
        "http://10.0.0.9:1/",
    ] {
        assert!(!trusted.may_be_called(bad, &[]), "{bad}");
    }
}

/// An address of this machine that is not loopback, where it has one. Nothing is sent.
fn outward() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket
        .local_addr()
        .ok()
        .map(|address| address.ip())
        .filter(|address| !image_manager_agent::checks::internet::is_local(*address))
}

/// A mirror of the site that is down, by digits and port.
#[tokio::test]
async fn a_mirror_of_the_host_that_is_down_is_not_the_images_fault() {
    let Some(address) = outward() else { return };
    // The port is closed by the time it is called.
    let closed = std::net::TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().port();
    let mirror = format!("http://{address}:{closed}/debian");
    let (_root, host) = host_with(&format!("deb {mirror} bookworm main\n"), &[]);
    let kind = any_target();
    let mut check = failed(&kind, &[&mirror]);
    repeat(&kind, &check, &host, &trusted(&host, &[]), SOON).await.unwrap().note(&mut check);
    let failure = super::super::judgement::known_failure(&[check.clone()]);
    assert!(failure.is_none() && check.outcome() == CheckOutcome::Inconclusive, "{}", check.summary);
    assert!(check.summary.contains("nor from the manager's host"), "{}", check.summary);
}

#[tokio::test]
async fn a_misspelt_name_is_the_images_fault_when_the_hosts_own_mirrors_resolve() {
    let (_root, host) = host_with("deb http://deb.example/debian x main\n", &[("deb.example", "192.0.2.7")]);
    let trusted = trusted(&host, &[]);
    let seen = opinion(&any_name(), &["dbe.example"], &host, &trusted).await;
    assert!(!seen.excused && seen.summary.contains("only the image names dbe.example"), "{}", seen.summary);
    // What the schedule asks for by name is looked up from here, and nothing else speaks for it.
    let kind = NetworkCheck::Dns { names: vec!["manager.internal".to_owned()] };
    let seen = opinion(&kind, &["manager.internal"], &host, &trusted).await;
    assert!(seen.excused, "{}", seen.summary);
}

#[tokio::test]
async fn a_dead_network_is_not_the_images_fault() {
    let (_root, host) = host_with("deb http://deb.example/debian x main\n", &[]);
    let trusted = trusted(&host, &[]);
    let seen = opinion(&any_name(), &["dbe.example", "deb.example"], &host, &trusted).await;
    assert!(seen.excused, "{}", seen.summary);
    let seen = opinion(&any_target(), &["http://dbe.example/debian"], &host, &trusted).await;
    assert!(seen.excused && seen.summary.contains("checks.internet.targets"), "{}", seen.summary);
}

#[tokio::test]
async fn without_anything_to_trust_it_is_not_known_who_is_to_blame() {
    let (_root, host) = host_with("", &[]);
    let seen = opinion(&any_name(), &["dbe.example"], &host, &Trusted::default()).await;
    assert!(seen.excused && seen.summary.contains("checks.dns.names"), "{}", seen.summary);
}

#[tokio::test]
async fn what_is_local_is_never_asked_for_from_here() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (_root, host) =
        host_with("", &[("inside.example", "127.0.0.1"), ("mapped.example", "::ffff:127.0.0.1")]);
    for named in [
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://0.0.0.0:{port}/"),
        format!("http://inside.example:{port}/"),
        format!("http://mapped.example:{port}/"),
    ] {
        let kind = NetworkCheck::Internet { targets: vec![named.clone()] };
        let of_the_schedule = trusted(&host, &[("DIB_DISTRIBUTION_MIRROR", named.as_str())]);
        for trusted in [Trusted::default(), of_the_schedule] {
            repeat(&kind, &failed(&kind, &[&named]), &host, &trusted, SOON).await.unwrap();
            assert!(listener.accept().is_err(), "{named} was called");
        }
    }
    // Nor what the host's own sources name, nor a name of the host itself.
    let own =
        format!("deb http://localhost:{port}/debian x main\ndeb http://127.0.0.1:{port}/debian x main\n");
    let (_root, with_own) = host_with(&own, &[("localhost", "127.0.0.1")]);
    assert_eq!(trusted(&with_own, &[]).mirrors, []);
    let named = NetworkCheck::Dns { names: vec!["localhost".to_owned()] };
    let seen = opinion(&named, &["localhost"], &with_own, &Trusted::default()).await;
    assert!(!seen.excused && seen.summary.contains("localhost is the server itself"), "{}", seen.summary);
    // The server itself: no network is to blame for it.
    let own = format!("http://127.0.0.1:{port}/");
    let kind = NetworkCheck::Internet { targets: vec![own.clone()] };
    assert!(!opinion(&kind, &[&own], &host, &Trusted::default()).await.excused);
}

#[tokio::test]
async fn an_early_end_counts_network_checks_only_once_they_are_repeated() {
    let disk = {
        let mut check = v1::Check { name: "disk".to_owned(), required: true, ..v1::Check::default() };
        check.set_outcome(CheckOutcome::Fail);
        check
    };
    let checks = vec![failed(&any_name(), &["dbe.example"]), disk];
    let settled = settle(None, checks, SOON).await;
    let names: Vec<_> = settled.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["disk"], "nobody has repeated the other");
}

/// The server has IPv6 that leads nowhere, and this host has none.
#[tokio::test]
async fn what_answers_but_not_over_ipv6_passes_with_a_note() {
    let (_root, host) = host_with("", &[]);
    let target = "http://192.0.2.7/";
    let kind = NetworkCheck::Internet { targets: vec![target.to_owned()] };
    let mut check = failed(&kind, &[]);
    let told = serde_json::json!({ "unreached_by_ipv6": [target] });
    check.observations.get_or_insert_default().fields.extend(observations::from_json(&told).fields);
    repeat(&kind, &check, &host, &Trusted::default(), SOON).await.unwrap().note(&mut check);
    assert_eq!(check.outcome(), CheckOutcome::Pass, "{}", check.summary);
    assert!(check.summary.contains("so it is only noted"), "{}", check.summary);
}

/// Whatever became of its targets, it is the image that lacks them.
#[tokio::test]
async fn an_image_without_certificate_authorities_is_not_excused() {
    let (_root, host) = host_with("", &[]);
    let kind = any_target();
    let mut check = failed(&kind, &["http://nobody.invalid/"]);
    let told = serde_json::json!({ "of_the_image": true });
    check.observations.get_or_insert_default().fields.extend(observations::from_json(&told).fields);
    assert_eq!(repeat(&kind, &check, &host, &Trusted::default(), SOON).await, None);
}

/// What the agent sent was more than it may send: the list of what failed is cut, or gone.
#[tokio::test]
async fn cut_observations_are_nobodys_fault() {
    let (_root, host) = host_with("deb http://deb.example/debian x main\n", &[("deb.example", "192.0.2.7")]);
    let trusted = trusted(&host, &[]);
    let cut = |kind: &NetworkCheck, what: &[&str]| {
        let mut check = failed(kind, what);
        let flag = serde_json::json!({ "truncated": true });
        check.observations.get_or_insert_default().fields.extend(observations::from_json(&flag).fields);
        check
    };
    for kind in [any_name(), any_target()] {
        let mut check = cut(&kind, &[]);
        repeat(&kind, &check, &host, &trusted, SOON).await.expect("it says so").note(&mut check);
        assert_eq!(check.outcome(), CheckOutcome::Inconclusive);
        assert!(check.summary.contains("the observations were cut"), "{}", check.summary);
    }
    assert!(repeat(&any_name(), &failed(&any_name(), &[]), &host, &trusted, SOON).await.is_none());
    // What is known to be the image's fault stays that.
    let seen = repeat(&any_name(), &cut(&any_name(), &["dbe.example"]), &host, &trusted, SOON).await.unwrap();
    assert!(!seen.excused, "{}", seen.summary);
    // A target whose end is missing is not one that only the image names.
    let long = format!("http://192.0.2.8/{}", "x".repeat(900));
    let kind = NetworkCheck::Internet { targets: vec![long.clone()] };
    let short: String = long.chars().take(600).collect();
    let seen = opinion(&kind, &[&short], &host, &trusted).await;
    assert!(seen.excused && seen.summary.contains("the observations were cut"), "{}", seen.summary);
}

#[tokio::test]
async fn what_the_schedule_names_is_not_called_the_images() {
    let (_root, host) = host_with("", &[("inside.example", "127.0.0.1")]);
    for named in ["http://169.254.169.254/latest", "http://inside.example/"] {
        let kind = NetworkCheck::Internet { targets: vec![named.to_owned()] };
        let seen = opinion(&kind, &[named], &host, &Trusted::default()).await;
        let why = format!("{named} would be this host itself or its own link");
        assert!(seen.summary.contains(&why) && !seen.summary.contains("only the image"), "{}", seen.summary);
    }
    let seen = opinion(&any_target(), &["http://169.254.169.254/latest"], &host, &Trusted::default()).await;
    assert!(seen.summary.contains("only the image names http://169.254.169.254/latest"), "{}", seen.summary);
}
