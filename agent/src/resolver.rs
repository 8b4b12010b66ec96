//! Names, through the guest's own resolver.
//!
//! A static glibc binary cannot use the guest's NSS modules (systemd-resolved, mDNS, LDAP), so it asks
//! the guest's `getent`, which answers as every other program of the guest is answered.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::{Instant, timeout};

use crate::guest::Guest;
use crate::text;

const PLACES: [&str; 3] = ["/usr/bin/getent", "/bin/getent", "/run/current-system/sw/bin/getent"];
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Most addresses of one name that are kept.
const MOST_ADDRESSES: usize = 16;
/// Longest name of DNS.
const LONGEST_NAME: usize = 253;

/// What the resolver said of a name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lookup {
    /// The addresses, each once, in the resolver's order.
    pub addresses: Vec<IpAddr>,
    /// How long it took.
    pub took: Duration,
    /// `getent`'s exit code: 0 found, 2 not found. None when it was killed or timed out.
    pub exit_code: Option<i32>,
    /// What it complained of, or why there is no answer.
    pub error: String,
}

/// The guest's `getent`, when it has one.
pub(crate) fn find(guest: &Guest) -> Option<PathBuf> {
    PLACES.iter().map(|place| guest.path(place)).find(|path| path.is_file())
}

/// Whether this can be a name at all. Also keeps options and the like from `getent`.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= LONGEST_NAME
        && !name.starts_with('-')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
}

/// Asks once.
pub(crate) async fn look_up(getent: &std::path::Path, name: &str, patience: Duration) -> Lookup {
    let started = Instant::now();
    if !is_name(name) {
        return Lookup { error: "not a host name".to_owned(), ..Lookup::default() };
    }
    let child = Command::new(getent)
        .args(["ahosts", name])
        .env_clear()
        .env("PATH", SEARCH_PATH)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = timeout(patience, child).await;
    let took = started.elapsed();
    match ended {
        Err(_) => {
            Lookup { took, error: format!("no answer within {}", text::seconds(took)), ..Lookup::default() }
        }
        Ok(Err(error)) => Lookup { took, error: format!("getent: {error}"), ..Lookup::default() },
        Ok(Ok(output)) => Lookup {
            addresses: addresses(&String::from_utf8_lossy(&output.stdout)),
            took,
            exit_code: output.status.code(),
            error: error_of(output.status.code(), &String::from_utf8_lossy(&output.stderr)),
        },
    }
}

fn error_of(exit_code: Option<i32>, stderr: &str) -> String {
    let said = text::one_line(stderr);
    match exit_code {
        Some(0) => said,
        Some(2) if said.is_empty() => "name not found".to_owned(),
        _ if said.is_empty() => "getent failed".to_owned(),
        _ => said,
    }
}

/// Reads `getent ahosts`: `ADDRESS TYPE [NAME]`, a line for each socket type.
fn addresses(output: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for line in output.lines() {
        // A link-local address may carry its interface: fe80::1%eth0.
        let word = line.split_whitespace().next().and_then(|word| word.split('%').next());
        let Some(address) = word.and_then(|word| word.parse().ok()) else { continue };
        if !found.contains(&address) && found.len() < MOST_ADDRESSES {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn getent_is_read() {
        let output = "2001:db8::1     STREAM mirror.example\n2001:db8::1     DGRAM  \n\
                      192.0.2.7       STREAM \n192.0.2.7       RAW    \n";
        let expected: Vec<IpAddr> = vec!["2001:db8::1".parse().unwrap(), "192.0.2.7".parse().unwrap()];
        assert_eq!(addresses(output), expected);
        assert_eq!(addresses(""), Vec::<IpAddr>::new());
    }

    #[test]
    fn only_names_are_looked_up() {
        assert!(is_name("mirror.example"));
        assert!(!is_name("--service"));
        assert!(!is_name("a b"));
        assert!(!is_name(""));
    }

    #[tokio::test]
    async fn this_machine_knows_localhost() {
        let Some(getent) = find(&Guest::default()) else { return };
        let lookup = look_up(&getent, "localhost", Duration::from_secs(10)).await;
        assert!(
            lookup.addresses.iter().all(IpAddr::is_loopback) && !lookup.addresses.is_empty(),
            "{lookup:?}"
        );
        assert_eq!(lookup.exit_code, Some(0));
    }

    #[tokio::test]
    async fn a_silent_resolver_is_left() {
        let root = tempfile::tempdir().unwrap();
        let slow = root.path().join("getent");
        std::fs::write(&slow, "#!/bin/sh\nexec sleep 60\n").unwrap();
        std::fs::set_permissions(&slow, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let lookup = look_up(&slow, "localhost", Duration::from_millis(200)).await;
        assert!(lookup.error.starts_with("no answer"), "{lookup:?}");
    }
}
