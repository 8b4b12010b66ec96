//! Finishing, now and then, what could not be finished in its time: names that were to change, and what builds left
//! behind.
//!
//! In each cloud one thing comes after the other. Clouds go side by side, and one that is still at it when the next
//! look comes is left out of that: a cloud that hangs up to its deadlines, again and again, holds up no other one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::cleaner::{Cleaner, REMOVAL};
use super::ledger::HOST;
use super::naming::Naming;
use super::publications::Publications;
use super::records::Records;
use crate::clock;
use crate::history::LedgerRow;

/// How long what was asked for and never seen is looked for, and how long after the first look.
const LOOKED_FOR: Duration = Duration::from_mins(20);
const AGAIN: Duration = Duration::from_secs(30);
/// In how many clouds one look is at work at once.
const AT_ONCE: usize = 16;

/// Who does that; cheap to clone.
#[derive(Clone)]
pub(super) struct Reconciler {
    records: Records,
    cleaner: Cleaner,
    publications: Publications,
    /// The clouds in which somebody is at work.
    at_work: Arc<Naming>,
}

/// What there is to do in a cloud, or on this host.
#[derive(Default)]
struct Work {
    /// What was asked for and never seen.
    unseen: Vec<LedgerRow>,
    /// What builds have left behind.
    leftover: Vec<LedgerRow>,
}

impl Reconciler {
    pub(super) fn new(records: Records, cleaner: Cleaner, publications: Publications) -> Self {
        Self { records, cleaner, publications, at_work: Arc::default() }
    }

    /// Whoever changes public names.
    pub(super) fn publications(&self) -> &Publications {
        &self.publications
    }

    /// Does what is left to do, but for clouds in which an earlier look is still at work. Returns what is left then.
    pub(super) async fn reconcile(&self) -> Vec<String> {
        let mut left = Vec::new();
        if let Err(error) = self.publications.copy_what_is_left().await {
            left.push(error.to_string());
        }
        let work = self.work(&mut left).await;
        let mut looks = JoinSet::new();
        for (cloud, work) in work {
            let Some(alone) = self.at_work.try_alone(&cloud) else { continue };
            if looks.len() >= AT_ONCE {
                left.extend(next_of(&mut looks).await.unwrap_or_default());
            }
            let reconciler = self.clone();
            looks.spawn(async move {
                let _alone = alone;
                reconciler.one_cloud(&cloud, work).await
            });
        }
        while let Some(of_one) = next_of(&mut looks).await {
            left.extend(of_one);
        }
        left
    }

    /// What there is to do, by cloud. `left` gets what cannot be found out.
    async fn work(&self, left: &mut Vec<String>) -> BTreeMap<String, Work> {
        let history = self.records.history();
        let mut all = BTreeMap::<String, Work>::new();
        match history.clouds_with_names().await {
            Ok(clouds) => all.extend(clouds.into_iter().map(|cloud| (cloud, Work::default()))),
            Err(error) => left.push(error.to_string()),
        }
        let now = clock::now();
        let ended = (now - LOOKED_FOR).timestamp_millis()..(now - AGAIN).timestamp_millis();
        match history.unseen_resources(ended).await {
            Ok(rows) => {
                for row in rows.into_iter().filter(|row| row.cloud != HOST) {
                    all.entry(row.cloud.clone()).or_default().unseen.push(row);
                }
            }
            Err(error) => tracing::warn!("cannot list what was requested and never seen: {error}"),
        }
        match history.leftover_resources().await {
            Ok(rows) => {
                for row in rows {
                    all.entry(row.cloud.clone()).or_default().leftover.push(row);
                }
            }
            Err(error) => left.push(error.to_string()),
        }
        all
    }

    /// All of it in one cloud. Returns what is left.
    async fn one_cloud(&self, cloud: &str, work: Work) -> Vec<String> {
        self.look_again(&work.unseen).await;
        let mut left = self.publications.finish_handovers_in(cloud).await;
        left.extend(self.publications.revoke_what_has_a_name(cloud).await);
        for row in &work.leftover {
            self.records.metrics().leak(row.id);
            match self.cleaner.take_away(row).await {
                Ok(()) => tracing::info!(build = row.build_id, "removed the {} {}", row.kind, row.name),
                Err(why) => left.push(format!("{} {}: {why}", row.kind, row.name)),
            }
        }
        left
    }

    /// A request that was under way when its answer was lost may have had its effect after nothing was found of it. Only
    /// of builds that have ended: in one that goes on, a later attempt asks for things of the same names.
    async fn look_again(&self, rows: &[LedgerRow]) {
        for row in rows {
            match tokio::time::timeout(REMOVAL, self.cleaner.remove(row)).await {
                Ok(Ok(_)) => {}
                Ok(Err(why)) => tracing::warn!("looking for the {} {} once more: {why}", row.kind, row.name),
                Err(_) => tracing::warn!("looking for the {} {} once more: no answer", row.kind, row.name),
            }
        }
    }
}

/// What is left in the next cloud that is done with; `None` when all are.
async fn next_of(looks: &mut JoinSet<Vec<String>>) -> Option<Vec<String>> {
    let done = looks.join_next().await?;
    Some(done.unwrap_or_else(|error| vec![format!("a look at what is left was aborted: {error}")]))
}
