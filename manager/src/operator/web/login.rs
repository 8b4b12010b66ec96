//! The login page: a token once, then a cookie; and links that do without the token.

use axum::Extension;
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::html;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::Web;
use super::address::with_query;
use super::layout::{Page, Section};
use crate::operator::access::{Caller, Refused, cookie, no_cookie};
use crate::operator::gate;
use crate::operator::listener::OpenConnection;

/// Where to go after the login.
#[derive(Debug, Deserialize)]
pub(super) struct Parameters {
    #[serde(default)]
    next: String,
}

/// The form.
#[derive(Debug, Deserialize)]
pub(super) struct Credentials {
    #[serde(deserialize_with = "secret")]
    token: SecretString,
    #[serde(default)]
    next: String,
}

/// So that no log or error text shows it.
fn secret<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    String::deserialize(deserializer).map(SecretString::from)
}

/// The login page that leads to `wanted`.
pub(super) fn address(wanted: &str) -> String {
    if wanted == "/" {
        return "/login".to_owned();
    }
    with_query("/login", &[("next", wanted)])
}

/// A path on this port, or `/`: a login must not lead to another site.
pub(super) fn local(path: &str) -> &str {
    let plain = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if plain && !path.starts_with("//") { path } else { "/" }
}

pub(super) async fn page(caller: Option<Caller>, Query(parameters): Query<Parameters>) -> Response {
    let next = local(&parameters.next);
    if caller.is_some() {
        return Redirect::to(next).into_response();
    }
    form(StatusCode::OK, next, None)
}

pub(super) async fn log_in(
    State(web): State<Web>,
    connection: Option<Extension<OpenConnection>>,
    headers: HeaderMap,
    Form(credentials): Form<Credentials>,
) -> Response {
    let next = local(&credentials.next);
    // A right token is known before anything is waited for: whoever has one never waits behind those who guess.
    let caller = web.access.keyring.admit(credentials.token.expose_secret().trim());
    if let Some(session) = caller.and_then(|caller| web.access.keyring.begin_session(&caller)) {
        return ([(header::SET_COOKIE, cookie(&session, &headers))], Redirect::to(next)).into_response();
    }
    let connection = connection.map(|Extension(connection)| connection);
    if gate::too_many(&web.access, connection.as_ref()).await {
        let why = "Too many wrong tokens came from here. Wait a minute, then try again.";
        return form(StatusCode::TOO_MANY_REQUESTS, next, Some(why));
    }
    let why = "This is not one of this manager's tokens, or it was revoked or has expired.";
    form(StatusCode::UNAUTHORIZED, next, Some(why))
}

/// `GET /login/CODE`: lets a browser in by a link, once. The answer leads on at once, so that the code stays neither
/// in the browser's history nor in a referrer.
pub(super) async fn by_link(
    State(web): State<Web>,
    connection: Option<Extension<OpenConnection>>,
    method: Method,
    headers: HeaderMap,
    Path(code): Path<String>,
) -> Response {
    // Whoever only asks what is there must not use it up.
    if method != Method::GET {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET")]).into_response();
    }
    let session = web.access.keyring.take_link(&code).and_then(|who| web.access.keyring.begin_session(&who));
    let mut response = if let Some(session) = session {
        ([(header::SET_COOKIE, cookie(&session, &headers))], Redirect::to("/")).into_response()
    } else {
        let connection = connection.map(|Extension(connection)| connection);
        web.access.refusals.note(
            Refused::WrongLink,
            connection.as_ref().map(|connection| connection.peer),
            "",
        );
        // A code can be guessed as little as a token, and costs as much.
        gate::too_many(&web.access, connection.as_ref()).await;
        let why = "This link has already been used or has expired. To get a new one, run image-manager login on the host.";
        form(StatusCode::UNAUTHORIZED, "/", Some(why))
    };
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

pub(super) async fn log_out(headers: HeaderMap) -> Response {
    ([(header::SET_COOKIE, no_cookie(&headers))], Redirect::to("/login")).into_response()
}

fn form(status: StatusCode, next: &str, wrong: Option<&str>) -> Response {
    let page = Page { title: "Log in".to_owned(), section: Section::Elsewhere, events: None, login: false };
    let body = html! {
        form.login method="post" action="/login" {
            h1 { "Log in" }
            p.muted {
                "Create a token with " code { "image-manager token create" } ", or use the one in "
                code { "--api-token-file" } ". Without a token, run " code { "image-manager login" }
                " on the manager's host: it prints a link that logs one browser in, once."
            }
            input type="hidden" name="next" value=(next);
            label for="token" { "API token" }
            input #token name="token" type="password" autocomplete="current-password" required autofocus
                aria-invalid=[wrong.map(|_| "true")] aria-describedby=[wrong.map(|_| "wrong")];
            @if let Some(wrong) = wrong { p.wrong #wrong role="alert" { (wrong) } }
            button.primary type="submit" { "Log in" }
        }
    };
    page.with_status(status, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_this_port_only() {
        assert_eq!(local("/builds?state=failed"), "/builds?state=failed");
        for elsewhere in
            ["", "//evil.example", "https://evil.example", "/\\evil.example", "/a b", "javascript:x"]
        {
            assert_eq!(local(elsewhere), "/", "{elsewhere}");
        }
    }

    #[test]
    fn the_wish_survives_its_way_through_the_address() {
        assert_eq!(address("/"), "/login");
        assert_eq!(
            address("/builds?state=failed&schedule=a"),
            "/login?next=/builds%3Fstate%3Dfailed%26schedule%3Da"
        );
    }
}
