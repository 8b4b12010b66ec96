//! `/images`: what has which public name, and what had it.

use axum::extract::{Query, State};
use image_manager_proto::v1::{self, PublicationState};
use maud::{Markup, html};
use serde::Deserialize;

use super::error::Answer;
use super::layout::{Page, Place};
use super::{Web, figures};
use crate::history::{Named as _, PublicationFilter};
use crate::operator::access::Caller;

/// Images on a page.
const ROWS: u32 = 100;

/// Which page is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wish {
    after: u32,
}

pub(super) async fn page(State(web): State<Web>, caller: Caller, Query(wish): Query<Wish>) -> Answer {
    let filter = PublicationFilter { after: wish.after, limit: ROWS, ..PublicationFilter::default() };
    let found = web.manager.history().publications(filter).await?;
    let page = Page {
        title: "Images".to_owned(),
        place: Place::Images,
        events: Some("/events".to_owned()),
        login: caller.is_browser(),
    };
    let body = html! {
        div.page-head { h1 { "Images" } }
        section.panel #images data-swap {
            @if found.publications.is_empty() {
                p.empty { "Nothing was published yet." }
            } @else {
                (table(&found.publications))
            }
        }
        nav.pages aria-label="Pages" {
            @if wish.after > 0 { a.button href="/images" { "First" } }
            @if let Some(next) = found.next { a.button href={ "/images?after=" (next) } rel="next" { "More" } }
        }
    };
    Ok(page.render(&body))
}

fn table(images: &[v1::Publication]) -> Markup {
    html! {
        div.table-box tabindex="0" role="region" aria-label="Images" {
            table {
                thead {
                    tr {
                        th scope="col" { "Name" } th scope="col" { "Cloud" } th scope="col" { "State" }
                        th scope="col" { "Build" } th scope="col" { "Since" } th scope="col" { "By" }
                        th scope="col" { "Size" } th scope="col" { "SHA-512" } th scope="col" { "Where" }
                    }
                }
                tbody { @for image in images { (row(image)) } }
            }
        }
    }
}

fn row(image: &v1::Publication) -> Markup {
    html! {
        tr {
            td { @if image.state() == PublicationState::Current { strong { (image.name) } } @else { (image.name) } }
            td { (image.cloud) }
            td {
                (image.state().word())
                @if image.state() == PublicationState::Revoked {
                    p.muted { (image.revoked_reason) " · " (image.revoked_by) }
                }
                @if !image.held.is_empty() { p.muted { "held: " (image.held) } }
            }
            td { a href={ "/builds/" (image.build_id) } { (figures::short(&image.build_id)) } }
            td.whole { (figures::instant(image.published_at.as_ref())) }
            td {
                (image.published_by)
                @if image.kind() != v1::PublicationKind::Published {
                    p.muted {
                        (image.kind().word().replace('_', " "))
                        @if !image.why.is_empty() { ": " (image.why) }
                    }
                }
            }
            td.whole { (figures::size(image.size_bytes)) }
            td { code title=(image.sha512) { (image.sha512.chars().take(12).collect::<String>()) } }
            td.where { code { (image.location) } }
        }
    }
}
