//! Check `time`: the clock is right, and something keeps it right.
//!
//! The manager's time is in the request, and the message's way counts as the guest's being ahead. So a clock that is
//! behind is behind for certain. One that is ahead is so for certain by what is left without the longest way: the time
//! since the agent said what the request came after.
//!
//! A clock that is off, and yet synchronised with a time server by the kernel's word, is off because that server is
//! wrong, or because the manager's clock is: the agent cannot tell, and leaves it to the manager.

use std::time::Duration;

use image_manager_proto::v1::CheckOutcome;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::descriptor::{BadSettings, Check, Clock, Examination, Key, Observer, Seconds, Set, ValueType};
use super::program::program;
use super::services::units;
use super::{Judgement, LONG_TIMEOUT, boot, pause};
use crate::guest::Guest;
use crate::text;

mod sources;

/// So far from the manager's the clock may be when the schedule does not say.
const USUAL_OFFSET: Duration = Duration::from_secs(5);
/// In the observations: the clock is off, though it is synchronised.
pub const DISPUTED: &str = "disputed";
/// So long the first synchronisation may take after the boot.
const PATIENCE: Duration = Duration::from_secs(20);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The words of the key `synchronisation`.
const WORDS: [&str; 3] = ["configured", "reached", "none"];

/// The services that keep a clock right, by the names that distributions give them.
const SERVICES: [&str; 7] = [
    "systemd-timesyncd.service",
    "chronyd.service",
    "chrony.service",
    "ntpd.service",
    "ntp.service",
    "ntpsec.service",
    "openntpd.service",
];

/// The check.
pub static CHECK: Check = Check {
    kind: "time",
    proves: "the clock is right, and a service keeps it right",
    details: "The clock is compared with the manager's; it counts as ahead only as far as the time that the request \
              took to arrive cannot explain it. If it is off although the kernel says that it is synchronised, either \
              the server's time server or the manager's clock is wrong: the check fails if the manager's host is \
              synchronised too (by `timedatectl`), and is inconclusive otherwise. One of systemd-timesyncd, chrony, \
              ntpd, ntpsec and openntpd must run, without restarting again and again, and must have a time server to \
              ask, from its configuration or from DHCP. It must have reached one only if `synchronisation` says so, \
              because a network may have none.",
    set: Set::Cloud,
    observer: Observer::Agent,
    timeout: LONG_TIMEOUT,
    cost: "waits for the boot to finish",
    repeatable: false,
    keys: &[
        Key {
            name: "max_offset",
            value: ValueType::Duration {
                shortest: Duration::from_secs(1),
                longest: Duration::from_hours(24),
            },
            default: "\"5s\"",
            help: "how far the clock may be from the manager's",
        },
        Key {
            name: "synchronisation",
            value: ValueType::Choice(&WORDS),
            default: "\"configured\"",
            help: "what must keep the clock right: a service that runs and has a time server to ask, a service that has \
                   reached one, or nothing, if the hypervisor's clock is to be used",
        },
    ],
    examine: Some(|asked| Box::pin(examine(asked))),
};

/// Its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How far the clock may be off. None: five seconds.
    pub max_offset: Option<Seconds>,
    /// What must keep the clock right. Empty: "configured".
    pub synchronisation: String,
}

async fn examine(asked: Examination) -> Result<Judgement, BadSettings> {
    let settings = asked.settings()?;
    Ok(judge(&settings, &observe(&settings, &asked).await))
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// How much the clock is ahead of the manager's at most, in seconds. None: the manager has not said its time.
    pub ahead: Option<f64>,
    /// By how much less it may be ahead.
    pub uncertain: f64,
    /// The service that keeps it right. Empty: none runs.
    pub service: String,
    /// Time servers that it has to ask. None: that is not known.
    pub servers: Option<Vec<String>>,
    /// Services that are installed and do not run, each with the reason.
    pub idle: Vec<String>,
    /// The boot had not ended when this was seen.
    pub unsettled: bool,
    /// The kernel knows its clock to be synchronised.
    pub synchronised: bool,
    /// The guest could be asked which services run.
    pub known: bool,
    /// The kernel's source of time: `kvm-clock`, `tsc`, ...
    pub source: String,
    /// How long it was waited for.
    pub waited: Duration,
}

/// Looks until all is well or the time is up.
pub async fn observe(settings: &Settings, asked: &Examination) -> Observation {
    let started = Instant::now();
    let unsettled = !boot::settled(&asked.guest, asked.deadline).await;
    let latest = boot::before(asked.deadline).min(Instant::now() + PATIENCE);
    let mut wait = FIRST_PAUSE;
    loop {
        let mut seen = look(&asked.guest, asked.deadline).await;
        seen.waited = started.elapsed();
        seen.unsettled = unsettled;
        if let Some(clock) = &asked.clock_ahead {
            seen.ahead = Some(clock.ahead + set_since(clock));
            seen.uncertain = clock.longest_way.as_secs_f64();
        }
        let good = judge(settings, &seen).outcome == CheckOutcome::Pass;
        if good || !pause(&mut wait, LONGEST_PAUSE, latest).await {
            return seen;
        }
    }
}

/// By how many seconds somebody has set the clock since the request came.
fn set_since(clock: &Clock) -> f64 {
    let (wall, steady) = clock.at;
    let by_steady = steady.elapsed().as_secs_f64();
    match std::time::SystemTime::now().duration_since(wall) {
        Ok(by_wall) => by_wall.as_secs_f64() - by_steady,
        Err(back) => -back.duration().as_secs_f64() - by_steady,
    }
}

async fn look(guest: &Guest, deadline: Instant) -> Observation {
    let mut seen = Observation::default();
    let source = guest.read("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    seen.source = text::one_line(&source.unwrap_or_default());
    let Some(systemctl) = program(guest, "systemctl") else { return seen };
    let shown = systemctl
        .with(["show", "--property=LoadState,ActiveState,SubState,UnitFileState", "--"])
        .with(SERVICES);
    let ended = shown.run(deadline).await;
    seen.known = ended.is_good();
    for (block, name) in units::blocks(&ended.out).zip(SERVICES) {
        let field = |key: &str| units::field(block, key);
        // `auto-restart`, and what newer versions call it while it is queued: it died, and is to be started again.
        let dies = field("SubState").starts_with("auto-restart");
        match (field("LoadState").as_str(), field("ActiveState").as_str()) {
            (_, "active" | "reloading" | "activating") if !dies && seen.service.is_empty() => {
                name.clone_into(&mut seen.service);
            }
            (_, "activating") if dies => seen.idle.push(format!("{name} keeps restarting")),
            ("masked", _) => seen.idle.push(format!("{name} is masked")),
            ("loaded", "failed") => seen.idle.push(format!("{name} has failed")),
            ("loaded", "inactive") => {
                let file = field("UnitFileState");
                seen.idle.push(format!("{name} is {}", text::or(&file, "inactive")));
            }
            _ => {}
        }
    }
    seen.servers = sources::of(guest, &seen.service, deadline).await;
    seen.synchronised = is_synchronised(guest, deadline).await;
    seen
}

/// Whether the kernel knows the clock to be synchronised, by `timedatectl`.
pub async fn is_synchronised(guest: &Guest, deadline: Instant) -> bool {
    let Some(timedatectl) = program(guest, "timedatectl") else { return false };
    // An older one has no such verb, and prints the same in words.
    let ended = timedatectl.clone().with(["show", "--property=NTPSynchronized"]).run(deadline).await;
    let said = if ended.is_good() { ended.out } else { timedatectl.run(deadline).await.out };
    let said = said.to_ascii_lowercase().replace(' ', "");
    said.contains("synchronized=yes") || said.contains("synchronized:yes")
}

/// What an observation means.
pub fn judge(settings: &Settings, seen: &Observation) -> Judgement {
    let (outcome, summary) = verdict(settings, seen);
    let observed = json!({
        "clock_ahead_seconds": seen.ahead,
        "clock_uncertain_seconds": seen.uncertain,
        DISPUTED: seen.synchronised && off(settings, seen).is_some(),
        "service": seen.service,
        "servers": seen.servers,
        "idle": seen.idle,
        "synchronised": seen.synchronised,
        "clock_source": seen.source,
        "waited_seconds": seen.waited.as_secs_f64(),
    });
    Judgement::new(outcome, summary, &observed)
}

/// What is wrong with the clock for certain, in words.
fn off(settings: &Settings, seen: &Observation) -> Option<String> {
    let bound = bound(settings);
    let ahead = seen.ahead?;
    if ahead < -bound {
        return Some(format!("the clock is {} behind", span(-ahead)));
    }
    let at_least = ahead - seen.uncertain;
    (at_least > bound).then(|| format!("the clock is at least {} ahead", span(at_least)))
}

fn bound(settings: &Settings) -> f64 {
    settings.max_offset.map_or(USUAL_OFFSET, |offset| offset.0).as_secs_f64()
}

fn verdict(settings: &Settings, seen: &Observation) -> (CheckOutcome, String) {
    use CheckOutcome::{Fail, Inconclusive, Pass};
    let Some(ahead) = seen.ahead else {
        return (Inconclusive, "the manager has not said what time it is".to_owned());
    };
    match off(settings, seen) {
        Some(off) if seen.synchronised => {
            let by = text::or(&seen.service, "the kernel");
            let why = format!(
                "{off}, though {by} says that it is synchronised: its time server or the manager's clock"
            );
            return (Inconclusive, format!("{why} is wrong"));
        }
        Some(off) => return (Fail, off),
        None => {}
    }
    if settings.synchronisation != "none"
        && let Err(unsound) = kept(settings, seen)
    {
        return unsound;
    }
    // Here a message that was long on its way looks the same as a clock that is ahead.
    if ahead > bound(settings) && !seen.synchronised {
        return (
            Inconclusive,
            format!("the clock is {} ahead, or the request took that long to arrive", span(ahead)),
        );
    }
    let keeper = match (seen.service.as_str(), seen.synchronised) {
        ("", _) => text::or(&seen.source, "nothing").to_owned(),
        (service, true) => format!("{service}, synchronised"),
        (service, false) => format!("{service}, which has reached no time server yet"),
    };
    (Pass, format!("the clock is within {} of the manager's, kept by {keeper}", span(ahead.abs())))
}

/// Whether a service keeps the clock right.
fn kept(settings: &Settings, seen: &Observation) -> Result<(), (CheckOutcome, String)> {
    use CheckOutcome::{Fail, Inconclusive};
    if !seen.known {
        let why = "there is no systemd to ask which service keeps the clock right";
        return Err((Inconclusive, why.to_owned()));
    }
    if seen.service.is_empty() {
        let idle = match seen.idle.as_slice() {
            [] => "neither timesyncd nor chrony nor ntpd is installed".to_owned(),
            idle => text::list(idle),
        };
        let why = format!("no time synchronisation (NTP) keeps the clock right: {idle}");
        // What has yet to start is no fault.
        return Err(boot::unless_unsettled(seen.unsettled, (Fail, why)));
    }
    // One that the kernel believes has something to ask, whatever can be seen of it.
    if !seen.synchronised && seen.servers.as_ref().is_some_and(Vec::is_empty) {
        let why = format!(
            "no time synchronisation (NTP) keeps the clock right: {} runs, but has no time server to ask, neither from \
             its configuration nor from DHCP",
            seen.service
        );
        return Err((Fail, why));
    }
    if settings.synchronisation == "reached" && !seen.synchronised {
        let after = text::seconds(seen.waited);
        return Err((Inconclusive, format!("{} has reached no time server after {after}", seen.service)));
    }
    Ok(())
}

/// A time as people say it.
fn span(seconds: f64) -> String {
    for (unit, name) in [(86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")] {
        if seconds >= 2.0 * unit {
            return format!("{:.0} {name}", seconds / unit);
        }
    }
    format!("{seconds:.1} s")
}

#[cfg(test)]
mod tests;
