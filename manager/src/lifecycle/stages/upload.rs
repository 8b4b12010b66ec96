//! UPLOADING: the artifact goes to the cloud's image service, private.

use std::collections::BTreeMap;

use image_manager_proto::v1;

use super::build::human_size;
use crate::builder::Artifact;
use crate::cloud::{Image, NewImage};
use crate::lifecycle::driver::{Done, Driver};
use crate::lifecycle::failure::Failure;
use crate::lifecycle::ledger::HOST;
use crate::lifecycle::settings::resource_name;

/// Uploads, records the image's identity, and gives the scratch directory's room back.
pub(in crate::lifecycle) async fn run(driver: &Driver, artifact: &Artifact) -> Result<Done<Image>, Failure> {
    let new = NewImage {
        build_id: driver.id.clone(),
        name: resource_name(&driver.id),
        file: artifact.file.clone(),
        properties: properties(driver),
    };
    let ledger = driver.ledger();
    let events = driver.manager.events();
    let progress = |fraction: f64, what: &str| events.progress(&driver.id, "uploading", fraction, what);
    let limit = driver.schedule.timeouts.upload;
    let late = || {
        Failure::errored(
            "upload_timeout",
            format!("the upload took longer than timeouts.upload = {}", humantime::format_duration(limit)),
        )
    };
    let work = async { Ok(driver.cloud.upload(&new, &ledger, &progress).await?) };
    let image = driver.bounded(limit, late, work).await?;
    driver.manager.history().record_image(&driver.id, message(&image)).await?;
    // The scratch directory is the largest thing of a build: its room is given back as soon as can be.
    for row in driver.manager.history().open_resources(&driver.id).await? {
        if row.cloud == HOST
            && let Err(why) = driver.manager.take_away(&row).await
        {
            tracing::warn!(build = driver.id, "{}: {why}; clean-up tries again", row.name);
        }
    }
    let detail = format!(
        "{} (a disk of {}) as {}",
        human_size(image.size_bytes),
        human_size(image.virtual_size_bytes),
        image.name
    );
    Ok(Done { value: image, detail })
}

fn properties(driver: &Driver) -> BTreeMap<String, String> {
    let mut properties = driver.schedule.image.properties.clone();
    properties.insert("image_manager_owner".to_owned(), driver.manager.inner().owner.clone());
    properties.insert("image_manager_build".to_owned(), driver.id.clone());
    properties
}

/// An image as the interface has it.
pub(super) fn message(image: &Image) -> v1::Image {
    v1::Image {
        id: image.id.clone(),
        name: image.name.clone(),
        sha512: image.sha512.clone(),
        size_bytes: image.size_bytes,
        virtual_size_bytes: image.virtual_size_bytes,
    }
}
