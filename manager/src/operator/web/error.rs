//! What went wrong, as a page.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::html;

use super::layout::{Page, Section};
use crate::history::HistoryError;
use crate::lifecycle::TriggerError;
use crate::operator::gate::wants_page;
use crate::operator::guard::is_grpc;

/// A page cannot be shown, or an action not be done.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
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

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let title = match self.status {
            StatusCode::NOT_FOUND => "Not found",
            StatusCode::INTERNAL_SERVER_ERROR => "Internal error",
            StatusCode::FORBIDDEN => "Not allowed",
            _ => "Request refused",
        };
        let page = Page { title: title.to_owned(), section: Section::Schedules, events: None, login: false };
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
