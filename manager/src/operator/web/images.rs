//! `/images`: what has which public name, and what had it.

use std::collections::BTreeSet;

use axum::extract::{Query, State};
use image_manager_proto::v1::{self, PublicationState};
use maud::{Markup, html};
use serde::Deserialize;

use super::error::{Answer, Refusal};
use super::layout::{Page, Section};
use super::{Web, figures, marks, overview};
use crate::clock;
use crate::history::{Named as _, PublicationFilter};
use crate::operator::access::{Caller, Role};

/// Images on a page.
const ROWS: u32 = 100;

/// Which page is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Parameters {
    after: u32,
}

pub(super) async fn page(
    State(web): State<Web>,
    caller: Caller,
    Query(parameters): Query<Parameters>,
) -> Answer {
    let filter = PublicationFilter { after: parameters.after, limit: ROWS, ..PublicationFilter::default() };
    let found = web.manager.history().publications(filter).await?;
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
        section.panel #images data-swap {
            @if found.publications.is_empty() {
                p.empty { "Nothing has been published yet." }
            } @else {
                (table(&found.publications, &idle))
            }
        }
        nav.pages aria-label="Pages" {
            @if parameters.after > 0 { a.button href="/images" { "First page" } }
            @if let Some(next) = found.next { a.button href={ "/images?after=" (next) } rel="next" { "Next page" } }
        }
    };
    Ok(page.render(&body))
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
                @if image.state() == PublicationState::Current { strong { (image.name) } } @else { (image.name) }
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
            td { a href={ "/builds/" (image.build_id) } { (figures::short(&image.build_id)) } }
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
