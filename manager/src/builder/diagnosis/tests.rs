//! What comes of real logs of disk-image-builder, and of lines as the tools write them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;

fn diagnose_log(log: &str, exit: Exit) -> BuilderError {
    let (mut tail, mut reader) = (Tail::default(), LogReader::new(&BTreeMap::new()));
    for line in log.lines() {
        reader.line(Duration::ZERO, line);
        tail.push(line);
    }
    diagnose(exit, &tail, &reader)
}

#[test]
fn an_unknown_element_is_named() {
    let log = include_str!("../fixtures/fail-unknown-element.log");
    let error = diagnose_log(log, Exit::Code(1));
    assert_eq!((error.reason, error.image_at_fault), ("dib_element_unknown", true));
    assert!(error.message.starts_with("there is no element no-such-element"), "{error}");
    assert!(error.evidence.ends_with("Element 'no-such-element' not found"), "{}", error.evidence);
}

#[test]
fn a_failed_hook_is_named_with_its_last_words() {
    let error = diagnose_log(include_str!("../fixtures/fail-hook.log"), Exit::Code(2));
    assert_eq!((error.reason, error.image_at_fault), ("dib_hook_failed", true));
    assert_eq!(error.message, "element bad-hook: install.d/00-bad-hook failed with exit code 2");
    let said = "about to fail\nls: cannot access '/nonexistent': No such file or directory";
    assert!(error.evidence.ends_with(said), "{}", error.evidence);
}

#[test]
fn a_missing_package_is_named() {
    let error = diagnose_log(include_str!("../fixtures/fail-missing-package.log"), Exit::Code(1));
    assert_eq!((error.reason, error.image_at_fault), ("dib_package_missing", true));
    assert_eq!(
        error.message,
        "there is no package no-such-package-here \
         (element package-installs, pre-install.d/10-package-installs)"
    );
}

#[test]
fn a_mirror_that_does_not_answer_is_not_the_images_fault() {
    let error = diagnose_log(include_str!("../fixtures/fail-mirror.log"), Exit::Code(25));
    assert_eq!((error.reason, error.image_at_fault), ("mirror_unreachable", false));
    assert!(error.message.contains("root.d/08-debootstrap): E: Failed to fetch http"), "{error}");
    assert!(error.evidence.contains("Connection refused"), "{}", error.evidence);
}

/// What comes of a log that ends in these lines, while this hook runs.
#[test]
fn causes_are_told_apart() {
    let running = "dib-run-parts Running /tmp/in_target.d/install.d/50-x";
    let cases = [
        (
            "E: Unable to locate package vim\nW: Failed to fetch http://m/x  404  Not Found",
            100,
            "mirror_unreachable",
        ),
        ("Package 'vim' has no installation candidate", 100, "dib_package_missing"),
        ("No match for argument: vim", 1, "dib_package_missing"),
        ("tar: x: Cannot write: No space left on device\nE: Failed to fetch x", 2, "scratch_full"),
        (
            "fatal: unable to access 'https://x/': The requested URL returned error: 404",
            128,
            "dib_hook_failed",
        ),
        ("Server returned an unexpected response code. [404]", 44, "dib_hook_failed"),
        ("Failed to connect to bus: No such file or directory", 1, "dib_hook_failed"),
        ("2026-01-01 00:00:00 ERROR 404: Not Found.", 8, "dib_hook_failed"),
        ("/dev/mapper/control: open failed: No such device", 1, "device_mapper_missing"),
        ("qemu-img: Unknown file format 'qcow3'", 1, "dib_format_unknown"),
        ("sudo losetup: cannot find an unused loop device", 1, "dib_failed"),
        ("unshare: unshare failed: Operation not permitted", 1, "dib_failed"),
        ("contain: kpartx is not installed", 127, "dib_missing"),
        ("qcow2 output format specified but qemu-img executable not found.", 1, "dib_missing"),
        ("x.MissingElementException: Element 'a' not found", 1, "dib_hook_failed"),
        ("diskimage_builder.element_dependencies.MissingOSException: Please", 1, "dib_os_missing"),
        (
            "diskimage_builder.element_dependencies.AlreadyProvidedException: operating-system: x",
            1,
            "dib_element_conflict",
        ),
        ("Killed", 137, "dib_failed"),
    ];
    for (lines, code, reason) in cases {
        let error = diagnose_log(&format!("{running}\n{lines}"), Exit::Code(code));
        assert_eq!(error.reason, reason, "{lines}: {error}");
        let at_fault = matches!(
            reason,
            "dib_hook_failed" | "dib_package_missing" | "dib_os_missing" | "dib_element_conflict"
        );
        assert_eq!(error.image_at_fault, at_fault, "{lines}: {error}");
        assert!(!error.evidence.is_empty() || lines.starts_with("contain"), "{lines}");
    }
}

/// As the tools write them.
#[test]
fn a_network_that_fails_is_not_the_images_fault() {
    let lines = [
        "fatal: unable to access 'https://x/': Failed to connect to x port 443 after 9 ms: Couldn't connect to server",
        "fatal: unable to access 'https://x/': The requested URL returned error: 503",
        "error: RPC failed; curl 18 transfer closed with outstanding read data remaining",
        "error: RPC failed; HTTP 502 curl 22 The requested URL returned error: 502",
        "Server returned an unexpected response code. [503]",
        "E: Couldn't download http://m/debian/dists/bookworm/main/binary-amd64/Packages",
        "E: Failed getting release signature file http://m/debian/dists/bookworm/Release.gpg",
        "Connecting to x (x)|10.0.0.1|:443... failed: Connection refused.",
        "Connecting to x (x)|10.0.0.1|:443... failed: Connection timed out.",
        "wget: unable to resolve host address 'x'",
        "2026-01-01 00:00:00 ERROR 503: Service Unavailable.",
        "curl: (18) transfer closed with 1 bytes remaining to read",
        "curl: (52) Empty reply from server",
        "curl: (55) Send failure: Broken pipe",
        "curl: (92) HTTP/2 stream 1 was not closed cleanly: INTERNAL_ERROR (err 2)",
        "Error: initializing source docker://q/i: pinging container registry q: Get \"https://q/v2/\": \
         dial tcp: lookup q on 10.0.0.1:53: no such host",
        "Error: initializing source docker://q/i: pinging container registry q: Get \"https://q/v2/\": \
         dial tcp 10.0.0.1:443: i/o timeout",
        "Error: reading blob sha256:1: Get \"https://q/v2/\": net/http: TLS handshake timeout",
        "Error: copying system image: received unexpected HTTP status: 503 Service Unavailable",
        "WARNING: Retrying: NewConnectionError('<x>: Failed to establish a new connection: [Errno 101] x')",
    ];
    for line in lines {
        let log = format!("dib-run-parts Running /tmp/in_target.d/install.d/50-x\n{line}");
        let error = diagnose_log(&log, Exit::Code(1));
        assert_eq!((error.reason, error.image_at_fault), ("mirror_unreachable", false), "{line}: {error}");
    }
}

#[test]
fn a_package_that_no_mirror_could_offer_is_not_the_images_fault() {
    let update = "dib-run-parts Running /h/pre-install.d/99-apt-get-update\n\
                  W: Failed to fetch http://m/debian/dists/bookworm/InRelease  Could not connect\n\
                  dib-run-parts 99-apt-get-update completed\n";
    let install = "dib-run-parts Running /h/install.d/01-p\nE: Unable to locate package vim";
    let error = diagnose_log(&format!("{update}{install}"), Exit::Code(1));
    assert_eq!((error.reason, error.image_at_fault), ("mirror_unreachable", false));
    assert!(error.message.starts_with("there is no package vim"), "{error}");
    assert!(error.message.contains("99-apt-get-update): W: Failed to fetch http://m/"), "{error}");

    let again = "dib-run-parts Running /h/install.d/00-u\nGet:1 http://m/debian bookworm InRelease\n";
    let error = diagnose_log(&format!("{update}{again}{install}"), Exit::Code(1));
    assert_eq!((error.reason, error.image_at_fault), ("dib_package_missing", true));
}

#[test]
fn what_an_earlier_script_survived_does_not_count() {
    let log = "dib-run-parts Running /h/root.d/08-a\nW: Failed to fetch http://m/x\n\
               dib-run-parts 08-a completed\ndib-run-parts Running /h/root.d/09-b\nno";
    let error = diagnose_log(log, Exit::Code(3));
    assert_eq!(error.reason, "dib_hook_failed");
    assert!(error.message.contains("root.d/09-b failed with exit code 3"), "{error}");
}

#[test]
fn the_unexplained_says_how_it_ended() {
    let error = diagnose_log("mkfs: something", Exit::Code(32));
    assert_eq!((error.reason, error.image_at_fault), ("dib_failed", false));
    assert_eq!(error.message, "DIB failed with exit code 32 in phase root");
    assert_eq!(error.evidence, "mkfs: something");
    assert!(diagnose_log("", Exit::Signal(9)).message.contains("signal 9"));
    assert!(diagnose_log("", Exit::Code(0)).message.contains("without an image"));
}
