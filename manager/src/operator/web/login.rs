//! The login page: the API token once, then a cookie.

use std::fmt::Write as _;
use std::time::Duration;

use axum::Form;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::html;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::layout::{Page, Place};
use super::{Web, session};

/// A wrong token costs this much time, so that guessing does not pay.
const WRONG: Duration = Duration::from_millis(500);

/// Where to go after the login.
#[derive(Debug, Deserialize)]
pub(super) struct Wish {
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
    let mut address = "/login?next=".to_owned();
    for byte in wanted.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte) {
            address.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(address, "%{byte:02X}");
        }
    }
    address
}

/// A path on this port, or `/`: a login must not lead to another site.
pub(super) fn local(path: &str) -> &str {
    let plain = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if plain && !path.starts_with("//") { path } else { "/" }
}

pub(super) async fn page(State(web): State<Web>, Query(wish): Query<Wish>) -> Response {
    if web.token.is_none() {
        return Redirect::to("/").into_response();
    }
    form(StatusCode::OK, local(&wish.next), None)
}

pub(super) async fn log_in(
    State(web): State<Web>,
    headers: HeaderMap,
    Form(credentials): Form<Credentials>,
) -> Response {
    let next = local(&credentials.next);
    let Some(token) = &web.token else { return Redirect::to("/").into_response() };
    let Ok(_turn) = web.logins.acquire().await else {
        return form(StatusCode::SERVICE_UNAVAILABLE, next, Some("the manager is stopping"));
    };
    if token.admits(credentials.token.expose_secret().trim()) {
        return ([(header::SET_COOKIE, session::cookie(token, &headers))], Redirect::to(next))
            .into_response();
    }
    tokio::time::sleep(WRONG).await;
    tracing::warn!("a login with a wrong API token was refused");
    form(StatusCode::UNAUTHORIZED, next, Some("That is not the API token."))
}

pub(super) async fn log_out(headers: HeaderMap) -> Response {
    ([(header::SET_COOKIE, session::no_cookie(&headers))], Redirect::to("/login")).into_response()
}

fn form(status: StatusCode, next: &str, wrong: Option<&str>) -> Response {
    let page = Page { title: "Log in".to_owned(), place: Place::Elsewhere, events: None, login: false };
    let body = html! {
        form.login method="post" action="/login" {
            h1 { "Log in" }
            p.muted { "The API token is in the file that the manager was started with (" code { "--api-token-file" } ")." }
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
