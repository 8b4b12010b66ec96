//! What pages and programs ask to be done: POST, and then a page. `guard.rs` has looked at where it comes from.

use axum::Form;
use axum::body::Bytes;
use axum::extract::{FromRequest as _, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use image_manager_proto::v1::{self, Trigger};
use serde::Deserialize;
use serde_json::json;

use super::Web;
use super::error::{Answer, Refusal};
use super::login::local;
use crate::history::Named as _;
use crate::history::Principal;
use crate::lifecycle::{TriggerError, TriggerOptions};
use crate::operator::access::Caller;
use crate::untrusted::json;

/// What `POST /build` asks for, as a form or as JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    schedule: String,
    /// Build even if nothing has changed.
    #[serde(default)]
    force: bool,
    /// Build nothing, but verify the published image again.
    #[serde(default)]
    verify: bool,
}

impl Wanted {
    /// What it asks for, when that makes sense.
    fn options(&self, by: Principal) -> Result<TriggerOptions, Refusal> {
        if self.force && self.verify {
            return Err(Refusal::bad_request("force and verify: a verification builds nothing".to_owned()));
        }
        Ok(TriggerOptions { force: self.force, verify: self.verify, ..TriggerOptions::new(Trigger::Web, by) })
    }
}

/// Where to go when it is done.
#[derive(Debug, Deserialize)]
pub(super) struct After {
    #[serde(default)]
    next: String,
}

/// `POST /build`: queues a build, or a verification. A form is answered with the build's page, JSON with JSON.
pub(super) async fn trigger(State(web): State<Web>, caller: Caller, request: Request) -> Response {
    let by = caller.principal;
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    match kind.unwrap_or_default().split(';').next().unwrap_or_default().trim() {
        "application/json" => match Bytes::from_request(request, &()).await {
            Ok(body) => trigger_json(&web, &body, by).await,
            Err(rejection) => refused(rejection.status(), &rejection.body_text()),
        },
        "application/x-www-form-urlencoded" => match Form::from_request(request, &()).await {
            Ok(Form(wanted)) => trigger_form(&web, &wanted, by).await.into_response(),
            Err(rejection) => refused(rejection.status(), &rejection.body_text()),
        },
        _ => Refusal {
            status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            message: "POST /build takes a form (schedule=NAME) or JSON ({\"schedule\": \"NAME\"})".to_owned(),
        }
        .into_response(),
    }
}

/// The body could not be read; what is said repeats it.
fn refused(status: StatusCode, why: &str) -> Response {
    Refusal { status, message: why.to_owned() }.into_response()
}

async fn trigger_form(web: &Web, wanted: &Wanted, by: Principal) -> Answer {
    match web.manager.trigger(&wanted.schedule, wanted.options(by)?).await {
        Ok(v1::Build { id: build_id, .. }) | Err(TriggerError::AlreadyRunning { build_id, .. }) => {
            Ok(Redirect::to(&format!("/builds/{build_id}")).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

async fn trigger_json(web: &Web, body: &[u8], by: Principal) -> Response {
    let wanted: Wanted = match serde_json::from_slice(body) {
        Ok(wanted) => wanted,
        Err(error) => {
            let error = format!("{error}; expected {{\"schedule\": \"NAME\"}}");
            return answer(StatusCode::BAD_REQUEST, None, &json!({ "error": error }));
        }
    };
    let options = match wanted.options(by) {
        Ok(options) => options,
        Err(Refusal { status, message }) => return answer(status, None, &json!({ "error": message })),
    };
    match web.manager.trigger(&wanted.schedule, options).await {
        Ok(build) => {
            let page = format!("/builds/{}", build.id);
            let told = json!({"id": build.id, "schedule": build.schedule, "state": build.state().word(), "page": page});
            answer(StatusCode::ACCEPTED, Some(page), &told)
        }
        Err(TriggerError::AlreadyRunning { build_id, schedule }) => {
            let error = format!("schedule {schedule:?} is being built already");
            let page = format!("/builds/{build_id}");
            answer(StatusCode::CONFLICT, None, &json!({"error": error, "id": build_id, "page": page}))
        }
        Err(error) => {
            let Refusal { status, message } = error.into();
            answer(status, None, &json!({ "error": message }))
        }
    }
}

fn answer(status: StatusCode, location: Option<String>, json: &serde_json::Value) -> Response {
    let mut response =
        (status, [(header::CONTENT_TYPE, "application/json")], json::compact(json) + "\n").into_response();
    if let Some(location) = location.and_then(|location| location.parse().ok()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// `POST /schedules/NAME/pause`
pub(super) async fn pause(web: State<Web>, caller: Caller, name: Path<String>, after: Form<After>) -> Answer {
    set_paused(&web, &name, true, caller.principal, &after).await
}

/// `POST /schedules/NAME/resume`
pub(super) async fn resume(
    web: State<Web>,
    caller: Caller,
    name: Path<String>,
    after: Form<After>,
) -> Answer {
    set_paused(&web, &name, false, caller.principal, &after).await
}

async fn set_paused(web: &Web, name: &str, paused: bool, by: Principal, after: &After) -> Answer {
    let schedule = web.manager.schedule(name)?;
    web.manager.history().set_paused(&schedule.name, paused, by.clone()).await?;
    tracing::info!(schedule = schedule.name, paused, %by, "asked for on a page");
    Ok(Redirect::to(local(&after.next)).into_response())
}

/// `POST /builds/ID/cancel`
pub(super) async fn cancel(State(web): State<Web>, caller: Caller, Path(id): Path<String>) -> Answer {
    let id = web.manager.history().resolve(&id).await?;
    // One that has ended meanwhile is shown as it ended.
    web.manager.cancel(&id, caller.principal);
    Ok(Redirect::to(&format!("/builds/{id}")).into_response())
}
