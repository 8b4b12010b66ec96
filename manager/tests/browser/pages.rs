//! Every page: sound at any width and in both colour schemes, with much to show and with nothing. `make screenshots` keeps
//! a picture of each, and makes those of the documents anew.

use std::time::Duration;

use serde_json::{Map, Value as Json};

use super::fleet::{self, FULL, GONE, Ids, NEVER, PICTURED, SEVERAL};
use super::harness::{Place, Serving, repository, wait_for};
use super::scenario;

/// Its value is `all`: a picture of each page is kept.
const TAKE: &str = "IMAGE_MANAGER_TEST_PICTURES";

/// Looks at pages: name and path of each.
fn look(serving: &Serving<'_>, pages: &[(&str, String)]) {
    let take = std::env::var(TAKE).unwrap_or_default();
    let pages: Map<String, Json> =
        pages.iter().map(|(name, path)| ((*name).to_owned(), Json::from(path.as_str()))).collect();
    scenario("pages", serving, &[("PAGES", &Json::from(pages).to_string()), ("TAKE", &take)]);
}

/// The pages of a place with two hundred schedules and months of builds.
fn pages(ids: &Ids, [building, queued]: [&str; 2]) -> Vec<(&'static str, String)> {
    let of = |word: &str| ids.ended.iter().find(|(ended, _)| *ended == word).unwrap().1.as_str();
    let mut pages = vec![
        ("overview", "/".to_owned()),
        ("overview-last", "/?page=4".to_owned()),
        ("overview-clouds", "/?group=cloud&sort=name".to_owned()),
        ("overview-distributions", "/?group=distribution&page=2".to_owned()),
        ("overview-attention", "/?show=attention&group=none".to_owned()),
        ("overview-nothing-found", "/?q=nothing-of-this-name".to_owned()),
        ("builds", "/builds".to_owned()),
        ("builds-nothing-found", "/builds?state=publishing".to_owned()),
        ("build-building", format!("/builds/{building}")),
        ("build-queued", format!("/builds/{queued}")),
        ("build-several", format!("/builds/{}", ids.several)),
        ("build-several-console", format!("/builds/{}?log=console", ids.several)),
        ("log-agent", format!("/builds/{}?log=agent", of("succeeded"))),
        ("log-line", format!("/builds/{}?log=build&line=120", of("check-failed"))),
        ("log-no-line", format!("/builds/{}?log=build&line=9999", of("check-failed"))),
        ("log-open", format!("/builds/{}?log=console&open=all", of("check-failed"))),
        ("log-not-there", format!("/builds/{}?log=typo", of("succeeded"))),
        ("log-found", format!("/builds/{}?log=build&q=package-1", of("succeeded"))),
        ("log-not-found", format!("/builds/{}?log=build&q=nothing-of-this-kind", of("succeeded"))),
        ("images", "/images".to_owned()),
        ("schedule", format!("/schedules/{FULL}?since=90d")),
        ("schedule-several", format!("/schedules/{SEVERAL}")),
        ("schedule-never", format!("/schedules/{NEVER}")),
        ("schedule-gone", format!("/schedules/{GONE}")),
        ("compare", format!("/compare?a={}&b={}", of("succeeded"), of("check-failed"))),
        ("compare-one", "/compare?a=nothing".to_owned()),
        ("not-there", "/nothing".to_owned()),
        ("wrong", "/?sort=sideways".to_owned()),
    ];
    let names = ["succeeded", "check-failed", "build-failed", "errored", "cancelled", "skipped"];
    let files = [
        "build-succeeded",
        "build-check-failed",
        "build-failed",
        "build-errored",
        "build-cancelled",
        "build-skipped",
    ];
    pages.extend(files.into_iter().zip(names).map(|(file, word)| (file, format!("/builds/{}", of(word)))));
    pages
}

/// Has a schedule built; the build's id, once it is in this state.
fn begin(place: &Place, schedule: &str, state: &str) -> String {
    let said = place.expect(&["trigger", schedule], 0);
    let id = said.lines().next().unwrap().trim().to_owned();
    wait_for(state, Duration::from_mins(2), || {
        let build = place.run(&["show", &id, "--format", "json"]).stdout;
        let build: Json = serde_json::from_slice(&build).unwrap();
        (build["state"] == state).then_some(())
    });
    id
}

#[test]
fn every_page_is_sound_with_two_hundred_schedules() {
    let place = Place::new(&fleet::schedules());
    let ids = fleet::write(&place);
    let serving = place.serve_with(&["--concurrent-builds", "1"]);
    let building = begin(&place, "alma-9-is-being-built-now", "building");
    let queued = begin(&place, "centos-9-waits-in-the-queue", "queued");
    look(&serving, &pages(&ids, [&building, &queued]));
    scenario("live", &serving, &[("BUILDING", &building)]);
    if std::env::var(TAKE).is_ok() {
        let images = repository().join("docs/images");
        let images = images.to_str().unwrap();
        scenario("screenshots", &serving, &[("IMAGES", images), ("SCHEDULE", PICTURED)]);
    }
    assert_eq!(serving.terminate(), Some(0));
}

#[test]
fn pages_with_nothing_to_show_are_sound() {
    let place = Place::new("");
    let serving = place.serve();
    let pages = [
        ("empty-overview", "/"),
        ("empty-builds", "/builds"),
        ("empty-images", "/images"),
        ("empty-not-there", "/schedules/x"),
    ];
    look(&serving, &pages.map(|(name, path)| (name, path.to_owned())));
    assert_eq!(serving.terminate(), Some(0));
    let place = Place::tiny("");
    place.secret("token", "correct-horse-battery-staple");
    let serving = place.serve_with(&["--api-token-file", "token"]);
    look(&serving, &[("login", "/login".to_owned()), ("login-wrong-link", "/login/no-such-code".to_owned())]);
    assert_eq!(serving.terminate(), Some(0));
}
