//! Why the operator port refuses somebody.

use crate::refusals::Refusal;

/// Why somebody was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::operator) enum Refused {
    /// They brought a token that is none.
    WrongToken,
    /// They brought so many that they are answered more slowly, or their connection is ended.
    Throttled,
    /// Their role does not allow it.
    Role,
    /// They used a link that is none, or not any more.
    WrongLink,
}

impl Refusal for Refused {
    fn words(self) -> &'static str {
        match self {
            Self::WrongToken => {
                "refused a request to the operator port: its token is unknown, revoked or expired"
            }
            Self::Throttled => "too many wrong tokens at the operator port: throttled",
            Self::Role => "refused a request to the operator port: the caller's role does not allow it",
            Self::WrongLink => "refused a login link: it is unknown, already used or expired",
        }
    }
}
