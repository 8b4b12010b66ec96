//! The report as one HTML file that needs nothing else: for a mail, a ticket, a shelf.

use std::fmt::Write as _;

use image_manager_proto::v1::{GetReportResponse, ScheduleReport};

use super::report::{success, took};
use super::when;
use crate::operator::charts::{self, escape};

const STYLE: &str = include_str!("report_page.css");

pub(super) fn render(report: &GetReportResponse) -> String {
    let range = format!("{} to {}", when::exact(report.since.as_ref()), when::exact(report.until.as_ref()));
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Image builds, {range}</title>\n<style>\n{STYLE}{}</style>\n</head>\n<body>\n<main>\n\
         <h1>Image builds</h1>\n<p class=\"range\">created from {range}</p>\n",
        charts::STYLE
    );
    if report.schedules.is_empty() {
        out.push_str("<p>No build ended in this range.</p>\n");
    }
    for schedule in &report.schedules {
        // Writing to a String cannot fail.
        let _ = write_schedule(&mut out, schedule);
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn write_schedule(out: &mut String, report: &ScheduleReport) -> std::fmt::Result {
    writeln!(out, "<section>\n<h2>{}</h2>", escape(&report.schedule))?;
    writeln!(
        out,
        "<p><strong>{}</strong> in {} builds: {} passed, {} failed, {} errored, {} cancelled.</p>",
        success(report),
        report.builds,
        report.passed,
        report.failed,
        report.errored,
        report.cancelled
    )?;
    writeln!(out, "<div class=\"strip\">{}</div>", charts::verdicts(&report.points))?;
    writeln!(out, "<dl>")?;
    if report.last_passed_at.is_some() {
        fact(out, "last good image", &when::exact(report.last_passed_at.as_ref()))?;
    }
    fact(out, "errored, then passed", &format!("{} of {}", report.flaky, report.errored))?;
    if let Some(mean) = &report.mean_time_between_failures {
        fact(out, "mean time between failures", &took(Some(mean)))?;
    }
    if let Some(sizes) = &report.sizes {
        let size = |bytes| indicatif::HumanBytes(bytes).to_string();
        let text = format!(
            "{} (from {} to {})",
            size(sizes.p50_bytes),
            size(sizes.min_bytes),
            size(sizes.max_bytes)
        );
        fact(out, "image size, median", &text)?;
    }
    writeln!(out, "</dl>")?;
    write_times(out, report)?;
    writeln!(out, "<div class=\"charts\">")?;
    for (title, chart) in [
        ("Stages", charts::stage_times(&report.points)),
        ("Boot until the agent's first word", charts::boot_times(&report.points)),
        ("Image size", charts::image_sizes(&report.points)),
    ] {
        writeln!(out, "<figure>\n<figcaption>{title}</figcaption>\n{chart}\n</figure>")?;
    }
    writeln!(out, "</div>\n</section>")
}

fn fact(out: &mut String, name: &str, value: &str) -> std::fmt::Result {
    writeln!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(value))
}

fn write_times(out: &mut String, report: &ScheduleReport) -> std::fmt::Result {
    writeln!(
        out,
        "<table>\n<thead><tr><th scope=\"col\">time of</th><th scope=\"col\">median</th>\
         <th scope=\"col\">95 % within</th></tr></thead>\n<tbody>"
    )?;
    let stages = report.stages.iter().map(|stage| (stage.name.as_str(), &stage.p50, &stage.p95));
    let whole = report.total.iter().map(|total| ("whole build", &total.p50, &total.p95));
    let boot = report.boot.iter().map(|boot| ("boot to agent", &boot.p50, &boot.p95));
    for (name, p50, p95) in stages.chain(whole).chain(boot) {
        let (p50, p95) = (took(p50.as_ref()), took(p95.as_ref()));
        writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td>{p50}</td><td>{p95}</td></tr>",
            escape(&name.replace('_', " "))
        )?;
    }
    writeln!(out, "</tbody>\n</table>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_foreign_text_stays_text() {
        let report = GetReportResponse {
            schedules: vec![ScheduleReport { schedule: "<script>".into(), ..ScheduleReport::default() }],
            ..GetReportResponse::default()
        };
        let page = render(&report);
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
        assert!(page.contains("<h2>&lt;script&gt;</h2>") && !page.contains("<script"), "{page}");
        for outside in ["http:", "https:", "src=", "href=", "url(", "@import"] {
            assert!(!page.contains(outside), "the page needs {outside}");
        }
        assert_eq!(page.matches("<svg ").count(), 4);
    }
}
