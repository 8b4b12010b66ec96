//! Killed at every commit: whatever instant the manager dies at, the next one leaves nothing behind.
//!
//! A build that passes is recorded first, with the name of each commit to the history: so the list of points
//! comes from the program. Then, for each point, a manager is killed by SIGKILL right before or right after it,
//! another one is started, and when the build has come to its end nothing may be left of it: no row of the ledger
//! that is not gone, no server, image, process, mount, loop device or file.
//!
//! That on this host with QEMU, and on a real OpenStack when `IMAGE_MANAGER_TEST_CLOUDS` names one; with one target and
//! with two, also where the trial of one has to be made again (`made_again`). What is done with images once they are
//! published is tortured likewise (`published`).
//!
//! A few points, chosen anew each time (the seed is printed), belong to the suite; `make torture` takes all.
//! `IMAGE_MANAGER_TEST_TORTURE` says how many: a number, `all`, a part of all (`2/5` is the second of five, which together
//! are all), one point and all behind it (`created:server#1:after..`, to go on with what was cut off), or points with
//! blanks between them (`intend:server#1:after`; of published images `rollback/handover:done#1:before`).
//! `IMAGE_MANAGER_TEST_SEED` repeats a choice. `IMAGE_MANAGER_TEST_WORKERS` (2) says how many builds are made side by side:
//! most of the time those on OpenStack wait for its services.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests: a surprise ends the test"
)]

#[expect(dead_code, reason = "shared with the other tests; not all of it is needed here")]
#[path = "../openstack/account.rs"]
mod account;
#[expect(dead_code, reason = "shared with the other tests; not all of it is needed here")]
#[path = "../harness/mod.rs"]
mod harness;
mod kills;
mod life;
mod made_again;
mod openstack;
mod points;
mod published;
mod reloads;
mod verifying;

use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use harness::{Place, tiny_schedule};
use kills::{Before, Means, SUCCEEDED};
use published::Named;

/// Points of each kind that the suite takes.
const SAMPLE: usize = 1;
/// What a build may take on this host, killed or not, when it is busy.
const LIMIT: Duration = Duration::from_mins(5);
/// Builds side by side, unless the environment says otherwise.
const WORKERS: usize = 2;

#[test]
fn killed_at_any_commit_nothing_is_left_on_local() {
    let means = on_this_host(
        tiny_schedule("tiny", "publish = { name = \"tiny\", keep = 1 }\nchecks = { disk = {} }"),
        1,
    );
    torture("local", &means, SAMPLE);
}

/// Two servers of different size, tried side by side: what a kill at a commit of one trial does to the other.
#[test]
fn killed_at_any_commit_nothing_is_left_of_two_trials_on_local() {
    let targets = "[[schedule.tiny.targets]]\nname = \"small\"\n\
                   [[schedule.tiny.targets]]\nname = \"large\"\nserver.memory = \"384 MiB\"\n";
    let more = format!("publish = {{ name = \"tiny\", keep = 1 }}\nchecks = {{ disk = {{}} }}\n{targets}");
    let means = on_this_host(tiny_schedule("tiny", &more), 2);
    torture("two targets on local", &means, SAMPLE);
}

/// An image that says nothing, another one that is asked on its target, and the first once more.
#[test]
fn killed_at_any_commit_of_a_control_boot_nothing_is_left_on_local() {
    let more = "control = true\nimage.environment = { TINY_CANARY = \"kernel-panic\" }";
    let before = |place: &Place| {
        std::fs::DirBuilder::new().mode(0o700).create(place.state()).unwrap();
        // What control images are made of, downloaded once for all.
        std::os::unix::fs::symlink(
            harness::repository().join("target/tiny-image"),
            place.state().join("control"),
        )
        .unwrap();
    };
    let means = Means {
        before: Some(Before { done: Box::new(before), builds: 0 }),
        end: "failed",
        ..on_this_host(tiny_schedule("tiny", more), 1)
    };
    torture("a control boot on local", &means, SAMPLE);
}

/// Names that go to other images, and published images that are verified again.
#[test]
fn killed_at_any_commit_names_stay_verified_on_local() {
    let more = "publish = { name = \"tiny\", keep = 50 }\nchecks = { disk = {} }";
    let means = on_this_host(tiny_schedule("tiny", more), 1);
    let named: Named = Box::new(|place, name| vec![("local".to_owned(), named_here(place, name))]);
    published::torture("local", &means, &named, SAMPLE);
}

/// Builds on this host, which pass when nobody is killed, each with so many trials.
fn on_this_host(schedules: String, trials: u32) -> Means {
    Means {
        schedules,
        trials,
        gateways: gateways("127.0.0.1"),
        environment: Vec::new(),
        limit: LIMIT,
        leaks: Box::new(|_| Vec::new()),
        tidy: Box::new(|_| ()),
        before: None,
        verify: false,
        end: SUCCEEDED,
    }
}

/// The hash of the file that has a name on this host.
fn named_here(place: &Place, name: &str) -> Vec<String> {
    let file = place.state().join(format!("images/published/{name}.qcow2"));
    let said = std::process::Command::new("sha512sum").arg(file).output().unwrap();
    let said = harness::text(&said.stdout);
    said.split(' ').next().filter(|hash| hash.len() == 128).map(str::to_owned).into_iter().collect()
}

/// A port for each worker that its next manager has too: an agent that was told of it can still come. Below those
/// that the system gives out by itself, or another program had it by then.
fn gateways(address: &str) -> Vec<String> {
    // Far from those of a test beside this one.
    let from = 20_000 + u16::try_from(std::process::id() % 600 * 16).unwrap();
    let workers = std::env::var("IMAGE_MANAGER_TEST_WORKERS").map_or(WORKERS, |count| count.parse().unwrap());
    let free = (from..32_000).filter(|port| TcpListener::bind((address, *port)).is_ok());
    let gateways: Vec<String> = free.take(workers).map(|port| format!("{address}:{port}")).collect();
    assert_eq!(gateways.len(), workers, "no free ports from {from} to 32000");
    gateways
}

fn torture(cloud: &str, means: &Means, sample: usize) {
    let began = Instant::now();
    let recorded = kills::record(means);
    let chosen = points::chosen(&recorded, sample);
    eprintln!("torture on {cloud}: {} points; {} kills to do", recorded.len(), chosen.len());
    let queue = Mutex::new(chosen.iter());
    let leaks = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for gateway in &means.gateways {
            let (queue, leaks) = (&queue, &leaks);
            scope.spawn(move || {
                while let Some(point) = { queue.lock().unwrap().next() } {
                    let started = Instant::now();
                    let mut outcome = torment(means, gateway, point);
                    if outcome.is_none() {
                        outcome = torment(means, gateway, point);
                    }
                    let never = || (Vec::new(), vec!["the point was not reached".to_owned()]);
                    let (ends, left) = outcome.unwrap_or_else(never);
                    let seconds = started.elapsed().as_secs_f64();
                    eprintln!("  {point}: {} after {seconds:.0} s, {} leaks", ends.join(", "), left.len());
                    for leak in &left {
                        eprintln!("    {leak}");
                    }
                    leaks.lock().unwrap().extend(left.iter().map(|leak| format!("{point}: {leak}")));
                }
            });
        }
    });
    let leaks = leaks.into_inner().unwrap();
    eprintln!(
        "torture on {cloud}: {} points, {} kills, {} leaks, {:.0} s",
        recorded.len(),
        chosen.len(),
        leaks.len(),
        began.elapsed().as_secs_f64()
    );
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}

/// How the builds of one kill ended, and what is left. `None` when the build did not come as far: a guest's kernel
/// panics about once in thirty boots under emulation, and then its build is ERRORED before.
fn torment(means: &Means, gateway: &str, point: &str) -> Option<(Vec<String>, Vec<String>)> {
    let place = means.place();
    let outcome = catch_unwind(AssertUnwindSafe(|| kills::kill_at(&place, means, gateway, point)));
    let outcome = outcome.unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        Some((Vec::new(), vec![format!("{words}\n{}", place.serve_log())]))
    });
    (means.tidy)(&place);
    outcome
}
