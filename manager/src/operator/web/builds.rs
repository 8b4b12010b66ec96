//! `/builds`: all builds, newest first, with filters and pages.

use axum::extract::State;
use image_manager_proto::v1::{self, BuildState};
use maud::{Markup, html};
use serde::Deserialize;

use super::asked::Asked;
use super::error::{Answer, Refusal};
use super::layout::{Page, Section};
use super::{Web, figures, marks};
use crate::clock;
use crate::history::{BuildFilter, Named as _};
use crate::lifecycle::trials;
use crate::operator::access::Caller;

/// Builds on a page.
const ROWS: u32 = 50;
/// The ages that can be asked for: name, words, hours.
const AGES: [(&str, &str, i64); 4] = [
    ("1d", "last 24 hours", 24),
    ("7d", "last 7 days", 168),
    ("30d", "last 30 days", 720),
    ("365d", "last year", 8760),
];

/// The filters, as they stand in the address.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Parameters {
    #[serde(default)]
    schedule: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    since: String,
    #[serde(default)]
    before: String,
}

impl Parameters {
    fn filter(&self) -> Result<BuildFilter, Refusal> {
        let some = |text: &String| (!text.is_empty()).then(|| text.clone());
        let state = match self.state.as_str() {
            "" => None,
            word => Some(
                BuildState::from_word(word)
                    .ok_or_else(|| Refusal::bad_request(format!("no state {word:?}; /builds lists them")))?,
            ),
        };
        let since_ms = match self.since.as_str() {
            "" => None,
            wanted => {
                let (_, _, hours) =
                    AGES.into_iter().find(|(name, _, _)| *name == wanted).ok_or_else(|| {
                        Refusal::bad_request(format!("no age {wanted:?}: expected 1d, 7d, 30d or 365d"))
                    })?;
                Some(clock::now().timestamp_millis() - hours * 3_600_000)
            }
        };
        if !self.before.is_empty() && uuid::Uuid::try_parse(&self.before).is_err() {
            let before = &self.before;
            return Err(Refusal::bad_request(format!("before={before}: expected the whole id of a build")));
        }
        Ok(BuildFilter {
            schedule: some(&self.schedule),
            state,
            since_ms,
            before: some(&self.before),
            limit: ROWS,
            bare: true,
        })
    }

    fn filters(&self) -> bool {
        !(self.schedule.is_empty() && self.state.is_empty() && self.since.is_empty())
    }

    /// What an empty page says.
    fn nothing(&self) -> &'static str {
        match (self.before.is_empty(), self.filters()) {
            (true, true) => "No builds match these filters.",
            (true, false) => "Nothing has been built yet.",
            (false, true) => "No older builds match these filters.",
            (false, false) => "There are no older builds.",
        }
    }

    /// The address of the page after the build `before`; of the first page when empty.
    fn address(&self, before: &str) -> String {
        // Names of schedules, states and ids need no escaping.
        let fields = [
            ("schedule", &*self.schedule),
            ("state", &*self.state),
            ("since", &*self.since),
            ("before", before),
        ];
        let query: Vec<_> = fields
            .iter()
            .filter(|(_, value)| {
                !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
            })
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if query.is_empty() { "/builds".to_owned() } else { format!("/builds?{}", query.join("&")) }
    }
}

pub(super) async fn page(
    State(web): State<Web>,
    caller: Caller,
    Asked(parameters): Asked<Parameters>,
) -> Answer {
    web.manager.expect_schedule(&parameters.schedule).await?;
    let found = web.manager.history().builds(parameters.filter()?).await?;
    let mut names: Vec<_> =
        web.manager.schedules().schedules.iter().map(|schedule| schedule.name.clone()).collect();
    if !parameters.schedule.is_empty() && !names.contains(&parameters.schedule) {
        names.push(parameters.schedule.clone());
    }
    let page = Page {
        title: "Builds".to_owned(),
        section: Section::Builds,
        events: Some("/events".to_owned()),
        login: caller.is_browser(),
    };
    let body = html! {
        div.page-head { h1 { "Builds" } }
        (filters(&parameters, &names))
        section.panel #builds {
            @if found.builds.is_empty() {
                p.empty { (parameters.nothing()) }
            } @else {
                (table(&found.builds))
            }
        }
        @if !parameters.before.is_empty() || found.next.is_some() {
            nav.pages aria-label="Pages" {
                @if !parameters.before.is_empty() { a.button href=(parameters.address("")) { "Newest" } }
                @if let Some(next) = &found.next { a.button href=(parameters.address(next)) rel="next" { "Older" } }
            }
        }
    };
    Ok(page.render(&body))
}

fn filters(parameters: &Parameters, names: &[String]) -> Markup {
    html! {
        form.filters method="get" action="/builds" {
            label { span { "Schedule" }
                select name="schedule" {
                    option value="" { "all" }
                    @for name in names { option value=(name) selected[*name == parameters.schedule] { (name) } }
                }
            }
            label { span { "State" }
                select name="state" {
                    option value="" { "all" }
                    @for (state, word) in BuildState::WORDS {
                        option value=(word) selected[*word == parameters.state] { (marks::words(*state)) }
                    }
                }
            }
            label { span { "Created" }
                select name="since" {
                    option value="" { "any time" }
                    @for (age, words, _) in AGES { option value=(age) selected[age == parameters.since] { (words) } }
                }
            }
            button type="submit" { "Apply" }
            @if parameters.filters() { a.quiet href="/builds" { "Clear" } }
        }
    }
}

pub(super) fn table(builds: &[v1::Build]) -> Markup {
    let good = last_good(builds);
    html! {
        form method="get" action="/compare" {
            div.table-box tabindex="0" role="region" aria-label="Builds" {
                table.builds {
                    thead {
                        tr {
                            th scope="col" { "State" }
                            th scope="col" { "Schedule" }
                            th scope="col" { "Build" }
                            th.wide scope="col" { "Reason" }
                            th scope="col" { "Created" }
                            th.right scope="col" { "Duration" }
                            th.right.wide scope="col" { "Image size" }
                            th.pick scope="col" {
                                @if builds.len() > 1 { button.small type="submit" { "Compare" } }
                                @else { span.sr-only { "Compare" } }
                            }
                        }
                    }
                    tbody {
                        @for (index, build) in builds.iter().enumerate() {
                            (row(build, (Some(index) == good, index == 0)))
                        }
                    }
                }
            }
        }
    }
}

/// The place of the newest build that passed before the first one in its schedule. One that is on a later page is found
/// when no other is chosen.
fn last_good(builds: &[v1::Build]) -> Option<usize> {
    let newest = builds.first()?;
    let good = |build: &v1::Build| {
        build.schedule == newest.schedule && build.state() == BuildState::Succeeded && !build.verification
    };
    builds.iter().skip(1).position(good).map(|place| place + 1)
}

/// `older`, `newer`: whether it is that one of the comparison to begin with.
fn row(build: &v1::Build, (older, newer): (bool, bool)) -> Markup {
    let short = figures::short(&build.id);
    html! {
        tr data-part=(build.id) {
            td {
                (marks::badge(build.state())) " " (marks::tally(build))
                @if build.verification { span.muted { "verification" } }
            }
            td.name { a href={ "/schedules/" (build.schedule) } { (build.schedule) } }
            td { a href={ "/builds/" (build.id) } title=(build.id) { code { (short) } } }
            td.wide.why { @if build.reason.is_empty() { span.none { "–" } } @else { (marks::why(build)) } }
            td { (figures::distance(build.created_at.as_ref().and_then(crate::clock::utc))) }
            td.right { (figures::span(build.started_at.as_ref(), build.finished_at.as_ref())) }
            td.right.wide { @if let Some(image) = trials::image(build) { span.num { (figures::size(image.size_bytes)) } } @else { span.none { "–" } } }
            td.pick {
                input type="radio" name="a" value=(build.id) checked[older] aria-label={ "Compare from " (short) };
                input type="radio" name="b" value=(build.id) checked[newer] aria-label={ "Compare to " (short) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_builds_begins_after_a_build() {
        let before = |id: &str| Parameters { before: id.to_owned(), ..Parameters::default() }.filter();
        let id = "019a21b0-3f72-71c7-8d09-52cee028ec3c";
        assert_eq!(before(id).unwrap().before.as_deref(), Some(id));
        assert_eq!(before("").unwrap().before, None);
        let refusal = before("zzz").unwrap_err();
        assert_eq!(refusal.message, "before=zzz: expected the whole id of a build");
    }

    #[test]
    fn the_newest_build_is_compared_with_the_last_good_one_before_it() {
        let build = |id: &str, schedule: &str, state: BuildState| v1::Build {
            id: id.to_owned(),
            schedule: schedule.to_owned(),
            state: state.into(),
            ..v1::Build::default()
        };
        let mut builds = vec![
            build("1", "debian", BuildState::Failed),
            build("2", "ubuntu", BuildState::Succeeded),
            build("3", "debian", BuildState::Failed),
            v1::Build { verification: true, ..build("4", "debian", BuildState::Succeeded) },
            build("5", "debian", BuildState::Succeeded),
            build("6", "debian", BuildState::Succeeded),
        ];
        let page = table(&builds).into_string();
        for checked in ["name=\"a\" value=\"5\" checked", "name=\"b\" value=\"1\" checked"] {
            assert!(page.contains(checked), "{checked}: {page}");
        }
        assert_eq!(page.matches(" checked").count(), 2);
        builds.truncate(4);
        let page = table(&builds).into_string();
        assert_eq!(page.matches(" checked").count(), 1, "the last good one is looked for: {page}");
    }

    #[test]
    fn an_empty_page_says_why_it_is_empty() {
        let page = |before: &str, state: &str| Parameters {
            before: before.to_owned(),
            state: state.to_owned(),
            ..Parameters::default()
        };
        assert_eq!(page("", "").nothing(), "Nothing has been built yet.");
        assert_eq!(page("", "failed").nothing(), "No builds match these filters.");
        assert_eq!(page("0190", "").nothing(), "There are no older builds.");
        assert_eq!(page("0190", "failed").nothing(), "No older builds match these filters.");
    }
}
