//! Reads progress out of DIB's output. Pure: the caller says what time it is.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Expanded;
use super::phases::{Phase, Weights, of_directory};
use super::staleness::{MissedIndex, Staleness};

/// Lines kept of the running script.
const SCRIPT_LINES: usize = 60;
/// Hooks remembered, against output that never ends.
const MOST_HOOKS: usize = 10_000;
/// What a script of yum-minimal says when it gives up: the exit code is then 0, since DIB's `die` passes on that of the
/// condition that led to it.
const GIVES_UP: [&str; 2] = ["Failed to download initial packages", "Initial yum install to chroot failed!"];
/// Loop devices remembered.
const MOST_LOOPS: usize = 64;

/// A hook script of an element.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Script {
    /// The element that brought it, when the log told.
    pub(super) element: Option<String>,
    /// Whether that is one of disk-image-builder's own.
    pub(super) of_dib: bool,
    /// The phase, `install`.
    pub(super) phase: String,
    /// The file's name, `01-package-installs`.
    pub(super) name: String,
}

/// What DIB's output has told so far.
#[derive(Debug)]
pub(super) struct LogReader {
    weights: Weights,
    phase: Phase,
    phase_since: Duration,
    finished_phases: BTreeMap<String, f64>,
    /// Where elements are looked for besides DIB's own.
    elements_path: Vec<PathBuf>,
    /// Element of each hook, by phase and script, and whether it is DIB's own.
    hooks: HashMap<(String, String), (String, bool)>,
    /// What DIB works with; no elements until it has said them.
    expanded: Expanded,
    /// Hooks of each phase.
    totals: HashMap<String, usize>,
    done: usize,
    running: Option<Script>,
    script_lines: VecDeque<String>,
    /// A script that gave up and that DIB went on after, with its lines.
    gave_up: Option<(Script, VecDeque<String>)>,
    loops: Vec<String>,
    staleness: Staleness,
    converted: bool,
    succeeded: bool,
    shown: f64,
}

impl LogReader {
    /// For a build whose earlier ones took these seconds in each phase.
    pub(super) fn new(phase_weights: &BTreeMap<String, f64>) -> Self {
        Self {
            weights: Weights::new(phase_weights),
            phase: Phase::FIRST,
            phase_since: Duration::ZERO,
            finished_phases: BTreeMap::new(),
            elements_path: Vec::new(),
            hooks: HashMap::new(),
            expanded: Expanded::default(),
            totals: HashMap::new(),
            done: 0,
            running: None,
            script_lines: VecDeque::new(),
            gave_up: None,
            loops: Vec::new(),
            staleness: Staleness::default(),
            converted: false,
            succeeded: false,
            shown: 0.0,
        }
    }

    /// With these directories of elements that are not DIB's own.
    pub(super) fn with_elements_path(mut self, directories: &[PathBuf]) -> Self {
        let absolute =
            |directory: &PathBuf| std::path::absolute(directory).unwrap_or_else(|_| directory.clone());
        self.elements_path = directories.iter().map(absolute).collect();
        self
    }

    /// Takes in one line of output that came `now` after the start.
    pub(super) fn line(&mut self, now: Duration, line: &str) {
        let text = without_timestamp(line);
        let phase = Phase::told_by(text);
        if let Some((_, said)) = text.rsplit_once("dib-run-parts ") {
            self.run_parts(now, said, phase);
        } else if let Some(hook) = text.strip_prefix("Copying hooks /") {
            self.hook(Path::new(hook));
        } else if let Some(version) = text.strip_prefix("diskimage-builder version ") {
            version.clone_into(&mut self.expanded.version);
        } else if let Some(elements) = text.strip_prefix("Expanded element dependencies to: ") {
            self.expanded.elements =
                elements.split_whitespace().take(MOST_HOOKS).map(str::to_owned).collect();
        } else if let Some((_, device)) = text.split_once("New block device [") {
            self.block_device(device.trim_end_matches(']'));
        } else if text.starts_with("Image file ") && text.ends_with(" created...") {
            self.converted = true;
        } else if text == "Build completed successfully" {
            self.succeeded = true;
        } else {
            self.enter(now, phase);
        }
        if self.running.is_some() && !text.is_empty() {
            if self.script_lines.len() == SCRIPT_LINES {
                self.script_lines.pop_front();
            }
            self.script_lines.push_back(text.to_owned());
        }
        self.staleness.line(text, self.running.as_ref());
    }

    /// The share of the build that is done: 0 to 1, never less than before, 1 only when DIB has said that
    /// the build succeeded.
    pub(super) fn progress(&mut self, now: Duration) -> f64 {
        let total = self.totals.get(self.phase.name()).copied().unwrap_or_default();
        let elapsed = now.saturating_sub(self.phase_since);
        let reached = match (self.succeeded, self.converted) {
            (true, _) => 1.0,
            (false, true) => 0.999,
            (false, false) => self.weights.progress(self.phase, elapsed, self.done, total),
        };
        self.shown = self.shown.max(reached);
        self.shown
    }

    /// What it is at: the phase, and the running script.
    pub(super) fn doing(&self) -> String {
        match &self.running {
            Some(script) => format!("{}: {}", self.phase.name(), script.name),
            None if self.hooks.is_empty() && self.phase == Phase::FIRST => "getting ready".to_owned(),
            None => self.phase.name().to_owned(),
        }
    }

    /// The phase that it is in.
    pub(super) fn phase(&self) -> &'static str {
        self.phase.name()
    }

    /// The script that was started and has not come to its end, or that gave up without saying so by its exit code.
    pub(super) fn running(&self) -> Option<&Script> {
        self.gave_up.as_ref().map(|(script, _)| script).or(self.running.as_ref())
    }

    /// What DIB works with, once it has said so.
    pub(super) fn expanded(&self) -> Option<&Expanded> {
        Some(&self.expanded).filter(|expanded| !expanded.elements.is_empty())
    }

    /// The last lines since that script was started, without their timestamps.
    pub(super) fn script_lines(&self) -> impl DoubleEndedIterator<Item = &str> {
        let lines = self.gave_up.as_ref().map_or(&self.script_lines, |(_, lines)| lines);
        lines.iter().map(String::as_str)
    }

    /// Whether DIB has said that the build succeeded.
    pub(super) fn succeeded(&self) -> bool {
        self.succeeded
    }

    /// The loop devices that DIB has made.
    pub(super) fn loops(&self) -> &[String] {
        &self.loops
    }

    /// A package index that the build has gone on without.
    pub(super) fn missed_index(&self) -> Option<&MissedIndex> {
        self.staleness.first()
    }

    /// Seconds that each phase took, the current one until `now`.
    pub(super) fn phase_seconds(&self, now: Duration) -> BTreeMap<String, f64> {
        let mut seconds = self.finished_phases.clone();
        seconds.insert(self.phase.name().to_owned(), now.saturating_sub(self.phase_since).as_secs_f64());
        seconds
    }

    fn run_parts(&mut self, now: Duration, said: &str, phase: Option<Phase>) {
        if said.starts_with("Sourcing environment file ") {
            self.enter(now, phase);
        } else if let Some(file) = said.strip_prefix("Running ") {
            self.script_started(now, Path::new(file), phase);
        } else if said.ends_with(" completed") || said.contains("--- PROFILING ---") {
            self.script_ended();
        }
    }

    fn hook(&mut self, file: &Path) {
        let phase = file.parent().and_then(of_directory);
        let element = file.ancestors().nth(2).and_then(Path::file_name).and_then(|name| name.to_str());
        let name = file.file_name().and_then(|name| name.to_str());
        let (Some(phase), Some(element), Some(name)) = (phase, element, name) else { return };
        let runs = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if !runs || Phase::named(phase).is_none() || self.hooks.len() >= MOST_HOOKS {
            return;
        }
        let of_dib = !file
            .ancestors()
            .nth(3)
            .is_some_and(|elements| self.elements_path.iter().any(|own| own == elements));
        self.hooks.insert((phase.to_owned(), name.to_owned()), (element.to_owned(), of_dib));
        *self.totals.entry(phase.to_owned()).or_default() += 1;
    }

    fn script_started(&mut self, now: Duration, file: &Path, of: Option<Phase>) {
        let phase = file.parent().and_then(of_directory);
        let name = file.file_name().and_then(|name| name.to_str());
        let (Some(phase), Some(name)) = (phase, name) else { return };
        self.script_ended();
        self.enter(now, of);
        let (phase, name) = (phase.to_owned(), name.to_owned());
        let hook = self.hooks.get(&(phase.clone(), name.clone())).cloned();
        let (element, of_dib) = hook.map_or((None, false), |(element, of_dib)| (Some(element), of_dib));
        self.running = Some(Script { element, of_dib, phase, name });
    }

    fn script_ended(&mut self) {
        if let Some(script) = self.running.take() {
            self.done += 1;
            let gives_up = |line: &String| GIVES_UP.iter().any(|words| line.starts_with(words));
            if script.of_dib && self.gave_up.is_none() && self.script_lines.iter().any(gives_up) {
                self.gave_up = Some((script, std::mem::take(&mut self.script_lines)));
            }
        }
        self.script_lines.clear();
    }

    fn block_device(&mut self, device: &str) {
        if device.starts_with("/dev/loop") && self.loops.len() < MOST_LOOPS {
            self.loops.push(device.to_owned());
        }
    }

    /// Phases only follow one another; none, or an earlier one, changes nothing.
    fn enter(&mut self, now: Duration, next: Option<Phase>) {
        let Some(next) = next.filter(|next| *next > self.phase) else { return };
        let took = now.saturating_sub(self.phase_since).as_secs_f64();
        self.finished_phases.insert(self.phase.name().to_owned(), took);
        self.phase = next;
        self.phase_since = now;
        self.done = 0;
        self.running = None;
        self.script_lines.clear();
    }
}

/// The text of a line of DIB's, without `2026-11-23 08:39:40.016 | ` in front.
pub(super) fn without_timestamp(line: &str) -> &str {
    match line.split_once(" | ") {
        Some((stamp, text)) if stamp.len() == 23 && stamp.starts_with("20") => text,
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SUCCESS: &str = include_str!("fixtures/success.log");

    /// The seconds into the log at which a line of it came.
    fn stamp(line: &str) -> Option<Duration> {
        let time = chrono::NaiveDateTime::parse_from_str(line.get(..23)?, "%Y-%m-%d %H:%M:%S%.3f").ok()?;
        u64::try_from(time.and_utc().timestamp_millis()).ok().map(Duration::from_millis)
    }

    fn read(log: &str) -> (LogReader, Vec<(f64, String)>, Duration) {
        let mut reader = LogReader::new(&BTreeMap::new());
        let mut shown = Vec::new();
        let start = log.lines().find_map(stamp).unwrap();
        let mut now = Duration::ZERO;
        for line in log.lines() {
            now = stamp(line).map_or(now, |at| at.saturating_sub(start));
            reader.line(now, line);
            shown.push((reader.progress(now), reader.doing()));
        }
        (reader, shown, now)
    }

    #[test]
    fn a_real_build_is_followed_from_start_to_end() {
        let (reader, shown, now) = read(SUCCESS);
        assert!(reader.succeeded());
        assert!(shown.iter().rev().skip(1).all(|(progress, _)| *progress < 1.0));
        assert_eq!(shown.last().map(|(progress, _)| *progress), Some(1.0));
        assert_eq!(reader.loops(), ["/dev/loop0"]);
        assert_eq!(shown.first().map(|(_, doing)| doing.as_str()), Some("getting ready"));
        assert!(shown.iter().any(|(_, doing)| doing == "install: 01-package-installs"));

        let seconds = reader.phase_seconds(now);
        let of = |phase: &str| seconds[phase];
        assert!((48.0..54.0).contains(&of("root")), "{seconds:?}");
        assert!((27.0..30.0).contains(&of("install")), "{seconds:?}");
        assert!((4.0..5.0).contains(&of("convert")), "{seconds:?}");
        assert!((6.0..7.0).contains(&of("mkfs and copy")), "{seconds:?}");
        assert!((seconds.values().sum::<f64>() - now.as_secs_f64()).abs() < 0.01);
        assert!(!seconds.contains_key("pre-finalise"), "this build had no such hooks");
    }

    #[test]
    fn progress_keeps_step_with_the_time_that_a_real_build_took() {
        let (_, shown, end) = read(SUCCESS);
        let start = SUCCESS.lines().find_map(stamp).unwrap();
        for (line, (progress, doing)) in SUCCESS.lines().zip(shown) {
            let Some(at) = stamp(line) else { continue };
            let real = at.saturating_sub(start).as_secs_f64() / end.as_secs_f64();
            assert!((progress - real).abs() < 0.12, "{progress} at {real} ({doing})");
        }
    }

    #[test]
    fn a_script_is_known_by_its_element() {
        let mut reader = LogReader::new(&BTreeMap::new());
        let lines = [
            "2026-11-23 08:39:42.083 | Copying hooks /opt/elements/agent-install/install.d/60-agent-install",
            "2026-11-23 08:41:02.512 | dib-run-parts Running /tmp/in_target.d/install.d/60-agent-install",
            "2026-11-23 08:41:02.513 | install: cannot stat 'x'",
        ];
        for line in lines {
            reader.line(Duration::from_secs(1), line);
        }
        let script = Script {
            element: Some("agent-install".to_owned()),
            of_dib: true,
            phase: "install".to_owned(),
            name: "60-agent-install".to_owned(),
        };
        assert_eq!(reader.running(), Some(&script));
        assert_eq!(reader.script_lines().last(), Some("install: cannot stat 'x'"));
        reader.line(Duration::from_secs(2), "no newline heredib-run-parts 60-agent-install completed");
        assert_eq!(reader.running(), None);
        assert_eq!(reader.phase(), "install");
    }

    proptest! {
        #[test]
        fn progress_never_falls_and_stays_within_bounds(
            lines in proptest::collection::vec((0_u64..40_000, any_line()), 0..100),
            weights in proptest::collection::btree_map("[a-z-]{1,12}|root|install|convert", any::<f64>(), 0..5),
        ) {
            let mut reader = LogReader::new(&weights);
            let (mut before, mut now) = (0.0, Duration::ZERO);
            for (passed, line) in lines {
                now += Duration::from_millis(passed);
                reader.line(now, &line);
                let shown = reader.progress(now);
                prop_assert!((0.0..=1.0).contains(&shown) && shown >= before);
                prop_assert!(shown < 1.0 || reader.succeeded());
                before = shown;
            }
            prop_assert!(reader.phase_seconds(now).values().all(|seconds| *seconds >= 0.0));
        }
    }

    /// Any text, and lines of a real build in any order.
    fn any_line() -> impl Strategy<Value = String> {
        let real: Vec<String> = SUCCESS.lines().map(str::to_owned).collect();
        prop_oneof![
            any::<String>(),
            proptest::sample::select(real),
            "(dib-run-parts )?(Running|Copying hooks|Sourcing environment file) /([a-z./-]{0,20})",
        ]
    }
}
