//! The SSH server as it is met: whether it answers, which key it proves, and why not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::checks::program::Program;
use crate::checks::sshd::{Configuration, PATIENCE};
use crate::checks::{pause, program, public_keys};
use crate::guest::Guest;
use crate::text;

/// Most addresses that are tried.
const MOST_ADDRESSES: usize = 8;
/// How long each try of a key exchange may take.
const EXCHANGES: [Duration; 3] = [Duration::from_secs(15), Duration::from_secs(30), Duration::from_mins(1)];
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// Longest line before the keys are exchanged, and most lines.
const LONGEST_LINE: usize = 512;
const MOST_LINES: usize = 16;
/// SSH_MSG_KEXINIT (RFC 4253).
const KEXINIT: u8 = 20;
const BANNER: &[u8] = b"SSH-2.0-ImageManager\r\n";
const UNITS: [&str; 4] = ["ssh.service", "sshd.service", "ssh.socket", "sshd.socket"];

/// Where it may be met from the guest itself.
fn addresses(configuration: &Configuration) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> =
        configuration.values("listenaddress").filter_map(|value| value.parse().ok()).map(nearest).collect();
    let port = configuration.value("port").parse().unwrap_or(22);
    all.push(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    all.push(SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
    all.sort_by_key(SocketAddr::is_ipv6);
    all.dedup();
    all.truncate(MOST_ADDRESSES);
    all
}

/// An address that listens everywhere listens on loopback, too.
fn nearest(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Why no SSH server was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// In words.
    pub why: String,
    /// Somebody may be there: there was no answer in the time.
    pub late: bool,
}

/// Where an SSH server answers, with its name; or why none does.
pub(super) async fn meet(
    configuration: &Configuration,
    deadline: Instant,
) -> Result<(SocketAddr, String), Unmet> {
    let mut unmet: Option<Unmet> = None;
    for address in addresses(configuration) {
        let asked = timeout_at(deadline.min(Instant::now() + PATIENCE), greet(address)).await;
        let found = match asked {
            Ok(Ok(banner)) => return Ok((address, banner)),
            Ok(Err(why)) => Unmet { why: format!("{address}: {why}"), late: false },
            Err(_) => Unmet { why: format!("{address}: no answer in time"), late: true },
        };
        // Who may be there counts for more than who is not.
        if unmet.as_ref().is_none_or(|unmet| found.late && !unmet.late) {
            unmet = Some(found);
        }
    }
    Err(unmet.unwrap_or_else(|| Unmet { why: String::new(), late: false }))
}

/// Goes as far as to the server's first packet of the key exchange.
async fn greet(address: SocketAddr) -> Result<String, String> {
    let said = |error: std::io::Error| text::with_causes(&error);
    let mut stream = TcpStream::connect(address).await.map_err(said)?;
    let mut banner = String::new();
    // Other lines may stand before it.
    for _ in 0..MOST_LINES {
        banner = line(&mut stream).await.map_err(said)?;
        if banner.starts_with("SSH-") {
            break;
        }
    }
    if !banner.starts_with("SSH-") {
        return Err(format!("what answers is not an SSH server: {}", text::one_line(&banner)));
    }
    stream.write_all(BANNER).await.map_err(said)?;
    // Length, length of the padding, and the number of the message.
    let mut head = [0; 6];
    stream.read_exact(&mut head).await.map_err(said)?;
    let [.., message] = head;
    if message != KEXINIT {
        return Err("it does not begin a key exchange".to_owned());
    }
    Ok(text::one_line(&banner))
}

/// A byte at a time, for what follows is not a line.
async fn line(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut line = Vec::new();
    while line.len() < LONGEST_LINE {
        match stream.read_u8().await? {
            b'\n' => break,
            byte => line.push(byte),
        }
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// What systemd says of the server's unit: the first that there is.
pub(super) async fn unit(guest: &Guest, deadline: Instant) -> String {
    let Some(systemctl) = program::program(guest, "systemctl") else { return String::new() };
    let arguments = ["show", "--property=Id,LoadState,UnitFileState,ActiveState,Result"];
    let asked = systemctl.with(arguments.into_iter().chain(UNITS));
    state_of(&asked.run(deadline.min(Instant::now() + PATIENCE)).await.out)
}

/// Reads `systemctl show`: a block of `KEY=VALUE` for each unit.
pub(super) fn state_of(shown: &str) -> String {
    for block in shown.split("\n\n") {
        let value = |key: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_default()
        };
        let id = value("Id");
        let state = match (value("LoadState"), value("UnitFileState"), value("ActiveState")) {
            ("" | "not-found", ..) => continue,
            ("masked", ..) => "is masked".to_owned(),
            (_, _, "failed") => format!("has failed ({})", value("Result")),
            (_, "disabled", "inactive") => "is not enabled".to_owned(),
            (.., active) => format!("is {active}"),
        };
        return text::one_line(&format!("{id} {state}"));
    }
    String::new()
}

/// What came of a real key exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    /// The key that the server has proved to have, in base64.
    Proved(String),
    /// The server ended it, for this reason.
    Failed(String),
    /// There was no end of it in the time.
    Late(String),
}

/// Has the server prove its key in a real key exchange. None: the guest has no program for it.
pub(super) async fn exchange(
    guest: &Guest,
    address: SocketAddr,
    kind: &str,
    deadline: Instant,
) -> Option<Exchange> {
    let keyscan = program::program(guest, "ssh-keyscan")?;
    let mut came = Exchange::Late("there was no time for it".to_owned());
    let mut wait = FIRST_PAUSE;
    for patience in EXCHANGES {
        came = exchange_once(&keyscan, address, kind, patience, deadline).await;
        // Once more: others log in at the same time, and sshd shuts out some of too many; or the machine is slow.
        if matches!(came, Exchange::Proved(_)) || !pause(&mut wait, LONGEST_PAUSE, deadline).await {
            break;
        }
    }
    Some(came)
}

async fn exchange_once(
    keyscan: &Program,
    address: SocketAddr,
    kind: &str,
    patience: Duration,
    deadline: Instant,
) -> Exchange {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let seconds = patience.as_secs().to_string();
    // One kind: newer servers shut out who comes too often without logging in.
    let arguments = ["-T", &seconds, "-t", kind, "-p", &port, &host];
    let started = Instant::now();
    // It keeps to its own time; the rest is for a machine that does not let it.
    let ran = keyscan.clone().with(arguments).run(deadline.min(started + 2 * patience)).await;
    if let Some(key) = ran.out.lines().find_map(public_keys::key_of) {
        return Exchange::Proved(key.to_owned());
    }
    if ran.late {
        return Exchange::Late(text::one_line(&ran.broken));
    }
    // It says nothing of a server that does not answer.
    if started.elapsed() >= patience {
        return Exchange::Late(format!("no key came within {}", text::seconds(patience)));
    }
    // Its comments name the server.
    let said: Vec<&str> = ran.err.lines().filter(|line| !line.starts_with('#')).collect();
    let said = text::one_line(&said.join(" "));
    Exchange::Failed(text::or(text::or(&said, &ran.broken), "no key came").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(text: &str) -> Configuration {
        let pair = |line: &str| line.split_once(' ').map(|(key, value)| (key.to_owned(), value.to_owned()));
        Configuration { lines: text.lines().filter_map(pair).collect(), ..Configuration::default() }
    }

    #[test]
    fn loopback_comes_first() {
        let text = "port 2222\nlistenaddress [::]:2222\nlistenaddress 0.0.0.0:2222\n";
        let all: Vec<String> = addresses(&configuration(text)).iter().map(ToString::to_string).collect();
        assert_eq!(all, ["127.0.0.1:2222", "[::1]:2222"]);
        let one = addresses(&configuration("port 22\nlistenaddress 192.0.2.7:22\n"));
        assert_eq!(one.first().unwrap().to_string(), "192.0.2.7:22");
    }

    #[tokio::test]
    async fn a_key_that_does_not_come_in_time_is_not_refused() {
        let root = tempfile::tempdir().unwrap();
        let guest = Guest::below(root.path());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 22));
        assert_eq!(exchange(&guest, address, "rsa", Instant::now()).await, None);
        let once = async |script: &str| {
            program::plant(&guest, "ssh-keyscan", script);
            let keyscan = program::program(&guest, "ssh-keyscan").unwrap();
            let (patience, deadline) = (Duration::from_secs(1), Instant::now() + Duration::from_secs(20));
            exchange_once(&keyscan, address, "rsa", patience, deadline).await
        };
        // As the real one: it says nothing when its time is up.
        let late = once("sleep 1; exit 1").await;
        assert_eq!(late, Exchange::Late("no key came within 1.0 s".to_owned()));
        assert!(matches!(once("exec sleep 60").await, Exchange::Late(why) if why.contains("in time")));
        let refused =
            once("echo '# 127.0.0.1:22 SSH-2.0-X'; echo '127.0.0.1: Connection closed' >&2; exit 1").await;
        assert_eq!(refused, Exchange::Failed("127.0.0.1: Connection closed".to_owned()));
        assert_eq!(once("exit 1").await, Exchange::Failed("no key came".to_owned()));
    }

    #[tokio::test]
    async fn a_key_exchange_is_tried_again() {
        let root = tempfile::tempdir().unwrap();
        let guest = Guest::below(root.path());
        let mark = guest.path("/mark");
        let script = format!(
            "[ -e {0} ] && echo '127.0.0.1 ssh-ed25519 AAAAx' && exit 0\n: >{0}\necho 'Connection closed' >&2; exit 1",
            mark.display()
        );
        program::plant(&guest, "ssh-keyscan", &script);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 22));
        let came = exchange(&guest, address, "ed25519", Instant::now() + Duration::from_mins(1)).await;
        assert_eq!(came, Some(Exchange::Proved("AAAAx".to_owned())));
    }

    #[tokio::test]
    async fn somebody_who_does_not_answer_may_be_there() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let configuration = configuration(&format!("port {port}\n"));
        let unmet = meet(&configuration, Instant::now() + Duration::from_millis(500)).await.unwrap_err();
        assert_eq!((unmet.late, unmet.why), (true, format!("127.0.0.1:{port}: no answer in time")));
        drop(listener);
        let unmet = meet(&configuration, Instant::now() + Duration::from_secs(20)).await.unwrap_err();
        assert!(!unmet.late && unmet.why.contains("refused"), "{unmet:?}");
    }

    #[test]
    fn the_unit_says_why() {
        let block = |id: &str, load: &str, file: &str, active: &str| {
            format!(
                "Id={id}\nResult=exit-code\nActiveState={active}\nLoadState={load}\nUnitFileState={file}\n"
            )
        };
        let none = block("sshd.service", "not-found", "", "inactive");
        let shown = |service: String| {
            format!("{service}\n{none}\n{}", block("ssh.socket", "loaded", "disabled", "inactive"))
        };
        assert_eq!(
            state_of(&shown(block("ssh.service", "masked", "masked", "inactive"))),
            "ssh.service is masked"
        );
        assert_eq!(
            state_of(&shown(block("ssh.service", "loaded", "disabled", "inactive"))),
            "ssh.service is not enabled"
        );
        assert_eq!(
            state_of(&shown(block("ssh.service", "loaded", "enabled", "failed"))),
            "ssh.service has failed (exit-code)"
        );
        assert_eq!(state_of(&none), "");
    }

    #[tokio::test]
    async fn only_an_ssh_server_counts() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"SSH-2.0-Fake_1\r\n\0\0\0\x0c\x0a\x14"]
            {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.write_all(answer).await.unwrap();
                let mut rest = [0; 64];
                let _ = stream.shutdown().await;
                while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
            }
        });
        assert!(greet(address).await.is_err());
        assert_eq!(greet(address).await.as_deref(), Ok("SSH-2.0-Fake_1"));
        server.await.unwrap();
        assert!(greet(address).await.unwrap_err().contains("refused"));
    }
}
