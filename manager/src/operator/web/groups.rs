//! The groups of the overview: by state, by cloud, or by distribution.

use std::borrow::Cow;
use std::collections::BTreeMap;

use maud::{Markup, html};

use super::choice::{Choice, ROWS};
use super::overview::Standing;
use crate::operator::attention::Attention;
use crate::readiness;

/// What can be grouped by: word and label.
pub(super) const GROUPINGS: [(&str, &str); 4] =
    [("", "state"), ("cloud", "cloud"), ("distribution", "distribution"), ("none", "nothing")];

/// Schedules that belong together, among those that were found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    name: String,
    /// The place of its first schedule.
    pub(super) first: usize,
    count: usize,
    /// How many of them need attention.
    attention: usize,
}

/// Puts schedules that belong together next to each other; the order among them stays. The worst comes first, or the
/// largest.
pub(super) fn arrange(found: &mut [&Standing], grouping: &str) -> Vec<Group> {
    if grouping == "none" {
        return Vec::new();
    }
    let mut counts: BTreeMap<(Option<Attention>, Cow<'_, str>), (usize, usize)> = BTreeMap::new();
    for standing in found.iter() {
        let (count, attention) = counts.entry(group_of(standing, grouping)).or_default();
        *count += 1;
        *attention += usize::from(standing.attention() != Attention::No);
    }
    let mut groups: Vec<_> = counts.into_iter().collect();
    groups
        .sort_by_key(|((attention, name), (count, _))| (*attention, std::cmp::Reverse(*count), name.clone()));
    let places: BTreeMap<_, _> = groups.iter().map(|(key, _)| key.clone()).zip(0_usize..).collect();
    found.sort_by_cached_key(|standing| places.get(&group_of(standing, grouping)).copied());
    let mut first = 0;
    let group = |((_, name), (count, attention)): ((_, Cow<'_, str>), _)| {
        let group = Group { name: name.into_owned(), first, count, attention };
        first += count;
        group
    };
    let groups: Vec<Group> = groups.into_iter().map(group).collect();
    // One that holds all of them says nothing.
    if groups.len() > 1 { groups } else { Vec::new() }
}

/// What a schedule belongs to; what comes first in order comes first on the page.
fn group_of<'a>(standing: &'a Standing, grouping: &str) -> (Option<Attention>, Cow<'a, str>) {
    let schedule = &standing.schedule;
    match grouping {
        "cloud" => (None, schedule.clouds().join(", ").into()),
        "distribution" => (None, readiness::distribution(schedule).unwrap_or("Other").into()),
        _ => {
            let attention = standing.attention();
            let name = match attention {
                Attention::Failed => "Failed",
                Attention::Errored => "Errored",
                Attention::Paused => "Paused",
                Attention::No => "No attention needed",
            };
            (Some(attention), name.into())
        }
    }
}

/// The heading of the group that begins at a place, and of the one that goes on at the page's first.
pub(super) fn heading(groups: &[Group], place: usize, begins_page: bool) -> Markup {
    let index = groups.iter().rposition(|group| group.first <= place);
    let found = index.and_then(|index| Some((index, groups.get(index)?)));
    let Some((index, group)) = found.filter(|(_, group)| begins_page || group.first == place) else {
        return html! {};
    };
    html! {
        li.group id={ "group-" (index) } data-part={ "group " (group.name) } {
            h2 { (group.name) }
            span.muted {
                (group.count)
                @if group.attention > 0 && group.attention < group.count {
                    ", of which " (group.attention) @if group.attention == 1 { " needs" } @else { " need" } " attention"
                }
            }
        }
    }
}

/// Where each group begins, when that is not all on one page.
pub(super) fn index(groups: &[Group], choice: &Choice) -> Markup {
    let found: usize = groups.iter().map(|group| group.count).sum();
    html! {
        @if found > ROWS {
            nav.groups #groups aria-label="Groups" {
                @for (index, group) in groups.iter().enumerate() {
                    a href={ (choice.address(group.first / ROWS + 1)) "#group-" (index) } { (group.name) " " (group.count) }
                }
            }
        }
    }
}
