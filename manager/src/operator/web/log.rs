//! The log on a build's page: its end, then line by line; or what a search found; and the whole file.

use std::io;
use std::path::PathBuf;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use image_manager_proto::{counted, v1};
use maud::{Markup, html};
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc::Sender;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::error::{Answer, Refusal};
use super::log_file::{self, FOUND, Found, Line, Log, Part};
use super::{Web, figures, zone};
use crate::lifecycle::trials::{blamed, several};
use crate::lifecycle::{files, state};
use crate::stage::Stage;
use crate::untrusted::log_file::{Lines, ShownLog};

/// Longest text that is searched for, in bytes.
const SEARCH_LIMIT: usize = 200;
/// Bytes of a file that are sent at once.
const PIECE: usize = 64 * 1024;

/// What is to be seen of which log.
pub(super) struct View {
    log: Log,
    /// Whose, where the build has several targets; the build's own log is of none.
    target: Option<String>,
    search: String,
    content: Content,
}

enum Content {
    End(Part),
    Found(Found),
    Unreadable(String),
}

impl View {
    /// Reads what the page was asked to show.
    pub(super) async fn read(
        web: &Web,
        build: &v1::Build,
        log: Option<&str>,
        target: Option<&str>,
        search: &str,
    ) -> Self {
        let log = log.and_then(Log::from_word).unwrap_or_else(|| telling(build));
        let target = target_of(build, log, target).map(str::to_owned);
        let path = path(web, &build.id, log, target.as_deref());
        let search: String = search.trim().chars().take(SEARCH_LIMIT).collect();
        let wanted = search.clone();
        let zone = zone::of_page();
        let read = tokio::task::spawn_blocking(move || {
            if wanted.is_empty() {
                return log_file::end_of(log, &path, zone).map(Content::End);
            }
            log_file::search(log, &path, &wanted, zone).map(Content::Found)
        });
        let content = match read.await {
            Ok(Ok(content)) => content,
            Ok(Err(error)) => Content::Unreadable(error.to_string()),
            Err(error) => Content::Unreadable(error.to_string()),
        };
        Self { log, target, search, content }
    }

    /// Where the events of the build and of this log come from.
    pub(super) fn events(&self, build: &v1::Build) -> String {
        let from = match &self.content {
            Content::End(part) => part.end,
            // A search stays as it is.
            Content::Found { .. } | Content::Unreadable(_) => return format!("/builds/{}/events", build.id),
        };
        let whose = self.target.as_deref().map(|target| format!("&target={}", encoded(target)));
        format!(
            "/builds/{}/events?log={}{}&from={from}",
            build.id,
            self.log.word(),
            whose.unwrap_or_default()
        )
    }

    /// The panel.
    pub(super) fn render(&self, build: &v1::Build) -> Markup {
        let follows = matches!(self.content, Content::End(_)) && !state::is_end(build.state());
        html! {
            section.panel #log data-keep {
                div.panel-head {
                    h2 { "Log" }
                    nav.tabs aria-label="Logs" {
                        @for log in Log::ALL {
                            a href=(address(&build.id, log, self.target.as_deref(), "#log"))
                                aria-current=[(log == self.log).then_some("true")] { (title(log)) }
                        }
                    }
                    (self.targets(build))
                    @if self.has_times() { (zone::note()) }
                    span.spacer {}
                    form.search method="get" action={ "/builds/" (build.id) "#log" } role="search" {
                        input type="hidden" name="log" value=(self.log.word());
                        @if let Some(target) = &self.target { input type="hidden" name="target" value=(target); }
                        input #search type="search" name="q" value=(self.search) placeholder="Search the log"
                            aria-label="Search the log" maxlength=(SEARCH_LIMIT);
                        button.quiet type="submit" { "Search" }
                    }
                    @if follows {
                        label.switch #follow-label hidden { input #follow type="checkbox" checked; "Follow" }
                    }
                    a.quiet href=(self.whole(build)) { "Full log" }
                }
                p.hint #log-hint { (self.hint(build)) }
                (self.lines())
            }
        }
    }

    /// Whose log, where there are several of a kind.
    fn targets(&self, build: &v1::Build) -> Markup {
        html! {
            @if self.target.is_some() {
                nav.tabs aria-label="Targets" {
                    @for trial in &build.trials {
                        a href=(address(&build.id, self.log, Some(&trial.target), "#log"))
                            aria-current=[(self.target.as_ref() == Some(&trial.target)).then_some("true")] { (trial.target) }
                    }
                }
            }
        }
    }

    /// The address of the whole file.
    fn whole(&self, build: &v1::Build) -> String {
        let whose = self.target.as_deref().map(|target| format!("?target={}", encoded(target)));
        format!("/builds/{}/logs/{}{}", build.id, self.log.file(), whose.unwrap_or_default())
    }

    /// The console's lines have no time.
    fn has_times(&self) -> bool {
        self.log != Log::Console && matches!(&self.content, Content::End(_))
    }

    fn hint(&self, build: &v1::Build) -> Markup {
        let back = address(&build.id, self.log, self.target.as_deref(), "#log");
        html! {
            @match &self.content {
                Content::End(part) if part.cut => "Earlier lines are not shown here; the full log has them.",
                Content::End(part) if part.lines.is_empty() => {
                    @if state::is_end(build.state()) { "This log is empty: the build did not get that far, or the log has been removed." }
                    @else { "No output yet." }
                },
                Content::End(_) => {},
                Content::Found(Found { lines, more, skipped }) => {
                    @if *more { "More than " }
                    (counted(lines.len(), "line")) @if lines.len() == 1 { " contains “" } @else { " contain “" } (self.search) "”"
                    @if *more { "; the first " (FOUND) " are shown" } ". "
                    @if *skipped > 0 { "Only the end of this log was searched: its first " (figures::size(*skipped)) " were not. " }
                    a href=(back) { "Back to the end of the log" }
                },
                Content::Unreadable(error) => { "The log cannot be read: " (error) },
            }
        }
    }

    fn lines(&self) -> Markup {
        html! {
            pre.log #log-lines role="region" tabindex="0" aria-label={ (title(self.log)) " log" } {
                @match &self.content {
                    Content::End(part) => @for line in &part.lines { (shown(None, line)) },
                    Content::Found(Found { lines, .. }) => @for (number, line) in lines { (shown(Some(*number), line)) },
                    Content::Unreadable(_) => {},
                }
            }
        }
    }
}

/// A line; `assets/app.js` makes the same of lines that arrive later.
fn shown(number: Option<usize>, line: &Line) -> Markup {
    html! {
        span.line.bad[line.bad] {
            @if let Some(number) = number { span.at { (number) } }
            @else if !line.at.is_empty() { span.at { (line.at) } }
            (line.text) "\n"
        }
    }
}

fn title(log: Log) -> &'static str {
    match log {
        Log::Build => "Build",
        Log::Console => "Console",
        Log::Agent => "Agent",
    }
}

/// The log that tells most as the build stands.
fn telling(build: &v1::Build) -> Log {
    let stages = build.stages.iter().chain(build.trials.iter().flat_map(|trial| &trial.stages));
    let mut running =
        stages.filter(|stage| stage.state() == v1::StageState::Running).map(|stage| &stage.name);
    let stage = match &build.failure {
        Some(failure) => Stage::parse(&failure.stage),
        None => running.next_back().and_then(|name| Stage::parse(name)),
    };
    match stage {
        Some(Stage::Booting | Stage::Verifying) => Log::Console,
        _ => Log::Build,
    }
}

/// The address of a build's page with one of its logs.
pub(super) fn address(id: &str, log: Log, target: Option<&str>, more: &str) -> String {
    // The build's own log is of no target.
    let target = target.filter(|_| log != Log::Build);
    let whose = target.map(|target| format!("&target={}", encoded(target))).unwrap_or_default();
    format!("/builds/{id}?log={}{whose}{more}", log.word())
}

/// A name as it stands in an address.
fn encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let each = name
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") });
    each.collect()
}

/// Whose log is shown, where the build has several targets: the one that is asked for, else the one that tells most.
pub(super) fn target_of<'a>(build: &'a v1::Build, log: Log, wanted: Option<&str>) -> Option<&'a str> {
    let trials = several(build);
    if log == Log::Build {
        return None;
    }
    let running =
        |trial: &&v1::Trial| trial.stages.iter().any(|stage| stage.state() == v1::StageState::Running);
    let wanted = wanted.and_then(|name| trials.iter().find(|trial| trial.target == name));
    wanted
        .or_else(|| blamed(build, build.failure.as_ref()?))
        .or_else(|| trials.iter().find(running))
        .or_else(|| trials.first())
        .map(|trial| trial.target.as_str())
}

/// Where a log is. `target` is one of the build's own.
pub(super) fn path(web: &Web, id: &str, log: Log, target: Option<&str>) -> PathBuf {
    let state = &web.manager.settings().state;
    files::of_trial(state, id, target.unwrap_or_default(), target.is_none()).join(log.file())
}

/// How a whole log is sent.
#[derive(Debug, Deserialize)]
pub(super) struct Whole {
    /// The bytes as they are; otherwise nothing in them steers a terminal that shows them.
    #[serde(default)]
    raw: bool,
    /// Whose, where the build has several targets.
    target: Option<String>,
}

/// `/builds/ID/logs/FILE`: a log from its beginning to its end, as plain text.
pub(super) async fn whole(
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
    let wanted = how.target.as_deref();
    if let Some(wanted) = wanted.filter(|name| !build.trials.iter().any(|trial| trial.target == *name)) {
        return Err(Refusal::not_found(format!("build {id} has no target {wanted:?}")));
    }
    let target = target_of(&build, log, wanted);
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
