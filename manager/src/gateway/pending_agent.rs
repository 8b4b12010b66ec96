//! Between Hello and Welcome: somebody who has shown a token proves the key that it names.

use image_manager_proto::NONCE;
use image_manager_proto::v1::{
    AgentMessage, Challenge, Hello, ManagerMessage, agent_message, manager_message,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tonic::{Status, Streaming};

use super::attach::SessionSlot;
use super::conversation::{Conversation, message};
use super::listener::OpenConnection;
use super::refusals::Refused;
use super::{Claimant, Gateway, TokenHash};

/// Somebody with a token, who has said Hello.
pub(super) struct PendingAgent {
    pub(super) gateway: Gateway,
    pub(super) token: TokenHash,
    pub(super) claimant: Claimant,
    pub(super) connection: Option<OpenConnection>,
    pub(super) outgoing: mpsc::Sender<Result<ManagerMessage, Status>>,
    /// Until then it must be in.
    pub(super) deadline: Instant,
}

impl PendingAgent {
    /// Has it prove its key, gives it the session's slot, and talks to it to the end of the stream.
    pub(super) async fn admit(self, hello: Hello, mut incoming: Streaming<AgentMessage>) {
        let peer = self.connection.as_ref().map(|connection| connection.peer);
        let proved = self.prove(&mut incoming).await;
        // From here on its connection may stay.
        let welcomed = self.connection.as_ref().map(OpenConnection::welcome);
        let slot = proved.and_then(|()| self.gateway.take_slot(self.token, &self.claimant, peer));
        let slot = match slot {
            Ok(slot) => SessionSlot { welcomed, ..slot },
            Err(status) => {
                // It hears why, if it still listens.
                let _ = self.outgoing.try_send(Err(status));
                return;
            }
        };
        let Self { gateway, token, claimant, outgoing, .. } = self;
        let conversation = Conversation { gateway, token, slot, claimant, outgoing };
        conversation.run(hello, incoming).await;
    }

    async fn prove(&self, incoming: &mut Streaming<AgentMessage>) -> Result<(), Status> {
        if self.claimant.key.is_empty() {
            return Ok(());
        }
        let mut nonce = [0_u8; NONCE];
        getrandom::fill(&mut nonce).map_err(|error| Status::internal(format!("no random bytes: {error}")))?;
        let challenge = manager_message::Kind::Challenge(Challenge { nonce: nonce.to_vec() });
        self.outgoing
            .try_send(Ok(message(challenge)))
            .map_err(|_| Status::cancelled("the stream is closed"))?;
        let peer = self.connection.as_ref().map(|connection| connection.peer);
        let signature = timeout_at(self.deadline, proof(incoming))
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("no proof came in time")))
            .inspect_err(|status| {
                self.gateway.inner.refusals.note(Refused::NoProof, peer, status.message());
            })?;
        self.gateway.check_proof(self.token, &self.claimant, (&nonce, &signature), peer)
    }
}

/// The signature that comes next; heartbeats may come before.
async fn proof(incoming: &mut Streaming<AgentMessage>) -> Result<Vec<u8>, Status> {
    loop {
        match incoming.message().await?.and_then(|message| message.kind) {
            Some(agent_message::Kind::Heartbeat(_)) => {}
            Some(agent_message::Kind::Proof(proof)) => return Ok(proof.signature),
            _ => return Err(Status::invalid_argument("the answer to a challenge must be a proof")),
        }
    }
}
