//! The tokens as they are now. The history keeps them; this is what requests are compared with, so that no request
//! waits for the history. All changes go through here, since one manager has a state directory.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use image_manager_proto::v1;
use tokio::sync::watch;

use super::caller::{Basis, Caller};
use super::links::{Link, Links};
use super::{ApiToken, Role, session};
use crate::clock::timestamp;
use crate::gateway::{Token, TokenHash};
use crate::history::{History, HistoryError, NewToken, Principal, TokenRecord};

/// The name that the token of `--api-token-file` goes by.
const OF_FILE: &str = "api-token-file";
/// Longest name.
const NAME: usize = 64;
/// Shortest and longest time that a token may be good for.
const LIFETIMES: std::ops::RangeInclusive<Duration> =
    Duration::from_mins(1)..=Duration::from_hours(24 * 3653);
/// How often it is looked whether somebody whose token has an end is beyond it.
const LOOK: Duration = Duration::from_secs(1);

/// A token cannot be made or revoked.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The name is none.
    #[error(
        "{0:?} is not a name for a token: use 1 to 64 of the characters a-z, 0-9, \".\", \"_\" and \"-\", beginning \
         with a letter or a digit"
    )]
    Name(String),
    /// The name is that of the token in the file.
    #[error(
        "api-token-file is the token of --api-token-file: to change it, put another one into that file, or start the \
         manager without that flag"
    )]
    OfFile,
    /// The time is too short or too long.
    #[error("a token is valid for at least 1 minute and at most 10 years")]
    Lifetime,
    /// There is no randomness.
    #[error("the system provides no random numbers: {0}")]
    Randomness(#[from] getrandom::Error),
    /// The history refuses it.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// What was made for somebody, and is shown once.
#[derive(Debug)]
pub(crate) struct Issued<T> {
    /// What it is.
    pub(crate) what: T,
    /// Its text.
    pub(crate) text: String,
}

/// A token that can be brought.
#[derive(Debug, Clone)]
struct Entry {
    name: String,
    role: Role,
    /// In milliseconds since the epoch.
    expires_at: Option<i64>,
}

impl Entry {
    fn is_over(&self) -> bool {
        self.expires_at.is_some_and(|end| end <= crate::clock::now().timestamp_millis())
    }
}

/// The tokens as they are now.
pub(in crate::operator) struct Keyring {
    history: History,
    tokens: RwLock<HashMap<TokenHash, Entry>>,
    /// One change at a time, in the history and here.
    changes: tokio::sync::Mutex<()>,
    /// Told whenever a token is gone.
    gone: watch::Sender<()>,
    sessions: session::Key,
    links: Mutex<Links>,
}

impl Keyring {
    pub(super) async fn open(
        history: History,
        state: &Path,
        file: Option<ApiToken>,
    ) -> Result<Self, TokenError> {
        let mut tokens = HashMap::new();
        let sessions = session::Key::of(state, file.is_none())?;
        for (name, record) in history.tokens().await? {
            tokens.extend(entry(name, &record));
        }
        if let Some(token) = file {
            let entry = Entry { name: OF_FILE.to_owned(), role: Role::Admin, expires_at: None };
            tokens.insert(TokenHash::of(token.expose()), entry);
        }
        Ok(Self {
            history,
            tokens: RwLock::new(tokens),
            changes: tokio::sync::Mutex::default(),
            gone: watch::Sender::new(()),
            sessions,
            links: Mutex::default(),
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<TokenHash, Entry>> {
        // Whole even after a panic elsewhere: each change is a single step.
        self.tokens.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever brings this token.
    pub(in crate::operator) fn admit(&self, presented: &str) -> Option<Caller> {
        let hash = TokenHash::of(presented);
        let tokens = self.read();
        let entry = tokens.get(&hash).filter(|entry| !entry.is_over())?;
        let principal = Principal::Token(entry.name.clone());
        Some(Caller { principal, role: entry.role, basis: Basis::Token(hash) })
    }

    /// Whoever brings this browser's session.
    pub(in crate::operator) fn admit_session(&self, presented: &str) -> Option<Caller> {
        let session = self.sessions.read(presented, chrono::Utc::now().timestamp())?;
        let (mut role, basis) = (session.role, Basis::Session { token: session.token, end: session.end });
        if let Some(hash) = session.token {
            role = role.min(self.read().get(&hash).filter(|entry| !entry.is_over())?.role);
        }
        Some(Caller { principal: session.principal, role, basis })
    }

    /// A session for a browser that brought a token.
    pub(in crate::operator) fn begin_session(&self, caller: &Caller) -> Option<String> {
        let token = match caller.basis {
            Basis::Token(hash) => Some(hash),
            Basis::Session { token, .. } => token,
            Basis::Kernel => None,
        };
        let principal = Principal::browser(caller.principal.clone());
        self.sessions.begin(principal, caller.role, token, chrono::Utc::now().timestamp())
    }

    /// A link that lets one browser in as somebody, with at most their role.
    pub(in crate::operator) async fn link(
        &self,
        caller: &Caller,
        role: Role,
    ) -> Result<Issued<v1::CreateLoginLinkResponse>, TokenError> {
        let role = role.min(caller.role);
        self.history.note_login_link(caller.principal.clone(), role.word()).await?;
        let code = Token::generate()?;
        let link = Link::new(code.hash(), Caller { role, ..caller.clone() });
        let expires_at = Some(timestamp(link.expires_at()));
        self.links.lock().unwrap_or_else(PoisonError::into_inner).add(link);
        let path = format!("/login/{}", code.expose());
        let what = v1::CreateLoginLinkResponse { path: path.clone(), expires_at };
        Ok(Issued { what, text: path })
    }

    /// Whoever made the link with this code, which is worth nothing from now on.
    pub(in crate::operator) fn take_link(&self, code: &str) -> Option<Caller> {
        let caller = self.links.lock().unwrap_or_else(PoisonError::into_inner).take(TokenHash::of(code))?;
        self.stands(&caller).then_some(caller)
    }

    /// Makes a token.
    pub(in crate::operator) async fn create(
        &self,
        name: &str,
        role: Role,
        lifetime: Option<Duration>,
        by: Principal,
    ) -> Result<Issued<v1::Token>, TokenError> {
        let _turn = self.changes.lock().await;
        let issued = create(&self.history, name, role, lifetime, by).await?;
        let added = entry(issued.what.name.clone(), &issued.what);
        self.tokens.write().unwrap_or_else(PoisonError::into_inner).extend(added);
        Ok(Issued { what: message(&issued.what), text: issued.text })
    }

    /// Makes a token worthless; ends what it has opened.
    pub(in crate::operator) async fn revoke(&self, name: &str, by: Principal) -> Result<(), TokenError> {
        let _turn = self.changes.lock().await;
        // Here first: whoever asked may go away before the commit, which happens all the same.
        let taken: Vec<_> = {
            let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
            tokens.extract_if(|_, entry| entry.name == name && name != OF_FILE).collect()
        };
        self.gone.send_replace(());
        let revoked = revoke(&self.history, name, by).await;
        if revoked.is_err() {
            self.tokens.write().unwrap_or_else(PoisonError::into_inner).extend(taken);
        }
        revoked
    }

    /// All tokens, that of the file too.
    pub(in crate::operator) async fn list(&self) -> Result<Vec<v1::Token>, HistoryError> {
        let mut tokens: Vec<_> = self.history.tokens().await?.values().map(message).collect();
        if self.read().values().any(|entry| entry.name == OF_FILE) {
            tokens.push(of_file());
            tokens.sort_by(|one, other| one.name.cmp(&other.name));
        }
        Ok(tokens)
    }

    /// Whether somebody who was let in would be let in now.
    fn stands(&self, caller: &Caller) -> bool {
        let (token, end) = match caller.basis {
            Basis::Kernel => (None, None),
            Basis::Token(hash) => (Some(hash), None),
            Basis::Session { token, end } => (token, Some(end)),
        };
        let known = token.is_none_or(|hash| self.read().get(&hash).is_some_and(|entry| !entry.is_over()));
        known && end.is_none_or(|end| chrono::Utc::now().timestamp() < end)
    }

    /// Waits until somebody who was let in would not be any more.
    pub(in crate::operator) async fn fallen(&self, caller: &Caller) {
        if caller.basis == Basis::Kernel {
            return std::future::pending().await;
        }
        let mut gone = self.gone.subscribe();
        while self.stands(caller) {
            // The sender lives as long as this; a missed change shows at the next look.
            let _ = tokio::time::timeout(LOOK, gone.changed()).await;
        }
    }
}

fn entry(name: String, record: &TokenRecord) -> Option<(TokenHash, Entry)> {
    let (hash, role) = (TokenHash::parse(&record.hash)?, Role::from_word(&record.role)?);
    Some((hash, Entry { name, role, expires_at: record.expires_at }))
}

/// The token of `--api-token-file` as the interface has it.
pub(crate) fn of_file() -> v1::Token {
    v1::Token { name: OF_FILE.to_owned(), role: v1::Role::Admin.into(), ..v1::Token::default() }
}

/// A token of the history as the interface has it.
pub(crate) fn message(record: &TokenRecord) -> v1::Token {
    v1::Token {
        name: record.name.clone(),
        role: Role::from_word(&record.role).map(Role::message).unwrap_or_default().into(),
        created_at: Some(timestamp(record.created_at)),
        created_by: record.created_by.clone(),
        expires_at: record.expires_at.map(timestamp),
    }
}

/// Makes a token in a history that no manager serves from, or for the one that does.
pub(crate) async fn create(
    history: &History,
    name: &str,
    role: Role,
    lifetime: Option<Duration>,
    by: Principal,
) -> Result<Issued<TokenRecord>, TokenError> {
    if name == OF_FILE {
        return Err(TokenError::OfFile);
    }
    if !is_name(name) {
        return Err(TokenError::Name(name.chars().take(NAME).collect()));
    }
    if lifetime.is_some_and(|lifetime| !LIFETIMES.contains(&lifetime)) {
        return Err(TokenError::Lifetime);
    }
    let end = |lifetime: Duration| {
        let now = crate::clock::now().timestamp_millis();
        now.saturating_add(i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX))
    };
    let token = Token::generate()?;
    let new = NewToken {
        name: name.to_owned(),
        hash: token.hash().to_string(),
        role: role.word(),
        expires_at: lifetime.map(end),
    };
    let what = history.create_token(new, by).await?;
    Ok(Issued { what, text: token.expose().to_owned() })
}

/// The same for revoking one.
pub(crate) async fn revoke(history: &History, name: &str, by: Principal) -> Result<(), TokenError> {
    if name == OF_FILE {
        return Err(TokenError::OfFile);
    }
    Ok(history.revoke_token(name, by).await?)
}

fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= NAME
        && name.starts_with(plain)
        && name.chars().all(|c| plain(c) || matches!(c, '.' | '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn keyring(directory: &tempfile::TempDir) -> Keyring {
        let history = History::open(&directory.path().join("image-manager.db")).unwrap();
        Keyring::open(history, directory.path(), None).await.unwrap()
    }

    fn root() -> Caller {
        Caller::by_kernel(Principal::User { uid: 0, name: "root".to_owned() })
    }

    #[tokio::test]
    async fn a_token_is_good_until_it_is_revoked_or_over() {
        let directory = tempfile::tempdir().unwrap();
        let keyring = keyring(&directory).await;
        let by = || root().principal;
        let issued = keyring.create("ci", Role::Operator, None, by()).await.unwrap();
        let caller = keyring.admit(&issued.text).unwrap();
        assert_eq!((caller.principal.to_string().as_str(), caller.role), ("token ci", Role::Operator));
        assert!(keyring.admit("nonsense").is_none() && keyring.admit("").is_none());
        let browser = keyring.begin_session(&caller).unwrap();
        let seen = keyring.admit_session(&browser).unwrap();
        assert_eq!((seen.principal.to_string().as_str(), seen.role), ("browser of token ci", Role::Operator));
        drop(keyring);
        let keyring = self::keyring(&directory).await;
        assert!(keyring.admit(&issued.text).is_some(), "the next start knows it");
        assert!(keyring.admit_session(&browser).is_some(), "and its browsers");
        let fallen = tokio::time::timeout(Duration::from_millis(50), keyring.fallen(&seen)).await;
        assert!(fallen.is_err(), "it stands");
        keyring.revoke("ci", by()).await.unwrap();
        tokio::time::timeout(Duration::from_secs(5), keyring.fallen(&seen)).await.unwrap();
        assert!(keyring.admit(&issued.text).is_none() && keyring.admit_session(&browser).is_none());
        let again = keyring.create("ci", Role::Admin, None, by()).await.unwrap();
        assert!(keyring.admit(&again.text).is_some());
        assert!(keyring.admit_session(&browser).is_none(), "a name that is used again is another token");
    }

    #[tokio::test]
    async fn names_and_times_are_looked_at() {
        let directory = tempfile::tempdir().unwrap();
        let keyring = keyring(&directory).await;
        let long = "a".repeat(65);
        for name in ["", "CI", "-ci", "ci\n", "c i", "\u{202e}ci", "api-token-file", long.as_str()] {
            assert!(keyring.create(name, Role::Viewer, None, root().principal).await.is_err(), "{name:?}");
        }
        for lifetime in [Duration::ZERO, Duration::from_secs(59), Duration::MAX] {
            let made = keyring.create("ci", Role::Viewer, Some(lifetime), root().principal).await;
            assert!(matches!(made, Err(TokenError::Lifetime)), "{lifetime:?}");
        }
    }

    #[tokio::test]
    async fn a_link_is_good_once_and_for_no_more_than_its_maker() {
        let directory = tempfile::tempdir().unwrap();
        let keyring = keyring(&directory).await;
        let issued = keyring.link(&root(), Role::Viewer).await.unwrap();
        let code = issued.text.strip_prefix("/login/").unwrap();
        assert!(keyring.take_link("nonsense").is_none());
        let caller = keyring.take_link(code).unwrap();
        assert_eq!(caller.role, Role::Viewer);
        assert!(keyring.take_link(code).is_none(), "once");
        let browser = keyring.begin_session(&caller).unwrap();
        let seen = keyring.admit_session(&browser).unwrap();
        assert_eq!(
            (seen.principal.to_string().as_str(), seen.role),
            ("browser of root (uid 0)", Role::Viewer)
        );

        let token = keyring.create("ci", Role::Operator, None, root().principal).await.unwrap();
        let ci = keyring.admit(&token.text).unwrap();
        let issued = keyring.link(&ci, Role::Admin).await.unwrap();
        keyring.revoke("ci", root().principal).await.unwrap();
        let code = issued.text.strip_prefix("/login/").unwrap();
        assert!(keyring.take_link(code).is_none(), "its maker's token is gone");
    }
}
