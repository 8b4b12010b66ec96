//! One stream with the manager.

use std::collections::HashSet;
use std::time::Duration;

use image_manager_proto::counted;
use image_manager_proto::v1::agent_message::Kind;
use image_manager_proto::v1::manager_message::Kind as ManagerKind;
use image_manager_proto::v1::{
    AgentMessage, Challenge, CheckRequest, CheckResult, Goodbye, Heartbeat, ManagerMessage, Proof, Rebooting,
    Report, Welcome,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tonic::{Status, Streaming};

use super::{Ended, Line, Session};
use crate::checks::Arrival;
use crate::text;

/// The manager's heartbeats when its Welcome names none, and the bounds of what it may name.
const INTERVAL: Duration = Duration::from_secs(5);
const INTERVALS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_mins(1));
const SILENCE: Duration = Duration::from_secs(20);
const LONGEST_SILENCE: Duration = Duration::from_mins(10);

/// Where the stream is.
struct Conversation<'s, 'a> {
    session: &'s mut Session<'a>,
    /// None: the last word has been said.
    outbox: Option<mpsc::Sender<AgentMessage>>,
    /// None: the manager has not answered yet.
    checks: Option<u32>,
    /// Names of the checks whose results this stream has carried.
    told: HashSet<String>,
    reported: bool,
    /// The manager was asked whether the server may reboot.
    asked_to_reboot: bool,
    /// The key of this stream's Hello has been proved.
    proved: bool,
    /// What is asked of this agent was asked after this moment.
    asked_after: Instant,
    interval: Duration,
    silence: Duration,
    next_beat: Instant,
    /// The manager is dead if it says nothing until then.
    dead_at: Instant,
}

/// Talks until the stream ends.
pub(super) async fn run(session: &mut Session<'_>, line: Line) -> Ended {
    let now = Instant::now();
    let patience = session.config.times.connect;
    let mut conversation = Conversation {
        outbox: Some(line.outbox),
        checks: None,
        told: HashSet::new(),
        reported: false,
        asked_to_reboot: false,
        proved: false,
        asked_after: line.began,
        interval: INTERVAL,
        silence: patience,
        next_beat: now + INTERVAL,
        dead_at: now + patience,
        session,
    };
    match conversation.run(line.inbox).await {
        Err(ended) => ended,
        Ok(never) => match never {},
    }
}

impl Conversation<'_, '_> {
    async fn run(&mut self, mut inbox: Streaming<ManagerMessage>) -> Result<std::convert::Infallible, Ended> {
        loop {
            let deadline = self.session.closing.deadline().unwrap_or(self.session.deadline);
            tokio::select! {
                message = inbox.message() => match message {
                    Ok(Some(message)) => self.hear(message)?,
                    Ok(None) => return Err(self.closed(inbox).await),
                    Err(status) => return Err(self.broken(status)),
                },
                result = self.session.checks.ended() => self.tell(result)?,
                () = self.session.closing.removed() => {}
                () = sleep_until(self.next_beat), if self.outbox.is_some() => {
                    self.next_beat = Instant::now() + self.interval;
                    self.say(Kind::Heartbeat(Heartbeat {}))?;
                }
                () = sleep_until(self.dead_at) => {
                    return Err(Ended::Lost(format!("it sent nothing for {}", text::seconds(self.silence))));
                }
                () = sleep_until(deadline) => return Err(Ended::Deadline),
            }
            self.go_on()?;
        }
    }

    fn hear(&mut self, message: ManagerMessage) -> Result<(), Ended> {
        self.dead_at = Instant::now() + self.silence;
        match message.kind {
            Some(ManagerKind::Challenge(challenge)) => self.challenged(&challenge),
            Some(ManagerKind::Welcome(welcome)) => self.welcomed(&welcome),
            Some(ManagerKind::CheckRequest(request)) => self.requested(request),
            Some(ManagerKind::ReportAccepted(_)) => {
                if !self.session.closing.is_due() {
                    tracing::info!("the manager has the report");
                }
                // Also when this process has not reported: then an earlier one of this boot has.
                self.session.closing.begin();
                Ok(())
            }
            Some(ManagerKind::RebootAllowed(_)) => {
                if self.asked_to_reboot {
                    let identity = self.session.identity;
                    self.session.checks.order_reboot(&identity.build, identity.key.seed());
                }
                Ok(())
            }
            // What this agent does not know is a newer manager's, and a sign of life.
            Some(ManagerKind::Heartbeat(_)) | None => Ok(()),
        }
    }

    /// Proves the key of the Hello, once in a stream.
    fn challenged(&mut self, challenge: &Challenge) -> Result<(), Ended> {
        if self.proved || self.checks.is_some() {
            return Err(Ended::Lost("it asks for a proof when none is due".to_owned()));
        }
        self.proved = true;
        // The manager asks for nothing before it has heard the proof.
        self.asked_after = Instant::now();
        let identity = self.session.identity;
        let signature = identity.key.prove(&challenge.nonce, &identity.fingerprint, &identity.build);
        let signature =
            signature.ok_or_else(|| Ended::Lost("its challenge cannot be answered".to_owned()))?;
        self.say(Kind::Proof(Proof { signature }))
    }

    fn welcomed(&mut self, welcome: &Welcome) -> Result<(), Ended> {
        if self.checks.is_some() {
            return Ok(());
        }
        let given = |duration: Option<prost_types::Duration>, otherwise| {
            duration.and_then(|duration| Duration::try_from(duration).ok()).unwrap_or(otherwise)
        };
        self.interval = given(welcome.heartbeat_interval, INTERVAL).clamp(INTERVALS.0, INTERVALS.1);
        let shortest = (self.interval * 2).min(LONGEST_SILENCE);
        self.silence = given(welcome.heartbeat_timeout, SILENCE).clamp(shortest, LONGEST_SILENCE);
        self.next_beat = Instant::now() + self.interval;
        self.dead_at = Instant::now() + self.silence;
        self.checks = Some(welcome.checks);
        tracing::info!("attached to manager at {}", self.session.identity.endpoint);
        if self.session.closing.is_due() {
            return Ok(());
        }
        // What an earlier stream may have lost.
        self.session.checks.results().into_iter().try_for_each(|result| self.tell(result))
    }

    fn requested(&mut self, request: CheckRequest) -> Result<(), Ended> {
        if self.session.closing.is_due() {
            return Ok(());
        }
        match self.session.checks.request(request, Arrival::now(self.asked_after)) {
            Some(result) => self.tell(result),
            None => Ok(()),
        }
    }

    /// Tells a result, once in a stream. Before the manager's answer it waits for that.
    fn tell(&mut self, result: CheckResult) -> Result<(), Ended> {
        if self.checks.is_some() && self.told.insert(result.name.clone()) {
            self.say(Kind::CheckResult(result))?;
        }
        Ok(())
    }

    /// Says what has become due.
    fn go_on(&mut self) -> Result<(), Ended> {
        let Some(checks) = self.checks else { return Ok(()) };
        if let Some(report) = self.session.closing.report() {
            if self.outbox.is_some() {
                let report = report.clone();
                self.say(Kind::RemovalReport(report))?;
                self.say(Kind::Goodbye(Goodbye {}))?;
                // The manager now ends the stream, when it has read all.
                self.outbox = None;
                self.silence = self.session.config.times.closing;
                self.dead_at = Instant::now() + self.silence;
            }
            return Ok(());
        }
        if !self.session.closing.is_due() {
            self.session.checks.judge_reboot(checks);
            if !self.asked_to_reboot && self.session.checks.is_to_reboot(checks) {
                self.asked_to_reboot = true;
                self.say(Kind::Rebooting(Rebooting {}))?;
            }
        }
        if !self.reported && !self.session.closing.is_due() && self.session.checks.is_complete(checks) {
            self.reported = true;
            let results = self.session.checks.results();
            tracing::info!("reporting {}", counted(results.len(), "result"));
            self.say(Kind::Report(Report { results }))?;
        }
        Ok(())
    }

    fn say(&mut self, kind: Kind) -> Result<(), Ended> {
        let Some(outbox) = &self.outbox else { return Ok(()) };
        let message = AgentMessage { kind: Some(kind) };
        outbox.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Ended::Lost("it has stopped reading".to_owned()),
            mpsc::error::TrySendError::Closed(_) => Ended::Lost("the stream is closed".to_owned()),
        })
    }

    /// The stream ended without a status. Well only when the manager said so itself after our last word:
    /// a connection that freezes ends a stream in the same way, but without trailers.
    async fn closed(&self, mut inbox: Streaming<ManagerMessage>) -> Ended {
        let by_the_manager = matches!(inbox.trailers().await, Ok(Some(_)));
        match (self.outbox.is_none(), by_the_manager) {
            (true, true) => Ended::Well,
            (true, false) => {
                Ended::Lost("the connection ended while the session was being closed".to_owned())
            }
            (false, true) => Ended::Lost("it ended the stream".to_owned()),
            (false, false) => Ended::Lost("the connection ended".to_owned()),
        }
    }

    fn broken(&self, status: Status) -> Ended {
        // After the last word an end with a status is the manager's too, unless it is the connection's.
        let ended = Ended::of(status);
        match ended {
            Ended::Refused(status) if self.outbox.is_none() => {
                tracing::info!("the manager ended the stream: {}", text::one_line(status.message()));
                Ended::Well
            }
            ended => ended,
        }
    }
}
