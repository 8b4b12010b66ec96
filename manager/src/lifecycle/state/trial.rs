//! The states of a trial and its legal moves. Pure.
//!
//! ```text
//!  WAITING ─> UPLOADING ─> BOOTING ─> VERIFYING ─> CLEANING_UP ─> SUCCEEDED | FAILED | ERRORED | CANCELLED
//!     ^           └────────────┴───────────────────────^  │
//!     └──────────── another attempt of one that errored ──┘
//! ```
//!
//! Of a verification, whose image is there, WAITING leads to BOOTING. A build that ends before its trials begin ends them SKIPPED.

use image_manager_proto::v1::{TrialState, Verdict};

pub use crate::history::trial_has_ended as is_end;

/// Whether a trial may go from one state to the other.
pub fn may_move(from: TrialState, to: TrialState) -> bool {
    use TrialState as S;
    match (from, to) {
        (S::Waiting, S::Uploading | S::Booting | S::CleaningUp | S::Skipped)
        | (S::Uploading, S::Booting | S::CleaningUp)
        | (S::Booting, S::Verifying | S::CleaningUp)
        | (S::Verifying, S::CleaningUp)
        | (S::CleaningUp, S::Waiting) => true,
        (S::CleaningUp, to) => is_end(to) && to != S::Skipped,
        _ => false,
    }
}

/// The end that a verdict leads to; a trial that was given none was cancelled.
pub fn end_of(verdict: Verdict) -> TrialState {
    match verdict {
        Verdict::Passed => TrialState::Succeeded,
        Verdict::Failed => TrialState::Failed,
        Verdict::Errored => TrialState::Errored,
        Verdict::Unspecified => TrialState::Cancelled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Named as _;
    use proptest::prelude::*;

    proptest! {
        /// Whatever moves are tried, an end is never left, and nothing that may have made something ends without having
        /// been in CLEANING_UP since.
        #[test]
        fn no_end_without_clean_up(tries in prop::collection::vec(0..TrialState::WORDS.len(), 0..60)) {
            let mut state = TrialState::Waiting;
            let mut dirty = false;
            for to in tries.into_iter().map(|index| TrialState::WORDS[index].0) {
                if !may_move(state, to) {
                    continue;
                }
                prop_assert!(!is_end(state), "left the end {state:?} for {to:?}");
                dirty = (dirty || matches!(to, TrialState::Uploading | TrialState::Booting)) && to != TrialState::CleaningUp;
                prop_assert!(!(dirty && is_end(to)));
                state = to;
            }
        }
    }
}
