//! dnf, of either generation.

use tokio::time::Instant;

use super::{MOST, Observation, Private, Trouble, Update, rpm_has};
use crate::checks::program::{Ended, Program, program};
use crate::guest::Guest;
use crate::text;

/// What dnf and the library below it say of the network and of mirrors that do not do their work: curl's errors of
/// names, connections, time and broken transfers, servers' own errors, and what proxies that let nobody through say.
const OF_OTHERS: [&str; 16] = [
    "Curl error (5)",
    "Curl error (6)",
    "Curl error (7)",
    "Curl error (28)",
    "Curl error (35)",
    "Curl error (52)",
    "Curl error (55)",
    "Curl error (56)",
    "Curl error (92)",
    "Status code: 5",
    "Status code: 429",
    "Status code: 403",
    "HTTP code: 5",
    "HTTP code: 403",
    "checksum",
    "Checksum",
];

/// dnf, with a cache of the check's own.
fn dnf(guest: &Guest, private: &Private) -> Option<Program> {
    let cache = format!("{}/dnf", private.path());
    let options = [format!("--setopt=cachedir={cache}"), format!("--setopt=system_cachedir={cache}")];
    Some(program(guest, "dnf")?.with(["--quiet", "--assumeyes"]).with(options).env("HOME", "/root"))
}

pub(super) async fn look(
    guest: &Guest,
    private: &Private,
    seen: &mut Observation,
    fetch: bool,
    deadline: Instant,
) {
    let Some(dnf) = dnf(guest, private) else { return };
    if fetch {
        let ended = dnf.clone().with(["makecache"]).run(deadline).await;
        seen.no_sources =
            says(&ended, "no enabled repositories") || says(&ended, "No repositories available");
        seen.troubles = troubles(&ended);
    }
    if !seen.troubles.is_empty() || seen.no_sources {
        return;
    }
    let ended = dnf.clone().with(["check"]).run(deadline).await;
    let broken = ended.out.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("Error:"));
    seen.broken = match ended.code {
        Some(0) | None => Vec::new(),
        Some(_) => broken.map(|line| format!("dnf check: {}", text::one_line(line))).take(MOST).collect(),
    };
    let all = dnf.clone().with(["check-update"]).run(deadline).await;
    let urgent = dnf.with(["check-update", "--security"]).run(deadline).await;
    for ended in [&all, &urgent] {
        // 100 says that there are some.
        if !matches!(ended.code, Some(0 | 100)) {
            seen.troubles.extend(troubles(ended));
        }
    }
    let urgent = packages(&urgent.out);
    let updates = packages(&all.out).into_iter();
    seen.pending = updates.map(|package| Update { security: urgent.contains(&package), package }).collect();
}

/// Lines of `NAME.ARCH VERSION REPOSITORY`; what they would replace comes after another title.
fn packages(listed: &str) -> Vec<String> {
    let updates = listed.lines().take_while(|line| !line.starts_with("Obsoleting"));
    let package = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = words.first().filter(|_| words.len() == 3)?;
        name.contains('.').then(|| text::one_line(name))
    };
    updates.filter_map(package).take(10_000).collect()
}

fn says(ended: &Ended, words: &str) -> bool {
    ended.err.contains(words) || ended.out.contains(words)
}

fn troubles(ended: &Ended) -> Vec<Trouble> {
    if ended.is_good() {
        return Vec::new();
    }
    let said = format!("{}\n{}", ended.err, ended.out);
    // The last error sums up; those before it say what each mirror did.
    let errors = said.lines().map(|line| line.trim_start_matches([' ', '-', '>'])).filter(|line| {
        ["Error", "Failed", "Curl error", "Status code", "GPG", "Cannot", "Bad "]
            .iter()
            .any(|word| line.starts_with(word))
    });
    let first = text::one_line(errors.clone().next().unwrap_or(&ended.complaint()));
    let trusts = !["GPG", "gpg", "igning key", "ignature"].iter().any(|word| said.contains(word));
    let own = ended.code.is_some() && (!trusts || !OF_OTHERS.iter().any(|word| said.contains(word)));
    let what = if trusts { format!("dnf: {first}") } else { format!("dnf does not trust a source: {first}") };
    vec![Trouble { own, what }]
}

/// Installs a package and removes it, with all that came with it.
pub(super) async fn install(
    guest: &Guest,
    private: &Private,
    package: &str,
    deadline: Instant,
) -> Vec<Trouble> {
    let Some(dnf) = dnf(guest, private) else { return Vec::new() };
    let there = rpm_has(guest, package, deadline).await;
    let verbs: &[&str] = if there { &["reinstall"] } else { &["install", "remove"] };
    for verb in verbs {
        let ended = dnf.clone().with([*verb, package]).run(deadline).await;
        let found = troubles(&ended);
        if !found.is_empty() {
            let named = |trouble: Trouble| Trouble {
                what: format!("{verb} of {package}: {}", trouble.what),
                ..trouble
            };
            return found.into_iter().map(named).collect();
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: i32, err: &str) -> Ended {
        Ended { code: Some(code), err: err.to_owned(), ..Ended::default() }
    }

    #[test]
    fn faults_of_others_are_told_from_the_images() {
        let down = "Errors during downloading metadata for repository 'baseos':\n  - Curl error (6): Couldn't resolve host \
                    name for http://mirror.example/repodata/repomd.xml\nError: Failed to download metadata for repo 'baseos'\n";
        let found = troubles(&ended(1, down));
        assert!(!found[0].own, "{found:?}");
        let gone = down.replace("Curl error (6): Couldn't resolve host name", "Status code: 404");
        assert!(troubles(&ended(1, &gone))[0].own);
        let busy = down.replace("Curl error (6): Couldn't resolve host name", "Status code: 503");
        assert!(!troubles(&ended(1, &busy))[0].own);
        let forbidden = down.replace("Curl error (6): Couldn't resolve host name", "Status code: 403");
        assert!(!troubles(&ended(1, &forbidden))[0].own, "a proxy");
        let key = "Error: Failed to download metadata for repo 'x': repomd.xml GPG signature verification error: Signing key not found\n";
        let found = troubles(&ended(1, key));
        assert!(
            found[0].own && found[0].what.starts_with("dnf does not trust a source: Error: Failed"),
            "{found:?}"
        );
        assert!(troubles(&ended(0, "")).is_empty());
    }

    #[test]
    fn updates_are_counted() {
        let listed = "\nkernel.x86_64      5.14.0-503.15.1.el9_5     baseos\nopenssl.x86_64     1:3.2.2-6.el9_5.1   baseos\n\
                      Obsoleting Packages\nold.x86_64  1-1  baseos\n";
        assert_eq!(packages(listed), ["kernel.x86_64", "openssl.x86_64"]);
    }
}
