//! A manager that builds in the foreground, after another one was killed.

use std::sync::Mutex;

use super::*;

/// A build that was making its image when its manager was killed.
async fn building(bench: &Bench, manager: &Manager, schedule: &str) -> String {
    let id = bench.queued(&manager.schedule(schedule).unwrap(), None).await;
    bench.history.advance(&id, BuildState::Queued, BuildState::Building, done()).await.unwrap();
    id
}

async fn owed(bench: &Bench, schedule: &str) -> Option<String> {
    bench.history.owed_retry(schedule).await.unwrap().map(|owed| owed.build_id)
}

#[tokio::test]
async fn an_interrupted_build_of_another_schedule_keeps_its_retry_for_the_next_manager_that_serves() {
    let bench = Bench::new();
    let before = bench.manager().await;
    let id = building(&bench, &before, "web").await;
    let foreground = bench.manager_that(SCHEDULES, false).await;
    foreground.recover_for("other", &|_| {}).await.unwrap();
    let build = bench.build(&id).await;
    assert_eq!(build.state(), BuildState::Errored, "{build:?}");
    assert_eq!(build.failure.unwrap().reason, Reason::Interrupted.word());
    assert_eq!(owed(&bench, "web").await, Some(id));
}

#[tokio::test]
async fn a_build_that_waited_keeps_its_retry() {
    let bench = Bench::new();
    let before = bench.manager().await;
    let id = bench.queued(&before.schedule("web").unwrap(), None).await;
    let foreground = bench.manager_that(SCHEDULES, false).await;
    foreground.recover_for("web", &|_| {}).await.unwrap();
    assert_eq!(bench.build(&id).await.state(), BuildState::Queued);
    foreground.end_waiting("web").await.unwrap();
    assert_eq!(bench.build(&id).await.state(), BuildState::Errored);
    assert_eq!(owed(&bench, "web").await, Some(id));
}

#[tokio::test]
async fn what_others_left_holds_a_build_up_for_a_while_only() {
    let bench = Bench::new();
    let before = bench.manager().await;
    let foreground = bench.manager_that(SCHEDULES, false).await;
    let told = Mutex::new(Vec::new());
    let tell = |line: &str| told.lock().unwrap().push(line.to_owned());
    foreground.recover_for("web", &tell).await.unwrap();
    assert!(told.lock().unwrap().is_empty(), "there is nothing: {told:?}");

    let own = building(&bench, &before, "web").await;
    let other = building(&bench, &before, "other").await;
    // Nobody knows that cloud, which is tried again for seconds.
    bench.history.intend((other.as_str(), None), "far", "server", "image-manager-other").await.unwrap();
    let recovered = timeout(LIMIT / 5, foreground.recovery().recover_for("web", SOON, &tell)).await;
    recovered.unwrap().unwrap();
    let told = told.into_inner().unwrap();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("removing") && told[1].contains("the next manager removes"), "{told:?}");
    assert_eq!(bench.build(&own).await.state(), BuildState::Errored, "its schedule is built next");
    assert_eq!(bench.build(&other).await.state(), BuildState::CleaningUp);
    assert_eq!(bench.history.open_resources(&other).await.unwrap().len(), 1);
}
