//! `/api/v1`: what the control service tells, as JSON over plain HTTP. A path for each RPC that reads; its parameters are
//! the fields of the RPC's request, its answer is the RPC's message as [`json`] prints it, and `openapi.json` describes both.
//! All of it comes from the messages' descriptors: a field that is added to one is here, too.
//!
//! It asks the control service itself, so that limits and mistakes are the same.
//!
//! A new path is an `Endpoint` in `ENDPOINTS`, the function that answers it, and a line in `ROUTES` of `web`.

mod document;
mod parameters;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use image_manager_proto::v1::image_manager_server::ImageManager as _;
use prost::Message;
use serde::Serialize;
use serde_json::json;
use tonic::{Code, Request, Status};

use super::json;
use super::web::Web;
use crate::history::{BuildFilter, PublicationFilter};

/// A path that reads.
struct Endpoint {
    path: &'static str,
    /// What it does, for the document.
    summary: &'static str,
    /// Its request and its answer, by their names in the interface's package.
    request: &'static str,
    answer: &'static str,
    /// The field of the request that is a part of the path.
    in_path: Option<&'static str>,
    /// The fields of the request that it makes no sense without.
    required: &'static [&'static str],
    /// The most that `page_size` may be, where there is one.
    page: u32,
}

const LIST_BUILDS: Endpoint = Endpoint {
    path: "/api/v1/builds",
    summary: "Builds, newest first, a page at a time",
    request: "ListBuildsRequest",
    answer: "ListBuildsResponse",
    in_path: None,
    required: &[],
    page: BuildFilter::MOST,
};
const GET_BUILD: Endpoint = Endpoint {
    path: "/api/v1/builds/{id}",
    summary: "One build with its trials, stages, checks and resources",
    request: "GetBuildRequest",
    answer: "Build",
    in_path: Some("id"),
    required: &["id"],
    page: 0,
};
const COMPARE_BUILDS: Endpoint = Endpoint {
    path: "/api/v1/compare",
    summary: "What differs between two builds; without a, since the last good build before b",
    request: "CompareBuildsRequest",
    answer: "CompareBuildsResponse",
    in_path: None,
    required: &["b"],
    page: 0,
};
const LIST_IMAGES: Endpoint = Endpoint {
    path: "/api/v1/images",
    summary: "Images that have, or had, a public name",
    request: "ListImagesRequest",
    answer: "ListImagesResponse",
    in_path: None,
    required: &[],
    page: PublicationFilter::MOST,
};
const GET_REPORT: Endpoint = Endpoint {
    path: "/api/v1/report",
    summary: "The builds of a time range, summed up for each schedule",
    request: "GetReportRequest",
    answer: "GetReportResponse",
    in_path: None,
    required: &[],
    page: 0,
};
const LIST_SCHEDULES: Endpoint = Endpoint {
    path: "/api/v1/schedules",
    summary: "The schedules, with the state of each and when it fires next",
    request: "ListSchedulesRequest",
    answer: "ListSchedulesResponse",
    in_path: None,
    required: &[],
    page: 0,
};
/// What an error of the control service is over HTTP.
struct ErrorAnswer {
    code: Code,
    http: StatusCode,
    /// As it is in the answer.
    word: &'static str,
    /// What it means, for the document.
    meaning: &'static str,
}

impl ErrorAnswer {
    const fn new(code: Code, http: StatusCode, word: &'static str, meaning: &'static str) -> Self {
        Self { code, http, word, meaning }
    }
}

/// What every other code is.
const INTERNAL: ErrorAnswer = ErrorAnswer::new(
    Code::Internal,
    StatusCode::INTERNAL_SERVER_ERROR,
    "internal",
    "The manager could not answer, for example because its history cannot be read",
);
const ERRORS: [ErrorAnswer; 6] = [
    ErrorAnswer::new(
        Code::InvalidArgument,
        StatusCode::BAD_REQUEST,
        "invalid_argument",
        "A parameter is wrong",
    ),
    ErrorAnswer::new(Code::NotFound, StatusCode::NOT_FOUND, "not_found", "It does not exist"),
    ErrorAnswer::new(
        Code::FailedPrecondition,
        StatusCode::CONFLICT,
        "failed_precondition",
        "It is not possible as things are",
    ),
    ErrorAnswer::new(
        Code::ResourceExhausted,
        StatusCode::TOO_MANY_REQUESTS,
        "resource_exhausted",
        "The answer would be too large, or (in plain text) too many wrong tokens were sent",
    ),
    INTERNAL,
    ErrorAnswer::new(
        Code::Unavailable,
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "The manager cannot answer at present",
    ),
];

const ENDPOINTS: [&Endpoint; 6] =
    [&LIST_BUILDS, &GET_BUILD, &COMPARE_BUILDS, &LIST_IMAGES, &GET_REPORT, &LIST_SCHEDULES];

pub(super) async fn document() -> Response {
    answer(StatusCode::OK, &document::of(&ENDPOINTS))
}

/// The parameters in a query, in their order.
type Parameters = Query<Vec<(String, String)>>;

pub(super) async fn list_builds(State(web): State<Web>, Query(given): Parameters) -> Response {
    match parameters::read(&LIST_BUILDS, None, &given) {
        Ok(request) => told(&LIST_BUILDS, web.control().list_builds(Request::new(request)).await),
        Err(status) => refused(&status),
    }
}

pub(super) async fn get_build(
    State(web): State<Web>,
    Path(id): Path<String>,
    Query(given): Parameters,
) -> Response {
    match parameters::read(&GET_BUILD, Some(&id), &given) {
        Ok(request) => told(&GET_BUILD, web.control().get_build(Request::new(request)).await),
        Err(status) => refused(&status),
    }
}

pub(super) async fn compare_builds(State(web): State<Web>, Query(given): Parameters) -> Response {
    match parameters::read(&COMPARE_BUILDS, None, &given) {
        Ok(request) => told(&COMPARE_BUILDS, web.control().compare_builds(Request::new(request)).await),
        Err(status) => refused(&status),
    }
}

pub(super) async fn list_images(State(web): State<Web>, Query(given): Parameters) -> Response {
    match parameters::read(&LIST_IMAGES, None, &given) {
        Ok(request) => told(&LIST_IMAGES, web.control().list_images(Request::new(request)).await),
        Err(status) => refused(&status),
    }
}

pub(super) async fn get_report(State(web): State<Web>, Query(given): Parameters) -> Response {
    match parameters::read(&GET_REPORT, None, &given) {
        Ok(request) => told(&GET_REPORT, web.control().get_report(Request::new(request)).await),
        Err(status) => refused(&status),
    }
}

pub(super) async fn list_schedules(State(web): State<Web>, Query(given): Parameters) -> Response {
    match parameters::read(&LIST_SCHEDULES, None, &given) {
        Ok(request) => told(&LIST_SCHEDULES, web.control().list_schedules(Request::new(request)).await),
        Err(status) => refused(&status),
    }
}

fn told<T: Message>(endpoint: &Endpoint, answered: Result<tonic::Response<T>, Status>) -> Response {
    match answered {
        Ok(message) => answer(StatusCode::OK, &json::shown(endpoint.answer, message.get_ref())),
        Err(status) => refused(&status),
    }
}

/// As the interface's errors are: the word of gRPC's code, and the sentence.
fn refused(status: &Status) -> Response {
    let error = ERRORS.iter().find(|error| error.code == status.code()).unwrap_or(&INTERNAL);
    answer(error.http, &json!({ "error": { "code": error.word, "message": status.message() } }))
}

fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // What was true a moment ago is not to be told as true.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    (status, headers, crate::untrusted::json::pretty(body)).into_response()
}
