//! One socket of this host asked for by its addresses, over netlink (sock_diag(7)): the kernel looks that one up, whatever
//! others do meanwhile. Its tables in `/proc/net` are handed out in pieces, and miss rows while sockets come and go.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// From linux/socket.h, linux/netlink.h, linux/sock_diag.h and netinet/in.h.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const NLM_F_REQUEST: u16 = 1;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const IPPROTO_TCP: u8 = 6;
/// Bytes of a `struct nlmsghdr`.
const HEADER: usize = 16;
/// Where a `struct inet_diag_msg` has its state, and its uid, which its inode follows.
const STATE: usize = HEADER + 1;
const UID: usize = HEADER + 64;
/// The kernel answers at once.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the kernel tells of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SocketInfo {
    pub(super) state: u8,
    pub(super) uid: u32,
    pub(super) inode: u64,
}

/// The TCP socket with these addresses. `None`: there is none, or this kernel does not tell (module tcp_diag).
pub(super) fn socket(local: SocketAddr, remote: SocketAddr) -> Option<SocketInfo> {
    let answer = ask(&request(local, remote)).ok()?;
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let number = |at: usize| Some(u32::from_ne_bytes(answer.get(at..at + 4)?.try_into().ok()?));
    // Anything else is an error: ENOENT where there is no such socket.
    (kind == SOCK_DIAG_BY_FAMILY).then_some(())?;
    Some(SocketInfo { state: *answer.get(STATE)?, uid: number(UID)?, inode: number(UID + 4)?.into() })
}

fn ask(request: &[u8]) -> io::Result<Vec<u8>> {
    let domain = Domain::from(AF_NETLINK);
    let mut socket = Socket::new(domain, Type::DGRAM, Some(Protocol::from(NETLINK_SOCK_DIAG)))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(request)?;
    let mut answer = vec![0; 1024];
    let length = socket.read(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

/// A `struct nlmsghdr` and a `struct inet_diag_req_v2`.
fn request(local: SocketAddr, remote: SocketAddr) -> Vec<u8> {
    let family = if local.is_ipv4() { AF_INET } else { AF_INET6 };
    let mut wanted = vec![family, IPPROTO_TCP, 0, 0];
    // In whatever state.
    wanted.extend(u32::MAX.to_ne_bytes());
    wanted.extend([local.port().to_be_bytes(), remote.port().to_be_bytes()].concat());
    for address in [local.ip(), remote.ip()] {
        let mut bytes = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        bytes.resize(16, 0);
        wanted.extend(bytes);
    }
    // On any interface, and no cookie is known.
    wanted.extend(0_u32.to_ne_bytes());
    wanted.extend([0xFF; 8]);
    let length = u32::try_from(HEADER + wanted.len()).unwrap_or_default();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend([SOCK_DIAG_BY_FAMILY.to_ne_bytes(), NLM_F_REQUEST.to_ne_bytes()].concat());
    message.extend([0; 8]);
    message.extend(wanted);
    message
}
