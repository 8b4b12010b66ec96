use std::fs;

use super::*;
use crate::checks::accounts::Accounts;

fn configuration(text: &str) -> Configuration {
    let pair = |line: &str| line.split_once(' ').map(|(key, value)| (key.to_owned(), value.to_owned()));
    Configuration { lines: text.lines().filter_map(pair).collect(), ..Configuration::default() }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn ops() -> User {
    Accounts::parse("ops:x:1001:1001::/home/ops:/bin/sh\n", "", "").find("ops").unwrap().clone()
}

#[test]
fn passwords_come_in_by_pam_too() {
    let takes = |text: &str| configuration(text).takes_passwords();
    assert!(!takes("usepam yes\npasswordauthentication no\nkbdinteractiveauthentication no\n"));
    assert!(takes("passwordauthentication yes\n"));
    assert!(takes("usepam yes\nkbdinteractiveauthentication yes\nauthenticationmethods any\n"));
    assert!(!takes("usepam no\nkbdinteractiveauthentication yes\n"));
}

#[test]
fn a_password_that_needs_a_key_beside_it_lets_nobody_in() {
    let takes = |methods: &str| {
        let text = format!("usepam yes\npasswordauthentication yes\nauthenticationmethods {methods}\n");
        configuration(&text).takes_passwords()
    };
    assert!(!takes("publickey") && !takes("publickey,password publickey,keyboard-interactive"));
    assert!(takes("publickey password") && takes("password"));
    assert!(!takes("keyboard-interactive:pam"), "that is off");
}

#[test]
fn root_needs_both() {
    let takes = |root: &str, passwords: &str| {
        let text = format!("permitrootlogin {root}\npasswordauthentication {passwords}\n");
        configuration(&text).takes_roots_password()
    };
    assert!(takes("yes", "yes"));
    assert!(!takes("yes", "no") && !takes("prohibit-password", "yes") && !takes("no", "yes"));
}

#[test]
fn tokens_are_filled_in() {
    let file = |pattern: &str| file_of(&ops(), pattern);
    assert_eq!(file(".ssh/authorized_keys"), "/home/ops/.ssh/authorized_keys");
    assert_eq!(file("/etc/ssh/keys/%u"), "/etc/ssh/keys/ops");
    assert_eq!(file("%h/keys"), "/home/ops/keys");
    assert_eq!(file("/keys/%U/100%%u"), "/keys/1001/100%u");
    assert_eq!(files_of(&ops(), "none"), [""; 0]);
    assert_eq!(files_of(&ops(), ""), ["/home/ops/.ssh/authorized_keys", "/home/ops/.ssh/authorized_keys2"]);
}

/// A guest whose sshd is this script, and whose configuration is this text.
fn guest(sshd: &str, written: &str) -> (tempfile::TempDir, Guest) {
    let root = tempfile::tempdir().unwrap();
    let guest = Guest::below(root.path());
    fs::create_dir_all(guest.path("/etc/ssh")).unwrap();
    fs::write(guest.path("/etc/ssh/sshd_config"), written).unwrap();
    if !sshd.is_empty() {
        program::plant(&guest, "sshd", sshd);
    }
    (root, guest)
}

#[tokio::test]
async fn where_a_users_keys_are_is_asked_for_that_user() {
    let answers = "case \"$3\" in user=ops,*) echo 'authorizedkeysfile /of-ops/%u' ;; \
                   *) echo 'authorizedkeysfile /of-all/%u' ;; esac\necho 'hostkey /etc/ssh/site_key'";
    let written = "HostKey /etc/ssh/written_key\nMatch User ops\nAuthorizedKeysFile /of-ops/%u\n";
    let (_root, with_match) = guest(answers, written);
    let files = KeyFiles::find(&with_match, soon()).await;
    assert_eq!(files.authorized_keys(&ops(), soon()).await.unwrap(), ["/of-ops/ops"]);
    assert_eq!(files.host_keys(), ["/etc/ssh/site_key", "/etc/ssh/written_key"]);
    let patterns = [".ssh/authorized_keys", ".ssh/authorized_keys2", "/of-all/%u", "/of-ops/%u"];
    assert_eq!(files.all_patterns(), patterns);
    program::plant(&with_match, "sshd", "exec sleep 60");
    let late = files.authorized_keys(&ops(), Instant::now() + Duration::from_millis(300)).await;
    assert_eq!(late, Err("sshd did not finish in time".to_owned()), "those of others are not this user's");
    let (_root, without) = guest(answers, "");
    let files = KeyFiles::find(&without, soon()).await;
    assert_eq!(files.authorized_keys(&ops(), soon()).await.unwrap(), ["/of-all/ops"], "one answer is enough");
}

#[tokio::test]
async fn what_sshd_does_not_say_its_files_do() {
    for sshd in ["", "echo 'Missing privilege separation directory: /run/sshd' >&2; exit 255"] {
        let (_root, guest) = guest(sshd, "AuthorizedKeysFile /etc/ssh/keys/%u\nHostKey /etc/ssh/site_key\n");
        let files = KeyFiles::find(&guest, soon()).await;
        assert_eq!(files.authorized_keys(&ops(), soon()).await.unwrap(), ["/etc/ssh/keys/ops"]);
        assert_eq!(files.host_keys(), ["/etc/ssh/site_key"]);
    }
}

#[tokio::test]
async fn an_sshd_that_does_not_answer_has_rejected_nothing() {
    let (_root, guest) = guest("exec sleep 60", "");
    let sshd = program::find(&guest, "sshd").unwrap();
    let late = ask(&sshd, None, Instant::now() + Duration::from_millis(300)).await;
    assert_eq!((late.error.as_str(), late.unknown.as_str()), ("", "sshd did not finish in time"));
    program::plant(&guest, "sshd", "echo 'line 3: Bad configuration option: X' >&2; exit 255");
    let bad = ask(&sshd, None, soon()).await;
    assert_eq!(bad.error, "line 3: Bad configuration option: X");
    assert!(bad.unknown.is_empty() && !bad.is_known());
}
