//! Check `time`: the clock is right, and something keeps it right.
//!
//! The manager's time is in the request, and the message's way counts as the guest's being ahead. So a clock that is
//! behind is behind for certain, and one that is a little ahead need not be: it is blamed only when it is more ahead than
//! any message takes, or when nothing that the guest synchronises with says otherwise.

use std::time::{Duration, SystemTime};

use image_manager_proto::v1::CheckOutcome;
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::descriptor::{BadSettings, Check, Examination, Key, Observer, Seconds, Set, ValueType};
use super::program::program;
use super::services::units;
use super::{Judgement, LONG_TIMEOUT, boot, pause};
use crate::guest::Guest;
use crate::text;

/// So far from the manager's the clock may be when the schedule does not say.
const USUAL_OFFSET: Duration = Duration::from_secs(5);
/// No message is longer on its way: the manager gives its agent up before.
const LONGEST_WAY: f64 = 120.0;
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
    details: "The clock is compared with the manager's; the time that the request took to arrive makes the clock look \
              ahead. One of systemd-timesyncd, chrony, ntpd, ntpsec and openntpd must run. It must have reached a time \
              server only if `synchronisation` says so, because a network may have none.",
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
            help: "what must keep the clock right: a service that runs, a service that has reached a time server, or \
                   nothing, if the hypervisor's clock is to be used",
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
    /// The service that keeps it right. Empty: none runs.
    pub service: String,
    /// Services that are installed and do not run, each with the reason.
    pub idle: Vec<String>,
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
    let began = (SystemTime::now(), Instant::now());
    boot::settled(&asked.guest, asked.deadline).await;
    let latest = boot::before(asked.deadline).min(Instant::now() + PATIENCE);
    let mut wait = FIRST_PAUSE;
    loop {
        let mut seen = look(&asked.guest, asked.deadline).await;
        seen.waited = began.1.elapsed();
        seen.ahead = asked.clock_ahead.map(|ahead| ahead + set_since(began));
        let good = judge(settings, &seen).outcome == CheckOutcome::Pass;
        if good || !pause(&mut wait, LONGEST_PAUSE, latest).await {
            return seen;
        }
    }
}

/// By how many seconds somebody has set the clock since then.
fn set_since((wall, steady): (SystemTime, Instant)) -> f64 {
    let by_steady = steady.elapsed().as_secs_f64();
    match SystemTime::now().duration_since(wall) {
        Ok(by_wall) => by_wall.as_secs_f64() - by_steady,
        Err(back) => -back.duration().as_secs_f64() - by_steady,
    }
}

async fn look(guest: &Guest, deadline: Instant) -> Observation {
    let mut seen = Observation::default();
    let source = guest.read("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    seen.source = text::one_line(&source.unwrap_or_default());
    let Some(systemctl) = program(guest, "systemctl") else { return seen };
    let shown =
        systemctl.with(["show", "--property=LoadState,ActiveState,UnitFileState", "--"]).with(SERVICES);
    let ended = shown.run(deadline).await;
    seen.known = ended.is_good();
    for (block, name) in units::blocks(&ended.out).zip(SERVICES) {
        let field = |key: &str| units::field(block, key);
        match (field("LoadState").as_str(), field("ActiveState").as_str()) {
            (_, "active" | "reloading" | "activating") if seen.service.is_empty() => {
                name.clone_into(&mut seen.service);
            }
            ("masked", _) => seen.idle.push(format!("{name} is masked")),
            ("loaded", "failed") => seen.idle.push(format!("{name} has failed")),
            ("loaded", "inactive") => {
                let file = field("UnitFileState");
                seen.idle.push(format!("{name} is {}", text::or(&file, "inactive")));
            }
            _ => {}
        }
    }
    if let Some(timedatectl) = program(guest, "timedatectl") {
        // An older one has no such verb, and prints the same in words.
        let ended = timedatectl.clone().with(["show", "--property=NTPSynchronized"]).run(deadline).await;
        let said = if ended.is_good() { ended.out } else { timedatectl.run(deadline).await.out };
        let said = said.to_ascii_lowercase().replace(' ', "");
        seen.synchronised = said.contains("synchronized=yes") || said.contains("synchronized:yes");
    }
    seen
}

/// What an observation means.
pub fn judge(settings: &Settings, seen: &Observation) -> Judgement {
    let (outcome, summary) = verdict(settings, seen);
    let observed = json!({
        "clock_ahead_seconds": seen.ahead,
        "service": seen.service,
        "idle": seen.idle,
        "synchronised": seen.synchronised,
        "clock_source": seen.source,
        "waited_seconds": seen.waited.as_secs_f64(),
    });
    Judgement::new(outcome, summary, &observed)
}

fn verdict(settings: &Settings, seen: &Observation) -> (CheckOutcome, String) {
    use CheckOutcome::{Fail, Inconclusive, Pass};
    let bound = settings.max_offset.map_or(USUAL_OFFSET, |offset| offset.0).as_secs_f64();
    let Some(ahead) = seen.ahead else {
        return (Inconclusive, "the manager has not said what time it is".to_owned());
    };
    if ahead < -bound {
        return (Fail, format!("the clock is {} behind", span(-ahead)));
    }
    if ahead > bound + LONGEST_WAY {
        return (Fail, format!("the clock is {} ahead", span(ahead)));
    }
    if settings.synchronisation != "none" {
        if !seen.known {
            return (
                Inconclusive,
                "there is no systemd to ask which service keeps the clock right".to_owned(),
            );
        }
        if seen.service.is_empty() {
            let idle = match seen.idle.as_slice() {
                [] => "neither timesyncd nor chrony nor ntpd is installed".to_owned(),
                idle => text::list(idle),
            };
            return (Fail, format!("no time synchronisation (NTP) keeps the clock right: {idle}"));
        }
        if settings.synchronisation == "reached" && !seen.synchronised {
            let after = text::seconds(seen.waited);
            return (Inconclusive, format!("{} has reached no time server after {after}", seen.service));
        }
    }
    // Here a message that was long on its way looks the same as a clock that is ahead.
    if ahead > bound && !seen.synchronised {
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
