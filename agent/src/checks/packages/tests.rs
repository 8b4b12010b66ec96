use std::time::Duration;

use super::*;

fn judged(seen: &Observation, max_changed: u32) -> (CheckOutcome, String) {
    let judgement = judge(&Settings { max_changed }, seen);
    (judgement.outcome, judgement.summary)
}

fn good() -> Observation {
    Observation { packages: 2, same: 10, complete: true, ..Observation::default() }
}

#[test]
fn damage_fails_and_change_has_a_limit() {
    assert_eq!(judged(&good(), 0).0, CheckOutcome::Pass);
    let changed = Observation { changed: 3, changed_names: vec!["/a: changed".to_owned()], ..good() };
    assert_eq!(judged(&changed, 3).0, CheckOutcome::Pass);
    let (outcome, summary) = judged(&changed, 2);
    assert_eq!(outcome, CheckOutcome::Fail);
    assert!(summary.contains("3 changed packaged files") && summary.ends_with("/a: changed"), "{summary}");
    let damaged = Observation { damaged: 1, damaged_names: vec!["/b: blank".to_owned()], ..good() };
    assert_eq!(judged(&damaged, 9).0, CheckOutcome::Fail);
    assert!(judged(&damaged, 9).1.contains("/b: blank"));
}

#[test]
fn elements_take_some_files_away_and_not_most() {
    let missing = |missing| Observation {
        missing,
        same: 10_000,
        missing_names: vec!["/usr/bin/gone: missing".to_owned()],
        ..good()
    };
    assert_eq!(judged(&missing(9_000), 0).0, CheckOutcome::Pass);
    let (outcome, summary) = judged(&missing(15_000), 0);
    assert_eq!(outcome, CheckOutcome::Fail);
    assert_eq!(summary, "15000 of 25000 packaged files are missing, more than half: /usr/bin/gone: missing");
    let half = Observation { complete: false, ..missing(15_000) };
    assert_eq!(judged(&half, 0).0, CheckOutcome::Inconclusive);
    // Of a handful, as a tiny image has, it says nothing.
    assert_eq!(judged(&Observation { missing: 25, ..good() }, 0).0, CheckOutcome::Pass);
}

#[test]
fn half_a_look_says_nothing_unless_it_found_something() {
    assert_eq!(judged(&Observation { complete: false, ..good() }, 0).0, CheckOutcome::Inconclusive);
    let found = Observation { complete: false, damaged: 1, ..good() };
    assert_eq!(judged(&found, 0).0, CheckOutcome::Fail);
    let none = Observation { nothing: Some("x".to_owned()), ..Observation::default() };
    assert_eq!(judged(&none, 0).0, CheckOutcome::Skipped);
}

fn guest(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Guest) {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let place = root.path().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, content).unwrap();
    }
    let guest = Guest::below(root.path());
    (root, guest)
}

/// MD5 of "abc".
const ABC: &str = "900150983cd24fb0d6963f7d28e17f72";

#[tokio::test]
async fn a_guests_files_are_looked_at() {
    let sums = format!(
        "{ABC}  usr/bin/good\n{ABC}  usr/bin/blank\n{ABC}  usr/bin/changed\n{ABC}  usr/bin/gone\n\
         {ABC}  usr/share/doc/x/README\n{ABC}  usr/lib\n{ABC}  usr/bin/good/below\n"
    );
    let (_root, guest) = guest(&[
        ("var/lib/dpkg/info/one:amd64.md5sums", sums.as_bytes()),
        ("var/lib/dpkg/info/blank.md5sums", &[0; 100]),
        ("var/lib/dpkg/info/one:amd64.list", b"/usr\n"),
        ("usr/bin/good", b"abc"),
        ("usr/bin/blank", b"\0\0\0"),
        ("usr/bin/changed", b"abd"),
        ("usr/lib/x", b""),
    ]);
    let seen = observe(&guest, Instant::now() + Duration::from_mins(1)).await;
    assert_eq!((seen.packages, seen.same, seen.changed, seen.missing, seen.damaged), (2, 1, 2, 2, 2));
    assert!(seen.complete && seen.nothing.is_none());
    assert_eq!(seen.damaged_names, ["/var/lib/dpkg/info/blank.md5sums: blank", "/usr/bin/blank: blank"]);
}

#[tokio::test]
async fn the_time_may_be_up_and_there_may_be_nothing() {
    let (_root, full) = guest(&[
        ("var/lib/dpkg/info/one.md5sums", format!("{ABC}  usr/bin/good\n").as_bytes()),
        ("usr/bin/good", b"abc"),
    ]);
    let stopped = look(&full, &AtomicBool::new(true));
    assert!(!stopped.complete && stopped.same == 0, "{stopped:?}");
    let (_root, lost) = guest(&[("var/lib/dpkg/info/one.md5sums", b"")]);
    assert_eq!(observe(&lost, Instant::now() + Duration::from_mins(1)).await.damaged, 1);
    let (_root, empty) = guest(&[("etc/os-release", b"ID=other\n")]);
    let seen = observe(&empty, Instant::now() + Duration::from_mins(1)).await;
    assert!(seen.nothing.is_some_and(|why| why.contains("/var/lib/dpkg/info")));
}

/// The test's package, which rpm installs.
const SPEC: &str = r"
Name: tool
Version: 1.0
Release: 3
Summary: Made by a test
License: none
BuildArch: noarch
%description
Made by a test.
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/etc
echo good >%{buildroot}/usr/bin/good
echo other >%{buildroot}/usr/bin/other
echo gone >%{buildroot}/usr/bin/gone
echo x=1 >%{buildroot}/etc/tool.conf
ln -s good %{buildroot}/usr/bin/link
ln -s good %{buildroot}/usr/bin/moved
%files
/usr/bin/*
%config /etc/tool.conf
%ghost /etc/state
";

fn run(command: &mut std::process::Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A guest in which rpm has installed it.
fn guest_of_rpm() -> (tempfile::TempDir, Guest) {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("root")).unwrap();
    fs::write(at("tool.spec"), SPEC).unwrap();
    let define = |name: &str, place: &str| ["--define".to_owned(), format!("{name} {}", at(place).display())];
    run(std::process::Command::new("rpmbuild")
        .args(["-bb", "--quiet", "--nodeps"])
        .args(define("_topdir", "top"))
        .args(define("_rpmdir", "packages"))
        .args(define("_tmppath", "tmp"))
        .arg(at("tool.spec")));
    run(std::process::Command::new("rpm")
        .arg("--root")
        .arg(at("root"))
        .args(["--dbpath", "/var/lib/rpm", "-i", "--nodeps", "--noscripts"])
        .arg(at("packages/noarch/tool-1.0-3.noarch.rpm")));
    let guest = Guest::below(at("root"));
    (directory, guest)
}

#[tokio::test]
async fn a_guest_of_rpm_is_looked_at() {
    let (_directory, guest) = guest_of_rpm();
    let minute = Instant::now() + Duration::from_mins(1);
    let good = observe(&guest, minute).await;
    assert_eq!((good.packages, good.same, good.complete), (1, 6, true), "{good:?}");
    assert_eq!(
        judged(&good, 0),
        (CheckOutcome::Pass, "6 files of 1 package verified, 0 changed, 0 missing".into())
    );

    fs::write(guest.path("/etc/tool.conf"), "x=2\n").unwrap();
    fs::write(guest.path("/usr/bin/other"), "another\n").unwrap();
    fs::remove_file(guest.path("/usr/bin/gone")).unwrap();
    fs::remove_file(guest.path("/usr/bin/moved")).unwrap();
    std::os::unix::fs::symlink("other", guest.path("/usr/bin/moved")).unwrap();
    let seen = observe(&guest, minute).await;
    assert_eq!(
        (seen.same, seen.changed, seen.edited, seen.missing, seen.damaged),
        (2, 2, 1, 1, 0),
        "{seen:?}"
    );
    let (outcome, summary) = judged(&seen, 2);
    assert_eq!(outcome, CheckOutcome::Pass);
    assert!(summary.ends_with("2 changed, 1 missing, 1 edited configuration file"), "{summary}");
    assert_eq!(judged(&seen, 1).0, CheckOutcome::Fail);

    fs::write(guest.path("/usr/bin/good"), [0; 5]).unwrap();
    let seen = observe(&guest, minute).await;
    assert_eq!(seen.damaged_names, ["/usr/bin/good: blank"]);
    assert!(!look(&guest, &AtomicBool::new(true)).complete);

    fs::write(guest.path("/var/lib/rpm/rpmdb.sqlite"), [0; 9000]).unwrap();
    let lost = observe(&guest, minute).await;
    assert_eq!((lost.damaged, judged(&lost, 9).0), (1, CheckOutcome::Fail), "{lost:?}");
}

#[tokio::test]
async fn rpm_databases_of_other_kinds_are_read() {
    for path in ["var/lib/rpm/Packages", "usr/lib/sysimage/rpm/Packages.db"] {
        let (_root, guest) = guest(&[(path, b"x")]);
        let seen = observe(&guest, Instant::now() + Duration::from_mins(1)).await;
        assert!(
            seen.damaged_names.iter().all(|name| name.contains("the rpm database cannot be read")),
            "{seen:?}"
        );
        assert_eq!(seen.damaged, 1, "{path}");
    }
}
