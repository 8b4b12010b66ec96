//! Reports on a real database whose builds were written as the program writes them, or in its tables directly
//! where a test needs other times than now.

use rusqlite::Connection;

use super::*;

const HOUR: i64 = 3_600_000;
/// 2026-11-01, midnight UTC.
const BEGIN: i64 = 1_793_491_200_000;

/// A build as the tables have it: when it was created, how it ended, milliseconds of building and of the boot
/// until the agent's first word, bytes of the image.
struct Row {
    schedule: &'static str,
    created_at: i64,
    state: &'static str,
    building: i64,
    boot: i64,
    size: i64,
}

impl Row {
    fn new(schedule: &'static str, created_at: i64, state: &'static str) -> Self {
        Self { schedule, created_at, state, building: 60_000, boot: 20_000, size: 200 << 20 }
    }

    fn insert(&self, connection: &Connection, before_trials: bool) {
        let context = uuid::ContextV7::new();
        let seconds = u64::try_from(self.created_at / 1000).unwrap();
        let nanos = u32::try_from(self.created_at % 1000 * 1_000_000).unwrap();
        let id = uuid::Uuid::new_v7(uuid::Timestamp::from_unix(&context, seconds, nanos)).to_string();
        let booting = self.created_at + self.building;
        connection
            .execute(
                "INSERT INTO build (id, schedule, cloud, state, trigger, created_at, started_at, finished_at)
                 VALUES (?1, ?2, 'local', ?3, 'cron', ?4, ?4, ?5)",
                params![id, self.schedule, self.state, self.created_at, booting + self.boot],
            )
            .unwrap();
        connection
            .execute(
                // In a history of before, what is a trial's now was its build's.
                if before_trials {
                    "UPDATE build SET image_size = ?2, agent_attached_at = ?3 WHERE id = ?1"
                } else {
                    "INSERT INTO trial (build_id, position, target, cloud, state, image_size, agent_attached_at)
                     VALUES (?1, 0, 'local', 'local', 'succeeded', ?2, ?3)"
                },
                params![id, self.size, booting + self.boot],
            )
            .unwrap();
        for (position, name, began, ended) in
            [(0, "building", self.created_at, booting), (1, "booting", booting, booting + self.boot)]
        {
            connection
                .execute(
                    "INSERT INTO stage (build_id, position, name, state, started_at, finished_at)
                     VALUES (?1, ?2, ?3, 'done', ?4, ?5)",
                    params![id, position, name, began, ended],
                )
                .unwrap();
        }
    }
}

/// A history with these builds.
async fn history(rows: &[Row]) -> (tempfile::TempDir, History) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image-manager.db");
    let history = History::open(&path).unwrap();
    let mut connection = Connection::open(&path).unwrap();
    let transaction = connection.transaction().unwrap();
    for row in rows {
        row.insert(&transaction, false);
    }
    transaction.commit().unwrap();
    history.refresh_day_sums().await.unwrap();
    (directory, history)
}

fn range(since: i64, until: i64) -> ReportQuery {
    ReportQuery { since_ms: Some(since), until_ms: Some(until), points: 60, ..ReportQuery::default() }
}

fn ms(duration: Option<&prost_types::Duration>) -> i64 {
    let duration = duration.unwrap();
    duration.seconds * 1000 + i64::from(duration.nanos) / 1_000_000
}

#[test]
fn a_report_on_many_schedules_has_fewer_points_of_each() {
    let points = |asked, schedules| points_of_each(asked, schedules);
    assert_eq!([points(0, 5), points(1000, 1), points(200, 60), points(200, 200)], [0, 200, 200, 60]);
    assert_eq!(points(10, 1_000_000), 1);
}

#[tokio::test]
async fn a_few_builds_are_summed_up_exactly() {
    let states = ["succeeded", "errored", "succeeded", "failed", "cancelled", "failed"];
    let mut rows: Vec<Row> =
        (0..).zip(states).map(|(hour, state)| Row::new("web", BEGIN + hour * HOUR, state)).collect();
    rows[0].building = 50_123;
    rows[2].building = 70_456;
    rows[5].size = 300 << 20;
    rows.push(Row::new("other", BEGIN + 2 * HOUR, "succeeded"));
    rows.push(Row::new("web", BEGIN + 3 * DAY, "succeeded"));
    let (_directory, history) = history(&rows).await;

    let answer = history.report(range(BEGIN, BEGIN + DAY)).await.unwrap();
    let names: Vec<_> = answer.schedules.iter().map(|report| report.schedule.as_str()).collect();
    assert_eq!(names, ["other", "web"]);
    let web = &answer.schedules[1];
    assert_eq!((web.builds, web.passed, web.failed, web.errored, web.cancelled), (6, 2, 2, 1, 1));
    assert!((web.success_rate - 0.5).abs() < 1e-9);
    assert_eq!(web.flaky, 1, "one errored and the next one passed");
    assert_eq!(ms(web.mean_time_between_failures.as_ref()), 2 * HOUR);
    assert_eq!(web.last_passed_at.as_ref().unwrap().seconds * 1000, BEGIN + 2 * HOUR);
    let building = &web.stages[0];
    assert_eq!(building.name, "building");
    assert_eq!((ms(building.p50.as_ref()), ms(building.p95.as_ref())), (60_000, 70_456));
    assert_eq!(ms(web.boot.as_ref().unwrap().p50.as_ref()), 20_000);
    assert_eq!(ms(web.total.as_ref().unwrap().p50.as_ref()), 70_123, "of those that passed");
    let sizes = web.sizes.as_ref().unwrap();
    assert_eq!((sizes.min_bytes, sizes.p50_bytes, sizes.max_bytes), (200 << 20, 200 << 20, 300 << 20));
    assert_eq!(web.points.len(), 6);
    assert!(web.points.iter().all(|point| point.builds == 1 && !point.build_id.is_empty()));

    let second_half = history.report(range(BEGIN + 3 * HOUR, BEGIN + 5 * HOUR)).await.unwrap();
    assert_eq!(second_half.schedules.len(), 1);
    assert_eq!((second_half.schedules[0].failed, second_half.schedules[0].cancelled), (1, 1));
    let of_other = ReportQuery { schedule: Some("other".to_owned()), ..range(0, BEGIN + DAY) };
    assert_eq!(history.report(of_other).await.unwrap().schedules.len(), 1);
    assert!(history.report(ReportQuery::default()).await.unwrap().schedules.len() <= 2);
    assert!(history.report(range(BEGIN - DAY, BEGIN)).await.unwrap().schedules.is_empty());
}

/// What was skipped is told beside the builds, and bends no figure; a schedule of which all were is there too.
#[tokio::test]
async fn skipped_builds_are_counted_beside_the_others() {
    let states = ["succeeded", "skipped", "failed", "skipped", "skipped"];
    let mut rows: Vec<Row> =
        (0..).zip(states).map(|(hour, state)| Row::new("web", BEGIN + hour * HOUR, state)).collect();
    rows.push(Row::new("quiet", BEGIN + HOUR, "skipped"));
    let (_directory, history) = history(&rows).await;
    let answer = history.report(range(BEGIN, BEGIN + DAY)).await.unwrap();
    let told: Vec<_> = answer
        .schedules
        .iter()
        .map(|report| (report.schedule.as_str(), report.builds, report.passed, report.skipped))
        .collect();
    assert_eq!(told, [("quiet", 0, 0, 1), ("web", 2, 1, 3)]);
    assert!((answer.schedules[1].success_rate - 0.5).abs() < 1e-9);
    assert_eq!(answer.schedules[1].points.len(), 2, "the trend is of builds");
    let only = |schedule: &str| ReportQuery {
        schedule: Some(schedule.to_owned()),
        ..range(BEGIN + HOUR, BEGIN + 4 * HOUR)
    };
    assert_eq!(history.report(only("quiet")).await.unwrap().schedules[0].skipped, 1);
    assert_eq!(history.report(only("web")).await.unwrap().schedules[0].skipped, 2);
    assert!(history.report(only("other")).await.unwrap().schedules.is_empty());
}

/// The agent of a build that was resumed may have waited for the next manager.
#[tokio::test]
async fn the_boot_of_a_resumed_build_is_no_sample() {
    let mut rows: Vec<Row> = (0..3).map(|hour| Row::new("web", BEGIN + hour * HOUR, "succeeded")).collect();
    rows[1].boot = 900_000;
    let (directory, history) = history(&rows).await;
    let connection = Connection::open(directory.path().join("image-manager.db")).unwrap();
    connection
        .execute_batch(
            "INSERT INTO trial (build_id, position, target, cloud, state, verdict, agent_attached_at)
                SELECT build_id, 1, 'other', 'other', state, 'passed', agent_attached_at FROM trial;
             UPDATE stage SET trial = 1 WHERE name = 'booting';",
        )
        .unwrap();
    let boots = async || {
        let report = history.report(range(BEGIN, BEGIN + DAY)).await.unwrap().schedules.remove(0);
        let target = report.targets.iter().find(|target| target.target == "other").unwrap();
        let p95 = |boot: Option<&v1::Durations>| ms(boot.unwrap().p95.as_ref());
        (report.builds, target.trials, p95(report.boot.as_ref()), p95(target.boot.as_ref()))
    };
    assert_eq!(boots().await, (3, 3, 900_000, 900_000));
    // Left for another manager while it had no server, and resumed for that; then a build that was resumed after a kill.
    for (taken_up, boot) in [(0, 900_000), (-1, 900_000), (1, 20_000)] {
        let resumed = "UPDATE build SET taken_up = ?1 WHERE created_at = ?2";
        connection.execute(resumed, params![taken_up, rows[1].created_at]).unwrap();
        assert_eq!(boots().await, (3, 3, boot, boot), "{taken_up}");
    }
}

/// A clean-up is that of the trials, which go side by side, and then the build's own.
#[tokio::test]
async fn a_clean_up_is_that_of_the_trials_and_the_rest() {
    let (directory, history) = history(&[Row::new("web", BEGIN, "succeeded")]).await;
    let connection = Connection::open(directory.path().join("image-manager.db")).unwrap();
    for (position, trial, name, took) in [
        (2, Some(0), "verifying", 700),
        (3, Some(0), "cleaning_up", 3_000),
        (4, Some(1), "verifying", 900),
        (5, Some(1), "cleaning_up", 5_000),
        (6, None, "cleaning_up", 400),
    ] {
        connection
            .execute(
                "INSERT INTO stage (build_id, position, trial, name, state, started_at, finished_at)
                 SELECT id, ?1, ?2, ?3, 'done', ?4, ?4 + ?5 FROM build",
                params![position, trial, name, BEGIN + HOUR, took],
            )
            .unwrap();
    }
    let report = history.report(range(BEGIN, BEGIN + DAY)).await.unwrap().schedules.remove(0);
    let took = |name: &str| ms(report.stages.iter().find(|stage| stage.name == name).unwrap().p50.as_ref());
    assert_eq!((took("verifying"), took("cleaning_up")), (900, 5_400));
}

/// Many builds come from the sums of days: the same counts to the build, also where a range begins and ends
/// within a day, and percentiles that are close to the exact ones.
#[tokio::test]
async fn many_builds_come_from_the_sums_of_days() {
    let builds = i64::try_from(EXACT).unwrap() + 500;
    let state = |n: i64| match n % 10 {
        3 => "failed",
        5 | 8 => "errored",
        _ => "succeeded",
    };
    let rows: Vec<Row> = (0..builds)
        .map(|n| Row {
            building: 40_000 + n * 7919 % 50_000,
            ..Row::new("web", BEGIN + n * HOUR / 4, state(n))
        })
        .collect();
    let (_directory, history) = history(&rows).await;
    let (since, until) = (BEGIN + 5 * HOUR + 1, BEGIN + (builds - 9) * HOUR / 4);
    let within: Vec<&Row> = rows.iter().filter(|row| (since..until).contains(&row.created_at)).collect();

    let answer = history.report(range(since, until)).await.unwrap();
    let web = &answer.schedules[0];
    let count = |state: &str| within.iter().filter(|row| row.state == state).count() as u64;
    assert_eq!(web.builds, within.len() as u64);
    assert_eq!(
        (web.passed, web.failed, web.errored),
        (count("succeeded"), count("failed"), count("errored"))
    );
    assert_eq!(web.flaky, count("errored"), "each was followed by one that passed");
    assert!(web.points.len() <= 60 && web.points.len() > 20, "{}", web.points.len());
    assert_eq!(web.points.iter().map(|point| point.builds).sum::<u64>(), web.builds);
    let mut exact: Vec<i64> = within.iter().map(|row| row.building).collect();
    exact.sort_unstable();
    let (p50, p95) = (exact[exact.len().div_ceil(2) - 1], exact[(exact.len() * 95).div_ceil(100) - 1]);
    let building = &web.stages[0];
    assert!((ms(building.p50.as_ref()) - p50).abs() * 60 <= p50);
    assert!((ms(building.p95.as_ref()) - p95).abs() * 60 <= p95);
    let failures: Vec<i64> =
        within.iter().filter(|row| row.state == "failed").map(|row| row.created_at).collect();
    let span = failures.last().unwrap() - failures[0];
    assert_eq!(
        ms(web.mean_time_between_failures.as_ref()),
        span / i64::try_from(failures.len() - 1).unwrap()
    );
}

/// Over a long time the sums of weeks tell the same as those of days, wherever in a week the range begins or ends.
#[tokio::test]
async fn weeks_tell_the_same_as_their_days() {
    let builds = i64::try_from(EXACT).unwrap() + 500;
    let state = |n: i64| if n % 7 == 3 { "failed" } else { "succeeded" };
    // Over: weeks that are still to come are none.
    let begin = BEGIN - 450 * DAY;
    let rows: Vec<Row> = (0..builds).map(|n| Row::new("web", begin + n * 4 * HOUR, state(n))).collect();
    let (_directory, history) = history(&rows).await;
    for (first, last) in [(0, 380), (1, 381), (3, 379), (6, 400), (100, 407)] {
        let (since, until) = (begin + first * DAY + HOUR, begin + last * DAY - HOUR);
        let ask = |points| history.report(ReportQuery { points, ..range(since, until) });
        let (weeks, days) = (ask(30).await.unwrap(), ask(200).await.unwrap());
        let (weeks, days) = (&weeks.schedules[0], &days.schedules[0]);
        let within = rows.iter().filter(|row| (since..until).contains(&row.created_at)).count() as u64;
        assert_eq!((weeks.builds, days.builds), (within, within), "{first} to {last}");
        assert_eq!((&weeks.stages, &weeks.total, &weeks.sizes), (&days.stages, &days.total, &days.sizes));
        assert_eq!(weeks.mean_time_between_failures, days.mean_time_between_failures);
        assert_eq!(weeks.points.iter().map(|point| point.builds).sum::<u64>(), within);
        assert!((15..=30).contains(&weeks.points.len()), "{}", weeks.points.len());
        assert!(weeks.points.is_sorted_by_key(|point| point.time.as_ref().map(|time| time.seconds)));
    }
}

/// What the writer keeps at each build's end is what summing up everything anew gives.
#[tokio::test]
async fn the_writer_keeps_the_sums() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image-manager.db");
    let history = History::open(&path).unwrap();
    for verdict in [v1::Verdict::Errored, v1::Verdict::Passed, v1::Verdict::Failed] {
        crate::history::tests::build_to_its_end(&history, "web", verdict).await;
    }
    let sums_in = |table: &str| {
        let connection = Connection::open(&path).unwrap();
        let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| {
            (0..columns)
                .map(|index| row.get::<_, rusqlite::types::Value>(index))
                .collect::<Result<Vec<_>, _>>()
        });
        rows.unwrap().map(Result::unwrap).collect::<Vec<_>>()
    };
    let sums = || [sums_in("day_sum"), sums_in("week_sum")];
    let kept = sums();
    assert!(kept.iter().all(|rows| !rows.is_empty()));
    history.refresh_day_sums().await.unwrap();
    assert_eq!(sums(), kept);
    let web = history.report(ReportQuery::default()).await.unwrap().schedules.remove(0);
    assert_eq!((web.builds, web.passed, web.failed, web.errored, web.flaky), (3, 1, 1, 1, 1));
}

/// A database of the version before is summed up when it is opened.
#[tokio::test]
async fn an_older_history_is_summed_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image-manager.db");
    let mut connection = Connection::open(&path).unwrap();
    crate::history::schema::migrate_to(&mut connection, 2).unwrap();
    Row::new("web", BEGIN, "succeeded").insert(&connection, true);
    drop(connection);
    let history = History::open(&path).unwrap();
    let answer = history.report(range(BEGIN, BEGIN + DAY)).await.unwrap();
    assert_eq!(answer.schedules[0].passed, 1);
}
