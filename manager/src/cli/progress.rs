//! Showing a build's progress: a bar on a terminal, plain lines otherwise.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use image_manager_proto::v1::{self, CheckOutcome, LogSource, StageState};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::text::{self, Part, Screen, Style};
use super::when;
use crate::history::Named as _;
use crate::untrusted::Untrusted;
use crate::untrusted::log_file::plain_line;

/// The bar has this many steps.
const STEPS: u64 = 1000;
/// Without a terminal, progress within a stage is told this often.
const QUIET: Duration = Duration::from_secs(15);

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
    checks: BTreeSet<(String, &'static str)>,
    last_line: Instant,
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
            last_line: Instant::now(),
        }
    }

    /// A line above the bar.
    pub(crate) fn say(&self, parts: &[&dyn Part]) {
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
            let (id, schedule, cloud) = (&build.id, &build.schedule, &build.cloud);
            self.say(&[&format_args!("build {id} of {schedule} on {cloud}")]);
        }
        for stage in &build.stages {
            let ended = matches!(stage.state(), StageState::Done | StageState::Failed);
            if ended && self.told.insert(stage.name.clone()) {
                let took = when::between(stage.started_at.as_ref(), stage.finished_at.as_ref());
                let mark = self.style.stage_mark(stage.state());
                self.say(&[&mark, &format_args!(" {:<12} {took:>12}  {}", stage.name, stage.detail)]);
            }
            if stage.state() == StageState::Running && self.told.insert(format!("{} began", stage.name)) {
                match &self.bar {
                    Some(bar) => {
                        bar.reset();
                        dress(bar, WAITING);
                        label(bar, &stage.name, "");
                    }
                    None => self.say(&[&format_args!("  {} …", stage.name)]),
                }
            }
        }
    }

    /// The stage under way has come this far.
    pub(crate) fn stage(&mut self, progress: &v1::Progress) {
        if let Some(bar) = &self.bar {
            label(bar, &progress.stage, &progress.detail);
            if progress.fraction >= 0.0 {
                if bar.position() == 0 {
                    dress(bar, MEASURED);
                }
                bar.set_position(steps(progress.fraction));
            }
        } else if self.last_line.elapsed() >= QUIET {
            self.last_line = Instant::now();
            let percent = if progress.fraction >= 0.0 {
                format!("{:3.0} %  ", progress.fraction * 100.0)
            } else {
                String::new()
            };
            self.say(&[&format_args!("    {} {percent}{}", progress.stage, progress.detail)]);
        }
    }

    /// A line of a log.
    pub(crate) fn log(&self, line: &v1::LogLine) {
        if !self.verbose {
            return;
        }
        let prefix = match line.source() {
            LogSource::Build => "[DIB]",
            LogSource::Console => "[console]",
            LogSource::Agent => "[agent]",
            LogSource::Unspecified => "",
        };
        self.say(&[&self.style.dim(&format!("{prefix} {}", plain_line(&line.line)))]);
    }

    /// A check has ended. The same outcome is told once, though it comes again with the report.
    pub(crate) fn check(&mut self, check: &v1::Check) {
        let outcome = check.outcome();
        if outcome == CheckOutcome::Unspecified || !self.checks.insert((check.name.clone(), outcome.word())) {
            return;
        }
        let mark = self.style.outcome_mark(outcome);
        self.say(&[&"  ", &mark, &format_args!(" {:<12} {}", check.name, check.summary)]);
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
