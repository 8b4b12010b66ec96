//! Why the gateway refuses somebody.

use crate::refusals::Refusal;
pub(super) use crate::refusals::SUM_UP;

/// What the log has been told of the gateway's refusals.
pub(super) type RefusalLog = crate::refusals::RefusalLog<Refused>;

/// Why somebody was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refused {
    /// There were too many connections, and this one had shown no token.
    Crowd,
    /// It did not speak TLS, or not in time.
    Tls,
    /// It brought no token.
    NoToken,
    /// No running build has handed out its token.
    UnknownToken,
    /// Another boot's agent is attached.
    SecondAgent,
    /// What it said first was no Hello, or did not come in time.
    NoHello,
}

impl Refusal for Refused {
    fn words(self) -> &'static str {
        match self {
            Self::Crowd => "ended a connection: too many are open, and it had shown no token",
            Self::Tls => "ended a connection: no TLS",
            Self::NoToken => "refused an agent: it brought no bearer token",
            Self::UnknownToken => "refused an agent: no running build has handed out its token",
            Self::SecondAgent => "refused an agent: another boot's agent is attached with its token",
            Self::NoHello => "refused an agent: it did not say Hello",
        }
    }
}
