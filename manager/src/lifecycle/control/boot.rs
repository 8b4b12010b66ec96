//! Booting another image on a trial's target. All that is asked of it is that its agent comes, and, where the trial's own
//! network checks were inconclusive, these.

use std::time::Duration;

use image_manager_agent::checks::internet;
use image_manager_proto::v1::{self, CheckOutcome, ControlOutcome};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::conclusion;
use super::image::{self, Control};
use crate::clock;
use crate::cloud::{NewServer, Server, ServerStatus, Trouble};
use crate::gateway::{AgentEvent, Session, Token};
use crate::history::{ControlAnswer, Introduction};
use crate::lifecycle::console;
use crate::lifecycle::failure::Failure;
use crate::lifecycle::files;
use crate::lifecycle::stages::boot::{console_evidence, endpoint, facts, metadata, request, still_runs};
use crate::lifecycle::trial::Trial;
use crate::reason::Reason;
use crate::schedules::CheckSpec;
use crate::stage::Stage;

/// How often the server's state is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long the cloud may take to say what a server does that said nothing.
const STATUS: Duration = Duration::from_mins(1);

/// How a control boot ended, in two ways; whatever else goes wrong is no answer.
enum Said {
    /// Its agent came after so long; what else there is to say.
    Works(Duration, String),
    SaysNothing(Failure),
}

/// Boots another image and says what came of it. Takes all of it away again. Fails only where the trial must end.
pub(super) async fn ask(trial: &Trial, first: &Failure) -> Result<ControlAnswer, Failure> {
    let at_ms = clock::now().timestamp_millis();
    let answer = |outcome, detail: String, evidence: String, image_of| ControlAnswer {
        outcome,
        detail,
        evidence,
        image_of,
        asked_by: trial.shared.id.clone(),
        at_ms,
    };
    let mut image_of = None;
    let said = boot(trial, first, &mut image_of).await;
    if trial.bounds.is_told_to_stop() {
        trial.bounds.not_interrupted().await?;
    }
    let what = match &image_of {
        Some(build) => format!("the published image of build {build}, booted on the same target,"),
        None => "the manager's control image, booted on the same target,".to_owned(),
    };
    let boot = trial.shared.schedule.timeouts.boot;
    Ok(match said {
        // The image may be only slow, as all is that runs there.
        Ok(Said::Works(took, _))
            if first.reason == Reason::AgentSilent
                && image_of.is_none()
                && conclusion::is_slow(took, boot) =>
        {
            let (took, boot) = (took.as_secs(), humantime::format_duration(boot));
            let slow = format!(
                "{what} worked, but only after {took} s: a larger image may not boot within timeouts.boot = {boot} \
                 there"
            );
            answer(ControlOutcome::Unknown, slow, String::new(), image_of)
        }
        Ok(Said::Works(took, found)) => {
            let took = took.as_secs_f64();
            let detail = format!("{what} worked: its agent attached after {took:.1} s{found}");
            answer(ControlOutcome::Passed, detail, String::new(), image_of)
        }
        Ok(Said::SaysNothing(failure)) => {
            let detail = format!("{what} did not work either: {}", failure.message);
            answer(ControlOutcome::Failed, detail, failure.evidence, image_of)
        }
        Err(failure) => answer(ControlOutcome::Unknown, failure.message, failure.evidence, image_of),
    })
}

/// `Err`: it could not be found out.
async fn boot(trial: &Trial, first: &Failure, image_of: &mut Option<String>) -> Result<Said, Failure> {
    super::clear(trial).await?;
    let control = image::find(trial).await?;
    image_of.clone_from(&control.image_of);
    let requests = requests(trial, first).await?;
    let said = with_server(trial, &control, requests).await;
    let cleared = super::clear(trial).await;
    let said = said?;
    cleared?;
    Ok(said)
}

async fn with_server(
    trial: &Trial,
    control: &Control,
    requests: Vec<v1::CheckRequest>,
) -> Result<Said, Failure> {
    let token = Token::generate()
        .map_err(|error| Failure::new(Reason::Randomness, format!("no random bytes: {error}")))?;
    let introduction = Introduction {
        token_hash: token.hash().to_string(),
        endpoint: endpoint(trial).await?,
        fingerprint: trial.gateway().fingerprint.clone(),
    };
    let console_log = trial.directory().join(files::CONTROL_LOG);
    console::set_aside(&console_log).await?;
    let mut session = trial.gateway().gateway.open(token.hash(), &control.baked, requests.clone(), None);
    let began = Instant::now();
    let new = NewServer {
        build_id: trial.shared.id.clone(),
        name: trial.name_of("control"),
        image: control.image.clone(),
        spec: trial.target.server.clone(),
        metadata: metadata(trial, &control.baked, &token, introduction),
        console_log,
        private_key: trial.directory().join(files::PRIVATE_KEY),
    };
    let limit = trial.shared.schedule.timeouts.boot;
    let late =
        async { Failure::new(Reason::BootTimeout, too_late("the cloud did not accept its server", limit)) };
    let asked = async { Ok(trial.cloud.boot(&new, &trial.ledger()).await) };
    let server = match trial.bounds.run(limit, late, asked).await {
        Ok(Ok(server)) => server,
        Ok(Err(error)) if matches!(error.trouble, Trouble::Fault | Trouble::Timeout) => {
            return Ok(Said::SaysNothing(error.into()));
        }
        Ok(Err(error)) => return Err(error.into()),
        Err(failure) if failure.reason == Reason::BootTimeout => return Ok(Said::SaysNothing(failure)),
        Err(failure) => return Err(failure),
    };
    session.tell_server(&server.id, &server.name);
    let rest = limit.saturating_sub(began.elapsed()) + time_of(&requests);
    let late = silent(trial, &server, rest);
    let heard = hear(trial, &server, (&control.baked, requests.len()), &mut session, began);
    match trial.bounds.run(rest, late, heard).await {
        Err(failure) if says_nothing(failure.reason) => Ok(Said::SaysNothing(failure)),
        heard => heard,
    }
}

/// Endings of a server that are its cloud's fault when its image is a good one.
fn says_nothing(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::AgentSilent
            | Reason::AgentLost
            | Reason::ServerFault
            | Reason::ServerStopped
            | Reason::BootTimeout
    )
}

/// Listens until the agent has come, and has said what it was asked.
async fn hear(
    trial: &Trial,
    server: &Server,
    (baked, asked): (&str, usize),
    session: &mut Session,
    began: Instant,
) -> Result<Said, Failure> {
    let (mut look, mut came) = (interval(LOOK), None);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = session.next() => match event {
                Some(AgentEvent::Attached { hello, .. }) if hello.image_build_id != baked => {
                    let message = format!("the agent of another image attached, of build {:?}", hello.image_build_id);
                    return Err(Failure::new(Reason::WrongImage, message));
                }
                Some(AgentEvent::Attached { admit, .. }) => {
                    let took = *came.get_or_insert_with(|| began.elapsed());
                    if asked == 0 {
                        return Ok(Said::Works(took, String::new()));
                    }
                    // Where it is gone again already it comes back, or the time is over.
                    let _ = admit.send(());
                }
                Some(AgentEvent::Report { report, .. }) => return Ok(judge(&report, came.unwrap_or_default())),
                Some(AgentEvent::Contested(_)) => {
                    return Err(Failure::new(Reason::AgentContested, "two agents connected with its token"));
                }
                Some(other) => tracing::debug!(build = trial.shared.id, "of a control boot: {other:?}"),
                None => return Err(Failure::new(Reason::Gateway, "the gateway closed the session")),
            },
            _ = look.tick() => {
                let waited = format!("control boot, {:.0} s: waiting for its agent", began.elapsed().as_secs_f64());
                trial.progress(Stage::Booting, -1.0, &waited);
                still_runs(trial, server).await?;
            }
        }
    }
}

/// The image is a good one: what its checks do not find, the cloud does not have.
fn judge(report: &v1::Report, took: Duration) -> Said {
    let said = |result: &v1::CheckResult| format!("{}: {}", result.name, result.summary);
    let missing: Vec<String> = report.results.iter().filter(|result| is_missing(result)).map(said).collect();
    if missing.is_empty() {
        let found: Vec<String> = report.results.iter().map(said).collect();
        return Said::Works(took, format!(", and found {}", found.join("; ")));
    }
    let message = format!("its agent attached, and found {}", missing.join("; "));
    Said::SaysNothing(Failure::new(Reason::CheckInconclusive, message).with_evidence(missing.join("\n")))
}

/// Whether the cloud lacks what a check looks for. What is said of that image itself, or of IPv6, is another matter.
fn is_missing(result: &v1::CheckResult) -> bool {
    match result.outcome() {
        CheckOutcome::Pass => false,
        CheckOutcome::Fail => !result.observations.as_ref().is_some_and(internet::all_answered),
        _ => true,
    }
}

/// No agent came.
async fn silent(trial: &Trial, server: &Server, limit: Duration) -> Failure {
    let status = timeout(STATUS, trial.cloud.server_status(server)).await;
    if matches!(status, Ok(Ok(ServerStatus::Building))) {
        return Failure::new(Reason::BootTimeout, too_late("the cloud had not started its server", limit));
    }
    Failure::new(Reason::AgentSilent, too_late("no agent attached", limit))
        .with_evidence(console_evidence(trial, server).await)
}

fn too_late(what: &str, limit: Duration) -> String {
    format!("{what} within {}", humantime::format_duration(Duration::from_secs(limit.as_secs())))
}

/// What the control image is asked for: the network checks that were inconclusive.
async fn requests(trial: &Trial, first: &Failure) -> Result<Vec<v1::CheckRequest>, Failure> {
    if first.reason != Reason::CheckInconclusive {
        return Ok(Vec::new());
    }
    let facts = facts(trial);
    open_network_checks(trial).await?.into_iter().map(|spec| request(spec, &facts)).collect()
}

/// The required network checks of the trial that were inconclusive: of others no other image can say anything.
pub(super) async fn open_network_checks(trial: &Trial) -> Result<Vec<&CheckSpec>, Failure> {
    let build = trial.history().build(&trial.shared.id).await?;
    let place = usize::try_from(trial.key.position).unwrap_or(usize::MAX);
    let checks = build.trials.get(place).map(|trial| trial.checks.as_slice()).unwrap_or_default();
    let is_open = |spec: &&CheckSpec| {
        let result = checks.iter().find(|check| check.name == spec.name);
        spec.required && result.is_some_and(|result| result.outcome() == CheckOutcome::Inconclusive)
    };
    let network = trial.target.checks.iter().filter(|spec| spec.check.repeatable);
    Ok(network.filter(is_open).collect())
}

/// What the checks may take besides.
fn time_of(requests: &[v1::CheckRequest]) -> Duration {
    let longest = requests.iter().filter_map(|request| request.timeout?.try_into().ok()).max();
    longest.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::history::observations;

    #[test]
    fn a_cloud_lacks_what_another_image_does_not_reach_in_any_way() {
        let result = |outcome: CheckOutcome, seen: serde_json::Value| v1::CheckResult {
            outcome: outcome.into(),
            observations: Some(observations::from_json(&seen)),
            ..v1::CheckResult::default()
        };
        let dead = json!({ "targets": [{}], "unreached": ["tcp://a:1"], "unreached_by_ipv6": [] });
        let by_six = json!({ "targets": [{}], "unreached": [], "unreached_by_ipv6": ["tcp://a:1"] });
        for (outcome, seen, missing) in [
            (CheckOutcome::Pass, dead.clone(), false),
            (CheckOutcome::Fail, dead, true),
            (CheckOutcome::Fail, by_six.clone(), false),
            (CheckOutcome::Skipped, by_six, true),
            // Of another kind, or by an older agent.
            (CheckOutcome::Fail, json!({ "unresolved": ["a"] }), true),
            (CheckOutcome::Fail, json!({ "targets": [{}], "unreached": [] }), true),
        ] {
            assert_eq!(is_missing(&result(outcome, seen.clone())), missing, "{outcome:?} {seen}");
        }
    }
}
