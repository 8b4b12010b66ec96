//! `/`: the schedules, how each stands, and when it fires next.

use std::collections::BTreeMap;

use axum::extract::State;
use chrono::{DateTime, Utc};
use image_manager_proto::v1::{self, BuildState};
use maud::{Markup, html};

use super::error::Answer;
use super::layout::{Page, Place};
use super::{Web, figures, marks};
use crate::clock;
use crate::history::ScheduleState;
use crate::lifecycle::state;
use crate::operator::access::{Caller, Role};
use crate::schedules::{Schedule, planner};

/// Builds that a schedule's strip shows.
pub(super) const STRIP: u32 = 20;

/// A schedule and how it stands.
pub(super) struct Standing {
    pub(super) schedule: Schedule,
    pub(super) paused: bool,
    /// The newest builds, newest first, without their parts.
    pub(super) builds: Vec<v1::Build>,
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
        now: DateTime<Utc>,
    ) -> Self {
        let paused = state.as_ref().is_some_and(|state| state.paused);
        let next = if paused { None } else { planner::next_fires(&schedule, now, 1).into_iter().next() };
        let next_reverify = planner::next_reverify(&schedule, now).filter(|_| !paused);
        Self { schedule, paused, builds, next, next_reverify, state }
    }

    pub(super) fn under_way(&self) -> Option<&v1::Build> {
        self.builds.first().filter(|build| !state::is_end(build.state()))
    }

    /// The newest build that has ended.
    fn last(&self) -> Option<&v1::Build> {
        self.builds.iter().find(|build| state::is_end(build.state()))
    }

    fn needs_attention(&self) -> bool {
        self.last().is_some_and(|build| matches!(build.state(), BuildState::Failed | BuildState::Errored))
    }
}

pub(super) async fn page(State(web): State<Web>, caller: Caller) -> Answer {
    let standings = standings(&web).await?;
    let page = Page {
        title: "Schedules".to_owned(),
        place: Place::Schedules,
        events: Some("/events".to_owned()),
        login: caller.is_browser(),
    };
    let body = html! {
        div.page-head {
            h1 { "Schedules" }
            div #tally data-swap { (tally(&standings)) }
        }
        ul.schedules #schedules data-swap {
            @for standing in &standings { li.panel { (one(standing, caller.may(Role::Operator))) } }
        }
        @if standings.is_empty() {
            p.empty.panel { "There is no schedule in " code { (web.manager.schedules().path.display()) } "." }
        }
    };
    Ok(page.render(&body))
}

/// All schedules in the file's order.
async fn standings(web: &Web) -> Result<Vec<Standing>, crate::history::HistoryError> {
    let schedules = web.manager.schedules();
    let names = schedules.schedules.iter().map(|schedule| schedule.name.clone()).collect();
    let history = web.manager.history();
    let mut builds: BTreeMap<_, _> = history.newest_of_each(names, STRIP).await?;
    let mut states = history.schedule_states().await?;
    let now = clock::now();
    let standing = |schedule: &Schedule| {
        let builds = builds.remove(&schedule.name).unwrap_or_default();
        Standing::new(schedule.clone(), states.remove(&schedule.name), builds, now)
    };
    Ok(schedules.schedules.iter().map(standing).collect())
}

fn tally(standings: &[Standing]) -> Markup {
    let busy = standings.iter().filter(|standing| standing.under_way().is_some()).count();
    let bad = standings.iter().filter(|standing| standing.needs_attention()).count();
    let paused = standings.iter().filter(|standing| standing.paused).count();
    html! {
        ul.tally {
            @if busy > 0 { li.busy { (busy) " under way" } }
            @if bad > 0 { li.bad { (bad) @if bad == 1 { " needs attention" } @else { " need attention" } } }
            @if paused > 0 { li { (paused) " paused" } }
            @if busy + bad + paused == 0 && !standings.is_empty() { li.good { "all quiet" } }
        }
    }
}

fn one(standing: &Standing, operator: bool) -> Markup {
    let schedule = &standing.schedule;
    html! {
        div.schedule {
            div.who {
                h2 { a href={ "/schedules/" (schedule.name) } { (schedule.name) } }
                p.muted {
                    (schedule.clouds().join(", "))
                    @if let Some(publish) = &schedule.publish { " · publishes " (publish.name) }
                }
            }
            div.now {
                @if let Some(build) = standing.under_way() {
                    a.plain href={ "/builds/" (build.id) } { (marks::badge(build.state())) }
                    p.muted { "for " (figures::span(build.created_at.as_ref(), None)) }
                } @else if let Some(build) = standing.last() {
                    a.plain href={ "/builds/" (build.id) } { (marks::badge(build.state())) " " (marks::tally(build)) }
                    p.muted {
                        @if !build.reason.is_empty() { (marks::reason(&build.reason)) " · " }
                        (figures::distance(build.finished_at.as_ref().and_then(crate::clock::utc)))
                    }
                } @else {
                    span.none { "never built" }
                }
            }
            div.past { (marks::strip(&standing.builds)) }
            div.next { (next(standing)) }
            div.actions { (actions(standing, "/", operator)) }
        }
    }
}

/// When it fires next.
pub(super) fn next(standing: &Standing) -> Markup {
    let schedule = &standing.schedule;
    html! {
        @let retry = standing.state.as_ref().and_then(|state| state.retry.as_ref());
        @if standing.paused {
            span.badge.paused title=[standing.state.as_ref().map(|state| &state.pause_reason)] { "paused" }
        } @else if let Some(retry) = retry {
            span.when { "tried again " (figures::distance(DateTime::from_timestamp_millis(retry.due_at))) }
        } @else if schedule.cron.is_some() {
            span.when { "next " (figures::distance(standing.next)) }
        }
        p.muted {
            @match &schedule.cron {
                Some(cron) => { code { (cron.source.trim()) } " " (schedule.timezone.name()) },
                None => "on demand only",
            }
        }
        @if standing.next_reverify.is_some() {
            p.muted { "verified again " (figures::distance(standing.next_reverify)) }
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
