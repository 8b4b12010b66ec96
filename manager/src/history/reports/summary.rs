//! Builds summed up.

use image_manager_proto::v1;
use image_manager_proto::v1::BuildState as S;

use super::distribution::Distribution;
use crate::clock::{span as duration, timestamp};
use crate::stage::Stage;

/// How stored distributions are written: named, so that a version of this program with other ones still reads them.
pub(super) const FORMAT: i64 = 2;
/// The names in stored sums of what is no stage.
const OTHERS: [&str; 3] = ["total", "boot", "size"];
/// Distributions that a stored sum may have; more are damage.
const MOST: usize = 64;

/// What a report needs of one build that has ended.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) id: String,
    pub(super) created_at: i64,
    pub(super) state: S,
    /// It passed, and the schedule's build before it had errored.
    pub(super) recovered: bool,
    /// Milliseconds of each stage that ended well.
    pub(super) stages: [Option<u64>; Stage::ALL.len()],
    /// Milliseconds from the first stage to the end, when it passed.
    pub(super) total: Option<u64>,
    /// Milliseconds from asking for the server to the agent's first word; not of a build that was resumed.
    pub(super) boot: Option<u64>,
    /// Bytes of the image file.
    pub(super) size: Option<u64>,
}

/// Builds of one schedule, counted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) builds: u64,
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) errored: u64,
    pub(super) cancelled: u64,
    pub(super) flaky: u64,
    pub(super) first_failed_at: Option<i64>,
    pub(super) last_failed_at: Option<i64>,
    pub(super) last_passed_at: Option<i64>,
}

impl Counts {
    fn add(&mut self, sample: &Sample) {
        let at = Some(sample.created_at);
        self.builds += 1;
        match sample.state {
            S::Succeeded => {
                self.passed += 1;
                self.last_passed_at = self.last_passed_at.max(at);
            }
            S::Failed => {
                self.failed += 1;
                self.first_failed_at = earlier(self.first_failed_at, at);
                self.last_failed_at = self.last_failed_at.max(at);
            }
            S::Errored => self.errored += 1,
            _ => self.cancelled += 1,
        }
        self.flaky += u64::from(sample.recovered);
    }

    fn merge(&mut self, other: &Self) {
        self.builds += other.builds;
        self.passed += other.passed;
        self.failed += other.failed;
        self.errored += other.errored;
        self.cancelled += other.cancelled;
        self.flaky += other.flaky;
        self.first_failed_at = earlier(self.first_failed_at, other.first_failed_at);
        self.last_failed_at = self.last_failed_at.max(other.last_failed_at);
        self.last_passed_at = self.last_passed_at.max(other.last_passed_at);
    }

    fn mean_time_between_failures(&self) -> Option<prost_types::Duration> {
        let gaps = i64::try_from(self.failed.checked_sub(1)?).ok()?;
        let (first, last) = (self.first_failed_at?, self.last_failed_at?);
        Some(duration((last - first).checked_div(gaps)?))
    }
}

/// Builds of one schedule, summed up.
#[derive(Debug, Clone, Default)]
pub(super) struct Summary {
    pub(super) counts: Counts,
    stages: [Distribution; Stage::ALL.len()],
    total: Distribution,
    boot: Distribution,
    size: Distribution,
}

impl Summary {
    /// Takes a build in.
    pub(super) fn add(&mut self, sample: &Sample) {
        self.counts.add(sample);
        let values = sample.stages.into_iter().chain([sample.total, sample.boot, sample.size]);
        for ((_, distribution), value) in self.distributions_mut().zip(values) {
            if let Some(value) = value {
                distribution.add(value);
            }
        }
    }

    /// Takes another summary in.
    pub(super) fn merge(&mut self, other: &Self) {
        self.counts.merge(&other.counts);
        for ((_, mine), (_, theirs)) in self.distributions_mut().zip(other.distributions()) {
            mine.merge(theirs);
        }
    }

    /// Takes the counts of a stored summary in, and its distributions from their stored form. `None` when that
    /// is damaged, or of a format of a newer program.
    pub(super) fn merge_stored(
        &mut self,
        counts: &Counts,
        (format, mut distributions): (i64, &[u8]),
    ) -> Option<()> {
        self.counts.merge(counts);
        match format {
            // The first one: all of them without names, in this order.
            1 => self.distributions_mut().try_for_each(|(_, mine)| mine.merge_stored(&mut distributions))?,
            FORMAT => {
                for _ in 0..MOST {
                    if distributions.is_empty() {
                        break;
                    }
                    let name = take_name(&mut distributions)?;
                    let mut unknown = Distribution::default();
                    let mine = self.distributions_mut().find(|(known, _)| known.as_bytes() == name);
                    mine.map_or(&mut unknown, |(_, mine)| mine).merge_stored(&mut distributions)?;
                }
            }
            _ => return None,
        }
        distributions.is_empty().then_some(())
    }

    /// The distributions in their stored form: of each that has values the length of its name, its name, itself.
    pub(super) fn encode_distributions(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, distribution) in self.distributions().filter(|(_, it)| it.range().is_some()) {
            out.push(u8::try_from(name.len()).unwrap_or_default());
            out.extend_from_slice(name.as_bytes());
            distribution.encode(&mut out);
        }
        out
    }

    fn distributions(&self) -> impl Iterator<Item = (&'static str, &Distribution)> {
        names().zip(self.stages.iter().chain([&self.total, &self.boot, &self.size]))
    }

    fn distributions_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Distribution)> {
        names().zip(self.stages.iter_mut().chain([&mut self.total, &mut self.boot, &mut self.size]))
    }

    /// The report of a schedule.
    pub(super) fn report(&self, schedule: &str, points: Vec<v1::TrendPoint>) -> v1::ScheduleReport {
        let counts = &self.counts;
        let sizes = self.size.range().map(|(min_bytes, max_bytes)| v1::SizeRange {
            min_bytes,
            p50_bytes: self.size.percentile(50).unwrap_or_default(),
            max_bytes,
        });
        v1::ScheduleReport {
            schedule: schedule.to_owned(),
            builds: counts.builds,
            passed: counts.passed,
            failed: counts.failed,
            errored: counts.errored,
            cancelled: counts.cancelled,
            success_rate: ratio(counts.passed, counts.passed + counts.failed),
            stages: self.stage_durations(),
            sizes,
            total: durations(&self.total),
            boot: durations(&self.boot),
            flaky: counts.flaky,
            mean_time_between_failures: counts.mean_time_between_failures(),
            last_passed_at: counts.last_passed_at.map(timestamp),
            points,
            targets: Vec::new(),
            skipped: 0,
        }
    }

    /// A point of a trend.
    pub(super) fn point(&self, time: i64, build_id: Option<String>) -> v1::TrendPoint {
        let counts = &self.counts;
        v1::TrendPoint {
            time: Some(timestamp(time)),
            build_id: build_id.unwrap_or_default(),
            builds: counts.builds,
            passed: counts.passed,
            failed: counts.failed,
            errored: counts.errored,
            cancelled: counts.cancelled,
            stages: self.stage_durations(),
            boot: self.boot.percentile(50).map(milliseconds),
            size_bytes: self.size.percentile(50).unwrap_or_default(),
        }
    }

    fn stage_durations(&self) -> Vec<v1::StageDurations> {
        let told = Stage::ALL.iter().zip(&self.stages).filter_map(|(stage, distribution)| {
            let durations = durations(distribution)?;
            Some(v1::StageDurations { name: stage.word().to_owned(), p50: durations.p50, p95: durations.p95 })
        });
        told.collect()
    }
}

/// The names of all distributions, in their order.
fn names() -> impl Iterator<Item = &'static str> {
    Stage::ALL.into_iter().map(Stage::word).chain(OTHERS)
}

fn take_name<'bytes>(bytes: &mut &'bytes [u8]) -> Option<&'bytes [u8]> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    *bytes = rest;
    Some(name)
}

fn earlier(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

pub(super) fn durations(distribution: &Distribution) -> Option<v1::Durations> {
    let p50 = distribution.percentile(50)?;
    Some(v1::Durations {
        p50: Some(milliseconds(p50)),
        p95: Some(milliseconds(distribution.percentile(95)?)),
    })
}

fn milliseconds(ms: u64) -> prost_types::Duration {
    duration(i64::try_from(ms).unwrap_or(i64::MAX))
}

#[expect(clippy::cast_precision_loss, reason = "a share of builds; nobody has 2^52 of them")]
pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
