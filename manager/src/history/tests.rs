//! The history against a real database file.

use image_manager_proto::v1::{self, BuildState as S, StageState, Trigger, Verdict};

use super::*;
use crate::reason::Reason;

pub(super) fn open(directory: &tempfile::TempDir) -> History {
    History::open(&directory.path().join("image-manager.db")).unwrap()
}

pub(super) fn new_build(id: &str, schedule: &str) -> NewBuild {
    NewBuild {
        id: id.to_owned(),
        schedule: schedule.to_owned(),
        trigger: Trigger::Cli,
        requested_by: Principal::Manager,
        stages: (vec!["building"], vec!["cleaning_up"]),
        trials: vec![new_trial("local")],
        fired_at: None,
        retry_of: None,
        forced: false,
        verification: None,
    }
}

fn new_trial(cloud: &str) -> NewTrial {
    NewTrial {
        target: cloud.to_owned(),
        cloud: cloud.to_owned(),
        required: true,
        stages: vec!["uploading", "booting", "verifying", "cleaning_up"],
        checks: vec![("disk".to_owned(), true)],
        image: None,
    }
}

fn trial(build_id: &str, position: u32) -> TrialKey {
    TrialKey { build_id: build_id.to_owned(), position }
}

fn ending() -> Ending {
    Ending::new(StageState::Done, "done")
}

/// Brings a build to its end.
pub(super) async fn finish(history: &History, id: &str, verdict: Verdict, end: S) {
    history.advance(id, S::Queued, S::Building, ending()).await.unwrap();
    history.conclude(id, S::Building, S::CleaningUp, Some((verdict, None)), ending()).await.unwrap();
    history.advance(id, S::CleaningUp, end, ending()).await.unwrap();
}

/// Makes a build of a schedule and brings it to its end.
pub(super) async fn build_to_its_end(history: &History, schedule: &str, verdict: Verdict) {
    let id = uuid::Uuid::now_v7().to_string();
    history.create_build(new_build(&id, schedule)).await.unwrap();
    let end = match verdict {
        Verdict::Passed => S::Succeeded,
        Verdict::Failed => S::Failed,
        _ => S::Errored,
    };
    finish(history, &id, verdict, end).await;
}

#[tokio::test]
async fn a_schedule_has_one_unfinished_build() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    history.create_build(new_build("01a", "web")).await.unwrap();
    let second = history.create_build(new_build("01b", "web")).await.unwrap_err();
    assert!(matches!(second, HistoryError::Unfinished(id) if id == "01a"));
    history.create_build(new_build("01c", "other")).await.unwrap();
    finish(&history, "01a", Verdict::Passed, S::Succeeded).await;
    history.create_build(new_build("01b", "web")).await.unwrap();
    let unfinished: Vec<_> = history.unfinished().await.unwrap().into_iter().map(|(id, _)| id).collect();
    assert_eq!(unfinished, ["01b", "01c"]);
}

/// The hint is read from the table by the word, so that old builds have it too; a word of another version has none.
#[tokio::test]
async fn a_failure_is_read_with_what_to_do_next() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    for (id, reason, hint) in
        [("01a", "agent_silent", Reason::AgentSilent.hint()), ("01b", "of_tomorrow", "")]
    {
        history.create_build(new_build(id, id)).await.unwrap();
        let hint_of_the_writer = "not kept".to_owned();
        let failure =
            v1::Failure { reason: reason.to_owned(), hint: hint_of_the_writer, ..v1::Failure::default() };
        let verdict = Some((Verdict::Errored, Some(failure)));
        history.conclude(id, S::Queued, S::CleaningUp, verdict, ending()).await.unwrap();
        let build = history.build(id).await.unwrap();
        let failure = build.failure.unwrap();
        assert_eq!((build.reason.as_str(), failure.hint.as_str()), (reason, hint));
    }
}

#[tokio::test]
async fn a_build_moves_only_from_where_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    history.create_build(new_build("01a", "web")).await.unwrap();
    let failure = v1::Failure { reason: "x".to_owned(), ..v1::Failure::default() };
    let verdict = Some((Verdict::Errored, Some(failure)));
    let wrong = history.conclude("01a", S::Building, S::CleaningUp, verdict, ending()).await;
    assert!(matches!(wrong, Err(HistoryError::IllegalMove { .. })));
    let build = history.build("01a").await.unwrap();
    assert_eq!(build.verdict(), Verdict::Unspecified, "the verdict and the move are one commit");
    assert_eq!(build.reason, "");

    finish(&history, "01a", Verdict::Passed, S::Succeeded).await;
    let build = history.build("01a").await.unwrap();
    assert_eq!((build.state(), build.verdict()), (S::Succeeded, Verdict::Passed));
    assert!(build.started_at.is_some() && build.finished_at.is_some());
    // Nothing was tried.
    let own = ["building", "cleaning_up"];
    let done = |stage: &v1::Stage| stage.state() == StageState::Done && stage.detail == "done";
    assert!(build.stages.iter().all(|stage| done(stage) == own.contains(&stage.name.as_str())));
    assert_eq!(build.trials[0].state(), v1::TrialState::Skipped);
}

/// Whatever was built of another schedule since.
#[tokio::test]
async fn a_build_is_compared_with_one_before_it_of_its_own_schedule() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    for verdict in [Verdict::Errored, Verdict::Passed, Verdict::Failed, Verdict::Failed] {
        build_to_its_end(&history, "debian", verdict).await;
        build_to_its_end(&history, "ubuntu", Verdict::Passed).await;
    }
    let filter =
        BuildFilter { schedule: Some("debian".to_owned()), limit: 9, bare: true, ..BuildFilter::default() };
    let debian = history.builds(filter).await.unwrap().builds;
    let id = |place: usize| debian[place].id.clone();
    for (a, place) in [("previous", 1), ("last-good", 2), ("", 2), (debian[3].id.as_str(), 3)] {
        assert_eq!(history.resolve_pair(a, "debian").await.unwrap(), (id(place), id(0)), "{a:?}");
    }
    assert_eq!(history.resolve_pair("ubuntu", &id(0)).await.unwrap().1, id(0));
    for (a, b, said) in [
        ("previous", id(3), "no build of debian came before"),
        ("", id(2), "no build of debian before"),
        ("last-good", id(3), "passed: give the id of one to compare it with"),
        ("", "ffff".to_owned(), "no build \"ffff\""),
    ] {
        let error = history.resolve_pair(a, &b).await.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[tokio::test]
async fn builds_are_found_by_what_people_have_of_them() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    let ids = [
        "019a21b0-3f72-71c7-8d09-52cee028ec3c",
        "019a21b0-4f72-71c7-8d09-0123456789ab",
        "019a21b1-5f72-71c7-8d09-ffffffffec3c",
    ];
    for (id, schedule) in ids.into_iter().zip(["debian", "ubuntu", "debian"]) {
        history.create_build(new_build(id, schedule)).await.unwrap();
        finish(&history, id, Verdict::Passed, S::Succeeded).await;
    }
    for (text, id) in [
        ("previous", ids[0]),
        ("debian", ids[2]),
        ("ubuntu", ids[1]),
        ("019a21b1", ids[2]),
        // As the pages show it, and the end.
        ("52cee028", ids[0]),
        ("6789AB", ids[1]),
    ] {
        assert_eq!(history.resolve(text).await.unwrap(), id, "{text}");
    }
    let several = history.resolve("019a21b0").await.unwrap_err().to_string();
    assert!(
        several.contains(&format!("{} (ubuntu, succeeded), {} (debian, succeeded)", ids[1], ids[0])),
        "{several}"
    );
    let ends = history.resolve("ec3c").await.unwrap_err().to_string();
    assert!(ends.contains(ids[0]) && ends.contains(ids[2]), "{ends}");
    let slip = history.resolve("debain").await.unwrap_err().to_string();
    assert!(slip.ends_with("did you mean the schedule \"debian\"?"), "{slip}");
    history.expect_schedule("ubuntu").await.unwrap();
    let slip = history.expect_schedule("ubunut").await.unwrap_err().to_string();
    assert_eq!(slip, "no build of the schedule \"ubunut\"; did you mean \"ubuntu\"?");
    let other = history.expect_schedule("windows").await.unwrap_err().to_string();
    assert!(other.ends_with("; there are builds of debian, ubuntu"), "{other}");
}

#[tokio::test]
async fn builds_are_found_by_prefix_and_page() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    assert!(matches!(history.resolve("latest").await, Err(HistoryError::NoBuild(_))));
    for (id, schedule) in [("01aa", "a"), ("01ab", "b"), ("02cc", "c")] {
        history.create_build(new_build(id, schedule)).await.unwrap();
    }
    assert_eq!(history.resolve("latest").await.unwrap(), "02cc");
    assert_eq!(history.resolve(" 01AB ").await.unwrap(), "01ab");
    assert!(matches!(history.resolve("01").await, Err(HistoryError::Ambiguous { .. })));
    assert_eq!(history.resolve("b").await.unwrap(), "01ab", "a schedule is its newest build");
    for nothing in ["ff", "01%", "' OR 1=1", ""] {
        assert!(matches!(history.resolve(nothing).await, Err(HistoryError::NoBuild(_))), "{nothing}");
    }
    let mut filter = BuildFilter { limit: 2, ..BuildFilter::default() };
    let first = history.builds(filter.clone()).await.unwrap();
    assert_eq!(first.builds.iter().map(|build| build.id.as_str()).collect::<Vec<_>>(), ["02cc", "01ab"]);
    filter.before = first.next;
    let second = history.builds(filter).await.unwrap();
    assert_eq!(second.builds.len(), 1);
    assert_eq!(second.next, None);
    let of_b = BuildFilter { schedule: Some("b".to_owned()), limit: 9, ..BuildFilter::default() };
    assert_eq!(history.builds(of_b).await.unwrap().builds.len(), 1);
}

#[tokio::test]
async fn a_schedule_that_is_new_changed_or_back_counts_from_now() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    let entry = |cron: &str| {
        vec![Entries { schedule: "web".to_owned(), cron: cron.to_owned(), ..Entries::default() }]
    };
    let since = |history: History| async move { history.schedule_states().await.unwrap()["web"].since };
    let before = now_ms();
    history.remember_schedules(entry("0 3 * * *")).await.unwrap();
    assert!(since(history.clone()).await >= before);

    history.reset_since("web", 1000).await.unwrap();
    history.remember_schedules(entry("0 3 * * *")).await.unwrap();
    assert_eq!(since(history.clone()).await, 1000, "a restart changes nothing");
    history.remember_schedules(entry("0 4 * * *")).await.unwrap();
    assert!(since(history.clone()).await >= before, "another entry");

    history.reset_since("web", 1000).await.unwrap();
    history.set_paused("web", true, Principal::Manager).await.unwrap();
    history.remember_schedules(Vec::new()).await.unwrap();
    history.remember_schedules(entry("0 4 * * *")).await.unwrap();
    let state = history.schedule_states().await.unwrap()["web"].clone();
    assert!(state.since >= before && state.paused, "back again, still paused");

    let fired = NewBuild { fired_at: Some(i64::MAX - 1), ..new_build("01a", "web") };
    history.create_build(fired).await.unwrap();
    assert_eq!(since(history.clone()).await, i64::MAX - 1, "the build and its fire time are one commit");
}

#[tokio::test]
async fn nonsense_from_a_guest_does_not_stop_the_writer() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    history.create_build(new_build("01a", "web")).await.unwrap();
    let check = v1::Check {
        name: "disk".to_owned(),
        duration: Some(prost_types::Duration { seconds: i64::MAX, nanos: i32::MAX }),
        ..v1::Check::default()
    };
    history.record_checks(&trial("01a", 0), vec![check]).await.unwrap();
    finish(&history, "01a", Verdict::Passed, S::Succeeded).await;
}

#[test]
fn several_programs_may_make_the_database_at_once() {
    // Often enough that one of them meets another's change of the journal's mode.
    for _ in 0..25 {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image-manager.db");
        let gate = std::sync::Barrier::new(8);
        let opened: Vec<_> = std::thread::scope(|scope| {
            let open = || {
                gate.wait();
                History::open(&path).map(|_| ())
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for result in opened {
            result.unwrap();
        }
        History::open_to_read(&path).unwrap();
    }
}

#[tokio::test]
async fn the_owner_is_made_once_and_readers_know_it() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    let reader = History::open_to_read(&directory.path().join("image-manager.db")).unwrap();
    assert!(matches!(reader.owner().await, Err(HistoryError::Closed)), "nobody has made it yet");
    let owner = history.owner().await.unwrap();
    assert_eq!(history.owner().await.unwrap(), owner);
    assert_eq!(reader.owner().await.unwrap(), owner);
}

#[test]
fn a_newer_schema_is_refused_by_readers_and_writers() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image-manager.db");
    drop(History::open(&path).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(History::open(&path), Err(HistoryError::NewerSchema { found: 99, .. })));
    assert!(matches!(History::open_to_read(&path), Err(HistoryError::NewerSchema { found: 99, .. })));
    connection.pragma_update(None, "user_version", 0).unwrap();
    assert!(matches!(History::open_to_read(&path), Err(HistoryError::OlderSchema { found: 0, .. })));
}

/// Whatever a page is filtered by, it is read in the order of an index: no sort, and no walk over all builds.
#[tokio::test]
async fn pages_are_read_by_an_index() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    for bits in 0..16_u32 {
        let filter = BuildFilter {
            schedule: (bits & 1 > 0).then(|| "web".to_owned()),
            state: (bits & 2 > 0).then_some(S::Failed),
            since_ms: (bits & 4 > 0).then_some(1_793_491_200_000),
            before: (bits & 8 > 0).then(|| "02cc".to_owned()),
            limit: 20,
            bare: false,
        };
        let plan = history.read(move |connection| queries::plan(connection, &filter)).await.unwrap();
        assert!(!plan.contains("TEMP B-TREE"), "{bits}: {plan}");
        let needed = match bits & 3 {
            0 => "build_1",
            1 => "build_by_schedule ",
            2 => "build_by_state",
            _ => "build_by_schedule_state",
        };
        assert!(plan.contains(needed), "{bits}: {plan}");
        assert_eq!(plan.contains("SCAN"), bits == 0, "{bits}: {plan}");
    }
}

#[tokio::test]
async fn a_page_since_an_instant_leaves_out_what_is_older() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    build_to_its_end(&history, "web", Verdict::Passed).await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let since = now_ms();
    build_to_its_end(&history, "web", Verdict::Failed).await;
    let filter = BuildFilter { since_ms: Some(since), limit: 9, ..BuildFilter::default() };
    let page = history.builds(filter).await.unwrap();
    assert_eq!(page.builds.iter().map(v1::Build::verdict).collect::<Vec<_>>(), [Verdict::Failed]);
}

#[tokio::test]
async fn the_room_of_the_last_builds_is_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    for number in 1..=7_u64 {
        let id = format!("0{number}");
        history.create_build(new_build(&id, "web")).await.unwrap();
        let taken = RoomTaken { scratch: number * 100, image: number };
        history.record_room(&id, RoomTaken { scratch: 1, image: 1 }).await.unwrap();
        history.record_room(&id, taken).await.unwrap();
        let (verdict, end) =
            if number < 6 { (Verdict::Passed, S::Succeeded) } else { (Verdict::Failed, S::Failed) };
        finish(&history, &id, verdict, end).await;
    }
    let scratch: Vec<u64> =
        history.room_taken("web").await.unwrap().iter().map(|taken| taken.scratch).collect();
    assert_eq!(scratch, [700, 600, 500, 400, 300]);
    assert_eq!(history.last_good_size("web").await.unwrap(), Some(5), "the last two did not pass");
    assert_eq!(history.room_taken("other").await.unwrap(), []);
    assert_eq!(history.last_good_size("other").await.unwrap(), None);
}

#[tokio::test]
async fn warnings_are_kept_and_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    history.create_build(new_build("0199", "web")).await.unwrap();
    assert_eq!(history.build("0199").await.unwrap().warnings, Vec::<String>::new());
    history.record_warnings("0199", &["one\nline".to_owned(), "two".to_owned()]).await.unwrap();
    assert_eq!(history.build("0199").await.unwrap().warnings, ["one line", "two"]);
    history.record_warnings("0199", &[]).await.unwrap();
    assert_eq!(history.build("0199").await.unwrap().warnings, Vec::<String>::new());
}
