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
/// Until a guest that is being reset is told to run again.
const RESET: Duration = Duration::from_millis(50);
/// What QEMU may take for an answer; under emulation on a busy host it is not quick.
const ANSWER: Duration = Duration::from_secs(10);

/// A connection to a running QEMU that takes orders.
pub(super) struct Qmp {
    stream: BufReader<UnixStream>,
}

impl Qmp {
    /// Connects to a socket in `directory` and greets. Waits at most 10 s: a socket serves one at a time.
    pub(super) async fn connect(directory: &Path, socket: &str) -> io::Result<Self> {
        // The path of a socket has 107 bytes at most; this way only the part after the directory counts.
        let directory = File::open(directory)?;
        let path = format!("/proc/self/fd/{}/{socket}", directory.as_raw_fd());
        let greet = async {
            let stream = BufReader::new(UnixStream::connect(&path).await?);
            let mut qmp = Self { stream };
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

    /// From here on a guest that reboots or powers off only stands still, until [`Self::last_reason`] has heard of it.
    pub(super) async fn hold_at_reboot(&mut self) -> io::Result<()> {
        self.order_with("set-action", json!({ "shutdown": "pause" })).await.map(drop)
    }

    /// Waits for QEMU's end and returns the reason that it gave in a `SHUTDOWN` event. A guest that reboots and is held
    /// then starts again, once.
    pub(super) async fn last_reason(&mut self) -> Option<String> {
        let mut reason = None;
        while let Ok(message) = self.message().await {
            if message.get("event").and_then(Value::as_str) != Some("SHUTDOWN") {
                continue;
            }
            reason = message.pointer("/data/reason").and_then(Value::as_str).map(str::to_owned);
            // Where nothing holds the guest QEMU ends, and hears none of this.
            match reason.as_deref() {
                Some("guest-reset") => drop(within(self.start_again()).await),
                Some("guest-shutdown") => {
                    let _ = self.order("quit").await;
                    return reason;
                }
                _ => {}
            }
        }
        reason
    }

    /// QEMU resets the guest while its processors stand still: under emulation one that resets beside running processors
    /// has been seen to crash (QEMU 7.2).
    async fn start_again(&mut self) -> io::Result<()> {
        self.exchange("set-action", json!({ "reboot": "reset", "shutdown": "poweroff" })).await?;
        self.exchange("system_reset", Value::Null).await?;
        // It is refused until the reset has been made.
        while self
            .exchange("cont", Value::Null)
            .await
            .is_err_and(|error| error.kind() == io::ErrorKind::Other)
        {
            tokio::time::sleep(RESET).await;
        }
        self.exchange("set-action", json!({ "reboot": "shutdown" })).await.map(drop)
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
                return Err(io::Error::other(format!("QEMU refuses {command}: {error}")));
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

    /// The orders that QEMU gets after it has said that the guest ended with this reason.
    async fn orders_after(reason: &str) -> Vec<String> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let event = format!("{{\"event\": \"SHUTDOWN\", \"data\": {{\"reason\": \"{reason}\"}}}}\n");
        let qemu = tokio::spawn(async move {
            let mut stream = BufReader::new(theirs);
            stream.get_mut().write_all(event.as_bytes()).await.unwrap();
            let (mut orders, mut refused) = (Vec::new(), false);
            let mut line = String::new();
            while stream.read_line(&mut line).await.unwrap() > 0 {
                let order: Value = serde_json::from_str(&line).unwrap();
                let refuse = order["execute"] == "cont" && !std::mem::replace(&mut refused, true);
                let answer = if refuse { "{\"error\": {}}\n" } else { "{\"return\": {}}\n" };
                orders.push(format!("{} {}", order["execute"].as_str().unwrap(), order["arguments"]));
                let last = orders.len() == 5 || order["execute"] == "quit";
                stream.get_mut().write_all(answer.as_bytes()).await.unwrap();
                if last {
                    break;
                }
                line.clear();
            }
            orders
        });
        let mut qmp = Qmp { stream: BufReader::new(ours) };
        assert_eq!(qmp.last_reason().await.as_deref(), Some(reason));
        drop(qmp);
        qemu.await.unwrap()
    }

    #[tokio::test]
    async fn a_guest_that_reboots_starts_again_and_one_that_powers_off_ends() {
        assert_eq!(
            orders_after("guest-reset").await,
            [
                "set-action {\"reboot\":\"reset\",\"shutdown\":\"poweroff\"}",
                "system_reset null",
                "cont null",
                "cont null",
                "set-action {\"reboot\":\"shutdown\"}"
            ]
        );
        assert_eq!(orders_after("guest-shutdown").await, ["quit null"]);
    }

    #[tokio::test]
    async fn nobody_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Qmp::connect(folder.path(), "qmp.sock").await.is_err());
    }
}
