//! The dashboard in a real browser: headless Chromium, driven by Playwright, on a real manager that builds and
//! boots the tiny image. What is done and looked at stands in the scenarios beside this file; `setup/install test`
//! brings the browser and the packages.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests: a surprise ends the test"
)]

#[expect(dead_code, reason = "shared with the other tests; not all of it is needed here")]
#[path = "../harness/mod.rs"]
mod harness;
#[path = "../../benches/million/made_up.rs"]
mod made_up;

mod fleet;
mod pages;

use std::process::Command;

use image_manager_proto::v1::ListSchedulesRequest;
use image_manager_proto::v1::image_manager_client::ImageManagerClient;
use tokio::runtime::Runtime;
use tonic::{Code, Request, Status};

use harness::{Place, Serving, repository, tiny_schedule};

/// Runs a scenario in the browser; what it printed is shown when it fails.
#[track_caller]
fn scenario(name: &str, serving: &Serving<'_>, environment: &[(&str, &str)]) {
    let directory = repository().join("manager/tests/browser");
    let pictures = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("browser-{name}"));
    let output = Command::new("node")
        .arg(directory.join(format!("{name}.mjs")))
        .env("BASE", format!("http://{}", serving.operator))
        .env("PICTURES", pictures)
        .envs(environment.iter().copied())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => panic!("node cannot be run ({error}): `setup/install test` installs it"),
    };
    let said = format!("{}{}", harness::text(&output.stdout), harness::text(&output.stderr));
    assert!(output.status.success(), "{name}: {}\n{said}", output.status);
    eprintln!("{said}");
}

#[test]
fn the_dashboard_shows_what_happens_and_does_what_it_is_told() {
    let checks = "checks = { disk = { timeout = \"20s\", min_free = \"100 MiB\" }, cloud_init = {}, dns = false, internet = false }";
    let schedule = |name: &str, environment: &str, more: &str| {
        tiny_schedule(name, &format!("image.environment = {{ {environment} }}\n{checks}\n{more}"))
    };
    let place = Place::new(
        &[
            schedule(
                "good",
                "TINY_BUILD_SECONDS = \"12\", TINY_PACKAGES = \"nginx=1.22.1-9\"",
                "cron = \"0 3 * * *\"\npublish = { name = \"good\", keep = 1 }",
            ),
            schedule("broken", "TINY_CANARY = \"disk-full\"", "cron = \"30 4 * * 1\""),
            schedule("slow", "TINY_BUILD_SECONDS = \"200\"", ""),
        ]
        .concat(),
    );
    let serving = place.serve();
    scenario("dashboard", &serving, &[]);
    assert_eq!(serving.terminate(), Some(0));
    place.assert_nothing_left();
}

#[test]
fn a_build_of_several_targets_says_which_did_what() {
    let (place, [_, bad]) = harness::several::place();
    eprintln!("{}", place.expect(&["show", &bad], 0));
    let serving = place.serve();
    scenario("trials", &serving, &[("BAD", &bad)]);
    assert_eq!(serving.terminate(), Some(0));
}

#[test]
fn a_published_image_is_verified_again_by_a_button() {
    let place = Place::tiny("publish.name = \"tiny\"\nchecks = { disk = {} }\nreverify = \"0 5 1 1 *\"");
    place.expect(&["run", "tiny"], 0);
    let serving = place.serve();
    scenario("verifying", &serving, &[]);
    let audit = place.expect(&["audit"], 0);
    assert_eq!(audit.matches("web, verifies again").count(), 2, "{audit}");
    assert_eq!(serving.terminate(), Some(0));
    place.assert_nothing_left();
}

#[test]
fn the_trials_of_a_build_are_followed_on_its_page() {
    let target = |name: &str, checks: &str| {
        format!("[[schedule.tiny.targets]]\nname = \"{name}\"\nchecks = {{ {checks} }}\n")
    };
    let place = Place::new(
        &[
            tiny_schedule("tiny", "# The targets have checks of their own."),
            target("roomy", "disk = {}"),
            target("tight", "disk = { min_free = \"20 GiB\" }"),
        ]
        .concat(),
    );
    let serving = place.serve();
    scenario("trials_live", &serving, &[]);
    assert_eq!(serving.terminate(), Some(0));
    place.assert_nothing_left();
}

#[test]
fn with_a_token_the_dashboard_asks_for_it() {
    let token = "correct-horse-battery-staple";
    let place = Place::tiny("");
    place.secret("token", token);
    let serving = place.serve_with(&["--api-token-file", "token"]);
    scenario("access", &serving, &[("TOKEN", token)]);
    let refused = |bearer| schedules(&serving, bearer).unwrap_err().code();
    assert_eq!(refused(None), Code::Unauthenticated);
    assert_eq!(refused(Some("correct-horse-battery-stapler")), Code::Unauthenticated);
    assert_eq!(schedules(&serving, Some(token)).unwrap(), 1);
    let log = place.serve_log();
    assert!(!log.contains(token), "the token is in the log:\n{log}");
    assert_eq!(serving.terminate(), Some(0));
}

/// How many schedules there are, asked over gRPC.
fn schedules(serving: &Serving<'_>, bearer: Option<&str>) -> Result<usize, Status> {
    let mut request = Request::new(ListSchedulesRequest {});
    if let Some(bearer) = bearer {
        request.metadata_mut().insert("authorization", format!("Bearer {bearer}").parse().unwrap());
    }
    let address = format!("http://{}", serving.operator);
    Runtime::new().unwrap().block_on(async {
        let mut client = ImageManagerClient::connect(address).await.unwrap();
        Ok(client.list_schedules(request).await?.into_inner().schedules.len())
    })
}
