//! What can go wrong with a cloud, and whose trouble it is.

use crate::reason::Reason;

/// What kind of trouble a cloud has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// A setting, credential or missing program of ours: the user must change something.
    Configuration,
    /// Not reachable or not answering as it should; may work later.
    Unavailable,
    /// No room: quota, disk, memory.
    NoRoom,
    /// The cloud took the request and failed at it (Nova's fault, QEMU's exit).
    Fault,
    /// What came out differs from what went in (hash, size).
    Corrupt,
    /// It took longer than it may.
    Timeout,
}

impl Trouble {
    /// The reason of a build that ends by it.
    pub fn reason(self) -> Reason {
        match self {
            Self::Configuration => Reason::CloudConfiguration,
            Self::Unavailable => Reason::CloudUnavailable,
            Self::NoRoom => Reason::CloudNoRoom,
            Self::Fault => Reason::CloudFault,
            Self::Corrupt => Reason::ImageCorrupt,
            Self::Timeout => Reason::CloudTimeout,
        }
    }
}

/// An operation of a cloud failed. The text is a lower-case fragment that says what was tried, on what, and
/// what to do when that is known.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct CloudError {
    /// What kind of trouble it is.
    pub trouble: Trouble,
    /// What was tried, on what, what was answered.
    pub message: String,
    /// More that proves it, for the failure's evidence: QEMU's stderr, Nova's fault.
    pub evidence: String,
}

impl CloudError {
    /// An error without further evidence.
    pub fn new(trouble: Trouble, message: impl Into<String>) -> Self {
        Self { trouble, message: message.into(), evidence: String::new() }
    }

    /// The same error with evidence.
    #[must_use]
    pub fn with_evidence(mut self, evidence: impl Into<String>) -> Self {
        self.evidence = evidence.into();
        self
    }
}
