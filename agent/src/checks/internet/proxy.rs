//! The way to a target through an HTTP proxy, as package managers take it.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Target;
use crate::text;

/// Longest answer of a proxy to CONNECT that is read.
const LONGEST_ANSWER: usize = 8 << 10;

/// Has the proxy open a tunnel to the target: what follows on the stream is with the target.
pub(super) async fn tunnel(stream: &mut TcpStream, target: &Target) -> Result<(), String> {
    let host = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.clone() };
    let there = format!("{host}:{}", target.port);
    let request = format!("CONNECT {there} HTTP/1.1\r\nHost: {there}\r\n\r\n");
    let failed = |error: std::io::Error| format!("the proxy: {}", text::with_causes(&error));
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut answer = Vec::new();
    // A byte at a time, for what follows the answer is not ours.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() == LONGEST_ANSWER {
            return Err("the proxy's answer does not end".to_owned());
        }
        answer.push(stream.read_u8().await.map_err(failed)?);
    }
    let answer = String::from_utf8_lossy(&answer);
    let first = answer.lines().next().unwrap_or_default();
    match first.split_whitespace().nth(1) {
        Some(status) if status.starts_with('2') => Ok(()),
        _ => Err(format!("the proxy refuses {there}: {}", text::one_line(first))),
    }
}
