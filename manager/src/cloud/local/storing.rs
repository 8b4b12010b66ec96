//! Taking what a build made into the store, as an image.

use std::path::PathBuf;

use tokio::sync::watch;

use super::{LocalCloud, blocking, check_name, images, thread_lost};
use crate::cloud::{CloudError, Image, Ledger, NewImage, ProgressSink, ResourceKind, disk_file};
use crate::schedules::Format;

impl LocalCloud {
    /// Takes the file in, with a record beside it.
    pub(super) async fn store_artifact(
        &self,
        image: &NewImage,
        ledger: &dyn Ledger,
        progress: ProgressSink<'_>,
    ) -> Result<Image, CloudError> {
        check_name(&image.name)?;
        let file = self.upload_source(image);
        let virtual_size_bytes = disk_file::virtual_size(&file, image.format)
            .map_err(|refusal| images::corrupt(format!("image {} {refusal}", file.display())))?;
        if image.format == Format::Qcow2 && virtual_size_bytes != self.programs.info(&file).await? {
            let message = format!("qemu-img and the header of {} disagree about its size", file.display());
            return Err(images::corrupt(message));
        }
        let entry = ledger.intend(ResourceKind::Image, &image.name).await?;
        let (sha512, size_bytes) = self.take_in(image, progress).await?;
        let record = images::Record {
            name: image.name.clone(),
            build_id: image.build_id.clone(),
            owner: self.settings.owner.clone(),
            sha512: sha512.clone(),
            size_bytes,
            virtual_size_bytes,
            architecture: image.arch.machine().to_owned(),
            properties: image.properties.clone(),
            published_at: None,
            revoked: None,
        };
        let (store, held) = (self.store.clone(), self.storing.hold(&image.name).await);
        blocking(move || {
            let _held = held;
            store.describe(&record)
        })
        .await?;
        ledger.created(entry, &image.name).await?;
        let name = image.name.clone();
        Ok(Image { id: name.clone(), name, sha512, size_bytes, virtual_size_bytes })
    }

    async fn take_in(
        &self,
        image: &NewImage,
        progress: ProgressSink<'_>,
    ) -> Result<(String, u64), CloudError> {
        let (sender, mut receiver) = watch::channel(0.0);
        let (store, file, name) = (self.store.clone(), image.file.clone(), image.name.clone());
        let format = image.format;
        // When this future is dropped, so is the receiver: the thread stops at its next chunk.
        let held = self.storing.hold(&image.name).await;
        let reading = tokio::spawn(blocking(move || {
            let _held = held;
            store.take_in(&file, (&name, format), &mut |fraction| sender.send(fraction).is_ok())
        }));
        while receiver.changed().await.is_ok() {
            let fraction = *receiver.borrow_and_update();
            progress(fraction, "computing sha512");
        }
        reading.await.unwrap_or_else(|error| Err(thread_lost(&error)))
    }

    /// The file to be uploaded: where the build left it, or, after a crash, where it has been moved to.
    fn upload_source(&self, image: &NewImage) -> PathBuf {
        let moved = self.store.file(&image.name, image.format);
        if !image.file.exists() && moved.exists() { moved } else { image.file.clone() }
    }
}
