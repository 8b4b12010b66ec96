//! The Test Anything Protocol, as far as its lines say what passed and what did not: plan, points, `SKIP`, `TODO` and
//! `Bail out!`. Everything else is the script's own.

use image_manager_proto::counted;

use serde_json::{Value, json};

use crate::text;

/// Most points that are told of one by one. All count.
const TOLD: usize = 60;

/// What the lines of a script say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// The points that are told of, bad ones first when there are too many.
    pub points: Vec<Point>,
    good: usize,
    bad: usize,
    planned: Option<usize>,
    bailed_out: Option<String>,
}

/// One line `ok` or `not ok`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Point {
    /// Its name, or its number.
    name: String,
    ok: bool,
    /// The script says that it does not count: `SKIP` or `TODO`, with the reason.
    aside: String,
}

impl Point {
    fn counts_against(&self) -> bool {
        !self.ok && self.aside.is_empty()
    }

    pub(super) fn as_json(&self) -> Value {
        let outcome = if self.counts_against() {
            "fail"
        } else if self.aside.is_empty() {
            "pass"
        } else {
            "skipped"
        };
        json!({ "name": self.name, "outcome": outcome, "detail": self.aside })
    }
}

/// `None`: no line is in the protocol.
pub(super) fn read(output: &str) -> Option<Report> {
    let mut report = Report::default();
    let mut all = Vec::new();
    for line in output.lines().map(str::trim_end) {
        if let Some(why) = line.strip_prefix("Bail out!") {
            report.bailed_out = Some(text::one_line(why));
        } else if let Some(plan) = line.strip_prefix("1..") {
            let digits = plan.split([' ', '#']).next().unwrap_or_default();
            report.planned = digits.parse().ok().or(report.planned);
        } else if let Some(point) = point(line, all.len() + 1) {
            all.push(point);
        }
    }
    if all.is_empty() && report.planned.is_none() && report.bailed_out.is_none() {
        return None;
    }
    report.bad = all.iter().filter(|point| point.counts_against()).count();
    report.good = all.len() - report.bad;
    if all.len() > TOLD {
        all.sort_by_key(Point::counts_against);
        all.reverse();
        all.truncate(TOLD);
    }
    report.points = all;
    Some(report)
}

fn point(line: &str, number: usize) -> Option<Point> {
    let (ok, rest) = match line.strip_prefix("not ok") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok")?),
    };
    if !rest.is_empty() && !rest.starts_with(' ') {
        return None;
    }
    let (name, directive) = rest.split_once(" #").unwrap_or((rest, ""));
    let directive = directive.trim();
    let lower = directive.to_ascii_lowercase();
    let aside = if lower.starts_with("skip") || lower.starts_with("todo") { directive } else { "" };
    let name = name.trim().trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches([' ', '-']);
    let name = if name.is_empty() { format!("point {number}") } else { text::one_line(name) };
    Some(Point { name, ok, aside: text::one_line(aside) })
}

impl Report {
    /// Why it is not good.
    pub(super) fn wrong(&self) -> Option<String> {
        let count = self.good + self.bad;
        if let Some(why) = &self.bailed_out {
            return Some(format!("the script gave up: {}", text::or(why, "it does not say why")));
        }
        if let Some(bad) = self.points.iter().find(|point| point.counts_against()) {
            return Some(format!("{} of {} failed: {}", self.bad, counted(count, "point"), bad.name));
        }
        match self.planned {
            Some(planned) if planned != count => {
                Some(format!("the script planned {} but reported {count}", counted(planned, "point")))
            }
            _ => None,
        }
    }

    pub(super) fn summary(&self) -> String {
        let aside = self.points.iter().filter(|point| !point.aside.is_empty()).count();
        let count = self.good + self.bad;
        let passed = format!("{} of {} passed", self.good.saturating_sub(aside), counted(count, "point"));
        if aside == 0 { passed } else { format!("{passed}, {aside} skipped or to do") }
    }
}
