//! The checks of this session: which run, and what those gave that have ended. It outlives streams.

use std::collections::HashMap;

use image_manager_proto::v1::{CheckOutcome, CheckRequest, CheckResult};
use tokio::task::{Id, JoinSet};

use crate::checks;
use crate::guest::Guest;

/// Most checks that run in one session. With the bounds of their observations they fit into one message.
pub const MOST_CHECKS: usize = 64;
/// Most requests beyond them that are answered, so that the manager hears of each.
const MOST_REFUSED: usize = 64;

pub(super) struct Board {
    guest: Guest,
    /// In the order of their requests.
    slots: Vec<Slot>,
    tasks: JoinSet<CheckResult>,
    names: HashMap<Id, String>,
}

struct Slot {
    name: String,
    /// None: it runs.
    result: Option<CheckResult>,
}

impl Board {
    pub(super) fn new(guest: Guest) -> Self {
        Self { guest, slots: Vec::new(), tasks: JoinSet::new(), names: HashMap::new() }
    }

    /// Starts a check, unless it runs already or has ended: then its result comes back.
    pub(super) fn request(&mut self, request: CheckRequest) -> Option<CheckResult> {
        if let Some(slot) = self.slots.iter().find(|slot| slot.name == request.name) {
            return slot.result.clone();
        }
        if self.slots.len() >= MOST_CHECKS {
            let refused =
                inconclusive(request.name.clone(), &format!("an agent runs {MOST_CHECKS} checks at most"));
            // In the report, too: without it the manager would wait for its result.
            if self.slots.len() < MOST_CHECKS + MOST_REFUSED {
                self.slots.push(Slot { name: request.name, result: Some(refused.clone()) });
            }
            return Some(refused);
        }
        tracing::info!("check {}", crate::text::one_line(&request.name));
        let name = request.name.clone();
        self.slots.push(Slot { name: name.clone(), result: None });
        let guest = self.guest.clone();
        let task = self.tasks.spawn(async move { checks::run(&request, &guest).await });
        self.names.insert(task.id(), name);
        None
    }

    /// Waits for the next check to end. For ever, when none runs.
    pub(super) async fn ended(&mut self) -> CheckResult {
        let (id, result) = match self.tasks.join_next_with_id().await {
            Some(Ok((id, result))) => (id, Some(result)),
            Some(Err(error)) => (error.id(), None),
            None => std::future::pending().await,
        };
        let name = self.names.remove(&id).unwrap_or_default();
        let result = result.unwrap_or_else(|| inconclusive(name.clone(), "the check broke off"));
        let outcome = result.outcome().as_str_name().trim_start_matches("CHECK_OUTCOME_").to_lowercase();
        tracing::info!("check {}: {outcome}: {}", crate::text::one_line(&name), result.summary);
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.name == name) {
            slot.result = Some(result.clone());
        }
        result
    }

    /// The results that there are.
    pub(super) fn results(&self) -> Vec<CheckResult> {
        self.slots.iter().filter_map(|slot| slot.result.clone()).collect()
    }

    /// Whether so many checks have been requested, and all have ended.
    pub(super) fn is_complete(&self, checks: u32) -> bool {
        let wanted = usize::try_from(checks).unwrap_or(usize::MAX).min(MOST_CHECKS + MOST_REFUSED);
        self.slots.len() >= wanted && self.slots.iter().all(|slot| slot.result.is_some())
    }
}

fn inconclusive(name: String, summary: &str) -> CheckResult {
    CheckResult {
        name,
        outcome: CheckOutcome::Inconclusive.into(),
        summary: summary.to_owned(),
        ..CheckResult::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str) -> CheckRequest {
        CheckRequest { name: name.to_owned(), ..CheckRequest::default() }
    }

    #[tokio::test]
    async fn a_check_runs_once() {
        let mut board = Board::new(Guest::default());
        assert!(board.is_complete(0) && !board.is_complete(1));
        assert!(board.request(request("x")).is_none());
        assert!(board.request(request("x")).is_none());
        assert!(!board.is_complete(1));
        assert_eq!(board.ended().await.name, "x");
        assert!(board.is_complete(1));
        assert_eq!(board.request(request("x")).unwrap().name, "x");
        assert_eq!(board.results().len(), 1);
    }

    #[tokio::test]
    async fn there_is_an_end_to_checks() {
        let mut board = Board::new(Guest::default());
        for number in 0..MOST_CHECKS {
            assert!(board.request(request(&number.to_string())).is_none());
        }
        for number in 0..MOST_REFUSED + 10 {
            let refused = board.request(request(&format!("more{number}"))).unwrap();
            assert_eq!(refused.outcome(), CheckOutcome::Inconclusive);
        }
        for _ in 0..MOST_CHECKS {
            board.ended().await;
        }
        assert!(board.is_complete(1000));
        assert_eq!(board.results().len(), MOST_CHECKS + MOST_REFUSED);
    }

    #[tokio::test]
    async fn a_check_too_many_is_in_the_report() {
        let mut board = Board::new(Guest::default());
        for number in 0..=MOST_CHECKS {
            board.request(request(&number.to_string()));
        }
        let asked = u32::try_from(MOST_CHECKS + 1).unwrap();
        assert!(!board.is_complete(asked));
        for _ in 0..MOST_CHECKS {
            board.ended().await;
        }
        assert!(board.is_complete(asked));
        assert_eq!(board.results().last().unwrap().name, MOST_CHECKS.to_string());
    }
}
