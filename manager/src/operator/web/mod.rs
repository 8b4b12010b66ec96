//! The pages that people use: one file a page, rendered here, readable without JavaScript.
//!
//! A page that changes names its stream of events (`events`); the one script (`assets/app.js`) then fetches the
//! page again when something happened, and puts its parts marked `data-swap` in place. So there is one renderer,
//! and nothing that a browser must be told twice. Logs come over the same stream, line by line (`log_file`).

mod actions;
mod assets;
mod build;
mod build_parts;
mod builds;
mod compare;
mod error;
mod events;
mod figures;
mod layout;
mod log;
mod log_file;
mod login;
mod marks;
mod overview;
mod schedule;
mod session;
mod trends;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::access::{ApiToken, BRING};
use crate::lifecycle::Manager;

/// Longest form, in bytes.
const FORM_LIMIT: usize = 16 * 1024;
/// Streams of events that are open at once; each is a browser's tab.
const STREAMS: usize = 256;
/// Logins that are looked at at once.
const LOGINS: usize = 4;

/// What the pages are made from; cheap to clone.
#[derive(Clone)]
pub(super) struct Web {
    manager: Manager,
    token: Option<ApiToken>,
    /// Ends the streams.
    stop: CancellationToken,
    streams: Arc<Semaphore>,
    logins: Arc<Semaphore>,
}

impl Web {
    pub(super) fn new(manager: Manager, token: Option<ApiToken>, stop: CancellationToken) -> Self {
        Self {
            manager,
            token,
            stop,
            streams: Arc::new(Semaphore::new(STREAMS)),
            logins: Arc::new(Semaphore::new(LOGINS)),
        }
    }
}

/// All pages. Whoever has not logged in sees the login page and its assets only.
pub(super) fn pages(web: Web) -> Router {
    Router::new()
        .route("/", get(overview::page))
        .route("/events", get(events::all))
        .route("/build", post(actions::trigger))
        .route("/builds", get(builds::page))
        .route("/builds/{id}", get(build::page))
        .route("/builds/{id}/events", get(events::of_build))
        .route("/builds/{id}/logs/{file}", get(log::whole))
        .route("/builds/{id}/cancel", post(actions::cancel))
        .route("/compare", get(compare::page))
        .route("/schedules/{name}", get(schedule::page))
        .route("/schedules/{name}/pause", post(actions::pause))
        .route("/schedules/{name}/resume", post(actions::resume))
        .layer(from_fn_with_state(web.clone(), require_login))
        .route("/login", get(login::page).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/assets/{name}", get(assets::serve))
        .layer(DefaultBodyLimit::max(FORM_LIMIT))
        .with_state(web)
}

/// Admits who brings the token or a session; shows a browser the login page.
async fn require_login(State(web): State<Web>, request: Request, next: Next) -> Response {
    let Some(token) = &web.token else { return next.run(request).await };
    if session::is_authenticated(token, request.headers()) {
        return next.run(request).await;
    }
    if request.method() == Method::GET && wants_page(request.headers()) {
        let wanted = request.uri().path_and_query().map_or("/", axum::http::uri::PathAndQuery::as_str);
        return Redirect::to(&login::address(wanted)).into_response();
    }
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"image-manager\"")];
    (StatusCode::UNAUTHORIZED, challenge, format!("{BRING}, or log in at /login\n")).into_response()
}

/// Whether the client is a browser that shows what it gets.
fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}
