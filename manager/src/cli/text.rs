//! The one way to standard output and standard error: every text on it is somebody else's
//! ([`crate::untrusted`]) unless it is [`Painted`] here, a line is a line, and colours come only where they are wanted.

use std::fmt::Arguments;
use std::io::{IsTerminal as _, Write as _};

use image_manager_proto::v1::{BuildState, CheckOutcome, StageState, Verdict};

use super::fold::folded;
pub(crate) use super::fold::{shortened, wrapped};
use crate::untrusted::Untrusted;

/// How much further the rest of a line is indented that did not fit.
const HANG: usize = 2;

/// A piece of a line.
pub(crate) trait Part {
    /// Appends what is shown of it.
    fn show(&self, out: &mut String);
}

impl Part for &str {
    fn show(&self, out: &mut String) {
        out.push_str(&Untrusted::from(*self).in_one_line());
    }
}

impl Part for String {
    fn show(&self, out: &mut String) {
        self.as_str().show(out);
    }
}

impl Part for Arguments<'_> {
    fn show(&self, out: &mut String) {
        self.to_string().show(out);
    }
}

impl Part for Painted {
    fn show(&self, out: &mut String) {
        let codes: Vec<&str> = [self.emphasis, self.code].into_iter().flatten().collect();
        if codes.is_empty() {
            return self.text.show(out);
        }
        out.push_str("\x1b[");
        out.push_str(&codes.join(";"));
        out.push('m');
        self.text.show(out);
        out.push_str("\x1b[0m");
    }
}

/// Text in a colour: the only text whose escape codes reach a terminal, because they are ours.
#[derive(Debug, Clone)]
pub(crate) struct Painted {
    text: String,
    emphasis: Option<&'static str>,
    code: Option<&'static str>,
}

impl Painted {
    /// In no colour.
    pub(crate) fn plain(text: &str) -> Self {
        Self { text: text.to_owned(), emphasis: None, code: None }
    }

    /// The same in bold, where there are colours.
    pub(crate) fn bold(mut self, style: Style) -> Self {
        self.emphasis = style.colour.then_some("1");
        self
    }
}

/// Lines that are to be shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Screen {
    text: String,
}

impl Screen {
    /// Adds one line; a line break in a part is shown, and makes no second one. [`line!`](crate::cli::text::line) is
    /// shorter.
    pub(crate) fn line(&mut self, parts: &[&dyn Part]) {
        for part in parts {
            part.show(&mut self.text);
        }
        self.text.push('\n');
    }

    /// Adds an empty line.
    pub(crate) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// Adds the lines of another.
    pub(crate) fn append(&mut self, other: &Self) {
        self.text.push_str(&other.text);
    }

    /// What is shown.
    #[cfg(test)]
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

/// `line!(screen, part, part, ...)` adds a line of texts, numbers as `format_args!`, and [`Painted`] pieces.
macro_rules! line {
    ($screen:expr $(, $part:expr)* $(,)?) => {
        $screen.line(&[$(&$part as &dyn $crate::cli::text::Part),*])
    };
}
pub(crate) use line;

/// `say!(part, part, ...)` prints a line.
macro_rules! say {
    ($($part:expr),* $(,)?) => {{
        let mut screen = $crate::cli::text::Screen::default();
        $crate::cli::text::line!(screen $(, $part)*);
        $crate::cli::text::print(&screen);
    }};
}
pub(crate) use say;

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
        Self { colour: out().is_terminal() && wanted(), width: columns(out()) }
    }

    /// The same for standard error.
    pub(crate) fn of_stderr() -> Self {
        Self { colour: error().is_terminal() && wanted(), width: columns(out()) }
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

    fn paint(self, code: &'static str, text: &str) -> Painted {
        Painted { text: text.to_owned(), emphasis: None, code: self.colour.then_some(code) }
    }

    /// Less important.
    pub(crate) fn dim(self, text: &str) -> Painted {
        self.paint("2", text)
    }

    /// More important.
    pub(crate) fn bold(self, text: &str) -> Painted {
        self.paint("1", text)
    }

    /// By how a build stands.
    pub(crate) fn by_state(self, state: BuildState, text: &str) -> Painted {
        match state {
            BuildState::Succeeded | BuildState::Skipped => self.paint("32", text),
            BuildState::Failed => self.paint("31", text),
            BuildState::Errored => self.paint("33", text),
            BuildState::Cancelled => self.paint("2", text),
            _ => Painted::plain(text),
        }
    }

    /// Something to be aware of.
    pub(crate) fn warning(self, text: &str) -> Painted {
        self.paint("33", text)
    }

    /// The mark of a check's outcome.
    pub(crate) fn outcome_mark(self, outcome: CheckOutcome) -> Painted {
        match outcome {
            CheckOutcome::Pass => self.paint("32", "✔"),
            CheckOutcome::Fail => self.paint("31", "✘"),
            CheckOutcome::Inconclusive => self.paint("33", "?"),
            CheckOutcome::Skipped | CheckOutcome::Unspecified => self.paint("2", "-"),
        }
    }

    /// The mark of a verdict.
    pub(crate) fn verdict_mark(self, verdict: Verdict) -> Painted {
        match verdict {
            Verdict::Passed => self.paint("32", "✔"),
            Verdict::Failed => self.paint("31", "✘"),
            Verdict::Errored => self.paint("33", "?"),
            Verdict::Unspecified => self.paint("2", "-"),
        }
    }

    /// Something that is new.
    pub(crate) fn added(self, text: &str) -> Painted {
        self.paint("32", text)
    }

    /// Something that is gone.
    pub(crate) fn removed(self, text: &str) -> Painted {
        self.paint("31", text)
    }

    /// The mark of a stage's state.
    pub(crate) fn stage_mark(self, state: StageState) -> Painted {
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

/// Columns of the terminal that a stream is.
fn columns(stream: impl std::os::fd::AsFd) -> Option<usize> {
    let (terminal_size::Width(columns), _) = terminal_size::terminal_size_of(stream)?;
    Some(usize::from(columns))
}

/// The lines as the terminal that a stream is has room for them.
fn fitted(text: &str, stream: impl std::os::fd::AsFd, hang: usize) -> String {
    columns(stream).map_or_else(|| text.to_owned(), |width| folded(text, width, hang))
}

#[expect(clippy::disallowed_methods, reason = "what is printed below is escaped, or asked for raw")]
fn out() -> std::io::Stdout {
    std::io::stdout()
}

#[expect(clippy::disallowed_methods, reason = "what is printed below is escaped")]
fn error() -> std::io::Stderr {
    std::io::stderr()
}

/// Whether standard error is a terminal.
pub(crate) fn stderr_is_terminal() -> bool {
    error().is_terminal()
}

/// Prints lines to standard output. A reader that has gone away (`| head`) is no error.
pub(crate) fn print(screen: &Screen) {
    print_raw(fitted(&screen.text, out(), HANG).as_bytes());
}

/// Prints a text with line breaks of its own: JSON, CSV, a page of the manual.
pub(crate) fn print_document(text: &str) {
    print_raw(Untrusted::from(text).in_lines().as_bytes());
}

/// Prints bytes as somebody else wrote them: for `logs --raw` only.
pub(crate) fn print_raw(bytes: &[u8]) {
    let mut out = out().lock();
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

/// Says a line on standard error that is no part of what was asked for.
pub(crate) fn remark(message: &str) {
    let shown = fitted(&Untrusted::from(message).in_one_line(), error(), HANG);
    let mut error = error().lock();
    // Nothing can be done about a closed terminal.
    let _ = writeln!(error, "{shown}").and_then(|()| error.flush());
}

/// Says on standard error what went wrong; further lines of the message are indented, so that none looks like one of
/// ours.
pub(crate) fn complain(message: &str) {
    let shown = fitted(&complaint(message), error(), "error: ".len());
    let mut error = error().lock();
    // Nothing can be done about a closed terminal.
    let _ = error.write_all(shown.as_bytes()).and_then(|()| error.flush());
}

fn complaint(message: &str) -> String {
    let mut shown = String::new();
    for (number, line) in message.trim_end().split('\n').enumerate() {
        shown.push_str(if number == 0 { "error: " } else { "       " });
        shown.push_str(&Untrusted::from(line.trim_end_matches('\r')).in_one_line());
        shown.push('\n');
    }
    shown
}

/// Shows a text with line breaks of its own on standard error: mistakes with their places, or a hint on usage. The
/// colours (`ESC [ 1 m`) stay where there are any: its renderer shows what it quotes without control characters.
pub(crate) fn complain_in_full(text: &str) {
    let text = text.trim_end();
    let shown = if Style::of_stderr().colour {
        coloured(text)
    } else {
        Untrusted::from(text).in_lines().into_owned()
    };
    let mut error = error().lock();
    // Nothing can be done about a closed terminal.
    let _ = writeln!(error, "{shown}").and_then(|()| error.flush());
}

/// The text with its colours; of other escape codes, nothing.
fn coloured(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut pieces = text.split("\x1b[");
    out.push_str(&Untrusted::from(pieces.next().unwrap_or_default()).in_lines());
    for piece in pieces {
        let end = piece.find(|c: char| !c.is_ascii_digit() && c != ';').unwrap_or(piece.len());
        let colours = piece.get(end..).is_some_and(|rest| rest.starts_with('m'));
        out.push_str(if colours { "\x1b[" } else { "\\u{1b}[" });
        out.push_str(&Untrusted::from(piece).in_lines());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVIL: &str = "\x1b[2J\u{9b}31m\u{202e}\nbuild 0 SUCCEEDED\r";
    const SHOWN: &str = "\\u{1b}[2J\\u{9b}31m\\u{202e}\\nbuild 0 SUCCEEDED\\r";

    #[test]
    fn a_line_is_a_line_and_only_our_colours_are_obeyed() {
        let style = Style { colour: true, width: None };
        let mut screen = Screen::default();
        line!(
            screen,
            "a ",
            EVIL,
            format_args!(" {EVIL} "),
            style.bold(EVIL),
            style.by_state(BuildState::Failed, "x").bold(style)
        );
        assert_eq!(screen.as_str(), format!("a {SHOWN} {SHOWN} \x1b[1m{SHOWN}\x1b[0m\x1b[1;31mx\x1b[0m\n"));
        let mut plain = Screen::default();
        line!(plain, Style::plain().bold("x"));
        assert_eq!(plain.as_str(), "x\n");
    }

    #[test]
    fn a_complaint_forges_no_line() {
        assert_eq!(
            complaint("no\nerror: forged\r\n\x1b[2J"),
            "error: no\n       error: forged\n       \\u{1b}[2J\n"
        );
        let said = coloured("\x1b[1;31merror\x1b[0m: \x1b[2J\x1b]0;x\x07\u{9b}");
        assert_eq!(said, "\x1b[1;31merror\x1b[0m: \\u{1b}[2J\\u{1b}]0;x\\u{7}\\u{9b}");
    }
}
