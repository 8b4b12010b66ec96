//! The network of a server: a namespace of its own, which `pasta` joins to this host.
//!
//! QEMU's user network works inside the namespace as it would outside: the guest finds the namespace's loopback under
//! 10.0.2.2 and the name server under 10.0.2.3. On that loopback is one port, the gateway's, which `pasta` passes to
//! this host's. Whatever leaves the namespace leaves this host from a socket of `pasta`, so its own rules of routing
//! refuse what nobody outside could be reached by: the host's own addresses, and those at which a cloud tells the
//! server on which it runs who that is, credentials included. Those answer the manager, not its guest.
//!
//! A shell holds the namespace until its standard input ends. The other end of that pipe is QEMU's, so the network goes
//! with its server, whatever becomes of the manager.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::{PipeWriter, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::Child;

use super::confinement::Account;
use super::processes::{self, Process};
use super::programs::{Programs, clean_command};
use super::{HOST_SEEN_BY_GUESTS, blocking, io_error};
use crate::cloud::{CloudError, Trouble};

/// What `pasta` has to say. An argument by which the processes of the network are known, too.
pub(super) const LOG: &str = "network.log";
/// What QEMU sees as `/etc/resolv.conf` where the host's own names a server that only the host reaches.
const RESOLVER: &str = "resolv.conf";
/// The namespace's address and its router's, which nothing outside has (RFC 7335).
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 2);
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 1);
const PREFIX_LENGTH: &str = "29";
/// Protocols by their numbers: a host without Debian's `netbase` has no `/etc/protocols`, which `ip` looks names up in.
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Where clouds tell a server about itself: link-local addresses, and what Azure and Alibaba have in their place.
const METADATA: [&str; 3] = ["169.254.0.0/16", "168.63.129.16", "100.100.100.200"];
/// What the network may take to be there.
const START: Duration = Duration::from_secs(30);
/// Bytes of messages that become evidence.
const EVIDENCE: u64 = 4 << 10;
/// Addresses of this host that are closed; a host with more has virtual networks that nobody would list.
const MOST_ADDRESSES: usize = 1024;

/// What a network passes on and what it refuses.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The port on the loopback that is this host's.
    forward: Option<u16>,
    /// The host's name server is on its loopback: `pasta` asks it.
    names_by_pasta: bool,
    /// Name server that QEMU asks, when it is not the first one of the host's `resolv.conf`.
    resolver: Option<Ipv4Addr>,
    /// What is reached although its address is closed.
    open: Vec<(Ipv4Addr, u8, u16)>,
    closed: Vec<String>,
}

impl Plan {
    /// For a server whose agent dials `endpoint`, from this host as it is now.
    pub(super) fn of_this_host(endpoint: Option<SocketAddr>) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Self::new(
            endpoint,
            name_server(&read("/etc/resolv.conf")),
            name_server(&read("/run/systemd/resolve/resolv.conf")),
            &own_addresses(&read("/proc/net/fib_trie")),
        )
    }

    fn new(
        endpoint: Option<SocketAddr>,
        names: Option<Ipv4Addr>,
        names_behind_stub: Option<Ipv4Addr>,
        own: &[String],
    ) -> Self {
        let closed = METADATA.map(str::to_owned).into_iter().chain(own.iter().cloned());
        let mut plan = Self {
            forward: None,
            names_by_pasta: false,
            resolver: None,
            open: Vec::new(),
            closed: closed.collect(),
        };
        match endpoint {
            Some(SocketAddr::V4(here)) if *here.ip() == HOST_SEEN_BY_GUESTS => {
                plan.forward = Some(here.port());
            }
            Some(SocketAddr::V4(there)) => plan.open.push((*there.ip(), TCP, there.port())),
            _ => {}
        }
        let names = match names {
            Some(stub) if stub.is_loopback() => {
                let behind = names_behind_stub.filter(|server| !server.is_loopback());
                plan.names_by_pasta = behind.is_none();
                plan.resolver = Some(behind.unwrap_or(ROUTER));
                behind
            }
            direct => direct,
        };
        plan.open.extend(names.into_iter().flat_map(|server| [(server, UDP, 53), (server, TCP, 53)]));
        plan
    }

    /// The shell in the namespace: it sets the rules, says that they stand, and holds the namespace until its standard
    /// input ends. `marks` are arguments by which it is known, and so is the `pasta` that runs it.
    pub(super) fn holder(&self, marks: &[&OsStr]) -> Result<Vec<OsString>, CloudError> {
        let shell = ["/bin/sh", "-c", &self.script()].map(OsString::from);
        let ip = Programs::of_the_host("ip")?.into_os_string();
        Ok(shell.into_iter().chain([ip]).chain(marks.iter().map(OsString::from)).collect())
    }

    /// What that shell does; its `$0` is the program `ip`.
    fn script(&self) -> String {
        let mut script = "set -e\n\"$0\" -batch - <<'RULES'\n".to_owned();
        for (address, protocol, port) in &self.open {
            let _ = writeln!(
                script,
                "rule add pref 100 to {address} ipproto {protocol} dport {port} lookup main"
            );
        }
        for address in &self.closed {
            let _ = writeln!(script, "rule add pref 200 to {address} unreachable");
        }
        script + "RULES\necho ready\nexec >&-\nread -r end || :\n"
    }

    /// Arguments of `pasta`, without the command that it runs.
    pub(super) fn arguments(&self) -> Vec<String> {
        let forward = self.forward.map_or_else(|| "none".to_owned(), |port| port.to_string());
        let (address, router) = (ADDRESS.to_string(), ROUTER.to_string());
        let fixed = ["--foreground", "--quiet", "--config-net", "--ipv4-only", "--no-map-gw"];
        let ports = ["-t", "none", "-u", "none", "-U", "none", "-T", &forward];
        let addresses = ["-a", &address, "-n", PREFIX_LENGTH, "-g", &router];
        let names: &[&str] = if self.names_by_pasta { &["--dns-forward", &router] } else { &[] };
        [fixed.as_slice(), &ports, &addresses, names].concat().into_iter().map(str::to_owned).collect()
    }
}

/// A network that is there as long as `end` is open somewhere.
pub(super) struct Network {
    /// A process in it.
    pub(super) holder: i32,
    pub(super) end: PipeWriter,
    /// What QEMU is to see as `/etc/resolv.conf`.
    pub(super) resolver: Option<PathBuf>,
}

impl Network {
    /// Makes the network of the server with this name and directory. Fails with what `pasta` says.
    pub(super) async fn start(
        account: Account,
        name: &str,
        home: &Path,
        plan: &Plan,
    ) -> Result<Self, CloudError> {
        let (log, resolver) = blocking({
            let (home, server) = (home.to_owned(), plan.resolver);
            move || prepare(&home, server)
        })
        .await?;
        let (setpriv, pasta) = (Programs::of_the_host("setpriv")?, Programs::of_the_host("pasta")?);
        let failed = |error: std::io::Error| io_error("cannot start", &pasta, &error);
        let (held, end) = std::io::pipe().map_err(failed)?;
        let mut child = clean_command(&setpriv)
            .args(account.setpriv(None))
            .arg("--")
            .arg(&pasta)
            .args(plan.arguments())
            .arg("--")
            .args(plan.holder(&["-name".as_ref(), name.as_ref(), home.join(LOG).as_os_str()])?)
            .current_dir("/")
            .stdin(Stdio::from(held))
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let holder = holder(&mut child).await;
        // It ends by itself when `end` is closed; this only takes note of it.
        tokio::spawn(async move { child.wait().await });
        match holder {
            Some(holder) => Ok(Self { holder, end, resolver }),
            None => Err(refused(name, &home.join(LOG))),
        }
    }
}

/// What stands in a log of `pasta`, as one line for people.
pub(super) fn said(log: impl Read) -> String {
    let mut text = Vec::new();
    // A log that cannot be read says nothing.
    let _ = log.take(EVIDENCE).read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    // Not its complaint that the host has no system log.
    let said: Vec<&str> = text.lines().filter(|line| !line.contains("syslog")).collect();
    said.join("; ")
}

fn refused(name: &str, log: &Path) -> CloudError {
    let said = std::fs::File::open(log).map(said).unwrap_or_default();
    let message = format!("pasta made no network for server {name}: {said}; try `image-manager doctor`");
    CloudError::new(Trouble::Configuration, message).with_evidence(said)
}

/// Opens the log, and writes what QEMU is to see of name servers.
fn prepare(home: &Path, server: Option<Ipv4Addr>) -> Result<(std::fs::File, Option<PathBuf>), CloudError> {
    let path = home.join(LOG);
    let log = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| io_error("cannot write", &path, &error))?;
    let Some(server) = server else { return Ok((log, None)) };
    let path = home.join(RESOLVER);
    // QEMU's user reads it, by the mount; the manager's umask would leave it root's alone.
    std::fs::write(&path, format!("nameserver {server}\n"))
        .and_then(|()| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)))
        .map_err(|error| io_error("cannot write", &path, &error))?;
    Ok((log, Some(path)))
}

/// Waits until the shell in the namespace has said that its rules stand, and finds it; `None`: it did not come to that.
async fn holder(child: &mut Child) -> Option<i32> {
    let mut said = [0; 6];
    let mut output = child.stdout.take()?;
    tokio::time::timeout(START, output.read_exact(&mut said)).await.ok()?.ok()?;
    let pasta = i32::try_from(child.id()?).ok()?;
    let find = move || Ok(processes::all().into_iter().find(|process| process.parent() == Some(pasta)));
    blocking(find).await.ok()?.map(|process: Process| process.pid())
}

/// The first name server with an IPv4 address: the one that QEMU's user network asks.
fn name_server(resolv_conf: &str) -> Option<Ipv4Addr> {
    let mut words = resolv_conf.lines().map(str::split_ascii_whitespace);
    words.find_map(|mut line| (line.next()? == "nameserver").then(|| line.next()?.parse().ok())?)
}

/// The addresses of this host as `address/length`, its loopback's left out, from `/proc/net/fib_trie`.
fn own_addresses(fib_trie: &str) -> Vec<String> {
    let mut own = Vec::new();
    let mut address = None;
    for line in fib_trie.lines().map(str::trim) {
        if let Some(leaf) = line.strip_prefix("|-- ") {
            address = leaf.parse::<Ipv4Addr>().ok();
        } else if let (Some(address), Some(length)) = (address, line.strip_suffix(" host LOCAL"))
            && !address.is_loopback()
        {
            own.push(format!("{address}{length}"));
        }
    }
    own.sort_unstable();
    own.dedup();
    own.truncate(MOST_ADDRESSES);
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIB_TRIE: &str = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     \
        |-- 192.0.2.0\n        /24 link UNICAST\nLocal:\n     +-- 127.0.0.0/8 2 0 2\n           |-- 127.0.0.1\n              \
        /32 host LOCAL\n        |-- 192.0.2.2\n           /32 host LOCAL\n        |-- 192.0.2.255\n           \
        /32 link BROADCAST\n     |-- 172.17.0.1\n        /32 host LOCAL\nLocal:\n     |-- 192.0.2.2\n        /32 host LOCAL\n";

    fn address(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    #[test]
    fn the_addresses_of_the_host_are_closed_and_so_is_the_metadata_of_its_cloud() {
        let own = own_addresses(FIB_TRIE);
        assert_eq!(own, ["172.17.0.1/32", "192.0.2.2/32"]);
        let plan = Plan::new(Some("10.0.2.2:7".parse().unwrap()), Some(address("192.0.2.53")), None, &own);
        assert_eq!(plan.forward, Some(7));
        let script = plan.script();
        for closed in ["169.254.0.0/16", "168.63.129.16", "100.100.100.200", "172.17.0.1/32", "192.0.2.2/32"]
        {
            assert!(script.contains(&format!("rule add pref 200 to {closed} unreachable\n")), "{script}");
        }
        assert!(script.contains("pref 100 to 192.0.2.53 ipproto 17 dport 53 lookup main\n"), "{script}");
        let line = plan.arguments().join(" ");
        assert!(line.contains("--no-map-gw") && line.contains("-T 7") && line.contains("-U none"), "{line}");
        assert!(!line.contains("dns"), "{line}");
    }

    #[test]
    fn a_gateway_at_an_address_of_the_host_is_reached_at_its_port_only() {
        let plan =
            Plan::new(Some("192.0.2.2:50051".parse().unwrap()), None, None, &["192.0.2.2/32".to_owned()]);
        assert_eq!(plan.forward, None);
        assert_eq!(plan.open, [(address("192.0.2.2"), TCP, 50051)]);
        assert!(plan.arguments().join(" ").contains("-T none"));
    }

    #[test]
    fn a_name_server_on_the_loopback_is_asked_another_way() {
        assert_eq!(
            name_server("# none\nsearch x\nnameserver ::1\nnameserver 127.0.0.53\n"),
            Some(address("127.0.0.53"))
        );
        let uplink = address("198.51.100.1");
        let plan = Plan::new(None, Some(address("127.0.0.53")), Some(uplink), &[]);
        assert_eq!((plan.resolver, plan.names_by_pasta), (Some(uplink), false));
        assert_eq!(plan.open, [(uplink, UDP, 53), (uplink, TCP, 53)]);
        let plan = Plan::new(None, Some(address("127.0.0.1")), None, &[]);
        assert_eq!((plan.resolver, plan.names_by_pasta), (Some(ROUTER), true));
        assert!(plan.arguments().join(" ").ends_with("--dns-forward 192.0.0.1"));
        assert_eq!(plan.open, []);
    }
}
