//! The ledger, against a real database file.

use image_manager_proto::v1::{BuildState as S, Verdict};

use super::tests::{finish, new_build, open};
use super::*;

#[tokio::test]
async fn the_ledger_lists_what_is_open() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    history.create_build(new_build("01a", "web")).await.unwrap();
    let scratch = history.intend(("01a", None), "host", "scratch", "/s").await.unwrap();
    let server = history.intend(("01a", Some(0)), "local", "server", "image-manager-01a").await.unwrap();
    let image = history.intend(("01a", None), "local", "image", "image-manager-01a").await.unwrap();
    history.resource_created(server, "id-1").await.unwrap();
    let open_rows = history.open_resources("01a").await.unwrap();
    assert_eq!(open_rows.iter().map(|row| row.id).collect::<Vec<_>>(), [image, server, scratch]);
    assert_eq!(open_rows[1].external_id.as_deref(), Some("id-1"));
    assert!(history.leftover_resources().await.unwrap().is_empty(), "its build has not ended");
    history.resource_state(scratch, ResourceState::Gone, "").await.unwrap();
    history.resource_state(image, ResourceState::Published, "").await.unwrap();
    finish(&history, "01a", Verdict::Passed, S::Succeeded).await;
    let left = history.leftover_resources().await.unwrap();
    assert_eq!(left.iter().map(|row| row.id).collect::<Vec<_>>(), [server]);
    assert!(history.stuck_resources().await.unwrap().is_empty(), "nobody has tried to remove it");
    history.resource_state(server, ResourceState::Deleting, "HTTP 409").await.unwrap();
    history.resource_state(server, ResourceState::Deleting, "").await.unwrap();
    let stuck = history.stuck_resources().await.unwrap();
    assert_eq!(stuck.len(), 1, "while it is tried again it is stuck all the same");
    assert_eq!((&*stuck[0].cloud, &*stuck[0].kind, &*stuck[0].note), ("local", "server", "HTTP 409"));
    history.resource_state(server, ResourceState::Gone, "").await.unwrap();
    assert!(history.stuck_resources().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_was_never_seen_is_looked_for_after_its_build_unless_something_has_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let history = open(&directory);
    history.create_build(new_build("01a", "web")).await.unwrap();
    let intend = |name: &'static str| history.intend(("01a", Some(0)), "lab", "server", name);
    let (first, other) = (intend("image-manager-01a").await.unwrap(), intend("other").await.unwrap());
    for row in [first, other] {
        history.resource_state(row, ResourceState::Gone, "").await.unwrap();
    }
    let (now, late) = (now_ms(), 60_000);
    let unseen = async || {
        let rows = history.unseen_resources(now - late..now + late).await.unwrap();
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert!(unseen().await.is_empty(), "the next attempt asks for a server of the same name");
    let second = intend("image-manager-01a").await.unwrap();
    history.resource_created(second, "id-2").await.unwrap();
    finish(&history, "01a", Verdict::Passed, S::Succeeded).await;
    assert_eq!(unseen().await, [other], "the second one is still there");
    history.resource_state(second, ResourceState::Gone, "").await.unwrap();
    assert_eq!(unseen().await, [other, first]);
    assert!(history.unseen_resources(0..now - late).await.unwrap().is_empty(), "not long after its end");
}
