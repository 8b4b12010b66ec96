//! What real tools say to a server that misbehaves (`testbed/misbehaving/record`), and whom it says is to blame.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Exit, diagnose};
use crate::builder::BuilderError;
use crate::builder::log_reader::LogReader;
use crate::builder::output::Tail;
use crate::reason::Reason;

/// A tool, what it said, and the hook of DIB's in which it says it.
const TOOLS: [(&str, &str, &str); 13] = [
    ("apt", include_str!("../fixtures/recorded/apt.txt"), INSIDE),
    ("curl", include_str!("../fixtures/recorded/curl.txt"), INSIDE),
    ("debootstrap", include_str!("../fixtures/recorded/debootstrap.txt"), ROOT),
    ("dnf", include_str!("../fixtures/recorded/dnf.txt"), INSIDE),
    ("git", include_str!("../fixtures/recorded/git.txt"), INSIDE),
    ("mmdebstrap", include_str!("../fixtures/recorded/mmdebstrap.txt"), ROOT),
    ("npm", include_str!("../fixtures/recorded/npm.txt"), INSIDE),
    ("pip", include_str!("../fixtures/recorded/pip.txt"), INSIDE),
    ("podman", include_str!("../fixtures/recorded/podman.txt"), ROOT),
    ("sha256sum", include_str!("../fixtures/recorded/sha256sum.txt"), ROOT),
    ("skopeo", include_str!("../fixtures/recorded/skopeo.txt"), ROOT),
    ("wget", include_str!("../fixtures/recorded/wget.txt"), INSIDE),
    ("zypper", include_str!("../fixtures/recorded/zypper.txt"), INSIDE),
];

const ROOT: &str = "root.d/08-base";
const INSIDE: &str = "install.d/01-package-installs";

const LIMIT: Reason = Reason::RateLimited;
const MIRROR: Reason = Reason::MirrorUnreachable;
const SUMS: Reason = Reason::MirrorInconsistent;
const CLOCK: Reason = Reason::ClockDiffers;
const HOST: Reason = Reason::DibMissing;
const RELEASE: Reason = Reason::DibReleaseUnknown;
const PACKAGE: Reason = Reason::DibPackageMissing;
const HOOK: Reason = Reason::DibHookFailed;

/// Cases whose reason is not that of their name, with why.
const OTHERWISE: [(&str, &str, Reason); 16] = [
    // `--fail` lets curl end in the same way for every status.
    ("curl", "404", MIRROR),
    // With GnuTLS libcurl does not say whether the clock is wrong or the certificate.
    ("git", "certificate-early", MIRROR),
    ("git", "certificate-expired", MIRROR),
    ("dnf", "certificate-early", MIRROR),
    ("dnf", "certificate-expired", MIRROR),
    // Its downloader says nothing, so no status is known.
    ("debootstrap", "429", MIRROR),
    ("debootstrap", "no-such-suite", MIRROR),
    // It takes an index that it cannot have for one without the package.
    ("pip", "429-indexes", MIRROR),
    ("pip", "missing", MIRROR),
    // By the hash that its index names.
    ("pip", "cut-packages", SUMS),
    // An index that cannot be read is no matter of sums.
    ("apt", "damaged-indexes", MIRROR),
    ("dnf", "damaged-indexes", MIRROR),
    ("zypper", "damaged-indexes", MIRROR),
    // The image's own sources name an archive whose key it does not have.
    ("apt", "foreign-key", HOOK),
    // An image that the registry does not have.
    ("podman", "404", HOOK),
    ("skopeo", "404", HOOK),
];

/// By the case's name.
fn usual(case: &str) -> Reason {
    let (fault, what) = case.split_once('-').unwrap_or((case, ""));
    match (fault, what) {
        ("429", _) => LIMIT,
        ("503" | "cut" | "reset", _) | ("404", "package" | "packages") => MIRROR,
        ("damaged" | "longer" | "syncing" | "base", _) => SUMS,
        ("stale" | "future" | "certificate", _) => CLOCK,
        ("foreign", _) | ("no", "keyring") => HOST,
        ("404", "indexes") | ("no", "such-suite") | ("script", _) => RELEASE,
        ("no", "such-package") | ("package", "missing") => PACKAGE,
        _ => HOOK,
    }
}

/// Cases of a tool: name, exit code, lines.
fn cases(text: &str) -> Vec<(&str, i32, Vec<&str>)> {
    let sections = text.split("===== ").skip(1);
    sections
        .map(|section| {
            let mut lines = section.lines();
            let (case, code) = lines.next().unwrap().split_once(" rc=").unwrap();
            (case, code.parse().unwrap(), lines.collect())
        })
        .collect()
}

fn diagnose_in(hook: &str, lines: &[&str], code: i32) -> BuilderError {
    let (mut tail, mut reader) = (Tail::default(), LogReader::new(&BTreeMap::new()));
    let head = [
        format!("Copying hooks /opt/dib/elements/base/{hook}"),
        format!("dib-run-parts Running /x/hooks/{hook}"),
    ];
    for line in head.iter().map(String::as_str).chain(lines.iter().copied()) {
        reader.line(Duration::ZERO, line);
        tail.push(line);
    }
    diagnose(Exit::Code(code), &tail, &reader)
}

#[test]
fn the_outside_world_is_not_the_images_fault() {
    let mut wrong = Vec::new();
    let mut unused: BTreeSet<_> = OTHERWISE.iter().map(|(tool, case, _)| (*tool, *case)).collect();
    for (tool, text, hook) in TOOLS {
        for (case, code, lines) in cases(text).into_iter().filter(|(_, code, _)| *code != 0) {
            let other = OTHERWISE.iter().find(|(of, what, _)| (*of, *what) == (tool, case));
            unused.remove(&(tool, case));
            let reason = other.map_or_else(|| usual(case), |(_, _, reason)| *reason);
            let error = diagnose_in(hook, &lines, code);
            if error.reason != reason || error.evidence.is_empty() {
                wrong.push(format!("{tool} {case}: {} instead of {reason}: {error}", error.reason));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn a_release_that_does_not_exist_is_named_with_its_mirror() {
    for (tool, case, said) in [
        ("mmdebstrap", "no-such-suite", "there is no release nosuch on http://mirror.example/ok/all/apt,"),
        ("debootstrap", "script-unknown", "debootstrap on this host does not know the release nosuch"),
        ("dnf", "404-indexes", "on http://mirror.example/404/all/rpm,"),
        ("zypper", "404-indexes", "on http://mirror.example/404/all/rpm,"),
    ] {
        let (_, text, hook) = TOOLS.iter().find(|(name, _, _)| *name == tool).unwrap();
        let (_, code, lines) = cases(text).into_iter().find(|(name, _, _)| *name == case).unwrap();
        let error = diagnose_in(hook, &lines, code);
        assert!(error.message.contains(said), "{tool}: {error}");
    }
}

#[test]
fn a_checksum_inside_the_image_is_the_definitions() {
    let (_, text, _) = TOOLS.iter().find(|(name, _, _)| *name == "sha256sum").unwrap();
    for (_, code, lines) in cases(text) {
        assert_eq!(diagnose_in(INSIDE, &lines, code).reason, HOOK, "the element names it");
    }
}

#[test]
fn what_was_recorded_names_no_machine() {
    for (tool, text, _) in TOOLS {
        for word in ["/work", "/root", "/home", "/tmp/misbehaving", "PRIVATE KEY"] {
            assert!(!text.contains(word), "{tool}: {word}");
        }
        assert!(text.lines().count() <= 500, "{tool}");
    }
}
