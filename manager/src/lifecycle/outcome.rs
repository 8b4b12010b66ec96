//! What the ends of a build's trials say of the build. Pure.

use image_manager_proto::v1::{self, Verdict};

use super::failure::Failure;
use super::trial::Ended;

/// What comes of a build.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    /// Why it did not pass.
    pub(super) failure: Option<v1::Failure>,
    /// One line for people, of the stage that was the last.
    pub(super) detail: String,
}

impl Outcome {
    /// Of a build whose own stage went wrong.
    pub(super) fn of(failure: &Failure, stage: &str) -> Self {
        Self {
            verdict: failure.verdict(),
            failure: Some(failure.to_message(stage)),
            detail: failure.message.clone(),
        }
    }

    /// Whether this stage of the build's own is the one that went wrong.
    pub(super) fn failed_in(&self, stage: &str) -> bool {
        self.failure.as_ref().is_some_and(|failure| failure.stage == stage)
    }
}

/// A build passes when every required trial passed, fails when one failed, and errors when one errored and none failed.
/// One that somebody cancelled has no verdict unless a trial had failed by then.
pub(super) fn sum_up(trials: &[Ended]) -> Outcome {
    let required = || trials.iter().filter(|trial| trial.required);
    let worst = [Verdict::Failed, Verdict::Unspecified, Verdict::Errored]
        .into_iter()
        .find_map(|verdict| required().find(|trial| trial.verdict == verdict));
    let Some(worst) = worst else {
        return Outcome { verdict: Verdict::Passed, failure: None, detail: detail(trials) };
    };
    let failure = worst.failure.clone().map(|mut failure| {
        if trials.len() > 1 {
            failure.message = format!("target {}: {}", worst.target, failure.message);
        }
        failure
    });
    Outcome { verdict: worst.verdict, failure, detail: detail(trials) }
}

fn detail(trials: &[Ended]) -> String {
    match trials {
        [only] => only.detail.clone(),
        several => {
            let passed = several.iter().filter(|trial| trial.verdict == Verdict::Passed).count();
            format!("{passed} of {} trials passed", several.len())
        }
    }
}
