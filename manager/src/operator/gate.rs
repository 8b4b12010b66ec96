//! What stands before everything on the operator port, gRPC included: who asks, whether they may, and how long they
//! may take to say what they want. Nothing of a request's body is read before that is known.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::{Body, BodyDataStream, Bytes, HttpBody as _};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use tokio::time::Sleep;
use tokio_stream::Stream;
use tonic::Status;

use super::access::{Access, BRING, Caller, Cost, Peer, Refused, SESSION};
use super::guard::{FOREIGN_HOST, authority, is_grpc, is_loopback, text};
use super::listener::OpenConnection;
use super::rules::{self, Need};
use super::web;

/// How long the body of a request may take to arrive.
const BODY: Duration = Duration::from_secs(20);
/// Whoever was told that they guess too much is asked to wait so long, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("60");

/// What somebody brought instead of a token.
struct Wrong;

/// Lets in who may; the answer's handler finds the [`Caller`] in the request's extensions.
pub(super) async fn gate(State(access): State<Arc<Access>>, mut request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if rules::is_of_service(&path) && method != Method::POST {
        let allow = [(header::ALLOW, "POST")];
        return (StatusCode::METHOD_NOT_ALLOWED, allow, "gRPC accepts only POST\n").into_response();
    }
    // tonic would take it for gRPC, and answer 200 with what it makes of the body.
    if rules::is_of_service(&path) && !is_grpc(request.headers()) {
        let why = "gRPC accepts only the content type application/grpc; /api/v1 answers with JSON\n";
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, why).into_response();
    }
    // The router has found it before it asks here.
    let served = request.extensions().get::<MatchedPath>().is_some();
    let need = rules::need(&method, &path, served);
    let connection = request.extensions().get::<OpenConnection>().cloned();
    let caller = match (need, identify(&access, request.headers(), connection.as_ref()).await) {
        (_, Ok(caller)) => caller,
        // What needs nobody does not look at what they bring.
        (Need::Nothing, Err(Wrong)) => None,
        (Need::Role(_), Err(Wrong)) => {
            return wrong_token(&access, request.headers(), connection.as_ref()).await;
        }
    };
    if let Need::Role(role) = need {
        let Some(caller) = &caller else { return unknown(&request) };
        let foreign = || authority(&request).is_some_and(|authority| !is_loopback(authority));
        if caller.is_by_kernel() && (foreign() || is_relayed(request.headers())) {
            return refuse(&request, caller, FOREIGN_HOST);
        }
        if !caller.may(role) {
            let why = format!("{} has the role {}; this needs {role}", caller.principal, caller.role);
            access.refusals.note(Refused::Role, connection.map(|connection| connection.peer), &why);
            return refuse(&request, caller, &why);
        }
    }
    if let Some(caller) = caller {
        request.extensions_mut().insert(caller);
    }
    next.run(request.map(timely)).await
}

/// Who asks; `None` when it cannot be told.
async fn identify(
    access: &Access,
    headers: &HeaderMap,
    connection: Option<&OpenConnection>,
) -> Result<Option<Caller>, Wrong> {
    if let Some(presented) = bearer(headers) {
        return access.keyring.admit(presented).map(Some).ok_or(Wrong);
    }
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut sessions = cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|cookie| cookie.trim().strip_prefix(SESSION)?.strip_prefix('='));
    if let Some(caller) = sessions.find_map(|session| access.keyring.admit_session(session)) {
        return Ok(Some(caller));
    }
    match connection {
        Some(connection) if access.trusts_kernel() => {
            Ok(connection.owner().await.and_then(|uid| access.by_kernel(uid)))
        }
        _ => Ok(None),
    }
}

/// Whether a proxy says that it speaks for somebody else: then the kernel's word is about the proxy.
fn is_relayed(headers: &HeaderMap) -> bool {
    ["forwarded", "via", "x-forwarded-for"].iter().any(|name| headers.contains_key(*name))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = text(headers, header::AUTHORIZATION.as_str())?;
    let (scheme, token) = value.split_once(' ')?;
    // RFC 9110, 11.1: the scheme's letters may be of either case.
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Refuses whoever brought a wrong token, and makes them wait when they have done so before.
pub(super) async fn wrong_token(
    access: &Access,
    headers: &HeaderMap,
    connection: Option<&OpenConnection>,
) -> Response {
    if too_many(access, connection).await {
        let why = "you sent too many wrong tokens: wait 1 minute";
        let mut response = if is_grpc(headers) {
            Status::resource_exhausted(why).into_http()
        } else {
            (StatusCode::TOO_MANY_REQUESTS, format!("{why}\n")).into_response()
        };
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        return response;
    }
    let why = "the token is unknown to this manager, revoked or expired";
    if is_grpc(headers) { Status::unauthenticated(why).into_http() } else { challenge(why) }
}

/// Notes a wrong token, waits as long as it costs, and says whether there were too many.
pub(super) async fn too_many(access: &Access, connection: Option<&OpenConnection>) -> bool {
    let Some(connection) = connection else { return false };
    connection.suspect();
    access.refusals.note(Refused::WrongToken, Some(connection.peer), "");
    let owner = connection.owner_at_leisure().await;
    let peer = owner.map_or_else(|| Peer::at(connection.peer.ip()), Peer::Account);
    match access.throttle.wrong(peer) {
        Cost::Pause(pause) => {
            tokio::time::sleep(pause).await;
            false
        }
        Cost::Throttled(pause, waiting) => {
            access.refusals.note(Refused::Throttled, Some(connection.peer), &peer.to_string());
            tokio::time::sleep(pause).await;
            drop(waiting);
            true
        }
        Cost::End => {
            access.refusals.note(Refused::Throttled, Some(connection.peer), &peer.to_string());
            connection.end_soon();
            true
        }
    }
}

/// Refuses whoever has said nothing of themselves; shows a browser the login page.
fn unknown(request: &Request) -> Response {
    if is_grpc(request.headers()) {
        return Status::unauthenticated(BRING).into_http();
    }
    if request.method() == Method::GET && wants_page(request.headers()) {
        let wanted = request.uri().path_and_query().map_or("/", axum::http::uri::PathAndQuery::as_str);
        return Redirect::to(&web::login_address(wanted)).into_response();
    }
    challenge(&format!("{BRING}, or log in at /login"))
}

fn challenge(why: &str) -> Response {
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"image-manager\"")];
    (StatusCode::UNAUTHORIZED, challenge, format!("{why}\n")).into_response()
}

/// Refuses somebody who is known.
fn refuse(request: &Request, caller: &Caller, why: &str) -> Response {
    if is_grpc(request.headers()) {
        return Status::permission_denied(why).into_http();
    }
    if wants_page(request.headers()) {
        return web::refused(StatusCode::FORBIDDEN, why, caller);
    }
    (StatusCode::FORBIDDEN, format!("{why}\n")).into_response()
}

/// Whether the client is a browser that shows what it gets.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    text(headers, header::ACCEPT.as_str()).is_some_and(|accept| accept.contains("text/html"))
}

/// The body, which ends in an error when it does not arrive in time.
fn timely(body: Body) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let deadline = Box::pin(tokio::time::sleep(BODY));
    Body::from_stream(BodyByDeadline { body: body.into_data_stream(), deadline })
}

struct BodyByDeadline {
    body: BodyDataStream,
    deadline: Pin<Box<Sleep>>,
}

impl Stream for BodyByDeadline {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.deadline.as_mut().poll(context).is_ready() {
            let late = format!("the request's body did not arrive within {} s", BODY.as_secs());
            return Poll::Ready(Some(Err(late.into())));
        }
        Pin::new(&mut self.body).poll_next(context).map_err(Into::into)
    }
}
