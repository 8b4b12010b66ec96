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
    assert!(said.contains("none of apt, dnf and zypper"));
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

#[test]
fn the_guest_is_asked_by_what_it_is_managed_with() {
    let of = |programs: &[&str], files: &[&str]| {
        let root = tempfile::tempdir().unwrap();
        let guest = Guest::below(root.path());
        for program in programs {
            plant(&guest, program, ":");
        }
        for file in files {
            let path = guest.path(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        manager(&guest)
    };
    let (zypp, yum) = ("/etc/zypp/repos.d/oss.repo", "/etc/yum.repos.d/baseos.repo");
    assert_eq!(of(&["apt-get", "dpkg", "dnf", "zypper"], &[zypp]), "apt");
    assert_eq!(of(&["zypper"], &[]), "zypper");
    assert_eq!(of(&["dnf"], &[zypp]), "dnf");
    assert_eq!(of(&["dnf", "zypper"], &[zypp]), "zypper");
    assert_eq!(of(&["dnf", "zypper"], &[zypp, yum]), "dnf");
    assert_eq!(of(&["dnf", "zypper"], &["/etc/zypp/repos.d/README"]), "dnf");
    assert_eq!(of(&["apt-get", "zypper"], &[zypp]), "zypper", "zypper-aptitude");
    assert_eq!(of(&["rpm"], &[]), "");
}

/// zypper of a guest with one security update pending. It is a fake: the real one works on the packages of the host that
/// the test runs on, or in a root that it enters, and Debian 12 does not install it beside `dnf-plugins-core`. What it
/// writes is what the real one wrote.
const ZYPPER: &str = r#"
case "$*" in
*' refresh') echo "Retrieving repository 'oss' metadata [.done]"; echo 'All repositories have been refreshed.' ;;
*' --no-refresh verify '*) echo 'Dependencies of all installed packages are satisfied.' ;;
*' --no-refresh --xmlout list-updates') echo '<update-list>'
    echo '<update kind="package" name="hello" edition="2.0-1" arch="noarch" edition-old="1.0-1"></update>'
    echo '<update kind="package" name="libfoo" edition="2.0-1" arch="noarch" edition-old="1.0-1"></update></update-list>' ;;
*' --no-refresh --xmlout list-patches --category security')
    echo '<update kind="patch" name="EXAMPLE-2024-1" edition="1" arch="noarch" status="needed"></update></update-list>' ;;
*' --no-refresh info --type patch -- EXAMPLE-2024-1')
    printf 'Information for patch EXAMPLE-2024-1:\nConflicts   : hello < 2.0-1\n' ;;
*' --no-refresh install --no-recommends tree' | *' --no-refresh remove --clean-deps tree') ;;
*) exit 2 ;;
esac"#;

#[tokio::test]
async fn a_guest_of_zypper_is_looked_at_and_left_as_it_was() {
    let root = tempfile::tempdir().unwrap();
    let guest = Guest::below(root.path());
    fs::create_dir_all(guest.path("/var/tmp")).unwrap();
    let asked = root.path().join("asked").display().to_string();
    plant(&guest, "zypper", &format!("echo \"$ZYPP_LOCK_TIMEOUT $*\" >>{asked}\n{ZYPPER}"));
    plant(&guest, "rpm", "exit 1");
    let settings = Settings { security_pending: 1, install: "tree".to_owned(), ..Settings::default() };
    let seen = observe(&settings, &guest, soon()).await;
    assert_eq!(judged(&settings, &seen).0, CheckOutcome::Pass, "{seen:?}");
    assert_eq!(seen.pending, [update("hello", true), update("libfoo", false)]);
    let asked = fs::read_to_string(root.path().join("asked")).unwrap();
    assert_eq!(asked.lines().count(), 7, "{asked}");
    let of_its_own = format!("120 --non-interactive --cache-dir {}/", guest.path("/var/tmp").display());
    assert!(asked.lines().all(|line| line.starts_with(&of_its_own)), "{asked}");
    assert!(!asked.contains("import-keys"), "{asked}");
    assert_eq!(fs::read_dir(guest.path("/var/tmp")).unwrap().count(), 0, "nothing stays");
}

#[tokio::test]
async fn a_guest_of_zypper_without_repositories_is_told_of() {
    let root = tempfile::tempdir().unwrap();
    let guest = Guest::below(root.path());
    fs::create_dir_all(guest.path("/var/tmp")).unwrap();
    plant(&guest, "zypper", "echo 'Warning: There are no enabled repositories defined.'; exit 6");
    let seen = observe(&Settings::default(), &guest, Instant::now() + Duration::from_secs(1)).await;
    let expected = (CheckOutcome::Fail, "zypper has no package sources".to_owned());
    assert_eq!(judged(&Settings::default(), &seen), expected);
}
