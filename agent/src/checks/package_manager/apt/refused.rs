//! A mirror that refuses the list of a suite: does the suite not exist, or does somebody refuse everything?
//!
//! An image that names a suite which no mirror has gets 404 for it, and so does every image from a proxy that lets
//! nobody through, or from a mirror in the midst of being brought up to date. What the same mirror says of other suites
//! tells them apart: apt's own words of this run, else the suites of the image's release, asked for with apt's own
//! helper, which goes the way that apt goes.

use std::path::Path;

use tokio::time::Instant;

use super::super::{Private, Trouble};
use crate::checks::boot;
use crate::checks::program::{Ended, Program};
use crate::guest::Guest;
use crate::text;

/// Where apt has the program that fetches one file.
const HELPER: &str = "/usr/lib/apt/apt-helper";
/// Most mirrors that are asked.
const MOST: usize = 4;
/// The mirror wants a password, which the image does not have.
const NO_PASSWORD: u16 = 401;
/// What to say of a refusal for which nobody can be blamed.
const REFUSES_ALL: &str = "the mirror, or a proxy before it, refuses other suites too";
const UNKNOWN: &str = "whether the mirror has other suites could not be found out";
/// It is not there, and it is not there any more.
const NOT_THERE: [u16; 2] = [404, 410];

/// A suite whose list of indexes was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::checks::package_manager) struct Refused {
    /// The mirror, without a slash at its end.
    base: String,
    /// The suite, as the image names it.
    suite: String,
    /// Both, as they stand in the trouble.
    source: String,
    /// HTTP's status.
    code: u16,
    /// The mirror gave this image another suite in the same run.
    others_there: bool,
}

/// The refusal of a status, if it is one.
pub(super) fn is_refusal(code: u16) -> bool {
    matches!(code, 401 | 403 | 404 | 410)
}

/// Whether a refusal needs no other evidence to be the image's fault.
pub(super) fn is_own(code: u16) -> bool {
    code == NO_PASSWORD
}

/// What was refused in a run of `apt-get update`.
pub(super) fn of(ended: &Ended) -> Vec<Refused> {
    let mut lines = ended.out.lines().peekable();
    let mut found: Vec<Refused> = Vec::new();
    while let Some(line) = lines.next() {
        let Some((base, suite)) = line.strip_prefix("Err:").and_then(release) else { continue };
        let why = lines.peek().copied().unwrap_or_default();
        let code = why.split_whitespace().next().and_then(|word| word.parse().ok());
        let Some(code) = code.filter(|code| is_refusal(*code)) else { continue };
        let others_there = ended.out.lines().any(|line| {
            let there = line.strip_prefix("Get:").or_else(|| line.strip_prefix("Hit:")).and_then(release);
            there.is_some_and(|(same, other)| same == base && other != suite)
        });
        let source = text::one_line(&format!("{base} {suite}"));
        let base = base.trim_end_matches('/').to_owned();
        found.push(Refused { base, suite: suite.to_owned(), source, code, others_there });
    }
    found
}

/// Mirror and suite of what stands after `Err:`, `Get:` or `Hit:`, as in `2 http://mirror.example/debian bookworm Release`.
fn release(item: &str) -> Option<(&str, &str)> {
    let mut words = item.split_whitespace().skip(1);
    let (base, suite, file) = (words.next()?, words.next()?, words.next()?);
    matches!(file, "InRelease" | "Release").then_some((base, suite))
}

/// Finds out which refusals are the image's fault, and says so in its troubles.
pub(in crate::checks::package_manager) async fn settle(
    guest: &Guest,
    private: &Private,
    refused: &[Refused],
    troubles: &mut [Trouble],
    deadline: Instant,
) {
    for one in refused.iter().take(MOST) {
        let about = format!("apt cannot read {}: ", one.source);
        let Some(trouble) =
            troubles.iter_mut().find(|trouble| !trouble.own && trouble.what.starts_with(&about))
        else {
            continue;
        };
        let why = match evidence(guest, private, one, deadline).await {
            Ok(why) => {
                trouble.own = true;
                why
            }
            Err(why) => why.to_owned(),
        };
        trouble.what = text::one_line(&format!("{}; {why}", trouble.what));
    }
}

/// What shows that the suite is refused for its own sake.
async fn evidence(
    guest: &Guest,
    private: &Private,
    refused: &Refused,
    deadline: Instant,
) -> Result<String, &'static str> {
    if refused.others_there {
        return Ok("the same mirror has another of the image's suites".to_owned());
    }
    let base = &refused.base;
    for suite in suites(&codename(guest)).into_iter().filter(|suite| *suite != refused.suite) {
        for file in ["InRelease", "Release"] {
            let answer = fetch(guest, private, &format!("{base}/dists/{suite}/{file}"), deadline).await;
            if answer.ok_or(UNKNOWN)? == Answer::There {
                return Ok(format!("the same mirror has the suite {suite}"));
            }
        }
    }
    if !NOT_THERE.contains(&refused.code) {
        return Err(REFUSES_ALL);
    }
    // A mirror that is being brought up to date keeps its directory.
    let root = root(base).ok_or(REFUSES_ALL)?;
    let at_base = fetch(guest, private, &format!("{base}/"), deadline).await.ok_or(UNKNOWN)?;
    let at_root = fetch(guest, private, &root, deadline).await.ok_or(UNKNOWN)?;
    if at_base == Answer::NotThere && at_root != Answer::NotThere {
        return Ok(format!("{root} answers, but it has nothing at {base}"));
    }
    Err(REFUSES_ALL)
}

/// What came of fetching a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    There,
    NotThere,
    /// Forbidden, but not because it is not there.
    Other,
}

/// Fetches a file as apt does. None: nothing is known, for there is no helper, or no answer.
async fn fetch(guest: &Guest, private: &Private, address: &str, deadline: Instant) -> Option<Answer> {
    let helper = guest.path(HELPER);
    if !helper.is_file() || !(address.starts_with("http://") || address.starts_with("https://")) {
        return None;
    }
    let target = private.0.join("asked");
    let timeouts = ["Acquire::http::Timeout=15", "Acquire::https::Timeout=15", "Acquire::Retries=0"];
    let options = timeouts.into_iter().flat_map(|option| ["--option", option]);
    let asked = Program::at(helper).with(options).with(["download-file", address]);
    let ended = asked.with([target.display().to_string()]).run(boot::before(deadline)).await;
    let _ = std::fs::remove_file(&target);
    answer(&ended)
}

fn answer(ended: &Ended) -> Option<Answer> {
    if ended.is_good() {
        return Some(Answer::There);
    }
    let said = format!("{} {}", ended.out, ended.err);
    let codes = said.split_whitespace().filter_map(|word| word.parse::<u16>().ok());
    let code = codes.into_iter().find(|code| is_refusal(*code))?;
    Some(if NOT_THERE.contains(&code) { Answer::NotThere } else { Answer::Other })
}

/// The suites that a mirror of a release has, whatever else it has.
fn suites(codename: &str) -> Vec<String> {
    if codename.is_empty() {
        return vec!["stable".to_owned()];
    }
    vec![
        codename.to_owned(),
        format!("{codename}-security"),
        format!("{codename}-updates"),
        "stable".to_owned(),
    ]
}

/// The name of the image's release, by os-release(5). Empty: it does not say.
fn codename(guest: &Guest) -> String {
    let text =
        guest.read("/etc/os-release").or_else(|_| guest.read("/usr/lib/os-release")).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let name = value.unwrap_or_default().trim().trim_matches(['"', '\'']);
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if is_plain { name.to_owned() } else { String::new() }
}

/// The address of the server of a mirror.
fn root(base: &str) -> Option<String> {
    let (scheme, rest) = base.split_once("://")?;
    let (host, path) = rest.split_once('/')?;
    (!Path::new(path).as_os_str().is_empty()).then(|| format!("{scheme}://{host}/"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use super::super::troubles;
    use super::*;

    /// A run in which these suites of one mirror are refused, and those are there.
    fn update(code: &str, refused: &[&str], there: &[&str]) -> Ended {
        let base = "http://mirror.example/debian";
        let refused = refused.iter().map(|suite| {
            format!(
                "Ign:1 {base} {suite} InRelease\nErr:2 {base} {suite} Release\n  {code} [IP: 192.0.2.1 80]\n"
            )
        });
        let there = there.iter().map(|suite| format!("Get:3 {base} {suite} InRelease [151 kB]\n"));
        let out: String = refused.chain(there).collect();
        Ended { code: Some(100), out, ..Ended::default() }
    }

    /// What becomes of a run whose mirror gives this image the addresses that this is the beginning of.
    async fn settled(ended: &Ended, there: &[&str], otherwise: &str) -> Vec<Trouble> {
        let root = tempfile::tempdir().unwrap();
        let guest = Guest::below(root.path());
        for folder in ["/etc", "/usr/lib/apt", "/var/tmp"] {
            std::fs::create_dir_all(guest.path(folder)).unwrap();
        }
        std::fs::write(guest.path("/etc/os-release"), "ID=debian\nVERSION_CODENAME=bookworm\n").unwrap();
        let arms: Vec<String> = there.iter().map(|address| format!("{address}) exit 0 ;;\n")).collect();
        let script = format!(
            "#!/bin/sh\nfor word; do case $word in http*) address=$word ;; esac; done\n\
             case $address in\n{}*) echo \"E: Failed to fetch $address  {otherwise}\" >&2; exit 100 ;;\nesac\n",
            arms.concat()
        );
        std::fs::write(guest.path(HELPER), script).unwrap();
        std::fs::set_permissions(guest.path(HELPER), std::fs::Permissions::from_mode(0o755)).unwrap();
        let private = Private::make(&guest).unwrap();
        let mut found = troubles(ended);
        settle(&guest, &private, &of(ended), &mut found, Instant::now() + Duration::from_secs(20)).await;
        found
    }

    const GONE: &str = "404  Not Found";
    const FORBIDDEN: &str = "403  Forbidden";
    const BOOKWORM: &str = "http://mirror.example/debian/dists/bookworm/*";

    #[tokio::test]
    async fn a_suite_that_the_mirror_does_not_have_is_the_images() {
        // All of the image's suites are misspelt, but the mirror has its release.
        let found = settled(&update(GONE, &["bookwurm", "bookwurm-updates"], &[]), &[BOOKWORM], GONE).await;
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|trouble| trouble.own), "{found:?}");
        let said = "apt cannot read http://mirror.example/debian bookwurm: 404 Not Found";
        assert!(
            found[0].what.starts_with(said) && found[0].what.ends_with("has the suite bookworm"),
            "{found:?}"
        );
        // Some mirrors have it at another place, or say that nobody may see what is not there.
        let found = settled(&update(FORBIDDEN, &["bookwurm"], &[]), &[BOOKWORM], FORBIDDEN).await;
        assert!(found[0].own, "{found:?}");
        let found = settled(&update(GONE, &["bookwurm"], &["bookworm"]), &[], GONE).await;
        assert!(found[0].own && found[0].what.contains("another of the image's suites"), "{found:?}");
    }

    #[tokio::test]
    async fn a_mirror_that_is_not_there_is_the_images() {
        let found = settled(&update(GONE, &["bookworm"], &[]), &["http://mirror.example/"], GONE).await;
        assert!(
            found[0].own && found[0].what.contains("has nothing at http://mirror.example/debian"),
            "{found:?}"
        );
        let found = settled(&update("401  Unauthorized", &["bookworm"], &[]), &[], "401  Unauthorized").await;
        assert!(found[0].own, "{found:?}");
    }

    #[tokio::test]
    async fn what_refuses_everything_is_not_the_images_fault() {
        for (code, there) in [
            // A proxy before all mirrors.
            (FORBIDDEN, vec![]),
            (GONE, vec![]),
            // A mirror in the midst of being brought up to date: it is there, and the suite will be.
            (GONE, vec!["http://mirror.example/", "http://mirror.example/debian/"]),
            (FORBIDDEN, vec!["http://mirror.example/"]),
        ] {
            let found = settled(&update(code, &["bookworm"], &[]), &there, code).await;
            assert!(!found[0].own, "{code} {there:?}: {found:?}");
            assert!(found[0].what.ends_with("refuses other suites too"), "{found:?}");
        }
    }

    #[test]
    fn what_the_helper_says_is_read() {
        let said = |err: &str| answer(&Ended { code: Some(100), err: err.to_owned(), ..Ended::default() });
        assert_eq!(
            said("E: Failed to fetch http://x/  404  Not Found [IP: 192.0.2.1 80]"),
            Some(Answer::NotThere)
        );
        assert_eq!(said("E: Failed to fetch http://x/  403  Forbidden"), Some(Answer::Other));
        assert_eq!(said("E: Could not resolve 'x'"), None);
        assert_eq!(answer(&Ended { code: Some(0), ..Ended::default() }), Some(Answer::There));
        assert_eq!(root("http://mirror.example/debian").as_deref(), Some("http://mirror.example/"));
        assert_eq!(root("http://mirror.example"), None);
    }
}
