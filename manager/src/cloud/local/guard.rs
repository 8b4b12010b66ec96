//! Watching over a QEMU that this process started: reaps it, learns why it ended, starts it again when its guest reboots
//! and may, bounds its console.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::process::Child;
use tokio::sync::watch;

use super::qemu::{EVENTS, LOG, SOCKETS};
use super::qmp::Qmp;
use super::starting::Start;

/// Bytes that a serial console may have.
pub(super) const LONGEST_CONSOLE: u64 = 64 << 20;
/// How often its size is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Until the socket of a QEMU that starts is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(100);
/// What the last event may take to arrive after QEMU's end.
const LAST_EVENT: Duration = Duration::from_secs(2);
/// Bytes at a console's end in which a panic is looked for.
const PANIC_WINDOW: u64 = 64 << 10;

/// QEMU's reason when its guest has rebooted.
const GUEST_RESET: &str = "guest-reset";
/// The same when it has powered itself off.
const GUEST_SHUTDOWN: &str = "guest-shutdown";

/// How a QEMU ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    /// For people.
    pub(super) text: String,
    /// QEMU failed or was killed; the guest did not ask for it.
    pub(super) fault: bool,
    /// The guest powered itself off, and its kernel did not panic by that. `None`: nobody heard why QEMU ended.
    pub(super) in_order: Option<bool>,
}

impl Ending {
    /// Of a QEMU that failed.
    fn fault(text: String) -> Self {
        Self { text, fault: true, in_order: Some(false) }
    }
}

/// Takes the process over until it ends, and whose guest may reboot also its successor. They are not killed when this
/// process ends. Returns the end, and what says whether the next reboot is none.
pub(super) fn watch_over(
    mut child: Child,
    start: Start,
) -> (watch::Receiver<Option<Ending>>, Arc<AtomicBool>) {
    let (sender, receiver) = watch::channel(None);
    let may_reboot = Arc::new(AtomicBool::new(false));
    let allowed = Arc::clone(&may_reboot);
    tokio::spawn(async move {
        let ending = loop {
            let (status, reason) = until_its_end(&mut child, &start).await;
            let panic = panic_line(&start.console);
            let reboots = reason.as_deref() == Some(GUEST_RESET) && panic.is_none();
            // Once: a guest that never comes up would reboot for ever.
            if !(reboots && allowed.swap(false, Ordering::Relaxed)) {
                break match status {
                    Ok(status) => ending(status, reason.as_deref(), panic.as_deref()),
                    Err(error) => Ending::fault(format!("how it ended is not known: {error}")),
                };
            }
            match start.run().await {
                Ok(next) => child = next,
                Err(error) => {
                    let text = format!("the guest rebooted, but QEMU could not be started again: {error}");
                    break Ending::fault(text);
                }
            }
        };
        // Nobody may want to know any more.
        let _ = sender.send(Some(ending));
    });
    (receiver, may_reboot)
}

/// Waits until one QEMU has ended; returns its exit status and the reason that it gave.
async fn until_its_end(child: &mut Child, start: &Start) -> (io::Result<ExitStatus>, Option<String>) {
    let (log, sockets) = (start.home.join(LOG), start.home.join(SOCKETS));
    let reason = tokio::spawn(async move {
        loop {
            if let Ok(mut qmp) = Qmp::connect(&sockets, EVENTS).await {
                return qmp.last_reason().await;
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
    });
    let stop = reason.abort_handle();
    let mut look = tokio::time::interval(LOOK);
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            _ = look.tick() => if is_too_long(&start.console) || is_too_long(&log) {
                // It may have ended by itself just now.
                let _ = child.start_kill();
            },
        }
    };
    let reason = match &status {
        Ok(status) if status.success() => {
            tokio::time::timeout(LAST_EVENT, reason).await.ok().and_then(|joined| joined.ok().flatten())
        }
        _ => None,
    };
    stop.abort();
    (status, reason)
}

/// Whether a serial console, or what QEMU has to say, has outgrown [`LONGEST_CONSOLE`].
pub(super) fn is_too_long(console: &Path) -> bool {
    console.metadata().is_ok_and(|metadata| metadata.len() > LONGEST_CONSOLE)
}

fn ending(status: ExitStatus, reason: Option<&str>, panic: Option<&str>) -> Ending {
    let fault = !status.success();
    let mut text = match (reason, status.code(), status.signal()) {
        (Some(GUEST_SHUTDOWN), ..) => "the guest powered off".to_owned(),
        (Some(GUEST_RESET), ..) => "the guest rebooted, which ends a test server".to_owned(),
        (Some("guest-panic"), ..) => "the guest's kernel panicked".to_owned(),
        (Some(reason), ..) if reason.starts_with("host") => format!("it was stopped from outside ({reason})"),
        (_, Some(0), _) => "QEMU exited normally".to_owned(),
        (_, Some(code), _) => format!("QEMU failed with exit code {code}"),
        (_, None, signal) => format!("QEMU was killed by signal {}", signal.unwrap_or_default()),
    };
    if let Some(panic) = panic {
        text.push_str("; its console says: ");
        text.push_str(panic);
    }
    let in_order = match (reason, panic) {
        (None, None) if !fault => None,
        _ => Some(reason == Some(GUEST_SHUTDOWN) && panic.is_none()),
    };
    Ending { text, fault, in_order }
}

/// The last line of a console that tells of a kernel panic.
pub(super) fn panic_line(console: &Path) -> Option<String> {
    let tail = tail(console, PANIC_WINDOW)?;
    let line = tail.lines().rfind(|line| line.contains("Kernel panic - not syncing"))?;
    Some(line.trim().chars().take(200).collect())
}

/// The last bytes of a file as text; `None` when it cannot be read.
pub(super) fn tail(file: &Path, bytes: u64) -> Option<String> {
    let mut file = File::open(file).ok()?;
    let start = file.metadata().ok()?.len().saturating_sub(bytes);
    file.seek(SeekFrom::Start(start)).ok()?;
    let mut text = Vec::new();
    file.take(bytes).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_says_what_is_known() {
        let (fine, failed, killed) =
            (ExitStatus::from_raw(0), ExitStatus::from_raw(1 << 8), ExitStatus::from_raw(9));
        assert_eq!(ending(fine, Some("guest-shutdown"), None).text, "the guest powered off");
        let in_order = |status, reason, panic| ending(status, reason, panic).in_order;
        assert_eq!(in_order(fine, Some("guest-shutdown"), None), Some(true));
        assert_eq!(
            in_order(fine, Some("guest-shutdown"), Some("Kernel panic - not syncing: x")),
            Some(false)
        );
        assert_eq!(in_order(fine, Some("guest-reset"), None), Some(false));
        assert_eq!(in_order(killed, None, None), Some(false));
        assert_eq!(in_order(fine, None, None), None, "nobody heard why");
        assert!(ending(fine, Some("host-qmp-quit"), None).text.contains("from outside"));
        assert_eq!(ending(failed, None, None).text, "QEMU failed with exit code 1");
        assert_eq!(ending(killed, None, None).text, "QEMU was killed by signal 9");
        assert!(!ending(fine, Some("guest-reset"), None).fault && ending(killed, None, None).fault);
    }

    #[test]
    fn a_panic_is_found_at_the_end_of_the_console() {
        let folder = tempfile::tempdir().unwrap();
        let console = folder.path().join("console.log");
        assert_eq!(panic_line(&console), None);
        let noise = "x".repeat(100_000);
        std::fs::write(&console, format!("{noise}\r\n[ 1.0] Kernel panic - not syncing: no init\r\nend\r\n"))
            .unwrap();
        let line = panic_line(&console).unwrap();
        assert_eq!(line, "[ 1.0] Kernel panic - not syncing: no init");
        let ending = ending(ExitStatus::from_raw(0), Some("guest-reset"), Some(&line));
        assert!(ending.text.ends_with("no init") && ending.text.starts_with("the guest rebooted"));
    }
}
