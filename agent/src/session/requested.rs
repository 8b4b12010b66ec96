//! The checks of this session: which run, and what those gave that have ended. It outlives streams.

use std::collections::HashMap;

use image_manager_proto::v1::{CheckOutcome, CheckRequest, CheckResult};
use tokio::task::{Id, JoinSet};

use crate::checks::Arrival;
use crate::checks::reboot::{self, Kept};
use crate::guest::Guest;
use crate::{checks, text};

/// Most checks that run in one session. With the bounds of their observations they fit into one message.
pub const MOST_CHECKS: usize = 64;
/// Most requests beyond them that are answered, so that the manager hears of each.
const MOST_REFUSED: usize = 64;

pub(super) struct RequestedChecks {
    guest: Guest,
    reboot: Reboot,
    /// In the order of their requests.
    slots: Vec<Slot>,
    tasks: JoinSet<CheckResult>,
    names: HashMap<Id, String>,
}

struct Slot {
    name: String,
    /// None: it runs, or waits for the others.
    result: Option<CheckResult>,
    /// None: the manager of this boot has not asked for it yet.
    request: Option<(CheckRequest, Arrival)>,
}

/// How far the check `reboot` is. It waits until all others have ended.
enum Reboot {
    /// Nobody has asked for it, or it is over, or its first half is under way.
    NotDue,
    /// It is yet to be made.
    Wanted(CheckRequest),
    /// It has been made, and nobody has asked for its result yet.
    Made(Box<Kept>),
    /// It has been made, and what came of it is yet to be looked at.
    ToBeJudged(CheckRequest, Box<Kept>),
}

impl RequestedChecks {
    pub(super) fn new(guest: Guest) -> Self {
        let (slots, tasks, names) = (Vec::new(), JoinSet::new(), HashMap::new());
        Self { guest, reboot: Reboot::NotDue, slots, tasks, names }
    }

    /// One that goes on where the agent was before this process: `kept` is what it has kept for a reboot.
    pub(super) fn with(guest: Guest, kept: Option<Kept>) -> Self {
        let mut checks = Self::new(guest);
        let Some(kept) = kept else { return checks };
        let known = |result: &CheckResult| Slot {
            name: result.name.clone(),
            result: Some(result.clone()),
            request: None,
        };
        checks.slots = kept.results.iter().map(known).collect();
        // Otherwise the server has not gone down yet, and is told once more.
        if kept.is_of_an_earlier_boot(&checks.guest) {
            checks.guest = checks.guest.booted_first_at(kept.booted_at());
            checks.reboot = Reboot::Made(Box::new(kept));
        }
        checks
    }

    /// Starts a check, unless it runs already or has ended: then its result comes back.
    pub(super) fn request(&mut self, request: CheckRequest, arrival: Arrival) -> Option<CheckResult> {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.name == request.name) {
            slot.request.get_or_insert((request, arrival));
            return slot.result.clone();
        }
        if self.slots.len() >= MOST_CHECKS {
            let refused =
                inconclusive(request.name.clone(), &format!("an agent runs at most {MOST_CHECKS} checks"));
            // In the report, too: without it the manager would wait for its result.
            if self.slots.len() < MOST_CHECKS + MOST_REFUSED {
                self.slots.push(Slot {
                    name: request.name.clone(),
                    result: Some(refused.clone()),
                    request: Some((request, arrival)),
                });
            }
            return Some(refused);
        }
        let asked = Some((request.clone(), arrival));
        let slot = Slot { name: request.name.clone(), result: None, request: asked };
        self.slots.push(slot);
        if reboot::is_asked_by(&request) {
            return self.put_off(request);
        }
        tracing::info!("check {}", text::one_line(&request.name));
        let (name, guest) = (request.name.clone(), self.guest.clone());
        self.run(name, async move { checks::run(&request, arrival, &guest).await });
        None
    }

    /// A reboot ends everything else: it comes last.
    fn put_off(&mut self, request: CheckRequest) -> Option<CheckResult> {
        self.reboot = match std::mem::replace(&mut self.reboot, Reboot::NotDue) {
            Reboot::NotDue => Reboot::Wanted(request),
            Reboot::Made(kept) => Reboot::ToBeJudged(request, kept),
            before @ (Reboot::Wanted(_) | Reboot::ToBeJudged(..)) => {
                self.reboot = before;
                let refused = inconclusive(
                    request.name.clone(),
                    "a server reboots only once: another check has asked for it",
                );
                if let Some(slot) = self.slots.last_mut() {
                    slot.result = Some(refused.clone());
                }
                return Some(refused);
            }
        };
        None
    }

    fn run(&mut self, name: String, check: impl Future<Output = CheckResult> + Send + 'static) {
        let task = self.tasks.spawn(check);
        self.names.insert(task.id(), name);
    }

    /// Whether the server should reboot now: so many checks have been requested, and all others have ended.
    pub(super) fn is_to_reboot(&self, checks: u32) -> bool {
        matches!(self.reboot, Reboot::Wanted(_)) && self.only_the_reboot_is_left(checks)
    }

    fn only_the_reboot_is_left(&self, checks: u32) -> bool {
        let open = self.slots.iter().filter(|slot| slot.result.is_none()).count();
        open == 1 && self.slots.len() >= wanted(checks)
    }

    /// Has the server reboot. `key`: what the agent's key is made from.
    pub(super) fn order_reboot(&mut self, build: &str, key: &str) {
        let Reboot::Wanted(request) = std::mem::replace(&mut self.reboot, Reboot::NotDue) else { return };
        let keep =
            Kept { build: build.to_owned(), key: key.to_owned(), results: self.results(), ..Kept::default() };
        let (name, guest) = (request.name.clone(), self.guest.clone());
        self.run(name, reboot::order(request, guest, keep));
    }

    /// Once all requests have come again after a reboot: looks at what came of it.
    pub(super) fn judge_reboot(&mut self, checks: u32) {
        let asked = self.slots.iter().all(|slot| slot.request.is_some());
        if !matches!(self.reboot, Reboot::ToBeJudged(..)) || !asked || !self.only_the_reboot_is_left(checks) {
            return;
        }
        let before = std::mem::replace(&mut self.reboot, Reboot::NotDue);
        let Reboot::ToBeJudged(request, kept) = before else { return };
        let (name, guest) = (request.name.clone(), self.guest.clone());
        let requests = self.slots.iter().filter_map(|slot| slot.request.clone()).collect();
        self.run(name, reboot::come_back(request, guest, *kept, requests));
    }

    /// Waits for the next check to end. For ever, when none runs.
    pub(super) async fn ended(&mut self) -> CheckResult {
        let (id, result) = match self.tasks.join_next_with_id().await {
            Some(Ok((id, result))) => (id, Some(result)),
            Some(Err(error)) => (error.id(), None),
            None => std::future::pending().await,
        };
        let name = self.names.remove(&id).unwrap_or_default();
        let result = result.unwrap_or_else(|| inconclusive(name.clone(), "the check crashed"));
        let outcome = checks::word(result.outcome());
        tracing::info!("check {}: {outcome}: {}", text::one_line(&name), result.summary);
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
        self.slots.len() >= wanted(checks) && self.slots.iter().all(|slot| slot.result.is_some())
    }
}

/// How many checks of those that the manager has named are waited for.
fn wanted(checks: u32) -> usize {
    usize::try_from(checks).unwrap_or(usize::MAX).min(MOST_CHECKS + MOST_REFUSED)
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

    fn now() -> Arrival {
        Arrival::now(tokio::time::Instant::now())
    }

    #[tokio::test]
    async fn a_check_runs_once() {
        let mut checks = RequestedChecks::new(Guest::default());
        assert!(checks.is_complete(0) && !checks.is_complete(1));
        assert!(checks.request(request("x"), now()).is_none());
        assert!(checks.request(request("x"), now()).is_none());
        assert!(!checks.is_complete(1));
        assert_eq!(checks.ended().await.name, "x");
        assert!(checks.is_complete(1));
        assert_eq!(checks.request(request("x"), now()).unwrap().name, "x");
        assert_eq!(checks.results().len(), 1);
    }

    #[tokio::test]
    async fn there_is_an_end_to_checks() {
        let mut checks = RequestedChecks::new(Guest::default());
        for number in 0..MOST_CHECKS {
            assert!(checks.request(request(&number.to_string()), now()).is_none());
        }
        for number in 0..MOST_REFUSED + 10 {
            let refused = checks.request(request(&format!("more{number}")), now()).unwrap();
            assert_eq!(refused.outcome(), CheckOutcome::Inconclusive);
        }
        for _ in 0..MOST_CHECKS {
            checks.ended().await;
        }
        assert!(checks.is_complete(1000));
        assert_eq!(checks.results().len(), MOST_CHECKS + MOST_REFUSED);
    }

    #[tokio::test]
    async fn a_check_too_many_is_in_the_report() {
        let mut checks = RequestedChecks::new(Guest::default());
        for number in 0..=MOST_CHECKS {
            checks.request(request(&number.to_string()), now());
        }
        let asked = u32::try_from(MOST_CHECKS + 1).unwrap();
        assert!(!checks.is_complete(asked));
        for _ in 0..MOST_CHECKS {
            checks.ended().await;
        }
        assert!(checks.is_complete(asked));
        assert_eq!(checks.results().last().unwrap().name, MOST_CHECKS.to_string());
    }
}
