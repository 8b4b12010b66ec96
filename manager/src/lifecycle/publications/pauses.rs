//! When a copy that failed is made again: each attempt may move a whole image through a cloud that cannot keep it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock;
use crate::history::Handover;

/// Pause after the first failure; it doubles. Less than that between two looks of the reconciler, so that none is missed.
const FIRST: Duration = Duration::from_mins(4);
/// Longest pause.
const LONGEST: Duration = Duration::from_hours(2);

/// The changes whose copies have failed, until they are over or this process ends.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    /// How often, and when last. By number and time of each change: numbers are used again.
    failed: Mutex<BTreeMap<(i64, i64), (u32, Instant)>>,
}

impl Pauses {
    /// Of all changes that take a copy, those whose turn it is. Others are over, and forgotten.
    pub(super) fn due(&self, mut copied: Vec<Handover>) -> Vec<Handover> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let open: BTreeSet<_> = copied.iter().map(key).collect();
        failed.retain(|change, _| open.contains(change));
        copied.retain(|change| {
            let last = failed.get(&key(change));
            last.is_none_or(|(times, at)| at.elapsed() >= clock::pause(pause_after(*times)))
        });
        copied
    }

    /// The copy of a change has failed, and is made again.
    pub(super) fn failed(&self, change: &Handover) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let (times, at) = failed.entry(key(change)).or_insert_with(|| (0, Instant::now()));
        *times = times.saturating_add(1);
        *at = Instant::now();
    }
}

fn key(change: &Handover) -> (i64, i64) {
    (change.id, change.at_ms)
}

/// How long after so many failures.
fn pause_after(times: u32) -> Duration {
    clock::doubled(FIRST, times, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Change, NewHandover};

    #[test]
    fn pauses_double_up_to_a_bound() {
        let minutes = [1, 2, 3, 5, 6, 40].map(|times| pause_after(times).as_secs() / 60);
        assert_eq!(minutes, [4, 8, 16, 64, 120, 120]);
    }

    #[test]
    fn a_change_that_has_failed_waits_and_no_other_does() {
        let change = |id, at_ms| Handover {
            id,
            what: NewHandover {
                name: "stable".to_owned(),
                cloud: "lab".to_owned(),
                change: Change::Promoted,
                to_build: Some("01a".to_owned()),
                revoked: None,
                why: String::new(),
                copied: true,
            },
            principal: String::new(),
            copy: None,
            giving: false,
            at_ms,
        };
        let pauses = Pauses::default();
        let (first, second) = (change(1, 7), change(2, 7));
        pauses.failed(&first);
        assert_eq!(pauses.due(vec![first.clone(), second.clone()]), std::slice::from_ref(&second));
        let reused = change(1, 8);
        assert_eq!(pauses.due(vec![reused.clone(), second.clone()]), [reused, second]);
        assert_eq!(pauses.due(vec![first.clone()]), [first], "what was over is forgotten");
    }
}
