//! What needs somebody's attention: the command line and the pages tell the same.

use image_manager_proto::v1::{self, BuildState};

/// How badly a schedule needs attention; the worst is first in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Attention {
    /// Its newest build that has ended failed: the image is bad.
    Failed,
    /// It errored: nothing is known of the image.
    Errored,
    /// It does not fire by itself.
    Paused,
    /// None.
    No,
}

impl Attention {
    /// Of a schedule whose newest build that has ended is `ended`.
    pub(crate) fn of(ended: Option<&v1::Build>, paused: bool) -> Self {
        match ended.map(v1::Build::state) {
            Some(BuildState::Failed) => Self::Failed,
            Some(BuildState::Errored) => Self::Errored,
            _ if paused => Self::Paused,
            _ => Self::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_comes_first() {
        let ended = |state: BuildState| v1::Build { state: state.into(), ..v1::Build::default() };
        let all = [
            Attention::of(Some(&ended(BuildState::Failed)), true),
            Attention::of(Some(&ended(BuildState::Errored)), false),
            Attention::of(Some(&ended(BuildState::Succeeded)), true),
            Attention::of(Some(&ended(BuildState::Cancelled)), false),
        ];
        assert_eq!(all, [Attention::Failed, Attention::Errored, Attention::Paused, Attention::No]);
        assert!(all.is_sorted() && Attention::of(None, false) == Attention::No);
    }
}
