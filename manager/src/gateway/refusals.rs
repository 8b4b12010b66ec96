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
    /// Its token is bound to another agent.
    SecondAgent,
    /// What it said first was no Hello, or did not come in time.
    NoHello,
    /// It did not prove its key, or not in time.
    NoProof,
}

impl Refusal for Refused {
    fn words(self) -> &'static str {
        match self {
            Self::Crowd => "closed a connection: too many are open, and it had sent no token",
            Self::Tls => "closed a connection: no TLS",
            Self::NoToken => "refused an agent: it sent no bearer token",
            Self::UnknownToken => "refused an agent: no running build has handed out its token",
            Self::SecondAgent => {
                "refused an agent: its token is bound to another agent, or its proof is wrong"
            }
            Self::NoHello => "refused an agent: it did not send Hello",
            Self::NoProof => "refused an agent: it did not prove its key",
        }
    }
}
