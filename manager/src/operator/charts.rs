//! Charts of a schedule's trend as SVG, for web pages and for the report as a file.
//!
//! They carry classes only, no inline style: a page brings [`STYLE`], which knows light and dark. Every mark has
//! a `<title>`, which browsers show when the pointer rests on it and which screen readers read.

mod axis;
mod dates;

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use image_manager_proto::v1::TrendPoint;
use maud::Render;

use self::axis::Axis;
use super::when;
use crate::clock;
use crate::stage::Stage;
use crate::untrusted::html::Ours;

/// The style sheet of the charts.
pub(crate) const STYLE: Ours = Ours(include_str!("charts/charts.css"));

/// Width of a chart in its own units; a page scales it. About what a phone has, so that texts can be read there.
const WIDTH: f64 = 360.0;
/// Where the plot begins and ends; left of it stand the axis' labels.
const LEFT: f64 = 62.0;
const RIGHT: f64 = WIDTH - 8.0;
const TOP: f64 = 10.0;
/// Height of the plot.
const PLOT: f64 = 110.0;
const BOTTOM: f64 = TOP + PLOT;

/// A chart. It is markup as it is: made here only, of numbers and of texts that are escaped.
#[derive(Debug)]
pub(crate) struct Svg(String);

impl Render for Svg {
    fn render_to(&self, out: &mut String) {
        out.push_str(&self.0);
    }
}

/// A text that may stand in SVG.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// A time for people, in a zone: "2026-11-30 09:15 CET".
pub(crate) fn told(time: DateTime<Utc>, zone: Tz) -> String {
    time.with_timezone(&zone).format("%Y-%m-%d %H:%M %Z").to_string()
}

/// How the builds ended, oldest first: a bar for each point, divided by verdict when it is of several builds.
pub(crate) fn verdicts(points: &[TrendPoint], zone: Tz) -> Svg {
    const HEIGHT: f64 = 22.0;
    let mut out = open("How the builds ended, oldest first", HEIGHT + 22.0);
    let slots = Slots::new(points.len(), 0.0, WIDTH);
    for (index, point) in points.iter().enumerate() {
        let total = number(point.builds.max(1));
        let shares = [
            ("passed", point.passed),
            ("cancelled", point.cancelled),
            ("errored", point.errored),
            ("failed", point.failed),
        ];
        let _ = write!(out, "<g class=\"hit\"><title>{}</title>", escape(&headline(point, zone)));
        let mut y = 0.0;
        for (class, count) in shares.into_iter().filter(|(_, count)| *count > 0) {
            let height = HEIGHT * number(count) / total;
            rect(&mut out, class, slots.bar(index), y, height);
            y += height;
        }
        out.push_str("</g>");
    }
    dates::write(&mut out, points, &slots, (HEIGHT, zone));
    close(out)
}

/// How long the stages took, stacked.
pub(crate) fn stage_times(points: &[TrendPoint], zone: Tz) -> Svg {
    let stages: Vec<[f64; Stage::ALL.len()]> = points.iter().map(stage_seconds).collect();
    let most = stages.iter().map(|stages| stages.iter().sum()).fold(0.0, f64::max);
    let axis = Axis::seconds(0.0, most);
    let mut out = open("How long the stages took", BOTTOM + 58.0);
    grid(&mut out, &axis);
    let slots = Slots::new(points.len(), LEFT, RIGHT);
    for (index, (point, stages)) in points.iter().zip(&stages).enumerate() {
        let mut title = headline(point, zone);
        for (stage, seconds) in Stage::ALL.iter().zip(stages).filter(|(_, seconds)| **seconds > 0.0) {
            let _ = write!(title, "\n{} {}", stage.label(), took(*seconds));
        }
        let _ = write!(out, "<g class=\"hit\"><title>{}</title>", escape(&title));
        rect(&mut out, "backdrop", slots.bar(index), TOP, PLOT);
        let mut y = BOTTOM;
        for (stage, seconds) in Stage::ALL.iter().zip(stages) {
            let height = PLOT * axis.share(*seconds);
            y -= height;
            rect(&mut out, stage.word(), slots.bar(index), y, height);
        }
        out.push_str("</g>");
    }
    dates::write(&mut out, points, &slots, (BOTTOM, zone));
    for (index, stage) in (0_u32..).zip(Stage::ALL) {
        let (x, y) = (LEFT + f64::from(index % 3) * 96.0, BOTTOM + 28.0 + f64::from(index / 3) * 16.0);
        rect(&mut out, stage.word(), (x, 10.0), y, 10.0);
        text(&mut out, "start", x + 15.0, y + 9.0, stage.label());
    }
    close(out)
}

/// The time from asking for a server to the agent's first word.
pub(crate) fn boot_times(points: &[TrendPoint], zone: Tz) -> Svg {
    let values: Vec<Option<f64>> =
        points.iter().map(|point| point.boot.as_ref().map(clock::seconds)).collect();
    let (least, most) = span(&values);
    line("Boot until the agent attaches", (points, zone), &values, &Axis::seconds(least, most), took)
}

/// The size of the image files.
pub(crate) fn image_sizes(points: &[TrendPoint], zone: Tz) -> Svg {
    let size = |point: &TrendPoint| (point.size_bytes > 0).then(|| number(point.size_bytes));
    let values: Vec<Option<f64>> = points.iter().map(size).collect();
    let (least, most) = span(&values);
    line("Size of the image file", (points, zone), &values, &Axis::bytes(least, most), axis::bytes)
}

/// A line through the values that are there.
fn line(
    label: &str,
    (points, zone): (&[TrendPoint], Tz),
    values: &[Option<f64>],
    axis: &Axis,
    print: impl Fn(f64) -> String,
) -> Svg {
    let mut out = open(label, BOTTOM + 22.0);
    grid(&mut out, axis);
    let slots = Slots::new(points.len(), LEFT, RIGHT);
    let at = |index: usize, value: f64| (slots.middle(index), BOTTOM - PLOT * axis.share(value));
    let there = || values.iter().enumerate().filter_map(|(index, value)| Some((index, (*value)?)));
    let path: Vec<String> = there()
        .map(|(index, value)| {
            let (x, y) = at(index, value);
            format!("{x:.1},{y:.1}")
        })
        .collect();
    let _ = write!(out, "<polyline class=\"line\" points=\"{}\"/>", path.join(" "));
    for ((index, value), point) in there().filter_map(|there| Some((there, points.get(there.0)?))) {
        let (x, y) = at(index, value);
        let title = format!("{}\n{}", headline(point, zone), print(value));
        let _ = write!(out, "<g class=\"hit\"><title>{}</title>", escape(&title));
        rect(&mut out, "backdrop", slots.bar(index), TOP, PLOT);
        let _ = write!(out, "<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.2\"/></g>");
    }
    dates::write(&mut out, points, &slots, (BOTTOM, zone));
    close(out)
}

/// Where the points stand along the x axis.
struct Slots {
    left: f64,
    width: f64,
}

impl Slots {
    fn new(points: usize, left: f64, right: f64) -> Self {
        // A few points do not become slabs.
        let points = u32::try_from(points).unwrap_or(u32::MAX).max(12);
        Self { left, width: (right - left) / f64::from(points) }
    }

    /// Left edge and width of a bar.
    fn bar(&self, index: usize) -> (f64, f64) {
        let gap = if self.width > 4.0 { 1.0 } else { 0.0 };
        (self.left + self.width * place(index), (self.width - gap).max(0.5))
    }

    fn middle(&self, index: usize) -> f64 {
        self.left + self.width * (place(index) + 0.5)
    }
}

fn place(index: usize) -> f64 {
    f64::from(u32::try_from(index).unwrap_or(u32::MAX))
}

fn open(label: &str, height: f64) -> String {
    format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">",
        escape(label)
    )
}

fn close(mut svg: String) -> Svg {
    svg.push_str("</svg>");
    Svg(svg)
}

fn rect(out: &mut String, class: &str, (x, width): (f64, f64), y: f64, height: f64) {
    if height > 0.0 {
        // Writing to a String cannot fail, here and below.
        let _ = write!(
            out,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
        );
    }
}

fn text(out: &mut String, anchor: &str, x: f64, y: f64, text: &str) {
    let _ = write!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escape(text));
}

/// The y axis: a line and a label with its unit at each tick.
fn grid(out: &mut String, axis: &Axis) {
    for tick in axis.ticks() {
        let y = BOTTOM - PLOT * axis.share(tick);
        let _ =
            write!(out, "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\"/>");
        text(out, "end", LEFT - 6.0, y + 4.0, &axis.label(tick));
    }
}

/// What a point is about.
fn headline(point: &TrendPoint, zone: Tz) -> String {
    let time =
        point.time.as_ref().and_then(clock::utc).map_or_else(|| "–".to_owned(), |time| told(time, zone));
    let counts = [
        (point.passed, "passed"),
        (point.failed, "failed"),
        (point.errored, "errored"),
        (point.cancelled, "cancelled"),
    ];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    if point.builds == 1 {
        let verdict = counts.map(|(_, word)| word).next().unwrap_or_default();
        return format!("{time}: {verdict}");
    }
    let counts: Vec<String> = counts.map(|(count, word)| format!("{count} {word}")).collect();
    format!("from {time}: {} builds, {}", point.builds, counts.join(", "))
}

fn stage_seconds(point: &TrendPoint) -> [f64; Stage::ALL.len()] {
    Stage::ALL.map(|stage| {
        let told = point.stages.iter().find(|told| told.name == stage.word());
        told.and_then(|stage| stage.p50.as_ref()).map_or(0.0, clock::seconds)
    })
}

fn took(seconds: f64) -> String {
    when::took(std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

fn span(values: &[Option<f64>]) -> (f64, f64) {
    let there = || values.iter().flatten().copied();
    (there().reduce(f64::min).unwrap_or(0.0), there().reduce(f64::max).unwrap_or(1.0))
}

#[expect(clippy::cast_precision_loss, reason = "for drawing")]
fn number(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use image_manager_proto::v1::StageDurations;

    fn point(seconds: i64, builds: u64, passed: u64) -> TrendPoint {
        let took = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        TrendPoint {
            time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            builds,
            passed,
            failed: builds - passed,
            stages: vec![StageDurations { name: "building".into(), p50: took(90), p95: took(120) }],
            boot: took(21),
            size_bytes: 204 << 20,
            ..TrendPoint::default()
        }
    }

    fn all(points: &[TrendPoint]) -> [String; 4] {
        let zone = Tz::Europe__Berlin;
        [
            verdicts(points, zone),
            stage_times(points, zone),
            boot_times(points, zone),
            image_sizes(points, zone),
        ]
        .map(|drawing| drawing.0)
    }

    #[test]
    fn marks_have_values_to_hover_on() {
        let points = [point(1_793_491_200, 1, 1), point(1_793_577_600, 4, 3)];
        let [verdicts, stages, boots, sizes] = all(&points);
        assert!(verdicts.contains("<title>2026-11-01 01:00 CET: passed</title>"), "{verdicts}");
        assert!(verdicts.contains("4 builds, 3 passed, 1 failed"), "{verdicts}");
        assert!(stages.contains("build 1 min 30 s"), "{stages}");
        assert!(boots.contains("21 s"), "{boots}");
        assert!(sizes.contains("204.00 MiB"), "{sizes}");
    }

    /// Pages forbid inline style and script; whatever is drawn, numbers are numbers.
    #[test]
    fn charts_are_well_formed_and_without_style() {
        for count in [0, 1, 2, 60, 200] {
            let points: Vec<_> = (0..count).map(|n| point(1_793_491_200 + n * 3600, 1, 0)).collect();
            for svg in all(&points) {
                assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>"));
                assert_eq!(svg.contains(">Nov 1"), count > 0, "{svg}");
                assert!(!svg.contains("style=") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
                assert_eq!(svg.matches("<g ").count(), svg.matches("</g>").count());
            }
        }
        assert_eq!(escape("<a href='x'>&\""), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
    }
}
