//! Why a build did not pass.

use image_manager_proto::v1;

use crate::builder::BuilderError;
use crate::cloud::CloudError;
use crate::history::HistoryError;
use crate::reason::Reason;

/// Longest evidence that is kept, in bytes; of a longer one the end stays, where the reason is.
const EVIDENCE_LIMIT: usize = 32 * 1024;
/// Longest message that is kept, in bytes; of a longer one the beginning stays. It may quote a guest or a cloud, and
/// is in every list of builds.
const MESSAGE_LIMIT: usize = 8 * 1024;

/// A build did not pass: why, and what proves it.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Why; with it the verdict.
    pub reason: Reason,
    /// A sentence for people.
    pub message: String,
    /// What proves it.
    pub evidence: String,
}

impl Failure {
    /// A failure without evidence, and with the first 8 KiB of the message.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: beginning_of(message.into()), evidence: String::new() }
    }

    /// Somebody ended the build.
    pub fn cancelled() -> Self {
        Self::new(Reason::Cancelled, "cancelled on request")
    }

    /// Failed, errored, or unspecified for a build that was ended on request.
    pub fn verdict(&self) -> v1::Verdict {
        self.reason.verdict()
    }

    /// The same failure with evidence, of which the last 32 KiB are kept.
    #[must_use]
    pub fn with_evidence(mut self, evidence: impl Into<String>) -> Self {
        end_of(&evidence.into(), EVIDENCE_LIMIT).clone_into(&mut self.evidence);
        self
    }

    /// The same failure with two pieces of evidence, each under its title, of which the last 16 KiB each are kept.
    #[must_use]
    pub fn with_both(self, pieces: [(&str, &str); 2]) -> Self {
        let half = EVIDENCE_LIMIT / 2 - 128;
        let pieces = pieces.map(|(title, evidence)| format!("{title}:\n{}", end_of(evidence, half)));
        self.with_evidence(pieces.join("\n\n"))
    }

    /// As the interface has it.
    pub fn to_message(&self, stage: &str) -> v1::Failure {
        v1::Failure {
            reason: self.reason.word().to_owned(),
            stage: stage.to_owned(),
            // It may have got longer since.
            message: beginning_of(self.message.clone()),
            evidence: self.evidence.clone(),
            hint: self.reason.hint().to_owned(),
        }
    }
}

fn beginning_of(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(MESSAGE_LIMIT));
    message
}

/// The last bytes of a text, at most so many.
fn end_of(text: &str, limit: usize) -> &str {
    let mut start = text.len().saturating_sub(limit);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text.get(start..).unwrap_or_default().trim_end()
}

impl From<CloudError> for Failure {
    fn from(error: CloudError) -> Self {
        Self::new(error.trouble.reason(), error.message).with_evidence(error.evidence)
    }
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Self {
        Self::new(Reason::History, error.to_string())
    }
}

impl From<BuilderError> for Failure {
    fn from(error: BuilderError) -> Self {
        Self::new(error.reason, error.message).with_evidence(error.evidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_long_evidence_stays() {
        let long = format!("{}é the reason", "é".repeat(EVIDENCE_LIMIT));
        let failure = Failure::new(Reason::AgentLost, "y").with_evidence(long);
        assert!(failure.evidence.len() <= EVIDENCE_LIMIT);
        assert!(failure.evidence.ends_with("the reason"));
    }

    #[test]
    fn the_beginning_of_a_long_message_stays() {
        let long = format!("the reason: x{}", "é".repeat(MESSAGE_LIMIT));
        let mut failure = Failure::new(Reason::AgentLost, long.clone());
        assert!(failure.message.len() <= MESSAGE_LIMIT, "{}", failure.message.len());
        failure.message += &long;
        let message = failure.to_message("verifying").message;
        assert!(message.len() <= MESSAGE_LIMIT, "{}", message.len());
        assert!(message.starts_with("the reason: xé"), "{message}");
    }
}
