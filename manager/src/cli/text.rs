//! Printing, with colours only where they are wanted.

use std::io::{IsTerminal as _, Write as _};

use image_manager_proto::v1::{BuildState, CheckOutcome, StageState};

/// Whether to colour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    colour: bool,
}

impl Style {
    /// Colours on a terminal, unless NO_COLOR is set (https://no-color.org) or the terminal is dumb.
    pub(crate) fn of_stdout() -> Self {
        Self { colour: std::io::stdout().is_terminal() && wanted() }
    }

    /// The same for standard error.
    pub(crate) fn of_stderr() -> Self {
        Self { colour: std::io::stderr().is_terminal() && wanted() }
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

/// Prints to standard output. A reader that has gone away (`| head`) is no error.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
