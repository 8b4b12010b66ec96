//! apt and dpkg.

use tokio::time::Instant;

use super::{MOST, Observation, Private, Trouble, Update};
use crate::checks::program::{Ended, Program, program};
use crate::guest::Guest;
use crate::text;

pub(super) mod refused;

/// What apt says when it does not believe a mirror.
const MISTRUST: [&str; 9] = [
    "NO_PUBKEY",
    "Missing key",
    "EXPKEYSIG",
    "REVKEYSIG",
    "not signed",
    "couldn't be verified",
    "could not be verified",
    "is not available",
    "required for verification",
];
/// What it says of the network and of mirrors that do not do their work.
const OF_OTHERS: [&str; 26] = [
    "Could not resolve",
    "Temporary failure",
    "Could not connect",
    "Cannot initiate the connection",
    "Unable to connect",
    "Connection failed",
    "Connection refused",
    "Connection timed out",
    "Connection closed",
    "timed out",
    "Network is unreachable",
    "No route to host",
    "reset by peer",
    "Could not handshake",
    "Error reading from server",
    "Data left in",
    "Bad header",
    "Undetermined Error",
    "Hash Sum mismatch",
    "unexpected size",
    "NODATA",
    "BADSIG",
    "is not valid yet",
    "is expired",
    "Could not get lock",
    "Unable to acquire",
];

/// apt-get, with indexes and caches of the check's own.
fn apt_get(guest: &Guest, private: &Private) -> Option<Program> {
    let directory = private.path();
    let options = [
        format!("Dir::State::Lists={directory}/lists"),
        format!("Dir::Cache={directory}/cache"),
        "Acquire::GzipIndexes=true".to_owned(),
        "Acquire::Languages=none".to_owned(),
        // A third of the work of xz, which on an emulated processor is a minute.
        "Acquire::CompressionTypes::Order::=gz".to_owned(),
        "Acquire::http::Timeout=30".to_owned(),
        "Acquire::https::Timeout=30".to_owned(),
        "DPkg::Lock::Timeout=120".to_owned(),
    ];
    let options = options.into_iter().flat_map(|option| ["--option".to_owned(), option]);
    let found = program(guest, "apt-get")?;
    Some(
        found
            .with(["--quiet", "--assume-yes"])
            .with(options)
            .env("DEBIAN_FRONTEND", "noninteractive")
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
    seen.broken = broken_packages(guest, deadline).await;
    let Some(apt_get) = apt_get(guest, private) else { return };
    if fetch {
        // apt makes the directories below these by itself.
        for directory in ["lists", "cache"] {
            let _ = std::fs::create_dir_all(private.0.join(directory));
        }
        let ended = apt_get.clone().with(["update"]).run(deadline).await;
        let asked = ["Hit:", "Get:", "Ign:", "Err:"];
        seen.no_sources =
            ended.is_good() && !ended.out.lines().any(|line| asked.iter().any(|word| line.starts_with(word)));
        seen.troubles = troubles(&ended);
        seen.refused = refused::of(&ended);
    }
    if !seen.troubles.is_empty() || seen.no_sources {
        return;
    }
    let ended = apt_get.with(["--simulate", "dist-upgrade"]).run(deadline).await;
    seen.pending = updates(&ended.out);
    if !ended.is_good() {
        match unmet(&ended) {
            Some(unmet) => seen.broken.push(unmet),
            None => seen
                .troubles
                .push(Trouble { own: ended.code.is_some(), what: format!("apt-get: {}", ended.complaint()) }),
        }
    }
}

/// Packages that dpkg did not bring to an end.
async fn broken_packages(guest: &Guest, deadline: Instant) -> Vec<String> {
    let Some(query) = program(guest, "dpkg-query") else { return Vec::new() };
    let format = "--showformat=${db:Status-Eflag} ${db:Status-Status} ${Package}\\n";
    let ended = query.with(["--show", format]).run(deadline).await;
    if !ended.is_good() {
        // Time that was up is no fault of the database.
        let complaint = ended.code.map(|_| format!("dpkg's database cannot be read: {}", ended.complaint()));
        return complaint.into_iter().collect();
    }
    let mut broken: Vec<String> = ended.out.lines().filter_map(broken).take(MOST).collect();
    if broken.is_empty()
        && let Some(dpkg) = program(guest, "dpkg")
    {
        let audit = dpkg.with(["--audit"]).run(deadline).await;
        let said = text::one_line(&audit.out);
        if audit.code.is_some() && !said.is_empty() {
            broken.push(format!("dpkg --audit: {said}"));
        }
    }
    broken
}

fn broken(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let (flag, status, package) = (words.next()?, words.next()?, words.next()?);
    let package = text::one_line(package);
    match status {
        _ if flag != "ok" => Some(format!("the package {package} must be reinstalled ({flag})")),
        "installed" | "config-files" | "not-installed" => None,
        _ => Some(format!("the package {package} is {status}")),
    }
}

/// Dependencies that are not met, by the first of them.
fn unmet(ended: &Ended) -> Option<String> {
    let (_, rest) = ended.out.split_once("have unmet dependencies")?;
    let line = rest.lines().skip(1).find(|line| line.starts_with(' ') && line.contains(" : "))?;
    Some(format!("a dependency is not met: {}", text::one_line(line)))
}

/// The updates of a simulation: `Inst NAME [OLD] (NEW Origin:RELEASE/SUITE [ARCH])`.
fn updates(simulated: &str) -> Vec<Update> {
    let update = |line: &str| {
        let rest = line.strip_prefix("Inst ")?;
        let package = text::one_line(rest.split_whitespace().next()?);
        let from = rest.split_once('(').map_or("", |(_, from)| from);
        Some(Update { package, security: from.to_ascii_lowercase().contains("security") })
    };
    simulated.lines().filter_map(update).take(10_000).collect()
}

/// What went wrong, by what apt-get says.
fn troubles(ended: &Ended) -> Vec<Trouble> {
    let mut found = Vec::new();
    let mut lines = ended.out.lines().peekable();
    while let Some(line) = lines.next() {
        // The reason stands in the lines after it, which are set in.
        let Some(item) = line.strip_prefix("Err:").and_then(|rest| rest.split_once(' ')) else { continue };
        let mut why = String::new();
        while let Some(more) = lines.next_if(|line| line.starts_with(' ')) {
            why.push_str(more);
        }
        found.push(of_source(item.1.trim(), &text::one_line(&why)));
    }
    for line in ended.err.lines() {
        let Some(said) = line.strip_prefix("E: ").or_else(|| line.strip_prefix("W: ")) else { continue };
        let mistrusted = MISTRUST.iter().any(|word| said.contains(word)) && said.contains("://");
        let is_error = line.starts_with("E: ") || mistrusted;
        // The same as before, in other words.
        let repeated = [
            "Failed to fetch",
            "Some index files failed",
            "does not have a Release file",
            "no longer has a Release file",
        ]
        .iter()
        .any(|word| said.contains(word))
            && !found.is_empty();
        if is_error && !repeated && !(mistrusted && found.iter().any(|known: &Trouble| known.own)) {
            found.push(Trouble {
                own: !is_of_others(said),
                what: format!("apt-get: {}", text::one_line(said)),
            });
        }
    }
    if found.is_empty() && !ended.is_good() {
        found.push(Trouble { own: ended.code.is_some(), what: format!("apt-get: {}", ended.complaint()) });
    }
    found.truncate(MOST);
    found
}

/// A source like `http://mirror.example/debian bookworm InRelease` that failed.
fn of_source(item: &str, why: &str) -> Trouble {
    let release = item.strip_suffix(" InRelease").or_else(|| item.strip_suffix(" Release"));
    let source = text::one_line(release.unwrap_or(item));
    if MISTRUST.iter().any(|word| why.contains(word)) {
        // Of many keys the first says enough.
        let from = why.find("NO_PUBKEY").or_else(|| why.find("Missing key")).unwrap_or(0);
        let key = why.get(from..).unwrap_or(why).split_whitespace().take(if from > 0 { 3 } else { 30 });
        let key: Vec<&str> = key.collect();
        let key = key.join(" ");
        let key = key.strip_suffix(" NO_PUBKEY").unwrap_or(&key).trim_end_matches(',');
        return Trouble { own: true, what: format!("apt does not trust {source}: {key}") };
    }
    let code = why.split_whitespace().next().and_then(|word| word.parse::<u16>().ok());
    let own = match code {
        // Without its list of indexes the source may be wrong, which is yet to be found out; one index that is missing is
        // the mirror's.
        Some(code) => release.is_some() && refused::is_own(code),
        None => !is_of_others(why),
    };
    Trouble { own, what: format!("apt cannot read {source}: {why}") }
}

fn is_of_others(said: &str) -> bool {
    OF_OTHERS.iter().any(|word| said.contains(word))
}

/// Installs a package and purges it, with all that came with it.
pub(super) async fn install(
    guest: &Guest,
    private: &Private,
    package: &str,
    deadline: Instant,
) -> Vec<Trouble> {
    let Some(apt_get) = apt_get(guest, private) else { return Vec::new() };
    let simulated = apt_get.clone().with(["--simulate", "install", package]).run(deadline).await;
    let news: Vec<String> = updates(&simulated.out).into_iter().map(|update| update.package).collect();
    if simulated.is_good() && news.is_empty() {
        let ended = apt_get.with(["install", "--reinstall", package]).run(deadline).await;
        return if ended.is_good() { Vec::new() } else { named(troubles(&ended), "installed", package) };
    }
    let ended = apt_get.clone().with(["install", package]).run(deadline).await;
    if !ended.is_good() {
        return named(troubles(&ended), "installed", package);
    }
    let ended = apt_get.with(["purge"]).with(news).run(deadline).await;
    if ended.is_good() { Vec::new() } else { named(troubles(&ended), "removed", package) }
}

fn named(mut troubles: Vec<Trouble>, done: &str, package: &str) -> Vec<Trouble> {
    for trouble in &mut troubles {
        trouble.what = format!("{package} cannot be {done}: {}", trouble.what);
    }
    troubles
}

#[cfg(test)]
mod tests;
