use std::os::unix::fs::{PermissionsExt as _, chown};

use image_manager_proto::v1::ServerUser;

use super::*;

const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAINooEMMAMmLwDGf3porQ4DW+IHvcdizjwDD8G26p2bMC";
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n\
                      debian:x:1000:1000::/home/debian:/bin/sh\nops:x:1001:1001::/home/ops:/bin/sh\n";
const SHADOW: &str = "root:*:1::::::\nnobody:*:1::::::\ndebian:!:1::::::\nops:!:1::::::\n";
const GROUP: &str = "root:x:0:\nadm:x:4:ops\ndebian:x:1000:\nops:x:1001:\n";

fn put(guest: &Guest, path: &str, text: &str, mode: u32, uid: u32) {
    let path = guest.path(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    chown(&path, Some(uid), None).unwrap();
}

fn folder(guest: &Guest, path: &str, mode: u32, uid: u32) {
    fs::create_dir_all(guest.path(path)).unwrap();
    fs::set_permissions(guest.path(path), fs::Permissions::from_mode(mode)).unwrap();
    chown(guest.path(path), Some(uid), None).unwrap();
}

/// A good guest. None where files cannot be given to others.
fn good() -> Option<(tempfile::TempDir, Guest)> {
    if !nix::unistd::getuid().is_root() {
        return None;
    }
    let root = tempfile::tempdir().unwrap();
    // There setuid bits have no effect.
    if statvfs(root.path()).unwrap().flags().contains(FsFlags::ST_NOSUID) {
        return None;
    }
    let guest = Guest::below(root.path());
    folder(&guest, "/", 0o755, 0);
    folder(&guest, "/tmp", 0o1777, 0);
    folder(&guest, "/var/tmp", 0o1777, 0);
    folder(&guest, "/root", 0o700, 0);
    put(&guest, "/etc/passwd", PASSWD, 0o644, 0);
    put(&guest, "/etc/shadow", SHADOW, 0o600, 0);
    put(&guest, "/etc/group", GROUP, 0o644, 0);
    // They say who calls them.
    put(&guest, "/usr/bin/sudo", "#!/bin/sh\nexit 0\n", 0o4755, 0);
    put(&guest, "/usr/bin/su", "#!/bin/sh\nexit 1\n", 0o4755, 0);
    put(&guest, "/bin/sh", "#!/bin/sh\nexec /bin/sh \"$@\"\n", 0o755, 0);
    for (name, uid) in [("debian", 1000), ("ops", 1001)] {
        let home = format!("/home/{name}");
        put(&guest, &format!("{home}/.ssh/authorized_keys"), &format!("ssh-ed25519 {KEY}\n"), 0o600, uid);
        folder(&guest, &home, 0o755, uid);
    }
    // chown takes the bit away.
    for name in ["sudo", "su"] {
        let path = guest.path(format!("/usr/bin/{name}"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o4755)).unwrap();
    }
    Some((root, guest))
}

fn facts() -> ServerFacts {
    let key = format!("ssh-ed25519 {KEY} me");
    let ops = ServerUser {
        name: "ops".to_owned(),
        ssh_authorized_keys: vec![key.clone()],
        sudo: true,
        groups: vec!["adm".to_owned()],
        shell: "/bin/sh".to_owned(),
    };
    ServerFacts {
        default_user: "debian".to_owned(),
        default_user_keys: vec![key],
        users: vec![ops],
        ..ServerFacts::default()
    }
}

async fn seen(guest: &Guest) -> Observation {
    look(&Settings::default(), &facts(), guest, Instant::now() + Duration::from_secs(30)).await
}

async fn fails(change: impl Fn(&Guest), with: &str) {
    let Some((_root, guest)) = good() else { return };
    change(&guest);
    let judgement = judge(&seen(&guest).await);
    assert_eq!((judgement.outcome, judgement.summary.as_str()), (CheckOutcome::Fail, with));
}

fn mode(path: &'static str, mode: u32) -> impl Fn(&Guest) {
    move |guest| fs::set_permissions(guest.path(path), fs::Permissions::from_mode(mode)).unwrap()
}

fn replaced(path: &'static str, from: &'static str, to: &'static str) -> impl Fn(&Guest) {
    move |guest| {
        let text = guest.read(path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(guest.path(path), text.replace(from, to)).unwrap();
    }
}

#[tokio::test]
async fn a_good_guest_passes() {
    let Some((_root, guest)) = good() else { return };
    let seen = seen(&guest).await;
    assert_eq!(seen.faults, [""; 0]);
    assert_eq!(seen.users, ["debian", "ops"]);
    let tried = [
        "debian writes to /tmp",
        "debian writes to its home directory /home/debian",
        "ops writes to its home directory /home/ops",
        "debian uses sudo",
        "ops uses sudo",
    ];
    assert_eq!(seen.tried, tried);
    assert_eq!(judge(&seen).outcome, CheckOutcome::Pass);
    assert_eq!(fs::read_dir(guest.path("/tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn the_schedules_users_are_there_and_can_work() {
    fails(replaced("/etc/passwd", "debian:x", "admin:x"), "user debian does not exist").await;
    fails(replaced("/etc/group", "4:ops", "4:"), "ops is not in the group adm").await;
    let file = "/home/ops/.ssh/authorized_keys";
    let key = public_keys::fingerprint(KEY);
    fails(replaced(file, "AAAA", "BBBB"), &format!("ops does not have its key {key} in {file}")).await;
    let shell = replaced("/etc/passwd", "/home/debian:/bin/sh", "/home/debian:/usr/bin/zsh");
    fails(shell, "the shell of debian, /usr/bin/zsh, is not installed").await;
    let shell = replaced("/etc/passwd", "/home/ops:/bin/sh", "/home/ops:/bin/false");
    fails(shell, "the shell of ops is /bin/false, not /bin/sh").await;
    let refuses = replaced("/usr/bin/sudo", "exit 0", "echo 'sudo: a password is required' >&2; exit 1");
    let refuses = |guest: &Guest| {
        refuses(guest);
        mode("/usr/bin/sudo", 0o4755)(guest);
    };
    let why = "debian cannot use sudo without a password: sudo: a password is required (and 1 more)";
    fails(refuses, why).await;
}

#[tokio::test]
async fn nobody_has_more_than_that() {
    fails(replaced("/etc/shadow", "root:*", "root:"), "root has no password and can log in").await;
    let hash = replaced("/etc/shadow", "root:*", "root:$6$canary$Zk8C1lF7JtHq4q2vJcT0");
    fails(hash, "root has a password, the same on all servers: it is not locked").await;
    fails(replaced("/etc/shadow", "ops:!", "ops:"), "ops has no password and can log in").await;
    let second = replaced("/etc/passwd", "root:x:0:0", "toor:x:0:0::/root:/bin/sh\nroot:x:0:0");
    fails(second, "toor has uid 0, like root: all rights under another name").await;
}

#[tokio::test]
async fn directories_and_programs_are_as_everybody_relies_on() {
    fails(mode("/", 0o777), "the root directory / has mode 0777, not 0755").await;
    fails(mode("/tmp", 0o777), "/tmp has mode 0777, not 1777").await;
    fails(mode("/var/tmp", 0o755), "/var/tmp has mode 0755, not 1777").await;
    fails(mode("/usr/bin/sudo", 0o755), "sudo has lost its setuid bit: mode 0755, owner uid 0").await;
    fails(mode("/usr/bin/su", 0o755), "su has lost its setuid bit: mode 0755, owner uid 0").await;
    let everybodys = "the home directory /home/ops of ops is writable by everybody: mode 0777";
    fails(mode("/home/ops", 0o777), everybodys).await;
    let roots = "the home directory /home/debian of debian is owned by uid 0";
    fails(|guest| chown(guest.path("/home/debian"), Some(0), None).unwrap(), roots).await;
    fails(|guest| fs::remove_file(guest.path("/usr/bin/sudo")).unwrap(), "sudo is not installed").await;
}

#[tokio::test]
async fn what_root_could_do_is_tried_as_somebody_else() {
    let Some((_root, guest)) = good() else { return };
    // A folder above that only root may enter, as a mount with other rights would be.
    mode("/tmp", 0o700)(&guest);
    let faults = seen(&guest).await.faults;
    assert!(faults.iter().any(|fault| fault.starts_with("debian cannot write to /tmp: ")), "{faults:?}");
    mode("/tmp", 0o1777)(&guest);
    mode("/", 0o700)(&guest);
    let faults = seen(&guest).await.faults;
    assert!(faults.iter().any(|fault| fault == "the root directory / has mode 0700, not 0755"), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.starts_with("debian cannot write to /tmp: ")), "{faults:?}");
}

/// `%adm ALL=(ALL) NOPASSWD: ALL`: sudo goes by the groups that the kernel knows of.
#[tokio::test]
async fn sudo_may_be_a_matter_of_groups() {
    let Some((_root, guest)) = good() else { return };
    put(
        &guest,
        "/usr/bin/sudo",
        "#!/bin/sh\ncase \" $(id -G) \" in *' 4 '*) exit 0 ;; esac\nexit 1\n",
        0o4755,
        0,
    );
    mode("/usr/bin/sudo", 0o4755)(&guest);
    let faults = seen(&guest).await.faults;
    assert_eq!(faults, ["debian cannot use sudo without a password: exit code 1"], "ops is in adm");
}

#[tokio::test]
async fn a_home_directory_is_written_to_as_its_user() {
    let Some((_root, guest)) = good() else { return };
    mode("/home/ops", 0o555)(&guest);
    let faults = seen(&guest).await.faults;
    assert!(
        matches!(faults.as_slice(), [fault] if fault.starts_with("ops cannot write to its home directory /home/ops: ")),
        "{faults:?}"
    );
    assert_eq!(fs::read_dir(guest.path("/home/debian")).unwrap().count(), 1, "nothing is left");
}

#[tokio::test]
async fn keys_may_be_where_sshd_is_told_to_look() {
    let Some((_root, guest)) = good() else { return };
    for name in ["debian", "ops"] {
        let keys = guest.read(format!("/home/{name}/.ssh/authorized_keys")).unwrap();
        fs::remove_file(guest.path(format!("/home/{name}/.ssh/authorized_keys"))).unwrap();
        put(&guest, &format!("/etc/ssh/keys/{name}"), &keys, 0o600, 0);
    }
    let key = public_keys::fingerprint(KEY);
    let missing =
        format!("debian does not have its key {key} in /home/debian/.ssh/authorized_keys (and 1 more)");
    assert_eq!(judge(&seen(&guest).await).summary, missing);
    put(&guest, "/etc/ssh/sshd_config", "AuthorizedKeysFile /etc/ssh/keys/%u\n", 0o644, 0);
    assert_eq!(seen(&guest).await.faults, [""; 0]);
    put(&guest, "/etc/ssh/sshd_config", "AuthorizedKeysFile none\n", 0o644, 0);
    let none = format!(
        "debian does not have its key {key}: sshd reads no keys from files (AuthorizedKeysFile none)"
    );
    assert_eq!(seen(&guest).await.faults.first(), Some(&none));
}

#[tokio::test]
async fn what_does_not_end_in_time_is_not_known() {
    let Some((_root, guest)) = good() else { return };
    put(&guest, "/usr/bin/sudo", "#!/bin/sh\nexec sleep 60\n", 0o4755, 0);
    mode("/usr/bin/sudo", 0o4755)(&guest);
    let deadline = Instant::now() + Duration::from_secs(6);
    let seen = look(&Settings::default(), &facts(), &guest, deadline).await;
    assert_eq!(seen.faults, [""; 0]);
    let judgement = judge(&seen);
    assert_eq!(judgement.outcome, CheckOutcome::Inconclusive);
    let why = "whether debian can use sudo without a password is not known: sudo did not finish in time";
    assert!(judgement.summary.starts_with(why), "{}", judgement.summary);
}

#[test]
fn red_hats_root_directory_is_right_too() {
    let root = tempfile::tempdir().unwrap();
    let guest = Guest::below(root.path());
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let faults = directories(&guest);
    assert!(!faults.iter().any(|fault| fault.contains("root directory / has mode")), "{faults:?}");
}

#[test]
fn the_keys_are_read() {
    let read = |text: &str| serde_json::from_str::<Settings>(text);
    assert_eq!(read("{}").unwrap(), Settings::default());
    assert_eq!(read(r#"{"root_password": "set"}"#).unwrap().root_password, RootPassword::Set);
    assert!(read(r#"{"root": "set"}"#).is_err());
}

#[test]
fn a_slow_machine_is_no_bad_image() {
    let seen = Observation { faults: vec!["x".to_owned()], unsettled: true, ..Observation::default() };
    assert_eq!(judge(&seen).outcome, CheckOutcome::Inconclusive);
    let seen = Observation { error: "/etc/passwd cannot be read".to_owned(), ..Observation::default() };
    assert_eq!(judge(&seen).outcome, CheckOutcome::Inconclusive);
}
