//! `image-manager serve`: scheduler, gateway and operator port until it is told to stop.
//!
//! SIGTERM or SIGINT: no more builds are taken, those under way have `--grace` to come to their end, then they
//! are ended and cleaned up; a trial that waits for its turn or for a retry waits on for the next start. A second signal
//! ends them at once, a third leaves the clean-up to the next start.
//! SIGHUP reads schedules.toml anew.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::arguments::{HostArguments, ServeArguments};
use super::host::{Loaded, load_definition};
use super::instance::{Builds, Instance, StateLock, gateway_address, holder, listen};
use super::logging::LogFormat;
use super::reload::Reloader;
use super::signals::Signals;
use super::{Exit, Outcome, Trouble, logging, text, webhook};
use crate::builder::remark_on_passwords;
use crate::clock;
use crate::history::HistoryError;
use crate::lifecycle::{Manager, Retention, start_retention};
use crate::operator::{self, Access, ApiToken, Operator};
use crate::readiness::{self, Problem};
use crate::schedules::{Schedule, Schedules};
use crate::untrusted::json;
use crate::webhook::Webhook;

/// How long builds that were told to end may take for that and their clean-up.
const CLEAN_UP: Duration = Duration::from_mins(2);

/// What serving needs, open.
struct Opened {
    lock: StateLock,
    token: Option<ApiToken>,
    listener: TcpListener,
    operator: SocketAddr,
    webhook: Option<Webhook>,
    instance: Instance,
}

async fn open(arguments: &ServeArguments) -> Result<Opened, Trouble> {
    clock::check().map_err(Trouble::usage)?;
    let host = arguments.host.clone();
    // A file system that hangs must not hang the signals too.
    let loaded = tokio::task::spawn_blocking(move || look_at(&host)).await;
    let (schedules, lacks) = loaded.map_err(Trouble::errored)??;
    let token =
        arguments.api_token_file.as_deref().map(ApiToken::read).transpose().map_err(Trouble::usage)?;
    let directory = &arguments.host.state.state;
    let history = directory.join("image-manager.db");
    let kept = (directory.as_path(), history.as_path());
    Access::may_open(arguments.operator, token.as_ref(), kept).await.map_err(Trouble::usage)?;
    let lock = StateLock::take(directory)?.ok_or_else(|| taken(directory))?;
    let listener = listen(arguments.operator, "--operator").await?;
    let operator = listener.local_addr().map_err(Trouble::errored)?;
    let webhook = webhook::of(&arguments.webhook, operator)?;
    let gateway = arguments.host.gateway.unwrap_or_else(|| gateway_address(&schedules));
    let gateway = listen(gateway, "--gateway").await?;
    // By now every mistake in flags, files and ports would have been told, and nothing has been logged.
    tell_where(arguments, operator);
    for lack in lacks {
        tracing::error!("{lack}");
    }
    if let Some(remark) = remark_on_passwords() {
        tracing::warn!("{remark}");
    }
    let builds = Builds::Served(usize::from(arguments.concurrent_builds));
    let instance = Instance::open(&arguments.host, &lock, schedules, &|_| true, gateway, builds).await?;
    Ok(Opened { lock, token, listener, operator, webhook, instance })
}

/// The schedules, when `check` would find no mistake; and what this host lacks for them, which may be mended while the
/// manager serves.
fn look_at(host: &HostArguments) -> Result<(Schedules, Vec<String>), Trouble> {
    let everything = |_: &Schedule| true;
    let Loaded { schedules, definition, settings } = load_definition(host, &everything)?;
    let findings = readiness::findings(&schedules, &definition, &settings, &everything);
    let lacks = findings.into_iter().filter_map(|finding| {
        let Problem { wrong, mend } = finding.trouble?;
        Some(format!("builds cannot succeed yet: {}: {wrong}; to fix it: {mend}", finding.what))
    });
    let lacks = lacks.collect();
    Ok((schedules, lacks))
}

/// The first line: where the dashboard is.
fn tell_where(arguments: &ServeArguments, operator: SocketAddr) {
    let told = format!("Dashboard: {}/", webhook::pages(&arguments.webhook, operator));
    match arguments.logging.log_format {
        LogFormat::Text => text::remark(&told),
        LogFormat::Json => {
            let time = clock::rfc3339(clock::now());
            let line = serde_json::json!({ "timestamp": time, "level": "INFO", "message": told });
            text::remark(&json::compact(&line));
        }
    }
}

pub(crate) async fn run(mut arguments: ServeArguments) -> Outcome {
    let secrets = [&arguments.api_token_file, &arguments.webhook.webhook_secret_file];
    arguments.host.private = secrets.into_iter().flatten().cloned().collect();
    logging::start(&arguments.logging, "info")?;
    // Before anything else: until then each of them kills, and SIGHUP would do so in a way that systemd takes for
    // an end in order.
    let mut signals = Signals::new()?;
    let hangup = signals.take_hangup();
    let opened = tokio::select! {
        opened = open(&arguments) => opened?,
        // Nothing was begun.
        () = told_to_stop(&mut signals) => return Ok(Exit::Done),
    };
    let Opened { lock, token, listener, operator: operator_address, webhook, mut instance } = opened;
    let manager = instance.manager.clone();
    let firing = CancellationToken::new();

    manager.remember_schedules().await.map_err(Trouble::errored)?;
    manager.history().want_notices(webhook.is_some()).await.map_err(Trouble::errored)?;
    let recovered = manager.recover().await.map_err(|error| unrecovered(&error))?;
    manager.start_scheduler(firing.clone()).await.map_err(Trouble::errored)?;
    let reloader = Reloader {
        manager: manager.clone(),
        path: arguments.host.schedules.schedules.clone(),
        gateway: manager.settings().agent_endpoint.is_none().then_some(instance.gateway_address),
        chosen: arguments.host.gateway.is_none().then_some(instance.gateway_address),
    };
    tokio::spawn(reloader.run(hangup, firing.clone()));
    let retention = Retention { age: arguments.keep_logs.0, room: arguments.logs_room.0 };
    let (history, state) = (manager.history().clone(), manager.settings().state.clone());
    start_retention(history, state, retention, firing.clone());
    manager.start_pruning(firing.clone());
    manager.start_watching_clouds(firing.clone());
    let api_token_file = token.is_some();
    let access = Access::open(manager.history().clone(), &manager.settings().state, token).await;
    let access = access.map_err(Trouble::errored)?;
    lock.sign(Some(operator_address), api_token_file)?;
    if let Some(webhook) = webhook {
        tokio::spawn(webhook.run(manager.clone(), instance.stop.clone()));
    }
    let mut serving = tokio::spawn(operator::serve(
        Operator { manager: manager.clone(), access: Arc::clone(&access) },
        listener,
        instance.stop.clone(),
    ));
    tracing::info!(
        operator = %operator_address,
        gateway = %instance.gateway_address,
        schedules = manager.schedules().schedules.len(),
        recovered,
        "serving"
    );
    print_link(&access, operator_address).await;
    let failed = tokio::select! {
        () = told_to_stop(&mut signals) => None,
        ended = &mut instance.gateway => Some(format!("the gateway ended: {}", how(ended))),
        ended = &mut serving => Some(format!("the operator port ended: {}", how(ended))),
    };
    firing.cancel();
    let grace = if failed.is_some() { Duration::ZERO } else { arguments.grace };
    let ended = end_builds(&manager, grace, &mut signals).await;
    instance.stop.cancel();
    if let Some(why) = failed {
        return Err(Trouble::errored(why));
    }
    // Open streams have a short grace of their own.
    let _ = tokio::time::timeout(Duration::from_secs(5), serving).await;
    if ended {
        return Ok(Exit::Done);
    }
    Err(Trouble::errored("not everything was cleaned up; the next start cleans up the rest"))
}

/// On a terminal, whoever started the manager gets a link into the dashboard. A journal gets none.
async fn print_link(access: &Access, operator: SocketAddr) {
    if !text::stderr_is_terminal() {
        return;
    }
    match access.own_link().await {
        Ok(path) => {
            text::remark(&format!("Dashboard, for one browser, within 10 minutes: http://{operator}{path}"));
        }
        Err(error) => tracing::warn!("cannot make a link to the dashboard: {error}"),
    }
}

/// Nothing may begin before what an earlier manager left is seen to, and that must be written down.
fn unrecovered(error: &HistoryError) -> Trouble {
    Trouble::errored(format!("cannot take over the builds that an earlier manager left: {error}"))
}

/// Brings the builds to their end, but for what waits. True when nothing is left to be done of them.
async fn end_builds(manager: &Manager, grace: Duration, signals: &mut Signals) -> bool {
    let under_way = manager.under_way();
    if under_way > 0 && !grace.is_zero() {
        tracing::info!(
            under_way,
            "no more builds are accepted; those under way have {} to end, unless a second signal comes",
            humantime::format_duration(grace)
        );
    }
    let done = tokio::select! {
        done = manager.wind_down(grace) => done,
        () = told_to_stop(signals) => false,
    };
    if done {
        return true;
    }
    tracing::info!(
        under_way = manager.under_way(),
        "ending builds and cleaning up; one more signal leaves that to the next start"
    );
    tokio::select! {
        ended = manager.shut_down(CLEAN_UP) => ended,
        () = told_to_stop(signals) => false,
    }
}

/// Somebody else has the state directory.
fn taken(directory: &Path) -> Trouble {
    let who = holder(directory).map(|holder| format!(" (pid {})", holder.pid)).unwrap_or_default();
    Trouble::usage(format!(
        "another image-manager{who} uses the state directory {}: only one manager can use it",
        directory.display()
    ))
}

async fn told_to_stop(signals: &mut Signals) {
    let signal = signals.next().await;
    tracing::info!(signal, "told to stop");
}

fn how<E: std::fmt::Display>(ended: Result<Result<(), E>, tokio::task::JoinError>) -> String {
    match ended {
        Ok(Ok(())) => "without an error".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    }
}
