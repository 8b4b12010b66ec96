//! Whose the other end of a connection on this host is, as the kernel tells it: the socket is asked for by its addresses
//! ([`socket_diag`]), and where that tells nothing its owner is looked for in `/proc/net/tcp` and `/proc/net/tcp6`
//! (proc_pid_net(5)).
//!
//! A socket that its program has closed already has root as the owner in many kernels, whoever it was. So it counts only
//! while the connection is established and the socket has an inode, and it is looked at twice: a program that closes it
//! between the kernel's two looks is seen by the second one. Our own end must be established too, by its inode, so that
//! nobody's socket is taken who came to the same port later.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::socket_diag;

/// The tables.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];
/// Most bytes of a table that are read: a hundred thousand connections.
const MOST: u64 = 16 << 20;
/// The state of an established connection (TCP_ESTABLISHED in linux/tcp_states.h).
const ESTABLISHED: u8 = 1;
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Lookups at a time; each reads all connections of the host.
static TURNS: Semaphore = Semaphore::const_new(2);

/// A connection as this end has it.
#[derive(Debug, Clone, Copy)]
pub(in crate::operator) struct Ends {
    /// The other end.
    pub(in crate::operator) peer: SocketAddr,
    /// This end.
    pub(in crate::operator) here: SocketAddr,
    /// The inode of this end's socket.
    pub(in crate::operator) inode: u64,
}

/// The uid that the other end's socket belongs to; `None` when it cannot be told.
pub(in crate::operator) async fn of(ends: Ends) -> Option<u32> {
    if !is_within(ends) {
        return None;
    }
    let look = async {
        let turn = TURNS.acquire().await.ok()?;
        let look = move || {
            let uid = twice(ends);
            drop(turn);
            uid
        };
        tokio::task::spawn_blocking(look).await.ok()?
    };
    tokio::time::timeout(PATIENCE, look).await.ok()?
}

/// The same, but `None` at once when others are being looked up: for those who may be many.
pub(in crate::operator) async fn of_at_leisure(ends: Ends) -> Option<u32> {
    if TURNS.available_permits() == 0 { None } else { of(ends).await }
}

/// Whether both ends are on loopback.
fn is_within(ends: Ends) -> bool {
    ends.peer.ip().to_canonical().is_loopback() && ends.here.ip().to_canonical().is_loopback()
}

fn twice(ends: Ends) -> Option<u32> {
    let twice = |once: fn(Ends) -> Option<Row>| {
        let first = once(ends)?;
        (once(ends)? == first).then_some(first.uid)
    };
    twice(asked_for).or_else(|| twice(in_tables))
}

/// Both sockets asked for by their addresses.
fn asked_for(ends: Ends) -> Option<Row> {
    let (peer, here) = (canonical(ends.peer), canonical(ends.here));
    let established =
        |local, remote| socket_diag::socket(local, remote).filter(|told| told.state == ESTABLISHED);
    let theirs = established(peer, here).filter(|told| told.inode != 0)?;
    let ours = established(here, peer)?;
    (ours.inode == ends.inode).then_some(Row { uid: theirs.uid, inode: theirs.inode })
}

fn in_tables(ends: Ends) -> Option<Row> {
    let mut found = Found::default();
    for table in TABLES {
        // Without IPv6 there is no second table.
        let Ok(file) = File::open(table) else { continue };
        let mut rest = BufReader::new(file.take(MOST));
        let mut line = String::new();
        // Most lines need not be read further.
        let port = format!(":{:04X} ", ends.peer.port());
        while rest.read_line(&mut line).ok()? > 0 {
            if line.contains(&port) {
                found.note(&line, ends);
            }
            line.clear();
        }
        if rest.into_inner().limit() == 0 {
            return None;
        }
        // The addresses of a connection are its alone, whichever table each end is in.
        if let Some(row) = found.only() {
            return Some(row);
        }
    }
    None
}

/// What the tables say of the other end's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    uid: u32,
    inode: u64,
}

/// The rows of the two ends.
#[derive(Debug, Default)]
struct Found {
    theirs: Vec<Row>,
    ours: bool,
}

impl Found {
    fn note(&mut self, line: &str, ends: Ends) {
        let Some((local, remote, state, row)) = parse(line) else { return };
        let (peer, here) = (canonical(ends.peer), canonical(ends.here));
        if u8::from_str_radix(state, 16) != Ok(ESTABLISHED) {
            return;
        }
        if (local, remote) == (peer, here) {
            self.theirs.push(row);
        } else if (local, remote) == (here, peer) && row.inode == ends.inode {
            self.ours = true;
        }
    }

    fn only(&self) -> Option<Row> {
        match self.theirs.as_slice() {
            [row] if self.ours && row.inode != 0 => Some(*row),
            _ => None,
        }
    }
}

/// Local address, remote address, state, owner and inode of a row.
fn parse(line: &str) -> Option<(SocketAddr, SocketAddr, &str, Row)> {
    let mut fields = line.split_ascii_whitespace();
    let local = address(fields.nth(1)?)?;
    let remote = address(fields.next()?)?;
    let state = fields.next()?;
    // Queues, timer and retransmissions are between.
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    Some((local, remote, state, Row { uid, inode }))
}

/// The kernel prints each 32 bits of an address as a number of this machine's byte order.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |index: usize| -> Option<[u8; 4]> {
        Some(u32::from_str_radix(ip.get(8 * index..8 * index + 8)?, 16).ok()?.to_ne_bytes())
    };
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let bytes: Vec<u8> = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?))
        }
        _ => return None,
    };
    Some(canonical(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?)))
}

/// An IPv4 address that came as IPv6 is the same one; scopes do not count.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    /// Rows as a little-endian kernel prints them: one of ours and one of theirs, and others beside them.
    fn table(state: &str, uid: u32, inode: u64) -> String {
        format!(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5 1 0 100 0 0 10 0
   1: 0100007F:C350 0100007F:1F90 {state} 00000000:00000000 00:00000000 00000000 {uid}  0 {inode} 1 0 20 4 30 10 -1
   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 77 1 0 20 4 30 10 -1
   3: 0100007F:C351 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 9 1 0 20 4 30 10 -1
"
        )
    }

    fn ends() -> Ends {
        let address = |text: &str| text.parse().unwrap();
        Ends { peer: address("127.0.0.1:50000"), here: address("127.0.0.1:8080"), inode: 77 }
    }

    fn found(table: &str, ends: Ends) -> Option<u32> {
        let mut found = Found::default();
        table.lines().for_each(|line| found.note(line, ends));
        found.only().map(|row| row.uid)
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn the_row_of_the_other_end_says_whose_it_is() {
        assert_eq!(found(&table("01", 1000, 78), ends()), Some(1000));
        for closing in ["04", "05", "06", "08", "0A"] {
            assert_eq!(found(&table(closing, 0, 0), ends()), None, "its row says root in state {closing}");
        }
        assert_eq!(found(&table("01", 0, 0), ends()), None, "closed this instant");
        assert_eq!(found(&table("01", 1000, 78), Ends { inode: 76, ..ends() }), None, "not our connection");
        let twice = format!("{}{}", table("01", 1000, 78), table("01", 0, 79));
        assert_eq!(found(&twice, ends()), None);
        let mapped = "   1: 0000000000000000FFFF00000100007F:C350 0000000000000000FFFF00000100007F:1F90 01 \
                      00000000:00000000 00:00000000 00000000 33 0 78 1 0 20 4 30 10 -1\n";
        let ours = table("01", 1000, 78);
        let ours: String = ours.lines().skip(3).take(1).collect();
        assert_eq!(found(&format!("{mapped}{ours}"), ends()), Some(33), "IPv4 by an IPv6 socket");
        assert_eq!(found("nonsense\n\n 1: x:y z:0 01\n", ends()), None);
    }

    /// Others connect and go while the tables are read.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_connection_is_found_in_a_crowd() {
        let crowd = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = crowd.local_addr().unwrap();
        let come_and_go = tokio::spawn(async move {
            loop {
                let mut open = Vec::new();
                for _ in 0..20 {
                    let client = tokio::net::TcpStream::connect(address).await.unwrap();
                    open.push((client, crowd.accept().await.unwrap()));
                }
                // The rows of those that went stay for a minute: not too many.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        for round in 0..40 {
            let client = tokio::net::TcpStream::connect(here).await.unwrap();
            let (server, peer) = listener.accept().await.unwrap();
            let inode = nix::sys::stat::fstat(server.as_fd()).unwrap().st_ino;
            let ends = Ends { peer, here, inode };
            assert_eq!(of(ends).await, Some(nix::unistd::geteuid().as_raw()), "round {round}");
            drop(client);
        }
        come_and_go.abort();
    }

    #[tokio::test]
    async fn both_ways_to_ask_tell_the_same() {
        let listener = tokio::net::TcpListener::bind("[::]:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for there in ["127.0.0.1", "::1"] {
            let client = tokio::net::TcpStream::connect((there, port)).await.unwrap();
            let (server, peer) = listener.accept().await.unwrap();
            let inode = nix::sys::stat::fstat(server.as_fd()).unwrap().st_ino;
            let ends = Ends { peer, here: server.local_addr().unwrap(), inode };
            let asked = asked_for(ends).unwrap_or_else(|| panic!("{there}: the kernel does not tell"));
            assert_eq!(asked.inode, nix::sys::stat::fstat(client.as_fd()).unwrap().st_ino, "{there}");
            // Others come and go beside this test.
            let listed = (0..50).find_map(|_| in_tables(ends));
            assert_eq!(listed, Some(asked), "{there}");
            assert_eq!(asked_for(Ends { inode: inode + 1, ..ends }), None, "{there}: not our connection");
            drop(client);
            assert_eq!(asked_for(ends), None, "{there}: who has closed is nobody");
        }
    }

    #[tokio::test]
    async fn the_kernel_knows_this_process() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = tokio::net::TcpListener::bind(any).await else { continue };
            let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (server, peer) = listener.accept().await.unwrap();
            let inode = nix::sys::stat::fstat(server.as_fd()).unwrap().st_ino;
            let ends = Ends { peer, here: server.local_addr().unwrap(), inode };
            assert_eq!(of(ends).await, Some(nix::unistd::geteuid().as_raw()), "{any}");
            drop(client);
            assert_eq!(of(ends).await, None, "{any}: who has closed is nobody");
        }
    }
}
