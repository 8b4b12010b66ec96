//! The report as one HTML file that needs nothing else: for a mail, a ticket, an archive.

use chrono_tz::Tz;
use image_manager_proto::counted;
use image_manager_proto::v1::{GetReportResponse, ScheduleReport};
use maud::{DOCTYPE, Markup, html};

use super::report::{skipped, success, took};
use super::when;
use crate::operator::charts;
use crate::untrusted::html::{Ours, page};

const STYLE: Ours = Ours(include_str!("report_page.css"));

pub(super) fn render(report: &GetReportResponse) -> String {
    let range = format!("{} to {}", when::exact(report.since.as_ref()), when::exact(report.until.as_ref()));
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Image builds, " (range) }
                style { (STYLE) (charts::STYLE) }
            }
            body {
                main {
                    h1 { "Image builds" }
                    p.range { "created from " (range) "; times are UTC" }
                    @if report.schedules.is_empty() { p { "No build ended in this range." } }
                    @for schedule in &report.schedules { (section(schedule)) }
                }
            }
        }
    };
    page(markup) + "\n"
}

fn section(report: &ScheduleReport) -> Markup {
    let size = |bytes| indicatif::HumanBytes(bytes).to_string();
    html! {
        section {
            h2 { (report.schedule) }
            p {
                strong { (success(report)) } " in " (counted(report.builds, "build")) ": " (report.passed) " passed, "
                (report.failed) " failed, " (report.errored) " errored, " (report.cancelled) " cancelled."
                @if report.skipped > 0 { " " (skipped(report)) "." }
            }
            div.strip { (charts::verdicts(&report.points, Tz::UTC)) }
            dl {
                @if let Some(passed) = &report.last_passed_at {
                    (fact("last good image", &when::exact(Some(passed))))
                }
                (fact("errored, then passed", &format!("{} of {}", report.flaky, report.errored)))
                @if let Some(mean) = &report.mean_time_between_failures {
                    (fact("mean time between failures", &took(Some(mean))))
                }
                @if let Some(sizes) = &report.sizes {
                    (fact("image size, median", &format!("{} (from {} to {})", size(sizes.p50_bytes), size(sizes.min_bytes), size(sizes.max_bytes))))
                }
            }
            (times(report))
            (targets(report))
            div.charts {
                @for (title, chart) in [
                    ("Stages", charts::stage_times(&report.points, Tz::UTC)),
                    ("Boot time", charts::boot_times(&report.points, Tz::UTC)),
                    ("Image size", charts::image_sizes(&report.points, Tz::UTC)),
                ] {
                    figure { figcaption { (title) } (chart) }
                }
            }
        }
    }
}

/// How each target went, where there are several.
fn targets(report: &ScheduleReport) -> Markup {
    html! {
        @if !report.targets.is_empty() {
            table {
                thead {
                    tr {
                        th scope="col" { "target, newest builds" } th scope="col" { "passed" } th scope="col" { "failed" }
                        th scope="col" { "errored" } th scope="col" { "boot to agent" }
                    }
                }
                tbody {
                    @for target in &report.targets {
                        tr {
                            th scope="row" { (target.target) " on " (target.cloud) }
                            td { (target.passed) " of " (target.trials) }
                            td { (target.failed) }
                            td { (target.errored) }
                            td { (took(target.boot.as_ref().and_then(|boot| boot.p50.as_ref()))) }
                        }
                    }
                }
            }
        }
    }
}

fn fact(name: &str, value: &str) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn times(report: &ScheduleReport) -> Markup {
    let stages = report.stages.iter().map(|stage| (stage.name.as_str(), &stage.p50, &stage.p95));
    let whole = report.total.iter().map(|total| ("whole build", &total.p50, &total.p95));
    let boot = report.boot.iter().map(|boot| ("boot to agent", &boot.p50, &boot.p95));
    html! {
        table {
            thead { tr { th scope="col" { "time of" } th scope="col" { "median" } th scope="col" { "p95" } } }
            tbody {
                @for (name, p50, p95) in stages.chain(whole).chain(boot) {
                    tr {
                        th scope="row" { (name.replace('_', " ")) }
                        td { (took(p50.as_ref())) }
                        td { (took(p95.as_ref())) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use image_manager_proto::v1;

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

    #[test]
    fn the_page_has_the_targets_and_what_was_skipped() {
        let target = v1::TargetReport {
            target: "small".into(),
            cloud: "local".into(),
            trials: 3,
            passed: 2,
            failed: 1,
            ..v1::TargetReport::default()
        };
        let mut report = GetReportResponse {
            schedules: vec![ScheduleReport {
                targets: vec![target],
                skipped: 7,
                ..ScheduleReport::default()
            }],
            ..GetReportResponse::default()
        };
        let page = render(&report);
        assert!(page.contains("small on local") && page.contains("2 of 3"), "{page}");
        assert!(page.contains("7 more skipped, because nothing had changed."), "{page}");
        report.schedules = vec![ScheduleReport::default()];
        let page = render(&report);
        assert!(!page.contains("skipped") && !page.contains("target,"), "{page}");
    }
}
