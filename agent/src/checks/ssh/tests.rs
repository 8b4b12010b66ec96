use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::SystemTime;

use image_manager_proto::v1::CheckOutcome;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAINooEMMAMmLwDGf3porQ4DW+IHvcdizjwDD8G26p2bMC";
const HOST: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIB1R1jP1KaP0M/h3QCE+F0bY72GxCKSbqPCcqVm1x63S";

/// As a good Debian 12 is seen.
fn good() -> Observation {
    let lines = [
        ("port", "22"),
        ("listenaddress", "0.0.0.0:22"),
        ("usepam", "yes"),
        ("permitrootlogin", "no"),
        ("passwordauthentication", "no"),
        ("kbdinteractiveauthentication", "no"),
        ("authorizedkeysfile", ".ssh/authorized_keys .ssh/authorized_keys2"),
    ];
    let user = |name: &str| UserSeen {
        name: name.to_owned(),
        exists: true,
        file: format!("/home/{name}/.ssh/authorized_keys"),
        sudo: true,
        login: Login::In { sudo: Some(String::new()) },
        ..UserSeen::default()
    };
    let host_key =
        HostKey { name: "ssh_host_ed25519_key".to_owned(), key: HOST.to_owned(), ..HostKey::default() };
    Observation {
        installed: true,
        configuration: Configuration {
            lines: lines.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            error: String::new(),
        },
        met: Some(("127.0.0.1:22".parse().unwrap(), "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7".to_owned())),
        host_keys: vec![host_key],
        proved: Some(Ok(HOST.to_owned())),
        users: vec![user("debian"), user("ops")],
        ..Observation::default()
    }
}

fn judged(seen: &Observation) -> (CheckOutcome, String) {
    let judgement = judge(&Settings::default(), &ServerFacts::default(), seen);
    (judgement.outcome, judgement.summary)
}

fn fails(change: impl Fn(&mut Observation), with: &str) {
    let mut seen = good();
    change(&mut seen);
    let (outcome, summary) = judged(&seen);
    assert_eq!((outcome, summary.as_str()), (CheckOutcome::Fail, with));
    seen.unsettled = true;
    assert_eq!(judged(&seen).0, CheckOutcome::Inconclusive, "a slow machine is no bad image");
}

fn set(seen: &mut Observation, key: &str, value: &str) {
    seen.configuration.lines.retain(|(name, _)| name != key);
    seen.configuration.lines.push((key.to_owned(), value.to_owned()));
}

#[test]
fn a_good_server_passes() {
    let expected =
        "OpenSSH_9.2p1 Debian-2+deb12u7 answers with 1 host key of this boot, debian, ops logged in by key";
    assert_eq!(judged(&good()), (CheckOutcome::Pass, expected.to_owned()));
    let mut without_client = good();
    for user in &mut without_client.users {
        user.login = Login::NotTried("the image has no SSH client".to_owned());
    }
    without_client.proved = None;
    let (outcome, summary) = judged(&without_client);
    assert_eq!(outcome, CheckOutcome::Pass);
    assert!(summary.ends_with("no login was tried: the image has no SSH client"), "{summary}");
}

#[test]
fn a_server_that_does_not_run_fails_with_its_cause() {
    let down = |unit: &'static str, error: &'static str| {
        move |seen: &mut Observation| {
            seen.met = None;
            seen.unmet = "127.0.0.1:22: Connection refused".to_owned();
            unit.clone_into(&mut seen.unit);
            seen.configuration.lines.clear();
            error.clone_into(&mut seen.configuration.error);
        }
    };
    fails(
        down("ssh.service is masked", "no hostkeys available"),
        "sshd is not running: ssh.service is masked",
    );
    fails(
        down("ssh.service is not enabled", "Missing privilege separation directory: /run/sshd"),
        "sshd is not running: ssh.service is not enabled",
    );
    fails(
        down("ssh.service has failed (exit-code)", "sshd: no hostkeys available -- exiting."),
        "sshd has no host keys and is not running: sshd: no hostkeys available -- exiting.",
    );
    let word = "99-site.conf: line 1: Bad configuration option: PermitRootLogins";
    fails(
        down("ssh.service has failed (exit-code)", word),
        &format!("sshd is not running, because it rejects its configuration: {word}"),
    );
    fails(
        down("", "Missing privilege separation directory: /run/sshd"),
        "sshd is not running: systemd knows no unit for it; 127.0.0.1:22: Connection refused",
    );
    fails(
        |seen| {
            down("", "")(seen);
            seen.installed = false;
        },
        "no SSH server is installed; write `checks.ssh = false` if none is intended",
    );
    fails(|seen| seen.configuration.error = "x".to_owned(), "sshd rejects its configuration: x");
}

#[test]
fn an_unknown_server_is_not_judged() {
    let other = Observation { installed: false, configuration: Configuration::default(), ..good() };
    assert_eq!(judged(&other).0, CheckOutcome::Inconclusive);
}

#[test]
fn host_keys_are_this_servers_own() {
    fails(
        |seen| seen.host_keys[0].baked = true,
        "host key ssh_host_ed25519_key was made before this boot: it came with the image",
    );
    fails(
        |seen| seen.host_keys[0].exposed = Some("host key x has mode 0644, not 0600".to_owned()),
        "host key x has mode 0644, not 0600",
    );
    fails(
        |seen| seen.proved = Some(Ok("AAAAother".to_owned())),
        "sshd answers with a host key that is not in /etc/ssh: it was not restarted",
    );
    fails(
        |seen| seen.proved = Some(Err("no matching key exchange method found".to_owned())),
        "sshd does not complete a key exchange: no matching key exchange method found",
    );
}

#[test]
fn passwords_and_root_are_as_the_schedule_says() {
    fails(
        |seen| set(seen, "passwordauthentication", "yes"),
        "sshd accepts passwords, though image.ssh_password_authentication is false",
    );
    let taking = ServerFacts { ssh_password_authentication: true, ..ServerFacts::default() };
    let judgement = judge(&Settings::default(), &taking, &good());
    assert_eq!(judgement.outcome, CheckOutcome::Fail);
    assert!(judgement.summary.contains("accepts no passwords"), "{}", judgement.summary);

    fails(|seen| set(seen, "permitrootlogin", "yes"), "sshd lets root log in: PermitRootLogin is yes");
    let with = |root_login, value| {
        let mut seen = good();
        set(&mut seen, "permitrootlogin", value);
        judge(&Settings { root_login }, &ServerFacts::default(), &seen).outcome
    };
    for value in ["prohibit-password", "without-password", "forced-commands-only", "no"] {
        assert_eq!(with(RootLogin::Prohibit, value), CheckOutcome::Pass, "{value}");
    }
    assert_eq!(with(RootLogin::No, "prohibit-password"), CheckOutcome::Fail);
    assert_eq!(with(RootLogin::Any, "yes"), CheckOutcome::Pass);
}

#[test]
fn users_get_in() {
    fails(
        |seen| {
            seen.users[1] = UserSeen { name: "ops".to_owned(), ..UserSeen::default() };
        },
        "ops cannot log in: there is no such user",
    );
    fails(
        |seen| seen.users[0].missing = vec!["SHA256:abc".to_owned()],
        "debian's key SHA256:abc is not in /home/debian/.ssh/authorized_keys: it was not injected",
    );
    fails(
        |seen| seen.users[0].exposed = Some("/home/debian is writable by others: mode 0777".to_owned()),
        "sshd does not accept debian's keys: /home/debian is writable by others: mode 0777",
    );
    fails(
        |seen| seen.users[0].login = Login::Refused("Permission denied (publickey).".to_owned()),
        "debian cannot log in by key: Permission denied (publickey).",
    );
    fails(
        |seen| seen.users[1].login = Login::In { sudo: Some("sudo: a password is required".to_owned()) },
        "ops has logged in by key, but cannot use sudo: sudo: a password is required",
    );
}

fn put(guest: &Guest, path: &str, text: &str, mode: u32) {
    let path = guest.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A guest with an sshd that says of itself that it listens there, a client that gets in where its key is, and a user.
fn guest(port: u16) -> (tempfile::TempDir, Guest) {
    let root = tempfile::tempdir().unwrap();
    let guest = Guest::below(root.path());
    let uid = nix::unistd::getuid();
    put(&guest, "/etc/passwd", &format!("debian:x:{uid}:{uid}::/home/debian:/bin/bash\n"), 0o644);
    put(&guest, "/home/debian/.ssh/authorized_keys", &format!("ssh-ed25519 {KEY} me\n"), 0o600);
    put(&guest, "/etc/ssh/ssh_host_ed25519_key", "private", 0o600);
    put(&guest, "/etc/ssh/ssh_host_ed25519_key.pub", &format!("ssh-ed25519 {HOST} root@x\n"), 0o644);
    let sshd = format!(
        "#!/bin/sh\necho 'Port {port}'\necho 'listenaddress 0.0.0.0:{port}'\necho 'permitrootlogin no'\n"
    );
    put(&guest, "/usr/sbin/sshd", &sshd, 0o755);
    let keygen = "#!/bin/sh\nfor file; do :; done\necho private >\"$file\"\n\
                  echo 'ssh-ed25519 AAAAlogin image-manager-check' >\"$file.pub\"\n";
    put(&guest, "/usr/bin/ssh-keygen", keygen, 0o755);
    put(&guest, "/usr/bin/ssh-keyscan", &format!("#!/bin/sh\necho '127.0.0.1 ssh-ed25519 {HOST}'\n"), 0o755);
    let file = guest.path("/home/debian/.ssh/authorized_keys");
    let private = guest.path("/run/image-manager/login-key");
    let client = format!(
        "#!/bin/sh\ngrep -q AAAAlogin {} && grep -q private {} && echo debian && exit 0\n\
         echo 'Permission denied (publickey).' >&2\nexit 255\n",
        file.display(),
        private.display()
    );
    put(&guest, "/usr/bin/ssh", &client, 0o755);
    (root, guest)
}

async fn serve(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let _ = stream.write_all(b"SSH-2.0-Fake_1\r\n\0\0\0\x0c\x0a\x14").await;
        let mut rest = [0; 64];
        while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
    }
}

fn facts(key: &str) -> ServerFacts {
    ServerFacts {
        default_user: "debian".to_owned(),
        default_user_keys: vec![format!("ssh-ed25519 {key} me")],
        ..ServerFacts::default()
    }
}

#[tokio::test]
async fn a_server_is_met_and_nothing_is_left_in_it() {
    // Host keys must be root's.
    if !nix::unistd::getuid().is_root() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_root, guest) = guest(listener.local_addr().unwrap().port());
    let server = tokio::spawn(serve(listener));
    let deadline = Instant::now() + Duration::from_mins(2);
    let seen = observe(&facts(KEY), &guest, deadline).await;
    assert_eq!(seen.users[0].login, Login::In { sudo: None }, "{seen:?}");
    assert_eq!(judge(&Settings::default(), &facts(KEY), &seen).outcome, CheckOutcome::Pass, "{seen:?}");
    let text = guest.read("/home/debian/.ssh/authorized_keys").unwrap();
    assert_eq!(text, format!("ssh-ed25519 {KEY} me\n"));
    assert_eq!(fs::read_dir(guest.path("/run/image-manager")).unwrap().count(), 0);
    assert!(!guest.has("/var/lib/image-manager"));

    // Another key was asked for, the host key is older than the boot, and all may write the file of keys.
    let old = SystemTime::now() - Duration::from_hours(1);
    fs::File::open(guest.path("/etc/ssh/ssh_host_ed25519_key")).unwrap().set_modified(old).unwrap();
    let file = guest.path("/home/debian/.ssh/authorized_keys");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let seen = observe(&facts(HOST), &guest, deadline).await;
    assert!(seen.host_keys[0].baked);
    assert_eq!(seen.users[0].missing, [public_keys::fingerprint(HOST)]);
    let why = seen.users[0].exposed.as_ref().unwrap();
    assert_eq!(why, "/home/debian/.ssh/authorized_keys is writable by others: mode 0666");
    server.abort();
}

#[tokio::test]
async fn a_login_that_is_given_up_leaves_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_root, guest) = guest(listener.local_addr().unwrap().port());
    let server = tokio::spawn(serve(listener));
    let here = guest.path("/here");
    put(&guest, "/usr/bin/ssh", &format!("#!/bin/sh\n: >{}\nexec sleep 60\n", here.display()), 0o755);
    let (facts, same) = (facts(KEY), guest.clone());
    let task =
        tokio::spawn(async move { observe(&facts, &same, Instant::now() + Duration::from_mins(2)).await });
    for _ in 0..200 {
        if here.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(guest.read("/home/debian/.ssh/authorized_keys").unwrap().contains("AAAAlogin"));
    task.abort();
    assert!(task.await.is_err());
    assert_eq!(guest.read("/home/debian/.ssh/authorized_keys").unwrap(), format!("ssh-ed25519 {KEY} me\n"));
    assert_eq!(fs::read_dir(guest.path("/run/image-manager")).unwrap().count(), 0);
    server.abort();
}
