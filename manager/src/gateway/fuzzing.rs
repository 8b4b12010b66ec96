//! What the fuzz target of the agent's messages calls.

use image_manager_proto::v1::{AgentMessage, CheckRequest};
use prost::Message as _;
use tokio::sync::mpsc;

use super::conversation::{Awaited, Conversation};
use super::{AgentEvent, Gateway, GatewaySettings, MESSAGES, Token};

/// Most bytes of any text that a session hands on: a thousand characters.
const TEXT: usize = 4 * 1024;

/// Reads bytes as messages, each with its length in front, and hears them as an attached agent's.
pub fn agent_messages(bytes: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let (Ok(runtime), Ok(token)) = (runtime, Token::generate()) else { return };
    runtime.block_on(hear(bytes, &token));
}

async fn hear(mut bytes: &[u8], token: &Token) {
    let gateway = Gateway::new(GatewaySettings::default());
    let check = |name: &str| CheckRequest { name: name.to_owned(), ..CheckRequest::default() };
    let mut session = gateway.open(token.hash(), "build", vec![check("disk"), check("dns")], None);
    let (outgoing, _answers) = mpsc::channel(4);
    let Some(conversation) = Conversation::for_fuzzing(&gateway, token.hash(), outgoing) else { return };
    let (mut awaited, mut heard) = (Awaited::default(), 0);
    while let Ok(message) = AgentMessage::decode_length_delimited(&mut bytes) {
        heard += 1;
        let went_on = conversation.hear(message.kind, &mut awaited).await.is_ok();
        while let Ok(event) = session.events.try_recv() {
            check_event(&event);
        }
        if !went_on {
            break;
        }
    }
    assert!(heard <= MESSAGES as usize + bytes.len() + 16_384, "more was heard than may be");
}

/// What the build is told has bounds and no control characters, and speaks of checks that were asked for.
fn check_event(event: &AgentEvent) {
    let sound = |text: &str| text.len() <= TEXT && !text.chars().any(char::is_control);
    match event {
        AgentEvent::Result(result) => {
            assert!(["disk", "dns"].contains(&result.name.as_str()), "nobody asked for {}", result.name);
            assert!(sound(&result.summary), "{:?}", result.summary);
        }
        AgentEvent::Report { report, .. } => {
            for name in ["disk", "dns"] {
                let results = report.results.iter().filter(|result| result.name == name).count();
                assert_eq!(results, 1, "results for {name}");
            }
            assert!(report.results.iter().all(|result| sound(&result.summary)), "{report:?}");
        }
        AgentEvent::Removal(removal) => {
            assert!(removal.paths.len() <= 64, "too many paths");
            assert!(removal.paths.iter().all(|path| sound(&path.path) && sound(&path.detail)), "{removal:?}");
        }
        AgentEvent::Attached { .. }
        | AgentEvent::Contested(_)
        | AgentEvent::Goodbye
        | AgentEvent::Rebooting { .. }
        | AgentEvent::Detached { .. } => {}
    }
}
