//! BOOTING: a server boots from the image; ends when its agent attaches.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use image_manager_agent::checks::descriptor::Observer;
use image_manager_proto::v1::{self, LogSource};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::claim;
use crate::checks;
use crate::cloud::{Console, Image, NewServer, Server, ServerStatus, incidents};
use crate::gateway::{AgentEvent, Claimant, Session, Token, TokenHash};
use crate::history::{Claim, Introduction, ReportQuery};
use crate::lifecycle::accounts::{self, Accounts};
use crate::lifecycle::console::{self, ConsoleTail};
use crate::lifecycle::driver::Done;
use crate::lifecycle::failure::Failure;
use crate::lifecycle::files;
use crate::lifecycle::served_gateway::ServedGateway;
use crate::lifecycle::trial::Trial;
use crate::reason::Reason;
use crate::schedules::{CheckSpec, ServerSpec, SshKey, User};
use crate::stage::Stage;

/// How often the server's state and console are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long it may take to find the address that servers dial.
const ENDPOINT: Duration = Duration::from_mins(1);
/// How long a cloud may take to say more of a build that has failed.
const EVIDENCE: Duration = Duration::from_mins(1);
/// Console lines that go into the evidence.
pub(super) const CONSOLE_LINES: usize = 40;

/// A server whose agent has attached.
pub(in crate::lifecycle) struct Booted {
    pub(in crate::lifecycle) server: Server,
    pub(in crate::lifecycle) session: Session,
    pub(in crate::lifecycle) hello: v1::Hello,
    /// Number of the agent's newest stream.
    pub(in crate::lifecycle) stream: u64,
    pub(in crate::lifecycle) console: ConsoleTail,
    /// From the server's creation, or its being resumed, until the agent came.
    pub(super) took: Duration,
    /// The server is an earlier manager's: its agent may have come later than it could have.
    pub(super) resumed: bool,
}

/// An agent that has come, and waits to be taken in.
struct Arrived {
    hello: v1::Hello,
    claimant: Claimant,
    stream: u64,
    admit: oneshot::Sender<()>,
}

/// Boots the image and waits for its agent.
pub(in crate::lifecycle) async fn run(trial: &Trial, image: &Image) -> Result<Done<Booted>, Failure> {
    let limit = trial.shared.schedule.timeouts.boot;
    let token = Token::generate()
        .map_err(|error| Failure::new(Reason::Randomness, format!("no random bytes: {error}")))?;
    let introduction = Introduction {
        token_hash: token.hash().to_string(),
        endpoint: endpoint(trial).await?,
        fingerprint: trial.gateway().fingerprint.clone(),
    };
    trial.history().record_introduction(&trial.key, introduction.clone()).await?;
    console::set_aside(&trial.console_log()).await?;
    let session = trial.gateway().gateway.open(token.hash(), trial.made_by(), requests(trial)?, None);
    let began = Instant::now();

    let asked = async {
        let new = NewServer {
            build_id: trial.shared.id.clone(),
            name: trial.resource_name(),
            image: image.clone(),
            spec: trial.target.server.clone(),
            metadata: metadata(trial, trial.made_by(), &token, introduction.clone()),
            console_log: trial.console_log(),
            private_key: trial.directory().join(files::PRIVATE_KEY),
        };
        Ok(trial.cloud.boot(&new, &trial.ledger()).await?)
    };
    let late = async {
        let limit = humantime::format_duration(limit);
        Failure::new(
            Reason::BootTimeout,
            format!("the cloud did not accept the server within timeouts.boot = {limit}"),
        )
    };
    let server = trial.bounds.run(limit, late, asked).await?;
    let record =
        v1::Server { id: server.id.clone(), name: server.name.clone(), flavor: server.flavor.clone() };
    trial.history().record_server(&trial.key, record).await?;
    session.tell_server(&server.id, &server.name);
    attach(trial, server, session, (began, &introduction.endpoint)).await
}

/// Goes on with a server of an earlier manager, when its agent can come to this one. It has as much time as a
/// new one.
pub(in crate::lifecycle) async fn resume(
    trial: &Trial,
    server: Server,
    agent: &Introduction,
    earlier: Option<&Claim>,
) -> Result<Done<Booted>, Failure> {
    let cut = |why: String| {
        let what = "the manager was stopped or killed while the server booted, and";
        Failure::new(Reason::Interrupted, format!("{what} {why}"))
    };
    let server = Server { console_log: trial.console_log(), ..server };
    let here = endpoint(trial).await?;
    if here != agent.endpoint {
        return Err(cut(format!("its agent dials {}, while this manager is at {here}", agent.endpoint)));
    }
    let token =
        TokenHash::parse(&agent.token_hash).ok_or_else(|| cut("its token is not known".to_owned()))?;
    let earlier = earlier.map(claim::from_record).transpose()?;
    let session = trial.gateway().gateway.open(token, trial.made_by(), requests(trial)?, earlier);
    session.tell_server(&server.id, &server.name);
    let began = Instant::now();
    let limit = trial.shared.schedule.timeouts.boot;
    let late = async { Failure::new(Reason::CloudTimeout, "the cloud does not report the server's state") };
    let asked = async { Ok(trial.cloud.server_status(&server).await?) };
    match trial.bounds.run(limit, late, asked).await? {
        ServerStatus::Building | ServerStatus::Active => {
            let mut booted = attach(trial, server, session, (began, &here)).await?;
            booted.value.resumed = true;
            Ok(booted)
        }
        ServerStatus::Missing => Err(cut("its server no longer exists".to_owned())),
        ServerStatus::Stopped(why) | ServerStatus::Error(why) => {
            Err(cut(format!("its server is no longer running: {why}")))
        }
    }
}

/// Waits for the server's agent, in what is left of the stage's time.
async fn attach(
    trial: &Trial,
    server: Server,
    mut session: Session,
    (began, endpoint): (Instant, &str),
) -> Result<Done<Booted>, Failure> {
    let mut console = ConsoleTail::new(&trial.console_log());
    let rest = trial.shared.schedule.timeouts.boot.saturating_sub(began.elapsed());
    let late = silent(trial, &server);
    let work = wait_for_agent(trial, &server, &mut session, &mut console, began);
    let Arrived { hello, claimant, stream, admit } = trial.bounds.run(rest, late, work).await?;
    accept(trial, &hello, &claimant).await?;
    claim::check_address(trial, &server, endpoint, &claimant).await?;
    claim::uncontested(&session)?;
    // Only now, when no other can come in its place any more, is it asked for anything.
    let _ = admit.send(());
    let from = claimant.from();
    let detail = format!(
        "agent {} attached from {from} after {:.1} s, {:.1} s after its kernel started ({})",
        hello.agent_version,
        began.elapsed().as_secs_f64(),
        seconds(hello.uptime.as_ref()),
        if hello.operating_system.is_empty() { &hello.kernel_release } else { &hello.operating_system },
    );
    let took = began.elapsed();
    Ok(Done { value: Booted { server, session, hello, stream, console, took, resumed: false }, detail })
}

async fn wait_for_agent(
    trial: &Trial,
    server: &Server,
    session: &mut Session,
    console: &mut ConsoleTail,
    began: Instant,
) -> Result<Arrived, Failure> {
    let usual = usual_boot(trial).await;
    let mut said = "waiting for the agent".to_owned();
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = session.next() => match event {
                Some(AgentEvent::Attached { hello, claimant, stream, admit }) => {
                    return Ok(Arrived { hello, claimant, stream, admit });
                }
                Some(AgentEvent::Contested(contest)) => return Err(claim::contested(&contest)),
                Some(other) => tracing::debug!(build = trial.shared.id, "before Hello: {other:?}"),
                None => return Err(Failure::new(Reason::Gateway, "the gateway closed the session")),
            },
            _ = look.tick() => {
                if let Some(last) = follow_console(trial, console).await {
                    said = last;
                }
                let waited = began.elapsed().as_secs_f64();
                // Never quite there before the agent is.
                let fraction = usual.map_or(-1.0, |usual| (waited / usual).min(0.95));
                trial.progress(Stage::Booting, fraction, &format!("{waited:.0} s: {said}"));
                still_runs(trial, server).await?;
            }
        }
    }
}

/// Seconds that boots of this schedule took lately until the agent came.
async fn usual_boot(trial: &Trial) -> Option<f64> {
    let p50 = lately(trial).await?.boot?.p50?;
    Some(seconds(Some(&p50))).filter(|seconds| *seconds > 0.0)
}

/// What came of the schedule's builds lately.
pub(super) async fn lately(trial: &Trial) -> Option<v1::ScheduleReport> {
    let query = ReportQuery { schedule: Some(trial.shared.schedule.name.clone()), ..ReportQuery::default() };
    trial.history().report(query).await.ok()?.schedules.into_iter().next()
}

/// Tells the console's new lines; returns the last one.
pub(super) async fn follow_console(trial: &Trial, console: &mut ConsoleTail) -> Option<String> {
    let mut last = None;
    for line in console.new_lines().await {
        trial.log(LogSource::Console, &line);
        last = Some(line);
    }
    last
}

/// Fails when the server has stopped by itself or its cloud could not run it. A cloud that does not answer
/// is asked again at the next look: the stage has its deadline.
pub(in crate::lifecycle) async fn still_runs(trial: &Trial, server: &Server) -> Result<(), Failure> {
    let (reason, message) = match trial.cloud.server_status(server).await {
        Ok(ServerStatus::Building | ServerStatus::Active) => return Ok(()),
        Ok(ServerStatus::Stopped(why)) => {
            (Reason::ServerStopped, format!("the server stopped by itself: {why}"))
        }
        Ok(ServerStatus::Error(fault)) => {
            (Reason::ServerFault, format!("the cloud could not run the server: {fault}"))
        }
        Ok(ServerStatus::Missing) => (Reason::ServerMissing, "the server no longer exists".to_owned()),
        Err(error) => {
            incidents::note(&format!("{error}; asked again later"));
            return Ok(());
        }
    };
    // The console of a server that never ran is empty: the cloud's own words are the evidence.
    let evidence = format!("{message}\n{}", console_evidence(trial, server).await);
    Err(Failure::new(reason, message).with_evidence(evidence))
}

/// Brings the console's log up to date, as far as the cloud gives it in time. `Err`: why that failed.
pub(super) async fn fetch_console(trial: &Trial, server: &Server) -> Result<Console, String> {
    let why = match timeout(EVIDENCE, trial.cloud.save_console(server)).await {
        Ok(Ok(console)) => return Ok(console),
        Ok(Err(error)) => error.message,
        Err(_) => "the cloud did not return the console in time".to_owned(),
    };
    tracing::warn!(build = trial.shared.id, "cannot fetch the console: {why}");
    Err(why)
}

/// The console's last lines, brought up to date first.
pub(in crate::lifecycle) async fn console_evidence(trial: &Trial, server: &Server) -> String {
    let given = fetch_console(trial, server).await;
    console::evidence(&given, &server.console_log, CONSOLE_LINES).await
}

/// No agent came.
async fn silent(trial: &Trial, server: &Server) -> Failure {
    let limit = humantime::format_duration(trial.shared.schedule.timeouts.boot);
    let status = timeout(EVIDENCE, trial.cloud.server_status(server)).await;
    if matches!(status, Ok(Ok(ServerStatus::Building))) {
        let message = format!("the cloud had not started the server within timeouts.boot = {limit}");
        return Failure::new(Reason::BootTimeout, message);
    }
    let ServedGateway { gateway, address, .. } = trial.gateway();
    let mut message =
        format!("no agent attached within timeouts.boot = {limit}; the gateway is at {address}");
    let strangers = gateway.unknown_tokens();
    if strangers > 0 {
        let attempts = image_manager_proto::counted(strangers, "attempt");
        let _ = write!(message, ", and refused {attempts} with a wrong token or none since it started");
    }
    Failure::new(Reason::AgentSilent, message).with_evidence(console_evidence(trial, server).await)
}

/// The agent of another image proves nothing about this one.
async fn accept(trial: &Trial, hello: &v1::Hello, claimant: &Claimant) -> Result<(), Failure> {
    let claim = claim::to_record(claimant);
    trial.history().record_agent(&trial.key, &hello.agent_version, claim).await?;
    if hello.image_build_id != trial.made_by() {
        return Err(Failure::new(
            Reason::WrongImage,
            format!(
                "the agent was installed by build {:?}: the server booted an image other than the one it was given",
                hello.image_build_id
            ),
        ));
    }
    Ok(())
}

/// `ip:port` that servers dial.
pub(in crate::lifecycle) async fn endpoint(trial: &Trial) -> Result<String, Failure> {
    let elsewhere = !trial.cloud.kind().on_this_host;
    if let Some(endpoint) = trial.settings().agent_endpoint.as_ref().filter(|_| elsewhere) {
        return Ok(endpoint.clone());
    }
    let late = async { Failure::new(Reason::CloudTimeout, "finding the manager's address took too long") };
    let asked = async { Ok(trial.cloud.agent_endpoint(trial.gateway().address).await?) };
    trial.bounds.run(ENDPOINT, late, asked).await
}

/// What the agent of an image that knows `build` needs to come here.
pub(in crate::lifecycle) fn metadata(
    trial: &Trial,
    build: &str,
    token: &Token,
    introduction: Introduction,
) -> BTreeMap<String, String> {
    let entries = [
        ("image_manager_endpoint", introduction.endpoint),
        ("image_manager_token", token.expose().to_owned()),
        ("image_manager_fingerprint", introduction.fingerprint),
        ("image_manager_build", build.to_owned()),
        ("image_manager_owner", trial.owner().to_owned()),
    ];
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// What the agent is asked for.
fn requests(trial: &Trial) -> Result<Vec<v1::CheckRequest>, Failure> {
    let by_agent = trial.target.checks.iter().filter(|check| check.check.observer == Observer::Agent);
    let facts = facts(trial);
    by_agent.map(|check| request(check, &facts)).collect()
}

/// One check, as the agent is asked for it.
pub(in crate::lifecycle) fn request(
    check: &CheckSpec,
    facts: &v1::ServerFacts,
) -> Result<v1::CheckRequest, Failure> {
    checks::request(check, facts).map_err(|why| Failure::new(Reason::InputUnusable, why))
}

/// What checks may compare with what they see, but for the server's id and name: those the session has once it is there.
pub(in crate::lifecycle) fn facts(trial: &Trial) -> v1::ServerFacts {
    let image = &trial.shared.schedule.image;
    let accounts = accounts::that_count(&trial.settings().state, trial.image_of.as_deref(), image);
    v1::ServerFacts {
        // Where the flavor says how large the disk is, the guest sees its device.
        disk_size_bytes: if trial.target.kind().sizes_servers { trial.target.server.disk } else { 0 },
        default_user_keys: default_user_keys(&accounts, &trial.target.server),
        users: accounts.users.iter().map(user).collect(),
        default_user: accounts.default_user.unwrap_or_default(),
        ssh_password_authentication: accounts.ssh_password_authentication,
        ..v1::ServerFacts::default()
    }
}

/// The image's own keys and the server's, where the schedule has it. One that Nova makes or has, the guest finds in its
/// metadata.
fn default_user_keys(accounts: &Accounts, server: &ServerSpec) -> Vec<String> {
    let mut keys = accounts.ssh_authorized_keys.clone();
    if let Some(SshKey::Public(key)) = &server.ssh_key {
        keys.push(key.clone());
    }
    keys
}

fn user(user: &User) -> v1::ServerUser {
    v1::ServerUser {
        name: user.name.clone(),
        ssh_authorized_keys: user.ssh_authorized_keys.clone(),
        sudo: user.sudo,
        groups: user.groups.clone(),
        shell: user.shell.clone(),
    }
}

/// A protobuf duration in seconds; 0 when absent.
pub(super) fn seconds(duration: Option<&prost_types::Duration>) -> f64 {
    duration.map_or(0.0, crate::clock::seconds)
}
