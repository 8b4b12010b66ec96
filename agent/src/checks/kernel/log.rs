//! The kernel's messages about its own faults.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;

use crate::guest::Guest;
use crate::text;

/// Most messages that are read; the kernel's buffer has fewer.
const MOST_MESSAGES: usize = 100_000;
/// Most faults that are told of.
const MOST: usize = 8;
/// Longest message with its fields, as the kernel gives it out.
const LONGEST: usize = 8192;

/// How the kernel begins to tell of a fault.
const FAULTS: [&str; 7] = [
    "BUG: ",
    "kernel BUG at",
    "Oops: ",
    "Internal error: ",
    "Kernel panic",
    "general protection fault",
    "Unable to handle kernel",
];
/// Faults by which a host shows that it was busy.
const OF_A_BUSY_HOST: [&str; 4] = ["soft lockup", "hard LOCKUP", "workqueue lockup", "rcu"];

/// The messages about faults, from the boot on.
pub(super) fn faults(guest: &Guest) -> Vec<String> {
    let opened =
        OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(guest.path("/dev/kmsg"));
    let Ok(mut log) = opened else { return Vec::new() };
    let mut faults = Vec::new();
    let mut record = vec![0; LONGEST];
    // Each read gives one message; in a made-up guest the file is read as it comes.
    for _ in 0..MOST_MESSAGES {
        let count = match log.read(&mut record) {
            Ok(0) => break,
            Ok(count) => count,
            // Older messages were overwritten meanwhile.
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted) => continue,
            Err(_) => break,
        };
        let said = String::from_utf8_lossy(record.get(..count).unwrap_or_default());
        faults.extend(said.lines().filter_map(fault));
        if faults.len() >= MOST {
            break;
        }
    }
    faults.truncate(MOST);
    faults
}

/// The message of a line `PRIORITY,NUMBER,TIME,FLAGS;MESSAGE`, when it is the kernel's own and tells of a fault.
fn fault(line: &str) -> Option<String> {
    let (prefix, message) = line.split_once(';')?;
    let priority: u32 = prefix.split(',').next()?.parse().ok()?;
    // Programs write to this log as well, with a facility of their own.
    let is_kernels = priority >> 3 == 0;
    let tells = FAULTS.iter().any(|fault| message.starts_with(fault))
        || message
            .split_once(": ")
            .is_some_and(|(_, rest)| FAULTS.iter().any(|fault| rest.starts_with(fault)));
    let busy = OF_A_BUSY_HOST.iter().any(|fault| message.contains(fault));
    (is_kernels && tells && !busy).then(|| text::one_line(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_from_other_messages() {
        let root = tempfile::tempdir().unwrap();
        let guest = Guest::below(root.path());
        std::fs::create_dir_all(guest.path("/dev")).unwrap();
        let said = "6,1,0,-;Linux version 6.1.0-31-cloud-amd64\n SUBSYSTEM=acpi\n\
                    4,2,10,-;x86/cpu: SGX disabled\n\
                    30,3,20,-;systemd[1]: BUG: a program's own words\n\
                    0,4,30,-;watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [cc1:12]\n\
                    1,5,40,-;BUG: kernel NULL pointer dereference, address: 0000000000000000\n\
                    4,6,41,-;Oops: 0002 [#1] PREEMPT SMP NOPTI\n\
                    6,7,42,-;Oopsie is no word of the kernel\n";
        std::fs::write(guest.path("/dev/kmsg"), said).unwrap();
        let found = faults(&guest);
        assert_eq!(found[0], "BUG: kernel NULL pointer dereference, address: 0000000000000000");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(faults(&Guest::below("/nonexistent")).is_empty());
    }
}
