//! The pages that people use: one file a page, rendered here, readable without JavaScript.
//!
//! A page that changes names its stream of events (`events`); the one script (`assets/app.js`) then fetches the
//! page again when something happened, compares it with what it was told before, and changes what differs. By
//! `data-part` it knows a row again that has moved; what is below `data-keep` it leaves alone. So there is one
//! renderer, and nothing that a browser must be told twice. Logs come over the same stream, line by line (`log_tail`).
//!
//! A new page is a file here and a line in `ROUTES` with the role that it asks for; the browser tests look at
//! each page in `manager/tests/browser/pages.rs`.

mod actions;
mod address;
mod asked;
mod assets;
mod banner;
mod build;
mod build_failure;
mod build_parts;
mod build_trials;
mod builds;
mod choice;
mod compare;
mod error;
mod events;
mod figures;
mod groups;
mod images;
mod layout;
mod log;
mod log_file;
mod log_line;
mod log_lines;
mod log_pieces;
mod log_sections;
mod log_stages;
mod log_tail;
mod log_whole;
mod login;
mod marks;
mod overview;
mod progress;
mod schedule;
mod trends;
mod zone;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, OptionalFromRequestParts};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::access::{Access, Caller, Role};
use super::api;
use super::control::Control;
use super::rules::Need;
use crate::lifecycle::Manager;

/// Longest form, in bytes.
const FORM_LIMIT: usize = 16 * 1024;
/// Streams of events that are open at once; each is a browser's tab.
const STREAMS: usize = 256;

/// What the pages are made from; cheap to clone.
#[derive(Clone)]
pub(super) struct Web {
    manager: Manager,
    access: Arc<Access>,
    /// Ends the streams.
    stop: CancellationToken,
    streams: Arc<Semaphore>,
}

impl Web {
    pub(super) fn new(manager: Manager, access: Arc<Access>, stop: CancellationToken) -> Self {
        Self { manager, access, stop, streams: Arc::new(Semaphore::new(STREAMS)) }
    }

    /// The control service, which the JSON interface asks.
    pub(super) fn control(&self) -> Control {
        Control { manager: self.manager.clone(), access: Arc::clone(&self.access) }
    }
}

/// A page, or what a page asks to be done.
pub(super) struct Route {
    /// Its path, as axum has it.
    pub(super) path: &'static str,
    /// What it takes to read it.
    pub(super) reads: Need,
    /// What it takes to do it.
    pub(super) acts: Need,
    handler: fn() -> MethodRouter<Web>,
}

impl Route {
    /// For viewers.
    const fn page(path: &'static str, handler: fn() -> MethodRouter<Web>) -> Self {
        Self { path, reads: Need::Role(Role::Viewer), acts: Need::Role(Role::Admin), handler }
    }

    /// What viewers choose for themselves.
    const fn choice(path: &'static str, handler: fn() -> MethodRouter<Web>) -> Self {
        let viewer = Need::Role(Role::Viewer);
        Self { path, reads: viewer, acts: viewer, handler }
    }

    /// For operators.
    const fn action(path: &'static str, handler: fn() -> MethodRouter<Web>) -> Self {
        let operator = Need::Role(Role::Operator);
        Self { path, reads: operator, acts: operator, handler }
    }

    /// For everybody.
    const fn open(path: &'static str, handler: fn() -> MethodRouter<Web>) -> Self {
        Self { path, reads: Need::Nothing, acts: Need::Nothing, handler }
    }
}

/// All of them, with what they ask for. Whoever has not logged in sees the login page and its assets only.
pub(super) const ROUTES: &[Route] = &[
    Route::page("/", || get(overview::page)),
    Route::page("/events", || get(events::all)),
    Route::page("/builds", || get(builds::page)),
    Route::page("/builds/{id}", || get(build::page)),
    Route::page("/builds/{id}/events", || get(events::of_build)),
    Route::page("/builds/{id}/logs/{file}", || get(log_whole::send_whole)),
    Route::page("/compare", || get(compare::page)),
    Route::page("/images", || get(images::page)),
    Route::page("/schedules/{name}", || get(schedule::page)),
    Route::choice("/zone", || post(zone::choose)),
    Route::action("/build", || post(actions::trigger)),
    Route::action("/builds/{id}/cancel", || post(actions::cancel)),
    Route::action("/schedules/{name}/pause", || post(actions::pause)),
    Route::action("/schedules/{name}/resume", || post(actions::resume)),
    Route::open("/login", || get(login::page).post(login::log_in)),
    Route::open("/login/{code}", || get(login::by_link)),
    Route::open("/logout", || post(login::log_out)),
    Route::open("/assets/{name}", || get(assets::serve)),
    Route::page("/api/v1/openapi.json", || get(api::document)),
    Route::page("/api/v1/builds", || get(api::list_builds)),
    Route::page("/api/v1/builds/{id}", || get(api::get_build)),
    Route::page("/api/v1/compare", || get(api::compare_builds)),
    Route::page("/api/v1/images", || get(api::list_images)),
    Route::page("/api/v1/report", || get(api::get_report)),
    Route::page("/api/v1/schedules", || get(api::list_schedules)),
];

/// All pages, and what is answered where there is none.
pub(super) fn pages(web: Web) -> Router {
    let all = ROUTES.iter().fold(Router::new(), |all, route| all.route(route.path, (route.handler)()));
    let all = all.fallback(error::nothing_here);
    all.layer(DefaultBodyLimit::max(FORM_LIMIT))
        .layer(from_fn(error::around))
        .layer(from_fn_with_state(web.clone(), banner::around))
        .layer(from_fn_with_state(web.clone(), zone::around))
        .with_state(web)
}

/// The login page that leads to `wanted`.
pub(super) fn login_address(wanted: &str) -> String {
    login::address(wanted)
}

/// The page that says that somebody may not do what they asked for.
pub(super) fn refused(status: StatusCode, why: &str, caller: &Caller) -> Response {
    error::Refusal { status, message: why.to_owned() }.shown_to(caller)
}

/// Who asks; the gate knows. Where it lets everybody in there may be nobody.
impl FromRequestParts<Web> for Caller {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &Web) -> Result<Self, Self::Rejection> {
        let known = parts.extensions.get::<Self>().cloned();
        known.ok_or((StatusCode::INTERNAL_SERVER_ERROR, "nobody knows who asks\n"))
    }
}

impl OptionalFromRequestParts<Web> for Caller {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Web) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned())
    }
}
