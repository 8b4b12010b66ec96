//! Following one build: its present state first, then what happens, until it has ended.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use image_manager_proto::v1::{self, build_event};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::statuses::history_status;
use crate::clock;
use crate::history::HistoryError;
use crate::lifecycle::{Manager, state};

/// Events that may wait for a slow watcher before it starts to lag behind the bus.
const WAITING: usize = 256;

/// After this much silence it is looked whether the build is still under way.
const QUIET: Duration = Duration::from_secs(30);

/// Which log lines a watcher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Logs {
    /// None.
    None,
    /// All.
    All,
    /// Those of the target with this name, and disk-image-builder's.
    OfTarget(String),
}

impl Logs {
    fn tells(&self, kind: Option<&build_event::Kind>) -> bool {
        let Some(build_event::Kind::Log(line)) = kind else { return true };
        match self {
            Self::None => false,
            Self::All => true,
            Self::OfTarget(target) => line.target.is_empty() || line.target == *target,
        }
    }
}

/// The events of a build. The stream ends after the event that tells its end.
pub async fn build_events(
    manager: Manager,
    id: String,
    logs: Logs,
) -> Result<impl Stream<Item = Result<v1::BuildEvent, Status>> + Send, HistoryError> {
    // Subscribed before the state is read, so that nothing falls between the two.
    let mut events = manager.events().subscribe();
    let build = manager.history().build(&id).await?;
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let ended = state::is_end(build.state());
        if sender.send(Ok(snapshot(build))).await.is_err() || ended {
            return;
        }
        loop {
            let Ok(heard) = tokio::time::timeout(QUIET, events.recv()).await else {
                match looked_after(&manager, &id).await {
                    Ok(None) => continue,
                    // The watcher may be gone as well.
                    Ok(Some(build)) => drop(sender.send(Ok(snapshot(build))).await),
                    Err(status) => drop(sender.send(Err(status)).await),
                }
                return;
            };
            let event = match heard {
                Ok(told) if told.build_id != id => continue,
                Ok(told) => told.event,
                // Lost events are made good by the state as it is now.
                Err(RecvError::Lagged(_)) => match manager.history().build(&id).await {
                    Ok(build) => snapshot(build),
                    Err(error) => {
                        // The watcher may be gone as well.
                        let _ = sender.send(Err(history_status(error))).await;
                        return;
                    }
                },
                Err(RecvError::Closed) => return,
            };
            if !logs.tells(event.kind.as_ref()) {
                continue;
            }
            let end =
                matches!(&event.kind, Some(build_event::Kind::Build(build)) if state::is_end(build.state()));
            if sender.send(Ok(event)).await.is_err() || end {
                return;
            }
        }
    });
    Ok(ReceiverStream::new(receiver))
}

/// After a long silence: `None` when the build is under way, the build when it has ended.
async fn looked_after(manager: &Manager, id: &str) -> Result<Option<v1::Build>, Status> {
    let build = manager.history().build(id).await.map_err(history_status)?;
    if state::is_end(build.state()) {
        return Ok(Some(build));
    }
    if manager.is_under_way(id) {
        return Ok(None);
    }
    Err(Status::aborted(format!("nothing works on build {id} any more; the manager's next start ends it")))
}

fn snapshot(build: v1::Build) -> v1::BuildEvent {
    v1::BuildEvent {
        time: Some(clock::timestamp_of(clock::now())),
        target: String::new(),
        kind: Some(build_event::Kind::Build(build)),
    }
}

/// A stream that ends with an error once `until` is over.
pub(super) struct Until<S, F> {
    stream: Pin<Box<S>>,
    end: Pin<Box<F>>,
    over: bool,
}

impl<S, F> Until<S, F> {
    pub(super) fn new(stream: S, until: F) -> Self {
        Self { stream: Box::pin(stream), end: Box::pin(until), over: false }
    }
}

impl<T, S, F> Stream for Until<S, F>
where
    S: Stream<Item = Result<T, Status>>,
    F: Future<Output = Status>,
{
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(status) = self.end.as_mut().poll(context) {
            self.over = true;
            return Poll::Ready(Some(Err(status)));
        }
        self.stream.as_mut().poll_next(context)
    }
}
