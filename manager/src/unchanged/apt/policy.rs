//! Whether the packages of the image can still be had: `apt-cache policy`. An upgrade leaves alone what no mirror has any
//! more, but a build could not install it.

use std::collections::BTreeSet;

use super::said::strange;
use crate::unchanged::Doubt;
use crate::unchanged::program::Said;
use crate::unchanged::status::Installed;

/// Some of those that cannot be had are named.
const NAMED: usize = 3;

/// As apt is asked for it.
pub(super) fn name(package: &Installed) -> String {
    if package.arch == "all" { package.name.clone() } else { format!("{}:{}", package.name, package.arch) }
}

/// Fails unless a mirror has each package in the version that is installed.
pub(super) fn all_can_be_had(said: &Said, installed: &[Installed]) -> Result<(), Doubt> {
    if !said.status.success() || said.err.lines().any(|line| line.starts_with("E:") || line.starts_with("W:"))
    {
        return Err(strange("apt-cache policy", said));
    }
    let there = versions(&said.out);
    let gone: Vec<String> = installed
        .iter()
        .filter(|package| {
            let short = (package.name.clone(), package.version.clone());
            !there.contains(&short) && !there.contains(&(name(package), short.1.clone()))
        })
        .map(|package| format!("{} {}", package.name, package.version))
        .collect();
    if gone.is_empty() {
        return Ok(());
    }
    let more = if gone.len() > NAMED { format!(" and {} more", gone.len() - NAMED) } else { String::new() };
    let some = gone.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    Err(Doubt::Unknown(format!("no package source has {some}{more}")))
}

/// Names with their installed versions that come from elsewhere than dpkg's own list, as in
///
/// ```text
/// bash:
///   Installed: 5.2-2
///   Version table:
///  *** 5.2-2 500
///         500 http://mirror.example/debian bookworm/main amd64 Packages
///         100 /var/lib/dpkg/status
/// ```
fn versions(text: &str) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let mut package = "";
    let mut version = None;
    for line in text.lines() {
        if let Some(name) = line.strip_suffix(':').filter(|name| !name.starts_with(' ')) {
            (package, version) = (name, None);
        } else if let Some(rest) = line.strip_prefix(" *** ") {
            version = rest.split(' ').next();
        } else if let Some(origin) = line.strip_prefix("        ") {
            let from = origin.trim_start().split(' ').nth(1).unwrap_or_default();
            if let Some(version) = version
                && ["http://", "https://"].iter().any(|scheme| from.starts_with(scheme))
            {
                found.insert((package.to_owned(), version.to_owned()));
            }
        } else if line.starts_with("     ") {
            // Another version's.
            version = None;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_mirror_has_in_that_version_can_be_had() {
        let text = "bash:\n  Installed: 5.2-2\n  Candidate: 5.2-2\n  Version table:\n *** 5.2-2 500\n        \
                    500 http://mirror.example/debian bookworm/main amd64 Packages\n        100 /r/state/status\n\
                    own:\n  Installed: 1\n  Candidate: 1\n  Version table:\n *** 1 100\n        100 /r/state/status\n     \
                    0.9 500\n        500 http://mirror.example/debian bookworm/main amd64 Packages\n\
                    lib:i386:\n  Installed: 2\n  Version table:\n     3 500\n        500 http://m/ x Packages\n \
                    *** 2 500\n        -10 https://m/ x Packages\n";
        let found = versions(text);
        let expected = [("bash", "5.2-2"), ("lib:i386", "2")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(found, BTreeSet::from(expected));
    }
}
