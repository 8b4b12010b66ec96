//! PUBLISHING: the verified image gets its public name.

use std::time::Duration;

use super::upload::message;
use crate::cloud::{Image, Publication};
use crate::history::ResourceState;
use crate::lifecycle::driver::Driver;
use crate::lifecycle::failure::Failure;
use crate::schedules::Publish;

/// How long publishing may take.
const LIMIT: Duration = Duration::from_mins(10);

/// Publishes, and hands the image over: it is not the build's any more.
pub(in crate::lifecycle) async fn run(
    driver: &Driver,
    image: &Image,
    publish: &Publish,
) -> Result<String, Failure> {
    let publication = Publication {
        name: publish.name.clone(),
        keep: publish.keep,
        visibility: publish.visibility.clone(),
    };
    let late = || {
        Failure::errored(
            "publish_timeout",
            "publishing took too long; the image that had the name still has it",
        )
    };
    let work = async { Ok(driver.cloud.publish(image, &publication).await?) };
    let published = driver.bounded(LIMIT, late, work).await?;
    let history = driver.manager.history();
    for row in history.open_resources(&driver.id).await? {
        if published.own_image && row.kind == "image" {
            history.resource_state(row.id, ResourceState::Published, &published.location).await?;
        }
    }
    let mut record = message(image);
    record.name.clone_from(&published.name);
    history.record_image(&driver.id, record).await?;
    let mut detail = vec![format!("{} is {}", published.name, published.location)];
    if !published.removed.is_empty() {
        detail.push(format!("removed {}", published.removed.join(", ")));
    }
    if !published.held.is_empty() {
        detail.push(format!("could not remove {}", published.held.join(", ")));
    }
    Ok(detail.join("; "))
}
