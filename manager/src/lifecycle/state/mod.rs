//! The states of a build and its legal moves; [`trial`] has those of a trial. Pure: nothing here waits, reads or writes.
//!
//! ```text
//!  QUEUED ─> BUILDING ─> TRYING ─> PUBLISHING ─┐
//!    │          │          │           │       v
//!    │          └──────────┴───────────┴─> CLEANING_UP ─> SUCCEEDED
//!    │                                          │           FAILED
//!    ├─> CANCELLED · ERRORED (nothing was made) └────────>  ERRORED
//!    └─> SKIPPED (nothing has changed)                      CANCELLED
//! ```
//!
//! - A build goes forward one step at a time. From each step, trouble leads to CLEANING_UP.
//! - Only CLEANING_UP leads to an end once anything may have been made.
//! - An end is final.
//! - TRYING leads to CLEANING_UP directly too, when nothing is published.
//! - QUEUED leads to TRYING directly when a published image is verified again: nothing is built.
//!
//! A new state is a value of `BuildState` (or `TrialState`) in `control.proto`, its word in `history/names.rs`,
//! its moves in [`may_move`], and what `lifecycle/recovery.rs` and `lifecycle/resumption.rs` do with a build that
//! was cut off in it.

pub mod trial;

use image_manager_proto::v1::{BuildState, Verdict};

pub use crate::history::build_has_ended as is_end;

/// The states of a build that is under way, in order.
pub const UNDER_WAY: [BuildState; 4] =
    [BuildState::Building, BuildState::Trying, BuildState::Publishing, BuildState::CleaningUp];

/// Whether a build may go from one state to the other.
pub fn may_move(from: BuildState, to: BuildState) -> bool {
    use BuildState as S;
    match (from, to) {
        (S::Queued, S::Building | S::Trying | S::Cancelled | S::Errored | S::Skipped)
        | (S::Building, S::Trying)
        | (S::Trying, S::Publishing)
        | (S::Building | S::Trying | S::Publishing, S::CleaningUp) => true,
        (S::CleaningUp, to) => is_end(to) && to != S::Skipped,
        _ => false,
    }
}

/// The end that a verdict leads to; a build that was given none was cancelled.
pub fn end_of(verdict: Verdict) -> BuildState {
    match verdict {
        Verdict::Passed => BuildState::Succeeded,
        Verdict::Failed => BuildState::Failed,
        Verdict::Errored => BuildState::Errored,
        Verdict::Unspecified => BuildState::Cancelled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Named as _;
    use proptest::prelude::*;

    fn any_state() -> impl Strategy<Value = BuildState> {
        (0..BuildState::WORDS.len()).prop_map(|index| BuildState::WORDS[index].0)
    }

    proptest! {
        /// Whatever moves are tried, an end is never left, and nothing that may have made something ends
        /// without having been in CLEANING_UP.
        #[test]
        fn no_end_without_clean_up(tries in prop::collection::vec(any_state(), 0..60)) {
            let mut state = BuildState::Queued;
            let mut began = false;
            let mut cleaned = false;
            for to in tries {
                if !may_move(state, to) {
                    continue;
                }
                prop_assert!(!is_end(state), "left the end {state:?} for {to:?}");
                began |= matches!(to, BuildState::Building | BuildState::Trying);
                cleaned |= to == BuildState::CleaningUp;
                if is_end(to) {
                    prop_assert!(cleaned || !began);
                    prop_assert!(to != BuildState::Succeeded || cleaned);
                    prop_assert!(to != BuildState::Skipped || !began);
                }
                state = to;
            }
        }

        /// No state is entered twice: no move leads back.
        #[test]
        fn no_way_back(tries in prop::collection::vec(any_state(), 0..60)) {
            let mut seen = vec![BuildState::Queued];
            let mut state = BuildState::Queued;
            for to in tries {
                if may_move(state, to) {
                    prop_assert!(!seen.contains(&to));
                    seen.push(to);
                    state = to;
                }
            }
        }
    }
}
