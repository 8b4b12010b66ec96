//! Where things stand in the file: what a host finds wrong with a good file (an element that is not there) is shown with
//! line and caret like the file's own mistakes.

use std::collections::BTreeMap;
use std::ops::Range;

use super::diagnostics::{Findings, LoadError};
use super::values::{Schedule, Schedules};

/// What a mistake is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// `image.elements` as a whole.
    Elements,
    /// One of them.
    Element(String),
    /// A key of `image.environment`.
    Variable(String),
    /// The value of one.
    Value(String),
    /// One of `image.packages`.
    Package(String),
    /// One of `image.elements_path`, by its position in the list.
    Directory(usize),
}

/// A mistake in a file that can be read, found by a look at the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The schedule's name.
    pub schedule: String,
    /// What of it.
    pub subject: Subject,
    /// What is wrong, in one line.
    pub title: String,
    /// What stands beside the caret.
    pub label: String,
    /// What would be right.
    pub help: String,
}

impl Mistake {
    /// A mistake of a schedule.
    pub fn of(
        schedule: &Schedule,
        subject: Subject,
        title: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let (title, label, help) = (title.into(), label.into(), help.into());
        Self { schedule: schedule.name.clone(), subject, title, label, help }
    }
}

/// The file's text, and where the schedules' parts stand in it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct SourceSpans {
    pub(super) text: String,
    /// By the schedule's name.
    pub(super) schedules: BTreeMap<String, ImageSpans>,
}

/// Where the parts of a schedule's image stand; in `[defaults]` when they come from there.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ImageSpans {
    /// The key `elements`.
    pub(super) key: Range<usize>,
    /// Each element's name.
    pub(super) items: BTreeMap<String, Range<usize>>,
    /// Each variable's name.
    pub(super) variables: BTreeMap<String, Range<usize>>,
    /// Each variable's value.
    pub(super) values: BTreeMap<String, Range<usize>>,
    /// Each package's name.
    pub(super) packages: BTreeMap<String, Range<usize>>,
    /// Each directory of elements.
    pub(super) directories: Vec<Range<usize>>,
}

impl Schedules {
    /// The mistakes as those of the file, each at its place; `Ok` when there are none. What several schedules have from
    /// `[defaults]` is told once.
    pub fn refuse(&self, mistakes: &[Mistake]) -> Result<(), LoadError> {
        let mut findings = Findings::default();
        for mistake in mistakes {
            let spans = self.spans.schedules.get(&mistake.schedule).cloned().unwrap_or_default();
            let of_one = match &mistake.subject {
                Subject::Element(name) => spans.items.get(name).cloned(),
                Subject::Variable(name) => spans.variables.get(name).cloned(),
                Subject::Value(name) => spans.values.get(name).cloned(),
                Subject::Package(name) => spans.packages.get(name).cloned(),
                Subject::Directory(position) => spans.directories.get(*position).cloned(),
                Subject::Elements => None,
            };
            findings.add(
                of_one.unwrap_or(spans.key),
                mistake.title.as_str(),
                mistake.label.as_str(),
                Some(mistake.help.clone()),
            );
        }
        findings.into_result(&self.path, &self.spans.text)
    }
}
