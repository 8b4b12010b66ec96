//! UPLOADING: the artifact goes to the cloud's image service, private.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use image_manager_proto::v1;

use super::build::human_size;
use crate::cloud::{Image, NewImage, ResourceKind, Trouble};
use crate::lifecycle::driver::Done;
use crate::lifecycle::failure::Failure;
use crate::lifecycle::ledger::HOST;
use crate::lifecycle::settings::resource_name;
use crate::lifecycle::trial::Trial;
use crate::reason::Reason;
use crate::stage::Stage;

/// Uploads, records the image's identity, and gives the scratch directory's room back when no other cloud needs it.
///
/// The trials of one cloud take turns: the first one uploads, the others find the image there.
pub(in crate::lifecycle) async fn run(trial: &Trial) -> Result<Done<Image>, Failure> {
    let limit = trial.shared.schedule.timeouts.upload;
    let work = async {
        let Some(mut upload) = trial.shared.uploads.enter(&trial.target.cloud).await else {
            return Err(Failure::new(
                Reason::State,
                format!("nothing is uploaded to {}", trial.target.cloud),
            ));
        };
        if let Some(image) = upload.image.clone() {
            return Ok((image, true));
        }
        let image = send(trial).await?;
        upload.image = Some(image.clone());
        Ok((image, false))
    };
    let (image, there) = trial.bounds.run(limit, async { late(trial) }, work).await?;
    trial.history().record_image(&trial.key, message(&image)).await?;
    finish(trial, image, there).await
}

/// Sends the artifact to the cloud. What came of an earlier try is removed first. One that was made a while ago must be
/// whole; of one that was just made the hash is known, and the cloud's is compared with it.
async fn send(trial: &Trial) -> Result<Image, Failure> {
    let cut = |why: String| Failure::new(Reason::Interrupted, format!("there is nothing to upload: {why}"));
    let artifact = trial.shared.uploads.artifact();
    let artifact = artifact.ok_or_else(|| cut("what was built is no longer known".to_owned()))?;
    let rows = trial.history().open_resources(&trial.shared.id).await?;
    let image = ResourceKind::Image.as_str();
    let rows: Vec<_> =
        // Not those of trials: they are control images.
        rows.into_iter()
            .filter(|row| row.kind == image && row.cloud == trial.target.cloud && row.trial.is_none())
            .collect();
    if !trial.has_fresh_artifact() && !artifact.is_whole().await {
        return Err(cut(format!("{} is no longer what was built", artifact.file.display())));
    }
    for row in rows {
        let removed = trial.cleaner().take_away(&row).await;
        removed.map_err(|why| cut(format!("the remains of an earlier upload cannot be removed: {why}")))?;
    }
    let new = NewImage {
        build_id: trial.shared.id.clone(),
        name: resource_name(&trial.shared.id),
        file: artifact.file.clone(),
        format: trial.shared.schedule.image.format,
        arch: trial.shared.schedule.image.arch,
        firmware: trial.target.server.firmware,
        properties: properties(trial),
    };
    let size = tokio::fs::metadata(&artifact.file).await.map(|metadata| metadata.len()).unwrap_or_default();
    let pace = Mutex::new(Pace::new(size));
    let progress = |fraction: f64, what: &str| {
        let pace = pace.lock().unwrap_or_else(PoisonError::into_inner).at(Instant::now(), fraction);
        trial.progress(Stage::Uploading, fraction, &format!("{what}{pace}"));
    };
    let image = trial.cloud.upload(&new, &trial.ledger(), &progress).await?;
    if image.sha512 != artifact.sha512 {
        let message = format!(
            "the image has sha512 {} in the cloud, but what disk-image-builder made had {}",
            image.sha512, artifact.sha512
        );
        return Err(Failure::new(Trouble::Corrupt.reason(), message));
    }
    Ok(image)
}

fn late(trial: &Trial) -> Failure {
    let limit = humantime::format_duration(trial.shared.schedule.timeouts.upload);
    Failure::new(Reason::UploadTimeout, format!("the upload took longer than timeouts.upload = {limit}"))
}

/// The scratch directory is the largest thing of a build: its room is given back as soon as every cloud has the image.
async fn finish(trial: &Trial, image: Image, there: bool) -> Result<Done<Image>, Failure> {
    if trial.shared.uploads.all_done() {
        for row in trial.history().open_resources(&trial.shared.id).await? {
            if row.cloud == HOST
                && row.trial.is_none()
                && let Err(why) = trial.cleaner().take_away(&row).await
            {
                tracing::warn!(build = trial.shared.id, "{}: {why}; clean-up tries again", row.name);
            }
        }
    }
    let there = if there { ", which the cloud already had" } else { "" };
    let detail = format!(
        "{} (a disk of {}) as {}{there}",
        human_size(image.size_bytes),
        human_size(image.virtual_size_bytes),
        image.name
    );
    Ok(Done { value: image, detail })
}

/// The properties of what a build uploads.
pub(in crate::lifecycle) fn properties(trial: &Trial) -> BTreeMap<String, String> {
    let mut properties = trial.shared.schedule.image.properties.clone();
    properties.insert("image_manager_owner".to_owned(), trial.owner().to_owned());
    properties.insert("image_manager_build".to_owned(), trial.shared.id.clone());
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
