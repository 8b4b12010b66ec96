//! What a cloud gives of a server's serial console.

/// What came of bringing the log of a server's console up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Console {
    /// The log has what the cloud has of it.
    Given,
    /// Not now: the server has not been started yet, or is gone. The text says what the cloud answered.
    NotNow(String),
    /// The cloud gives no console of a server that runs. The text says what it answered.
    Never(String),
}

/// Stands in a log, on a line of its own, for what was not kept of a console that is too long.
pub(crate) const CUT: &str = "[... cut ...]";
