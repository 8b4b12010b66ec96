//! The SSH server as it is met: what it is configured to do, whether it answers, and why not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::checks::program::Program;
use crate::checks::{program, public_keys};
use crate::guest::Guest;
use crate::text;

/// Most addresses that are tried.
const MOST_ADDRESSES: usize = 8;
/// For one program, and for one answer.
const PATIENCE: Duration = Duration::from_mins(1);
/// Longest line before the keys are exchanged, and most lines.
const LONGEST_LINE: usize = 512;
const MOST_LINES: usize = 16;
/// SSH_MSG_KEXINIT (RFC 4253).
const KEXINIT: u8 = 20;
const BANNER: &[u8] = b"SSH-2.0-ImageManager\r\n";
const UNITS: [&str; 4] = ["ssh.service", "sshd.service", "ssh.socket", "sshd.socket"];

/// What `sshd -T` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configuration {
    /// Its lines, each a key in small letters and what it has.
    pub lines: Vec<(String, String)>,
    /// Why it is not valid. Empty: it is.
    pub error: String,
}

impl Configuration {
    /// What a key has; empty when sshd does not know it.
    pub fn value(&self, key: &str) -> &str {
        self.lines.iter().find(|(name, _)| name == key).map_or("", |(_, value)| value)
    }

    /// Whether a password lets somebody in, in one way or the other.
    pub(super) fn takes_passwords(&self) -> bool {
        let has = |key| self.value(key) == "yes";
        let asks_pam =
            ["kbdinteractiveauthentication", "challengeresponseauthentication"].into_iter().any(has);
        has("passwordauthentication") || (asks_pam && has("usepam"))
    }

    /// Where it may be met from the guest itself.
    fn addresses(&self) -> Vec<SocketAddr> {
        let listens = self.lines.iter().filter(|(key, _)| key == "listenaddress");
        let mut all: Vec<SocketAddr> =
            listens.filter_map(|(_, value)| value.parse().ok()).map(nearest).collect();
        let port = self.value("port").parse().unwrap_or(22);
        all.push(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        all.push(SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
        all.sort_by_key(SocketAddr::is_ipv6);
        all.dedup();
        all.truncate(MOST_ADDRESSES);
        all
    }
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

/// Has sshd say what it is configured to do. `-T` makes all of the test that `-t` makes.
pub(super) async fn configuration(sshd: &Path, deadline: Instant) -> Configuration {
    let ran = Program::at(sshd).with(["-T"]).run(deadline.min(Instant::now() + PATIENCE)).await;
    if !ran.is_good() {
        return Configuration {
            error: text::or(&ran.complaint(), "sshd -T failed").to_owned(),
            ..Configuration::default()
        };
    }
    let pair = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_ascii_lowercase(), value.to_owned()))
    };
    Configuration { lines: ran.out.lines().filter_map(pair).collect(), error: String::new() }
}

/// Where an SSH server answers, with its name; or why none does.
pub(super) async fn meet(
    configuration: &Configuration,
    deadline: Instant,
) -> Result<(SocketAddr, String), String> {
    let mut error = String::new();
    for address in configuration.addresses() {
        let asked = timeout_at(deadline.min(Instant::now() + PATIENCE), greet(address)).await;
        match asked.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok(banner) => return Ok((address, banner)),
            Err(why) if error.is_empty() => error = format!("{address}: {why}"),
            Err(_) => {}
        }
    }
    Err(error)
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

/// The key that the server proves to have in a real key exchange, in base64. None: the guest has no program for it.
pub(super) async fn exchange(
    guest: &Guest,
    address: SocketAddr,
    kind: &str,
    deadline: Instant,
) -> Option<Result<String, String>> {
    let keyscan = program::program(guest, "ssh-keyscan")?;
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    // One kind: newer servers shut out who comes too often without logging in.
    let arguments = ["-T", "15", "-t", kind, "-p", &port, &host];
    let ran = keyscan.with(arguments).run(deadline.min(Instant::now() + PATIENCE)).await;
    let key = ran.out.lines().find_map(public_keys::key_of);
    Some(key.map(str::to_owned).ok_or_else(|| text::or(&ran.complaint(), "no key came").to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURATION: &str = "port 2222\nlistenaddress [::]:2222\nlistenaddress 0.0.0.0:2222\nusepam yes\n\
                                 passwordauthentication no\nkbdinteractiveauthentication no\n";

    fn configuration(text: &str) -> Configuration {
        let pair = |line: &str| line.split_once(' ').map(|(key, value)| (key.to_owned(), value.to_owned()));
        Configuration { lines: text.lines().filter_map(pair).collect(), error: String::new() }
    }

    #[test]
    fn loopback_comes_first() {
        let addresses = configuration(CONFIGURATION).addresses();
        let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        assert_eq!(all, ["127.0.0.1:2222", "[::1]:2222"]);
        let one = configuration("port 22\nlistenaddress 192.0.2.7:22\n").addresses();
        assert_eq!(one.first().unwrap().to_string(), "192.0.2.7:22");
    }

    #[test]
    fn passwords_come_in_by_pam_too() {
        assert!(!configuration(CONFIGURATION).takes_passwords());
        assert!(configuration("passwordauthentication yes\n").takes_passwords());
        assert!(configuration("usepam yes\nkbdinteractiveauthentication yes\n").takes_passwords());
        assert!(!configuration("usepam no\nkbdinteractiveauthentication yes\n").takes_passwords());
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
