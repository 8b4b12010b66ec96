//! The name servers that the guest is configured to ask, and where that was written.

use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::guest::Guest;
use crate::text;

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where systemd-resolved writes the real name servers.
const BEHIND_STUB: &str = "/run/systemd/resolve/resolv.conf";
/// systemd-resolved's own address in resolv.conf, behind which the real name servers are.
const STUB: &str = "127.0.0.53";
/// How much later than it happened a change of a file may be dated, and earlier a boot.
const CLOCK_TICK: Duration = Duration::from_secs(1);
/// Most name servers that are told of.
const MOST: usize = 8;

/// What `resolv.conf` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NameServers {
    /// Those that the guest asks, or those behind its own resolver.
    pub(crate) asked: Vec<String>,
    /// The file has been as it is since before the boot, and names a server that is another machine.
    pub(crate) baked: bool,
}

impl NameServers {
    /// Reads them; `booted` is when the guest has booted, by its own clock.
    pub(crate) fn of(guest: &Guest, booted: Option<SystemTime>) -> Self {
        let read = |path| servers(&guest.read(path).unwrap_or_default());
        let named = read(RESOLV_CONF);
        let baked = named.iter().any(|server| is_elsewhere(server))
            && booted.is_some_and(|booted| is_older(guest, RESOLV_CONF, booted));
        let behind = if named.iter().any(|server| server == STUB) { read(BEHIND_STUB) } else { Vec::new() };
        Self { asked: if behind.is_empty() { named } else { behind }, baked }
    }
}

fn servers(resolv_conf: &str) -> Vec<String> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next().map(text::one_line)).flatten()
    };
    resolv_conf.lines().filter_map(server).take(MOST).collect()
}

fn is_elsewhere(server: &str) -> bool {
    server.parse::<IpAddr>().map_or(true, |address| !address.is_loopback())
}

/// Whether a file was changed last before the boot. Both times are of the guest's own clock.
fn is_older(guest: &Guest, path: &str, booted: SystemTime) -> bool {
    let Ok(file) = guest.path(path).metadata() else { return false };
    let changed = u64::try_from(file.ctime()).map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds));
    changed.is_ok_and(|changed| changed + CLOCK_TICK < booted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_from_before_the_boot_is_the_images_unless_it_only_names_the_server_itself() {
        let root = tempfile::tempdir().unwrap();
        let guest = Guest::below(root.path());
        std::fs::create_dir_all(guest.path("/etc")).unwrap();
        let (before, after) =
            (SystemTime::now() - Duration::from_mins(1), SystemTime::now() + Duration::from_mins(1));
        let baked = |booted| NameServers::of(&guest, Some(booted)).baked;
        assert!(!baked(after), "no file");
        let write = |text: &str| std::fs::write(guest.path(RESOLV_CONF), text).unwrap();
        write("nameserver 192.0.2.53\n");
        assert!(baked(after) && !baked(before));
        assert!(!NameServers::of(&guest, None).baked, "nobody knows when it booted");
        write("nameserver 127.0.0.53\nnameserver 192.0.2.53\n");
        assert!(baked(after));
        write("# by the installer\nnameserver 127.0.0.1\nnameserver ::1\n");
        assert!(!baked(after));
    }

    #[test]
    fn the_stub_is_looked_behind() {
        let root = tempfile::tempdir().unwrap();
        let guest = Guest::below(root.path());
        std::fs::create_dir_all(guest.path("/run/systemd/resolve")).unwrap();
        std::fs::create_dir_all(guest.path("/etc")).unwrap();
        let asked = || NameServers::of(&guest, None).asked;
        std::fs::write(guest.path(RESOLV_CONF), "# x\nnameserver 127.0.0.53\noptions edns0\n").unwrap();
        assert_eq!(asked(), ["127.0.0.53"]);
        std::fs::write(guest.path(BEHIND_STUB), "nameserver 10.0.2.3\n").unwrap();
        assert_eq!(asked(), ["10.0.2.3"]);
    }
}
