use std::fs;

use super::*;

const ID: &str = "8c3b6f0e-5d0c-4a76-9d7e-0b6f5a2d1e11";

/// A Debian 12 with the local cloud's config drive.
fn good() -> Observation {
    Observation {
        ended: true,
        taken: Some(Taken {
            id: ID.to_owned(),
            cloud: "configdrive".to_owned(),
            source: "config-disk (/dev/vdb)".to_owned(),
            user_data_used: true,
            ..Taken::default()
        }),
        origin: "the config drive".to_owned(),
        id: ID.to_owned(),
        same_user_data: true,
        ..Observation::default()
    }
}

fn with_taken(change: impl FnOnce(&mut Taken)) -> Observation {
    let mut seen = good();
    change(seen.taken.as_mut().unwrap());
    seen
}

fn judged(settings: &Settings, seen: &Observation) -> (CheckOutcome, String) {
    let judgement = judge(settings, &ServerFacts::default(), seen);
    (judgement.outcome, judgement.summary)
}

fn failure(seen: &Observation) -> String {
    let (outcome, said) = judged(&Settings::default(), seen);
    assert_eq!(outcome, CheckOutcome::Fail, "{said}");
    said
}

#[test]
fn metadata_that_was_taken_passes() {
    let (outcome, said) = judged(&Settings::default(), &good());
    assert_eq!(outcome, CheckOutcome::Pass);
    assert_eq!(said, format!("cloud-init took instance id {ID} from config-disk (/dev/vdb)"));
    let foreign = Observation { origin: String::new(), id: String::new(), ..good() };
    assert_eq!(judged(&Settings::default(), &foreign).0, CheckOutcome::Pass, "a cloud that is no OpenStack");
}

#[test]
fn another_instance_fails() {
    let other = with_taken(|taken| taken.id = "iid-datasource-none".to_owned());
    let said = failure(&other);
    assert_eq!(
        said,
        format!("cloud-init has the instance id iid-datasource-none, but the config drive says {ID}")
    );
    let server = ServerFacts { id: "other".to_owned(), ..ServerFacts::default() };
    let judgement = judge(&Settings::default(), &server, &good());
    assert_eq!(judgement.outcome, CheckOutcome::Fail);
    assert!(judgement.summary.ends_with("the cloud says other"));
}

#[test]
fn user_data_and_keys_must_be_taken() {
    let forbidden = with_taken(|taken| taken.user_data_forbidden = true);
    assert!(failure(&forbidden).starts_with("cloud-init ignores user data"));
    let unused = with_taken(|taken| taken.user_data_used = false);
    assert_eq!(failure(&unused), "cloud-init has not processed the user data");
    let other = Observation { has_user_data: true, same_user_data: false, ..good() };
    assert_eq!(failure(&other), "cloud-init's user data is not what the config drive gives");
    let lost = Observation { keys: vec!["ssh-ed25519 AAAA".to_owned()], ..good() };
    assert_eq!(failure(&lost), "cloud-init did not take the SSH key ssh-ed25519 AAAA from the config drive");
}

#[test]
fn the_wanted_source_must_be_it() {
    let service = Settings { source: "service".to_owned() };
    let (outcome, said) = judged(&service, &good());
    assert_eq!(outcome, CheckOutcome::Fail);
    assert!(said.contains("from config-disk (/dev/vdb), not from service"), "{said}");
    assert_eq!(judged(&Settings { source: "config_drive".to_owned() }, &good()).0, CheckOutcome::Pass);
}

#[test]
fn whose_fault_it_is_that_nothing_was_taken() {
    let nothing = Observation { taken: None, ..good() };
    assert_eq!(failure(&nothing), "the config drive can be read, but cloud-init has taken nothing from it");
    let none = Observation { origin: String::new(), unreadable: "no answer".to_owned(), ..nothing.clone() };
    assert_eq!(judged(&Settings::default(), &none).0, CheckOutcome::Inconclusive);
    let early = Observation { ended: false, ..nothing };
    assert_eq!(judged(&Settings::default(), &early).0, CheckOutcome::Inconclusive);
}

/// A metadata service with these answers, for as long as the test runs.
async fn service(meta_data: &'static str, user_data: &'static str) -> SocketAddr {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let count = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..count]).into_owned();
            let body = if request.contains("/openstack/latest/user_data ") { user_data } else { meta_data };
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn the_service_is_compared_with_what_cloud_init_kept() {
    let root = tempfile::tempdir().unwrap();
    let guest = Guest::below(root.path());
    for folder in ["/run/cloud-init", "/var/lib/cloud/instance"] {
        fs::create_dir_all(guest.path(folder)).unwrap();
    }
    let data = json!({
        "ds": { "meta_data": {} },
        "merged_system_cfg": { "allow_userdata": true },
        "v1": { "instance_id": ID, "cloud_id": "openstack", "subplatform": "metadata (http://169.254.169.254)",
                "public_ssh_keys": ["ssh-ed25519 AAAA me@example"] },
    });
    fs::write(guest.path("/run/cloud-init/instance-data.json"), data.to_string()).unwrap();
    fs::write(guest.path("/var/lib/cloud/instance/user-data.txt"), "#cloud-config\n").unwrap();
    fs::write(guest.path("/var/lib/cloud/instance/cloud-config.txt"), "").unwrap();
    let meta_data = r#"{"uuid": "8C3B6F0E-5D0C-4A76-9D7E-0B6F5A2D1E11", "public_keys": {"mine": "ssh-ed25519 AAAA other@example\n"}}"#;
    let soon = || Instant::now() + Duration::from_secs(12);
    let same = service(meta_data, "#cloud-config").await;
    let (settings, server) = (Settings::default(), ServerFacts::default());
    let seen = observe(&settings, &guest, same, &server, soon()).await;
    let (outcome, said) = judged(&settings, &seen);
    assert_eq!(outcome, CheckOutcome::Pass, "{said}");
    assert!(said.contains("and the user data from metadata (http"), "{said}");
    let other = service(meta_data, "#cloud-config\nother: 1\n").await;
    let seen = observe(&settings, &guest, other, &server, soon()).await;
    assert!(failure(&seen).starts_with("cloud-init's user data is not what the metadata service"));
}

#[test]
fn the_servers_own_keys_are_told() {
    let meta_data =
        r#"{"public_keys": {"mine": "ssh-ed25519 AAAAx me@example\nssh-rsa AAAAy\n"}, "uuid": "u"}"#;
    assert_eq!(keys_told(meta_data), ["AAAAx", "AAAAy"]);
    assert_eq!(keys_told("{}"), [""; 0]);
    assert_eq!(keys_told("no JSON"), [""; 0]);
}
