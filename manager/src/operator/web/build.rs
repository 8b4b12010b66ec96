//! `/builds/ID`: one build. What failed comes first.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use image_manager_proto::v1;
use maud::{Markup, html};

use super::asked::Asked;
use super::error::Answer;
use super::layout::{Page, Section};
use super::log::{self, View};
use super::{Web, build_failure, build_parts, build_trials, figures, marks, progress};
use crate::history::{Named as _, RelatedBuilds};
use crate::lifecycle::state;
use crate::lifecycle::trials::{made_by, several};
use crate::operator::access::{Caller, Role};

/// The page's script fetches the page again for its other parts: the log, which may be long, is not read for that.
const REFRESH: &str = "x-refresh";

pub(super) async fn page(
    State(web): State<Web>,
    caller: Caller,
    Path(id): Path<String>,
    Asked(asked): Asked<log::Asked>,
    headers: HeaderMap,
) -> Answer {
    let id = web.manager.history().resolve(&id).await?;
    let build = web.manager.history().build(&id).await?;
    let related = web.manager.history().related_builds(&build.schedule, &build.id).await?;
    let buildable = web.manager.schedule(&build.schedule).is_ok();
    let refreshes = headers.contains_key(REFRESH);
    let log = if refreshes { None } else { Some(View::read(&web, &build, &asked).await?) };
    let ended = state::is_end(build.state());
    let page = Page {
        title: format!("{} · {}", marks::words(build.state()), build.schedule),
        section: Section::Builds,
        events: log.as_ref().filter(|_| !ended).map(|log| log.events(&build)),
        login: caller.is_browser(),
    };
    let body = html! {
        (head(&build, &related, buildable, caller.may(Role::Operator)))
        (progress::bar(&build, related.last_good.as_ref()))
        div #failure {
            @if let Some(failure) = &build.failure { (build_failure::failure(&build, failure, &related)) }
            (build_trials::control_boots(&build))
            @if !build.warnings.is_empty() { (build_failure::warnings(&build)) }
        }
        (build_trials::table(&build))
        div.columns {
            div.main-column {
                (build_parts::build_stages(&build))
                @if several(&build).is_empty() { (build_parts::checks(&build)) }
                (build_trials::each(&build))
            }
            aside.side-column #facts aria-label="Facts" {
                (build_parts::image(&build))
                (build_parts::server_and_agent(&build))
                (build_parts::definition(&build))
                (build_parts::resources(&build))
            }
        }
        @if let Some(log) = &log { (log.render(&build)) } @else { (log::in_place()) }
    };
    Ok(page.render(&body))
}

fn head(build: &v1::Build, related: &RelatedBuilds, buildable: bool, operator: bool) -> Markup {
    let ended = state::is_end(build.state());
    html! {
        div.page-head #head {
            div {
                p.crumbs { a href="/builds" { "Builds" } " / " a href={ "/schedules/" (build.schedule) } { (build.schedule) } }
                h1 { (build.schedule) " " (marks::badge(build.state())) (marks::tally(build)) }
                p.muted {
                    "Requested by " (who(build)) " at " (figures::instant(build.created_at.as_ref()))
                    @if !build.cloud.is_empty() { " · cloud " (build.cloud) }
                    @if build.started_at.is_some() {
                        " · " @if ended { "took " } @else { "running for " }
                        (figures::span(build.started_at.as_ref(), build.finished_at.as_ref()))
                    }
                    @if build.verification {
                        " · verification of the published image of build "
                        @for (place, of) in made_by(build).into_iter().enumerate() {
                            @if place > 0 { ", " }
                            a href={ "/builds/" (of) } { (of) }
                        }
                    }
                    @if !build.unchanged_since.is_empty() {
                        " · nothing has changed since build "
                        a href={ "/builds/" (build.unchanged_since) } { (build.unchanged_since) }
                    }
                    @if !build.cancelled_by.is_empty() { " · cancelled by " (build.cancelled_by) }
                }
                (retries(build, related))
                p.id { code { (build.id) } (build_parts::copy(&build.id, "Copy the id")) }
            }
            div.actions {
                @if !build.verification { (comparisons(build, related)) }
                @if !operator {
                } @else if !ended {
                    // Asks once more, without the script too.
                    details.confirm #cancel {
                        summary.button.danger { "Cancel…" }
                        form method="post" action={ "/builds/" (build.id) "/cancel" } {
                            p { "The build ends now, and everything it made is removed." }
                            button.danger type="submit" { "Cancel this build" }
                        }
                    }
                } @else if buildable {
                    form method="post" action="/build" {
                        input type="hidden" name="schedule" value=(build.schedule);
                        @if build.state() == v1::BuildState::Skipped {
                            input type="hidden" name="force" value="true";
                            button.primary type="submit" { "Build anyway" }
                        } @else if build.verification {
                            input type="hidden" name="verify" value="true";
                            button.primary type="submit" { "Verify again" }
                        } @else {
                            button.primary type="submit" { "Build again" }
                        }
                    }
                }
            }
        }
    }
}

/// With what a build is compared: with the last one that passed first, for what broke it came after that.
fn comparisons(build: &v1::Build, related: &RelatedBuilds) -> Markup {
    let good = related.last_good.as_ref().map(|good| good.id.as_str());
    let previous = related.previous.as_deref().filter(|previous| Some(*previous) != good);
    let with = |from: &str| format!("/compare?a={from}&b={}", build.id);
    html! {
        @if let Some(good) = good { a.button href=(with(good)) { "Compare with last good" } }
        @if let Some(previous) = previous { a.button href=(with(previous)) { "Compare with previous" } }
    }
}

/// The chain of retries, both ways.
fn retries(build: &v1::Build, related: &RelatedBuilds) -> Markup {
    html! {
        @if !build.retry_of.is_empty() {
            p.muted {
                "Retry of " a href={ "/builds/" (build.retry_of) } { (figures::short(&build.retry_of)) } ", which errored."
            }
        }
        @if let Some(by) = &related.retried_by {
            p.muted { "Retried by " a href={ "/builds/" (by) } { (figures::short(by)) } "." }
        }
    }
}

/// Who asked for a build, and by which way where that says more.
fn who(build: &v1::Build) -> String {
    let way = build.trigger().word();
    if build.requested_by.is_empty() || build.requested_by == way {
        return way.to_owned();
    }
    format!("{} ({way})", build.requested_by)
}
