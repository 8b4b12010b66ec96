//! The browser's session: a cookie that proves that its bearer was let in once, by a token or by a link.
//!
//! The cookie says who it is, what they may do and when it ends, with a message authentication code over that; the
//! key lies in the state directory. So nothing is kept for each, and a restart logs nobody out. The code of a session
//! that a token opened covers the token's hash too: it ends with the token, and one of the same name does not bring
//! it back. One that no token opened is good only while the manager lets people in as it did then: the kernel's word
//! of yesterday opens nothing once `--api-token-file` asks everybody.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::{Deserialize, Serialize};

use super::Role;
use crate::gateway::TokenHash;
use crate::history::Principal;

/// The cookie's name.
pub(in crate::operator) const NAME: &str = "image_manager_session";
/// How long a login lasts, in seconds: a working day.
pub(super) const LIFE: i64 = 12 * 3600;
/// The key's file in the state directory.
const FILE: &str = "session-key";
/// Bytes of the key.
const BYTES: usize = 32;
/// Longest cookie that is looked at.
const LONGEST: usize = 1024;

/// Somebody's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) principal: Principal,
    pub(super) role: Role,
    /// The token that opened it.
    pub(super) token: Option<TokenHash>,
    /// In seconds since the epoch.
    pub(super) end: i64,
}

/// What is in the cookie.
#[derive(Debug, Serialize, Deserialize)]
struct Content {
    end: i64,
    role: String,
    /// Name and hash of the token, or the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uid: Option<(u32, String)>,
}

/// What the codes are made with.
pub(super) struct Key {
    /// For sessions that a token opened.
    by_token: hmac::Key,
    /// For those that no token opened.
    by_account: hmac::Key,
}

impl Key {
    /// The key of a state directory; made at first use. Where it cannot be kept, sessions end with this process.
    /// `trusts_kernel`: whether the kernel's word lets anybody in.
    ///
    /// # Errors
    /// When the system provides no random numbers.
    pub(super) fn of(state: &Path, trusts_kernel: bool) -> Result<Self, getrandom::Error> {
        let path = state.join(FILE);
        let bytes = match kept(&path) {
            Some(bytes) => bytes,
            None => made(&path)?,
        };
        let by_token = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        let mode: &[u8] =
            if trusts_kernel { b"the kernel's word counts" } else { b"everybody needs a token" };
        let by_account = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&by_token, mode).as_ref());
        Ok(Self { by_token, by_account })
    }

    /// A session that begins at `now` (seconds since the epoch).
    pub(super) fn begin(
        &self,
        principal: Principal,
        role: Role,
        token: Option<TokenHash>,
        now: i64,
    ) -> Option<String> {
        let Principal::Browser(of) = principal else { return None };
        let (token, uid) = match (*of, token) {
            (Principal::Token(name), Some(hash)) => (Some((name, hash.to_string())), None),
            (Principal::User { uid, name }, None) => (None, Some((uid, name))),
            _ => return None,
        };
        let key = if token.is_some() { &self.by_token } else { &self.by_account };
        let content = Content { end: now.saturating_add(LIFE), role: role.word().to_owned(), token, uid };
        let content = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&content).ok()?);
        let code = URL_SAFE_NO_PAD.encode(hmac::sign(key, content.as_bytes()));
        Some(format!("{content}.{code}"))
    }

    /// The session, when it is one of ours and has not ended at `now`. The comparison takes the same time for all.
    pub(super) fn read(&self, session: &str, now: i64) -> Option<Session> {
        let (content, code) = session.split_once('.').filter(|_| session.len() <= LONGEST)?;
        let code = URL_SAFE_NO_PAD.decode(code).ok()?;
        let made_with = |key| hmac::verify(key, content.as_bytes(), &code).is_ok();
        let (by_token, by_account) = (made_with(&self.by_token), made_with(&self.by_account));
        let content: Content = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(content).ok()?).ok()?;
        let (of, token) = match (content.token, content.uid) {
            (Some((name, hash)), None) if by_token => {
                (Principal::Token(name), Some(TokenHash::parse(&hash)?))
            }
            (None, Some((uid, name))) if by_account => (Principal::User { uid, name }, None),
            _ => return None,
        };
        let role = Role::from_word(&content.role)?;
        let session = Session { principal: Principal::browser(of), role, token, end: content.end };
        (now < session.end).then_some(session)
    }
}

/// The key in the file. One of nothing but zeros is nobody's secret.
fn kept(path: &Path) -> Option<[u8; BYTES]> {
    std::fs::read(path).ok()?.try_into().ok().filter(|bytes| *bytes != [0; BYTES])
}

/// A key that is made now and kept in the file.
fn made(path: &Path) -> Result<[u8; BYTES], getrandom::Error> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)?;
    if let Err(error) = keep(path, &bytes) {
        tracing::warn!("cannot write {}: {error}; a restart ends all browser sessions", path.display());
    }
    Ok(bytes)
}

fn keep(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let partial = path.with_extension("partial");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(partial, path)
}

/// The header that starts a session. `Secure` when a proxy in front of us speaks TLS with the browser.
pub(in crate::operator) fn cookie(session: &str, request: &HeaderMap) -> String {
    format!("{NAME}={session}; Path=/; Max-Age={LIFE}; HttpOnly; SameSite=Strict{}", secure(request))
}

/// The header that ends it.
pub(in crate::operator) fn no_cookie(request: &HeaderMap) -> String {
    format!("{NAME}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict{}", secure(request))
}

fn secure(request: &HeaderMap) -> &'static str {
    let https = request.get("x-forwarded-proto").is_some_and(|value| value.as_bytes() == b"https");
    if https { "; Secure" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(state: &Path, trusts_kernel: bool) -> Key {
        Key::of(state, trusts_kernel).unwrap()
    }

    fn browser() -> Principal {
        Principal::browser(Principal::Token("ci".to_owned()))
    }

    #[test]
    fn a_session_ends_and_cannot_be_made_without_the_key() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (ours, theirs) = (key(here.path(), true), key(there.path(), true));
        let hash = TokenHash::of("correct horse battery");
        let session = ours.begin(browser(), Role::Operator, Some(hash), 1000).unwrap();
        let read = ours.read(&session, 1001).unwrap();
        assert_eq!((read.principal, read.role, read.token), (browser(), Role::Operator, Some(hash)));
        assert_eq!(ours.read(&session, 1000 + LIFE), None, "it has ended");
        assert_eq!(theirs.read(&session, 1001), None);
        assert!(key(here.path(), true).read(&session, 1001).is_some(), "a restart logs nobody out");
        let (content, code) = session.split_once('.').unwrap();
        let mut longer: Content = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(content).unwrap()).unwrap();
        longer.end += 1;
        let longer = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&longer).unwrap());
        assert_eq!(ours.read(&format!("{longer}.{code}"), 1001), None, "its end is under the code");
        for nonsense in ["", ".", "x", "99999999999.", "99999999999.AAAA", &session[1..]] {
            assert_eq!(ours.read(nonsense, 1001), None, "{nonsense}");
        }
    }

    #[test]
    fn a_session_by_the_kernels_word_ends_when_everybody_needs_a_token() {
        let directory = tempfile::tempdir().unwrap();
        let account = Principal::browser(Principal::User { uid: 0, name: "root".to_owned() });
        let (before, after) = (key(directory.path(), true), key(directory.path(), false));
        let by_kernel = before.begin(account.clone(), Role::Admin, None, 1000).unwrap();
        assert!(before.read(&by_kernel, 1001).is_some());
        assert_eq!(after.read(&by_kernel, 1001), None, "it was the kernel's word");
        // A link that this manager itself printed lets in under `--api-token-file` too.
        let by_link = after.begin(account, Role::Admin, None, 1000).unwrap();
        assert!(after.read(&by_link, 1001).is_some() && before.read(&by_link, 1001).is_none());
        let hash = TokenHash::of("correct horse battery");
        let by_token = before.begin(browser(), Role::Viewer, Some(hash), 1000).unwrap();
        assert!(after.read(&by_token, 1001).is_some(), "tokens count as before");
    }

    #[test]
    fn nobody_else_may_read_the_key() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let _ = key(directory.path(), true);
        let file = std::fs::metadata(directory.path().join(FILE)).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_key_of_zeros_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(FILE);
        std::fs::write(&file, [0; BYTES]).unwrap();
        let _ = key(directory.path(), true);
        assert_ne!(std::fs::read(file).unwrap(), [0; BYTES]);
    }
}
