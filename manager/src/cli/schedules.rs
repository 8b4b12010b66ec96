//! `image-manager schedules`: the schedules of the manager that serves.

use image_manager_proto::v1;

use super::arguments::{OneFormat, OverviewArguments};
use super::table::{self, Column};
use super::text::{self, Painted, Screen, Style};
use super::{Exit, Outcome, json, serving, when};
use crate::history::{Named as _, build_has_ended};
use crate::lifecycle::trials;

pub(crate) async fn run(arguments: OverviewArguments) -> Outcome {
    let (mut client, _) = serving::manager(&arguments.serving).await?;
    let answer = client.schedules().await?;
    match arguments.format {
        OneFormat::Text => {
            text::print(&table(&answer.schedules, Style::of_stdout()));
            if !answer.schedules_error.is_empty() {
                text::complain(&format!(
                    "the schedules file is not in use; these are the earlier schedules:\n{}",
                    answer.schedules_error
                ));
            }
        }
        OneFormat::Json => text::print_document(&json::message("ListSchedulesResponse", &answer)),
    }
    Ok(Exit::Done)
}

const NAME: Column<v1::Schedule> = ("SCHEDULE", |schedule| schedule.name.clone());
const CLOUD: Column<v1::Schedule> =
    (
        "CLOUD",
        |schedule| {
            if schedule.cloud.is_empty() { "several".to_owned() } else { schedule.cloud.clone() }
        },
    );
const CRON: Column<v1::Schedule> = ("CRON", |schedule| text::shortened(&schedule.cron, 24));
const ZONE: Column<v1::Schedule> = ("TIME ZONE", |schedule| schedule.timezone.clone());
const NEXT: Column<v1::Schedule> = ("NEXT", next);
const LAST: Column<v1::Schedule> = ("LAST BUILD", last);
const REASON: Column<v1::Schedule> =
    ("REASON", |schedule| schedule.last_build.as_ref().map(trials::why).unwrap_or_default());
/// Where there is no room for the names of the checks that failed.
const WORD: Column<v1::Schedule> =
    ("REASON", |schedule| schedule.last_build.as_ref().map(|build| build.reason.clone()).unwrap_or_default());
const NAMES: Column<v1::Schedule> = ("PUBLISHES", |schedule| schedule.publish_name.clone());

/// When it fires, or why it does not.
pub(super) fn next(schedule: &v1::Schedule) -> String {
    match (schedule.paused, schedule.retry_at.as_ref(), schedule.next_fires.first()) {
        (true, ..) => "paused".to_owned(),
        (_, Some(retry), _) => format!("{} (retry)", when::until(Some(retry))),
        (_, None, None) => "on demand".to_owned(),
        (_, None, next) => when::until(next),
    }
}

fn last(schedule: &v1::Schedule) -> String {
    let Some(build) = &schedule.last_build else { return "none".to_owned() };
    let since = if build_has_ended(build.state()) { &build.finished_at } else { &build.created_at };
    format!("{} {}", build.state().word(), when::ago(since.as_ref()))
}

/// The layouts, from the widest to the narrowest; the first that fits the terminal is taken.
const LAYOUTS: [&[Column<v1::Schedule>]; 6] = [
    &[NAME, CLOUD, CRON, ZONE, NEXT, LAST, REASON, NAMES],
    &[NAME, CLOUD, CRON, NEXT, LAST, REASON],
    &[NAME, NEXT, LAST, REASON],
    &[NAME, NEXT, LAST, WORD],
    &[NAME, NEXT, LAST],
    &[NAME, NEXT],
];

fn table(schedules: &[v1::Schedule], style: Style) -> Screen {
    table::of(&LAYOUTS, schedules, "no schedules", style, |schedule, text| match &schedule.last_build {
        Some(build) => style.by_state(build.state(), text),
        None => Painted::plain(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn the_schedules_fit_the_terminal() {
        let soon = clock::timestamp(clock::now().timestamp_millis() + 4 * 3_600_000 + 9_000);
        let schedule = v1::Schedule {
            name: "debian-13-hardened".to_owned(),
            cloud: "local".to_owned(),
            cron: "0 2 * * *".to_owned(),
            timezone: "Europe/Berlin".to_owned(),
            next_fires: vec![soon],
            last_build: Some(v1::Build {
                state: v1::BuildState::Failed.into(),
                reason: "check_failed".to_owned(),
                failed_checks: vec!["disk".to_owned(), "package_manager".to_owned()],
                finished_at: Some(clock::timestamp(clock::now().timestamp_millis())),
                ..v1::Build::default()
            }),
            ..v1::Schedule::default()
        };
        for width in [40, 60, 80, 100, 200] {
            let said = table(std::slice::from_ref(&schedule), Style::of_width(width));
            let said = said.as_str();
            assert!(said.lines().all(|line| line.chars().count() <= width), "{width}\n{said}");
            assert!(said.contains("debian-13-hardened") && said.contains("in 4 h"), "{width}\n{said}");
            assert_eq!(width >= 60, said.contains("check_failed"), "{width}\n{said}");
            let named = said.contains("check_failed: disk, package_manager");
            assert_eq!(width >= 80, named, "{width}\n{said}");
        }
        let retry = clock::timestamp(clock::now().timestamp_millis() + 605_000);
        let again = v1::Schedule { retry_at: Some(retry), ..schedule.clone() };
        assert_eq!(next(&again), "in 10 min (retry)");
        assert_eq!(next(&v1::Schedule { paused: true, ..schedule.clone() }), "paused");
        assert_eq!(next(&v1::Schedule { next_fires: Vec::new(), ..schedule }), "on demand");
    }
}
