//! What TOML's own grammar says about the file.
//!
//! The parser goes on after an error. After a slip within a value (a missing quotation mark) or a key that
//! comes twice it is right about the rest; after an unclosed bracket it guesses, and everything from there on
//! would be told twice.

use std::ops::Range;

use toml::de::{DeTable, Error};

use super::diagnostics::{Diagnostic, Findings, quoted};

/// Beginnings of messages after which the parser is right about the rest of the file.
const HARMLESS: [&str; 9] = [
    "duplicate key",
    "string values must be quoted",
    "invalid basic string",
    "invalid literal string",
    "invalid boolean",
    "invalid float",
    "invalid integer",
    "key with no value",
    "cannot extend value",
];

/// Errors of the grammar that are told; what follows is not looked at.
const MOST_ERRORS: usize = 200;

const DUPLICATE: &str = "duplicate key";

/// What could be read.
pub(super) struct Document<'a> {
    /// The file's table, with guesses where `syntax` has errors.
    pub table: DeTable<'a>,
    /// The errors of the grammar.
    syntax: Findings,
    /// Lines with such errors.
    lines: Vec<Range<usize>>,
    /// Whether something may have been lost that was written.
    lossy: bool,
    /// From here on the table is guesswork.
    trusted_until: usize,
}

/// Reads the file by TOML's grammar.
pub(super) fn read_document(text: &str) -> Document<'_> {
    let (table, mut errors) = DeTable::parse_recoverable(text);
    // The parser looks at brackets first and at values later.
    errors.sort_by_key(|error| error.span().map_or(0, |span| span.start));
    let mut document = Document {
        table: table.into_inner(),
        syntax: Findings::default(),
        lines: Vec::new(),
        lossy: false,
        trusted_until: text.len() + 1,
    };
    let mut doubled_section = None;
    for (number, error) in errors.iter().enumerate() {
        let span = error.span().unwrap_or(0..0);
        let line = line_around(text, span.start);
        let mut harmless = number < MOST_ERRORS;
        if error.message().starts_with(DUPLICATE) {
            let section = section_of(text, span.start);
            // A section that comes twice is one mistake, not one for each of its keys.
            if doubled_section == Some(section) {
                continue;
            }
            let is_header =
                section == line.start && text.get(section..).is_some_and(|at| at.starts_with('['));
            doubled_section = is_header.then_some(section);
            let what = text.get(if is_header { line.clone() } else { span.clone() }).unwrap_or_default();
            let title =
                format!("{} appears twice", quoted(what.split('#').next().unwrap_or_default().trim()));
            let help = "each key and each section may appear only once".to_owned();
            document.syntax.add(span, title, "the second one", Some(help));
        } else {
            document.lossy = true;
            harmless &= HARMLESS.iter().any(|beginning| error.message().starts_with(beginning));
            document.explain(error, text, harmless);
        }
        if !harmless {
            document.trusted_until = line.start;
            break;
        }
        document.lines.push(line);
    }
    document
}

impl Document<'_> {
    /// Adds the error in the parser's words, and what to do.
    fn explain(&mut self, error: &Error, text: &str, harmless: bool) {
        let span = error.span().unwrap_or(0..0);
        if error.message().starts_with("string values must be quoted") {
            let written = text.get(span.clone()).unwrap_or_default();
            let help = format!("write \"{}\"", written.escape_debug());
            self.syntax.add(span, "a string without quotation marks", "not TOML", Some(help));
        } else {
            let help = (!harmless).then(|| "what follows is read once this is fixed".to_owned());
            self.syntax.add(span, error.message(), "not TOML", help);
        }
    }

    /// The errors of the grammar, and of `others` those that do not follow from them.
    pub(super) fn join(self, others: Findings) -> Findings {
        let mut all = self.syntax;
        let holds = |diagnostic: &Diagnostic, about_absence: bool| {
            let start = diagnostic.span.start;
            !(about_absence && self.lossy)
                && start < self.trusted_until
                && !self.lines.iter().any(|line| line.contains(&start))
        };
        all.take_over(others, holds);
        all
    }
}

/// Where the section begins in which the byte `at` stands: the last line before it that begins with `[`.
fn section_of(text: &str, at: usize) -> usize {
    let line = line_around(text, at);
    if text.get(line.start..).is_some_and(|line| line.starts_with('[')) {
        return line.start;
    }
    text.get(..line.start).and_then(|before| before.rfind("\n[")).map_or(0, |newline| newline + 1)
}

/// The line of the byte `at`, with its end.
fn line_around(text: &str, at: usize) -> Range<usize> {
    let start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
    let end = text.get(at..).and_then(|after| after.find('\n')).map_or(text.len(), |newline| at + newline);
    start..end + 1
}
