//! QEMU's machine protocol (QMP), as much as is needed: orders, and why it ended.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// Bytes of one message. The greeting has some hundred.
const LONGEST_MESSAGE: u64 = 64 << 10;
/// What QEMU may take for an answer; under emulation on a busy host it is not quick.
const ANSWER: Duration = Duration::from_secs(10);

/// A connection to a running QEMU that takes orders.
pub(super) struct Qmp {
    stream: BufReader<UnixStream>,
}

impl Qmp {
    /// Connects to a socket in `directory` and greets. Waits at most 10 s: a socket serves one at a time.
    pub(super) async fn connect(directory: &Path, socket: &str) -> io::Result<Self> {
        let greet = async {
            let mut qmp = Self { stream: BufReader::new(open(directory, socket).await?) };
            qmp.message().await?;
            qmp.exchange("qmp_capabilities", Value::Null).await?;
            Ok(qmp)
        };
        within(greet).await
    }

    /// Gives an order and returns the answer. Waits at most 10 s.
    pub(super) async fn order(&mut self, command: &str) -> io::Result<Value> {
        self.order_with(command, Value::Null).await
    }

    /// The same with arguments, a JSON object.
    pub(super) async fn order_with(&mut self, command: &str, arguments: Value) -> io::Result<Value> {
        within(self.exchange(command, arguments)).await
    }

    /// Waits for QEMU's end and returns the reason that it gave in a `SHUTDOWN` event.
    pub(super) async fn last_reason(&mut self) -> Option<String> {
        let mut reason = None;
        while let Ok(message) = self.message().await {
            if message.get("event").and_then(Value::as_str) == Some("SHUTDOWN") {
                reason = message.pointer("/data/reason").and_then(Value::as_str).map(str::to_owned);
            }
        }
        reason
    }

    async fn exchange(&mut self, command: &str, arguments: Value) -> io::Result<Value> {
        let order = match arguments {
            Value::Null => json!({ "execute": command }),
            arguments => json!({ "execute": command, "arguments": arguments }),
        };
        let mut line = order.to_string();
        line.push('\n');
        self.stream.write_all(line.as_bytes()).await?;
        loop {
            let mut message = self.message().await?;
            if let Some(answer) = message.get_mut("return") {
                return Ok(answer.take());
            }
            if let Some(error) = message.get("error") {
                return Err(io::Error::other(format!("QEMU refused {command}: {error}")));
            }
            // Everything else is an event.
        }
    }

    async fn message(&mut self) -> io::Result<Value> {
        let mut line = Vec::new();
        (&mut self.stream).take(LONGEST_MESSAGE).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_slice(&line).map_err(io::Error::from)
    }
}

/// Connects to a socket of QEMU's in `directory`. A socket's path has 107 bytes at most: this way only the part after the
/// directory counts.
pub(super) async fn open(directory: &Path, socket: &str) -> io::Result<UnixStream> {
    let directory = File::open(directory)?;
    UnixStream::connect(format!("/proc/self/fd/{}/{socket}", directory.as_raw_fd())).await
}

async fn within<T>(answer: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(ANSWER, answer).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn it_greets_orders_and_learns_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let listener = {
            let directory = File::open(&deep).unwrap();
            UnixListener::bind(format!("/proc/self/fd/{}/qmp.sock", directory.as_raw_fd())).unwrap()
        };
        let qemu = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"{\"QMP\": {}}\n").await.unwrap();
            let mut lines = BufReader::new(&mut stream);
            let mut line = String::new();
            for answer in [
                "{\"return\": {}}\n",
                "{\"event\": \"RESUME\"}\n{\"return\": {\"status\": \"running\"}}\n",
                "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-reset\"}}\n",
            ] {
                if !answer.starts_with("{\"event\": \"SHUTDOWN") {
                    lines.read_line(&mut line).await.unwrap();
                }
                lines.get_mut().write_all(answer.as_bytes()).await.unwrap();
            }
            line
        });
        let mut qmp = Qmp::connect(&deep, "qmp.sock").await.unwrap();
        let status = qmp.order("query-status").await.unwrap();
        assert_eq!(status["status"], "running");
        assert_eq!(qmp.last_reason().await.as_deref(), Some("guest-reset"));
        assert_eq!(
            qemu.await.unwrap(),
            "{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"query-status\"}\n"
        );
    }

    #[tokio::test]
    async fn nobody_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Qmp::connect(folder.path(), "qmp.sock").await.is_err());
    }
}
