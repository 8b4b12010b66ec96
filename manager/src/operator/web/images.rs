//! `/images`: what has which public name, and what had it.

use std::collections::BTreeSet;

use axum::extract::{Query, State};
use image_manager_proto::v1::{self, PublicationState};
use maud::{Markup, html};
use serde::Deserialize;

use super::address::with_query;
use super::error::{Answer, Refusal};
use super::layout::{Page, Section};
use super::{Web, figures, marks, overview};
use crate::clock;
use crate::history::{Named as _, PublicationFilter};
use crate::operator::access::{Caller, Role};
use crate::schedules::{Schedule, Schedules};

/// Images on a page.
const ROWS: u32 = 100;
/// What is asked for to see images that are gone, too.
const SHOW: &str = "show";

/// The filters and the page, as they stand in the address.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Parameters {
    name: String,
    cloud: String,
    /// [`SHOW`]: images that are no longer in the cloud, too.
    removed: String,
    after: u32,
}

impl Parameters {
    fn filter(&self) -> Result<PublicationFilter, Refusal> {
        if !["", SHOW].contains(&self.removed.as_str()) {
            let removed = &self.removed;
            return Err(Refusal::bad_request(format!("removed={removed}: expected {SHOW}, or no value")));
        }
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Ok(PublicationFilter {
            name: some(self.name.trim()),
            cloud: some(&self.cloud),
            removed: !self.removed.is_empty(),
            after: self.after,
            limit: ROWS,
            ..PublicationFilter::default()
        })
    }

    fn filters(&self) -> bool {
        !(self.name.trim().is_empty() && self.cloud.is_empty() && self.removed.is_empty())
    }

    /// The address of the images after the first so many of the same.
    fn address(&self, after: u32) -> String {
        let after = if after > 0 { after.to_string() } else { String::new() };
        let fields = [
            ("name", self.name.trim()),
            ("cloud", &self.cloud),
            ("removed", &self.removed),
            ("after", &after),
        ];
        with_query("/images", &fields)
    }
}

pub(super) async fn page(
    State(web): State<Web>,
    caller: Caller,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let found = web.manager.history().publications(parameters.filter()?).await?;
    let page = Page {
        title: "Images".to_owned(),
        section: Section::Images,
        events: Some("/events".to_owned()),
        login: caller.is_browser(),
    };
    let idle =
        if caller.may(Role::Operator) { idle(&web, &found.publications).await? } else { BTreeSet::new() };
    let body = html! {
        div.page-head { h1 { "Images" } }
        (filters(&parameters, &web.manager.schedules()))
        section.panel #images data-swap {
            @if found.publications.is_empty() {
                p.empty {
                    @if parameters.after > 0 { "There are no more images." }
                    @else if parameters.filters() { "No images match these filters." }
                    @else { "Nothing has been published yet." }
                }
            } @else {
                (table(&found.publications, &idle))
            }
        }
        nav.pages aria-label="Pages" {
            @if parameters.after > 0 {
                a.button href=(parameters.address(parameters.after.saturating_sub(ROWS))) rel="prev" { "Previous" }
            }
            @if let Some(next) = found.next { a.button href=(parameters.address(next)) rel="next" { "Next" } }
        }
    };
    Ok(page.render(&body))
}

/// The names and clouds of the schedules file are offered; images of others are found by their name.
fn filters(parameters: &Parameters, schedules: &Schedules) -> Markup {
    let all = &schedules.schedules;
    let names: BTreeSet<_> = all
        .iter()
        .filter_map(|schedule| schedule.publish.as_ref())
        .map(|publish| publish.name.as_str())
        .collect();
    let mut clouds: BTreeSet<_> = all.iter().flat_map(Schedule::clouds).collect();
    clouds.extend(Some(parameters.cloud.as_str()).filter(|cloud| !cloud.is_empty()));
    html! {
        form.filters method="get" action="/images" {
            label { span { "Name" }
                input type="search" name="name" value=(parameters.name) list="names" maxlength="100";
                datalist #names { @for name in names { option value=(name) {} } }
            }
            label { span { "Cloud" }
                select name="cloud" {
                    option value="" { "all" }
                    @for cloud in clouds { option value=(cloud) selected[cloud == parameters.cloud] { (cloud) } }
                }
            }
            label { span { "Removed images" }
                select name="removed" {
                    option value="" { "hide" }
                    option value=(SHOW) selected[!parameters.removed.is_empty()] { "show" }
                }
            }
            button type="submit" { "Apply" }
            @if parameters.filters() { a.quiet href="/images" { "Clear" } }
        }
    }
}

/// Schedules that can verify again what they have published: they are still in the file with that name, and have no build
/// under way.
async fn idle(web: &Web, images: &[v1::Publication]) -> Result<BTreeSet<String>, Refusal> {
    let schedules = web.manager.schedules();
    let mut idle = BTreeSet::new();
    for image in images.iter().filter(|image| image.state() == PublicationState::Current) {
        let schedule = schedules.get(&image.schedule);
        let publishes = schedule.and_then(|schedule| schedule.publish.as_ref());
        if publishes.is_some_and(|publish| publish.name == image.name)
            && schedule.is_some_and(|schedule| schedule.is_on(&image.cloud))
            && web.manager.history().unfinished_build(&image.schedule).await?.is_none()
        {
            idle.insert(image.schedule.clone());
        }
    }
    Ok(idle)
}

/// How an image was verified last, and when.
pub(super) fn verified(image: &v1::Publication) -> Markup {
    html! {
        @if image.verified_at.is_some() {
            a.plain href={ "/builds/" (image.verified_by) } { (marks::verdict(image.verified_verdict())) }
            " " (figures::distance(image.verified_at.as_ref().and_then(clock::utc)))
        } @else {
            span.none { "–" }
        }
    }
}

fn table(images: &[v1::Publication], idle: &BTreeSet<String>) -> Markup {
    html! {
        div.table-box tabindex="0" role="region" aria-label="Images" {
            table.images {
                thead {
                    tr {
                        th scope="col" { "Name" } th scope="col" { "Cloud" } th scope="col" { "State" }
                        th scope="col" { "Build" } th scope="col" { "Last verified" } th scope="col" { "Published" }
                        th.wide scope="col" { "By" } th.wide scope="col" { "Size" } th.wide.sha scope="col" { "SHA-512" }
                    }
                }
                tbody { @for image in images { (row(image, image.state() == PublicationState::Current && idle.contains(&image.schedule))) } }
            }
        }
    }
}

fn row(image: &v1::Publication, can_be_verified: bool) -> Markup {
    html! {
        tr {
            td {
                @let named = html! { a.plain href=(with_query("/images", &[("name", &image.name)])) { (image.name) } };
                @if image.state() == PublicationState::Current { strong { (named) } } @else { (named) }
                @if !image.location.is_empty() { p.wide.where { code { (image.location) } } }
            }
            td { (image.cloud) }
            td {
                (image.state().word())
                @if image.state() == PublicationState::Revoked {
                    p.muted { (image.revoked_reason) " · " (image.revoked_by) }
                }
                @if !image.held.is_empty() { p.muted { "held: " (image.held) } }
            }
            td {
                a href={ "/builds/" (image.build_id) } { (figures::short(&image.build_id)) }
                @if !image.confirmed_by.is_empty() && image.confirmed_by != image.build_id {
                    p.muted {
                        a.plain href={ "/builds/" (image.confirmed_by) } { "unchanged" }
                        " as of " (figures::instant(image.confirmed_at.as_ref()))
                    }
                }
            }
            td {
                (verified(image))
                @if can_be_verified { (overview::verify_again(&image.schedule)) }
            }
            td { (figures::instant(image.published_at.as_ref())) }
            td.wide {
                (image.published_by)
                @if image.kind() != v1::PublicationKind::Published {
                    p.muted {
                        (image.kind().word().replace('_', " "))
                        @if !image.why.is_empty() { ": " (image.why) }
                    }
                }
            }
            td.wide { span.num { (figures::size(image.size_bytes)) } }
            td.wide.sha { code title=(image.sha512) { (image.sha512.chars().take(12).collect::<String>()) } }
        }
    }
}
