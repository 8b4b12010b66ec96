//! Which schedules the overview shows, and in which order: what stands in its address.

use std::cmp::Reverse;

use image_manager_proto::v1;
use serde::Deserialize;

use super::address::with_query;
use super::asked::number;
use super::error::Refusal;
use super::groups::{self, GROUPINGS, Group};
use super::overview::Standing;
use crate::clock::milliseconds;
use crate::operator::attention::Attention;

/// Schedules on a page.
pub(super) const ROWS: usize = 50;

/// What can be asked for, with its words.
pub(super) const SHOWS: [(&str, &str); 4] =
    [("", "total"), ("attention", "need attention"), ("under_way", "under way"), ("paused", "paused")];
/// The orders: word and label.
pub(super) const ORDERS: [(&str, &str); 4] =
    [("", "attention needed"), ("name", "name"), ("next", "next build"), ("last", "last build")];

/// What is asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Choice {
    pub(super) show: String,
    pub(super) q: String,
    pub(super) sort: String,
    /// By what they are grouped.
    pub(super) group: String,
    /// The page; the first one is 1, and 0 is it too.
    #[serde(deserialize_with = "number")]
    pub(super) page: usize,
}

impl Choice {
    /// What makes no sense is said, not passed over.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let fields =
            [("show", &self.show, SHOWS), ("sort", &self.sort, ORDERS), ("group", &self.group, GROUPINGS)];
        for (field, value, words) in fields {
            if !words.iter().any(|(word, _)| word == value) {
                let known: Vec<_> =
                    words.iter().map(|(word, _)| *word).filter(|word| !word.is_empty()).collect();
                let known = known.join(", ");
                return Err(Refusal::bad_request(format!("{field}={value}: expected {known}, or no value")));
            }
        }
        Ok(())
    }

    /// Whether it asks for anything that the page does not show by itself.
    pub(super) fn is_any(&self) -> bool {
        self.filters() || !(self.sort.is_empty() && self.group.is_empty())
    }

    /// Whether any schedule may be left out by it.
    fn filters(&self) -> bool {
        !(self.show.is_empty() && self.q.is_empty())
    }

    /// The address of another page of the same.
    pub(super) fn address(&self, page: usize) -> String {
        let page = if page > 1 { page.to_string() } else { String::new() };
        let Self { show, q, sort, group, .. } = self;
        with_query("/", &[("show", show), ("q", q), ("sort", sort), ("group", group), ("page", &page)])
    }

    /// The address of the same search with another tally.
    pub(super) fn showing(&self, show: &str) -> String {
        Self { show: show.to_owned(), ..self.clone() }.address(1)
    }

    /// Those that it is about, in its order, with the groups that they are in.
    pub(super) fn of<'a>(&self, standings: &'a [Standing]) -> (Vec<&'a Standing>, Vec<Group>) {
        let wanted = self.q.trim().to_lowercase();
        let mut found: Vec<&Standing> = standings
            .iter()
            .filter(|standing| is_in(standing, &self.show))
            .filter(|standing| wanted.is_empty() || says(standing, &wanted))
            .collect();
        // Sorts that keep the file's order among equals.
        match self.sort.as_str() {
            "name" => found.sort_by(|a, b| a.schedule.name.cmp(&b.schedule.name)),
            "next" => found.sort_by_key(|standing| (standing.due().is_none(), standing.due())),
            "last" => found.sort_by_key(|standing| Reverse(created(standing.builds.first()))),
            _ => found.sort_by_key(|standing| standing.attention()),
        }
        let groups = groups::arrange(&mut found, &self.group);
        (found, groups)
    }

    /// The rows of the page that is asked for, with the place of the first one.
    pub(super) fn page_of<'a>(&self, found: &[&'a Standing]) -> (usize, Vec<&'a Standing>) {
        let first = self.page.saturating_sub(1).saturating_mul(ROWS);
        (first, found.iter().skip(first).take(ROWS).copied().collect())
    }
}

/// Whether a tally counts a schedule.
pub(super) fn is_in(standing: &Standing, show: &str) -> bool {
    match show {
        "attention" => standing.attention() != Attention::No,
        "under_way" => standing.under_way().is_some(),
        "paused" => standing.paused,
        _ => true,
    }
}

/// Whether a schedule's name, clouds, published name or reason contain a text.
fn says(standing: &Standing, wanted: &str) -> bool {
    let schedule = &standing.schedule;
    let published = schedule.publish.as_ref().map(|publish| publish.name.as_str());
    let reason = standing.told().map(|build| build.reason.as_str());
    schedule
        .clouds()
        .into_iter()
        .chain([schedule.name.as_str()])
        .chain(published)
        .chain(reason)
        .any(|text| text.to_lowercase().contains(wanted))
}

fn created(build: Option<&v1::Build>) -> i64 {
    build.and_then(|build| build.created_at.as_ref()).map(milliseconds).unwrap_or_default()
}
