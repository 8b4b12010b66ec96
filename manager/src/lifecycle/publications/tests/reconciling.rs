//! What is left in several clouds, one of which hangs.

use super::*;
use crate::lifecycle::reconciler::Reconciler;
use crate::lifecycle::records::Records;

/// Longer than any of it takes here, and shorter than any deadline of a cloud.
const SOON: Duration = Duration::from_secs(20);

/// An image that an ended build has left in a cloud.
async fn leave(bench: &Bench, cloud: &str, name: &str) {
    let row = bench.history.intend(("01a", None), cloud, "image", name).await.unwrap();
    bench.history.resource_created(row, name).await.unwrap();
}

/// Where something is left.
async fn left(bench: &Bench) -> Vec<String> {
    let rows = bench.history.leftover_resources().await.unwrap();
    rows.into_iter().map(|row| row.cloud).collect()
}

#[tokio::test]
async fn a_cloud_that_hangs_holds_up_no_other_one() {
    let bench = Bench::of(&["far", "here"]);
    bench.publish("01a", &[]).await;
    // The newest is removed first.
    leave(&bench, "here", "image-manager-1").await;
    leave(&bench, "far", "image-manager-2").await;
    let hangs = |hangs: bool| bench.clouds["far"].is.lock().unwrap().hangs = hangs;
    hangs(true);
    let (cleaner, publications) = (bench.publications.cleaner.clone(), bench.publications.clone());
    let reconciler = Reconciler::new(Records::new(bench.history.clone()), cleaner, publications);
    let first = reconciler.clone();
    let first = tokio::spawn(async move { first.reconcile().await });
    let removed = async {
        while left(&bench).await != ["far"] {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, removed).await.expect("what is here is removed");

    // The next look sees to what there is by then, but for the cloud that hangs.
    leave(&bench, "here", "image-manager-3").await;
    let second = tokio::time::timeout(SOON, reconciler.reconcile()).await;
    assert_eq!(second.expect("it waits for no cloud that hangs"), Vec::<String>::new());
    assert_eq!(left(&bench).await, ["far"]);
    hangs(false);
    assert_eq!(first.await.unwrap(), Vec::<String>::new());
    assert_eq!(left(&bench).await, [""; 0]);
}
