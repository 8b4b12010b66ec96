//! What needs somebody's attention: the command line and the pages tell the same.

use image_manager_proto::v1::{self, BuildState};

/// How badly a schedule needs attention; the worst is first in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Attention {
    /// A build or a verification failed, and none passed since: the image is bad.
    Failed,
    /// One errored: nothing is known of the image.
    Errored,
    /// It does not fire by itself.
    Paused,
    /// None.
    No,
}

impl Attention {
    /// Of a schedule with these builds because of which it needs attention, the worst first.
    pub(crate) fn of(concerns: &[v1::Build], paused: bool) -> Self {
        match concerns.first().map(v1::Build::state) {
            Some(BuildState::Failed) => Self::Failed,
            Some(_) => Self::Errored,
            None if paused => Self::Paused,
            None => Self::No,
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
            Attention::of(&[ended(BuildState::Failed), ended(BuildState::Errored)], true),
            Attention::of(&[ended(BuildState::Errored)], false),
            Attention::of(&[], true),
            Attention::of(&[], false),
        ];
        assert_eq!(all, [Attention::Failed, Attention::Errored, Attention::Paused, Attention::No]);
        assert!(all.is_sorted());
    }
}
