//! Check `services`: the system has started in full, nothing of it failed, and nothing unexpected listens.
//!
//! systemd is asked by `systemctl`, once its start has come to an end: only then is it known what failed. A service that
//! is started again and again never counts as failed, so one that was restarted is looked at twice.

use std::time::Duration;

use image_manager_proto::counted;
use image_manager_proto::v1::CheckOutcome;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::descriptor::{BadSettings, Check, Examination, Key, Observer, Rule, Set, ValueType, is_plain};
use super::{Judgement, LONG_TIMEOUT, boot, pause, program};
use crate::guest::Guest;
use crate::text;

mod sockets;
pub(super) mod units;
pub use sockets::Listener;
pub use units::{Failed, Unit};

/// So long a bad look is repeated after the start has ended: a unit that others ask for late, a service that was restarted.
const PATIENCE: Duration = Duration::from_secs(15);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// What may listen when the schedule does not say: sshd, the resolver's multicast, and time synchronisation.
const USUAL: [&str; 6] = ["22/tcp", "5353/udp", "5355/tcp", "5355/udp", "123/udp", "323/udp"];
/// What always may: the clients of DHCP.
const ALWAYS: [&str; 2] = ["68/udp", "546/udp"];
/// Where the hypervisor talks to its guest agent.
const CHANNEL: &str = "/dev/virtio-ports/org.qemu.guest_agent.0";
const GUEST_AGENT: &str = "qemu-guest-agent.service";
const GUEST_AGENT_PROGRAM: &str = "qemu-ga";

/// The check.
pub static CHECK: Check = Check {
    kind: "services",
    proves: "the system has started completely, no unit has failed or keeps restarting, and nothing unexpected \
             listens",
    details: "systemd must reach the state `running` within the timeout. If the hypervisor has a channel for it, the \
              QEMU guest agent must run where it is installed; an image without it passes, and the result says so. \
              To require it, name `qemu-guest-agent.service` in `active`. A socket counts if anything but the server \
              itself can reach it; UDP ports that are assigned at random do not count.",
    set: Set::Cloud,
    observer: Observer::Agent,
    timeout: LONG_TIMEOUT,
    cost: "waits for the boot to finish",
    repeatable: false,
    keys: &[
        Key {
            name: "allowed_failed",
            value: ValueType::Texts(&UNIT),
            default: "none",
            help: "units that may fail, as in [\"quotaon.service\"]",
        },
        Key {
            name: "active",
            value: ValueType::Texts(&UNIT),
            default: "none",
            help: "units that must be active",
        },
        Key {
            name: "enabled",
            value: ValueType::Texts(&UNIT),
            default: "none",
            help: "units that must be enabled: they start at the next boot too",
        },
        Key {
            name: "sockets",
            value: ValueType::Texts(&SOCKET),
            default: "`[\"22/tcp\"]`, multicast DNS and LLMNR (5353, 5355), NTP (123/udp, 323/udp)",
            help: "ports on which something may listen for others, as in [\"22/tcp\", \"443/tcp\"]; DHCP clients \
                   always may",
        },
    ],
    examine: Some(|asked| Box::pin(examine(asked))),
};

static UNIT: Rule = Rule {
    what: "a unit's name",
    help: "a name with its type, as in \"ssh.service\"",
    holds: |text| is_plain(text, 255, ".-_@:\\", "-.") && text.contains('.'),
};

static SOCKET: Rule = Rule {
    what: "a port with its protocol",
    help: "write it as in \"22/tcp\" or \"123/udp\"",
    holds: |text| {
        text.split_once('/').is_some_and(|(port, protocol)| {
            is_plain(port, 5, "", "0") && port.parse::<u16>().is_ok() && matches!(protocol, "tcp" | "udp")
        })
    },
};

/// Its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Units that may fail.
    pub allowed_failed: Vec<String>,
    /// Units that must be active.
    pub active: Vec<String>,
    /// Units that must be enabled.
    pub enabled: Vec<String>,
    /// Where something may listen, as "22/tcp". None: the usual.
    pub sockets: Option<Vec<String>>,
}

async fn examine(asked: Examination) -> Result<Judgement, BadSettings> {
    let settings = asked.settings()?;
    Ok(judge(&settings, &observe(&settings, &asked.guest, asked.deadline).await))
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// systemd's own word for its state. Empty: there is no systemd.
    pub state: String,
    /// Units that are yet to start, or to end as a part of the start.
    pub pending: Vec<String>,
    /// Units that failed.
    pub failed: Vec<Failed>,
    /// Services that were started again since the look before, or wait for it.
    pub restarting: Vec<Failed>,
    /// The units that the schedule names, and the guest agent's.
    pub units: Vec<Unit>,
    /// The hypervisor has a channel for the guest agent.
    pub channel: bool,
    /// The image has the guest agent: its program or its unit.
    pub guest_agent: bool,
    /// Seconds from the kernel's start until systemd had ended its own: until `running`, or `degraded`. None: it has not.
    pub running: Option<f64>,
    /// Seconds since the kernel's start when this was seen.
    pub uptime: f64,
    /// What listens for others.
    pub listeners: Vec<Listener>,
    /// Why systemd could not be asked.
    pub error: String,
    /// How long it was waited for.
    pub waited: Duration,
}

/// Looks until all is well or the time is up.
pub async fn observe(settings: &Settings, guest: &Guest, deadline: Instant) -> Observation {
    let started = Instant::now();
    boot::settled(guest, deadline).await;
    let latest = boot::before(deadline).min(Instant::now() + PATIENCE);
    let mut wait = FIRST_PAUSE;
    let mut restarts = None;
    loop {
        let mut seen = look(settings, guest, deadline, &mut restarts).await;
        seen.waited = started.elapsed();
        let bad = judge(settings, &seen).outcome != CheckOutcome::Pass;
        let again =
            bad || restarts.as_ref().is_some_and(|restarts: &units::Restarts| restarts.need_another_look());
        if seen.state.is_empty() || !again || !pause(&mut wait, LONGEST_PAUSE, latest).await {
            return seen;
        }
    }
}

async fn look(
    settings: &Settings,
    guest: &Guest,
    deadline: Instant,
    restarts: &mut Option<units::Restarts>,
) -> Observation {
    let state = boot::state(guest, deadline).await;
    let uptime = guest.uptime().as_secs_f64();
    let mut seen = Observation { state, channel: guest.has(CHANNEL), uptime, ..Observation::default() };
    if seen.state.is_empty() {
        return seen;
    }
    seen.running = boot::finished(guest, deadline).await;
    let mut names: Vec<&str> = settings.active.iter().chain(&settings.enabled).map(String::as_str).collect();
    names.extend(seen.channel.then_some(GUEST_AGENT));
    let asked = async {
        seen.units = units::of(guest, &names, deadline).await?;
        seen.failed = units::failed(guest, &settings.allowed_failed, deadline).await?;
        seen.restarting = units::restarting(guest, &settings.allowed_failed, restarts, deadline).await?;
        if boot::is_starting(&seen.state) {
            seen.pending = units::pending(guest, deadline).await?;
        }
        Ok::<(), String>(())
    };
    if let Err(error) = asked.await {
        seen.error = error;
    }
    let has_unit = seen.units.iter().any(|unit| unit.name == GUEST_AGENT && unit.loaded == "loaded");
    seen.guest_agent = has_unit || program::find(guest, GUEST_AGENT_PROGRAM).is_some();
    let same = guest.clone();
    let looked = tokio::task::spawn_blocking(move || sockets::listeners(&same)).await;
    seen.listeners = looked.unwrap_or_default();
    seen
}

/// What an observation means.
pub fn judge(settings: &Settings, seen: &Observation) -> Judgement {
    let (outcome, summary) = match verdict(settings, seen) {
        Ok(summary) => (CheckOutcome::Pass, summary),
        Err(unsound) => unsound,
    };
    Judgement::new(outcome, summary, &as_json(seen))
}

fn verdict(settings: &Settings, seen: &Observation) -> Result<String, (CheckOutcome, String)> {
    use CheckOutcome::{Fail, Inconclusive, Skipped};
    if seen.state.is_empty() {
        return Err((Skipped, "there is no systemd to ask: write `checks.services = false`".to_owned()));
    }
    if !seen.error.is_empty() {
        return Err((Inconclusive, format!("systemd does not answer: {}", seen.error)));
    }
    if let Some(failed) = seen.failed.first() {
        let more = more(seen.failed.len());
        return Err((Fail, format!("{} failed: {}{more}", failed.unit, failed.why)));
    }
    if let Some(again) = seen.restarting.first() {
        let more = more(seen.restarting.len());
        return Err((Fail, format!("{} keeps restarting: {}{more}", again.unit, again.why)));
    }
    if boot::is_starting(&seen.state) {
        let waits = match seen.pending.as_slice() {
            [] => String::new(),
            units => format!(", waiting for {}", text::list(units)),
        };
        let after = text::seconds(seen.waited);
        return Err((Fail, format!("the system is still {} after {after}{waits}", seen.state)));
    }
    if !matches!(seen.state.as_str(), "running" | "degraded") {
        return Err((Fail, format!("the system is {}, not running", seen.state)));
    }
    let named = |name: &str| seen.units.iter().find(|unit| unit.name == name);
    if seen.channel
        && seen.guest_agent
        && let Some(why) = not_active(named(GUEST_AGENT))
    {
        let what = "the guest agent is not running, though the hypervisor has a channel for it";
        return Err((Fail, format!("{what}: {GUEST_AGENT} {why}")));
    }
    for name in &settings.active {
        if let Some(why) = not_active(named(name)) {
            return Err((Fail, format!("{name} {why}, but must be active")));
        }
    }
    for name in &settings.enabled {
        let state = named(name).map(|unit| unit.file.as_str()).unwrap_or_default();
        if !matches!(state, "enabled" | "enabled-runtime" | "alias" | "generated") {
            return Err((
                Fail,
                format!("{name} is {}, but must be enabled", text::or(state, "not installed")),
            ));
        }
    }
    if let Some(stranger) = seen.listeners.iter().find(|listener| !is_expected(settings, listener)) {
        return Err((Fail, format!("{stranger}, which is not expected (checks.services.sockets)")));
    }
    let ports = counted(seen.listeners.len(), "listening port");
    let without = if seen.channel && !seen.guest_agent { "; the image has no guest agent" } else { "" };
    Ok(format!("the system is {}, {ports}, all expected{without}", seen.state))
}

fn more(all: usize) -> String {
    if all > 1 { format!(" (and {} more)", all - 1) } else { String::new() }
}

/// Why a unit is not active.
fn not_active(unit: Option<&Unit>) -> Option<String> {
    match unit {
        Some(unit) if matches!(unit.active.as_str(), "active" | "reloading") => None,
        Some(unit) if unit.loaded == "not-found" => Some("is not installed".to_owned()),
        Some(unit) if unit.loaded == "masked" => Some("is masked".to_owned()),
        Some(unit) if unit.active == "inactive" && unit.file == "disabled" => {
            Some("is inactive and not enabled".to_owned())
        }
        Some(unit) => Some(format!("is {} ({})", unit.active, unit.sub)),
        None => Some("is not known to systemd".to_owned()),
    }
}

fn is_expected(settings: &Settings, listener: &Listener) -> bool {
    let port = listener.port();
    match &settings.sockets {
        _ if ALWAYS.contains(&port.as_str()) => true,
        Some(expected) => expected.contains(&port),
        None => USUAL.contains(&port.as_str()),
    }
}

fn as_json(seen: &Observation) -> Json {
    let failed = |all: &[Failed]| {
        all.iter().map(|failed| json!({ "unit": failed.unit, "why": failed.why })).collect::<Vec<_>>()
    };
    json!({
        "state": seen.state,
        "failed": failed(&seen.failed),
        "restarting": failed(&seen.restarting),
        "pending": seen.pending,
        "guest_agent_channel": seen.channel,
        "guest_agent_installed": seen.guest_agent,
        "running_seconds": seen.running,
        "starting_seconds": boot::is_starting(&seen.state).then_some(seen.uptime),
        "units": seen.units.iter().map(|unit| json!({
            "unit": unit.name,
            "loaded": unit.loaded,
            "active": unit.active,
            "sub": unit.sub,
            "file": unit.file,
        })).collect::<Vec<_>>(),
        "listening": seen.listeners.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "error": seen.error,
        "waited_seconds": seen.waited.as_secs_f64(),
    })
}

#[cfg(test)]
mod tests;
