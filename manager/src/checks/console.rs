//! Check `console`: the serial console tells of the boot, asks for a login, and complains of nothing.

use std::time::Duration;

use image_manager_agent::checks::descriptor::{Check, Key, Observer, Rule, Set, ValueType};
use image_manager_proto::v1::CheckOutcome;
use serde::Deserialize;
use serde_json::json;

use super::Judged;
use crate::cloud::{CUT, Console};

/// Most lines that are told of, and the most of each, in bytes.
const TOLD: usize = 10;
const LONGEST: usize = 8 * 1024;

/// What a console says of a system that is not well. Not what a host that is busy or paused brings about (soft lockups,
/// stalls, hung tasks, clocks that are not trusted): that says nothing about the image.
const COMPLAINTS: [&str; 12] = [
    "Kernel panic",
    "Oops:",
    "general protection fault",
    "kernel BUG at",
    "EXT4-fs error",
    "XFS (",
    "BTRFS error",
    "[FAILED]",
    "[DEPEND]",
    "You are in emergency mode",
    "Give root password for maintenance",
    "segfault at",
];
/// Those about units of systemd.
const OF_UNITS: [&str; 2] = ["[FAILED]", "[DEPEND]"];
/// The first that systemd says when it goes down, by the unit's description or its name.
const GOING_DOWN: [&str; 4] = [
    "Stopped target Multi-User System",
    "Stopped target multi-user.target",
    "Stopped target Graphical Interface",
    "Stopped target graphical.target",
];
/// Lines of XFS that are no complaint have none of these.
const OF_XFS: [&str; 3] = ["orruption", "shut down", "metadata I/O error"];

/// The check.
pub(crate) static CHECK: Check = Check {
    kind: "console",
    proves: "the serial console shows the kernel's boot, asks for a login, and has no complaints",
    details: "The console is all that is left to look at when a server cannot be reached. Complaints are a panic, an \
              oops, a segmentation fault, file system errors, units that failed, and emergency mode. The check waits \
              for the login prompt. On a cloud that gives no console, the check passes; the result says so.",
    set: Set::Cloud,
    observer: Observer::Manager,
    timeout: Duration::from_mins(2),
    cost: "waits for the login prompt",
    repeatable: false,
    keys: &[
        Key {
            name: "kernel",
            value: ValueType::Flag,
            default: "true",
            help: "kernel messages must be there",
        },
        Key { name: "login", value: ValueType::Flag, default: "true", help: "a login prompt must be there" },
        Key {
            name: "allowed",
            value: ValueType::Texts(&PART),
            default: "none",
            help: "a line that contains one of these texts is not a complaint, as in [\"EXT4-fs error (device sdb\"]",
        },
    ],
    examine: None,
};

static PART: Rule = Rule {
    what: "a part of a line",
    help: "3 to 200 bytes",
    holds: |text| (3..=200).contains(&text.len()) && text.trim() == text,
};

/// Its keys.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    kernel: bool,
    login: bool,
    allowed: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { kernel: true, login: true, allowed: Vec::new() }
    }
}

/// What is wrong with a console, the worst of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Complains,
    IsEmpty,
    LacksKernel,
    LacksLogin,
}

/// What a console's text means by now.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) judged: Judged,
    /// It may turn to a pass: it fails for want of a login prompt alone, which comes last while the server still starts, or
    /// the console could not be fetched.
    pub(crate) may_pass_later: bool,
}

/// What a console has shown so far, line by line. It may be long: only what counts is kept of it.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a thing of its own that was seen")]
pub(crate) struct Seen {
    settings: Settings,
    lines: usize,
    /// Anything at all.
    shows: bool,
    kernel: bool,
    login: bool,
    /// A part of it was not kept.
    cut: bool,
    /// The server has begun to go down for its reboot.
    goes_down: bool,
    complains: usize,
    /// The first complaints.
    complaints: Vec<String>,
}

impl Seen {
    /// Nothing yet. `Err`: the check's settings cannot be read.
    pub(crate) fn nothing(settings: &serde_json::Map<String, serde_json::Value>) -> Result<Self, Judged> {
        Ok(Self { settings: super::typed(settings)?, ..Self::default() })
    }

    /// Takes the next line.
    pub(crate) fn take(&mut self, line: &str) {
        let line = line.trim();
        self.lines += 1;
        self.shows |= !line.is_empty();
        self.kernel |= kernel_time(line).is_some();
        self.login |= asks_for_a_login(line);
        self.cut |= line == CUT;
        let is_complaint = self.is_complaint(line);
        if is_complaint && !self.settings.allowed.iter().any(|part| line.contains(part.as_str())) {
            self.complains += 1;
            if self.complaints.len() < TOLD {
                self.complaints
                    .push(line.get(..line.floor_char_boundary(LONGEST)).unwrap_or_default().to_owned());
            }
        }
    }

    /// What systemd cannot stop or unmount while a server goes down for its reboot is no fault of the boot.
    fn is_complaint(&mut self, line: &str) -> bool {
        if GOING_DOWN.iter().any(|mark| line.contains(mark)) {
            self.goes_down = true;
        } else if line.contains("] Linux version ") {
            self.goes_down = false;
        }
        let is_of_a_unit = OF_UNITS.iter().any(|mark| line.contains(mark));
        complains(line) && !(self.goes_down && is_of_a_unit)
    }

    /// What that means. `given`: what came of fetching the console; `Err`: it could not be fetched.
    pub(crate) fn judge(&self, given: &Result<Console, String>) -> Reading {
        let (kernel, login) = (self.kernel, self.login);
        if self.complains == 0
            && let Some(reading) = not_given(given, self.shows)
        {
            return reading;
        }
        let fault = if self.complains > 0 {
            Some(Fault::Complains)
        } else if !self.shows {
            Some(Fault::IsEmpty)
        } else if self.settings.kernel && !kernel {
            Some(Fault::LacksKernel)
        } else if self.settings.login && !login {
            Some(Fault::LacksLogin)
        } else {
            None
        };
        let unknown = self.cut && matches!(fault, Some(Fault::LacksKernel | Fault::LacksLogin));
        let outcome = match fault {
            Some(_) if unknown => CheckOutcome::Inconclusive,
            Some(_) => CheckOutcome::Fail,
            None => CheckOutcome::Pass,
        };
        let mut summary = match fault {
            Some(fault) => told(fault, self.complaints.first().map_or("", String::as_str), self.complains),
            None => match (kernel, login) {
                (true, true) => "the serial console shows the kernel's messages and a login prompt",
                (true, false) => "the serial console shows the kernel's messages",
                (false, true) => "the serial console shows a login prompt",
                (false, false) => "the serial console shows something",
            }
            .to_owned(),
        };
        if unknown {
            summary.push_str("; but the console is longer than what is kept of it, and the rest may have it");
        } else if self.cut && fault.is_none() {
            summary
                .push_str("; the console is longer than what is kept of it, and the rest was not looked at");
        }
        let observations = json!({
            "kernel": kernel,
            "login_prompt": login,
            "lines": self.lines,
            "complaints": self.complaints,
        });
        let judged = Judged { outcome, summary, observations };
        Reading { judged, may_pass_later: fault == Some(Fault::LacksLogin) }
    }
}

/// What there is to say when the cloud has not given all of the console. That is no fault of the image.
fn not_given(given: &Result<Console, String>, shows: bool) -> Option<Reading> {
    let (outcome, summary, may_pass_later) = match given {
        Ok(Console::Never(why)) if !shows => {
            let summary = format!("this cloud gives no serial console, so it was not looked at: {why}");
            (CheckOutcome::Pass, summary, false)
        }
        Ok(Console::Given | Console::Never(_)) => return None,
        Ok(Console::NotNow(why)) | Err(why) => {
            let summary = format!("the serial console could not be fetched: {why}");
            (CheckOutcome::Inconclusive, summary, true)
        }
    };
    let judged = Judged { outcome, summary, observations: json!({}) };
    Some(Reading { judged, may_pass_later })
}

/// `first`: the first complaint of `complains`.
fn told(fault: Fault, first: &str, complains: usize) -> String {
    match fault {
        Fault::Complains => {
            let more = complains.saturating_sub(1);
            let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
            format!("the console complains: {first}{more}")
        }
        Fault::IsEmpty => {
            "nothing appeared on the serial console: the kernel's command line names none, as in `console=ttyS0`"
                .to_owned()
        }
        Fault::LacksKernel => {
            "no kernel message appeared on the serial console: the kernel's command line names none, as in \
             `console=ttyS0`, or `quiet` hides them"
                .to_owned()
        }
        Fault::LacksLogin => "no login prompt appeared on the serial console: no getty serves it".to_owned(),
    }
}

/// The kernel's time in front of a line, since its boot: `[    1.234567] ...`.
pub(crate) fn kernel_time(line: &str) -> Option<Duration> {
    let (time, _) = line.trim_start().strip_prefix('[')?.split_once(']')?;
    let time = time.trim_start();
    let seconds = time.parse().ok().filter(|_| time.contains('.'))?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// A line of getty: `HOST login: `, behind which the kernel may have gone on writing.
pub(crate) fn asks_for_a_login(line: &str) -> bool {
    let host = line.split_once("login:").map(|(host, _)| host.trim());
    host.is_some_and(|host| !host.contains(char::is_whitespace))
}

fn complains(line: &str) -> bool {
    COMPLAINTS.iter().any(|complaint| match *complaint {
        "XFS (" => line.contains("XFS (") && OF_XFS.iter().any(|part| line.contains(part)),
        complaint => line.contains(complaint),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;

    const GOOD: &str = "SeaBIOS\n[    0.000000] Linux version 6.1.0-30-amd64\n[  OK  ] Started ssh.service\n\
                        [    9.1] systemd[1]: Hostname set\n\nDebian GNU/Linux 12 server ttyS0\n\nserver login: ";

    fn judge(
        settings: &Map<String, serde_json::Value>,
        given: &Result<Console, String>,
        text: &str,
    ) -> Reading {
        match Seen::nothing(settings) {
            Ok(mut seen) => {
                text.lines().for_each(|line| seen.take(line));
                seen.judge(given)
            }
            Err(judged) => Reading { judged, may_pass_later: false },
        }
    }

    fn judged(text: &str, settings: &serde_json::Value) -> (CheckOutcome, String) {
        let settings: Map<_, _> = settings.as_object().cloned().unwrap();
        let judged = judge(&settings, &Ok(Console::Given), text).judged;
        (judged.outcome, judged.summary)
    }

    #[test]
    fn what_fails_while_the_server_goes_down_is_no_complaint() {
        let down = "[  OK  ] Stopped target Multi-User System.\n[FAILED] Failed unmounting /boot/efi.\n";
        let rebooted = format!("{GOOD}\n{down}{GOOD}");
        assert_eq!(judged(&rebooted, &serde_json::json!({})).0, CheckOutcome::Pass);
        let panicked = format!("{rebooted}\n[FAILED] Failed to start ssh.service");
        assert!(judged(&panicked, &serde_json::json!({})).1.contains("ssh.service"));
        let panic = format!("{GOOD}\n{down}[ 99.0] Kernel panic - not syncing: x\n");
        assert!(judged(&panic, &serde_json::json!({})).1.contains("panic"));
    }

    #[test]
    fn only_a_login_prompt_is_waited_for() {
        let lacks_only_login = |text: &str, settings: serde_json::Value| {
            judge(settings.as_object().unwrap(), &Ok(Console::Given), text).may_pass_later
        };
        let without_login = GOOD.replace("server login: ", "");
        assert!(lacks_only_login(&without_login, json!({})));
        assert!(!lacks_only_login(&without_login, json!({ "login": false })));
        assert!(!lacks_only_login(&without_login, json!({ "no such key": 1 })));
        assert!(!lacks_only_login(GOOD, json!({})));
        for worse in ["", "SeaBIOS\n", "[    1.0] Kernel panic - not syncing\n"] {
            assert!(!lacks_only_login(worse, json!({})), "{worse}");
        }
    }

    #[test]
    fn what_was_cut_off_may_have_had_what_is_missing_and_a_pass_tells_of_it() {
        use CheckOutcome::{Fail, Inconclusive, Pass};
        let cut = |text: &str| judged(&format!("[    0.1] x\n{CUT}\n{text}"), &json!({}));
        let (outcome, why) = cut("more\n");
        assert!(outcome == Inconclusive && why.contains("longer than what is kept"), "{why}");
        assert_eq!(cut("[    9.0] Oops: 0002 [#1]").0, Fail);
        let (outcome, told) = cut("server login: ");
        assert!(outcome == Pass && told.ends_with("and the rest was not looked at"), "{told}");
        assert!(!judged(GOOD, &json!({})).1.contains("kept"), "all of it was looked at");
    }

    #[test]
    fn many_complaints_are_counted_and_the_first_are_told() {
        let seen = judge(&Map::new(), &Ok(Console::Given), &"[FAILED] x\n".repeat(30));
        assert!(seen.judged.summary.ends_with("[FAILED] x (and 29 more)"), "{}", seen.judged.summary);
        assert_eq!(seen.judged.observations["complaints"].as_array().unwrap().len(), TOLD);
    }

    #[test]
    fn a_console_that_the_cloud_does_not_give_is_no_fault_of_the_image() {
        use CheckOutcome::{Fail, Inconclusive, Pass};
        let judged = |given: &Result<Console, String>, text: &str| {
            let reading = judge(&Map::new(), given, text);
            (reading.judged.outcome, reading.may_pass_later, reading.judged.summary)
        };
        let never = Ok(Console::Never("not supported".to_owned()));
        let (outcome, again, summary) = judged(&never, "");
        assert_eq!((outcome, again), (Pass, false), "{summary}");
        assert!(
            summary.contains("gives no serial console") && summary.contains("not supported"),
            "{summary}"
        );
        assert_eq!(judged(&never, "SeaBIOS\n").0, Fail, "what it gave earlier counts");
        for given in [Ok(Console::NotNow("not ready".to_owned())), Err("403".to_owned())] {
            for text in ["", GOOD] {
                let (outcome, again, summary) = judged(&given, text);
                assert_eq!((outcome, again), (Inconclusive, true), "{given:?}: {summary}");
            }
            assert_eq!(judged(&given, "[    1.0] Kernel panic - not syncing\n").0, Fail, "{given:?}");
        }
        assert_eq!(judged(&Ok(Console::Given), "").0, Fail);
    }

    #[test]
    fn a_console_must_speak_and_not_complain() {
        use CheckOutcome::{Fail, Pass};
        assert_eq!(judged(GOOD, &json!({})).0, Pass);
        let without_login = GOOD.replace("server login: ", "");
        assert!(judged(&without_login, &json!({})).1.starts_with("no login prompt"));
        assert_eq!(judged(&without_login, &json!({ "login": false })).0, Pass);
        assert!(judged("SeaBIOS\nGRUB loading\n", &json!({})).1.starts_with("no kernel message"));
        assert!(judged(" \n", &json!({})).1.starts_with("nothing appeared"));
        let overwritten =
            GOOD.replace("login: ", "login: [  139.647769] cloud-init[457]: Cloud-init running");
        assert_eq!(judged(&overwritten, &json!({})).0, Pass);
        let spoken_of =
            without_login.clone() + "\n[    9.9] systemd[1]: Started systemd-logind.service - User login: x";
        assert!(judged(&spoken_of, &json!({})).1.starts_with("no login prompt"));
        let failed = format!("[FAILED] Failed to start ssh.service - OpenBSD Secure Shell server.\n{GOOD}");
        let (outcome, why) = judged(&failed, &json!({}));
        assert!(outcome == Fail && why.contains("Failed to start ssh.service"), "{why}");
        assert_eq!(judged(&failed, &json!({ "allowed": ["ssh.service"] })).0, Pass);
        let paused = format!("[   80.0] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!\n{GOOD}");
        assert_eq!(judged(&paused, &json!({})).0, Pass, "a paused host is no fault of the image");
        let mounted = format!("[    3.0] XFS (vda1): Mounting V5 Filesystem\n{GOOD}");
        assert_eq!(judged(&mounted, &json!({})).0, Pass);
        let broken = format!("[    3.0] XFS (vda1): Corruption of in-memory data detected\n{GOOD}");
        assert_eq!(judged(&broken, &json!({})).0, Fail);
    }
}
