//! VERIFYING: the agent runs the checks, reports, removes itself and leaves.

use std::time::Duration;

use image_manager_agent::checks::REBOOT;
use image_manager_agent::checks::descriptor::Observer;
use image_manager_proto::v1::{self, CheckOutcome};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::boot::{Booted, console_evidence, fetch_console, follow_console, still_runs};
use super::kept_disk::keep_disk;
use super::{claim, judgement, observed, own_clock, own_identity, second_opinion};
use crate::clock;
use crate::gateway::AgentEvent;
use crate::history::{Named as _, observations};
use crate::lifecycle::agent_log::AgentLog;
use crate::lifecycle::driver::Done;
use crate::lifecycle::failure::Failure;
use crate::lifecycle::trial::Trial;
use crate::lifecycle::{accounts, files, inspection};
use crate::reason::Reason;
use crate::schedules::CheckSpec;

/// How often the server's state and console are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long failed checks may be repeated from here.
const SECOND_OPINION: Duration = Duration::from_mins(5);

/// The same for a build that has ended early: the manager may be waiting for it to stop.
const LAST_OPINION: Duration = Duration::from_mins(1);

/// What is known of the verification under way.
struct Verification {
    booted: Booted,
    log: AgentLog,
    /// The newest result of each check that has ended.
    results: Vec<v1::CheckResult>,
    report: Option<v1::Report>,
    removal: Option<v1::RemovalReport>,
    /// When the agent's stream broke, and why.
    lost: Option<(Instant, String)>,
    /// Whether the schedule's `image` is not known to be what the image was built with.
    image_changed: bool,
}

impl Verification {
    /// Keeps a result in place of an earlier one of the same check. The gateway lets requested checks only through.
    fn remember(&mut self, result: v1::CheckResult) {
        match self.results.iter_mut().find(|known| known.name == result.name) {
            Some(known) => *known = result,
            None => self.results.push(result),
        }
    }
}

impl Verification {
    /// The check that has the server reboot, once all others of the agent have ended and it has not.
    fn reboot<'a>(&self, trial: &'a Trial) -> Option<&'a CheckSpec> {
        let asked = trial.target.checks.iter().filter(|spec| spec.check.observer == Observer::Agent);
        let mut open = asked.filter(|spec| self.results.iter().all(|result| result.name != spec.name));
        let last = open.next().filter(|spec| spec.check.kind == REBOOT);
        last.filter(|_| open.next().is_none())
    }
}

/// Follows the agent to its last word and judges what it found.
pub(in crate::lifecycle) async fn run(trial: &Trial, booted: Booted) -> Result<Done<()>, Failure> {
    let limit = trial.shared.schedule.timeouts.verify;
    let log = AgentLog::new(trial.directory().join(files::AGENT_LOG));
    let (state, image) = (&trial.settings().state, &trial.shared.schedule.image);
    let image_changed =
        accounts::have_changed(state, trial.history(), trial.image_of.as_deref(), image).await;
    let mut verification = Verification {
        booted,
        log,
        results: Vec::new(),
        report: None,
        removal: None,
        lost: None,
        image_changed,
    };
    note_hello(trial, &mut verification.log, &verification.booted.hello).await;
    let late = async {
        Failure::new(
            Reason::VerifyTimeout,
            format!(
                "the agent had not finished within timeouts.verify = {}",
                humantime::format_duration(limit)
            ),
        )
    };
    let followed = trial.bounds.run(limit, late, Box::pin(follow(trial, &mut verification))).await;
    let Verification { booted, results, report, removal, .. } = verification;
    let outcome = match followed {
        Ok(Heard::Failed(failure)) => return Err(end_early(trial, &booted, failure).await),
        Ok(_) => conclude(trial, &booted, report, removal).await,
        Err(failure) if failure.evidence.is_empty() => {
            Err(failure.with_evidence(console_evidence(trial, &booted.server).await))
        }
        Err(failure) => Err(failure),
    };
    match outcome {
        Ok(done) => Ok(done),
        Err(failure) => Err(decided(trial, &booted, &results, failure).await),
    }
}

/// Judges what the agent said to its end.
async fn conclude(
    trial: &Trial,
    booted: &Booted,
    report: Option<v1::Report>,
    removal: Option<v1::RemovalReport>,
) -> Result<Done<()>, Failure> {
    // For people; the check of the console fetches it itself.
    let _ = fetch_console(trial, &booted.server).await;
    let (Some(report), Some(removal)) = (report, removal) else {
        return Err(Failure::new(
            Reason::AgentLost,
            "the agent said goodbye without a report and a removal report",
        ));
    };
    let specs = &trial.target.checks;
    let asked = async {
        Ok(second_opinion::ask((&trial.shared.schedule, specs), judgement::checks(specs, &report.results))
            .await)
    };
    let late = async {
        Failure::new(Reason::VerifyTimeout, "repeating failed checks from the manager's host took too long")
    };
    let mut checks = trial.bounds.run(SECOND_OPINION, late, asked).await?;
    if own_identity::is_asked_for(specs) {
        let artifact = inspection::of(trial.settings().state.clone(), trial.made_by()).await;
        checks = own_identity::compare(specs, checks, &artifact);
    }
    checks = own_clock::compare(specs, checks).await;
    trial.record_checks(checks.clone()).await?;
    checks.extend(look(trial, booted, &checks).await?);
    let verdict = judgement::judge(specs, &checks, &removal);
    let kept = keep_disk(trial, booted).await;
    // Whoever came with the token until now makes the verdict nobody's, also a bad one.
    claim::uncontested(&booted.session)?;
    verdict?;
    Ok(Done { value: (), detail: judgement::summary(&checks) + &kept? })
}

/// The checks that the manager looks after itself. Each has a timeout of its own.
async fn look(trial: &Trial, booted: &Booted, reported: &[v1::Check]) -> Result<Vec<v1::Check>, Failure> {
    let own = trial.target.checks.iter().filter(|spec| spec.check.observer == Observer::Manager);
    let limit: Duration = own.map(|spec| spec.timeout).sum();
    let late = async {
        Failure::new(Reason::VerifyTimeout, "examining the server from the manager's side took too long")
    };
    let looking = async { Ok(observed::look(trial, booted, reported).await) };
    let checks = trial.bounds.run(limit + LOOK, late, looking).await?;
    trial.record_checks(checks.clone()).await?;
    Ok(checks)
}

/// Why the build ends, when it ends before its verdict: a required check that had failed by then decides. A network
/// check counts as failed only once it was repeated from here.
async fn decided(trial: &Trial, booted: &Booted, results: &[v1::CheckResult], later: Failure) -> Failure {
    if !judgement::may_be_outweighed(&later) {
        return later;
    }
    // Results under a token that two came with are nobody's.
    if let Err(contested) = claim::uncontested(&booted.session) {
        return contested;
    }
    let known = judgement::checks(&trial.target.checks, results);
    let checks =
        second_opinion::settle(Some((&trial.shared.schedule, &trial.target.checks)), known, LAST_OPINION)
            .await;
    if let Err(error) = trial.record_checks(checks.clone()).await {
        tracing::warn!(build = trial.shared.id, "the results of its checks cannot be recorded: {error}");
    }
    judgement::outweigh(later, &checks)
}

/// What comes of one event.
enum Heard {
    /// There is more to come.
    More,
    /// A required check has failed, and nobody waits for the others.
    Failed(Failure),
    /// The agent is done.
    All,
}

/// Until the agent is done, or nobody waits for it any more.
async fn follow(trial: &Trial, verification: &mut Verification) -> Result<Heard, Failure> {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let limit = verification.reboot(trial).map_or(trial.settings().reattach, |spec| spec.timeout);
        let patience = async {
            match &verification.lost {
                Some((since, why)) => {
                    sleep_until(*since + limit).await;
                    why.clone()
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            why = patience => return Err(lost(trial, verification, &why, limit).await),
            event = verification.booted.session.next() => {
                let Some(mut event) = event else {
                    return Err(Failure::new(Reason::Gateway, "the gateway closed the session"));
                };
                if verification.image_changed {
                    doubt(trial, &mut event);
                }
                match hear(trial, verification, event).await? {
                    Heard::More => {}
                    heard => return Ok(heard),
                }
            }
            _ = look.tick() => {
                follow_console(trial, &mut verification.booted.console).await;
                still_runs(trial, &verification.booted.server).await?;
            }
        }
    }
}

/// Takes no failure for the image's that goes by what the schedule says of another one.
fn doubt(trial: &Trial, event: &mut AgentEvent) {
    let results = match event {
        AgentEvent::Result(result) => std::slice::from_mut(result),
        AgentEvent::Report { report, .. } => report.results.as_mut_slice(),
        _ => return,
    };
    accounts::doubt(&trial.target.checks, results);
}

/// Takes up one event.
async fn hear(trial: &Trial, verification: &mut Verification, event: AgentEvent) -> Result<Heard, Failure> {
    match event {
        AgentEvent::Contested(contest) => return Err(claim::contested(&contest)),
        AgentEvent::Attached { hello, stream, admit, .. } => {
            note_hello(trial, &mut verification.log, &hello).await;
            verification.booted.stream = stream;
            verification.lost = None;
            let _ = admit.send(());
        }
        AgentEvent::Result(result) => {
            note(
                trial,
                &mut verification.log,
                json!({"event": "check_result", "name": result.name, "outcome": result.outcome().word(),
                "summary": result.summary}),
            )
            .await;
            let check = judgement::check(&trial.target.checks, &result);
            // Before it is written: it counts also when it cannot be.
            verification.remember(result);
            let failed = check.required && check.outcome() == CheckOutcome::Fail;
            trial.record_checks(vec![check]).await?;
            if failed && trial.shared.schedule.fail_fast {
                return Ok(settled(trial, verification).await?.map_or(Heard::More, Heard::Failed));
            }
        }
        AgentEvent::Report { report, accept } => {
            note(
                trial,
                &mut verification.log,
                json!({"event": "report", "results": report.results.iter().map(|result| json!({
                "name": result.name, "outcome": result.outcome().word(), "summary": result.summary,
                "observations": result.observations.as_ref().map(observations::to_json)}))
                .collect::<Vec<_>>()}),
            )
            .await;
            report.results.iter().for_each(|result| verification.remember(result.clone()));
            trial.record_checks(judgement::checks(&trial.target.checks, &report.results)).await?;
            verification.report = Some(report);
            // Only now may the agent remove itself. If its stream broke meanwhile, it reports again.
            let _ = accept.send(());
        }
        AgentEvent::Rebooting { allow } => {
            note(trial, &mut verification.log, json!({"event": "rebooting"})).await;
            trial.cloud.allow_reboot(&verification.booted.server).await?;
            let _ = allow.send(());
        }
        AgentEvent::Removal(removal) => removed(trial, verification, removal).await?,
        AgentEvent::Goodbye => {
            note(trial, &mut verification.log, json!({"event": "goodbye"})).await;
            return Ok(Heard::All);
        }
        AgentEvent::Detached { why, stream } => {
            note(trial, &mut verification.log, json!({"event": "detached", "why": why})).await;
            if stream != verification.booted.stream {
                return Ok(Heard::More);
            }
            tracing::warn!(build = trial.shared.id, "the agent's stream ended: {why}");
            verification.lost = Some((Instant::now(), why));
        }
    }
    Ok(Heard::More)
}

/// Keeps what became of the agent's files.
async fn removed(
    trial: &Trial,
    verification: &mut Verification,
    removal: v1::RemovalReport,
) -> Result<(), Failure> {
    note(
        trial,
        &mut verification.log,
        json!({"event": "removal", "complete": removal.complete, "paths": removal.paths.iter()
        .map(|path| json!({"path": path.path, "fate": path.fate().word(), "detail": path.detail}))
        .collect::<Vec<_>>()}),
    )
    .await;
    let complete = judgement::not_removed(&removal).is_empty();
    let record = v1::Removal { complete, paths: removal.paths.clone() };
    trial.history().record_removal(&trial.key, record).await?;
    verification.removal = Some(removal);
    Ok(())
}

/// Whether what has failed by now decides, once network checks were repeated from here. What the agent reports of a check is
/// its last word about that.
async fn settled(trial: &Trial, verification: &Verification) -> Result<Option<Failure>, Failure> {
    let specs = &trial.target.checks;
    let known = judgement::checks(specs, &verification.results);
    let asked = (&trial.shared.schedule, specs.as_slice());
    let checks = second_opinion::settle(Some(asked), known, LAST_OPINION).await;
    let failure = judgement::known_failure(&checks);
    if failure.is_some() {
        trial.record_checks(checks).await?;
    }
    Ok(failure.map(|failure| {
        let open = specs.len().saturating_sub(verification.results.len());
        let all = image_manager_proto::counted(specs.len(), "check");
        let message = format!("{}; fail_fast: {open} of {all} had not reported", failure.message);
        Failure { message, ..failure }
    }))
}

/// The end of a trial with the first required check that failed. Its server goes, and with it the agent.
async fn end_early(trial: &Trial, booted: &Booted, failure: Failure) -> Failure {
    // For people; the check of the console fetches it itself.
    let _ = fetch_console(trial, &booted.server).await;
    let kept = keep_disk(trial, booted).await;
    if let Err(contested) = claim::uncontested(&booted.session) {
        return contested;
    }
    match kept {
        Ok(kept) => Failure { message: failure.message + &kept, ..failure },
        Err(ended) => ended,
    }
}

async fn lost(trial: &Trial, verification: &Verification, why: &str, limit: Duration) -> Failure {
    let limit = humantime::format_duration(limit);
    let message = match verification.reboot(trial) {
        Some(spec) => format!(
            "the server was told to reboot by the check {}, but its agent did not come back within {limit}: {why}",
            spec.name
        ),
        None => {
            format!("the agent was lost before it had finished: {why}; it did not come back within {limit}")
        }
    };
    let evidence = console_evidence(trial, &verification.booted.server).await;
    Failure::new(Reason::AgentLost, message).with_evidence(evidence)
}

async fn note_hello(trial: &Trial, log: &mut AgentLog, hello: &v1::Hello) {
    note(
        trial,
        log,
        json!({"event": "attached", "boot_id": hello.boot_id, "agent_version": hello.agent_version,
            "kernel": hello.kernel_release, "operating_system": hello.operating_system,
            "uptime_seconds": super::boot::seconds(hello.uptime.as_ref())}),
    )
    .await;
}

/// Appends what the agent said to its log and tells watchers.
async fn note(trial: &Trial, log: &mut AgentLog, mut what: serde_json::Value) {
    if let Some(object) = what.as_object_mut() {
        object.insert("time".to_owned(), json!(clock::rfc3339(clock::now())));
    }
    let line = what.to_string();
    trial.log(v1::LogSource::Agent, &line);
    // The history has all of it too; a log that cannot be written ends no build.
    if let Err(error) = log.append(&line).await {
        tracing::warn!(build = trial.shared.id, "{}: {error}", log.path().display());
    }
}
