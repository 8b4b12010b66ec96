//! Somebody who was let in.

use super::Role;
use crate::gateway::TokenHash;
use crate::history::Principal;

/// What somebody was let in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Basis {
    /// The kernel's word.
    Kernel,
    /// A token.
    Token(TokenHash),
    /// A browser's session, up to an instant (seconds since the epoch); one that a token opened ends with it.
    Session {
        /// The token.
        token: Option<TokenHash>,
        /// The end.
        end: i64,
    },
}

/// Somebody who was let in: a request carries them to whatever answers it.
#[derive(Debug, Clone)]
pub(in crate::operator) struct Caller {
    /// Who.
    pub(in crate::operator) principal: Principal,
    /// What they may do.
    pub(in crate::operator) role: Role,
    pub(super) basis: Basis,
}

impl Caller {
    /// An account of this host that needs no token.
    pub(super) fn by_kernel(principal: Principal) -> Self {
        Self { principal, role: Role::Admin, basis: Basis::Kernel }
    }

    /// Whether nothing but the kernel's word let them in; a browser of that account brings it for every site.
    pub(in crate::operator) fn is_by_kernel(&self) -> bool {
        self.basis == Basis::Kernel
    }

    /// Whether it is a browser that can log out.
    pub(in crate::operator) fn is_browser(&self) -> bool {
        matches!(self.basis, Basis::Session { .. })
    }

    /// Whether their role is at least this one.
    pub(in crate::operator) fn may(&self, role: Role) -> bool {
        self.role >= role
    }
}
