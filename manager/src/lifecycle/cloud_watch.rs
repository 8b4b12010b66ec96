//! Whether the clouds of the schedules answer: asked now and then, so that a cloud that is down is known of before a build
//! needs it, and one that is there again is not told to be silent until the next build.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::clouds::Clouds;
use super::current_schedules::CurrentSchedules;
use crate::clock;
use crate::schedules::Schedules;

/// How often each cloud is asked; the first time at once.
pub(super) const EVERY: Duration = Duration::from_mins(3);
/// How long one may take to answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// Asks the clouds until `stop`.
pub(super) fn start(clouds: Clouds, schedules: CurrentSchedules, stop: CancellationToken) {
    tokio::spawn(async move {
        let mut round = interval(clock::pause(EVERY));
        round.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = round.tick() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = clouds.ask(used(&schedules.all()), PATIENCE) => {}
            }
        }
    });
}

/// The clouds that schedules name, but for this host, which cannot be silent.
pub(super) fn used(schedules: &Schedules) -> BTreeSet<String> {
    let targets = schedules.schedules.iter().flat_map(|schedule| &schedule.targets);
    targets.filter(|target| !target.kind().on_this_host).map(|target| target.cloud.clone()).collect()
}
