//! The log on a build's page: its end, or what is around a line, in sections; or what a search found.

use std::path::PathBuf;

use image_manager_proto::{counted, v1};
use maud::{Markup, html};
use serde::Deserialize;

use super::error::Refusal;
use super::log_file::{FOUND, Found, Log, LogFile};
use super::log_lines::{self, Shown, Wanted, Whose};
use super::{Web, figures, zone};
use crate::lifecycle::trials::{blamed, several};
use crate::lifecycle::{files, state};
use crate::stage::Stage;

/// Longest text that is searched for, in bytes.
const SEARCH_LIMIT: usize = 200;

/// What is to be seen of which log.
pub(super) struct View {
    log: Log,
    /// Whose, where the build has several targets; the build's own log is of none.
    target: Option<String>,
    search: String,
    content: Content,
}

enum Content {
    Log(Box<Shown>),
    Found(Found),
    Unreadable(String),
}

/// What is asked for in a page's address.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    log: Option<String>,
    /// Whose log, where the build has several targets.
    target: Option<String>,
    /// What is searched in it.
    #[serde(default)]
    q: String,
    /// The number of the line that is shown with what is around it.
    line: Option<String>,
    /// Which sections are open: `all`, or those that a page opens by itself.
    open: Option<String>,
}

impl Asked {
    /// The line's number; 0 is none.
    fn line(&self) -> Result<usize, Refusal> {
        let Some(line) = &self.line else { return Ok(0) };
        line.parse().ok().filter(|line| *line > 0).ok_or_else(|| {
            Refusal::bad_request(format!("line={line}: expected the number of a line, from 1"))
        })
    }

    fn opens_all(&self) -> Result<bool, Refusal> {
        match self.open.as_deref() {
            None => Ok(false),
            Some("all") => Ok(true),
            Some(other) => Err(Refusal::bad_request(format!("open={other}: expected all, or no value"))),
        }
    }
}

/// Where the panel stays as it is: the page has it, and its lines come one by one.
pub(super) fn in_place() -> Markup {
    html! { section.panel #log data-keep {} }
}

impl View {
    /// Reads what the page was asked to show.
    pub(super) async fn read(web: &Web, build: &v1::Build, asked: &Asked) -> Result<Self, Refusal> {
        let log = named(build, asked.log.as_deref())?.unwrap_or_else(|| telling(build));
        let target = target_of(build, log, asked.target.as_deref())?.map(str::to_owned);
        let path = path(web, &build.id, log, target.as_deref());
        let search: String = asked.q.trim().chars().take(SEARCH_LIMIT).collect();
        let wanted = Wanted {
            line: asked.line()?,
            all: asked.opens_all()?,
            ended: state::is_end(build.state()),
            failed: tells_of_failure(build, log, target.as_deref()),
        };
        let (what, file) = (search.clone(), LogFile { log, path, zone: zone::of_page() });
        let read = tokio::task::spawn_blocking(move || {
            if what.is_empty() {
                return Ok(Content::Log(Box::new(Shown::read(&file, wanted)?)));
            }
            file.search(&what).map(Content::Found)
        });
        let content = match read.await {
            Ok(Ok(content)) => content,
            Ok(Err(error)) => Content::Unreadable(error.to_string()),
            Err(error) => Content::Unreadable(error.to_string()),
        };
        Ok(Self { log, target, search, content })
    }

    /// Where the page's log ends, which shows more as it comes; in bytes.
    fn end(&self) -> Option<u64> {
        match &self.content {
            Content::Log(shown) => shown.end(),
            // A search stays as it is.
            Content::Found { .. } | Content::Unreadable(_) => None,
        }
    }

    /// Where the events of the build and of this log come from.
    pub(super) fn events(&self, build: &v1::Build) -> String {
        let Some(from) = self.end() else { return format!("/builds/{}/events", build.id) };
        let whose = self.target.as_deref().map(|target| format!("&target={}", encoded(target)));
        format!(
            "/builds/{}/events?log={}{}&from={from}",
            build.id,
            self.log.word(),
            whose.unwrap_or_default()
        )
    }

    fn whose<'a>(&'a self, build: &'a v1::Build) -> Whose<'a> {
        Whose { build, log: self.log, target: self.target.as_deref() }
    }

    /// The panel.
    pub(super) fn render(&self, build: &v1::Build) -> Markup {
        let follows = self.end().is_some() && !state::is_end(build.state());
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
                    (self.open_all(build))
                    a.quiet href=(self.whole(build)) { "Full log" }
                }
                p.hint #log-hint { (self.hint(build)) }
                (self.lines(build))
            }
        }
    }

    /// The same page with all sections open.
    fn open_all(&self, build: &v1::Build) -> Markup {
        let more = match &self.content {
            Content::Log(shown) if shown.is_folded() => match shown.line() {
                Some(line) => format!("&line={line}&open=all#L{line}"),
                None => "&open=all#log".to_owned(),
            },
            _ => return html! {},
        };
        html! {
            a.quiet #open-all href=(address(&build.id, self.log, self.target.as_deref(), &more)) { "Open all" }
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
        self.log != Log::Console && matches!(&self.content, Content::Log(_))
    }

    fn hint(&self, build: &v1::Build) -> Markup {
        let back = address(&build.id, self.log, self.target.as_deref(), "#log");
        let to_end = html! { a href=(back) { "Back to the end of the log" } };
        html! {
            @match &self.content {
                Content::Log(shown) => {
                    @if let Some(line) = shown.missing() {
                        "There is no line " (line) ": this log has " (counted(shown.count(), "line")) "."
                    } @else if let Some(line) = shown.line() {
                        "Line " (line) " of " (shown.count()) " is marked. " (to_end)
                    } @else if shown.count() == 0 {
                        @if state::is_end(build.state()) { "This log is empty: the build did not get that far, or the log has been removed." }
                        @else { "No output yet." }
                    }
                },
                Content::Found(Found { lines, more, skipped }) => {
                    @if *more { "More than " }
                    (counted(lines.len(), "line")) @if lines.len() == 1 { " contains “" } @else { " contain “" } (self.search) "”"
                    @if *more { "; the first " (FOUND) " are shown" } ". "
                    @if *skipped > 0 { "Only the end of this log was searched: its first " (figures::size(*skipped)) " were not. " }
                    (to_end)
                },
                Content::Unreadable(error) => { "The log cannot be read: " (error) },
            }
        }
    }

    fn lines(&self, build: &v1::Build) -> Markup {
        let whose = self.whose(build);
        html! {
            div.log #log-lines role="region" tabindex="0" aria-label={ (title(self.log)) " log" } data-line=(whose.lines()) {
                @match &self.content {
                    Content::Log(shown) => (shown.render(&whose)),
                    Content::Found(Found { lines, .. }) => (log_lines::found(&whose, lines)),
                    Content::Unreadable(_) => {},
                }
            }
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

/// The log of this name, if one is asked for.
pub(super) fn named(build: &v1::Build, word: Option<&str>) -> Result<Option<Log>, Refusal> {
    let Some(word) = word else { return Ok(None) };
    Log::from_word(word).map(Some).ok_or_else(|| {
        Refusal::not_found(format!(
            "build {} has no log {word:?}: expected build, console or agent",
            build.id
        ))
    })
}

/// Whether a log may tell why a build, or the trial that it is of, did not pass.
fn tells_of_failure(build: &v1::Build, log: Log, target: Option<&str>) -> bool {
    let stage = build.failure.as_ref().and_then(|failure| Stage::parse(&failure.stage));
    match (log, target) {
        (Log::Build, _) => stage == Some(Stage::Building),
        (_, None) => stage.is_some_and(|stage| stage != Stage::Building),
        (_, Some(name)) => build.trials.iter().any(|trial| trial.target == name && trial.failure.is_some()),
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
pub(super) fn target_of<'a>(
    build: &'a v1::Build,
    log: Log,
    wanted: Option<&str>,
) -> Result<Option<&'a str>, Refusal> {
    if let Some(name) = wanted.filter(|name| !build.trials.iter().any(|trial| trial.target == *name)) {
        let known: Vec<_> = build.trials.iter().map(|trial| trial.target.as_str()).collect();
        let known = match known.as_slice() {
            [] => "it has none yet".to_owned(),
            known => format!("expected {}", known.join(", ")),
        };
        return Err(Refusal::not_found(format!("build {} has no target {name:?}: {known}", build.id)));
    }
    let trials = several(build);
    if log == Log::Build {
        return Ok(None);
    }
    let running =
        |trial: &&v1::Trial| trial.stages.iter().any(|stage| stage.state() == v1::StageState::Running);
    let wanted = wanted.and_then(|name| trials.iter().find(|trial| trial.target == name));
    let trial = wanted
        .or_else(|| blamed(build, build.failure.as_ref()?))
        .or_else(|| trials.iter().find(running))
        .or_else(|| trials.first());
    Ok(trial.map(|trial| trial.target.as_str()))
}

/// Where a log is. `target` is one of the build's own.
pub(super) fn path(web: &Web, id: &str, log: Log, target: Option<&str>) -> PathBuf {
    let state = &web.manager.settings().state;
    files::of_trial(state, id, target.unwrap_or_default(), target.is_none()).join(log.file())
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    fn build(targets: &[&str]) -> v1::Build {
        let trial = |target: &&str| v1::Trial { target: (*target).to_owned(), ..v1::Trial::default() };
        v1::Build { id: "b".to_owned(), trials: targets.iter().map(trial).collect(), ..v1::Build::default() }
    }

    #[test]
    fn what_is_asked_for_and_not_there_is_refused_with_what_is_there() {
        let two = build(&["small", "large"]);
        assert_eq!(named(&two, None).unwrap(), None);
        assert_eq!(named(&two, Some("agent")).unwrap(), Some(Log::Agent));
        let refused = named(&two, Some("typo")).unwrap_err();
        let expected = "build b has no log \"typo\": expected build, console or agent";
        assert_eq!((refused.status, refused.message.as_str()), (StatusCode::NOT_FOUND, expected));
        assert_eq!(target_of(&two, Log::Console, Some("large")).unwrap(), Some("large"));
        assert_eq!(target_of(&two, Log::Console, None).unwrap(), Some("small"));
        assert_eq!(target_of(&two, Log::Build, Some("large")).unwrap(), None);
        for log in Log::ALL {
            let refused = target_of(&two, log, Some("typo")).unwrap_err();
            let expected = "build b has no target \"typo\": expected small, large";
            assert_eq!((refused.status, refused.message.as_str()), (StatusCode::NOT_FOUND, expected));
        }
        // An only target's logs are the build's.
        assert_eq!(target_of(&build(&["only"]), Log::Console, Some("only")).unwrap(), None);
        let refused = target_of(&build(&[]), Log::Console, Some("any")).unwrap_err();
        assert_eq!(refused.message, "build b has no target \"any\": it has none yet");
    }

    #[test]
    fn lines_are_asked_for_by_their_numbers() {
        let line = |line: &str| Asked { line: Some(line.to_owned()), ..Asked::default() }.line();
        assert_eq!(Asked::default().line().unwrap(), 0);
        assert_eq!(line("123").unwrap(), 123);
        for wrong in ["0", "-1", "x", "", "99999999999999999999999"] {
            assert_eq!(line(wrong).unwrap_err().status, StatusCode::BAD_REQUEST, "{wrong}");
        }
        let open = |open: &str| Asked { open: Some(open.to_owned()), ..Asked::default() }.opens_all();
        assert!(open("all").unwrap() && !Asked::default().opens_all().unwrap());
        assert_eq!(open("some").unwrap_err().status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn a_failure_is_looked_for_in_the_log_that_may_tell_of_it() {
        let failure = |stage: Stage| v1::Failure { stage: stage.word().to_owned(), ..v1::Failure::default() };
        let failed = v1::Build { failure: Some(failure(Stage::Building)), ..build(&["only"]) };
        assert!(
            tells_of_failure(&failed, Log::Build, None) && !tells_of_failure(&failed, Log::Console, None)
        );
        let failed = v1::Build { failure: Some(failure(Stage::Verifying)), ..build(&["only"]) };
        assert!(
            !tells_of_failure(&failed, Log::Build, None) && tells_of_failure(&failed, Log::Console, None)
        );
        let mut two = v1::Build { failure: Some(failure(Stage::Booting)), ..build(&["a", "b"]) };
        two.trials[1].failure = Some(failure(Stage::Booting));
        let tells = |target| tells_of_failure(&two, Log::Console, Some(target));
        assert!(!tells("a") && tells("b"));
        assert!(!tells_of_failure(&build(&["only"]), Log::Console, None), "nothing failed");
    }
}
