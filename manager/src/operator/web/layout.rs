//! What all pages share: head, navigation, foot.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use maud::{DOCTYPE, Markup, html};

use super::{assets, banner, zone};
use crate::untrusted::html;

/// Where a page is in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    /// Schedules and all below them.
    Schedules,
    /// Builds and all below them.
    Builds,
    /// Images with public names.
    Images,
    /// None of these, such as a page that says what went wrong.
    Other,
    /// For whoever has not logged in: there is no navigation.
    Elsewhere,
}

/// A page around its body.
pub(super) struct Page {
    pub(super) title: String,
    pub(super) section: Section,
    /// Stream of events after which the page is to be fetched again.
    pub(super) events: Option<String>,
    /// Whether there is somebody to log out.
    pub(super) login: bool,
}

impl Page {
    /// The whole page.
    pub(super) fn render(&self, body: &Markup) -> Response {
        self.with_status(StatusCode::OK, body)
    }

    /// The whole page with another status.
    pub(super) fn with_status(&self, status: StatusCode, body: &Markup) -> Response {
        let html = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
        (status, html, html::page(self.markup(body))).into_response()
    }

    fn markup(&self, body: &Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · Image Manager" }
                    link rel="icon" type="image/svg+xml" href=(assets::address("icon.svg"));
                    link rel="stylesheet" href=(assets::address("style.css"));
                    script src=(assets::address("app.js")) defer {}
                }
                body data-events=[self.events.as_deref()] {
                    a.skip href="#content" { "Skip to content" }
                    (self.header())
                    main #content tabindex="-1" {
                        @if self.section != Section::Elsewhere || self.login { (banner::markup(self.section == Section::Schedules)) }
                        (body)
                    }
                    p.sr-only #announce role="status" {}
                    footer {
                        span { "Image Manager " (env!("CARGO_PKG_VERSION")) }
                        @if self.section != Section::Elsewhere || self.login { (zone::form()) }
                    }
                }
            }
        }
    }

    fn header(&self) -> Markup {
        let current = |section| (self.section == section).then_some("page");
        html! {
            header.top {
                a.brand href="/" { (super::marks::logo()) span { "Image Manager" } }
                @if self.section != Section::Elsewhere || self.login {
                    nav aria-label="Main" {
                        a href="/" aria-current=[current(Section::Schedules)] { "Schedules" }
                        a href="/builds" aria-current=[current(Section::Builds)] { "Builds" }
                        a href="/images" aria-current=[current(Section::Images)] { "Images" }
                    }
                }
                span.spacer {}
                @if self.events.is_some() {
                    span #link .link hidden { "live" }
                }
                @if self.login {
                    form method="post" action="/logout" { button.quiet type="submit" { "Log out" } }
                }
            }
        }
    }
}
