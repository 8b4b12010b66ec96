//! Package indexes that a mirror did not deliver while the build went on without them. Pure.
//!
//! With a base that is cached, a build whose mirror is down ends well: apt ignores what it cannot have, and the
//! image is without updates. A later fetch of the same index makes it good again.

use super::log_reader::Script;

/// Most indexes that are remembered.
const MOST: usize = 64;

/// An index that was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MissedIndex {
    /// Its address, or for other package managers the whole line.
    address: String,
    /// What was said of it.
    pub(super) line: String,
    /// The script that went on without it.
    pub(super) script: Option<Script>,
}

/// The indexes that are missing now.
#[derive(Debug, Clone, Default)]
pub(super) struct Staleness {
    missed: Vec<MissedIndex>,
}

impl Staleness {
    /// Takes in a line of a script, without its timestamp.
    pub(super) fn line(&mut self, line: &str, script: Option<&Script>) {
        let line = line.trim_start_matches("> ").trim();
        if let Some(address) = failed_index(line) {
            self.note(address, line, script);
        } else if line.contains("ignoring this repo") || line.starts_with("Ignoring repositories: ") {
            self.note(line, line, script);
        } else if let Some((base, suite)) = delivered_index(line) {
            let index = format!("{base}/dists/{suite}/");
            self.missed.retain(|missed| !missed.address.starts_with(&index));
        }
    }

    /// The first index that is still missing.
    pub(super) fn first(&self) -> Option<&MissedIndex> {
        self.missed.first()
    }

    fn note(&mut self, address: &str, line: &str, script: Option<&Script>) {
        if self.missed.len() < MOST && self.missed.iter().all(|missed| missed.address != address) {
            let (address, line) = (address.to_owned(), line.to_owned());
            self.missed.push(MissedIndex { address, line, script: script.cloned() });
        }
    }
}

/// `W: Failed to fetch http://mirror/debian/dists/bookworm/InRelease  why`. Packages are not meant: without one
/// the build fails by itself.
fn failed_index(line: &str) -> Option<&str> {
    let said = ["W: ", "E: ", "Warning: ", "Error: "].iter().find_map(|level| line.strip_prefix(level))?;
    let address = said.strip_prefix("Failed to fetch ")?.split_whitespace().next()?;
    address.contains("/dists/").then_some(address)
}

/// `Get:1 http://mirror/debian bookworm InRelease [151 kB]`, or `Hit:1 ...`.
fn delivered_index(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_whitespace();
    let first = words.next()?;
    let number = first.strip_prefix("Get:").or_else(|| first.strip_prefix("Hit:"))?;
    let (base, suite) = (words.next()?, words.next()?);
    let whole = matches!(words.next(), Some("InRelease" | "Release"));
    (whole && number.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| (base.trim_end_matches('/'), suite.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missed(lines: &str) -> Option<String> {
        let mut staleness = Staleness::default();
        for line in lines.lines() {
            staleness.line(line, None);
        }
        staleness.first().map(|missed| missed.address.clone())
    }

    const FAILED: &str =
        "> W: Failed to fetch http://m/debian/dists/bookworm-updates/InRelease  Could not connect";

    #[test]
    fn an_index_that_was_done_without_is_noticed() {
        assert_eq!(missed(FAILED).as_deref(), Some("http://m/debian/dists/bookworm-updates/InRelease"));
        let dnf = "Error: Failed to synchronize cache for repo 'updates', ignoring this repo.";
        assert_eq!(missed(dnf).as_deref(), Some(dnf));
        assert_eq!(missed("W: Failed to fetch http://m/debian/pool/main/v/vim/vim.deb  404"), None);
        assert_eq!(
            missed("Get:1 http://m/debian bookworm InRelease [151 kB]\nReading package lists..."),
            None
        );
    }

    #[test]
    fn a_later_delivery_makes_it_good_and_that_of_another_suite_does_not() {
        let then = |line: &str| missed(&format!("{FAILED}\n{line}"));
        assert_eq!(then("Get:3 http://m/debian bookworm-updates InRelease [55 kB]"), None);
        assert_eq!(then("> Hit:3 http://m/debian/ bookworm-updates InRelease"), None);
        assert!(then("Get:3 http://m/debian bookworm InRelease [55 kB]").is_some());
        assert!(then("Get:3 http://other/debian bookworm-updates InRelease [55 kB]").is_some());
        assert!(then("Get:3 http://m/debian bookworm-updates/main amd64 Packages [55 kB]").is_some());
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let lines: Vec<String> =
            (0..1000).map(|n| format!("W: Failed to fetch http://m/dists/{n}/x  y")).collect();
        let mut staleness = Staleness::default();
        for line in &lines {
            staleness.line(line, None);
        }
        assert_eq!(staleness.missed.len(), MOST);
    }
}
