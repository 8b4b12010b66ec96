//! `image-manager report`: what a time range's builds say about each schedule.

use image_manager_proto::percent;
use image_manager_proto::v1::{self, Durations, ScheduleReport, TrendPoint};

use super::arguments::{ReportArguments, ReportFormat};
use super::instance::{expect_schedule, open_history};
use super::text::{self, Painted, Part, Screen, Style, line};
use super::{Exit, Outcome, Trouble, json, report_page, when};
use crate::history::ReportQuery;

/// Points of a trend in the file.
const POINTS: u32 = 90;
/// Marks in a line of the terminal.
const MARKS: u32 = 60;

pub(crate) async fn run(arguments: ReportArguments) -> Outcome {
    let time = |text: Option<&str>, flag, parse: fn(&str, &str) -> Result<i64, String>| {
        text.map(|text| parse(text, flag)).transpose().map_err(Trouble::usage)
    };
    // Up to now, unless another end is given.
    let parse_since = if arguments.until.is_some() { when::parse_time } else { when::parse_since };
    let query = ReportQuery {
        schedule: arguments.schedule.clone(),
        since_ms: time(arguments.since.as_deref(), "--since", parse_since)?,
        until_ms: time(arguments.until.as_deref(), "--until", when::parse_time)?,
        points: if arguments.format == ReportFormat::Text { MARKS } else { POINTS },
    };
    if let (Some(since), Some(until)) = (query.since_ms, query.until_ms)
        && since >= until
    {
        return Err(Trouble::usage("--since is not before --until: the range is empty"));
    }
    let history = open_history(&arguments.state.state)?;
    expect_schedule(&history, arguments.schedule.as_deref()).await?;
    let report = history.report(query).await.map_err(Trouble::errored)?;
    match arguments.format {
        ReportFormat::Text => text::print(&render(&report, Style::of_stdout())),
        ReportFormat::Json => text::print_document(&json::message("GetReportResponse", &report)),
        ReportFormat::Html => text::print_document(&report_page::render(&report)),
    }
    Ok(Exit::Done)
}

fn render(report: &v1::GetReportResponse, style: Style) -> Screen {
    let mut out = Screen::default();
    let (since, until) = (when::exact(report.since.as_ref()), when::exact(report.until.as_ref()));
    line!(out, style.dim(&format!("builds created from {since} to {until}")));
    if report.schedules.is_empty() {
        out.blank();
        line!(out, "no build ended in this range; for a longer one: --since 90d");
    }
    for schedule in &report.schedules {
        out.blank();
        write_schedule(&mut out, schedule, style);
    }
    out
}

fn write_schedule(out: &mut Screen, report: &ScheduleReport, style: Style) {
    let builds = if report.builds == 1 { "build" } else { "builds" };
    let count = format!("  {} {builds}, {}", report.builds, success(report));
    line!(out, style.bold(&report.schedule), count);
    line!(
        out,
        format_args!(
            "  {} passed, {} failed, {} errored, {} cancelled",
            report.passed, report.failed, report.errored, report.cancelled
        )
    );
    if report.skipped > 0 {
        line!(out, "  ", skipped(report));
    }
    write_marks(out, report, style);
    if let Some(passed) = &report.last_passed_at {
        line!(out, format_args!("  last good image  {}", when::both(Some(passed))));
    }
    if report.errored > 0 {
        let (flaky, errored) = (report.flaky, report.errored);
        line!(
            out,
            format_args!("  flaky            {flaky} of {errored} that errored passed when built again")
        );
    }
    if let Some(mean) = &report.mean_time_between_failures {
        line!(out, format_args!("  between failures {} on average", took(Some(mean))));
    }
    line!(out, "  ", style.dim(&format!("{:<15} {:>13} {:>13}", "", "median", "p95")));
    for stage in &report.stages {
        write_times(out, &stage.name, &took(stage.p50.as_ref()), &took(stage.p95.as_ref()));
    }
    for (name, durations) in [("whole build", &report.total), ("boot to agent", &report.boot)] {
        if let Some(Durations { p50, p95 }) = durations {
            write_times(out, name, &took(p50.as_ref()), &took(p95.as_ref()));
        }
    }
    write_targets(out, report, style);
    if let Some(sizes) = &report.sizes {
        let size = |bytes| indicatif::HumanBytes(bytes).to_string();
        line!(
            out,
            format_args!(
                "  {:<15} {:>13}  from {} to {}",
                "image size",
                size(sizes.p50_bytes),
                size(sizes.min_bytes),
                size(sizes.max_bytes)
            )
        );
    }
}

/// How each target went, where there are several.
fn write_targets(out: &mut Screen, report: &ScheduleReport, style: Style) {
    if report.targets.is_empty() {
        return;
    }
    line!(out, "  ", style.dim("of the newest builds, by target"));
    for target in &report.targets {
        let boot = target.boot.as_ref().and_then(|boot| boot.p50.as_ref());
        let boot = boot.map(|p50| format!(", boot to agent {}", took(Some(p50))));
        let (passed, trials, boot) = (target.passed, target.trials, boot.unwrap_or_default());
        let rest = format!(
            "  {passed} of {trials} passed, {} failed, {} errored{boot}",
            target.failed, target.errored
        );
        line!(out, format_args!("  {:<15} {rest}", target.target));
    }
}

/// A mark for each point, oldest first.
fn write_marks(out: &mut Screen, report: &ScheduleReport, style: Style) {
    let marks: Vec<Painted> = report.points.iter().map(|point| style.verdict_mark(worst(point))).collect();
    if marks.is_empty() {
        return;
    }
    let each = if report.points.len() as u64 == report.builds { "a build" } else { "several builds" };
    let legend = style.dim(&format!("oldest to newest, each mark {each}"));
    let mut parts: Vec<&dyn Part> = vec![&"  "];
    parts.extend(marks.iter().map(|mark| mark as &dyn Part));
    parts.extend([&"  " as &dyn Part, &legend]);
    out.line(&parts);
}

fn write_times(out: &mut Screen, name: &str, p50: &str, p95: &str) {
    line!(out, format_args!("  {name:<15} {p50:>13} {p95:>13}"));
}

/// "95.2% success", or why there is no such figure.
pub(super) fn success(report: &ScheduleReport) -> String {
    if report.passed + report.failed == 0 {
        return "success rate unknown".to_owned();
    }
    format!("{} success", percent(report.success_rate))
}

/// How many were not made, in no other figure.
pub(super) fn skipped(report: &ScheduleReport) -> String {
    format!("{} more skipped, because nothing had changed", report.skipped)
}

pub(super) fn took(duration: Option<&prost_types::Duration>) -> String {
    let duration = duration.and_then(|duration| std::time::Duration::try_from(*duration).ok());
    duration.map_or_else(|| "-".to_owned(), when::took)
}

/// The verdict that a point of several builds is marked by.
fn worst(point: &TrendPoint) -> v1::Verdict {
    if point.failed > 0 {
        v1::Verdict::Failed
    } else if point.errored > 0 {
        v1::Verdict::Errored
    } else if point.passed > 0 {
        v1::Verdict::Passed
    } else {
        v1::Verdict::Unspecified
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_reads_well() {
        let took = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let point = |passed, errored| TrendPoint { builds: 1, passed, errored, ..TrendPoint::default() };
        let report = v1::GetReportResponse {
            schedules: vec![ScheduleReport {
                schedule: "debian".into(),
                builds: 3,
                passed: 2,
                errored: 1,
                success_rate: 1.0,
                flaky: 1,
                skipped: 4,
                boot: Some(Durations { p50: took(21), p95: took(34) }),
                points: vec![point(1, 0), point(0, 1), point(1, 0)],
                ..ScheduleReport::default()
            }],
            ..v1::GetReportResponse::default()
        };
        let said = render(&report, Style::plain());
        let said = said.as_str();
        assert!(said.contains("debian  3 builds, 100% success"), "{said}");
        assert!(said.contains("  4 more skipped, because nothing had changed\n"), "{said}");
        assert!(said.contains("✔?✔"), "{said}");
        assert!(said.contains("1 of 1 that errored passed when built again"), "{said}");
        assert!(said.contains("boot to agent            21 s          34 s"), "{said}");
    }
}
