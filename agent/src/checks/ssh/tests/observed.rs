//! What is seen of a guest with programs of our own, and what is left in it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::SystemTime;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAINooEMMAMmLwDGf3porQ4DW+IHvcdizjwDD8G26p2bMC";

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
    let seen = observe(&Settings::default(), &facts(KEY), &guest, deadline).await;
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
    let seen = observe(&Settings::default(), &facts(HOST), &guest, deadline).await;
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
    let deadline = Instant::now() + Duration::from_mins(2);
    let task = tokio::spawn(async move { observe(&Settings::default(), &facts, &same, deadline).await });
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

/// sshd for `Match User debian`: it looks for that user's keys elsewhere, and takes its password.
#[tokio::test]
async fn sshd_is_asked_about_each_connection() {
    if !nix::unistd::getuid().is_root() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (_root, guest) = guest(port);
    let server = tokio::spawn(serve(listener));
    put(&guest, "/etc/ssh/sshd_config", "Match User debian\nPasswordAuthentication yes\n", 0o644);
    put(&guest, "/etc/ssh/site_key", "private", 0o600);
    put(&guest, "/etc/ssh/keys/debian", &format!("ssh-ed25519 {KEY} me\n"), 0o600);
    fs::remove_file(guest.path("/home/debian/.ssh/authorized_keys")).unwrap();
    let sshd = format!(
        "#!/bin/sh\ncase \"$3\" in user=debian,*addr=198.51.100.7*) echo 'passwordauthentication yes'; \
         echo 'authorizedkeysfile /etc/ssh/keys/%u' ;; esac\n\
         echo 'port {port}'\necho 'permitrootlogin no'\necho 'hostkey /etc/ssh/site_key'\n"
    );
    put(&guest, "/usr/sbin/sshd", &sshd, 0o755);
    fs::remove_file(guest.path("/usr/bin/ssh")).unwrap();
    let deadline = Instant::now() + Duration::from_mins(2);
    let seen = observe(&Settings::default(), &facts(KEY), &guest, deadline).await;
    assert_eq!(seen.users[0].file, "/etc/ssh/keys/debian");
    assert!(seen.users[0].missing.is_empty(), "{seen:?}");
    let names: Vec<&str> = seen.host_keys.iter().map(|key| key.name.as_str()).collect();
    assert_eq!(names, ["site_key", "ssh_host_ed25519_key"]);
    let asked: Vec<_> = seen.exceptions.iter().map(|asked| asked.connection.user.as_str()).collect();
    assert_eq!(asked, ["debian", "nobody", "root", "debian"]);
    let judgement = judge(&Settings::default(), &facts(KEY), &seen);
    let why = "sshd accepts passwords from debian (`Match User debian`), though image.ssh_password_authentication is \
               false";
    assert_eq!((judgement.outcome, judgement.summary.as_str()), (CheckOutcome::Fail, why));
    let taking = ServerFacts { ssh_password_authentication: true, ..facts(KEY) };
    let without_client = judge(&Settings::default(), &taking, &seen);
    assert_eq!(without_client.outcome, CheckOutcome::Inconclusive, "{without_client:?}");
    let left_out = Settings { login: false, ..Settings::default() };
    let seen = observe(&left_out, &taking, &guest, deadline).await;
    assert_eq!(judge(&left_out, &taking, &seen).outcome, CheckOutcome::Pass, "{seen:?}");
    server.abort();
}

/// Without cloud-init, too, a server may be at the beginning of its boot when it is looked at.
#[tokio::test]
async fn a_boot_that_is_under_way_is_no_bad_image() {
    let (_root, guest) = guest(1);
    fs::create_dir_all(guest.path("/run/systemd/system")).unwrap();
    put(&guest, "/usr/bin/systemctl", "#!/bin/sh\necho starting\n", 0o755);
    let deadline = Instant::now() + Duration::from_secs(4);
    let seen = observe(&Settings::default(), &facts(KEY), &guest, deadline).await;
    let judgement = judge(&Settings::default(), &facts(KEY), &seen);
    assert_eq!(judgement.outcome, CheckOutcome::Inconclusive, "{judgement:?}");
    assert!(judgement.summary.contains("sshd is not running"), "{judgement:?}");
    assert!(judgement.summary.ends_with(instance::UNSETTLED), "{judgement:?}");
}
