//! The time zone of the pages: all times of a page are in the one that its viewer has chosen, UTC until then. The choice
//! lies in a cookie, so that every page knows it without a script.

use std::collections::BTreeSet;

use axum::Form;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use maud::{Markup, html};
use serde::Deserialize;

use super::Web;
use super::error::{Answer, Refusal};
use super::login::local;
use crate::operator::charts;

/// The cookie's name.
const NAME: &str = "image_manager_zone";
/// How long the choice is kept, in seconds: a year.
const LIFE: u32 = 365 * 86_400;
/// Zones of schedules that are offered.
const OFFERED: usize = 20;

/// What a page must know to show times and to let another zone be chosen.
struct Shown {
    zone: Tz,
    /// The page's own address, to come back to.
    address: String,
    /// Names of the zones that schedules are in.
    schedules: BTreeSet<&'static str>,
}

tokio::task_local! {
    /// Of the request that is answered.
    static SHOWN: Shown;
}

/// Answers a request with its viewer's zone at hand.
pub(super) async fn around(State(web): State<Web>, request: Request, next: Next) -> Response {
    let address = match (request.method(), request.uri().path_and_query()) {
        (&Method::GET, Some(address)) => address.as_str().to_owned(),
        _ => "/".to_owned(),
    };
    let schedules = web.manager.schedules();
    let schedules = schedules.schedules.iter().map(|schedule| schedule.timezone.name()).collect();
    let zone = chosen(request.headers()).unwrap_or(Tz::UTC);
    SHOWN.scope(Shown { zone, address, schedules }, next.run(request)).await
}

/// What the cookie says, when there is such a zone.
fn chosen(headers: &HeaderMap) -> Option<Tz> {
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut named = lines
        .flat_map(|line| line.split(';'))
        .filter_map(|cookie| cookie.trim().strip_prefix(NAME)?.strip_prefix('='));
    named.find_map(|name| name.parse().ok())
}

/// The zone of the page that is made.
pub(super) fn of_page() -> Tz {
    SHOWN.try_with(|shown| shown.zone).unwrap_or(Tz::UTC)
}

/// A time in the page's zone: "2026-11-30 09:15 CET".
pub(super) fn told(time: DateTime<Utc>) -> String {
    charts::told(time, of_page())
}

/// The zone's name, once beside many times that stand without it.
pub(super) fn note() -> Markup {
    html! { span.muted { "times in " (of_page().name()) } }
}

/// The form that chooses another zone. The script adds the browser's own, which no request tells.
pub(super) fn form() -> Markup {
    SHOWN.try_with(Shown::form).unwrap_or_else(|_| html! {})
}

impl Shown {
    fn form(&self) -> Markup {
        let zone = self.zone.name();
        let others = self.schedules.iter().copied().filter(|name| *name != zone && *name != "UTC");
        html! {
            form.zone method="post" action="/zone" {
                input type="hidden" name="next" value=(self.address);
                label for="zone" { "Time zone" }
                select #zone name="zone" {
                    @if zone != "UTC" { option value="UTC" { "UTC" } }
                    option value=(zone) selected { (zone) }
                    @for name in others.take(OFFERED) { option value=(name) { (name) } }
                }
                noscript { input name="other" aria-label="Another time zone" placeholder="Europe/Berlin" size="14" maxlength="40"; }
                button.small type="submit" { "Change" span.sr-only { " the time zone" } }
            }
        }
    }
}

/// What is chosen.
#[derive(Debug, Deserialize)]
pub(super) struct Parameters {
    zone: String,
    /// Typed where no script could offer the browser's.
    #[serde(default)]
    other: String,
    #[serde(default)]
    next: String,
}

/// `POST /zone`: keeps the choice, and leads back.
pub(super) async fn choose(Form(parameters): Form<Parameters>) -> Answer {
    let typed = parameters.other.trim();
    let name = if typed.is_empty() { parameters.zone.as_str() } else { typed };
    let zone: Tz = name.parse().map_err(|_| {
        Refusal::bad_request(format!("{name:?} is not a time zone: use a name such as Europe/Berlin."))
    })?;
    // SameSite=Lax: whoever follows a link from a mail sees the times that they are used to. It is no secret.
    let cookie = format!("{NAME}={}; Path=/; Max-Age={LIFE}; HttpOnly; SameSite=Lax", zone.name());
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to(local(&parameters.next))).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookie: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::COOKIE, cookie.parse().unwrap())])
    }

    fn shown(zone: Tz) -> Shown {
        Shown {
            zone,
            address: "/builds?state=failed&since=7d".to_owned(),
            schedules: BTreeSet::from(["America/New_York", "UTC"]),
        }
    }

    #[test]
    fn the_cookie_says_which_zone_and_nonsense_is_passed_over() {
        assert_eq!(chosen(&headers("a=b; image_manager_zone=Asia/Tokyo")), Some(Tz::Asia__Tokyo));
        for other in
            ["image_manager_zone=Mars/Base", "image_manager_zones=UTC", "image_manager_zone", "a=UTC"]
        {
            assert_eq!(chosen(&headers(other)), None, "{other}");
        }
    }

    #[tokio::test]
    async fn times_are_in_the_chosen_zone_with_its_name_beside_them() {
        let time = "2026-11-30T20:15:00Z".parse().unwrap();
        assert_eq!(told(time), "2026-11-30 20:15 UTC", "nobody has chosen");
        let there = SHOWN.scope(shown(Tz::Asia__Tokyo), async { (told(time), note().into_string()) }).await;
        assert_eq!(there.0, "2026-12-01 05:15 JST");
        assert!(there.1.contains("times in Asia/Tokyo"), "{}", there.1);
    }

    #[test]
    fn utc_the_schedules_zones_and_the_chosen_one_are_offered_once_each() {
        for (zone, offered) in [
            (Tz::UTC, vec!["UTC", "America/New_York"]),
            (Tz::Asia__Tokyo, vec!["UTC", "Asia/Tokyo", "America/New_York"]),
        ] {
            let form = shown(zone).form().into_string();
            let options: Vec<_> =
                form.split("<option value=\"").skip(1).filter_map(|part| part.split('"').next()).collect();
            assert_eq!(options, offered, "{form}");
            assert!(form.contains(&format!("<option value=\"{}\" selected>", zone.name())), "{form}");
            assert!(form.contains("value=\"/builds?state=failed&amp;since=7d\""), "{form}");
        }
    }

    #[tokio::test]
    async fn a_choice_is_kept_and_leads_back_to_this_port_only() {
        let parameters = |zone: &str, other: &str, next: &str| {
            Form(Parameters { zone: zone.to_owned(), other: other.to_owned(), next: next.to_owned() })
        };
        let answer = choose(parameters("UTC", " Asia/Tokyo ", "/builds")).await.unwrap();
        assert!(
            answer.headers()[header::SET_COOKIE]
                .to_str()
                .unwrap()
                .starts_with("image_manager_zone=Asia/Tokyo; ")
        );
        assert_eq!(answer.headers()[header::LOCATION], "/builds");
        let away = choose(parameters("UTC", "", "//evil.example")).await.unwrap();
        assert_eq!(away.headers()[header::LOCATION], "/");
        for wrong in ["", "Mars/Base", "UTC\r\nSet-Cookie: a=b"] {
            assert!(choose(parameters(wrong, "", "/")).await.is_err(), "{wrong:?}");
        }
    }
}
