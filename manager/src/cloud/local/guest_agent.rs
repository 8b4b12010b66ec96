//! QEMU's guest agent, asked from the host's end of its channel.
//!
//! What answers is in the guest: it may be anything. So an answer has a bound and a deadline, and means no more than that
//! somebody there speaks the protocol.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::{qemu, qmp};
use crate::cloud::GuestAgent;

/// Bytes of one line; that of a ping has some twenty.
const LONGEST_LINE: u64 = 4 << 10;
/// Lines that may come before the one that is waited for: answers to somebody who asked before.
const MOST_LINES: usize = 16;
/// How long both answers may take; under emulation on a busy host the guest is not quick.
const ANSWER: Duration = Duration::from_secs(10);
/// Ends whatever half line the guest agent may have heard before; it answers that with an error.
const RESET: u8 = 0xff;

/// Asks the one behind the socket in this directory whether it is there.
pub(super) async fn ask(sockets: &Path) -> GuestAgent {
    ask_within(sockets, ANSWER).await
}

async fn ask_within(sockets: &Path, patience: Duration) -> GuestAgent {
    match tokio::time::timeout(patience, ping(sockets)).await {
        Ok(Ok(())) => GuestAgent::Answers,
        Ok(Err(error)) => GuestAgent::Silent(error.to_string()),
        Err(_) => GuestAgent::Silent(format!("no answer within {}", humantime::format_duration(patience))),
    }
}

async fn ping(sockets: &Path) -> io::Result<()> {
    let mut stream = BufReader::new(qmp::open(sockets, qemu::GUEST_AGENT).await?);
    // So that the answers are known to be those to us: a number, which the agent repeats.
    let number = uuid::Uuid::new_v4().as_fields().0 >> 1;
    stream.write_all(&[RESET]).await?;
    say(&mut stream, &json!({ "execute": "guest-sync", "arguments": { "id": number } })).await?;
    answer(&mut stream, &json!(number)).await?;
    say(&mut stream, &json!({ "execute": "guest-ping" })).await?;
    answer(&mut stream, &json!({})).await
}

async fn say(stream: &mut BufReader<UnixStream>, what: &Value) -> io::Result<()> {
    stream.write_all(format!("{what}\n").as_bytes()).await
}

/// Reads until the agent returns this. What else it says belongs to others.
async fn answer(stream: &mut BufReader<UnixStream>, expected: &Value) -> io::Result<()> {
    for _ in 0..MOST_LINES {
        let mut line = Vec::new();
        let count = (&mut *stream).take(LONGEST_LINE).read_until(b'\n', &mut line).await?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the channel was closed"));
        }
        // A line that is cut, or no JSON, returns nothing.
        let message: Value = serde_json::from_slice(&line).unwrap_or_default();
        if message.get("return") == Some(expected) {
            return Ok(());
        }
    }
    Err(io::Error::other("it sends much, but does not answer"))
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    /// Plays the guest: `answer` makes what it says of each line that it hears.
    async fn asked(answer: impl Fn(&Value) -> String + Send + 'static) -> GuestAgent {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(qemu::GUEST_AGENT)).unwrap();
        let guest = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            loop {
                let mut line = Vec::new();
                if stream.read_until(b'\n', &mut line).await.unwrap_or_default() == 0 {
                    return;
                }
                let line = line.strip_prefix(&[RESET]).unwrap_or(&line);
                let said = answer(&serde_json::from_slice(line).unwrap());
                if stream.write_all(said.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
        let answer = ask_within(folder.path(), Duration::from_millis(500)).await;
        guest.abort();
        answer
    }

    fn honest(order: &Value) -> String {
        match order["execute"].as_str() {
            Some("guest-sync") => json!({ "return": order["arguments"]["id"] }).to_string() + "\n",
            Some("guest-ping") => "{\"return\": {}}\n".to_owned(),
            _ => panic!("{order}"),
        }
    }

    #[tokio::test]
    async fn an_agent_answers_after_what_was_left_on_the_channel() {
        assert_eq!(asked(honest).await, GuestAgent::Answers);
        let late = |order: &Value| format!("{{\"error\": {{}}}}\n{{\"return\": 7}}\n\n{}", honest(order));
        assert_eq!(asked(late).await, GuestAgent::Answers);
    }

    #[tokio::test]
    async fn what_is_no_answer_is_none_and_is_bounded() {
        let replayed = |_: &Value| "{\"return\": {}}\n".to_owned();
        assert_eq!(asked(replayed).await, GuestAgent::Silent("no answer within 500ms".to_owned()));
        let much = "it sends much, but does not answer".to_owned();
        let flood = |_: &Value| "x".repeat(1 << 20);
        assert_eq!(asked(flood).await, GuestAgent::Silent(much.clone()));
        let lines = |_: &Value| "{\"return\": 7}\n".repeat(100);
        assert_eq!(asked(lines).await, GuestAgent::Silent(much));
        let never = |_: &Value| String::new();
        assert_eq!(asked(never).await, GuestAgent::Silent("no answer within 500ms".to_owned()));
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(ask(folder.path()).await, GuestAgent::Silent(_)), "there is no socket");
    }
}
