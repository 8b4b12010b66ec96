//! Server-sent events: that something changed, how far a stage is, and new lines of the log that is shown.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use image_manager_proto::v1::{self, build_event};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc};
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::Web;
use super::error::{Answer, Refusal};
use super::log;
use super::log_file::LogFile;
use super::log_tail::LogTail;
use super::zone;
use crate::lifecycle::events::Told;
use crate::lifecycle::state;
use crate::operator::access::Caller;
use crate::untrusted::Untrusted;

/// Events that may wait for a slow browser.
const WAITING: usize = 32;
/// How often the log is looked at and what happened is told: several changes within it are one.
const BEAT: Duration = Duration::from_millis(300);
/// A browser that takes nothing for this long is gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// A comment is sent this often, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// After an error of the stream the browser waits this long.
const RETRY: Duration = Duration::from_secs(2);

/// Which log a page shows, and how far it has it.
#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    log: Option<String>,
    /// Whose, where the build has several targets.
    target: Option<String>,
    #[serde(default)]
    from: u64,
}

/// One open stream.
struct Stream {
    web: Web,
    /// Who reads it: it ends when they may not any more.
    caller: Caller,
    sender: mpsc::Sender<Event>,
    _place: OwnedSemaphorePermit,
}

/// The browser is gone, or the manager stops.
struct StreamEnded;

/// What happened since the last beat.
#[derive(Default)]
struct Changes {
    changed: bool,
    /// By the target; of the build's own stages it is empty.
    progress: BTreeMap<String, v1::Progress>,
}

/// `/events`: that any build changed.
pub(super) async fn all(State(web): State<Web>, caller: Caller) -> Answer {
    let (stream, response) = open(&web, caller)?;
    let heard = web.manager.events().subscribe();
    tokio::spawn(async move {
        // Ended by the browser or by the manager.
        let _ = follow(&stream, heard, None).await;
    });
    Ok(response)
}

/// `/builds/ID/events`: one build, and one of its logs. Ends after the build's end.
pub(super) async fn of_build(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<String>,
    Query(shown): Query<Shown>,
    headers: HeaderMap,
) -> Answer {
    // Before the history is read, so that nothing falls between the two.
    let heard = web.manager.events().subscribe();
    let id = web.manager.history().resolve(&id).await?;
    let build = web.manager.history().build(&id).await?;
    // A browser that lost the stream says how far it came.
    let resumed = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
    let from = resumed.unwrap_or(shown.from);
    let file = match log::named(&build, shown.log.as_deref())? {
        Some(log) => {
            let target = log::target_of(&build, log, shown.target.as_deref())?;
            let path = log::path(&web, &id, log, target);
            Some(LogFile { log, path, zone: zone::of_page() })
        }
        None => None,
    };
    let (stream, response) = open(&web, caller)?;
    tokio::spawn(async move {
        let opened = tokio::task::spawn_blocking(move || LogTail::open(file?, from).ok()).await;
        // A log that cannot be read is as one that says nothing.
        let followed = Followed { id, log: opened.ok().flatten() };
        let _ = follow(&stream, heard, Some(followed)).await;
    });
    Ok(response)
}

/// The build that a stream is about, and its log.
struct Followed {
    id: String,
    log: Option<LogTail>,
}

fn open(web: &Web, caller: Caller) -> Result<(Stream, Response), Refusal> {
    let place = web.streams.clone().try_acquire_owned().map_err(|_| Refusal {
        status: StatusCode::SERVICE_UNAVAILABLE,
        message: "too many pages are open; this one does not update until others are closed".to_owned(),
    })?;
    let (sender, receiver) = mpsc::channel(WAITING);
    let events = ReceiverStream::new(receiver).map(Ok::<_, std::convert::Infallible>);
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    // Proxies must not collect what should arrive now.
    response.headers_mut().insert("x-accel-buffering", header::HeaderValue::from_static("no"));
    Ok((Stream { web: web.clone(), caller, sender, _place: place }, response))
}

async fn follow(
    stream: &Stream,
    mut heard: broadcast::Receiver<Told>,
    mut followed: Option<Followed>,
) -> Result<(), StreamEnded> {
    stream.send(Event::default().event("hello").retry(RETRY).data("{}")).await?;
    let mut news = Changes::default();
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let id = followed.as_ref().map(|followed| followed.id.clone());
    let mut fallen = Box::pin(stream.web.access.keyring.fallen(&stream.caller));
    loop {
        tokio::select! {
            () = stream.web.stop.cancelled() => return Err(StreamEnded),
            () = &mut fallen => return Err(StreamEnded),
            () = stream.sender.closed() => return Err(StreamEnded),
            told = heard.recv() => match told {
                Ok(told) if id.as_ref().is_some_and(|id| *id != told.build_id) => {}
                Ok(told) => news.hear(told.event, id.is_some()),
                // What was lost is made good by the page as it is now.
                Err(RecvError::Lagged(_)) => news.changed = true,
                Err(RecvError::Closed) => return Err(StreamEnded),
            },
            _ = beat.tick() => {
                let over = match &mut followed {
                    Some(followed) => stream.log(followed).await?,
                    None => false,
                };
                stream.tell(std::mem::take(&mut news)).await?;
                if over {
                    return stream.send(Event::default().event("end").data("{}")).await;
                }
            }
        }
    }
}

impl Changes {
    fn hear(&mut self, event: v1::BuildEvent, of_one: bool) {
        match event.kind {
            Some(build_event::Kind::Build(_)) => self.changed = true,
            Some(build_event::Kind::Check(_)) => self.changed |= of_one,
            Some(build_event::Kind::Progress(progress)) if of_one => {
                self.progress.insert(progress.target.clone(), progress);
            }
            Some(build_event::Kind::Progress(_) | build_event::Kind::Log(_)) | None => {}
        }
    }
}

impl Stream {
    async fn send(&self, event: Event) -> Result<(), StreamEnded> {
        let sent = tokio::time::timeout(PATIENCE, self.sender.send(event)).await;
        sent.map_err(|_| StreamEnded)?.map_err(|_| StreamEnded)
    }

    async fn tell(&self, news: Changes) -> Result<(), StreamEnded> {
        if news.changed {
            self.send(Event::default().event("changed").data("{}")).await?;
        }
        for progress in news.progress.into_values() {
            let shown = |text: &str| Untrusted::from(text).in_one_line().into_owned();
            let told = json!({"target": shown(&progress.target), "stage": shown(&progress.stage), "fraction": progress.fraction, "detail": shown(&progress.detail)});
            self.send(Event::default().event("progress").data(told.to_string())).await?;
        }
        Ok(())
    }

    /// Sends what the log has gained. True when the build has ended and all is told.
    async fn log(&self, followed: &mut Followed) -> Result<bool, StreamEnded> {
        // Asked before the file is read: what was written before the end is told.
        let ended = !self.web.manager.is_under_way(&followed.id);
        if let Some(mut log) = followed.log.take() {
            let read = tokio::task::spawn_blocking(move || (log.news(), log)).await;
            let (news, log) = read.map_err(|_| StreamEnded)?;
            let end = log.from();
            followed.log = Some(log);
            if let Ok(Some(news)) = news {
                let news = serde_json::to_string(&news).unwrap_or_default();
                self.send(Event::default().event("log").id(end.to_string()).data(news)).await?;
                return Ok(false);
            }
        }
        if !ended {
            return Ok(false);
        }
        let build = self.web.manager.history().build(&followed.id).await.map_err(|_| StreamEnded)?;
        Ok(state::is_end(build.state()))
    }
}
