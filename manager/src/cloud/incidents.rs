//! What went wrong on the way and was mended: a history should say so even of a build that passed.
//!
//! Whoever drives a build watches its work ([`Incidents::watch`]); whatever runs in that task may [`note`].

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

/// Most incidents that are kept between two takings, and the longest text of one, in characters.
const MOST: usize = 12;
const LONGEST: usize = 240;

tokio::task_local! {
    static WATCHING: Incidents;
}

/// Collects incidents.
#[derive(Debug, Clone, Default)]
pub struct Incidents(Arc<Mutex<Collected>>);

#[derive(Debug, Default)]
struct Collected {
    /// Each with how often it happened in a row.
    kept: Vec<(String, u32)>,
    /// Those beyond the limit.
    more: u32,
}

impl Incidents {
    /// Runs work whose incidents are to be collected here.
    pub fn watch<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        WATCHING.scope(self.clone(), work)
    }

    /// What has happened since this was last asked, in one line; empty when nothing has.
    pub fn take(&self) -> String {
        let Collected { kept, more } =
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let times = |times: u32| if times > 1 { format!(" ({times} times)") } else { String::new() };
        let mut lines: Vec<_> =
            kept.into_iter().map(|(what, often)| format!("{what}{}", times(often))).collect();
        if more > 0 {
            lines.push(format!("and {more} more incidents"));
        }
        lines.join("; ")
    }

    /// A stage's detail with what has happened meanwhile.
    pub fn append_to(&self, detail: &str) -> String {
        match (detail, self.take()) {
            (detail, happened) if happened.is_empty() => detail.to_owned(),
            ("", happened) => format!("on the way: {happened}"),
            (detail, happened) => format!("{detail}; on the way: {happened}"),
        }
    }

    fn add(&self, what: String) {
        let mut collected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = collected.kept.len() >= MOST;
        match collected.kept.last_mut() {
            Some((last, often)) if *last == what => *often += 1,
            _ if full => collected.more += 1,
            _ => collected.kept.push((what, 1)),
        }
    }
}

/// Notes an incident for whoever watches this task; without anybody it is only logged.
pub fn note(what: &str) {
    tracing::warn!("{what}");
    let short = match what.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", what.get(..end).unwrap_or_default()),
        None => what.to_owned(),
    };
    // Nobody watches: a request outside of a build.
    let _ = WATCHING.try_with(|incidents| incidents.add(short));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn incidents_are_kept_for_who_watches() {
        let incidents = Incidents::default();
        note("nobody watches");
        let work = async {
            note("a");
            note("b");
            note("b");
            7
        };
        assert_eq!(incidents.watch(work).await, 7);
        assert_eq!(incidents.append_to("done"), "done; on the way: a; b (2 times)");
        assert_eq!(incidents.append_to("done"), "done");
        incidents
            .watch(async { (0..100).for_each(|number| note(&format!("{number} {}", "é".repeat(1000)))) })
            .await;
        let said = incidents.take();
        assert!(said.ends_with("; and 88 more incidents") && said.chars().count() < MOST * (LONGEST + 10));
    }
}
