//! Who may use the operator port, and for what.
//!
//! Somebody is known by one of three things, looked at in this order: a token that they bring, a browser's session,
//! and, on loopback, what the kernel says of the connection's other end ([`socket_owner`]): root and the account
//! that the manager runs as need nothing else, unless the manager was started with `--api-token-file`, which asks
//! everybody. Whoever is none of them is refused before a byte of their request's body is read.
//!
//! What each page and RPC asks for is in one table, `operator/rules.rs`.

mod caller;
mod keyring;
mod links;
mod refused;
mod role;
mod session;
mod socket_diag;
pub(super) mod socket_owner;
mod strength;
mod throttle;
mod token_file;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

pub(super) use caller::Caller;
pub(super) use keyring::Keyring;
pub use keyring::TokenError;
pub(crate) use keyring::{create, message, of_file, revoke};
pub(super) use refused::Refused;
pub use role::Role;
pub(super) use session::{NAME as SESSION, cookie, no_cookie};
pub(super) use throttle::{Cost, Peer, Throttle};
pub use token_file::{AccessError, ApiToken, guard_secret};

use crate::history::{History, Principal};
use crate::refusals::RefusalLog;

/// What is said to whoever comes without a token.
pub(super) const BRING: &str = "send a token as `authorization: Bearer <token>`";

/// All that decides who is let in.
pub struct Access {
    pub(super) keyring: Keyring,
    pub(super) throttle: Throttle,
    pub(super) refusals: RefusalLog<Refused>,
    /// Whether the kernel's word lets root and the manager's own account in.
    trusts_kernel: bool,
}

impl Access {
    /// Reads what there is: the tokens of the history, the one of the file, and the key of the sessions.
    ///
    /// # Errors
    /// When the history cannot be read or there is no randomness.
    pub async fn open(
        history: History,
        state: &Path,
        file: Option<ApiToken>,
    ) -> Result<Arc<Self>, TokenError> {
        let trusts_kernel = file.is_none();
        let keyring = Keyring::open(history, state, file).await?;
        Ok(Arc::new(Self {
            keyring,
            throttle: Throttle::default(),
            refusals: RefusalLog::default(),
            trusts_kernel,
        }))
    }

    /// Whether the operator port may be opened at an address: elsewhere than on loopback only where there is a token,
    /// of a file or in the history that is in the state directory.
    ///
    /// # Errors
    /// [`AccessError::Open`].
    pub async fn may_open(
        address: SocketAddr,
        token: Option<&ApiToken>,
        (state, history): (&Path, &Path),
    ) -> Result<(), AccessError> {
        if address.ip().is_loopback() || token.is_some() {
            return Ok(());
        }
        // One that is not there yet, or an older program's, has no token.
        let kept = match History::open_to_read(history) {
            Ok(history) => history.tokens().await.unwrap_or_default(),
            Err(_) => std::collections::BTreeMap::new(),
        };
        let now = crate::clock::now().timestamp_millis();
        let good = kept.values().any(|token| token.expires_at.is_none_or(|end| now < end));
        if good { Ok(()) } else { Err(AccessError::Open { address, state: state.to_owned() }) }
    }

    /// A link, for the account that this process runs as, which lets one browser in: what follows the port's address.
    ///
    /// # Errors
    /// When the history cannot be written or there is no randomness.
    pub async fn own_link(&self) -> Result<String, TokenError> {
        let caller = Caller::by_kernel(Principal::this_process());
        self.keyring.link(&caller, Role::Admin).await.map(|issued| issued.text)
    }

    /// Who the account is that the kernel told of, when it is one that needs no token.
    pub(super) fn by_kernel(&self, uid: u32) -> Option<Caller> {
        let known = uid == 0 || uid == nix::unistd::geteuid().as_raw();
        (self.trusts_kernel && known).then(|| Caller::by_kernel(Principal::user(uid)))
    }

    /// Whether it is worth asking the kernel.
    pub(super) fn trusts_kernel(&self) -> bool {
        self.trusts_kernel
    }
}
