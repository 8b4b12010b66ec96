//! The phases of a build, what each weighs, and how far it is within one. Pure.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// The phases in their order, with the seconds that each takes when nothing is known of a schedule: a
/// Debian image with mmdebstrap and zstd on two cores.
///
/// What comes before the first hook counts as `root`; `mkfs and copy` begins with the image file; `cleanup`
/// includes unmounting.
const PHASES: [(&str, f64); 12] = [
    ("root", 51.0),
    ("extra-data", 0.5),
    ("pre-install", 2.8),
    ("install", 28.0),
    ("post-install", 0.5),
    ("post-root", 0.1),
    ("block-device", 0.7),
    ("mkfs and copy", 6.6),
    ("pre-finalise", 0.1),
    ("finalise", 4.0),
    ("cleanup", 1.7),
    ("convert", 4.3),
];

/// The least that a phase may weigh: nothing is divided by zero, and every phase shows.
const LEAST_WEIGHT: f64 = 0.05;

/// The part of a phase that counts by time; the rest counts by scripts. Time says more: in most phases one
/// script takes nearly all of it.
const BY_TIME: f64 = 0.7;

/// One of the phases; ordered as they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Phase(usize);

impl Phase {
    /// The phase that a build starts in.
    pub(super) const FIRST: Self = Self(0);

    /// The phase of which a line of DIB's, without its timestamp, says that it is under way.
    pub(crate) fn told_by(text: &str) -> Option<Self> {
        // A script whose last line has no end runs into the next message, so look for it anywhere.
        let name = if let Some((_, said)) = text.rsplit_once("dib-run-parts ") {
            match said.strip_prefix("Sourcing environment file ") {
                Some(file) => file.split_once("/../").and_then(|(hooks, _)| of_directory(Path::new(hooks))),
                None => {
                    said.strip_prefix("Running ").and_then(|file| of_directory(Path::new(file).parent()?))
                }
            }
        } else if let Some(directory) = text.strip_prefix("Running hooks from ") {
            of_directory(Path::new(directory))
        } else if text.starts_with("Calculating image size") {
            Some("block-device")
        } else if text.contains("] Create image file [") {
            Some("mkfs and copy")
        } else if text.starts_with("Converting image using qemu-img") {
            Some("convert")
        } else {
            None
        };
        name.and_then(Self::named)
    }

    /// The phase of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        PHASES.iter().position(|(known, _)| *known == name).map(Self)
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        PHASES.get(self.0).map_or("", |(name, _)| *name)
    }
}

/// `…/install.d` is `install`.
pub(super) fn of_directory(directory: &Path) -> Option<&str> {
    directory.file_name()?.to_str()?.strip_suffix(".d")
}

/// How long each phase is expected to take.
#[derive(Debug, Clone)]
pub(super) struct Weights([f64; PHASES.len()]);

impl Weights {
    /// From the seconds of earlier builds; built-in ones when there are none. A phase that earlier builds
    /// did not have weighs next to nothing.
    pub(super) fn new(seconds: &BTreeMap<String, f64>) -> Self {
        let known = PHASES.iter().any(|(name, _)| seconds.contains_key(*name));
        Self(PHASES.map(|(name, default)| {
            let weight = if known { seconds.get(name).copied().unwrap_or_default() } else { default };
            if weight.is_finite() { weight.clamp(LEAST_WEIGHT, 1e6) } else { LEAST_WEIGHT }
        }))
    }

    /// How far a build is that has spent `elapsed` in `phase` and has done `done` of its `total` scripts:
    /// 0 up to, but never, 1.
    pub(super) fn progress(&self, phase: Phase, elapsed: Duration, done: usize, total: usize) -> f64 {
        let weight = self.0.get(phase.0).copied().unwrap_or(LEAST_WEIGHT);
        let before: f64 = self.0.iter().take(phase.0).sum();
        let all: f64 = self.0.iter().sum();
        let by_time = expected_part(elapsed.as_secs_f64() / weight);
        let within = match total {
            0 => by_time,
            _ => BY_TIME * by_time + (1.0 - BY_TIME) * ratio(done, total),
        };
        ((before + weight * within) / all).clamp(0.0, 0.999)
    }
}

/// Straight on for most of the time that was expected; then ever slower towards, but never to, 1. On a busy
/// host everything takes several times as long, and that should show, too.
fn expected_part(ratio: f64) -> f64 {
    const STRAIGHT: f64 = 0.7;
    const REST: f64 = 1.0 - STRAIGHT;
    let over = (ratio - STRAIGHT).max(0.0);
    ratio.clamp(0.0, STRAIGHT) + REST * over / (over + REST)
}

fn ratio(done: usize, total: usize) -> f64 {
    let part = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    (part(done) / part(total.max(1))).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_ordered_and_named() {
        assert_eq!(Phase::named("root"), Some(Phase::FIRST));
        assert!(Phase::named("install") < Phase::named("mkfs and copy"));
        assert_eq!(Phase::named("environment"), None);
        assert_eq!(Phase::named("convert").map(Phase::name), Some("convert"));
    }

    #[test]
    fn lines_tell_the_phase_that_is_under_way() {
        let told = |text| Phase::told_by(text).map(Phase::name);
        assert_eq!(told("Running hooks from /tmp/dib_build.x/hooks/cleanup.d"), Some("cleanup"));
        assert_eq!(
            told("no newline heredib-run-parts Running /tmp/in_target.d/install.d/60-agent"),
            Some("install")
        );
        let sourced = "dib-run-parts Sourcing environment file /x/finalise.d/../environment.d/50-a.bash";
        assert_eq!(told(sourced), Some("finalise"));
        assert_eq!(told("Converting image using qemu-img convert"), Some("convert"));
        for other in
            ["dib-run-parts 60-agent completed", "Running hooks from /tmp/x.d", "Unmount /tmp/install.d"]
        {
            assert_eq!(told(other), None, "{other}");
        }
    }

    #[test]
    fn a_long_script_goes_on_slower_and_never_arrives() {
        let weights = Weights::new(&BTreeMap::new());
        let at = |seconds| weights.progress(Phase::FIRST, Duration::from_secs(seconds), 0, 3);
        assert!(at(0) < at(10) && at(10) < at(40) && at(40) < at(80) && at(80) <= at(4000));
        assert!(at(40) - at(10) > at(110) - at(80));
        let end = weights.progress(Phase::named("extra-data").unwrap(), Duration::ZERO, 0, 0);
        assert!(at(4000) <= end);
    }

    #[test]
    fn weights_of_earlier_builds_win_and_nonsense_is_survived() {
        let seconds = BTreeMap::from([
            ("root".to_owned(), 1.0),
            ("convert".to_owned(), 99.0),
            ("install".to_owned(), f64::NAN),
            ("finalise".to_owned(), -3.0),
        ]);
        let weights = Weights::new(&seconds);
        let start = weights.progress(Phase::named("convert").unwrap(), Duration::ZERO, 0, 0);
        assert!(start < 0.05, "{start}");
        let half = weights.progress(Phase::named("convert").unwrap(), Duration::from_secs(50), 0, 0);
        assert!((0.4..0.6).contains(&half), "{half}");
    }
}
