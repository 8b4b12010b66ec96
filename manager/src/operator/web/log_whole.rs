//! `/builds/ID/logs/FILE`: a log from its beginning to its end, as plain text.

use std::io;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc::Sender;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::Web;
use super::error::{Answer, Refusal};
use super::log::{path, target_of};
use super::log_file::Log;
use crate::untrusted::log_file::{Lines, ShownLog};

/// Bytes of a file that are sent at once.
const PIECE: usize = 64 * 1024;

/// How a whole log is sent.
#[derive(Debug, Deserialize)]
pub(super) struct Whole {
    /// The bytes as they are; otherwise nothing in them steers a terminal that shows them.
    #[serde(default)]
    raw: bool,
    /// Whose, where the build has several targets.
    target: Option<String>,
}

/// Sends a log.
pub(super) async fn send_whole(
    State(web): State<Web>,
    Path((id, file)): Path<(String, String)>,
    Query(how): Query<Whole>,
) -> Answer {
    let log = Log::ALL.into_iter().find(|log| log.file() == file);
    let log = log.ok_or_else(|| {
        Refusal::not_found(format!("no log {file:?}: expected build.log, console.log or agent.jsonl"))
    })?;
    let id = web.manager.history().resolve(&id).await?;
    let build = web.manager.history().build(&id).await?;
    let target = target_of(&build, log, how.target.as_deref())?;
    let opened = tokio::fs::File::open(path(&web, &id, log, target)).await.map_err(|error| {
        Refusal::not_found(format!(
            "build {id} has no {file} (it did not get that far, or the log has been removed): {error}"
        ))
    })?;
    let shown = (!how.raw).then(|| ShownLog::new(if log == Log::Agent { Lines::Json } else { Lines::Text }));
    let (sender, receiver) = tokio::sync::mpsc::channel(2);
    tokio::spawn(send(opened, shown, sender));
    let body =
        Body::from_stream(ReceiverStream::new(receiver).map(|piece| piece.map(axum::body::Bytes::from)));
    Ok(plain(body, &format!("inline; filename=\"{file}\"")))
}

/// Reads a file piece by piece, and sends what may be shown of it.
async fn send(mut file: File, mut shown: Option<ShownLog>, sender: Sender<io::Result<Vec<u8>>>) {
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        let read = (&mut file).take(PIECE as u64).read_to_end(&mut piece).await;
        let last = !matches!(read, Ok(1..));
        if let Some(shown) = &mut shown {
            piece = if last { shown.finish() } else { shown.take(&piece) }.into_bytes();
        }
        // The browser may be gone.
        if sender.send(read.map(|_| piece)).await.is_err() || last {
            return;
        }
    }
}

fn plain(body: Body, disposition: &str) -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CONTENT_DISPOSITION, disposition)];
    (headers, body).into_response()
}
