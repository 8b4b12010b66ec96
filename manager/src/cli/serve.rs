//! `image-manager serve`: scheduler, gateway and operator port until it is told to stop.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::arguments::ServeArguments;
use super::instance::{Instance, StateLock, gateway_address, holder, listen, load_schedules, start_logging};
use super::{Exit, Outcome, Trouble};
use crate::lifecycle::start_scheduler;
use crate::operator::{self, ApiToken, Operator};

/// How long builds may take to end and clean up when the manager is told to stop.
const GRACE: Duration = Duration::from_mins(2);

pub(crate) async fn run(arguments: ServeArguments) -> Outcome {
    start_logging("info");
    let schedules = load_schedules(&arguments.host.schedules.schedules)?;
    let token =
        arguments.api_token_file.as_deref().map(ApiToken::read).transpose().map_err(Trouble::usage)?;
    ApiToken::guard(arguments.operator, token.as_ref()).map_err(Trouble::usage)?;
    let directory = &arguments.host.state.state;
    let Some(lock) = StateLock::take(directory)? else {
        let who = holder(directory).map(|holder| format!(" (pid {})", holder.pid)).unwrap_or_default();
        return Err(Trouble::usage(format!(
            "another image-manager{who} uses the state directory {}: one manager a state directory",
            directory.display()
        )));
    };
    let listener = listen(arguments.operator, "--operator").await?;
    let operator_address = listener.local_addr().map_err(Trouble::errored)?;
    let gateway = arguments.gateway.unwrap_or_else(|| gateway_address(&schedules));
    let builds = usize::from(arguments.concurrent_builds);
    let instance = Instance::open(&arguments.host, &lock, schedules, &|_| true, gateway, builds).await?;
    let manager = instance.manager.clone();
    let mut terminate = signal(SignalKind::terminate()).map_err(Trouble::errored)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Trouble::errored)?;

    let recovered = manager.recover().await.map_err(Trouble::errored)?;
    let scheduler = start_scheduler(manager.clone()).await.map_err(Trouble::errored)?;
    lock.sign(Some(operator_address))?;
    let serving = tokio::spawn(operator::serve(
        Operator { manager: manager.clone(), token },
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
    tokio::select! {
        _ = terminate.recv() => tracing::info!("told to terminate"),
        _ = interrupt.recv() => tracing::info!("interrupted"),
    }
    drop(scheduler);
    let under_way = manager.under_way();
    if under_way > 0 {
        tracing::info!(
            under_way,
            "ending builds and cleaning up; a second signal leaves that to the next start"
        );
    }
    let ended = tokio::select! {
        ended = manager.shut_down(GRACE) => ended,
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
    };
    instance.stop.cancel();
    // Open streams have a short grace of their own.
    let _ = tokio::time::timeout(Duration::from_secs(5), serving).await;
    if ended {
        return Ok(Exit::Done);
    }
    Err(Trouble::errored("not everything was cleaned up; the next start takes it up"))
}
