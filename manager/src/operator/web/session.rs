//! The browser's session: a cookie that proves that its bearer once brought the API token.
//!
//! The cookie holds the time when it ends and a message authentication code over it, with a key derived from the
//! token. So nothing is kept here, a restart logs nobody out, a new token logs everybody out, and the token
//! itself never is in a browser's store.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use crate::operator::ApiToken;

/// The cookie's name.
const NAME: &str = "image_manager_session";
/// How long a login lasts, in seconds: a working day.
const LIFE: i64 = 12 * 3600;

/// Derived from the token for this use alone.
fn key(token: &ApiToken) -> hmac::Key {
    let token = hmac::Key::new(hmac::HMAC_SHA256, token.expose().as_bytes());
    hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&token, b"image-manager web session 1").as_ref())
}

/// A session that begins at `now` (seconds since the epoch).
fn begin(token: &ApiToken, now: i64) -> String {
    let end = now.saturating_add(LIFE).to_string();
    let code = URL_SAFE_NO_PAD.encode(hmac::sign(&key(token), end.as_bytes()));
    format!("{end}.{code}")
}

/// Whether a session is one of ours and has not ended at `now`. The comparison takes the same time for all.
fn is_valid(token: &ApiToken, session: &str, now: i64) -> bool {
    let Some((end, code)) = session.split_once('.') else { return false };
    let Ok(code) = URL_SAFE_NO_PAD.decode(code) else { return false };
    hmac::verify(&key(token), end.as_bytes(), &code).is_ok() && end.parse().is_ok_and(|end: i64| now < end)
}

/// The header that starts a session. `Secure` when a proxy in front of us speaks TLS with the browser.
pub(super) fn cookie(token: &ApiToken, request: &HeaderMap) -> String {
    let session = begin(token, chrono::Utc::now().timestamp());
    format!("{NAME}={session}; Path=/; Max-Age={LIFE}; HttpOnly; SameSite=Strict{}", secure(request))
}

/// The header that ends it.
pub(super) fn no_cookie(request: &HeaderMap) -> String {
    format!("{NAME}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict{}", secure(request))
}

fn secure(request: &HeaderMap) -> &'static str {
    let https = request.get("x-forwarded-proto").is_some_and(|value| value.as_bytes() == b"https");
    if https { "; Secure" } else { "" }
}

/// Whether a request brings the token as bearer, or a session.
pub(super) fn is_authenticated(token: &ApiToken, headers: &HeaderMap) -> bool {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some(presented) = bearer.and_then(|value| value.strip_prefix("Bearer ")) {
        return token.admits(presented);
    }
    let now = chrono::Utc::now().timestamp();
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|cookie| cookie.trim().strip_prefix(NAME)?.strip_prefix('='))
        .any(|session| is_valid(token, session, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> ApiToken {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        ApiToken::read(file.path()).unwrap()
    }

    #[test]
    fn a_session_ends_and_cannot_be_made_without_the_token() {
        let ours = token("correct horse battery");
        let session = begin(&ours, 1000);
        assert!(!session.contains("correct"));
        assert!(is_valid(&ours, &session, 1001));
        assert!(!is_valid(&ours, &session, 1000 + LIFE), "it has ended");
        assert!(!is_valid(&token("another token of theirs"), &session, 1001));
        let (end, code) = session.split_once('.').unwrap();
        let longer = format!("{}.{code}", end.parse::<i64>().unwrap() + 1);
        assert!(!is_valid(&ours, &longer, 1001), "its end is under the code");
        for nonsense in ["", ".", "x", "99999999999.", "99999999999.AAAA", &session[1..]] {
            assert!(!is_valid(&ours, nonsense, 1001), "{nonsense}");
        }
    }

    #[test]
    fn bearer_or_cookie() {
        let ours = token("correct horse battery");
        let with = |name: header::HeaderName, value: String| {
            let headers = HeaderMap::from_iter([(name, value.parse().unwrap())]);
            is_authenticated(&ours, &headers)
        };
        let session = begin(&ours, chrono::Utc::now().timestamp());
        assert!(with(header::AUTHORIZATION, "Bearer correct horse battery".to_owned()));
        assert!(!with(header::AUTHORIZATION, "Bearer correct horse batterx".to_owned()));
        assert!(with(header::COOKIE, format!("other=1; {NAME}={session}")));
        assert!(!with(header::COOKIE, format!("{NAME}=correct horse battery")));
        assert!(!is_authenticated(&ours, &HeaderMap::new()));
    }
}
