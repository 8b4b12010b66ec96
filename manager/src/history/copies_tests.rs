//! Copies of images that are to have a further name, against a real database file.

use image_manager_proto::v1;

use super::tests::{new_build, open};
use super::*;

/// A build that has ended, whose image is `web` on `lab`.
async fn published(history: &History, build: &str) {
    use v1::BuildState::{Building, CleaningUp, Queued, Succeeded};
    history.create_build(new_build(build, build)).await.unwrap();
    for (from, to) in [(Queued, Building), (Building, CleaningUp), (CleaningUp, Succeeded)] {
        history.advance(build, from, to, Ending::new(v1::StageState::Done, "")).await.unwrap();
    }
    let (id, name, sha512) = (format!("image of {build}"), "web".to_owned(), "hash".to_owned());
    let image = v1::Image { id, name, sha512, ..v1::Image::default() };
    history.record_published(build, "lab", image, "/web").await.unwrap();
}

async fn begin(history: &History, build: &str) -> Handover {
    let new = NewHandover {
        name: "stable".to_owned(),
        cloud: "lab".to_owned(),
        change: Change::Promoted,
        to_build: Some(build.to_owned()),
        revoked: None,
        why: String::new(),
        copied: true,
    };
    history.begin_handovers(Principal::Manager, vec![new]).await.unwrap().remove(0)
}

async fn leftovers(history: &History) -> Vec<i64> {
    history.leftover_resources().await.unwrap().into_iter().map(|row| row.id).collect()
}

#[tokio::test]
async fn a_copy_is_removed_like_a_leftover_unless_a_name_is_about_to_go_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    published(&history, "01a").await;
    let begun = begin(&history, "01a").await;
    let first = history.intend_copy(&begun, "copy-1").await.unwrap();
    assert!(history.open_resources("01a").await.unwrap().is_empty(), "it is not the build's to remove");
    assert_eq!(leftovers(&history).await, Vec::<i64>::new());
    assert_eq!(history.copies_under_way().await.unwrap()[0].name, "copy-1");
    assert!(!history.copy(first).await.unwrap().unwrap().1, "it was asked for only");
    // One that takes its place leaves it to be removed.
    let second = history.intend_copy(&begun, "copy-2").await.unwrap();
    history.resource_created(second, "id-2").await.unwrap();
    assert_eq!(leftovers(&history).await, [first]);
    assert!(history.copy(second).await.unwrap().unwrap().1);
    history.resource_state(second, ResourceState::Deleting, "").await.unwrap();
    assert!(!history.copy(second).await.unwrap().unwrap().1, "it may be removed at any time");
    // So does a build that publishes under the name.
    history
        .record_published("01a", "lab", v1::Image { name: "stable".to_owned(), ..Default::default() }, "/")
        .await
        .unwrap();
    assert_eq!(leftovers(&history).await, [second, first]);
    let abandoned = history.abandoned_copies("01a").await.unwrap();
    assert_eq!(abandoned.iter().map(|row| row.id).max(), Some(second));
    let late = history.intend_copy(&begun, "copy-3").await.unwrap_err();
    assert!(matches!(late, HistoryError::Overtaken { .. }), "{late}");
    assert_eq!(leftovers(&history).await, [second, first], "nothing was written down");
}

#[tokio::test]
async fn the_numbers_of_changes_are_used_again_and_are_not_mixed_up() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    published(&history, "01a").await;
    let first = begin(&history, "01a").await;
    assert!(history.give_up_copy(&first).await.unwrap());
    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    let second = begin(&history, "01a").await;
    assert_eq!(first.id, second.id);
    assert_eq!(history.still_open(&first).await.unwrap(), None);
    assert!(history.intend_copy(&first, "copy").await.is_err() && history.give_copy(&first).await.is_err());
    assert!(history.give_up_copy(&first).await.unwrap());
    assert_eq!(history.still_open(&second).await.unwrap(), Some(second));
}

#[tokio::test]
async fn a_build_has_two_images_in_one_cloud_each_with_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    published(&history, "01a").await;
    let begun = begin(&history, "01a").await;
    let row = history.intend_copy(&begun, "copy").await.unwrap();
    history.resource_created(row, "the copy").await.unwrap();
    let begun = history.still_open(&begun).await.unwrap().unwrap();
    history.give_copy(&begun).await.unwrap();
    let given = |image: &str, name: &str| Given {
        image_id: image.to_owned(),
        location: format!("/{name}"),
        only_name: true,
    };
    history.finish_handover(begun.id, Some(given("the copy", "stable"))).await.unwrap();
    assert!(history.open_handovers().await.unwrap().is_empty() && leftovers(&history).await.is_empty());
    let images = async || {
        let filter = PublicationFilter { limit: 10, ..PublicationFilter::default() };
        let rows = history.publications(filter).await.unwrap().publications.into_iter();
        rows.map(|row| format!("{} is {}", row.name, row.image_id)).collect::<Vec<_>>()
    };
    assert_eq!(images().await, ["stable is the copy", "web is image of 01a"]);
    let mut current = history.current_images("lab").await.unwrap();
    current.sort();
    assert_eq!(current, ["image of 01a", "the copy"]);
    assert_eq!(history.current_images("local").await.unwrap(), [""; 0]);
    let build = history.build("01a").await.unwrap();
    assert_eq!(build.resources.iter().map(|row| row.state.as_str()).collect::<Vec<_>>(), ["published"]);
    // The copy loses its name to another one of its own; the other image keeps its.
    let new = NewHandover { name: "other".to_owned(), copied: false, ..begun.what };
    let begun = history.begin_handovers(Principal::Manager, vec![new]).await.unwrap().remove(0);
    history.finish_handover(begun.id, Some(given("the copy", "other"))).await.unwrap();
    assert_eq!(images().await, ["other is the copy", "web is image of 01a"]);
}

/// As if all builds had ended an hour ago.
async fn an_hour_later(history: &History) {
    let earlier = history.writer().unwrap().run("earlier", |tx| {
        tx.execute("UPDATE build SET finished_at = finished_at - 3600000", [])?;
        Ok(())
    });
    earlier.await.unwrap();
}

#[tokio::test]
async fn a_copy_that_cannot_be_removed_is_left_since_it_was_made_and_not_since_its_build() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    published(&history, "01a").await;
    an_hour_later(&history).await;
    let before = now_ms();
    let row = history.intend_copy(&begin(&history, "01a").await, "copy").await.unwrap();
    history.resource_state(row, ResourceState::Deleting, "HTTP 409").await.unwrap();
    let stuck = history.stuck_resources().await.unwrap();
    assert_eq!(stuck.len(), 1);
    assert!(stuck[0].since_ms >= before, "{} and {before}", stuck[0].since_ms);
}

#[tokio::test]
async fn a_copy_that_nobody_saw_is_looked_for_once_more() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    published(&history, "01a").await;
    an_hour_later(&history).await;
    let row = history.intend_copy(&begin(&history, "01a").await, "copy").await.unwrap();
    history.resource_state(row, ResourceState::Gone, "").await.unwrap();
    let now = now_ms();
    let unseen = async |from: i64, to: i64| {
        let rows = history.unseen_resources(now + from..now + to).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(unseen(-60_000, 60_000).await, [row]);
    assert_eq!(unseen(-4_000_000, -60_000).await, Vec::<i64>::new());
}
