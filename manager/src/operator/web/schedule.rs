//! `/schedules/NAME`: what a schedule is, how it stands, and how it went.

use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use image_manager_proto::{percent, v1};
use maud::{Markup, html};
use serde::Deserialize;

use super::asked::Asked;
use super::error::{Answer, Refusal};
use super::layout::{Page, Section};
use super::overview::{self, STRIP, Standing};
use super::{Web, builds, figures, images, marks, trends, zone};
use crate::clock;
use crate::history::{BuildFilter, PublicationFilter, ReportQuery};
use crate::lifecycle::TriggerError;
use crate::operator::access::{Caller, Role};
use crate::schedules::{OnFailure, Schedule, Target, planner};

/// Fire times that are told.
const FIRES: usize = 3;
/// Builds in the list.
const ROWS: u32 = 10;
/// Images of the name that are looked at.
const PUBLISHED: u32 = 1000;
/// Points of the charts.
const POINTS: u32 = 60;
/// The ranges that can be asked for: name, words, days.
const RANGES: [(&str, &str, i64); 3] =
    [("30d", "30 days", 30), ("90d", "90 days", 90), ("365d", "1 year", 365)];

/// Over which time.
#[derive(Debug, Deserialize)]
pub(super) struct Parameters {
    #[serde(default)]
    since: String,
}

pub(super) async fn page(
    State(web): State<Web>,
    caller: Caller,
    Path(name): Path<String>,
    Asked(parameters): Asked<Parameters>,
) -> Answer {
    let history = web.manager.history();
    let (range, _, days) = RANGES
        .into_iter()
        .find(|(range, _, _)| *range == parameters.since || parameters.since.is_empty())
        .ok_or_else(|| {
            Refusal::bad_request(format!("no range {:?}: expected 30d, 90d or 365d", parameters.since))
        })?;
    let filter =
        BuildFilter { schedule: Some(name.clone()), limit: ROWS, bare: true, ..BuildFilter::default() };
    let newest = history.builds(filter).await?;
    let schedule = match web.manager.schedule(&name) {
        Ok(schedule) => Some(schedule),
        // One that is no longer in the file has its history all the same.
        Err(TriggerError::NoSchedule(_)) if !newest.builds.is_empty() => None,
        Err(error) => return Err(error.into()),
    };
    let since_ms = Some(clock::now().timestamp_millis() - days * 86_400_000);
    let query = ReportQuery { schedule: Some(name.clone()), since_ms, until_ms: None, points: POINTS };
    let report = history.report(query).await?.schedules.into_iter().next();
    let standing = match schedule {
        Some(schedule) => Some(standing(&web, schedule).await?),
        None => None,
    };
    let published = match &standing {
        Some(standing) => published(&web, &standing.schedule).await?,
        None => Vec::new(),
    };
    let page = Page {
        title: name.clone(),
        section: Section::Schedules,
        events: Some("/events".to_owned()),
        login: caller.is_browser(),
    };
    let body = html! {
        (head(&name, standing.as_ref(), caller.may(Role::Operator)))
        @if let Some(standing) = &standing {
            (trouble(standing)) (facts(standing))
            (publication(standing, &published, caller.may(Role::Operator)))
        }
        section.panel #trends {
            div.panel-head {
                h2 { "Trends" }
                (zone::note())
                span.spacer {}
                nav.tabs aria-label="Time range" {
                    @for (word, words, _) in RANGES {
                        a href={ "/schedules/" (name) "?since=" (word) } aria-current=[(word == range).then_some("true")] { (words) }
                    }
                }
            }
            @match &report {
                Some(report) => (trends::all(report)),
                None => p.hint { "No builds ended in this time range." },
            }
        }
        section.panel #builds {
            div.panel-head {
                h2 { "Recent builds" }
                span.spacer {}
                a href={ "/builds?schedule=" (name) } { "All builds" }
            }
            @if newest.builds.is_empty() { p.empty { "Nothing has been built yet." } }
            @else { (builds::table(&newest.builds)) }
        }
    };
    Ok(page.render(&body))
}

async fn standing(web: &Web, schedule: Schedule) -> Result<Standing, Refusal> {
    let history = web.manager.history();
    let state = history.schedule_states().await?.remove(&schedule.name);
    let mut newest = history.newest_of_each(vec![schedule.name.clone()], STRIP).await?;
    let builds = newest.remove(&schedule.name).unwrap_or_default();
    let mut needing = history.needing_attention(vec![schedule.name.clone()]).await?;
    let concerns = needing.remove(&schedule.name).unwrap_or_default();
    Ok(Standing::new(schedule, state, builds, concerns, clock::now()))
}

/// The images that have the schedule's name, one a cloud.
async fn published(web: &Web, schedule: &Schedule) -> Result<Vec<v1::Publication>, Refusal> {
    let Some(publish) = &schedule.publish else { return Ok(Vec::new()) };
    let filter = PublicationFilter {
        name: Some(publish.name.clone()),
        limit: PUBLISHED,
        ..PublicationFilter::default()
    };
    let mut rows = web.manager.history().publications(filter).await?.publications;
    rows.retain(|row| row.state() == v1::PublicationState::Current && schedule.is_on(&row.cloud));
    Ok(rows)
}

/// What is published of the schedule, how that was verified last and when it is again.
fn publication(standing: &Standing, published: &[v1::Publication], operator: bool) -> Markup {
    let schedule = &standing.schedule;
    let Some(publish) = &schedule.publish else { return html! {} };
    html! {
        section.panel #published {
            div.panel-head {
                h2 { "Published as " (publish.name) }
                span.spacer {}
                @if operator && !published.is_empty() && standing.under_way().is_none() {
                    (overview::verify_again(&schedule.name))
                }
                a href="/images" { "All images" }
            }
            div.published {
                @for image in published {
                    p {
                        (image.cloud) ": build "
                        a href={ "/builds/" (image.build_id) } { (figures::short(&image.build_id)) }
                        ", last verification: " (images::verified(image))
                    }
                }
                @if published.is_empty() { p { "Nothing has been published yet." } }
                (reverified(standing))
            }
        }
    }
}

/// When, and what becomes of the name.
fn reverified(standing: &Standing) -> Markup {
    let schedule = &standing.schedule;
    let after = match schedule.on_failure {
        OnFailure::RollBack => {
            "If verification fails, the name goes back to the good image that had it last."
        }
        OnFailure::Keep => "If verification fails, the image keeps its name.",
    };
    html! {
        p.muted {
            @match &schedule.reverify {
                Some(reverify) => {
                    "Verified again at " code { (reverify.source.trim()) } " " (schedule.timezone.name())
                    @if standing.next_reverify.is_some() { ", next " (figures::due(standing.next_reverify)) }
                },
                None => "Verified again on demand only",
            }
            ". " (after)
        }
    }
}

fn head(name: &str, standing: Option<&Standing>, operator: bool) -> Markup {
    html! {
        div.page-head #head {
            div {
                p.crumbs { a href="/" { "Schedules" } " / " (name) }
                h1 {
                    (name)
                    @if let Some(build) = standing.and_then(Standing::under_way) {
                        a.plain href={ "/builds/" (build.id) } { (marks::badge(build.state())) }
                    }
                    @if standing.is_some_and(|standing| standing.paused) { span.badge.paused { "paused" } }
                }
                @if standing.is_none() { p.muted { "This schedule is no longer in the schedules file." } }
            }
            @if let Some(standing) = standing {
                div.actions { (overview::actions(standing, &format!("/schedules/{name}"), operator)) }
            }
        }
    }
}

/// What somebody should know: why it is paused, what it owes.
fn trouble(standing: &Standing) -> Markup {
    let Some(state) = &standing.state else { return html! {} };
    html! {
        div #trouble {
            @if state.paused {
                p.notice-line.warn {
                    strong { "Paused" } " since " (figures::exact(state.paused_at.and_then(DateTime::from_timestamp_millis)))
                    @if !state.pause_reason.is_empty() { ": " (state.pause_reason) }
                    @if state.pause_reason == "paused on request" && !state.paused_by.is_empty() {
                        ", by " (state.paused_by)
                    }
                }
            } @else if state.failures > 1 {
                p.notice-line.warn { (state.failures) " builds in a row did not pass." }
            }
            @if let Some(retry) = &state.retry {
                p.notice-line.busy {
                    a href={ "/builds/" (retry.build_id) } { "A build that errored" } " will be retried "
                    (figures::due(DateTime::from_timestamp_millis(retry.due_at))) "."
                }
            }
        }
    }
}

fn facts(standing: &Standing) -> Markup {
    let schedule = &standing.schedule;
    let fires = if standing.paused { Vec::new() } else { planner::next_fires(schedule, clock::now(), FIRES) };
    html! {
        section.panel #standing {
            div.standing {
                div {
                    h2 { "Recent builds, newest on the right" }
                    (marks::strip(&standing.builds))
                }
                div {
                    h2 { "Fire times" }
                    @match &schedule.cron {
                        Some(cron) => p { code { (cron.source.trim()) } " " (schedule.timezone.name()) },
                        None => p { "on demand only" },
                    }
                    @if !fires.is_empty() { (next_fires(&fires)) }
                }
                div {
                    h2 { "Image" }
                    p { (schedule.image.elements.join(", ")) " on " (schedule.clouds().join(", ")) }
                    p.muted {
                        @match &schedule.publish {
                            Some(publish) => { "published as " (publish.name) },
                            None => "not published",
                        }
                    }
                }
                div {
                    h2 { "Checks" }
                    @for target in &schedule.targets {
                        p {
                            @if schedule.targets.len() > 1 { (target.name) " on " (target.cloud) ": " }
                            @if target.checks.is_empty() { "boot only" } @else { (proofs(target)) }
                            @if !target.required { " (reported, but does not affect the verdict)" }
                        }
                    }
                }
            }
        }
    }
}

fn next_fires(fires: &[DateTime<Utc>]) -> Markup {
    html! { ol.fires { @for fire in fires { li { (figures::exact(Some(*fire))) } } } }
}

fn proofs(target: &Target) -> String {
    let names: Vec<_> = target.checks.iter().map(|check| check.name.replace('_', "-")).collect();
    names.join(", ")
}

/// Share of good images among those that were judged, for people.
pub(super) fn success_rate(report: &v1::ScheduleReport) -> String {
    if report.passed + report.failed == 0 { "–".to_owned() } else { percent(report.success_rate) }
}
