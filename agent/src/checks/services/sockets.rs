//! What listens for others than the server itself, by the kernel's own tables.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::guest::Guest;
use crate::text;

/// Most sockets that are told of.
const MOST: usize = 64;
/// Most processes whose files are looked at.
const MOST_PROCESSES: usize = 4096;
/// States in the tables: a TCP socket that listens, and one of UDP that is not connected.
const TABLES: [(&str, &str, &str); 4] = [
    ("/proc/net/tcp", "tcp", "0A"),
    ("/proc/net/tcp6", "tcp", "0A"),
    ("/proc/net/udp", "udp", "07"),
    ("/proc/net/udp6", "udp", "07"),
];

/// A socket that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its protocol: `tcp` or `udp`.
    pub protocol: &'static str,
    /// On which address.
    pub address: IpAddr,
    /// On which port.
    pub number: u16,
    /// Whose it is. Empty: not known.
    pub program: String,
}

impl Listener {
    /// As a schedule writes it.
    pub fn port(&self) -> String {
        format!("{}/{}", self.number, self.protocol)
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = text::or(&self.program, "something");
        write!(formatter, "{program} listens on port {} of {}", self.port(), self.address)
    }
}

/// All of them, without those that only the server itself reaches.
pub(super) fn listeners(guest: &Guest) -> Vec<Listener> {
    let by_chance = guest.read("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let by_chance = range(&by_chance);
    let mut found: Vec<(Listener, u64)> = Vec::new();
    for (table, protocol, state) in TABLES {
        let text = guest.read(table).unwrap_or_default();
        for (address, number, inode) in text.lines().filter_map(|line| entry(line, state)) {
            let outgoing = protocol == "udp" && (by_chance.0..=by_chance.1).contains(&number);
            if address.is_loopback() || outgoing || found.len() == MOST {
                continue;
            }
            let listener = Listener { protocol, address, number, program: String::new() };
            if !found.iter().any(|(known, _)| *known == listener) {
                found.push((listener, inode));
            }
        }
    }
    name_owners(guest, &mut found);
    found.into_iter().map(|(listener, _)| listener).collect()
}

/// The ports that the kernel gives out by chance.
fn range(text: &str) -> (u16, u16) {
    let mut numbers = text.split_whitespace().map_while(|word| word.parse().ok());
    (numbers.next().unwrap_or(32768), numbers.next().unwrap_or(60999))
}

/// Address, port and inode of a line of a table, when the socket is in this state.
fn entry(line: &str, state: &str) -> Option<(IpAddr, u16, u64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    if words.get(3) != Some(&state) {
        return None;
    }
    let (address, port) = words.get(1)?.split_once(':')?;
    Some((address_of(address)?, u16::from_str_radix(port, 16).ok()?, words.get(9)?.parse().ok()?))
}

/// The kernel writes addresses as 32-bit words in its own byte order.
fn address_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(hex.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    if hex.len() == 8 {
        return Some(IpAddr::V4(Ipv4Addr::from(word(0)?)));
    }
    let mut bytes = [0; 16];
    for (index, part) in bytes.chunks_exact_mut(4).enumerate() {
        part.copy_from_slice(&word(index * 8)?);
    }
    let address = Ipv6Addr::from(bytes);
    Some(address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4))
}

/// Says which programs have these sockets, which are found by their inodes.
fn name_owners(guest: &Guest, sockets: &mut [(Listener, u64)]) {
    let Ok(processes) = fs::read_dir(guest.path("/proc")) else { return };
    let numbers = processes.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    for process in numbers.filter(|name| name.parse::<u32>().is_ok()).take(MOST_PROCESSES) {
        let Ok(files) = fs::read_dir(guest.path(format!("/proc/{process}/fd"))) else { continue };
        for link in files.flatten().filter_map(|file| fs::read_link(file.path()).ok()) {
            let inode: Option<u64> =
                link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            // One that several hold is told by the newest: systemd opens sockets for others.
            if let Some((listener, _)) = sockets.iter_mut().find(|(_, of)| Some(*of) == inode) {
                let name = guest.read(format!("/proc/{process}/comm")).unwrap_or_default();
                listener.program = text::one_line(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
        \x20  0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1234 1 0 100 0 0 10 0\n\
        \x20  1: 3500007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 1235 1 0 100 0 0 10 0\n\
        \x20  2: 0F02000A:0016 0202000A:8000 01 00000000:00000000 00:00000000 00000000     0        0 1236 1 0 100 0 0 10 0\n";
    const UDP6: &str = "   1: 000080FE00000000FF005450563412FE:0222 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000 998 0 77 2 0 0\n\
        \x20  2: 00000000000000000000000000000000:9999 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 78 2 0 0\n";

    #[test]
    fn the_kernels_tables_are_read() {
        let root = tempfile::tempdir().unwrap();
        let guest = Guest::below(root.path());
        fs::create_dir_all(guest.path("/proc/net")).unwrap();
        fs::create_dir_all(guest.path("/proc/42/fd")).unwrap();
        fs::write(guest.path("/proc/net/tcp"), TCP).unwrap();
        fs::write(guest.path("/proc/net/udp6"), UDP6).unwrap();
        fs::write(guest.path("/proc/42/comm"), "sshd\n").unwrap();
        std::os::unix::fs::symlink("socket:[1234]", guest.path("/proc/42/fd/3")).unwrap();
        let all: Vec<String> = listeners(&guest).iter().map(ToString::to_string).collect();
        assert_eq!(
            all,
            [
                "sshd listens on port 22/tcp of 0.0.0.0",
                "something listens on port 546/udp of fe80::5054:ff:fe12:3456"
            ]
        );
    }

    #[test]
    fn this_machine_is_seen_to_listen() {
        let socket = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let all = listeners(&Guest::default());
        // Where the host has more than are told of, this one may be among the others.
        assert!(
            all.len() == MOST || all.iter().any(|one| one.number == port && !one.program.is_empty()),
            "{all:?}"
        );
    }
}
