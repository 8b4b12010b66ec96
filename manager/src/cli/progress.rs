//! Showing a build's progress: a bar on a terminal, plain lines otherwise.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use image_manager_proto::v1::{self, CheckOutcome, LogSource, StageState};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::show::{clouds, trials};
use super::text::{self, Part, Screen, Style};
use super::when;
use crate::history::Named as _;
use crate::lifecycle::state::trial::is_end;
use crate::lifecycle::trials::several;
use crate::untrusted::Untrusted;
use crate::untrusted::log_file::plain_line;

/// The bar has this many steps.
const STEPS: u64 = 1000;
/// Without a terminal, what is under way is told after so long without another line.
pub(super) const QUIET: Duration = Duration::from_secs(15);

/// Most characters of a target's name that stages are put below each other for.
const TARGET: usize = 24;

/// For a stage that says how far it has come.
const MEASURED: &str = "{spinner} {prefix:<12} [{bar:30}] {percent:>3} %  {elapsed}  {wide_msg}";
/// For a stage that cannot tell.
const WAITING: &str = "{spinner} {prefix:<12} {elapsed}  {wide_msg}";

/// Shows one build.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    style: Style,
    verbose: bool,
    told: BTreeSet<String>,
    checks: BTreeSet<(String, String, &'static str)>,
    /// What each trial is at, by its target, where the build has several.
    trials: BTreeMap<String, String>,
    /// The stages under way, as they are named.
    running: Vec<String>,
    last_line: Cell<Instant>,
}

impl Progress {
    /// A bar when standard error is a terminal.
    pub(crate) fn new(verbose: bool) -> Self {
        let bar = text::stderr_is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::stderr());
            dress(&bar, WAITING);
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self {
            bar,
            style: Style::of_stdout(),
            verbose,
            told: BTreeSet::new(),
            checks: BTreeSet::new(),
            trials: BTreeMap::new(),
            running: Vec::new(),
            last_line: Cell::new(Instant::now()),
        }
    }

    /// A line above the bar.
    pub(crate) fn say(&self, parts: &[&dyn Part]) {
        self.last_line.set(Instant::now());
        let mut screen = Screen::default();
        screen.line(parts);
        match &self.bar {
            Some(bar) => bar.suspend(|| text::print(&screen)),
            None => text::print(&screen),
        }
    }

    /// The build has moved: tells the stages that have ended since.
    pub(crate) fn build(&mut self, build: &v1::Build) {
        if self.told.insert("build".to_owned()) {
            let (id, schedule) = (&build.id, &build.schedule);
            let places = clouds(build);
            self.say(&[&format_args!("build {id} of {schedule} on {places}")]);
        }
        let widest = several(build).iter().map(|trial| trial.target.chars().count() + 1).max();
        let width = widest.unwrap_or_default().min(TARGET) + 12;
        self.running.clear();
        for stage in &build.stages {
            self.one_stage(stage, &stage.name, "", width);
        }
        for trial in several(build) {
            let whose = format!("{} {} ", trial.target, trial.attempt);
            for stage in &trial.stages {
                self.one_stage(stage, &format!("{} {}", trial.target, stage.name), &whose, width);
            }
            self.trial(trial);
        }
        self.show_trials();
    }

    /// A stage, whose name is told as `name`; `whose` tells it from those of other trials and attempts.
    fn one_stage(&mut self, stage: &v1::Stage, name: &str, whose: &str, width: usize) {
        let ended = matches!(stage.state(), StageState::Done | StageState::Failed);
        if ended && self.told.insert(format!("{whose}{}", stage.name)) {
            let took = when::between(stage.started_at.as_ref(), stage.finished_at.as_ref());
            let mark = self.style.stage_mark(stage.state());
            self.say(&[&mark, &format_args!(" {name:<width$} {took:>12}  {}", stage.detail)]);
        }
        if stage.state() != StageState::Running {
            return;
        }
        self.running.push(name.to_owned());
        if let Some(bar) = &self.bar
            && self.told.insert(format!("{whose}{} began", stage.name))
        {
            bar.reset();
            dress(bar, WAITING);
            label(bar, name, "");
        }
    }

    /// Time has passed: without a bar, what is under way, so that a reader knows that something is.
    pub(crate) fn still(&self) {
        if self.bar.is_none() && !self.running.is_empty() && self.last_line.get().elapsed() >= QUIET {
            self.say(&[&format_args!("    {} …", self.running.join(", "))]);
        }
    }

    /// One of several trials: its end, or that it is made again, in a line; what it is at goes into the bar.
    fn trial(&mut self, trial: &v1::Trial) {
        let target = &trial.target;
        let running = trial.stages.iter().find(|stage| stage.state() == StageState::Running);
        match running {
            // With how far it is, where that is known.
            Some(stage) if self.trials.get(target).is_some_and(|told| told.starts_with(&stage.name)) => {}
            Some(stage) => drop(self.trials.insert(target.clone(), stage.name.clone())),
            None => drop(self.trials.remove(target)),
        }
        let state = trial.state();
        let over = is_end(state) && state != v1::TrialState::Skipped;
        if !over && trial.retry_at.is_none() {
            return;
        }
        if !self.told.insert(format!("{target} {} {}", trial.attempt, state.word())) {
            return;
        }
        let again = trial.retry_at.as_ref().map(|at| format!(", tried again at {}", when::exact(Some(at))));
        let word = if over { state.word() } else { "errored" };
        let why = trial.failure.as_ref().map(|failure| format!(": {}: {}", failure.reason, failure.message));
        let rest = format!("{}{}", again.unwrap_or_default(), why.unwrap_or_default());
        let mark = self.style.verdict_mark(trial.verdict());
        let said = trials::painted(trial, self.style, word).bold(self.style);
        self.say(&[&mark, &format_args!(" target {target} "), &said, &rest]);
    }

    /// What the trials under way are at, in one line beside the bar.
    fn show_trials(&self) {
        let Some(bar) = self.bar.as_ref().filter(|_| !self.trials.is_empty()) else { return };
        let each = self.trials.iter().map(|(target, stage)| format!("{target} {stage}"));
        dress(bar, WAITING);
        label(bar, "trying", &each.collect::<Vec<_>>().join(", "));
    }

    /// The stage under way has come this far.
    pub(crate) fn stage(&mut self, progress: &v1::Progress) {
        let target = &progress.target;
        if !target.is_empty() && self.bar.is_some() {
            let percent = (progress.fraction >= 0.0).then(|| format!(" {:.0} %", progress.fraction * 100.0));
            let at = format!("{}{}", progress.stage, percent.unwrap_or_default());
            self.trials.insert(target.clone(), at);
            self.show_trials();
        } else if let Some(bar) = &self.bar {
            label(bar, &progress.stage, &progress.detail);
            if progress.fraction >= 0.0 {
                if bar.position() == 0 {
                    dress(bar, MEASURED);
                }
                bar.set_position(steps(progress.fraction));
            }
        } else if self.last_line.get().elapsed() >= QUIET {
            let percent = if progress.fraction >= 0.0 {
                format!("{:3.0} %  ", progress.fraction * 100.0)
            } else {
                String::new()
            };
            let whose = if target.is_empty() { String::new() } else { format!("{target} ") };
            self.say(&[&format_args!("    {whose}{} {percent}{}", progress.stage, progress.detail)]);
        }
    }

    /// A line of a log.
    pub(crate) fn log(&self, line: &v1::LogLine) {
        if !self.verbose {
            return;
        }
        let prefix = match line.source() {
            LogSource::Build => "DIB",
            LogSource::Console => "console",
            LogSource::Agent => "agent",
            LogSource::Unspecified => "log",
        };
        let whose = if line.target.is_empty() { String::new() } else { format!(" {}", line.target) };
        self.say(&[&self.style.dim(&format!("[{prefix}{whose}] {}", plain_line(&line.line)))]);
    }

    /// A check has ended. The same outcome is told once, though it comes again with the report.
    pub(crate) fn check(&mut self, target: &str, check: &v1::Check) {
        let outcome = check.outcome();
        let told = (target.to_owned(), check.name.clone(), outcome.word());
        if outcome == CheckOutcome::Unspecified || !self.checks.insert(told) {
            return;
        }
        let mark = self.style.outcome_mark(outcome);
        let whose = if target.is_empty() { String::new() } else { format!("{target} ") };
        self.say(&[&"  ", &mark, &format_args!(" {whose}{:<12} {}", check.name, check.summary)]);
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The stage, and what it is at: the bar shows both as they are.
#[expect(clippy::disallowed_methods, reason = "escaped here")]
fn label(bar: &ProgressBar, stage: &str, detail: &str) {
    bar.set_prefix(Untrusted::from(stage).in_one_line().into_owned());
    bar.set_message(Untrusted::from(detail).in_one_line().into_owned());
}

fn dress(bar: &ProgressBar, template: &str) {
    // The templates are ours: a broken one would show in every test with a terminal.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
}

fn steps(fraction: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
    let steps = (fraction.clamp(0.0, 1.0) * 1000.0) as u64;
    steps.min(STEPS)
}
