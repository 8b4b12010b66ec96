//! Units, as `systemctl` and the journal tell of them.

use image_manager_proto::counted;

use tokio::time::Instant;

use crate::checks::program::{Program, program};
use crate::guest::Guest;
use crate::text;

/// Most units that are told of.
const MOST: usize = 16;
/// Starts of a service since the boot from which on it is looked at twice.
const SUSPICIOUS: u64 = 2;
/// Ours is started again until the network is there.
const OWN: &str = "image-manager-agent.service";

/// A unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// `loaded`, `not-found`, `masked`, ...
    pub loaded: String,
    /// `active`, `inactive`, `activating`, ...
    pub active: String,
    /// More about that: `running`, `exited`, `auto-restart`, ...
    pub sub: String,
    /// `enabled`, `disabled`, `static`, ... Empty: it has no file.
    pub file: String,
}

/// A unit that is not well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failed {
    /// Its name.
    pub unit: String,
    /// What it said, or else how it ended.
    pub why: String,
}

/// How often each service was started again, by the first look.
#[derive(Debug, Default)]
pub(super) struct Restarts {
    first: Vec<(String, u64)>,
    looks: u32,
}

impl Restarts {
    /// A service was started again, and it is not known whether that goes on.
    pub(super) fn need_another_look(&self) -> bool {
        self.looks < 3 && self.first.iter().any(|(_, count)| *count >= SUSPICIOUS)
    }
}

fn systemctl(guest: &Guest) -> Result<Program, String> {
    program(guest, "systemctl").ok_or_else(|| "there is no systemctl".to_owned())
}

/// The units of these names.
pub(super) async fn of(guest: &Guest, names: &[&str], deadline: Instant) -> Result<Vec<Unit>, String> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let asked = systemctl(guest)?
        .with(["show", "--property=Id,LoadState,ActiveState,SubState,UnitFileState", "--"])
        .with(names.iter().copied());
    let ended = asked.run(deadline).await;
    if !ended.is_good() {
        return Err(ended.complaint());
    }
    // In the order in which they were asked for: an alias has another name than its unit.
    let units = blocks(&ended.out).zip(names);
    let unit = |(block, name): (&str, &&str)| Unit {
        name: (*name).to_owned(),
        loaded: field(block, "LoadState"),
        active: field(block, "ActiveState"),
        sub: field(block, "SubState"),
        file: field(block, "UnitFileState"),
    };
    Ok(units.map(unit).collect())
}

/// What `systemctl show` prints: blocks of `KEY=VALUE`, with an empty line between two.
pub(in crate::checks) fn blocks(output: &str) -> impl Iterator<Item = &str> {
    output.split("\n\n").filter(|block| !block.trim().is_empty())
}

/// The value of a key in such a block; empty when it has none.
pub(in crate::checks) fn field(block: &str, key: &str) -> String {
    let value = block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value.map(text::one_line).unwrap_or_default()
}

/// The first words of the lines of a list of units.
fn first_words(output: &str) -> impl Iterator<Item = &str> {
    output.lines().filter_map(|line| line.split_whitespace().find(|word| word.contains('.')))
}

/// Units that failed and must not, with the reasons.
pub(super) async fn failed(
    guest: &Guest,
    allowed: &[String],
    deadline: Instant,
) -> Result<Vec<Failed>, String> {
    let list = systemctl(guest)?.with([
        "list-units",
        "--state=failed",
        "--all",
        "--no-legend",
        "--plain",
        "--no-pager",
    ]);
    let ended = list.run(deadline).await;
    if !ended.is_good() {
        return Err(ended.complaint());
    }
    let mut all = Vec::new();
    let units =
        first_words(&ended.out).filter(|unit| *unit != OWN && !allowed.iter().any(|allowed| allowed == unit));
    for unit in units.take(MOST) {
        all.push(Failed { unit: text::one_line(unit), why: reason(guest, unit, deadline).await });
    }
    Ok(all)
}

/// Units that the start waits for.
pub(super) async fn pending(guest: &Guest, deadline: Instant) -> Result<Vec<String>, String> {
    let ended =
        systemctl(guest)?.with(["list-jobs", "--no-legend", "--plain", "--no-pager"]).run(deadline).await;
    let running = ended.out.lines().filter(|line| line.split_whitespace().last() == Some("running"));
    let running: Vec<&str> = running.collect();
    Ok(first_words(&running.join("\n")).map(text::one_line).take(MOST).collect())
}

/// Services that do not stay up.
pub(super) async fn restarting(
    guest: &Guest,
    allowed: &[String],
    restarts: &mut Option<Restarts>,
    deadline: Instant,
) -> Result<Vec<Failed>, String> {
    let asked = systemctl(guest)?
        .with(["show", "--property=Id,NRestarts,SubState", "--", "*.service"])
        .run(deadline)
        .await;
    if !asked.is_good() {
        return Err(asked.complaint());
    }
    let is_first = restarts.is_none();
    let known = restarts.get_or_insert_default();
    known.looks += 1;
    let mut found = Vec::new();
    for block in blocks(&asked.out) {
        let unit = field(block, "Id");
        let count = field(block, "NRestarts").parse().unwrap_or(0);
        if unit == OWN || allowed.contains(&unit) || count == 0 {
            continue;
        }
        if is_first {
            known.first.push((unit.clone(), count));
        }
        // A login prompt ends and comes again with each login, and where nobody is at the line's other end.
        let first = known.first.iter().find(|(name, _)| *name == unit).map(|(_, first)| *first);
        let grown = first.is_some_and(|first| count > first) && !unit.contains("getty@");
        let waits = field(block, "SubState") == "auto-restart" && count >= SUSPICIOUS;
        if (grown || waits) && found.len() < MOST {
            let why = format!(
                "{} since the boot, {}",
                counted(count, "time"),
                reason(guest, &unit, deadline).await
            );
            found.push(Failed { unit, why });
        }
    }
    Ok(found)
}

/// Why a unit is not well: the first line of what it said that sounds like an error, else how it ended.
async fn reason(guest: &Guest, unit: &str, deadline: Instant) -> String {
    if let Some(journalctl) = program(guest, "journalctl") {
        let field = format!("_SYSTEMD_UNIT={unit}");
        let said = journalctl.with(["--boot", "--output=cat", "--lines=50", "--no-pager", "--quiet", &field]);
        let ended = said.run(deadline).await;
        if let Some(line) = telling_line(&ended.out) {
            return text::one_line(line);
        }
    }
    let Ok(systemctl) = systemctl(guest) else { return "it gives no reason".to_owned() };
    let ended = systemctl.with(["show", "--property=Result,ExecMainStatus", "--", unit]).run(deadline).await;
    match (field(&ended.out, "Result").as_str(), field(&ended.out, "ExecMainStatus").as_str()) {
        ("exit-code", status) => format!("it ended with exit code {status} and logged nothing"),
        (result, _) => text::or(result, "it gives no reason").to_owned(),
    }
}

fn telling_line(said: &str) -> Option<&str> {
    const SIGNS: [&str; 9] =
        ["error", "fail", "cannot", "can't", "not found", "no such", "denied", "unable", "invalid"];
    let sounds_bad = |line: &&str| {
        let line = line.to_ascii_lowercase();
        SIGNS.iter().any(|sign| line.contains(sign))
    };
    let mut lines = said.lines().filter(|line| !line.trim().is_empty());
    lines.clone().find(sounds_bad).or_else(|| lines.next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        let list = "  systemd-modules-load.service loaded failed failed Load Kernel Modules\n\
                    ● site.service               loaded failed failed site.service\n";
        assert_eq!(first_words(list).collect::<Vec<_>>(), ["systemd-modules-load.service", "site.service"]);
        let shown = "Id=ssh.service\nActiveState=active\n\nId=b.service\nActiveState=inactive\n";
        let states: Vec<String> = blocks(shown).map(|block| field(block, "ActiveState")).collect();
        assert_eq!(states, ["active", "inactive"]);
        assert_eq!(field(shown, "Active"), "", "not a key of its own");
    }

    #[test]
    fn the_line_with_the_error_is_told() {
        assert_eq!(
            telling_line("starting\nFailed to find module 'x'\ndone\n"),
            Some("Failed to find module 'x'")
        );
        assert_eq!(telling_line("one\n\nlast\n\n"), Some("last"));
        assert_eq!(telling_line("\n"), None);
    }
}
