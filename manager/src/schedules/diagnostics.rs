//! Mistakes in `schedules.toml`, collected and shown with line and caret.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use image_manager_proto::counted;

/// Mistakes that are shown; more are only counted.
const SHOWN: usize = 100;

/// Longest piece of the file that a message repeats.
const LONGEST_QUOTE: usize = 60;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Bytes of the file that it is about.
    pub span: Range<usize>,
    /// What is wrong, in one line.
    pub title: String,
    /// What stands beside the caret.
    pub label: String,
    /// What would be right.
    pub help: Option<String>,
}

/// `schedules.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {}", .path.display())]
pub struct LoadError {
    /// The file.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub reason: LoadErrorReason,
}

/// Why `schedules.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadErrorReason {
    /// It is not there, or may not be read.
    #[error("cannot read it")]
    Unreadable(#[source] io::Error),
    /// It is larger than anybody would write.
    #[error("it is larger than {limit} bytes")]
    TooLarge {
        /// The most bytes that are read.
        limit: u64,
    },
    /// It is not text.
    #[error("it is not UTF-8: line {line} has a byte that is part of no character")]
    NotUtf8 {
        /// Line of the first such byte, from 1.
        line: usize,
    },
    /// It has mistakes.
    #[error("{}", counted(.diagnostics.len(), "error"))]
    Invalid {
        /// The file's text, with what may be secret blotted out.
        text: String,
        /// The mistakes in the file's order; never empty.
        diagnostics: Vec<Diagnostic>,
    },
}

impl LoadError {
    /// The mistakes in the file's order; empty when the file could not be read at all.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        match &self.reason {
            LoadErrorReason::Invalid { diagnostics, .. } => diagnostics,
            _ => &[],
        }
    }

    /// All of it as text that ends with a newline: each mistake with line and caret, then how many there are.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let path = printable(&self.path.to_string_lossy()).into_owned();
        let (text, diagnostics) = match &self.reason {
            LoadErrorReason::Invalid { text, diagnostics } => (text, diagnostics),
            LoadErrorReason::Unreadable(error) => {
                let help = "name the file with --schedules FILE, or change to its directory";
                return render_title(&renderer, &format!("cannot read {path}: {error}; {help}"));
            }
            reason => return render_title(&renderer, &format!("cannot use {path}: {reason}")),
        };
        let mut rendered = String::new();
        for diagnostic in diagnostics.iter().take(SHOWN) {
            rendered.push_str(&render_one(&renderer, &path, text, diagnostic));
            rendered.push_str("\n\n");
        }
        let hidden = diagnostics.len().saturating_sub(SHOWN);
        let rest = if hidden > 0 { format!(", {hidden} of them not shown") } else { String::new() };
        // Writing to a string does not fail.
        let _ = writeln!(rendered, "{} in {}{rest}", counted(diagnostics.len(), "error"), self.file_name());
        rendered
    }

    fn file_name(&self) -> String {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str());
        printable(&name.to_string_lossy()).into_owned()
    }
}

fn render_title(renderer: &Renderer, title: &str) -> String {
    let report = [annotate_snippets::Group::with_title(Level::ERROR.primary_title(title))];
    format!("{}\n", renderer.render(&report))
}

fn render_one(renderer: &Renderer, path: &str, text: &str, diagnostic: &Diagnostic) -> String {
    let excerpt = Excerpt::around(text, &diagnostic.span);
    let snippet = Snippet::source(excerpt.lines)
        .path(path)
        .line_start(excerpt.line)
        .annotation(AnnotationKind::Primary.span(excerpt.span).label(diagnostic.label.as_str()));
    let mut group = Level::ERROR.primary_title(diagnostic.title.as_str()).element(snippet);
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(printable(help)));
    }
    renderer.render(&[group])
}

/// The line on which a span begins. The renderer gets no more than that: it would walk through the whole
/// file for every mistake.
struct Excerpt<'a> {
    lines: &'a str,
    /// Number of the line, from 1.
    line: usize,
    /// The span within `lines`.
    span: Range<usize>,
}

impl<'a> Excerpt<'a> {
    fn around(text: &'a str, span: &Range<usize>) -> Self {
        let start = text.floor_char_boundary(span.start.min(text.len()));
        let before = text.get(..start).unwrap_or_default();
        let first = before.rfind('\n').map_or(0, |newline| newline + 1);
        let after = text.get(start..).unwrap_or_default();
        let last = after.find(['\n', '\r']).map_or(text.len(), |newline| start + newline);
        let end = text.floor_char_boundary(span.end.min(last)).max(start);
        Self {
            lines: text.get(first..last).unwrap_or_default(),
            line: before.matches('\n').count() + 1,
            span: start - first..end - first,
        }
    }
}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    found: Vec<Finding>,
    /// What was told already.
    told: BTreeSet<(usize, usize, String)>,
    /// Bytes of the file that no message may show.
    secrets: BTreeSet<(usize, usize)>,
}

#[derive(Debug)]
struct Finding {
    diagnostic: Diagnostic,
    /// Whether it says that something is absent, which only holds when everything could be read.
    about_absence: bool,
}

impl Findings {
    /// Adds a mistake. What stands in `[defaults]` is read once for each schedule, and told once.
    pub(super) fn add(
        &mut self,
        span: Range<usize>,
        title: impl Into<String>,
        label: impl Into<String>,
        help: Option<String>,
    ) {
        let diagnostic = Diagnostic { span, title: title.into(), label: label.into(), help };
        self.push(Finding { diagnostic, about_absence: false });
    }

    /// Adds that something is missing.
    pub(super) fn add_absence(&mut self, span: Range<usize>, title: impl Into<String>, help: String) {
        let diagnostic =
            Diagnostic { span, title: title.into(), label: "missing here".to_owned(), help: Some(help) };
        self.push(Finding { diagnostic, about_absence: true });
    }

    fn push(&mut self, new: Finding) {
        let Diagnostic { span, title, .. } = &new.diagnostic;
        if self.told.insert((span.start, span.end, title.clone())) {
            self.found.push(new);
        }
    }

    /// Blots these bytes out of every message: what was put in the wrong place may be a secret.
    pub(super) fn hide(&mut self, span: Range<usize>) {
        self.secrets.insert((span.start, span.end));
    }

    /// Adds those of `others` that `holds` (given the mistake, and whether it is about an absence) confirms.
    pub(super) fn take_over(&mut self, others: Self, holds: impl Fn(&Diagnostic, bool) -> bool) {
        self.secrets.extend(others.secrets);
        for finding in others.found {
            if holds(&finding.diagnostic, finding.about_absence) {
                self.push(finding);
            }
        }
    }

    /// `Ok` when there is no mistake.
    pub(super) fn into_result(self, path: &Path, text: &str) -> Result<(), LoadError> {
        if self.found.is_empty() {
            return Ok(());
        }
        let mut diagnostics: Vec<_> = self.found.into_iter().map(|finding| finding.diagnostic).collect();
        diagnostics.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.span.end));
        let text = blot_out(text, &self.secrets);
        Err(LoadError { path: path.to_owned(), reason: LoadErrorReason::Invalid { text, diagnostics } })
    }
}

/// `text` with asterisks for the bytes of `secrets`; positions and lines stay what they are.
fn blot_out(text: &str, secrets: &BTreeSet<(usize, usize)>) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for (start, end) in secrets {
        for byte in bytes.get_mut(*start..*end).into_iter().flatten() {
            if *byte != b'\n' {
                *byte = b'*';
            }
        }
    }
    // Whole characters are replaced, so this is UTF-8; were it not, rather nothing than a secret.
    String::from_utf8(bytes).unwrap_or_default()
}

/// A piece of the file in backticks, for messages: short, and without control characters.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(LONGEST_QUOTE).collect::<String>().escape_debug().collect();
    // A quotation mark does no harm in backticks.
    shown = shown.replace("\\\"", "\"").replace("\\'", "'");
    if text.chars().count() > LONGEST_QUOTE {
        shown.push_str("...");
    }
    format!("`{shown}`")
}

/// Text without control characters that a terminal would obey.
fn printable(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        Cow::Owned(text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect())
    } else {
        Cow::Borrowed(text)
    }
}
