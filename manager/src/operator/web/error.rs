//! What went wrong, as a page.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use maud::html;

use super::layout::{Page, Section};
use crate::history::HistoryError;
use crate::lifecycle::TriggerError;
use crate::operator::access::Caller;
use crate::operator::gate::wants_page;
use crate::operator::guard::is_grpc;

/// A page cannot be shown, or an action not be done.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

/// Who looks at a page, as far as its head shows it.
#[derive(Debug, Clone, Copy, Default)]
struct Viewer {
    /// Whether it is known who that is.
    known: bool,
    /// Whether there is somebody to log out.
    login: bool,
}

impl Viewer {
    fn of(caller: Option<&Caller>) -> Self {
        Self { known: caller.is_some(), login: caller.is_some_and(Caller::is_browser) }
    }
}

tokio::task_local! {
    /// Of the request that is answered.
    static VIEWER: Viewer;
}

/// Answers a request with its viewer at hand: what goes wrong is shown on a page like the others.
pub(super) async fn around(request: Request, next: Next) -> Response {
    let viewer = Viewer::of(request.extensions().get::<Caller>());
    VIEWER.scope(viewer, next.run(request)).await
}

/// What a page's handler gives.
pub(super) type Answer = Result<Response, Refusal>;

impl Refusal {
    /// There is no such thing.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, message: message.into() }
    }

    /// The request makes no sense.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.into() }
    }
}

/// What is answered where there is nothing: a page to a browser, a line to a program.
pub(super) async fn nothing_here(request: Request) -> Response {
    let path = request.uri().path();
    if is_grpc(request.headers()) {
        return tonic::Status::unimplemented(format!("no such method: {path}")).into_http();
    }
    if wants_page(request.headers()) {
        return Refusal::not_found(format!("There is no page at {path}.")).into_response();
    }
    (
        StatusCode::NOT_FOUND,
        "there is nothing here; the dashboard is at /, and gRPC reflection lists the services\n",
    )
        .into_response()
}

impl From<HistoryError> for Refusal {
    fn from(error: HistoryError) -> Self {
        let status = match error {
            HistoryError::NoBuild(_) => StatusCode::NOT_FOUND,
            HistoryError::Ambiguous { .. } => StatusCode::BAD_REQUEST,
            HistoryError::TooMuch { .. } => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, message: error.to_string() }
    }
}

impl From<TriggerError> for Refusal {
    fn from(error: TriggerError) -> Self {
        let message = error.to_string();
        let status = match error {
            TriggerError::NoSchedule(_) => StatusCode::NOT_FOUND,
            TriggerError::AlreadyRunning { .. }
            | TriggerError::NoCloud(_)
            | TriggerError::NotPublished { .. } => StatusCode::CONFLICT,
            TriggerError::Stopping | TriggerError::Cloud { .. } => StatusCode::SERVICE_UNAVAILABLE,
            TriggerError::History(error) => return error.into(),
        };
        Self { status, message }
    }
}

impl Refusal {
    /// The page for somebody who is known, before any page was asked for.
    pub(super) fn shown_to(self, caller: &Caller) -> Response {
        self.page(Viewer::of(Some(caller)))
    }

    fn page(self, viewer: Viewer) -> Response {
        let title = match self.status {
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::INTERNAL_SERVER_ERROR => "Internal error",
            StatusCode::FORBIDDEN => "Not allowed",
            _ => "Request refused",
        };
        let section = if viewer.known { Section::Other } else { Section::Elsewhere };
        let page = Page { title: title.to_owned(), section, events: None, login: viewer.login };
        let body = html! {
            section.notice {
                h1 { (title) }
                p { (self.message) }
                p {
                    a href="/" { "All schedules" } " · " a href="/builds" { "All builds" } " · "
                    a href="/images" { "All images" }
                }
            }
        };
        page.with_status(self.status, &body)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.page(VIEWER.try_with(|viewer| *viewer).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_went_wrong_is_a_page_like_the_others_and_none_of_them() {
        let page = |viewer: Viewer| async move {
            let answer =
                VIEWER.scope(viewer, async { Refusal::not_found("no <build>").into_response() }).await;
            assert_eq!(answer.status(), StatusCode::NOT_FOUND);
            let bytes = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        let (browser, root) = (Viewer { known: true, login: true }, Viewer { known: true, login: false });
        for (viewer, log_out) in [(browser, true), (root, false)] {
            let page = page(viewer).await;
            assert_eq!(page.contains("Log out"), log_out, "{viewer:?}: {page}");
            assert!(page.contains("aria-label=\"Main\"") && !page.contains("aria-current"), "{page}");
            assert!(page.contains("no &lt;build&gt;"), "{page}");
        }
        let page = page(Viewer::default()).await;
        assert!(!page.contains("aria-label=\"Main\"") && !page.contains("Log out"), "{page}");
    }
}
