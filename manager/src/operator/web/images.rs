//! `/images`: what has which public name, and what had it.

use std::collections::BTreeSet;

use axum::extract::State;
use image_manager_proto::v1::{self, PublicationState};
use maud::{Markup, html};
use serde::Deserialize;

use super::address::with_query;
use super::asked::{Asked, number};
use super::build_parts::copy;
use super::error::{Answer, Refusal};
use super::layout::{Page, Section};
use super::{Web, figures, marks, overview};
use crate::clock;
use crate::history::{Named as _, PublicationFilter};
use crate::operator::access::{Caller, Role};
use crate::operator::publication_state;
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
    #[serde(deserialize_with = "number")]
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
    Asked(parameters): Asked<Parameters>,
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
    let before = web.manager.history().published_before(&found.publications).await?;
    let body = html! {
        div.page-head { h1 { "Images" } }
        (filters(&parameters, &web.manager.schedules()))
        section.panel #images {
            @if found.publications.is_empty() {
                p.empty {
                    @if parameters.after > 0 { "There are no more images." }
                    @else if parameters.filters() { "No images match these filters." }
                    @else { "Nothing has been published yet." }
                }
            } @else {
                (table(&found.publications, &before, &idle))
            }
        }
        @if parameters.after > 0 || found.next.is_some() {
            nav.pages aria-label="Pages" {
                @if parameters.after > 0 {
                    a.button href=(parameters.address(parameters.after.saturating_sub(ROWS))) rel="prev" { "Previous" }
                }
                @if let Some(next) = found.next { a.button href=(parameters.address(next)) rel="next" { "Next" } }
            }
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

/// `before`: for each image the build whose image had the name before.
fn table(images: &[v1::Publication], before: &[Option<String>], idle: &BTreeSet<String>) -> Markup {
    html! {
        div.table-box tabindex="0" role="region" aria-label="Images" {
            table.images {
                thead {
                    tr {
                        th scope="col" { "Name" } th scope="col" { "Cloud" } th scope="col" { "State" }
                        th scope="col" { "Build" } th scope="col" { "Last verified" } th scope="col" { "Published" }
                        th scope="col" { "Size" } th.wide scope="col" { "By" }
                    }
                }
                tbody {
                    @for (image, before) in images.iter().zip(before) {
                        @let current = image.state() == PublicationState::Current;
                        (row(image, before.as_deref(), current && idle.contains(&image.schedule)))
                    }
                }
            }
        }
    }
}

fn row(image: &v1::Publication, before: Option<&str>, can_be_verified: bool) -> Markup {
    html! {
        tr data-part={ (image.name) " " (image.cloud) " " (image.build_id) } {
            td {
                @let named = html! { a.plain href=(with_query("/images", &[("name", &image.name)])) { (image.name) } };
                @if image.state() == PublicationState::Current { strong { (named) } } @else { (named) }
                @if !image.location.is_empty() { p.where { code { (image.location) } } }
                @if !image.sha512.is_empty() {
                    p.where {
                        "SHA-512 " code title=(image.sha512) { (image.sha512.chars().take(12).collect::<String>()) } " "
                        (copy(&image.sha512, "Copy the hash"))
                    }
                }
            }
            td { (image.cloud) }
            td {
                (publication_state(image))
                @if image.state() == PublicationState::Revoked {
                    p.muted { (image.revoked_reason) " · " (image.revoked_by) }
                } @else if image.revoked_at.is_some() && image.state() != PublicationState::Removed {
                    p.muted { "to be revoked: " (image.revoked_reason) " · " (image.revoked_by) }
                }
                @if !image.held.is_empty() { p.muted { "held: " (image.held) } }
            }
            td {
                a href={ "/builds/" (image.build_id) } title=(image.build_id) { code { (figures::short(&image.build_id)) } }
                @if let Some(before) = before {
                    p.where {
                        a href={ "/compare?a=" (before) "&b=" (image.build_id) } title={ "Compare with the image before, of build " (before) } {
                            "What changed" span.sr-only { " since " (figures::short(before)) }
                        }
                    }
                }
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
            td.at { (figures::distance(image.published_at.as_ref().and_then(clock::utc))) }
            td { span.num { (figures::size(image.size_bytes)) } }
            td.wide {
                (image.published_by)
                @if image.kind() != v1::PublicationKind::Published {
                    p.muted {
                        (image.kind().word().replace('_', " "))
                        @if !image.why.is_empty() { ": " (image.why) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_its_age_where_it_is_its_hash_and_what_changed() {
        let image = v1::Publication {
            name: "debian-13".to_owned(),
            state: PublicationState::Previous.into(),
            build_id: "0190a1b2-c3d4-7e5f-8a9b-0123456789ab".to_owned(),
            location: "/there/debian-13.qcow2".to_owned(),
            sha512: "ab".repeat(64),
            published_at: Some(clock::timestamp(0)),
            ..v1::Publication::default()
        };
        let page = row(&image, Some("0190a1b2-before"), false).into_string();
        for part in [
            ">older<",
            "data-show=\"distance\"",
            "<code>/there/debian-13.qcow2</code>",
            ">abababababab</code>",
            "href=\"/compare?a=0190a1b2-before&amp;b=0190a1b2-c3d4-7e5f-8a9b-0123456789ab\"",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!row(&image, None, false).into_string().contains("/compare"), "the first of its name");
    }
}
