//! Check `kernel`: the newest installed kernel runs, has the serial console, and is in good health.

use std::cmp::Ordering;

use image_manager_proto::v1::CheckOutcome;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::descriptor::{BadSettings, Check, Examination, Key, Observer, Rule, Set, ValueType, is_plain};
use super::program::program;
use super::{Judgement, LONG_TIMEOUT, boot};
use crate::guest::Guest;
use crate::text;

mod log;

/// Most kernels of an image that are looked at.
const MOST_KERNELS: usize = 64;
/// Most modules that a schedule may ask for.
const MOST_MODULES: usize = 64;
/// The kernel's letters for what taints it, from bit 0 on (Documentation/admin-guide/tainted-kernels.rst).
const TAINTS: &str = "PFSRMBUDAWCIOELKXTNJ";
/// What the host or its hardware does, and no image: firmware, machine checks, processors, and a processor that stood still.
const NOT_THE_IMAGES: &str = "SMIL";

/// The check.
pub static CHECK: Check = Check {
    kind: "kernel",
    proves: "the newest installed kernel runs, writes to the serial console, and has neither failed nor been tainted",
    details: "Taints caused by the hardware or the host (S, M, I, L) are always allowed, and lockups that a busy host \
              causes are not the image's fault. The letters are those of the kernel's documentation; `O` is an \
              out-of-tree module, `P` a proprietary module, `W` a warning.",
    set: Set::Cloud,
    observer: Observer::Agent,
    timeout: LONG_TIMEOUT,
    cost: "waits for the boot to finish",
    repeatable: false,
    keys: &[
        Key {
            name: "console",
            value: ValueType::Text(&CONSOLE),
            default: "any serial console",
            help: "device of the console that the kernel must write to, as in \"ttyS0\"; \"none\" if none is needed",
        },
        Key {
            name: "allowed_taint",
            value: ValueType::Text(&LETTERS),
            default: "\"\"",
            help: "taints that are allowed, as in \"OE\"",
        },
        Key {
            name: "modules",
            value: ValueType::Texts(&MODULE),
            default: "none",
            help: "modules that must be loaded or loadable, as in [\"overlay\"]",
        },
    ],
    examine: Some(|asked| Box::pin(examine(asked))),
};

static CONSOLE: Rule = Rule {
    what: "a console's device",
    help: "as the kernel calls it, for example \"ttyS0\"; or \"none\"",
    holds: |text| is_plain(text, 32, "-_", "-"),
};

static LETTERS: Rule = Rule {
    what: "letters of taints",
    help: "as in the kernel's documentation, for example \"OE\"",
    holds: |text| text.len() <= 32 && text.chars().all(|letter| TAINTS.contains(letter)),
};

static MODULE: Rule = Rule {
    what: "a kernel module's name",
    help: "as in \"overlay\"",
    holds: |text| is_plain(text, 64, "-_", "-"),
};

/// Its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The console's device. Empty: any serial one. "none": not judged.
    pub console: String,
    /// Letters of taints that are no fault.
    pub allowed_taint: String,
    /// Modules that must be there.
    pub modules: Vec<String>,
}

async fn examine(asked: Examination) -> Result<Judgement, BadSettings> {
    let settings = asked.settings()?;
    Ok(judge(&settings, &observe(&settings, &asked.guest, asked.deadline).await))
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// The kernel that runs, as `uname -r` says.
    pub running: String,
    /// Those that are installed and can be booted.
    pub installed: Vec<String>,
    /// The devices that the kernel writes its messages to.
    pub consoles: Vec<String>,
    /// The kernel's command line.
    pub command_line: String,
    /// What tainted it, in the kernel's letters.
    pub taints: String,
    /// The kernel's messages about its own faults.
    pub faults: Vec<String>,
    /// Modules that were asked for and are not to be had, each with the reason.
    pub missing: Vec<String>,
}

/// Looks once the boot is over: modules are loaded and faults happen until then.
pub async fn observe(settings: &Settings, guest: &Guest, deadline: Instant) -> Observation {
    boot::settled(guest, deadline).await;
    let read = |path: &str| text::one_line(&guest.read(path).unwrap_or_default());
    let mut seen = Observation {
        running: guest.kernel_release(),
        installed: installed(guest),
        consoles: read("/sys/class/tty/console/active").split_whitespace().map(str::to_owned).collect(),
        command_line: read("/proc/cmdline"),
        taints: letters(read("/proc/sys/kernel/tainted").parse().unwrap_or(0)),
        ..Observation::default()
    };
    let same = guest.clone();
    seen.faults = tokio::task::spawn_blocking(move || log::faults(&same)).await.unwrap_or_default();
    for module in settings.modules.iter().take(MOST_MODULES) {
        if let Some(why) = missing(guest, module, deadline).await {
            seen.missing.push(format!("{module}: {why}"));
        }
    }
    seen
}

/// The kernels that a boot loader can start: in /boot, or with their modules.
fn installed(guest: &Guest) -> Vec<String> {
    let names = |folder: &str| {
        let entries = std::fs::read_dir(guest.path(folder)).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
    };
    let in_boot = names("/boot");
    let mut versions: Vec<String> = in_boot
        .iter()
        .filter_map(|name| name.strip_prefix("vmlinuz-").or_else(|| name.strip_prefix("vmlinux-")))
        // dracut's rescue kernel is a copy of another.
        .filter(|version| version.starts_with(|c: char| c.is_ascii_digit()) && !version.contains("rescue"))
        .map(str::to_owned)
        .collect();
    let with_modules = names("/lib/modules").into_iter();
    versions.extend(with_modules.filter(|version| guest.has(format!("/lib/modules/{version}/vmlinuz"))));
    versions.sort();
    versions.dedup();
    versions.truncate(MOST_KERNELS);
    versions
}

/// The numbers at a version's beginning: 6.1.0-31-cloud-amd64 is 6, 1, 0, 31. What follows names the flavour.
fn numbers(version: &str) -> Vec<u64> {
    let parts = version.split(['.', '-']).map_while(|part| {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        part.get(..digits).and_then(|digits| digits.parse().ok()).map(|number| (number, digits == part.len()))
    });
    let mut numbers = Vec::new();
    for (number, whole) in parts {
        numbers.push(number);
        if !whole {
            break;
        }
    }
    numbers
}

/// The letters of the bits that are set.
fn letters(bits: u64) -> String {
    TAINTS.chars().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, letter)| letter).collect()
}

/// Why a module is not to be had; it is loaded to find out.
async fn missing(guest: &Guest, module: &str, deadline: Instant) -> Option<String> {
    if guest.has(format!("/sys/module/{}", module.replace('-', "_"))) {
        return None;
    }
    let Some(modprobe) = program(guest, "modprobe") else { return Some("there is no modprobe".to_owned()) };
    let ended = modprobe.with(["--", module]).run(deadline).await;
    (!ended.is_good()).then(|| ended.complaint())
}

/// What an observation means.
pub fn judge(settings: &Settings, seen: &Observation) -> Judgement {
    let (outcome, summary) = match verdict(settings, seen) {
        Ok(summary) => (CheckOutcome::Pass, summary),
        Err(fault) => (CheckOutcome::Fail, fault),
    };
    Judgement::new(outcome, summary, &as_json(seen))
}

fn verdict(settings: &Settings, seen: &Observation) -> Result<String, String> {
    let running = &seen.running;
    if let Some(fault) = seen.faults.first() {
        return Err(format!("the kernel reports a fault of its own: {fault}"));
    }
    let newest = seen.installed.iter().max_by(|one, other| numbers(one).cmp(&numbers(other)));
    if let Some(newest) = newest
        && numbers(newest).cmp(&numbers(running)) == Ordering::Greater
    {
        return Err(format!("kernel {running} is running, but the newer {newest} is installed"));
    }
    let allowed =
        |letter: &char| settings.allowed_taint.contains(*letter) || NOT_THE_IMAGES.contains(*letter);
    let taints: String = seen.taints.chars().filter(|letter| !allowed(letter)).collect();
    if !taints.is_empty() {
        let words: Vec<String> = taints.chars().map(in_words).collect();
        return Err(format!("the kernel is tainted: {}", text::list(&words)));
    }
    if let Some(why) = without_console(settings, seen) {
        return Err(why);
    }
    if let Some(missing) = seen.missing.first() {
        return Err(format!("the kernel module {missing}"));
    }
    let console = if seen.consoles.is_empty() {
        String::new()
    } else {
        format!(" and writes to {}", text::list(&seen.consoles))
    };
    Ok(format!("kernel {running}, the newest installed, runs without faults{console}"))
}

fn without_console(settings: &Settings, seen: &Observation) -> Option<String> {
    let serial = |console: &String| {
        ["ttyS", "ttyAMA", "hvc", "ttymxc", "ttysclp", "xvc"].iter().any(|kind| console.starts_with(kind))
    };
    let (there, wanted) = match settings.console.as_str() {
        "none" => return None,
        "" => (seen.consoles.iter().any(serial), "a serial console"),
        device => (seen.consoles.iter().any(|console| console == device), device),
    };
    let has = match seen.consoles.as_slice() {
        [] => "none".to_owned(),
        consoles => text::list(consoles),
    };
    (!there).then(|| {
        format!(
            "the kernel does not write to {wanted}; its consoles: {has}; its command line: {}",
            seen.command_line
        )
    })
}

fn in_words(letter: char) -> String {
    let words = match letter {
        'P' => "a proprietary module",
        'F' => "a module was force-loaded",
        'R' => "a module was force-unloaded",
        'B' => "a bad page",
        'U' => "a user asked for it",
        'D' => "it has had an oops",
        'A' => "an ACPI table was replaced",
        'W' => "it has issued a warning",
        'C' => "a staging driver",
        'O' => "an out-of-tree module",
        'E' => "an unsigned module",
        'K' => "it was live-patched",
        _ => "see the kernel's documentation",
    };
    format!("{letter} ({words})")
}

fn as_json(seen: &Observation) -> Json {
    json!({
        "running": seen.running,
        "installed": seen.installed,
        "consoles": seen.consoles,
        "command_line": seen.command_line,
        "taints": seen.taints,
        "faults": seen.faults,
        "missing_modules": seen.missing,
    })
}

#[cfg(test)]
mod tests;
