//! What is broken in general, on top of every page that somebody who has logged in sees.

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use image_manager_proto::v1;
use maud::{Markup, html};

use super::{Web, figures, marks};
use crate::clock;
use crate::operator::access::Caller;

tokio::task_local! {
    /// Of the request that is answered.
    static PROBLEMS: Vec<v1::Problem>;
}

/// Answers a request for a page with what is broken at hand. Whoever is not known is told nothing of it.
pub(super) async fn around(State(web): State<Web>, request: Request, next: Next) -> Response {
    let known = request.extensions().get::<Caller>().is_some();
    if !known || request.method() != Method::GET || !is_page(request.uri().path()) {
        return next.run(request).await;
    }
    // Where the history cannot be read, the page's own question to it says so.
    let problems = web.manager.problems().await.unwrap_or_default();
    PROBLEMS.scope(problems, next.run(request)).await
}

/// Streams, logs, assets and answers for programs have no place for it.
fn is_page(path: &str) -> bool {
    let of_build = path.starts_with("/builds/") && (path.ends_with("/events") || path.contains("/logs/"));
    !(path.starts_with("/api/") || path.starts_with("/assets/") || path == "/events" || of_build)
}

/// Whether anything is.
pub(super) fn any() -> bool {
    PROBLEMS.try_with(|problems| !problems.is_empty()).unwrap_or_default()
}

/// All of it; empty where all is well, and where it was not asked for. `open`: with what there is to say of each; else that
/// is there for whoever asks.
pub(super) fn markup(open: bool) -> Markup {
    PROBLEMS.try_with(|problems| all(problems, open)).unwrap_or_else(|_| all(&[], open))
}

fn all(problems: &[v1::Problem], open: bool) -> Markup {
    html! {
        div #problems {
            @if !problems.is_empty() {
                section.failure.bad aria-label="Problems" {
                    @for (place, problem) in problems.iter().enumerate() { (one(problem, place, open)) }
                }
            }
        }
    }
}

fn one(problem: &v1::Problem, place: usize, open: bool) -> Markup {
    html! {
        details.problem id={ "problem-" (place) } data-part=(problem.message) open[open] {
            summary {
                strong { (problem.message) }
                @if problem.since.is_some() {
                    span.muted { " · since " (figures::exact(problem.since.as_ref().and_then(clock::utc))) }
                }
            }
            @if !problem.detail.is_empty() {
                pre.evidence role="region" tabindex="0" aria-label=(problem.message) { (problem.detail) }
            }
            @if !problem.hint.is_empty() {
                p.next { strong { "Next:" } " " (marks::sentence(&problem.hint)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_broken_is_told_with_what_mends_it() {
        assert!(!any() && !markup(true).into_string().contains("section"));
        let problem = v1::Problem {
            kind: "schedules".to_owned(),
            message: "schedules.toml is not used".to_owned(),
            detail: "unknown key `<x>`".to_owned(),
            hint: "mend it; `image-manager check` says whether it is right".to_owned(),
            ..v1::Problem::default()
        };
        let page = PROBLEMS.scope(vec![problem], async { markup(true).into_string() }).await;
        for part in
            ["schedules.toml is not used", "unknown key `&lt;x&gt;`", "<code>image-manager check</code>"]
        {
            assert!(page.contains(part), "{part}\n{page}");
        }
        assert!(is_page("/") && is_page("/builds/1") && is_page("/schedules/events"));
        for path in
            ["/events", "/builds/1/events", "/builds/1/logs/build.log", "/api/v1/builds", "/assets/app.js"]
        {
            assert!(!is_page(path), "{path}");
        }
    }
}
