//! Why a build did not pass.

use image_manager_proto::v1;

use crate::builder::BuilderError;
use crate::cloud::CloudError;
use crate::history::HistoryError;

/// Longest evidence that is kept, in bytes; of a longer one the end stays, where the reason is.
const EVIDENCE_LIMIT: usize = 32 * 1024;

/// A build did not pass: the verdict and what proves it.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Failed, errored, or unspecified for a cancelled build.
    pub verdict: v1::Verdict,
    /// One snake_case word.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// What proves it.
    pub evidence: String,
}

impl Failure {
    /// The infrastructure failed, or it is unknown: says nothing about the image.
    pub fn errored(reason: &str, message: impl Into<String>) -> Self {
        Self::new(v1::Verdict::Errored, reason, message.into())
    }

    /// The image is bad.
    pub fn failed(reason: &str, message: impl Into<String>) -> Self {
        Self::new(v1::Verdict::Failed, reason, message.into())
    }

    /// Somebody ended the build.
    pub fn cancelled() -> Self {
        Self::new(v1::Verdict::Unspecified, "cancelled", "cancelled on request".to_owned())
    }

    fn new(verdict: v1::Verdict, reason: &str, message: String) -> Self {
        Self { verdict, reason: reason.to_owned(), message, evidence: String::new() }
    }

    /// The same failure with evidence, of which the last 32 KiB are kept.
    #[must_use]
    pub fn with_evidence(mut self, evidence: impl Into<String>) -> Self {
        let evidence: String = evidence.into();
        let mut start = evidence.len().saturating_sub(EVIDENCE_LIMIT);
        while !evidence.is_char_boundary(start) {
            start += 1;
        }
        evidence.get(start..).unwrap_or_default().trim_end().clone_into(&mut self.evidence);
        self
    }

    /// As the interface has it.
    pub fn to_message(&self, stage: &str) -> v1::Failure {
        v1::Failure {
            reason: self.reason.clone(),
            stage: stage.to_owned(),
            message: self.message.clone(),
            evidence: self.evidence.clone(),
        }
    }
}

impl From<CloudError> for Failure {
    fn from(error: CloudError) -> Self {
        Self::errored(error.trouble.reason(), error.message).with_evidence(error.evidence)
    }
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Self {
        Self::errored("history", error.to_string())
    }
}

impl From<BuilderError> for Failure {
    fn from(error: BuilderError) -> Self {
        let failure = if error.image_at_fault {
            Self::failed(error.reason, error.message)
        } else {
            Self::errored(error.reason, error.message)
        };
        failure.with_evidence(error.evidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_long_evidence_stays() {
        let long = format!("{}é the reason", "é".repeat(EVIDENCE_LIMIT));
        let failure = Failure::errored("x", "y").with_evidence(long);
        assert!(failure.evidence.len() <= EVIDENCE_LIMIT);
        assert!(failure.evidence.ends_with("the reason"));
    }
}
