//! What went wrong, from the way DIB ended and from what it said last. Pure.
//!
//! A new way in which a tool fails is a line of its own words in `signs`, as `testbed/misbehaving/record` has
//! recorded them.

use self::signs::{Cause, SIGNS};
use super::BuilderError;
use super::log_reader::{LogReader, Script, without_timestamp};
use super::output::Tail;
use crate::reason::Reason;

mod absent;
mod release;
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
        .or_else(|| script_sign(exit, &lines, reader).map(|error| unless_stale(error, reader)))
        .or_else(|| script_error(exit, reader));
    let mut error = told.unwrap_or_else(|| BuilderError::new(Reason::DibFailed, unexplained(exit, reader)));
    error.evidence = evidence(&lines, reader);
    error
}

/// What is wrong with a build that ended well: a mirror did not answer, and the image is without updates.
pub(super) fn stale(reader: &LogReader) -> Option<BuilderError> {
    let missed = reader.missed_index()?;
    let text = format!(
        "a package mirror did not deliver{}, but the build went on without it: the image lacks updates",
        place(missed.script.as_ref())
    );
    let mut error = BuilderError::new(Reason::MirrorUnreachable, text);
    error.evidence.clone_from(&missed.line);
    Some(error)
}

/// A package that is missing because no mirror could say that there is one is not the image's fault.
fn unless_stale(error: BuilderError, reader: &LogReader) -> BuilderError {
    match reader.missed_index() {
        Some(missed) if error.reason == Reason::DibPackageMissing => {
            let place = place(missed.script.as_ref());
            let text = format!(
                "{}; but a package mirror did not deliver before{place}: {}",
                error.message, missed.line
            );
            BuilderError::new(Reason::MirrorUnreachable, text)
        }
        _ => error,
    }
}

/// The last lines that are no noise, for failures that are told from outside (a timeout, say).
pub(super) fn last_lines(tail: &Tail) -> String {
    let lines: Vec<&str> = tail.iter().map(without_timestamp).collect();
    telling(lines.iter().copied())
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
                Some(BuilderError::new(
                    Reason::DibElementUnknown,
                    format!("there is no element {element}, neither in DIB nor in the elements path"),
                ))
            }
            "MissingOSException" => Some(BuilderError::new(
                Reason::DibOsMissing,
                format!("no element provides an operating system: {text}"),
            )),
            "AlreadyProvidedException" => Some(BuilderError::new(
                Reason::DibElementConflict,
                format!("two elements provide the same thing: {text}"),
            )),
            "InvalidElementDir" => {
                Some(BuilderError::new(Reason::DibFailed, format!("the elements path is wrong: {text}")))
            }
            _ => None,
        }
    })
}

/// What this host cannot do.
fn host_error(lines: &[&str]) -> Option<BuilderError> {
    lines.iter().find_map(|line| {
        if line.contains("/dev/mapper/control") || line.contains("failed to initialize device-mapper") {
            let text = "this host has no device-mapper, which kpartx needs";
            return Some(BuilderError::new(Reason::DeviceMapperMissing, text));
        }
        if let Some((_, format)) = line.split_once("Unknown file format") {
            let format = format.trim_start_matches([':', ' ']);
            return Some(BuilderError::new(
                Reason::DibFormatUnknown,
                format!("qemu-img does not know the output format {format}"),
            ));
        }
        if line.starts_with("unshare: ") {
            let text = format!("this host does not let the manager contain the build (not root?): {line}");
            return Some(BuilderError::new(Reason::DibFailed, text));
        }
        if line.contains("losetup: ") && line.contains("loop device") {
            return Some(BuilderError::new(
                Reason::DibFailed,
                format!("this host provides no loop device: {line}"),
            ));
        }
        let absent = line.strip_prefix("contain: ").and_then(|said| said.strip_suffix(" is not installed"));
        let absent =
            absent.or_else(|| line.ends_with("qemu-img executable not found.").then_some("qemu-img"));
        absent.map(|tool| {
            BuilderError::new(Reason::DibMissing, format!("{tool} is not installed, but DIB needs it"))
        })
    })
}

/// A known cause. While a script runs only its own lines count: what an earlier one said it survived.
fn script_sign(exit: Exit, lines: &[&str], reader: &LogReader) -> Option<BuilderError> {
    let of_script: Vec<&str> = reader.script_lines().collect();
    let lines = if reader.running().is_some() { &of_script } else { lines };
    let lines: Vec<&str> = lines.iter().map(|line| line.trim_start_matches("> ").trim()).collect();
    let script = reader.running();
    absent::tool(exit, &lines, script)
        .or_else(|| absent::keyring(&lines, script))
        .or_else(|| release::unknown(&lines, script))
        .or_else(|| sign(&lines, script))
}

fn sign(lines: &[&str], script: Option<&Script>) -> Option<BuilderError> {
    SIGNS.iter().find_map(|(cause, looks)| {
        let line = lines.iter().rev().find(|line| looks.iter().any(|look| signs::shows(line, look)));
        let line = line.copied().or_else(|| cause.beyond_lines(lines, script))?;
        let place = place(script);
        Some(match cause {
            Cause::DiskFull => {
                BuilderError::new(Reason::ScratchFull, format!("the disk that the build works on is full{place}"))
            }
            Cause::Clock => BuilderError::new(
                Reason::ClockDiffers,
                format!(
                    "by this host's clock, something that was downloaded is not valid yet, or has expired{place}: \
                     {line}"
                ),
            ),
            Cause::RateLimit => BuilderError::new(
                Reason::RateLimited,
                format!("a place to download from has had too many requests from this host{place}: {line}"),
            ),
            Cause::Inconsistent => BuilderError::new(
                Reason::MirrorInconsistent,
                format!(
                    "what was downloaded does not have the size or checksum that was announced{place}; the mirror is \
                     in the middle of an update, or a copy was damaged in transit or in a cache: {line}"
                ),
            ),
            Cause::Unreachable => BuilderError::new(
                Reason::MirrorUnreachable,
                format!("a mirror, or another place to download from, did not deliver{place}: {line}"),
            ),
            Cause::NoVersion => BuilderError::new(
                Reason::MirrorUnreachable,
                format!(
                    "pip was offered no version at all{place}; it does not say whether its index failed or has no \
                     such package (pip -v does): {line}"
                ),
            ),
            Cause::NoPackage => {
                BuilderError::new(Reason::DibPackageMissing, format!("there is no package {}{place}", package(line)))
            }
        })
    })
}

/// The package that a line complains of.
fn package(line: &str) -> &str {
    let after =
        ["Unable to locate package ", "find a match: ", "for argument: ", "Couldn't find these debs: "]
            .iter()
            .find_map(|look| line.split_once(look).map(|(_, package)| package));
    let zypper = || line.strip_prefix("No provider of '").or_else(|| line.strip_prefix('\''));
    let zypper = || zypper().and_then(|rest| rest.split('\'').next());
    let quoted = || line.split_once("Package '").and_then(|(_, rest)| rest.split('\'').next());
    let plain = || line.split_once("No package ").and_then(|(_, rest)| rest.split(' ').next());
    after.or_else(zypper).or_else(quoted).or_else(plain).unwrap_or(line).trim()
}

/// A hook that did not come to its end. DIB does not name it.
fn script_error(exit: Exit, reader: &LogReader) -> Option<BuilderError> {
    let script = reader.running()?;
    let element = script.element.as_deref().unwrap_or("of an unknown name");
    let ended = match exit {
        // A shell's way to say that a signal ended what it ran.
        Exit::Code(137) | Exit::Signal(_) => {
            let text = format!("{} of element {element} was killed in phase {}", script.name, script.phase);
            return Some(BuilderError::new(Reason::DibFailed, text));
        }
        Exit::Code(code) => format!("with exit code {code}"),
    };
    Some(BuilderError::new(
        Reason::DibHookFailed,
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
mod recorded;
#[cfg(test)]
mod tests;
