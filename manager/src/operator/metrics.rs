//! `/metrics`: what Prometheus scrapes. Every set of labels is bounded; `monitoring/` has a dashboard and alerts
//! made of these names.
//!
//! A new metric is a family written here, from the history or from what `lifecycle/metrics.rs` counts while the
//! manager runs; docs/operations.md tells of it.

mod images;
mod intervals;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use chrono::{DateTime, Utc};
use image_manager_proto::v1::BuildState;

use self::intervals::Intervals;
use super::exposition::Exposition;
use crate::clock;
use crate::history::{HistoryError, Named as _, ScheduleState};
use crate::lifecycle::metrics::{BUCKETS, Counts, Delivery, VERDICTS};
use crate::lifecycle::{Manager, state};
use crate::schedules::{Schedule, planner};
use crate::untrusted::Untrusted;

/// The value of a gauge for a schedule; none where it does not apply.
type Value<'a> = &'a dyn Fn(&Schedule) -> Option<f64>;

/// Names whose images' age is told.
const IMAGES: u32 = 1000;

/// Prometheus' text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page of metrics. It asks for a viewer, as all that is only read on this port.
pub(super) fn routes(manager: Manager) -> Router {
    Router::new().route("/metrics", get(page)).with_state((manager, Arc::default()))
}

async fn page(State((manager, intervals)): State<(Manager, Arc<Intervals>)>) -> Response {
    match render(&manager, &intervals).await {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            (StatusCode::SERVICE_UNAVAILABLE, Untrusted::from(format!("{error}\n")).in_lines().into_owned())
                .into_response()
        }
    }
}

async fn render(manager: &Manager, intervals: &Intervals) -> Result<String, HistoryError> {
    let history = manager.history();
    let (unfinished, states) = (history.unfinished().await?, history.schedule_states().await?);
    let leftovers = history.leftover_resources().await?.len();
    let stuck = history.stuck_resources().await?.len();
    let schedules = manager.schedules();
    let counts = manager.metrics().counts();
    let mut page = Exposition::default();
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    page.family("image_manager_build_info", "gauge", "The version that runs; always 1.");
    page.sample("image_manager_build_info", &version, 1);
    builds(&mut page, &counts, &schedules.schedules);
    trials(&mut page, &counts);
    stages(&mut page, &counts);
    under_way(&mut page, &unfinished);
    page.single(
        "image_manager_agents_attached",
        "gauge",
        "Agents whose stream is open.",
        manager.attached_agents(),
    );
    page.single(
        "image_manager_leaks_found_total",
        "counter",
        "Resources found that a build had left behind, each counted once.",
        counts.leaks,
    );
    page.single(
        "image_manager_leaked_resources",
        "gauge",
        "Resources that builds left behind and that still exist.",
        leftovers,
    );
    page.single(
        "image_manager_stuck_resources",
        "gauge",
        "Of those, resources whose removal was tried and failed.",
        stuck,
    );
    intervals.keep(&schedules.schedules);
    schedule_gauges(&mut page, (&counts, intervals), &schedules.schedules, &states);
    images::write(&mut page, &history.current_publications(IMAGES).await?, &schedules.schedules);
    deliveries(&mut page, &counts);
    general(&mut page, manager);
    host(&mut page, manager);
    Ok(page.finish())
}

fn builds(page: &mut Exposition, counts: &Counts, schedules: &[Schedule]) {
    let name = "image_manager_builds_total";
    page.family(name, "counter", "Builds that ended since the start, by schedule and verdict.");
    // Zeros too: a first failure must be an increase.
    let mut all: BTreeMap<(&str, &str), u64> = schedules
        .iter()
        .flat_map(|schedule| VERDICTS.map(|verdict| ((schedule.name.as_str(), verdict), 0)))
        .collect();
    all.extend(
        counts.builds.iter().map(|((schedule, verdict), count)| ((schedule.as_str(), *verdict), *count)),
    );
    for ((schedule, verdict), count) in all {
        page.sample(name, &[("schedule", schedule), ("verdict", verdict)], count);
    }
}

fn stages(page: &mut Exposition, counts: &Counts) {
    let name = "image_manager_stage_duration_seconds";
    page.family(
        name,
        "histogram",
        "How long the stages of builds took, by target where a build has several.",
    );
    for ((schedule, target, stage), histogram) in &counts.stages {
        let mut labels = vec![("schedule", schedule.as_str()), ("stage", *stage)];
        if !target.is_empty() {
            labels.push(("target", target));
        }
        let mut below = 0;
        for (bound, count) in BUCKETS.iter().zip(histogram.buckets) {
            below += count;
            let bound = bound.to_string();
            page.sample(&format!("{name}_bucket"), &[&labels[..], &[("le", &bound)]].concat(), below);
        }
        let most = [&labels[..], &[("le", "+Inf")]].concat();
        page.sample(&format!("{name}_bucket"), &most, histogram.count);
        page.sample(&format!("{name}_sum"), &labels, histogram.sum);
        page.sample(&format!("{name}_count"), &labels, histogram.count);
    }
}

fn trials(page: &mut Exposition, counts: &Counts) {
    let name = "image_manager_trials_total";
    let help = "Trials that ended since the start, of builds with several, by schedule, target and verdict.";
    page.family(name, "counter", help);
    for ((schedule, target, verdict), count) in &counts.trials {
        page.sample(name, &[("schedule", schedule), ("target", target), ("verdict", verdict)], count);
    }
}

fn under_way(page: &mut Exposition, unfinished: &[(String, BuildState)]) {
    let in_state = |state: BuildState| unfinished.iter().filter(|(_, found)| *found == state).count();
    page.single(
        "image_manager_queue_length",
        "gauge",
        "Builds that wait for their turn.",
        in_state(BuildState::Queued),
    );
    let name = "image_manager_builds_in_progress";
    page.family(name, "gauge", "Builds under way, by state.");
    for state in state::UNDER_WAY {
        page.sample(name, &[("state", state.word())], in_state(state));
    }
}

fn schedule_gauges(
    page: &mut Exposition,
    (counts, intervals): (&Counts, &Intervals),
    schedules: &[Schedule],
    states: &BTreeMap<String, ScheduleState>,
) {
    let now = clock::now();
    let gauges: [(&str, &str, Value<'_>); 6] = [
        (
            "image_manager_last_success_timestamp_seconds",
            "When the last build of the schedule passed; 0 when none ever did. Kept over restarts.",
            &|schedule| Some(counts.last_success.get(&schedule.name).copied().unwrap_or_default()),
        ),
        (
            "image_manager_schedule_interval_seconds",
            "Longest time between fire times, now and among the next ones; absent for a schedule on demand only.",
            &|schedule| intervals.longest(schedule, now),
        ),
        (
            "image_manager_schedule_next_fire_timestamp_seconds",
            "When the schedule fires next; absent for a schedule that is paused or on demand only.",
            &|schedule| {
                let paused = states.get(&schedule.name).is_some_and(|state| state.paused);
                next_fire(schedule).filter(|_| !paused)
            },
        ),
        (
            "image_manager_schedule_next_reverify_timestamp_seconds",
            "When its published image is verified again; absent for a schedule that is paused or has no reverify.",
            &|schedule| {
                let paused = states.get(&schedule.name).is_some_and(|state| state.paused);
                planner::next_reverify(schedule, clock::now()).filter(|_| !paused).map(since_epoch)
            },
        ),
        ("image_manager_schedule_paused", "1 while the schedule is paused.", &|schedule| {
            let paused = states.get(&schedule.name).is_some_and(|state| state.paused);
            Some(f64::from(u8::from(paused)))
        }),
        (
            "image_manager_image_size_bytes",
            "Bytes of the last image that passed since the start.",
            &|schedule| {
                // Sizes of files are far below the 52 bits that a float keeps exactly.
                #[expect(clippy::cast_precision_loss, reason = "see above")]
                counts.image_bytes.get(&schedule.name).map(|bytes| *bytes as f64)
            },
        ),
    ];
    for (name, help, value) in gauges {
        page.family(name, "gauge", help);
        for schedule in schedules {
            if let Some(value) = value(schedule) {
                page.sample(name, &[("schedule", &schedule.name)], value);
            }
        }
    }
}

/// The next fire time, in seconds since the epoch.
fn next_fire(schedule: &Schedule) -> Option<f64> {
    planner::next_fires(schedule, clock::now(), 1).into_iter().next().map(since_epoch)
}

fn since_epoch(time: DateTime<Utc>) -> f64 {
    let since = std::time::SystemTime::from(time).duration_since(std::time::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

fn deliveries(page: &mut Exposition, counts: &Counts) {
    let name = "image_manager_webhook_deliveries_total";
    page.family(name, "counter", "Attempted deliveries of notices to the webhook, by outcome.");
    let outcomes =
        [(Delivery::Delivered, "delivered"), (Delivery::Retried, "retried"), (Delivery::GivenUp, "given_up")];
    for (outcome, word) in outcomes {
        let count = counts.deliveries.get(&outcome).copied().unwrap_or_default();
        page.sample(name, &[("outcome", word)], count);
    }
}

/// What is not one build's: the file, the clouds, and the room that a build may need.
fn general(page: &mut Exposition, manager: &Manager) {
    page.single(
        "image_manager_schedules_refused",
        "gauge",
        "1 while the schedules file is not used as it is now.",
        u8::from(manager.schedules_error().is_some()),
    );
    let name = "image_manager_cloud_answers";
    page.family(name, "gauge", "1 if the cloud answered when it was asked last; absent until it was asked.");
    for (cloud, silence) in manager.found_clouds() {
        page.sample(name, &[("cloud", &cloud)], u8::from(silence.is_none()));
    }
    page.single(
        "image_manager_needed_bytes",
        "gauge",
        "Free bytes of the scratch directory's file system below which no build of a new schedule starts.",
        manager.settings().room,
    );
}

fn host(page: &mut Exposition, manager: &Manager) {
    let name = "image_manager_free_bytes";
    page.family(name, "gauge", "Free bytes of the file systems that builds work on.");
    let settings = manager.settings();
    for (directory, path) in [("state", &settings.state), ("scratch", &settings.scratch)] {
        // The scratch directory is made by the first build; its parent is on the same file system.
        let there = path.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
        if let Ok(free) = crate::builder::free_bytes(there) {
            page.sample(name, &[("directory", directory)], free);
        }
    }
    if let Some(pages) = resident_pages() {
        let bytes = pages.saturating_mul(page_size());
        page.single("process_resident_memory_bytes", "gauge", "Resident memory of the manager.", bytes);
    }
}

fn resident_pages() -> Option<u64> {
    std::fs::read_to_string("/proc/self/statm").ok()?.split_whitespace().nth(1)?.parse().ok()
}

fn page_size() -> u64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|size| u64::try_from(size).ok())
        .unwrap_or(4096)
}
