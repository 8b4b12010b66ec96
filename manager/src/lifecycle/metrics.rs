//! What is counted while the manager runs, for `/metrics`. Sets of labels are bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use image_manager_proto::v1::{self, BuildState, StageState, TrialState};
use prost_types::Timestamp;

use super::trials::{image, several};
use crate::stage::Stage;

/// Upper bounds of the histogram's buckets, in seconds: what is quick on a fast cloud, up to what a timeout
/// allows.
pub const BUCKETS: [f64; 12] =
    [1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0];

/// Schedules that are counted by their names; a file has 500 at most, and may be changed while we run.
const SCHEDULES: usize = 1000;
/// Schedules whose stages have histograms of their own.
const HISTOGRAMS: usize = 100;
/// Trials that are counted by schedule, target and verdict.
const TRIALS: usize = 1000;
/// The name that all further schedules share.
const OTHER: &str = "other";
/// Leaks that are remembered, so that each is counted once.
const LEAKS: usize = 10_000;

/// How a build may end, as a label.
pub const VERDICTS: [&str; 5] = ["passed", "failed", "errored", "cancelled", "skipped"];

/// How often something took how long.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    /// Values up to each of [`BUCKETS`], not cumulated.
    pub buckets: [u64; BUCKETS.len()],
    /// All values.
    pub count: u64,
    /// Their sum in seconds.
    pub sum: f64,
}

impl Histogram {
    fn observe(&mut self, seconds: f64) {
        self.count += 1;
        self.sum += seconds;
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound);
        if let Some(bucket) = bucket.and_then(|bucket| self.buckets.get_mut(bucket)) {
            *bucket += 1;
        }
    }
}

/// How the delivery of a notice went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Delivery {
    /// The receiver took it.
    Delivered,
    /// It did not, and is asked again later.
    Retried,
    /// It is not asked any more.
    GivenUp,
}

/// What has been counted since the start.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Builds that ended, by schedule and one of [`VERDICTS`].
    pub builds: BTreeMap<(String, &'static str), u64>,
    /// Trials that ended of builds with several, by schedule, target and one of [`VERDICTS`].
    pub trials: BTreeMap<(String, String, &'static str), u64>,
    /// Seconds of stages, by schedule, target and stage. The target is empty for stages of the build itself, and where it
    /// has one trial.
    pub stages: BTreeMap<(String, String, &'static str), Histogram>,
    /// When the last build of each schedule passed, or would have made the same image, in seconds since the epoch. Restored from the history.
    pub last_success: BTreeMap<String, f64>,
    /// Bytes of the last image of each schedule that passed.
    pub image_bytes: BTreeMap<String, u64>,
    /// Things found that a build had left behind.
    pub leaks: u64,
    /// Notices, by what became of a try to deliver them.
    pub deliveries: BTreeMap<Delivery, u64>,
    /// Rows of the ledger that were counted as leaks.
    known_leaks: BTreeSet<i64>,
}

/// Counts; shared by all that has something to count.
#[derive(Debug, Default)]
pub struct Metrics {
    counts: Mutex<Counts>,
}

impl Metrics {
    /// What has been counted up to now.
    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    /// A build has ended.
    pub fn ended(&self, build: &v1::Build) {
        // It made no image, and says nothing of builds.
        if build.verification {
            return;
        }
        let verdict = match build.state() {
            BuildState::Succeeded => "passed",
            BuildState::Failed => "failed",
            BuildState::Errored => "errored",
            BuildState::Cancelled => "cancelled",
            BuildState::Skipped => "skipped",
            _ => return,
        };
        let mut counts = self.lock();
        let schedule = counts.label(&build.schedule);
        *counts.builds.entry((schedule.clone(), verdict)).or_default() += 1;
        // One that was skipped says that the image is as fresh as a new one.
        if matches!(verdict, "passed" | "skipped") {
            let finished = build.finished_at.as_ref().map(seconds).unwrap_or_default();
            counts.last_success.insert(schedule.clone(), finished);
        }
        if verdict == "passed" {
            let bytes = image(build).map(|image| image.size_bytes).unwrap_or_default();
            counts.image_bytes.insert(schedule, bytes);
        }
        counts.stages_of(build);
        counts.trials_of(build);
    }

    /// What the history knows of a time before this manager: when each schedule passed last, in milliseconds.
    pub fn restore(&self, last_success: BTreeMap<String, i64>) {
        let mut counts = self.lock();
        for (schedule, ms) in last_success {
            let seconds = Duration::from_millis(u64::try_from(ms).unwrap_or_default()).as_secs_f64();
            let schedule = counts.label(&schedule);
            let known = counts.last_success.entry(schedule).or_default();
            *known = known.max(seconds);
        }
    }

    /// Something was found that an ended build had left behind; counted once, however often it is found.
    pub fn leak(&self, row: i64) {
        let mut counts = self.lock();
        if counts.known_leaks.insert(row) {
            counts.leaks += 1;
        }
        while counts.known_leaks.len() > LEAKS {
            counts.known_leaks.pop_first();
        }
    }

    /// A notice was tried to be delivered.
    pub fn delivery(&self, outcome: Delivery) {
        *self.lock().deliveries.entry(outcome).or_default() += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Numbers are whole even after a panic elsewhere.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// The schedule's name, while there are not too many.
    fn label(&self, schedule: &str) -> String {
        let known = self.last_success.contains_key(schedule)
            || VERDICTS.iter().any(|verdict| self.builds.contains_key(&(schedule.to_owned(), *verdict)));
        let full = self.builds.len().max(self.last_success.len()) >= SCHEDULES;
        if full && !known { OTHER.to_owned() } else { schedule.to_owned() }
    }

    fn trials_of(&mut self, build: &v1::Build) {
        for trial in several(build) {
            let verdict = match trial.state() {
                TrialState::Succeeded => "passed",
                TrialState::Failed => "failed",
                TrialState::Errored => "errored",
                TrialState::Cancelled => "cancelled",
                _ => continue,
            };
            let own = (build.schedule.clone(), trial.target.clone(), verdict);
            let full = self.trials.len() >= TRIALS && !self.trials.contains_key(&own);
            let key = if full { (OTHER.to_owned(), OTHER.to_owned(), verdict) } else { own };
            *self.trials.entry(key).or_default() += 1;
        }
    }

    fn stages_of(&mut self, build: &v1::Build) {
        // Those of an only trial are among the build's.
        let of_trials =
            several(build).iter().flat_map(|trial| trial.stages.iter().map(|stage| (&*trial.target, stage)));
        for (target, stage) in build.stages.iter().map(|stage| ("", stage)).chain(of_trials) {
            let full = self.stages.len() >= HISTOGRAMS * Stage::ALL.len();
            let Some(name) = Stage::parse(&stage.name).map(Stage::word) else { continue };
            let (Some(from), Some(to)) = (&stage.started_at, &stage.finished_at) else { continue };
            if !matches!(stage.state(), StageState::Done | StageState::Failed) {
                continue;
            }
            let own = (build.schedule.clone(), target.to_owned(), name);
            let other = || (OTHER.to_owned(), String::new(), name);
            let key = if full && !self.stages.contains_key(&own) { other() } else { own };
            // A clock that was set back must not make a negative duration.
            self.stages.entry(key).or_default().observe((seconds(to) - seconds(from)).max(0.0));
        }
    }
}

fn seconds(time: &Timestamp) -> f64 {
    let since = Duration::new(
        u64::try_from(time.seconds).unwrap_or_default(),
        u32::try_from(time.nanos).unwrap_or_default(),
    );
    since.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(schedule: &str, state: BuildState, building: i64) -> v1::Build {
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let stage = v1::Stage {
            name: "building".to_owned(),
            state: StageState::Done.into(),
            started_at: at(1000),
            finished_at: at(1000 + building),
            detail: String::new(),
        };
        v1::Build {
            schedule: schedule.to_owned(),
            state: state.into(),
            finished_at: at(2000 + building),
            stages: vec![stage],
            ..v1::Build::default()
        }
    }

    #[test]
    fn ends_are_counted_by_schedule_and_verdict() {
        let metrics = Metrics::default();
        metrics.restore([("web".to_owned(), 1_500)].into());
        assert!((metrics.counts().last_success["web"] - 1.5).abs() < 1e-9);
        metrics.ended(&build("web", BuildState::Succeeded, 40));
        metrics.ended(&build("web", BuildState::Failed, 9000));
        metrics.ended(&build("web", BuildState::Building, 1));
        metrics.restore([("web".to_owned(), 1_500)].into());
        let counts = metrics.counts();
        assert_eq!(counts.builds[&("web".to_owned(), "passed")], 1);
        assert_eq!(counts.builds[&("web".to_owned(), "failed")], 1);
        assert!((counts.last_success["web"] - 2040.0).abs() < 1e-9, "a reload never goes back");
        let histogram = &counts.stages[&("web".to_owned(), String::new(), "building")];
        assert_eq!((histogram.count, histogram.buckets.iter().sum::<u64>()), (2, 1));
        assert_eq!(histogram.buckets[4], 1, "40 s are within a minute");
        assert!((histogram.sum - 9040.0).abs() < 1e-9);
    }

    #[test]
    fn several_trials_are_counted_by_target_and_bounded() {
        let metrics = Metrics::default();
        let several = |names: [String; 2]| {
            let mut ended = build("web", BuildState::Failed, 40);
            let stages = ended.stages.clone();
            ended.trials = names
                .map(|target| v1::Trial {
                    target,
                    state: TrialState::Failed.into(),
                    stages: vec![v1::Stage { name: "booting".to_owned(), ..stages[0].clone() }],
                    ..v1::Trial::default()
                })
                .to_vec();
            ended
        };
        metrics.ended(&several(["small".to_owned(), "large".to_owned()]));
        let counts = metrics.counts();
        assert_eq!(counts.trials[&("web".to_owned(), "large".to_owned(), "failed")], 1);
        assert_eq!(counts.stages[&("web".to_owned(), "large".to_owned(), "booting")].count, 1);
        assert_eq!(counts.stages[&("web".to_owned(), String::new(), "building")].count, 1);
        for number in 0..TRIALS {
            metrics.ended(&several([format!("a{number}"), format!("b{number}")]));
        }
        let counts = metrics.counts();
        assert_eq!(counts.trials.len(), TRIALS + 1);
        assert!(counts.stages.len() <= HISTOGRAMS * Stage::ALL.len() + Stage::ALL.len());
    }

    #[test]
    fn labels_are_bounded() {
        let metrics = Metrics::default();
        for number in 0..3 * SCHEDULES {
            metrics.ended(&build(&format!("s{number}"), BuildState::Succeeded, 1));
            metrics.leak(i64::try_from(number % 7).unwrap());
        }
        let counts = metrics.counts();
        assert_eq!(counts.builds.len(), SCHEDULES + 1);
        assert_eq!(counts.builds[&(OTHER.to_owned(), "passed")], 2 * SCHEDULES as u64);
        assert!(counts.stages.len() <= HISTOGRAMS * Stage::ALL.len() + Stage::ALL.len());
        assert_eq!(counts.leaks, 7);
    }
}
