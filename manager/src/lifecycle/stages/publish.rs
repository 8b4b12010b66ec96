//! PUBLISHING: the verified image gets its public name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use image_manager_proto::v1;

use super::upload::message;
use crate::cloud::{Image, Published};
use crate::history::{HistoryError, ResourceState};
use crate::lifecycle::driver::{Driver, INSIST};
use crate::lifecycle::failure::Failure;
use crate::lifecycle::publications::Giving;
use crate::reason::Reason;
use crate::schedules::{Publish, PublishWhen};

/// How long publishing may take.
const LIMIT: Duration = Duration::from_mins(10);

/// Publishes on each of the clouds, and hands the images over: they are not the build's any more.
///
/// Once begun it is not broken off: a name that is given out cannot be taken back, so a cancel or a shutdown
/// that comes during it comes too late, and the build ends as what it is. A cloud that does not publish keeps the others
/// from it only when all of them are to have the image.
pub(in crate::lifecycle) async fn run(
    driver: &Driver,
    images: BTreeMap<&str, &Image>,
    publish: &Publish,
) -> Result<String, Failure> {
    driver.bounds.not_interrupted().await?;
    let (mut details, mut first) = (Vec::new(), None);
    for (name, image) in images {
        match in_cloud(driver, name, image, publish).await {
            Ok(detail) => details.push(detail),
            Err(failure) if publish.when == PublishWhen::All => return Err(failure),
            Err(failure) => {
                tracing::warn!(build = driver.id, cloud = name, "not published: {}", failure.message);
                first.get_or_insert(failure);
            }
        }
    }
    first.map_or_else(|| Ok(details.join("; ")), Err)
}

async fn in_cloud(
    driver: &Driver,
    cloud_name: &str,
    image: &Image,
    publish: &Publish,
) -> Result<String, Failure> {
    let cloud = driver.clouds().get(cloud_name);
    let cloud = cloud.map_err(|error| Failure::new(Reason::PublishFailed, error.to_string()))?;
    // Until the history says what the cloud was told.
    let _alone = driver.publications().alone(cloud_name).await;
    // It may have been published before, by a manager that was killed then; what has become of that holds.
    match driver.publications().giving(&publish.name, cloud_name, &driver.id).await? {
        Giving::Wanted => {}
        Giving::Done(detail) => {
            revoke_if_revoked(driver, cloud_name, &publish.name).await;
            return Ok(detail);
        }
        Giving::Refused(why) => return Err(Failure::new(Reason::PublishFailed, why)),
    }
    let publication = driver.publications().before_publishing(publish, cloud_name, &driver.id).await?;
    let (given, asked) = (image.clone(), Arc::clone(&cloud));
    let incidents = driver.incidents.clone();
    let mut work = tokio::spawn(incidents.watch(async move { cloud.publish(&given, &publication).await }));
    let published = match tokio::time::timeout(LIMIT, &mut work).await {
        Ok(Ok(result)) => result.map_err(Failure::from),
        Ok(Err(_)) => Err(Failure::new(Reason::PublishFailed, "publishing panicked")),
        Err(_) => {
            // The clean-up looks whether the image has its name: nothing may give it one meanwhile.
            work.abort();
            let _ = work.await;
            let late = format!("publishing took over {} min", LIMIT.as_secs() / 60);
            Err(Failure::new(Reason::PublishTimeout, late))
        }
    };
    let published = match published {
        Ok(published) => published,
        Err(failure) => {
            let image = v1::Image { name: publish.name.clone(), ..message(image) };
            driver.publications().book_if_given(&driver.id, cloud_name, image).await;
            return Err(failure);
        }
    };
    // As the moves towards the end do: because of a full disk, say, nobody may lose sight of an image that is given out.
    while let Err(error) = book(driver, cloud_name, image, &published).await {
        tracing::error!(build = driver.id, "published, but not recorded in the history: {error}");
        if driver.is_ending() {
            break;
        }
        tokio::time::sleep(INSIST).await;
    }
    revoke_if_revoked(driver, cloud_name, &publish.name).await;
    if let Err(error) = driver.publications().look_at_name(&*asked, &publish.name).await {
        tracing::warn!(build = driver.id, "cannot list the images of {}: {error}", publish.name);
    }
    let mut detail = vec![format!("{} is {}", published.name, published.location)];
    if !published.removed.is_empty() {
        detail.push(format!("removed {}", published.removed.join(", ")));
    }
    if !published.held.is_empty() {
        detail.push(format!("could not remove {}", published.held.join(", ")));
    }
    Ok(detail.join("; "))
}

/// The image may have been revoked elsewhere meanwhile. The history has marked it then, so what fails here is done later.
async fn revoke_if_revoked(driver: &Driver, cloud: &str, name: &str) {
    if let Err(error) = driver.publications().revoke_if_revoked_meanwhile(name, cloud, &driver.id).await {
        tracing::error!(build = driver.id, cloud, "revoked, but has its name there: {error}");
    }
}

async fn book(
    driver: &Driver,
    cloud: &str,
    image: &Image,
    published: &Published,
) -> Result<(), HistoryError> {
    let history = driver.history();
    for row in history.open_resources(&driver.id).await? {
        if published.own_image && row.kind == "image" && row.cloud == cloud && row.trial.is_none() {
            history.resource_state(row.id, ResourceState::Published, &published.location).await?;
        }
    }
    let mut record = message(image);
    record.name.clone_from(&published.name);
    history.record_published(&driver.id, cloud, record, &published.location).await
}
