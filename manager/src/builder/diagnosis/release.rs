//! A release that no mirror has: the whole suite, or the whole repository, is not there (404). Pure.
//!
//! A single file that is missing says nothing: a mirror in the middle of a sync lacks some.

use super::place;
use super::signs::shows;
use crate::builder::BuilderError;
use crate::builder::log_reader::Script;
use crate::reason::Reason;

/// What else may stand behind it when a mirror does not deliver: then the 404 is not all that it said.
const NOT_AN_ANSWER: [&str; 9] = [
    "  429  ",
    "  5??  ",
    "Status code: 429 ",
    "Status code: 5?? for ",
    "Curl error (",
    "Download (curl) error for ",
    "is temporarily unaccessible",
    "Timeout exceeded when accessing ",
    "Could not connect to ",
];

/// A release that does not exist is the definition's mistake.
pub(super) fn unknown(lines: &[&str], script: Option<&Script>) -> Option<BuilderError> {
    let place = place(script);
    let script_of = |line: &str| {
        let name = line.strip_prefix("E: No such script: ")?.rsplit('/').next()?;
        let text = format!(
            "debootstrap on this host does not know the release {name}{place}; if it is new, update the package \
             debootstrap"
        );
        Some(BuilderError::new(Reason::DibReleaseUnknown, text))
    };
    if let Some(error) = lines.iter().rev().find_map(|line| script_of(line)) {
        return Some(error);
    }
    if lines.iter().any(|line| NOT_AN_ANSWER.iter().any(|look| shows(line, look))) {
        return None;
    }
    let (release, mirror) = suite(lines).or_else(|| repository(lines))?;
    let mend = match release {
        "sid-updates" | "sid-security" => {
            ": write DIB_RELEASE = \"unstable\": by that name, disk-image-builder knows that sid has none"
        }
        _ => "",
    };
    let text = format!(
        "there is no release {release} on {mirror}, which answers that there is none (404){place}{mend}"
    );
    Some(BuilderError::new(Reason::DibReleaseUnknown, text))
}

/// apt, and with it mmdebstrap; debootstrap, where its downloader says more than the address.
fn suite<'a>(lines: &[&'a str]) -> Option<(&'a str, &'a str)> {
    let absent = |line: &&str| line.contains("404  Not Found") || line.contains("ERROR 404: Not Found");
    let line = lines.iter().rev().find_map(|line| {
        let apt =
            line.contains("does not have a Release file") || line.contains("no longer has a Release file");
        let quoted = || line.split_once("The repository '").and_then(|(_, rest)| rest.split('\'').next());
        if apt { quoted().and_then(apt_source) } else { release_file(line) }
    });
    lines.iter().any(absent).then_some(line).flatten()
}

/// `http://mirror/debian nosuch Release`.
fn apt_source(source: &str) -> Option<(&str, &str)> {
    let mut words = source.split_whitespace();
    let mirror = words.next()?;
    Some((words.next()?, mirror))
}

/// `E: Failed getting release file http://mirror/debian/dists/nosuch/Release`.
fn release_file(line: &str) -> Option<(&str, &str)> {
    let address = line.strip_prefix("E: Failed getting release file ")?;
    let (mirror, suite) = address.split_once("/dists/")?;
    Some((suite.strip_suffix("/Release")?, mirror))
}

/// dnf's and zypper's index of a repository.
fn repository<'a>(lines: &[&'a str]) -> Option<(&'a str, &'a str)> {
    const INDEX: &str = "repodata/repomd.xml";
    let dnf = |line: &&'a str| {
        let (_, rest) = line.split_once("Status code: 404 for ")?;
        rest.split_whitespace().next()?.strip_suffix(INDEX)
    };
    // zypper has asked for every kind of index by then.
    let zypper = |line: &&'a str| {
        let (head, _) = line.split_once("] Repository type can't be determined.")?;
        head.rsplit_once('|').map(|(_, address)| address)
    };
    let address = lines.iter().rev().find_map(|line| dnf(line).or_else(|| zypper(line)))?;
    Some(("with this repository", address.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_that_is_not_there_is_named_with_its_mirror() {
        let lines = [
            "404  Not Found [IP: 10.0.0.1 80]",
            "E: The repository 'http://m/debian nosuch Release' does not have a Release file.",
        ];
        let error = unknown(&lines, None).unwrap();
        assert_eq!(error.reason, Reason::DibReleaseUnknown);
        assert!(error.message.starts_with("there is no release nosuch on http://m/debian,"), "{error}");
        assert!(unknown(&lines[1..], None).is_none(), "a mirror that does not answer says the same");
        let busy = ["Err:1 http://m  503  Service Unavailable", lines[0], lines[1]];
        assert!(unknown(&busy, None).is_none());
    }

    #[test]
    fn sid_goes_by_another_name() {
        let lines = [
            "Err:4 http://m/debian sid-updates Release",
            "  404  Not Found [IP: 10.0.0.1 80]",
            "E: The repository 'http://m/debian sid-updates Release' does not have a Release file.",
        ];
        let error = unknown(&lines, None).unwrap();
        assert!(
            error.reason == Reason::DibReleaseUnknown && error.message.ends_with("knows that sid has none"),
            "{error}"
        );
        assert!(error.message.contains("DIB_RELEASE = \"unstable\""), "{error}");
    }

    #[test]
    fn debootstrap_may_not_know_it() {
        let error = unknown(&["E: No such script: /usr/share/debootstrap/scripts/bokworm"], None).unwrap();
        let known = "debootstrap on this host does not know the release bokworm";
        assert!(error.message.starts_with(known), "{error}");
    }

    #[test]
    fn a_single_file_that_is_missing_says_nothing() {
        let lines = ["E: Failed to fetch http://m/debian/pool/x.deb  404  Not Found [IP: 10.0.0.1 80]"];
        assert!(unknown(&lines, None).is_none());
    }
}
