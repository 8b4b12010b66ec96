//! `/`: the schedules, how each stands, and when it fires next; first those that need attention.

use std::collections::BTreeMap;

use axum::extract::State;
use chrono::{DateTime, Utc};
use image_manager_proto::v1;
use maud::{Markup, html};

use super::asked::Asked;
use super::choice::{Choice, ORDERS, ROWS, SHOWS, is_in};
use super::error::Answer;
use super::groups::{self, GROUPINGS, Group};
use super::layout::{Page, Section};
use super::{Web, banner, figures, marks};
use crate::clock;
use crate::history::ScheduleState;
use crate::lifecycle::state;
use crate::operator::access::{Caller, Role};
use crate::operator::attention::Attention;
use crate::schedules::{Schedule, planner};

/// Builds that a schedule's strip shows.
pub(super) const STRIP: u32 = 20;

/// A schedule and how it stands.
pub(super) struct Standing {
    pub(super) schedule: Schedule,
    pub(super) paused: bool,
    /// The newest builds, newest first, without their parts.
    pub(super) builds: Vec<v1::Build>,
    /// The builds because of which it needs attention, the worst first.
    concerns: Vec<v1::Build>,
    pub(super) next: Option<DateTime<Utc>>,
    /// When its published image is verified again by itself.
    pub(super) next_reverify: Option<DateTime<Utc>>,
    /// What is remembered of it.
    pub(super) state: Option<ScheduleState>,
}

impl Standing {
    pub(super) fn new(
        schedule: Schedule,
        state: Option<ScheduleState>,
        builds: Vec<v1::Build>,
        concerns: Vec<v1::Build>,
        now: DateTime<Utc>,
    ) -> Self {
        let paused = state.as_ref().is_some_and(|state| state.paused);
        let next = if paused { None } else { planner::next_fires(&schedule, now, 1).into_iter().next() };
        let next_reverify = planner::next_reverify(&schedule, now).filter(|_| !paused);
        Self { schedule, paused, builds, concerns, next, next_reverify, state }
    }

    pub(super) fn under_way(&self) -> Option<&v1::Build> {
        self.builds.first().filter(|build| !state::is_end(build.state()))
    }

    /// The build that says how it stands: the worst one because of which it needs attention, else the newest that has
    /// ended.
    pub(super) fn told(&self) -> Option<&v1::Build> {
        let ended = || self.builds.iter().find(|build| state::is_end(build.state()));
        self.concerns.first().or_else(ended)
    }

    /// Whether and how badly it needs attention.
    pub(super) fn attention(&self) -> Attention {
        Attention::of(&self.concerns, self.paused)
    }

    /// When it builds next by itself: the retry that it owes, or its next fire time.
    pub(super) fn due(&self) -> Option<DateTime<Utc>> {
        if self.paused {
            return None;
        }
        let retry = self.state.as_ref().and_then(|state| state.retry.as_ref());
        retry.and_then(|retry| DateTime::from_timestamp_millis(retry.due_at)).or(self.next)
    }
}

pub(super) async fn page(State(web): State<Web>, caller: Caller, Asked(choice): Asked<Choice>) -> Answer {
    choice.check()?;
    let standings = standings(&web).await?;
    let (found, groups) = choice.of(&standings);
    let (first, rows) = choice.page_of(&found);
    let view = View {
        standings: &standings,
        found: found.len(),
        groups,
        first,
        rows,
        operator: caller.may(Role::Operator),
    };
    let body = html! {
        (view.body(&choice))
        @if standings.is_empty() {
            p.empty.panel { "There are no schedules in " code { (web.manager.schedules().path.display()) } "." }
        }
    };
    Ok(layout(caller.is_browser()).render(&body))
}

fn layout(login: bool) -> Page {
    Page {
        title: "Schedules".to_owned(),
        section: Section::Schedules,
        events: Some("/events".to_owned()),
        login,
    }
}

/// All schedules in the file's order.
async fn standings(web: &Web) -> Result<Vec<Standing>, crate::history::HistoryError> {
    let schedules = web.manager.schedules();
    let names: Vec<_> = schedules.schedules.iter().map(|schedule| schedule.name.clone()).collect();
    let history = web.manager.history();
    let mut builds: BTreeMap<_, _> = history.newest_of_each(names.clone(), STRIP).await?;
    let mut concerns = history.needing_attention(names).await?;
    let mut states = history.schedule_states().await?;
    let now = clock::now();
    let standing = |schedule: &Schedule| {
        let builds = builds.remove(&schedule.name).unwrap_or_default();
        let concerns = concerns.remove(&schedule.name).unwrap_or_default();
        Standing::new(schedule.clone(), states.remove(&schedule.name), builds, concerns, now)
    };
    Ok(schedules.schedules.iter().map(standing).collect())
}

/// What the page shows.
struct View<'a> {
    /// All schedules.
    standings: &'a [Standing],
    /// How many fit what is asked for.
    found: usize,
    groups: Vec<Group>,
    /// The place among them of the first row.
    first: usize,
    /// Those on this page.
    rows: Vec<&'a Standing>,
    operator: bool,
}

impl View<'_> {
    fn body(&self, choice: &Choice) -> Markup {
        let back = choice.address(choice.page);
        html! {
            div.page-head {
                h1 { "Schedules" }
                nav #tally aria-label="Filter schedules" { (self.tally(choice)) }
            }
            (search(choice))
            (groups::index(&self.groups, choice))
            // The buttons of all rows belong to these two: a form for each would be half of the page.
            form #act method="post" { input type="hidden" name="next" value=(back); }
            form #build method="post" action="/build" {}
            ul.panel.schedules #schedules {
                @for (place, standing) in (self.first..).zip(&self.rows) {
                    (groups::heading(&self.groups, place, place == self.first))
                    (self.row(standing))
                }
            }
            @if self.found == 0 && !self.standings.is_empty() {
                p.empty.panel { "No schedules match. " a href="/" { "Show all" } }
            } @else if self.rows.is_empty() && self.found > 0 {
                p.empty.panel {
                    "There is no page " (choice.page) ". "
                    a href=(choice.address(self.found.div_ceil(ROWS))) { "Show the last page" }
                }
            }
            (self.pages(choice))
        }
    }

    /// How many there are of each kind; each leads to those.
    fn tally(&self, choice: &Choice) -> Markup {
        let count = |show: &str| self.standings.iter().filter(|standing| is_in(standing, show)).count();
        let tone = |show: &str| match show {
            "attention" => "bad",
            "under_way" => "busy",
            _ => "off",
        };
        let bad = count("attention");
        html! {
            ul.tally {
                @for (show, words) in SHOWS {
                    @let count = count(show);
                    @if show.is_empty() || count > 0 || choice.show == show {
                        li class=(tone(show)) data-part=(words) {
                            a href=(choice.showing(show)) aria-current=[(choice.show == show).then_some("true")] {
                                (count) " " @if show == "attention" && count == 1 { "needs attention" } @else { (words) }
                            }
                        }
                    }
                }
                @if bad == 0 && !banner::any() && !self.standings.is_empty() { li.good { "nothing needs attention" } }
            }
        }
    }

    fn row(&self, standing: &Standing) -> Markup {
        let name = &standing.schedule.name;
        let link = html! { a href={ "/schedules/" (name) } { (name) } };
        html! {
            li.schedule data-part=(name) {
                div.now {
                    @if let Some(build) = standing.under_way().or(standing.told()) {
                        a.plain href={ "/builds/" (build.id) } { (marks::badge(build.state())) }
                        " " (marks::tally(build))
                    } @else {
                        span.none { "never built" }
                    }
                }
                div.who {
                    // Below the heading of a group, where there are groups.
                    @if self.groups.is_empty() { h2 { (link) } } @else { h3 { (link) } }
                    p.why { (Self::said(standing)) }
                }
                div.past { (marks::small_strip(&standing.builds)) }
                div.next { (next(standing)) }
                @if self.operator { div.actions { (buttons(standing)) } }
            }
        }
    }

    /// In one line what there is to know of its newest builds.
    fn said(standing: &Standing) -> Markup {
        let told = standing.told();
        let why =
            |build: &v1::Build| html! { @if build.verification { "verification: " } (marks::why(build)) };
        let bad = told.filter(|build| !build.reason.is_empty());
        html! {
            @if let Some(build) = standing.under_way() {
                "for " (figures::span(build.created_at.as_ref(), None))
                @if let Some(build) = bad { " · previously: " (why(build)) }
            } @else if let Some(build) = told {
                @if bad.is_some() { (why(build)) " · " }
                (figures::distance(build.finished_at.as_ref().and_then(clock::utc)))
            } @else {
                (standing.schedule.clouds().join(", "))
            }
        }
    }

    fn pages(&self, choice: &Choice) -> Markup {
        let (first, last) = (self.first + 1, self.first + self.rows.len());
        html! {
            @if self.found > self.rows.len() && !self.rows.is_empty() {
                nav.pages aria-label="Pages" {
                    span.muted { (first) " to " (last) " of " (self.found) }
                    @if self.first > 0 { a.button href=(choice.address(choice.page.saturating_sub(1))) rel="prev" { "Previous" } }
                    @if last < self.found { a.button href=(choice.address(choice.page.max(1) + 1)) rel="next" { "Next" } }
                }
            }
        }
    }
}

fn search(choice: &Choice) -> Markup {
    html! {
        form.filters method="get" action="/" role="search" {
            @if !choice.show.is_empty() { input type="hidden" name="show" value=(choice.show); }
            label { span { "Search name, cloud, public name or reason" }
                input type="search" name="q" value=(choice.q) maxlength="100";
            }
            label { span { "Sort by" }
                select name="sort" {
                    @for (word, label) in ORDERS { option value=(word) selected[word == choice.sort] { (label) } }
                }
            }
            label { span { "Group by" }
                select name="group" {
                    @for (word, label) in GROUPINGS { option value=(word) selected[word == choice.group] { (label) } }
                }
            }
            button type="submit" { "Apply" }
            @if choice.is_any() { a.quiet href="/" { "Clear" } }
        }
    }
}

/// Build now, pause or resume, by the page's own forms.
fn buttons(standing: &Standing) -> Markup {
    let name = &standing.schedule.name;
    html! {
        @if standing.schedule.cron.is_some() || standing.paused {
            @let (verb, label) = if standing.paused { ("resume", "Resume") } else { ("pause", "Pause") };
            button.small form="act" formaction={ "/schedules/" (name) "/" (verb) } { (label) span.sr-only { " " (name) } }
        }
        @if let Some(build) = standing.under_way() {
            a.button.small href={ "/builds/" (build.id) } { "Watch" span.sr-only { " " (name) } }
        } @else {
            button.small form="build" name="schedule" value=(name) { "Build now" span.sr-only { " " (name) } }
        }
    }
}

/// When it fires next.
fn next(standing: &Standing) -> Markup {
    let schedule = &standing.schedule;
    html! {
        @let retry = standing.state.as_ref().and_then(|state| state.retry.as_ref());
        @if standing.paused {
            span.badge.paused title=[standing.state.as_ref().map(|state| &state.pause_reason)] { "paused" }
        } @else if let Some(retry) = retry {
            span.when { "retry " (figures::due(DateTime::from_timestamp_millis(retry.due_at))) }
        } @else if schedule.cron.is_some() {
            span.when { "next " (figures::due(standing.next)) }
        } @else {
            span.none { "on demand only" }
        }
        @if standing.next_reverify.is_some() {
            p.muted { "next verification " (figures::due(standing.next_reverify)) }
        }
    }
}

/// The button that has the published image booted and asked once more.
pub(super) fn verify_again(schedule: &str) -> Markup {
    html! {
        form method="post" action="/build" {
            input type="hidden" name="schedule" value=(schedule);
            input type="hidden" name="verify" value="true";
            button type="submit" { "Verify again" span.sr-only { " " (schedule) } }
        }
    }
}

/// Build now, pause or resume.
pub(super) fn actions(standing: &Standing, back: &str, operator: bool) -> Markup {
    let name = &standing.schedule.name;
    html! {
        @if operator && (standing.schedule.cron.is_some() || standing.paused) {
            @let (verb, label) = if standing.paused { ("resume", "Resume") } else { ("pause", "Pause") };
            form method="post" action={ "/schedules/" (name) "/" (verb) } {
                input type="hidden" name="next" value=(back);
                button type="submit" { (label) span.sr-only { " " (name) } }
            }
        }
        @if let Some(build) = standing.under_way() {
            a.button.primary href={ "/builds/" (build.id) } { "Watch" span.sr-only { " " (name) } }
        } @else if operator {
            form method="post" action="/build" {
                input type="hidden" name="schedule" value=(name);
                button.primary type="submit" { "Build now" span.sr-only { " " (name) } }
            }
        }
    }
}

#[cfg(test)]
mod tests;
