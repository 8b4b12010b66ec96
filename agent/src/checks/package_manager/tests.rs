use std::fs;

use super::*;
use crate::checks::program::plant;

fn update(package: &str, security: bool) -> Update {
    Update { package: package.to_owned(), security }
}

fn good() -> Observation {
    Observation { manager: "apt", pending: vec![update("tzdata", false)], ..Observation::default() }
}

fn judged(settings: &Settings, seen: &Observation) -> (CheckOutcome, String) {
    let judgement = judge(settings, seen);
    (judgement.outcome, judgement.summary)
}

#[test]
fn a_sound_package_manager_passes() {
    let (outcome, said) = judged(&Settings::default(), &good());
    assert_eq!(outcome, CheckOutcome::Pass);
    assert_eq!(said, "apt trusts its mirrors, no package is broken, 1 update pending");
}

#[test]
fn pending_updates_are_counted() {
    let settings = Settings { max_pending: Some(0), ..Settings::default() };
    let (outcome, said) = judged(&settings, &good());
    assert_eq!(
        (outcome, said.as_str()),
        (CheckOutcome::Fail, "1 update pending, more than the 0 allowed: tzdata")
    );
    let urgent = Observation { pending: vec![update("tzdata", false), update("openssl", true)], ..good() };
    let (outcome, said) = judged(&Settings::default(), &urgent);
    assert_eq!(
        (outcome, said.as_str()),
        (CheckOutcome::Fail, "1 security update pending, more than the 0 allowed: openssl")
    );
    let settings = Settings { security_pending: 1, ..Settings::default() };
    assert_eq!(judged(&settings, &urgent).0, CheckOutcome::Pass);
}

#[test]
fn the_images_own_faults_count_before_those_of_others() {
    let trouble = |own, what: &str| Trouble { own, what: what.to_owned() };
    let both = vec![trouble(false, "mirror is down"), trouble(true, "apt does not trust it")];
    let seen = Observation { troubles: both, ..good() };
    assert_eq!(judged(&Settings::default(), &seen), (CheckOutcome::Fail, "apt does not trust it".to_owned()));
    let seen = Observation { troubles: vec![trouble(false, "mirror is down")], ..good() };
    assert_eq!(judged(&Settings::default(), &seen).0, CheckOutcome::Inconclusive);
    // What is broken is so whatever the mirror does.
    let seen = Observation { broken: vec!["the package eject is half-configured".to_owned()], ..seen };
    assert_eq!(judged(&Settings::default(), &seen).0, CheckOutcome::Fail);
    let none = Observation { no_sources: true, ..good() };
    assert_eq!(
        judged(&Settings::default(), &none),
        (CheckOutcome::Fail, "apt has no package sources".to_owned())
    );
    let seen = Observation { installation: vec![trouble(true, "tree cannot be installed")], ..good() };
    assert_eq!(judged(&Settings::default(), &seen).0, CheckOutcome::Fail);
}

#[test]
fn without_a_package_manager_there_is_no_verdict() {
    let (outcome, said) = judged(&Settings::default(), &Observation::default());
    assert_eq!(outcome, CheckOutcome::Skipped);
    assert!(said.contains("neither apt nor dnf"));
}

/// apt-get of a sound Debian; it writes down what it is asked for.
const SOUND: &str = r#"
case "$*" in
*update) echo 'Get:1 http://mirror.example/debian bookworm InRelease [151 kB]'; [ -d "${lists#x}" ] || exit 9 ;;
*'--simulate dist-upgrade') echo 'Inst tzdata [2024a-0+deb12u1] (2024b-0+deb12u1 Debian:12.9/stable [all])' ;;
*'--simulate install tree') echo 'Inst tree (2.1.0-1 Debian:12.9/stable [amd64])' ;;
esac"#;

fn guest(root: &std::path::Path, apt_get: &str) -> Guest {
    let guest = Guest::below(root);
    fs::create_dir_all(guest.path("/var/tmp")).unwrap();
    let asked = root.join("asked").display().to_string();
    let lists = "for word; do case $word in Dir::State::Lists=*) lists=x${word#*=} ;; esac; done";
    plant(&guest, "apt-get", &format!("echo \"$*\" >>{asked}\n{lists}\n{apt_get}"));
    plant(&guest, "dpkg-query", "printf 'ok installed libc6\\nok config-files old\\n'");
    plant(&guest, "dpkg", ":");
    guest
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

#[tokio::test]
async fn a_sound_guest_is_looked_at_and_left_as_it_was() {
    let root = tempfile::tempdir().unwrap();
    let guest = guest(root.path(), SOUND);
    let settings = Settings { install: "tree".to_owned(), ..Settings::default() };
    let seen = observe(&settings, &guest, soon()).await;
    assert_eq!(judged(&settings, &seen).0, CheckOutcome::Pass, "{seen:?}");
    assert_eq!(seen.pending, [update("tzdata", false)]);
    let asked = fs::read_to_string(root.path().join("asked")).unwrap();
    let verbs: Vec<String> = asked
        .lines()
        .map(|line| {
            line.split_whitespace()
                .rev()
                .take(2)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    assert!(verbs[0].ends_with("update"), "{asked}");
    assert_eq!(verbs[1..], ["--simulate dist-upgrade", "install tree", "install tree", "purge tree"]);
    assert_eq!(fs::read_dir(guest.path("/var/tmp")).unwrap().count(), 0, "nothing stays");
}

#[tokio::test]
async fn a_mirror_that_comes_back_is_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let first = root.path().join("first").display().to_string();
    let script = format!(
        "case \"$*\" in *update) if [ ! -e {first} ]; then touch {first}; echo 'Err:1 http://mirror.example/debian bookworm \
         InRelease'; echo '  503  Service Unavailable [IP: 192.0.2.1 80]'; exit 100; fi ;; esac\n{SOUND}"
    );
    let guest = guest(root.path(), &script);
    let seen = observe(&Settings::default(), &guest, Instant::now() + Duration::from_mins(1)).await;
    assert_eq!(judged(&Settings::default(), &seen).0, CheckOutcome::Pass, "{seen:?}");
}

#[tokio::test]
async fn a_package_that_is_not_configured_is_named() {
    let root = tempfile::tempdir().unwrap();
    let guest = guest(root.path(), SOUND);
    plant(&guest, "dpkg-query", "printf 'ok installed libc6\\nok half-configured eject\\n'");
    let seen = observe(&Settings::default(), &guest, soon()).await;
    assert_eq!(
        judged(&Settings::default(), &seen),
        (CheckOutcome::Fail, "the package eject is half-configured".to_owned())
    );
}
