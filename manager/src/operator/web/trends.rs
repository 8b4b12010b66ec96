//! How a schedule went over a time: key figures, charts, and the stages in a table.

use std::time::Duration;

use image_manager_proto::v1;
use maud::{Markup, html};

use super::schedule::success_rate;
use super::{figures, zone};
use crate::operator::charts::{self, Svg};

/// All of a schedule's trends.
pub(super) fn all(report: &v1::ScheduleReport) -> Markup {
    let zone = zone::of_page();
    html! {
        (key_figures(report))
        div.charts {
            div {
                (chart("Builds by verdict", "oldest on the left", &charts::verdicts(&report.points, zone)))
                (chart("Stage durations", "stacked", &charts::stage_times(&report.points, zone)))
            }
            div {
                (chart("Boot time", "from creating the server until the agent attached", &charts::boot_times(&report.points, zone)))
                (chart("Image size", "the image file", &charts::image_sizes(&report.points, zone)))
            }
        }
        (stages(report))
        (targets(report))
    }
}

fn chart(title: &str, says: &str, svg: &Svg) -> Markup {
    html! {
        figure.chart-box {
            // The script puts what is pointed at into the second line.
            figcaption { strong { (title) } p.readout.muted { (says) } }
            (svg)
        }
    }
}

fn key_figures(report: &v1::ScheduleReport) -> Markup {
    let total = report.total.as_ref();
    let boot = report.boot.as_ref();
    html! {
        dl.key-figures {
            div { dt { "success rate" } dd { (success_rate(report)) } dd.muted { (report.passed) " passed, " (report.failed) " failed" } }
            div { dt { "builds" } dd { (report.builds) } dd.muted { (report.errored) " errored, " (report.flaky) " of them flaky"
                @if report.skipped > 0 { "; " (report.skipped) " more skipped" } } }
            div { dt { "time to a verified image" } dd { (took(total.and_then(|total| total.p50))) } dd.muted { "p95: " (took(total.and_then(|total| total.p95))) } }
            div { dt { "boot to agent" } dd { (took(boot.and_then(|boot| boot.p50))) } dd.muted { "p95: " (took(boot.and_then(|boot| boot.p95))) } }
            div { dt { "image size" } dd { (size(report)) } dd.muted { "median" } }
            div { dt { "last good image" } dd { (figures::distance(report.last_passed_at.as_ref().and_then(crate::clock::utc))) }
                dd.muted {
                    @if let Some(mean) = report.mean_time_between_failures { "a failure every " (took(Some(mean))) }
                    @else { "fewer than 2 failures" }
                } }
        }
    }
}

fn size(report: &v1::ScheduleReport) -> String {
    report.sizes.as_ref().map_or_else(|| "–".to_owned(), |sizes| figures::size(sizes.p50_bytes))
}

fn took(duration: Option<prost_types::Duration>) -> String {
    let duration = duration.and_then(|duration| Duration::try_from(duration).ok());
    duration.map_or_else(|| "–".to_owned(), figures::took)
}

/// The figures of the stages, for who does not see the chart.
fn stages(report: &v1::ScheduleReport) -> Markup {
    html! {
        @if !report.stages.is_empty() {
            div.table-box tabindex="0" role="region" aria-label="Stages" {
                table.figures {
                    thead { tr { th scope="col" { "Stage" } th.right scope="col" { "Median" } th.right scope="col" { "p95" } } }
                    tbody {
                        @for stage in &report.stages {
                            tr { th scope="row" { (stage.name.replace('_', " ")) } td.right.num { (took(stage.p50)) } td.right.num { (took(stage.p95)) } }
                        }
                    }
                }
            }
        }
    }
}

/// How each target went, where there are several.
fn targets(report: &v1::ScheduleReport) -> Markup {
    html! {
        @if !report.targets.is_empty() {
            div.table-box tabindex="0" role="region" aria-label="Targets" {
                table.figures {
                    thead {
                        tr {
                            th scope="col" { "Target" } th scope="col" { "Cloud" } th.right scope="col" { "Passed" }
                            th.right scope="col" { "Failed" } th.right scope="col" { "Errored" } th.right scope="col" { "Boot to agent" }
                        }
                    }
                    tbody {
                        @for target in &report.targets {
                            tr {
                                th scope="row" { (target.target) }
                                td { (target.cloud) }
                                td.right.num { (target.passed) " of " (target.trials) }
                                td.right.num { (target.failed) }
                                td.right.num { (target.errored) }
                                td.right.num { (took(target.boot.as_ref().and_then(|boot| boot.p50))) }
                            }
                        }
                    }
                }
            }
            p.muted { "Counted over the newest builds in this time range." }
        }
    }
}
