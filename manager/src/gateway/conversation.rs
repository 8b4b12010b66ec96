//! One attached stream: the protocol's order, heartbeats, and its end.

use std::time::SystemTime;

use image_manager_proto::v1::{
    AgentMessage, CheckOutcome, CheckRequest, CheckResult, Heartbeat, Hello, ManagerMessage, RebootAllowed,
    Report, ReportAccepted, Welcome, agent_message, manager_message,
};
use prost::Message as _;
use prost_types::value::Kind as Seen;
use prost_types::{Struct, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tonic::{Status, Streaming};

use super::attach::SessionSlot;
use super::{AgentEvent, Claimant, Gateway, GatewaySettings, TokenHash};

/// Longest text of an agent that is kept, in characters.
const TEXT: usize = 1024;
/// Most paths of a removal that are kept.
const PATHS: usize = 64;
/// Largest observations of one check as they are sent, in bytes. An honest agent keeps them to 12 KiB before they are
/// encoded (`agent/src/checks/observations.rs`), which is less than 18 KiB afterwards.
const OBSERVATIONS: usize = 32 << 10;
/// Most values in them: each takes far more memory here than on its way. An honest agent sends some 1500.
const VALUES: usize = 2048;

type Outgoing = mpsc::Sender<Result<ManagerMessage, Status>>;

/// Everything that one stream needs.
pub(super) struct Conversation {
    pub(super) gateway: Gateway,
    pub(super) token: TokenHash,
    pub(super) slot: SessionSlot,
    pub(super) claimant: Claimant,
    pub(super) outgoing: Outgoing,
}

/// Why a stream ended before Goodbye.
pub(super) enum End {
    /// The agent is gone, or the build is: there is nobody to tell.
    Gone(String),
    /// The agent broke the protocol: it is told.
    Refused(Status),
    /// It said Goodbye.
    Goodbye,
}

impl Conversation {
    /// Talks to the agent until one side ends it, then gives the slot back.
    pub(super) async fn run(self, hello: Hello, incoming: Streaming<AgentMessage>) {
        let end = self.talk(hello, incoming).await;
        let mine = self.gateway.leave_slot(self.token, self.slot.stream);
        let why = match end {
            End::Goodbye => return,
            End::Gone(why) => why,
            End::Refused(status) => {
                let why = format!("it violated the protocol: {}", status.message());
                // The stream may be full or gone; the session is told in any case.
                let _ = self.outgoing.try_send(Err(status));
                why
            }
        };
        // A stream that was taken over by the same boot is not a loss.
        if mine {
            let _ = self.slot.events.send(AgentEvent::Detached { why, stream: self.slot.stream }).await;
        }
    }

    /// One whose stream is the caller.
    #[cfg(fuzzing)]
    pub(super) fn for_fuzzing(gateway: &Gateway, token: TokenHash, outgoing: Outgoing) -> Option<Self> {
        let hello = Hello { boot_id: "boot".to_owned(), ..Hello::default() };
        let claimant = Claimant::of(&hello, None);
        let slot = gateway.take_slot(token, &claimant, None).ok()?;
        Some(Self { gateway: gateway.clone(), token, slot, claimant, outgoing })
    }

    fn settings(&self) -> &GatewaySettings {
        &self.gateway.inner.settings
    }

    async fn talk(&self, hello: Hello, mut incoming: Streaming<AgentMessage>) -> End {
        if let Err(end) = self.greet(hello).await {
            return end;
        }
        let mut beat = interval(self.settings().heartbeat_interval);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silence = Instant::now() + self.settings().heartbeat_timeout;
        let mut awaited = Awaited::default();
        loop {
            tokio::select! {
                () = self.slot.end.cancelled() => return End::Gone("the build has ended its session".to_owned()),
                () = sleep_until(silence) => {
                    return End::Gone(format!("nothing was heard from it for {:?}", self.settings().heartbeat_timeout));
                }
                _ = beat.tick() => {
                    // A full stream means a slow reader; it will miss a beat, not more.
                    let _ = self.outgoing.try_send(Ok(message(manager_message::Kind::Heartbeat(Heartbeat {}))));
                }
                answer = awaited.next() => {
                    let said = match answer {
                        Ok(answer) => self.say(answer).await,
                        Err(why) => Err(End::Gone(why.to_owned())),
                    };
                    if let Err(end) = said {
                        return end;
                    }
                }
                received = incoming.message() => {
                    silence = Instant::now() + self.settings().heartbeat_timeout;
                    let kind = match received {
                        Ok(Some(received)) => received.kind,
                        Ok(None) => return End::Gone("its stream ended without a Goodbye".to_owned()),
                        Err(status) => return End::Gone(format!("its stream broke: {}", status.message())),
                    };
                    match self.hear(kind, &mut awaited).await {
                        Ok(()) => {}
                        Err(end) => return end,
                    }
                }
            }
        }
    }

    async fn greet(&self, mut hello: Hello) -> Result<(), End> {
        for said in [
            &mut hello.agent_version,
            &mut hello.boot_id,
            &mut hello.image_build_id,
            &mut hello.kernel_release,
            &mut hello.operating_system,
        ] {
            clean(said);
        }
        let (admit, admitted) = oneshot::channel();
        let (claimant, stream) = (self.claimant.clone(), self.slot.stream);
        self.tell(AgentEvent::Attached { hello, claimant, stream, admit }).await?;
        self.wait_for_admission(admitted).await?;
        let welcome = Welcome {
            checks: u32::try_from(self.slot.expectation.checks.len()).unwrap_or(u32::MAX),
            heartbeat_interval: prost_types::Duration::try_from(self.settings().heartbeat_interval).ok(),
            heartbeat_timeout: prost_types::Duration::try_from(self.settings().heartbeat_timeout).ok(),
        };
        self.say(manager_message::Kind::Welcome(welcome)).await?;
        // Which server it is has become known since it came.
        let asked = self.gateway.asked(self.token);
        for check in asked.unwrap_or_else(|| self.slot.expectation.checks.clone()) {
            // When it is sent: the agent compares the clocks.
            let check = CheckRequest { sent_at: Some(SystemTime::now().into()), ..check };
            self.say(manager_message::Kind::CheckRequest(check)).await?;
        }
        Ok(())
    }

    /// Nothing is asked of an agent before the build has taken it in.
    async fn wait_for_admission(&self, admitted: oneshot::Receiver<()>) -> Result<(), End> {
        let patience = tokio::time::timeout(self.settings().heartbeat_timeout, admitted);
        let admitted = tokio::select! {
            () = self.slot.end.cancelled() => false,
            admitted = patience => matches!(admitted, Ok(Ok(()))),
        };
        if admitted { Ok(()) } else { Err(End::Gone("the build did not admit it".to_owned())) }
    }

    pub(super) async fn hear(
        &self,
        kind: Option<agent_message::Kind>,
        awaited: &mut Awaited,
    ) -> Result<(), End> {
        use agent_message::Kind;
        if !matches!(kind, Some(Kind::Heartbeat(_))) && !self.gateway.count(self.token) {
            return refuse("more messages than any check needs".to_owned());
        }
        match kind {
            Some(Kind::Heartbeat(_)) => Ok(()),
            Some(Kind::CheckResult(mut result)) => {
                self.check_result(&result)?;
                clean(&mut result.summary);
                self.tell(AgentEvent::Result(result)).await
            }
            Some(Kind::Report(mut report)) => {
                self.check_report(&report)?;
                report.results.iter_mut().for_each(|result| clean(&mut result.summary));
                let (accept, committed) = oneshot::channel();
                awaited.commit = Some(committed);
                self.tell(AgentEvent::Report { report, accept }).await
            }
            Some(Kind::Rebooting(_)) if !self.slot.expectation.may_reboot() => {
                refuse("a reboot that nobody asked for".to_owned())
            }
            Some(Kind::Rebooting(_)) => {
                let (allow, allowed) = oneshot::channel();
                awaited.reboot = Some(allowed);
                self.tell(AgentEvent::Rebooting { allow }).await
            }
            Some(Kind::RemovalReport(mut removal)) => {
                removal.paths.truncate(PATHS);
                removal.paths.iter_mut().for_each(|path| {
                    clean(&mut path.path);
                    clean(&mut path.detail);
                });
                self.tell(AgentEvent::Removal(removal)).await
            }
            Some(Kind::Goodbye(_)) => {
                self.tell(AgentEvent::Goodbye).await?;
                Err(End::Goodbye)
            }
            Some(Kind::Hello(_)) => refuse("a second Hello".to_owned()),
            Some(Kind::Proof(_)) => refuse("a proof that nobody asked for".to_owned()),
            None => refuse("an empty message".to_owned()),
        }
    }

    fn was_requested(&self, name: &str) -> bool {
        self.slot.expectation.checks.iter().any(|check| check.name == name)
    }

    /// A result is that of a requested check, with observations that an honest agent may have.
    fn check_result(&self, result: &CheckResult) -> Result<(), End> {
        if !self.was_requested(&result.name) {
            return refuse(format!("a result for the check {:?} that nobody asked for", result.name));
        }
        match &result.observations {
            Some(seen) if seen.encoded_len() > OBSERVATIONS || values(seen) > VALUES => {
                refuse(format!("a result for the check {:?} with more observations than may be", result.name))
            }
            _ => Ok(()),
        }
    }

    /// A report speaks for every requested check once, with an outcome, and for nothing else.
    fn check_report(&self, report: &Report) -> Result<(), End> {
        report.results.iter().try_for_each(|result| self.check_result(result))?;
        for check in &self.slot.expectation.checks {
            let spoken: Vec<_> = report.results.iter().filter(|result| result.name == check.name).collect();
            match spoken.as_slice() {
                [one] if one.outcome() != CheckOutcome::Unspecified => {}
                [] | [_] => {
                    return refuse(format!("a report without a result for the check {:?}", check.name));
                }
                _ => return refuse(format!("a report with several results for the check {:?}", check.name)),
            }
        }
        Ok(())
    }

    async fn tell(&self, event: AgentEvent) -> Result<(), End> {
        let gone = || End::Gone("the build has ended its session".to_owned());
        tokio::time::timeout(self.settings().heartbeat_timeout, self.slot.events.send(event))
            .await
            .map_err(|_| gone())?
            .map_err(|_| gone())
    }

    async fn say(&self, kind: manager_message::Kind) -> Result<(), End> {
        let slow = || End::Gone("it does not read its stream".to_owned());
        tokio::time::timeout(self.settings().heartbeat_timeout, self.outgoing.send(Ok(message(kind))))
            .await
            .map_err(|_| slow())?
            .map_err(|_| End::Gone("its stream is closed".to_owned()))
    }
}

/// What an image says reaches people's terminals: no control characters, no endless lines.
pub(super) fn clean(text: &mut String) {
    text.retain(|c| !c.is_control());
    if let Some((end, _)) = text.char_indices().nth(TEXT) {
        text.truncate(end);
    }
}

pub(super) fn message(kind: manager_message::Kind) -> ManagerMessage {
    ManagerMessage { kind: Some(kind) }
}

/// How many values an object has, at any depth.
fn values(object: &Struct) -> usize {
    object.fields.values().map(values_in).sum()
}

fn values_in(value: &Value) -> usize {
    match &value.kind {
        Some(Seen::StructValue(object)) => 1 + values(object),
        Some(Seen::ListValue(list)) => 1 + list.values.iter().map(values_in).sum::<usize>(),
        _ => 1,
    }
}

/// What is refused may quote the agent.
fn refuse(mut what: String) -> Result<(), End> {
    clean(&mut what);
    Err(End::Refused(Status::invalid_argument(what)))
}

/// What the agent waits for the build to do.
#[derive(Default)]
pub(super) struct Awaited {
    /// The commit of its report.
    commit: Option<oneshot::Receiver<()>>,
    /// The leave to have its server reboot.
    reboot: Option<oneshot::Receiver<()>>,
}

impl Awaited {
    /// Waits for what comes first of it, and says what the agent is told then; for ever when there is nothing. An error
    /// says why it will never come.
    async fn next(&mut self) -> Result<manager_message::Kind, &'static str> {
        tokio::select! {
            committed = done(&mut self.commit) => {
                self.commit = None;
                let accepted = manager_message::Kind::ReportAccepted(ReportAccepted {});
                committed.map(|()| accepted).map_err(|_| "the build did not accept its report")
            }
            allowed = done(&mut self.reboot) => {
                self.reboot = None;
                let leave = manager_message::Kind::RebootAllowed(RebootAllowed {});
                allowed.map(|()| leave).map_err(|_| "the build did not let its server reboot")
            }
        }
    }
}

async fn done(awaited: &mut Option<oneshot::Receiver<()>>) -> Result<(), oneshot::error::RecvError> {
    match awaited {
        Some(receiver) => receiver.await,
        None => std::future::pending().await,
    }
}
