//! zypper, of SUSE's distributions.

use std::collections::HashSet;

use tokio::time::Instant;

use super::{MOST, Observation, Private, Trouble, Update, rpm_has};
use crate::checks::program::{Ended, Program, program};
use crate::guest::Guest;
use crate::text;

/// No repository is enabled.
const NO_REPOSITORIES: i32 = 6;
/// All is done, and the system or zypper itself should be started again.
const RESTART_NEEDED: [i32; 2] = [102, 103];

/// What zypper and the library below it say of the network, of mirrors that do not do their work, and of another one that
/// is at work. What was changed after it had been signed is among it, as it is for apt: zypper itself says that the
/// mirror may be in the midst of being brought up to date.
const OF_OTHERS: [&str; 23] = [
    "Connection failed",
    "Timeout exceeded",
    "Timeout reached",
    "temporarily unaccessible",
    // 403, which proxies that let nobody through say.
    "Permission to access",
    "HTTP response: 429",
    "HTTP response: 5",
    // The same of the part of the library that fetches ahead.
    "Error code: 429",
    "Error code: 5",
    "Curl error 16",
    "Curl error 18",
    "Curl error 35",
    "Curl error 52",
    "Curl error 55",
    "Curl error 56",
    "Curl error 92",
    "Digest verification failed",
    "wrong checksum",
    "corrupted during transfer",
    "did not result in a valid checksum",
    "Parse error",
    "Signature verification failed for file",
    "System management is locked",
];

/// zypper, with caches and a log of the check's own. Keys that it does not know it rejects when nobody is there to ask.
fn zypper(guest: &Guest, private: &Private) -> Option<Program> {
    let directory = private.path();
    let found = program(guest, "zypper")?.with(["--non-interactive", "--cache-dir"]);
    Some(
        found
            .with([format!("{directory}/zypper")])
            .env("ZYPP_LOGFILE", &format!("{directory}/zypper.log"))
            // Without it an update at boot would end it at once.
            .env("ZYPP_LOCK_TIMEOUT", "120")
            .env("HOME", "/root"),
    )
}

pub(super) async fn look(
    guest: &Guest,
    private: &Private,
    seen: &mut Observation,
    fetch: bool,
    deadline: Instant,
) {
    let Some(zypper) = zypper(guest, private) else { return };
    if fetch {
        let ended = zypper.clone().with(["refresh"]).run(deadline).await;
        // A service that fails takes its repositories with it.
        seen.no_sources = ended.code == Some(NO_REPOSITORIES) && !says(&ended, "Skipping service");
        // A look for which there was no time does not undo what one before it found.
        if ended.code.is_some() || seen.troubles.is_empty() {
            seen.troubles = if seen.no_sources { Vec::new() } else { of_refresh(&ended) };
        }
    }
    if !seen.troubles.is_empty() || seen.no_sources {
        return;
    }
    let zypper = zypper.with(["--no-refresh"]);
    let ended = zypper.clone().with(["verify", "--dry-run", "--no-recommends"]).run(deadline).await;
    if ended.code.is_some() {
        seen.broken = broken(&ended);
    }
    if seen.broken.is_empty() {
        seen.troubles.extend(trouble(&ended));
    }
    let listing = zypper.clone().with(["--xmlout"]);
    let all = listing.clone().with(["list-updates"]).run(deadline).await;
    let urgent = listing.with(["list-patches", "--category", "security"]).run(deadline).await;
    seen.troubles.extend([&all, &urgent].into_iter().filter_map(trouble));
    let patches: Vec<String> = listed(&urgent.out).into_iter().map(|(name, _)| name).collect();
    let mut told = String::new();
    if !patches.is_empty() {
        let information = zypper.with(["info", "--type", "patch", "--"]).with(patches.clone());
        told = information.run(deadline).await.out;
    }
    seen.pending = pending(&listed(&all.out), &patches, &told);
}

/// Installed packages whose dependencies are not met. Where installing something would help, zypper says so and ends
/// well.
fn broken(ended: &Ended) -> Vec<String> {
    let problem = |line: &str| {
        let problem = line.strip_prefix("Problem: ")?;
        // The newer one counts them.
        let counted = problem.split_once(": ").filter(|(number, _)| number.parse::<u16>().is_ok());
        let problem = counted.map_or(problem, |(_, problem)| problem);
        Some(format!("zypper verify: {}", text::one_line(problem)))
    };
    let problems: Vec<String> = ended.out.lines().filter_map(problem).take(MOST).collect();
    if !problems.is_empty() || !ended.out.contains("dependencies of installed packages are broken") {
        return problems;
    }
    let plan = ended.out.lines().skip_while(|line| !line.starts_with("The following "));
    let plan: Vec<&str> = plan.take_while(|line| !line.trim().is_empty()).collect();
    let plan = text::one_line(&plan.join(" "));
    vec![format!("zypper verify: dependencies of installed packages are not met. {plan}")]
}

/// Name and architecture of what is listed as `<update kind="package" name="..." arch="..." ...>`. Within texts and
/// attributes zypper escapes what begins or ends an element.
fn listed(xml: &str) -> Vec<(String, String)> {
    let update = |rest: &str| {
        let (element, _) = rest.split_once('>')?;
        Some((attribute(element, "name")?, attribute(element, "arch")?))
    };
    xml.split("<update ").skip(1).filter_map(update).take(10_000).collect()
}

fn attribute(element: &str, name: &str) -> Option<String> {
    let (_, rest) = element.split_once(&format!(" {name}=\""))?;
    rest.split_once('"').map(|(value, _)| text::one_line(value))
}

/// A patch names the versions that it is against: an update of such a package is one for security. A patch against none of
/// the updates counts for itself; its package may be locked.
fn pending(updates: &[(String, String)], patches: &[String], told: &str) -> Vec<Update> {
    let mut urgent = HashSet::new();
    let mut others = Vec::new();
    for patch in patches {
        let against = against(patch, told);
        let is_meant = |(name, arch): &&(String, String)| {
            against.contains(name.as_str()) || against.contains(format!("{name}.{arch}").as_str())
        };
        let names: Vec<&str> = updates.iter().filter(is_meant).map(|(name, _)| name.as_str()).collect();
        if names.is_empty() {
            others.push(Update { package: patch.clone(), security: true });
        }
        urgent.extend(names);
    }
    let update = |(name, _): &(String, String)| Update {
        package: name.clone(),
        security: urgent.contains(name.as_str()),
    };
    updates.iter().map(update).chain(others).collect()
}

/// The packages, with or without architecture, that a patch says it is in conflict with: `hello < 2.0-1`, or a list of
/// such lines.
fn against<'a>(patch: &str, told: &'a str) -> HashSet<&'a str> {
    let mut sections = told.split("Information for patch ").skip(1);
    let section = sections
        .find(|section| section.strip_prefix(patch).is_some_and(|rest| rest.starts_with(':')))
        .and_then(|section| section.rsplit_once("\nConflicts"));
    let lines = section.map_or("", |(_, conflicts)| conflicts).lines();
    lines.filter_map(|line| line.trim_start_matches([' ', ':']).split_whitespace().next()).collect()
}

/// What went wrong, repository by repository. zypper skips those that fail, and may end well.
fn of_refresh(ended: &Ended) -> Vec<Trouble> {
    let skipped = says(ended, "Skipping repository") || says(ended, "Skipping service");
    if ended.is_good() && !skipped {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut rest = ended.err.as_str();
    while let Some((why, after)) = rest.split_once("Skipping repository '") {
        let (name, after) = after.split_once("' because").unwrap_or((after, ""));
        found.push(of_repository(name, why, asked(name, &ended.out)));
        rest = after;
    }
    if found.is_empty() {
        found.push(any_trouble(ended));
    }
    found.truncate(MOST);
    found
}

/// What zypper wrote, and would have asked, while it fetched the indexes of a repository.
fn asked<'a>(name: &str, out: &'a str) -> &'a str {
    const BEGIN: &str = "Retrieving repository '";
    let mut repositories = out.split(BEGIN).skip(1);
    let beginning = format!("{name}' metadata");
    repositories.find(|repository| repository.starts_with(&beginning)).unwrap_or_default()
}

fn of_repository(name: &str, why: &str, asked: &str) -> Trouble {
    let name = text::one_line(name);
    if let Some(why) = mistrust(asked) {
        return Trouble { own: true, what: format!("zypper does not trust {name}: {why}") };
    }
    let own = !is_of_others(why) && !is_of_others(asked);
    let lines = || why.lines().map(str::trim).filter(|line| !line.is_empty());
    // `[ALIAS|ADDRESS] what`
    let head = lines().find(|line| line.starts_with('['));
    let address = head.and_then(|head| head.split_once('|')?.1.split_once("] "));
    let at = address.map(|(address, _)| format!(" at {}", text::one_line(address)));
    let at = at.filter(|_| address.is_some_and(|(address, _)| !address.is_empty())).unwrap_or_default();
    let message = lines().find_map(|line| line.strip_prefix("Error message: "));
    let vague = ["Error trying to read from", "Unknown error reading from", "ABORT request"];
    let mut history = lines().filter_map(|line| line.strip_prefix("- "));
    let telling = history.find(|line| !vague.iter().any(|vague| line.contains(vague)));
    let said = message.or(telling).or(head).or(lines().next_back()).unwrap_or_default();
    let said = said.strip_prefix('[').and_then(|said| said.split_once("] ")).map_or(said, |(_, said)| said);
    Trouble { own, what: format!("zypper cannot read {name}{at}: {}", text::one_line(said)) }
}

/// A key that the image does not have, or no signature at all. zypper says the same of a mirror that fails to deliver the
/// signature alone.
fn mistrust(asked: &str) -> Option<String> {
    let value = |key: &str| asked.lines().find_map(|line| line.trim().strip_prefix(key)).map(text::one_line);
    if asked.contains("signing key received") {
        let key = value("Key Fingerprint:").or_else(|| value("Key Name:")).unwrap_or_default();
        return Some(format!("it is signed with a key that is not known, {key}"));
    }
    let words = [" is unsigned", " is signed with an unknown key"];
    let line = asked.lines().find(|line| words.iter().any(|word| line.contains(word)))?;
    Some(text::one_line(line.strip_prefix("Warning: ").unwrap_or(line)))
}

fn is_of_others(said: &str) -> bool {
    // Without its list of indexes the repository is wrong; one index or package that is missing is the mirror's.
    let is_missing = |line: &str| line.contains("not found on medium") && !line.contains("repomd.xml");
    OF_OTHERS.iter().any(|word| said.contains(word)) || said.lines().any(is_missing)
}

fn says(ended: &Ended, words: &str) -> bool {
    ended.err.contains(words) || ended.out.contains(words)
}

fn trouble(ended: &Ended) -> Option<Trouble> {
    let is_done = ended.code.is_some_and(|code| code == 0 || RESTART_NEEDED.contains(&code));
    (!is_done).then(|| any_trouble(ended))
}

fn any_trouble(ended: &Ended) -> Trouble {
    let said = format!("{}\n{}", ended.err, ended.out);
    // So it says of a package; of an index it asks.
    let trusts = !said.contains("Signature verification failed [");
    let own = ended.code.is_some() && (!trusts || !is_of_others(&said));
    let what = if trusts { "zypper" } else { "zypper does not trust a package" };
    Trouble { own, what: format!("{what}: {}", complaint(ended)) }
}

fn complaint(ended: &Ended) -> String {
    if ended.code.is_none() {
        return ended.complaint();
    }
    // What follows is the same whatever happened.
    let err = ended.err.split("Problem occurred during or after").next().unwrap_or_default();
    if !err.trim().is_empty() {
        return text::one_line(err);
    }
    // What the solver and package scripts say it does not write to its standard error, and with --xmlout nothing is.
    let in_xml = ended.out.split_once("<message type=\"error\">").and_then(|(_, rest)| rest.split_once('<'));
    let is_telling = |line: &&str| line.starts_with("Problem: ") || line.contains("scriptlet failed");
    let telling = in_xml.map(|(error, _)| error).or_else(|| ended.out.lines().find(is_telling));
    telling.map_or_else(|| ended.complaint(), text::one_line)
}

/// Installs a package and removes it, with all that came with it.
pub(super) async fn install(
    guest: &Guest,
    private: &Private,
    package: &str,
    deadline: Instant,
) -> Vec<Trouble> {
    let Some(zypper) = zypper(guest, private) else { return Vec::new() };
    let zypper = zypper.with(["--no-refresh"]);
    let there = rpm_has(guest, package, deadline).await;
    let verbs: &[&[&str]] = if there {
        &[&["install", "--force", "--no-recommends"]]
    } else {
        &[&["install", "--no-recommends"], &["remove", "--clean-deps"]]
    };
    for verb in verbs {
        let ended = zypper.clone().with(verb.iter().copied()).with([package]).run(deadline).await;
        if let Some(trouble) = trouble(&ended).or_else(|| unavailable(&ended)) {
            let verb = verb.first().copied().unwrap_or_default();
            return vec![Trouble { what: format!("{verb} of {package}: {}", trouble.what), ..trouble }];
        }
    }
    Vec::new()
}

/// A package that is installed and in no repository: zypper does nothing, and ends well.
fn unavailable(ended: &Ended) -> Option<Trouble> {
    let line = ended.out.lines().find(|line| line.contains("Cannot reinstall"))?;
    Some(Trouble { own: true, what: format!("zypper: {}", text::one_line(line)) })
}

#[cfg(test)]
mod tests;
