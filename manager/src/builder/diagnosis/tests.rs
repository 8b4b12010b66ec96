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
    assert_eq!(error.reason, Reason::DibElementUnknown);
    assert!(error.message.starts_with("there is no element no-such-element"), "{error}");
    assert!(error.evidence.ends_with("Element 'no-such-element' not found"), "{}", error.evidence);
}

#[test]
fn a_failed_hook_is_named_with_its_last_words() {
    let error = diagnose_log(include_str!("../fixtures/fail-hook.log"), Exit::Code(2));
    assert_eq!(error.reason, Reason::DibHookFailed);
    assert_eq!(error.message, "element bad-hook: install.d/00-bad-hook failed with exit code 2");
    let said = "about to fail\nls: cannot access '/nonexistent': No such file or directory";
    assert!(error.evidence.ends_with(said), "{}", error.evidence);
}

#[test]
fn a_missing_package_is_named() {
    let error = diagnose_log(include_str!("../fixtures/fail-missing-package.log"), Exit::Code(1));
    assert_eq!(error.reason, Reason::DibPackageMissing);
    assert_eq!(
        error.message,
        "there is no package no-such-package-here \
         (element package-installs, pre-install.d/10-package-installs)"
    );
}

#[test]
fn a_mirror_that_does_not_answer_is_not_the_images_fault() {
    let error = diagnose_log(include_str!("../fixtures/fail-mirror.log"), Exit::Code(25));
    assert_eq!(error.reason, Reason::MirrorUnreachable);
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
        ("npm error Could not resolve dependency:", 1, "dib_hook_failed"),
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
        assert_eq!(error.reason.word(), reason, "{lines}: {error}");
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
        assert_eq!(error.reason, Reason::MirrorUnreachable, "{line}: {error}");
    }
}

#[test]
fn a_package_that_no_mirror_could_offer_is_not_the_images_fault() {
    let update = "dib-run-parts Running /h/pre-install.d/99-apt-get-update\n\
                  W: Failed to fetch http://m/debian/dists/bookworm/InRelease  Could not connect\n\
                  dib-run-parts 99-apt-get-update completed\n";
    let install = "dib-run-parts Running /h/install.d/01-p\nE: Unable to locate package vim";
    let error = diagnose_log(&format!("{update}{install}"), Exit::Code(1));
    assert_eq!(error.reason, Reason::MirrorUnreachable);
    assert!(error.message.starts_with("there is no package vim"), "{error}");
    assert!(error.message.contains("99-apt-get-update): W: Failed to fetch http://m/"), "{error}");

    let again = "dib-run-parts Running /h/install.d/00-u\nGet:1 http://m/debian bookworm InRelease\n";
    let error = diagnose_log(&format!("{update}{again}{install}"), Exit::Code(1));
    assert_eq!(error.reason, Reason::DibPackageMissing);
}

#[test]
fn what_an_earlier_script_survived_does_not_count() {
    let log = "dib-run-parts Running /h/root.d/08-a\nW: Failed to fetch http://m/x\n\
               dib-run-parts 08-a completed\ndib-run-parts Running /h/root.d/09-b\nno";
    let error = diagnose_log(log, Exit::Code(3));
    assert_eq!(error.reason, Reason::DibHookFailed);
    assert!(error.message.contains("root.d/09-b failed with exit code 3"), "{error}");
}

#[test]
fn the_unexplained_says_how_it_ended() {
    let error = diagnose_log("mkfs: something", Exit::Code(32));
    assert_eq!(error.reason, Reason::DibFailed);
    assert_eq!(error.message, "DIB failed with exit code 32 in phase root");
    assert_eq!(error.evidence, "mkfs: something");
    assert!(diagnose_log("", Exit::Signal(9)).message.contains("signal 9"));
    assert!(diagnose_log("", Exit::Code(0)).message.contains("without an image"));
}

/// What comes of a log in which DIB's element runs this hook, which says this.
fn said_in(hook: &str, lines: &str, code: i32) -> BuilderError {
    let log = format!(
        "Copying hooks /opt/dib/elements/containerfile/{hook}\ndib-run-parts Running /x/hooks/{hook}\n{lines}"
    );
    diagnose_log(&log, Exit::Code(code))
}

#[test]
fn a_program_that_the_host_lacks_is_named_with_its_package() {
    let lines = "/x/hooks/root.d/08-containerfile: line 129: podman: command not found\n\
                 Cleaning up container dib-tmp-export-1\n\
                 /x/hooks/root.d/08-containerfile: line 92: podman: command not found\n\
                 Cleaning up build image dib-tmp-work-image-1\n\
                 /x/hooks/root.d/08-containerfile: line 94: podman: command not found";
    let error = said_in("root.d/08-containerfile", lines, 127);
    assert_eq!(error.reason, Reason::DibMissing);
    assert!(
        error.message.starts_with("podman is not installed on this host, but element containerfile"),
        "{error}"
    );
    let inside = said_in("install.d/50-x", lines, 127);
    assert_eq!(inside.reason, Reason::DibHookFailed, "the image lacks it");
    let shell = said_in("root.d/08-debootstrap", "sh: 1: debootstrap: not found", 127);
    assert!(shell.message.ends_with("apt-get install --no-install-recommends debootstrap"), "{shell}");
}

/// As yum-minimal was seen to end without dnf: its script gives up with exit code 0, and the next phase fails.
#[test]
fn a_script_that_gave_up_is_what_failed() {
    let log = |said: &str| {
        format!(
            "Copying hooks /opt/dib/elements/yum-minimal/root.d/08-yum-chroot\n\
             Copying hooks /opt/dib/elements/yum/root.d/50-yum-cache\n\
             dib-run-parts Running /x/hooks/root.d/08-yum-chroot\n{said}\n\
             Failed to download initial packages: basesystem filesystem setup centos-gpg-keys\n\
             dib-run-parts 08-yum-chroot completed\n\
             dib-run-parts Running /x/hooks/root.d/50-yum-cache\n\
             dib-run-parts 50-yum-cache completed\n\
             mount: /x/mnt/sys: none already mounted on /x/mnt/proc."
        )
    };
    let error =
        diagnose_log(&log("/x/hooks/root.d/08-yum-chroot: line 135: dnf: command not found"), Exit::Code(32));
    assert_eq!(error.reason, Reason::DibMissing, "{error}");
    assert!(
        error.message.starts_with("dnf is not installed on this host, but element yum-minimal needs it"),
        "{error}"
    );
    assert!(error.evidence.contains("Failed to download initial packages"), "{}", error.evidence);
    let curl = "Curl error (7): Couldn't connect to server for http://m/repodata/repomd.xml [Failed to connect to m port 80]";
    let error = diagnose_log(&log(curl), Exit::Code(32));
    assert_eq!(error.reason, Reason::MirrorUnreachable, "{error}");
    let suite = "Error: Failed to download metadata for repo 'OS': Status code: 404 for http://m/nosuch/repodata/repomd.xml (IP: 10.0.0.1)";
    let error = diagnose_log(&log(suite), Exit::Code(32));
    assert_eq!(error.reason, Reason::DibReleaseUnknown, "{error}");
}

/// Words that the recorded tools have no case for: newer versions, proxies, upstreams of other kinds.
#[test]
fn what_the_recorded_tools_do_not_say_is_known_too() {
    let cases = [
        ("rate_limited", "Server returned an unexpected response code. [429]"),
        ("rate_limited", "error: RPC failed; HTTP 429 curl 22 The requested URL returned error: 429"),
        (
            "rate_limited",
            "npm ERR! code E429\nnpm ERR! 429 Too Many Requests - GET https://registry.example/x",
        ),
        ("rate_limited", ">>> Status code: 429 for http://m/repodata/repomd.xml (IP: 10.0.0.1)"),
        ("mirror_unreachable", ">>> Status code: 503 for http://m/hello.rpm (IP: 10.0.0.1)"),
        (
            "mirror_unreachable",
            ">>> Curl error (56): Failure when receiving data from the peer for http://m/x",
        ),
        ("mirror_unreachable", ">>> No more mirrors to try - All mirrors were already tried without success"),
        ("mirror_unreachable", "npm ERR! code ECONNREFUSED"),
        (
            "mirror_inconsistent",
            ">>> Downloading successful, but checksum doesn't match. Calculated: a(sha256)",
        ),
        ("mirror_inconsistent", "ERROR: Image '/cache/CentOS.qcow2' failed sha256sum check!"),
        ("clock_differs", "error: RPC failed; curl 60 SSL certificate problem: certificate is not yet valid"),
        (
            "clock_differs",
            "Get \"https://q/v2/\": tls: x509: certificate has expired or is not yet valid: current",
        ),
        (
            "clock_differs",
            "  Sub-process /usr/bin/sqv returned an error code (1): Not live until 2026-01-01T00:00:00Z",
        ),
        ("dib_package_missing", "Failed to resolve the transaction:\nNo match for argument: vim"),
        (
            "dib_hook_failed",
            "curl: (60) SSL certificate problem: self-signed certificate in certificate chain",
        ),
        ("dib_hook_failed", "configure: error: 429 tests failed"),
    ];
    for (reason, lines) in cases {
        let error = said_in("pre-install.d/50-x", lines, 1);
        assert_eq!(error.reason.word(), reason, "{lines}: {error}");
    }
    let named = [
        ("No provider of 'vim' found.", "vim"),
        ("'vim' not found in package names. Trying capabilities.", "vim"),
    ];
    for (line, package) in named {
        let error = said_in("install.d/01-package-installs", line, 104);
        assert!(error.message.starts_with(&format!("there is no package {package} (")), "{error}");
    }
}
