//! Following a build to its end, with its progress.

use image_manager_proto::v1::{self, BuildEvent, build_event};
use tokio_stream::{Stream, StreamExt as _};
use tonic::Status;

use super::Trouble;
use super::progress::{Progress, QUIET};
use super::signals::Signals;
use crate::lifecycle::state;

/// How following came to its end.
pub(crate) enum Followed {
    /// The build has ended.
    Ended(Box<v1::Build>),
    /// The user did not want to wait for the end.
    Abandoned,
}

/// Follows until the build has ended. The first Ctrl-C (SIGTERM, SIGHUP) calls `cancel`, the second one gives up.
pub(crate) async fn follow(
    events: impl Stream<Item = Result<BuildEvent, Status>>,
    verbose: bool,
    cancel: impl Fn(),
) -> Result<Followed, Trouble> {
    let mut signals = Signals::new()?;
    tokio::pin!(events);
    let mut progress = Progress::new(verbose);
    let mut cancelled = false;
    let mut beat = tokio::time::interval(QUIET);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => {
                    if let Some(ended) = take(&mut progress, event) {
                        progress.finish();
                        return Ok(Followed::Ended(Box::new(ended)));
                    }
                }
                Some(Err(status)) => {
                    let why = format!("lost the connection to the manager: {}", status.message());
                    return Err(Trouble::errored(why));
                }
                None => return Err(Trouble::errored("lost the connection to the manager before the build ended")),
            },
            _ = beat.tick() => progress.still(),
            _ = signals.next() => {
                if cancelled {
                    progress.finish();
                    return Ok(Followed::Abandoned);
                }
                cancelled = true;
                progress.say(&[&"cancelling and cleaning up; one more signal leaves that to the next start"]);
                cancel();
            }
        }
    }
}

/// Shows an event; returns the build when it has ended.
fn take(progress: &mut Progress, event: BuildEvent) -> Option<v1::Build> {
    let target = event.target;
    match event.kind? {
        build_event::Kind::Build(build) => {
            progress.build(&build);
            state::is_end(build.state()).then_some(build)
        }
        build_event::Kind::Progress(now) => {
            progress.stage(&now);
            None
        }
        build_event::Kind::Log(line) => {
            progress.log(&line);
            None
        }
        build_event::Kind::Check(check) => {
            progress.check(&target, &check);
            None
        }
    }
}
