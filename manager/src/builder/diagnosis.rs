//! What went wrong, from the way DIB ended and from what it said last. Pure.

use self::signs::SIGNS;
use super::BuilderError;
use super::log_reader::{LogReader, Script, without_timestamp};
use super::output::Tail;

mod signs;

/// Lines of evidence.
const EVIDENCE_LINES: usize = 30;

/// How DIB ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// What the build failed of. `exit` is how DIB ended; a code of 0 means that it ended well and yet there is
/// no image.
pub(super) fn diagnose(exit: Exit, tail: &Tail, reader: &LogReader) -> BuilderError {
    let lines: Vec<&str> = tail.iter().map(without_timestamp).collect();
    let told = definition_error(&lines)
        .or_else(|| host_error(&lines))
        .or_else(|| sign(&lines, reader).map(|error| unless_stale(error, reader)))
        .or_else(|| script_error(exit, reader));
    let mut error = told.unwrap_or_else(|| host("dib_failed", unexplained(exit, reader)));
    error.evidence = evidence(&lines, reader);
    error
}

/// What is wrong with a build that ended well: a mirror did not answer, and the image is without updates.
pub(super) fn stale(reader: &LogReader) -> Option<BuilderError> {
    let missed = reader.missed_index()?;
    let text = format!(
        "a package mirror did not deliver{}, and the build went on without it: the image lacks updates",
        place(missed.script.as_ref())
    );
    let mut error = host("mirror_unreachable", text);
    error.evidence.clone_from(&missed.line);
    Some(error)
}

/// A package that is missing because no mirror could say that there is one is not the image's fault.
fn unless_stale(error: BuilderError, reader: &LogReader) -> BuilderError {
    match reader.missed_index() {
        Some(missed) if error.reason == "dib_package_missing" => {
            let place = place(missed.script.as_ref());
            let text = format!(
                "{}; but a package mirror did not deliver before{place}: {}",
                error.message, missed.line
            );
            host("mirror_unreachable", text)
        }
        _ => error,
    }
}

/// The last lines that are no noise, for failures that are told from outside (a timeout, say).
pub(super) fn last_lines(tail: &Tail) -> String {
    let lines: Vec<&str> = tail.iter().map(without_timestamp).collect();
    telling(lines.iter().copied())
}

/// An error that the image definition is to blame for.
pub(super) fn definition(reason: &'static str, message: String) -> BuilderError {
    BuilderError { reason, image_at_fault: true, message, evidence: String::new() }
}

/// An error that says nothing about the image.
pub(super) fn host(reason: &'static str, message: String) -> BuilderError {
    BuilderError { reason, image_at_fault: false, message, evidence: String::new() }
}

/// Elements that do not go together are found before anything is built.
fn definition_error(lines: &[&str]) -> Option<BuilderError> {
    lines.iter().find_map(|line| {
        // Not what a hook of another language may raise: DIB names its own with their module.
        let (_, error) = line.split_once("element_dependencies.").filter(|(_, error)| error.contains(':'))?;
        let (kind, text) = error.split_once(": ")?;
        match kind {
            "MissingElementException" => {
                let element = text.split('\'').nth(1).unwrap_or(text);
                Some(definition(
                    "dib_element_unknown",
                    format!("there is no element {element}, neither in DIB nor in the elements path"),
                ))
            }
            "MissingOSException" => {
                Some(definition("dib_os_missing", format!("no element provides an operating system: {text}")))
            }
            "AlreadyProvidedException" => {
                Some(definition("dib_element_conflict", format!("two elements provide the same: {text}")))
            }
            "InvalidElementDir" => Some(host("dib_failed", format!("the elements path is wrong: {text}"))),
            _ => None,
        }
    })
}

/// What this host cannot do.
fn host_error(lines: &[&str]) -> Option<BuilderError> {
    lines.iter().find_map(|line| {
        if line.contains("/dev/mapper/control") || line.contains("failed to initialize device-mapper") {
            let text = "this host has no device-mapper, which kpartx needs: load the kernel module dm_mod, or let \
                        the manager put its stand-ins for kpartx and dmsetup in their place";
            return Some(host("device_mapper_missing", text.to_owned()));
        }
        if let Some((_, format)) = line.split_once("Unknown file format") {
            let format = format.trim_start_matches([':', ' ']);
            return Some(host("dib_format_unknown", format!("qemu-img knows no output format {format}")));
        }
        if line.starts_with("unshare: ") {
            let text = format!("this host does not let the manager contain the build; is it root? {line}");
            return Some(host("dib_failed", text));
        }
        if line.contains("losetup: ") && line.contains("loop device") {
            return Some(host("dib_failed", format!("this host gives no loop device: {line}")));
        }
        let absent = line.strip_prefix("contain: ").and_then(|said| said.strip_suffix(" is not installed"));
        let absent =
            absent.or_else(|| line.ends_with("qemu-img executable not found.").then_some("qemu-img"));
        absent.map(|tool| {
            host("dib_missing", format!("{tool} is not installed, and DIB needs it: setup/install build"))
        })
    })
}

/// A known cause. While a script runs only its own lines count: what an earlier one said it survived.
fn sign(lines: &[&str], reader: &LogReader) -> Option<BuilderError> {
    let of_script: Vec<&str> = reader.script_lines().collect();
    let lines = if reader.running().is_some() { &of_script } else { lines };
    SIGNS.iter().find_map(|(looks, reason, image_at_fault)| {
        let line = lines.iter().rev().find(|line| looks.iter().any(|look| signs::shows(line, look)))?;
        let line = line.trim_start_matches("> ").trim();
        let message = match *reason {
            "scratch_full" => format!("the disk that the build works on is full{}", place(reader.running())),
            "mirror_unreachable" => {
                let place = place(reader.running());
                format!("a mirror, or another place to download from, did not deliver{place}: {line}")
            }
            _ => format!("there is no package {}{}", package(line), place(reader.running())),
        };
        Some(BuilderError { reason, image_at_fault: *image_at_fault, message, evidence: String::new() })
    })
}

/// The package that a line complains of.
fn package(line: &str) -> &str {
    let after =
        ["Unable to locate package ", "find a match: ", "for argument: ", "Couldn't find these debs: "]
            .iter()
            .find_map(|look| line.split_once(look).map(|(_, package)| package));
    let quoted = || line.split_once("Package '").and_then(|(_, rest)| rest.split('\'').next());
    let plain = || line.split_once("No package ").and_then(|(_, rest)| rest.split(' ').next());
    after.or_else(quoted).or_else(plain).unwrap_or(line).trim()
}

/// A hook that did not come to its end. DIB does not name it.
fn script_error(exit: Exit, reader: &LogReader) -> Option<BuilderError> {
    let script = reader.running()?;
    let element = script.element.as_deref().unwrap_or("of an unknown name");
    let ended = match exit {
        // A shell's way to say that a signal ended what it ran.
        Exit::Code(137) | Exit::Signal(_) => {
            let text = format!(
                "{} of element {element} was killed in phase {}: is there too little memory?",
                script.name, script.phase
            );
            return Some(host("dib_failed", text));
        }
        Exit::Code(code) => format!("with exit code {code}"),
    };
    Some(definition(
        "dib_hook_failed",
        format!("element {element}: {}.d/{} failed {ended}", script.phase, script.name),
    ))
}

fn unexplained(exit: Exit, reader: &LogReader) -> String {
    let phase = reader.phase();
    match exit {
        Exit::Code(0) if reader.succeeded() => {
            "DIB says that the build succeeded, but there is no image".to_owned()
        }
        Exit::Code(0) => format!("DIB ended without an error and without an image, in phase {phase}"),
        Exit::Code(code) => format!("DIB failed with exit code {code} in phase {phase}"),
        Exit::Signal(number) => format!("DIB was killed by signal {number} in phase {phase}"),
    }
}

/// ` (element agent-install, install.d/60-agent-install)`, while a script runs.
fn place(script: Option<&Script>) -> String {
    script.map_or_else(String::new, |script| {
        let element = script.element.as_deref().unwrap_or("?");
        format!(" (element {element}, {}.d/{})", script.phase, script.name)
    })
}

fn evidence(lines: &[&str], reader: &LogReader) -> String {
    let of_script = telling(reader.script_lines());
    if of_script.is_empty() { telling(lines.iter().copied()) } else { of_script }
}

/// The last of the lines that are neither a shell's trace nor DIB's own cleaning up.
fn telling<'a>(lines: impl DoubleEndedIterator<Item = &'a str>) -> String {
    let noise = |line: &&str| {
        line.is_empty()
            || line.starts_with("Unmount ")
            || line.starts_with("INFO diskimage_builder")
            || line.starts_with("dib-run-parts ") && !line.starts_with("dib-run-parts Running ")
            || line.starts_with("contain: ")
            || line.starts_with("Killing chroot process")
            || line.trim_start_matches('+').starts_with(' ') && line.starts_with('+')
    };
    let mut last: Vec<&str> = lines.rev().filter(|line| !noise(line)).take(EVIDENCE_LINES).collect();
    last.reverse();
    last.join("\n")
}

#[cfg(test)]
mod tests {
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
        let log = include_str!("fixtures/fail-unknown-element.log");
        let error = diagnose_log(log, Exit::Code(1));
        assert_eq!((error.reason, error.image_at_fault), ("dib_element_unknown", true));
        assert!(error.message.starts_with("there is no element no-such-element"), "{error}");
        assert!(error.evidence.ends_with("Element 'no-such-element' not found"), "{}", error.evidence);
    }

    #[test]
    fn a_failed_hook_is_named_with_its_last_words() {
        let error = diagnose_log(include_str!("fixtures/fail-hook.log"), Exit::Code(2));
        assert_eq!((error.reason, error.image_at_fault), ("dib_hook_failed", true));
        assert_eq!(error.message, "element bad-hook: install.d/00-bad-hook failed with exit code 2");
        let said = "about to fail\nls: cannot access '/nonexistent': No such file or directory";
        assert!(error.evidence.ends_with(said), "{}", error.evidence);
    }

    #[test]
    fn a_missing_package_is_named() {
        let error = diagnose_log(include_str!("fixtures/fail-missing-package.log"), Exit::Code(1));
        assert_eq!((error.reason, error.image_at_fault), ("dib_package_missing", true));
        assert_eq!(
            error.message,
            "there is no package no-such-package-here \
             (element package-installs, pre-install.d/10-package-installs)"
        );
    }

    #[test]
    fn a_mirror_that_does_not_answer_is_not_the_images_fault() {
        let error = diagnose_log(include_str!("fixtures/fail-mirror.log"), Exit::Code(25));
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
            assert_eq!(
                (error.reason, error.image_at_fault),
                ("mirror_unreachable", false),
                "{line}: {error}"
            );
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
}
