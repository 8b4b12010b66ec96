//! UPLOADING: the artifact goes to the cloud's image service, private.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use image_manager_proto::v1;

use super::build::human_size;
use crate::cloud::{Image, NewImage, ResourceKind, Trouble};
use crate::lifecycle::artifact::HashedFile;
use crate::lifecycle::driver::{Done, Driver};
use crate::lifecycle::failure::Failure;
use crate::lifecycle::ledger::HOST;
use crate::lifecycle::settings::resource_name;
use crate::reason::Reason;

/// Uploads, records the image's identity, and gives the scratch directory's room back.
pub(in crate::lifecycle) async fn run(
    driver: &Driver,
    artifact: &HashedFile,
) -> Result<Done<Image>, Failure> {
    let new = NewImage {
        build_id: driver.id.clone(),
        name: resource_name(&driver.id),
        file: artifact.file.clone(),
        format: driver.schedule.image.format,
        arch: driver.schedule.image.arch,
        firmware: driver.schedule.server.firmware,
        properties: properties(driver),
    };
    let ledger = driver.ledger();
    let events = driver.manager.events();
    let size = tokio::fs::metadata(&artifact.file).await.map(|metadata| metadata.len()).unwrap_or_default();
    let pace = Mutex::new(Pace::new(size));
    let progress = |fraction: f64, what: &str| {
        let pace = pace.lock().unwrap_or_else(PoisonError::into_inner).at(Instant::now(), fraction);
        events.progress(&driver.id, "uploading", fraction, &format!("{what}{pace}"));
    };
    let work = async { Ok(driver.cloud.upload(&new, &ledger, &progress).await?) };
    let image = driver.bounded(driver.schedule.timeouts.upload, async { late(driver) }, work).await?;
    if image.sha512 != artifact.sha512 {
        let message = format!(
            "the image has sha512 {} in the cloud, and what disk-image-builder made had {}",
            image.sha512, artifact.sha512
        );
        return Err(Failure::new(Trouble::Corrupt.reason(), message));
    }
    driver.manager.history().record_image(&driver.id, message(&image)).await?;
    finish(driver, image).await
}

/// Goes on with the upload of an earlier manager.
///
/// What came of it is removed, and the artifact is uploaded again when it is whole. A cloud that takes the file
/// itself away (the local one) may have it already: then its upload finishes with that, and the hash tells
/// whether it is whole.
pub(in crate::lifecycle) async fn take_up(
    driver: &Driver,
    artifact: &HashedFile,
    image: Option<Image>,
) -> Result<Done<Image>, Failure> {
    if let Some(image) = image.filter(|image| image.sha512 == artifact.sha512) {
        // It was uploaded and verified; only the next move is missing.
        return finish(driver, image).await;
    }
    let cut = |why: String| {
        Failure::new(
            Reason::Interrupted,
            format!("the manager was stopped or killed during the upload, and {why}"),
        )
    };
    let rows = driver.manager.history().open_resources(&driver.id).await?;
    let rows: Vec<_> = rows.into_iter().filter(|row| row.kind == ResourceKind::Image.as_str()).collect();
    if tokio::fs::try_exists(&artifact.file).await.unwrap_or(false) {
        let whole = async { Ok(artifact.is_whole().await) };
        if !driver.bounded(driver.schedule.timeouts.upload, async { late(driver) }, whole).await? {
            return Err(cut(format!("{} is not what was built any more", artifact.file.display())));
        }
        for row in rows {
            let removed = driver.manager.take_away(&row).await;
            removed.map_err(|why| cut(format!("what came of the upload cannot be removed: {why}")))?;
        }
    } else if rows.is_empty() {
        return Err(cut(format!("{} is not there any more", artifact.file.display())));
    }
    run(driver, artifact).await
}

fn late(driver: &Driver) -> Failure {
    let limit = humantime::format_duration(driver.schedule.timeouts.upload);
    Failure::new(Reason::UploadTimeout, format!("the upload took longer than timeouts.upload = {limit}"))
}

/// The scratch directory is the largest thing of a build: its room is given back as soon as can be.
async fn finish(driver: &Driver, image: Image) -> Result<Done<Image>, Failure> {
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

/// How fast an upload goes.
struct Pace {
    size: u64,
    /// When it began, and how far it was then; anew when it begins anew.
    began: Option<(Instant, f64)>,
    last: f64,
}

impl Pace {
    fn new(size: u64) -> Self {
        Self { size, began: None, last: 0.0 }
    }

    /// ", 12.3 MiB/s, 8 s left", or nothing when it cannot be told yet.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bytes a second for people"
    )]
    fn at(&mut self, now: Instant, fraction: f64) -> String {
        if fraction < self.last {
            self.began = None;
        }
        self.last = fraction;
        let (began, from) = *self.began.get_or_insert((now, fraction));
        let took = now.duration_since(began).as_secs_f64();
        let done = fraction - from;
        if took < 0.5 || done <= 0.0 || fraction >= 1.0 {
            return String::new();
        }
        let rate = done * self.size as f64 / took;
        let left = (1.0 - fraction) * took / done;
        format!(", {}/s, {left:.0} s left", human_size(rate as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_pace_is_told_and_begins_anew() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(100 << 20);
        assert_eq!(pace.at(at(0), 0.0), "");
        assert_eq!(pace.at(at(2), 0.2), ", 10.00 MiB/s, 8 s left");
        assert_eq!(pace.at(at(10), 1.0), "");
        assert_eq!(pace.at(at(11), 0.0), "", "cut off: from the beginning");
        assert_eq!(pace.at(at(12), 0.5), ", 50.00 MiB/s, 1 s left");
    }
}
