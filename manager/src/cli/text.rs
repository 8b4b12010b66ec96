//! Printing, with colours only where they are wanted.

use std::io::{IsTerminal as _, Write as _};

use image_manager_proto::v1::{BuildState, CheckOutcome, StageState, Verdict};

/// Whether to colour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    colour: bool,
    /// Columns of the terminal; `None` when it is none.
    width: Option<usize>,
}

impl Style {
    /// Colours on a terminal, unless NO_COLOR is set (https://no-color.org) or the terminal is dumb.
    pub(crate) fn of_stdout() -> Self {
        Self { colour: std::io::stdout().is_terminal() && wanted(), width: columns() }
    }

    /// The same for standard error.
    pub(crate) fn of_stderr() -> Self {
        Self { colour: std::io::stderr().is_terminal() && wanted(), width: columns() }
    }

    /// Without colours, and not on a terminal.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { colour: false, width: None }
    }

    /// Without colours, on a terminal.
    #[cfg(test)]
    pub(crate) fn of_width(width: usize) -> Self {
        Self { colour: false, width: Some(width) }
    }

    /// Columns that a line may have; `None` when it does not go to a terminal.
    pub(crate) fn width(self) -> Option<usize> {
        self.width
    }

    /// True when it colours.
    pub(crate) fn colours(self) -> bool {
        self.colour
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Less important.
    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// More important.
    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// By how a build stands.
    pub(crate) fn by_state(self, state: BuildState, text: &str) -> String {
        match state {
            BuildState::Succeeded => self.paint("32", text),
            BuildState::Failed => self.paint("31", text),
            BuildState::Errored => self.paint("33", text),
            BuildState::Cancelled => self.paint("2", text),
            _ => text.to_owned(),
        }
    }

    /// The mark of a check's outcome.
    pub(crate) fn outcome_mark(self, outcome: CheckOutcome) -> String {
        match outcome {
            CheckOutcome::Pass => self.paint("32", "✔"),
            CheckOutcome::Fail => self.paint("31", "✘"),
            CheckOutcome::Inconclusive => self.paint("33", "?"),
            CheckOutcome::Skipped | CheckOutcome::Unspecified => self.paint("2", "-"),
        }
    }

    /// The mark of a verdict.
    pub(crate) fn verdict_mark(self, verdict: Verdict) -> String {
        match verdict {
            Verdict::Passed => self.paint("32", "✔"),
            Verdict::Failed => self.paint("31", "✘"),
            Verdict::Errored => self.paint("33", "?"),
            Verdict::Unspecified => self.paint("2", "-"),
        }
    }

    /// Something that is new.
    pub(crate) fn added(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Something that is gone.
    pub(crate) fn removed(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// The mark of a stage's state.
    pub(crate) fn stage_mark(self, state: StageState) -> String {
        match state {
            StageState::Done => self.paint("32", "✔"),
            StageState::Failed => self.paint("31", "✘"),
            StageState::Running => self.paint("36", "▸"),
            StageState::Pending | StageState::Skipped | StageState::Unspecified => self.paint("2", "-"),
        }
    }
}

fn wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|value| value != "dumb")
}

/// Columns of the terminal that standard output is.
fn columns() -> Option<usize> {
    let (terminal_size::Width(columns), _) = terminal_size::terminal_size_of(std::io::stdout())?;
    Some(usize::from(columns))
}

/// At most so many characters, with "…" for what is left out.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Prints to standard output. A reader that has gone away (`| head`) is no error.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The same for bytes as they are.
pub(crate) fn print_bytes(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}
