//! Glance: making images, finding them, removing them.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::OpenStackCloud;
use super::answers::{ApiError, note_refusal, text};
use super::by_name::remove_each;
use super::services::Service;
use super::session::{Call, RequestTimeouts};
use super::upload::{Content, Sums};
use crate::clock;
use crate::cloud::{
    CloudError, EntryId, Image, Ledger, NewImage, ProgressSink, Removal, Resource, ResourceKind, Trouble,
};
use crate::schedules::Firmware;

/// Who made it: this installation.
pub(super) const OWNER: &str = "image_manager_owner";
/// For which build.
pub(super) const BUILD: &str = "image_manager_build";
/// Under which public name it was given out; set with the name itself.
pub(super) const PUBLISHED: &str = "image_manager_published";
/// Why it is not to be used.
pub(super) const REVOKED: &str = "image_manager_revoked";
/// Its SHA-512, where Glance keeps another hash or none; set with the name itself.
pub(super) const SHA512: &str = "image_manager_sha512";
/// When it was built, to the second.
pub(super) const BUILD_DATE: &str = "image_build_date";

/// The image's own id. Nova copies properties into the snapshots of a server, Cinder into images of its volumes: where
/// this is another's id, or a server is named, the image is its user's.
pub(super) const ITSELF: &str = "image_manager_image";
const OF_A_SERVER: [&str; 3] = ["base_image_ref", "instance_uuid", "image_type"];

/// How long a whole upload may take to become an image.
const ACTIVATION: Duration = Duration::from_mins(10);
/// How long an image may take to go.
const GOING: Duration = Duration::from_mins(2);
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Images a page.
const PAGE: &str = "100";

impl OpenStackCloud {
    /// Makes an image of a file: described first, then filled, then compared.
    pub(super) async fn upload_image(
        &self,
        new: &NewImage,
        ledger: &dyn Ledger,
        progress: ProgressSink<'_>,
    ) -> Result<Image, CloudError> {
        let virtual_size_bytes = virtual_size(new).await?;
        let entry = ledger.intend(ResourceKind::Image, &new.name).await?;
        // Ours, so that a repeated request makes no second image.
        let id = uuid::Uuid::now_v7().to_string();
        let described = description(&id, new, virtual_size_bytes, Utc::now());
        self.describe(&id, described, (ledger, entry)).await?;
        ledger.created(entry, &id).await?;
        let sums = self.fill(&id, Content::File(&new.file), progress).await?;
        progress(1.0, "waiting until the cloud has it");
        let image = self.wait_until_active(&id).await?;
        compare(&image, &sums)?;
        self.note_sums(&id, &new.name, &sums).await;
        let name = text(&image, "name").to_owned();
        Ok(Image { id, name, sha512: sums.sha512, size_bytes: sums.size, virtual_size_bytes })
    }

    pub(super) async fn describe(
        &self,
        id: &str,
        mut description: Value,
        (ledger, entry): (&dyn Ledger, EntryId),
    ) -> Result<(), CloudError> {
        let mut doubt = false;
        loop {
            let call = Call::post(Service::Image, "images", description.clone()).repeatable();
            let error = match self.session.call(&call).await {
                Ok(_) => return Ok(()),
                // An earlier request of ours, whose answer was lost.
                Err(error) if error.is(409) && self.image(id).await.is_ok_and(|image| image.is_some()) => {
                    return Ok(());
                }
                Err(error) if doubt => error.in_doubt(),
                Err(error) => error,
            };
            // Not everybody may hide images, nor does every Glance know how. Private it is anyway.
            let about_hiding = matches!(&error, ApiError::Refused { status: 400 | 403, message, .. }
                if message.contains("hidden"));
            let hidden = description.as_object_mut().and_then(|object| object.remove("os_hidden"));
            if !about_hiding || hidden.is_none() {
                note_refusal(ledger, entry, &error).await;
                return Err(error.when("describing the new image"));
            }
            doubt = !error.had_no_effect();
        }
    }

    /// An image by id; `None` when there is none.
    pub(super) async fn image(&self, id: &str) -> Result<Option<Value>, ApiError> {
        match self.session.call(&Call::get(Service::Image, format!("images/{id}"))).await {
            Ok(image) => Ok(Some(image)),
            Err(error) if error.is(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All images of our project that carry these, hidden or not and in any status.
    pub(super) async fn images_with(
        &self,
        filters: &[(&'static str, &str)],
    ) -> Result<Vec<Value>, CloudError> {
        let project = self.session.project().await?;
        let mut found = Vec::new();
        for hidden in ["false", "true"] {
            let call = Call::get(Service::Image, "images").query("limit", PAGE).query("owner", &*project);
            let call = call.query("os_hidden", hidden).query("member_status", "all");
            let call = filters.iter().fold(call, |call, (name, value)| call.query(name, *value));
            let images = self.session.list_all(&call, "images").await;
            // Old services ignore filters that they do not know.
            let fits = |image: &Value| {
                let has = |(name, value): &(&str, &str)| text(image, name) == *value;
                text(image, "owner") == project && filters.iter().all(has)
            };
            found.extend(images.map_err(|error| error.when("listing images"))?.into_iter().filter(fits));
        }
        found.dedup_by(|a, b| text(a, "id") == text(b, "id"));
        Ok(found)
    }

    /// Waits until Glance has taken an image over.
    pub(super) async fn wait_until_active(&self, id: &str) -> Result<Value, CloudError> {
        let deadline = Instant::now() + ACTIVATION;
        loop {
            let image =
                self.image(id).await.map_err(|error| error.when(&format!("asking for image {id}")))?;
            let Some(image) = image else {
                return Err(fault(format!("image {id} disappeared while it was being uploaded")));
            };
            match text(&image, "status") {
                "active" => return Ok(image),
                "queued" | "saving" | "importing" | "uploading" => {}
                "killed" => return Err(fault(format!("the cloud gave up on image {id} (killed)"))),
                "deleted" | "pending_delete" => {
                    return Err(fault(format!("somebody deleted image {id} while it was being uploaded")));
                }
                "deactivated" => {
                    return Err(fault(format!("somebody deactivated image {id}: it cannot boot")));
                }
                other => return Err(fault(format!("image {id} has the unknown status {other:?}"))),
            }
            if Instant::now() >= deadline {
                let message = format!(
                    "image {id} is still {} {} s after its upload",
                    text(&image, "status"),
                    ACTIVATION.as_secs()
                );
                return Err(CloudError::new(Trouble::Timeout, message));
            }
            sleep(ASK_AGAIN).await;
        }
    }

    /// Notes the hashes as openstacksdk does, so that its users' tools know the image again: it compares all
    /// that it has, the MD5 too.
    pub(super) async fn note_sums(&self, id: &str, name: &str, sums: &Sums) {
        let patch = json!([
            {"op": "add", "path": "/owner_specified.openstack.md5", "value": sums.md5},
            {"op": "add", "path": "/owner_specified.openstack.sha256", "value": sums.sha256},
            {"op": "add", "path": "/owner_specified.openstack.object", "value": format!("images/{name}")},
        ]);
        if let Err(error) =
            self.session.call(&Call::patch(Service::Image, format!("images/{id}"), patch).repeatable()).await
        {
            tracing::warn!("{}", error.when(&format!("noting the hashes of image {id}")));
        }
    }

    /// Removes the image that a row of the ledger names. `current`: the ids of the images that have public names.
    pub(super) async fn remove_image(
        &self,
        resource: &Resource,
        current: &[String],
    ) -> Result<Removal, CloudError> {
        let delete = |id: String| async move { self.delete_unless_published(&id, current).await };
        remove_each(resource, || self.images_of(resource), delete).await
    }

    async fn delete_unless_published(&self, id: &str, current: &[String]) -> Result<Removal, CloudError> {
        let image = self.image(id).await.map_err(|error| error.when(&format!("removing image {id}")))?;
        let Some(image) = image else { return Ok(Removal::Gone) };
        if text(&image, PUBLISHED).is_empty() {
            return self.delete_image(&image).await;
        }
        // Given out already, with its name: it is its users' now. The build ended before it could say so.
        self.settle_again(&image, current).await?;
        Ok(Removal::Gone)
    }

    /// Whether this installation made the image; its mark alone does not say so.
    pub(super) fn is_ours(&self, image: &Value) -> bool {
        text(image, OWNER) == self.owner
            && ["", text(image, "id")].contains(&text(image, ITSELF))
            && OF_A_SERVER.iter().all(|property| text(image, property).is_empty())
    }

    /// Images of a build, by name and owner.
    async fn images_of(&self, resource: &Resource) -> Result<Vec<String>, CloudError> {
        let images = self.images_with(&[("name", &resource.name), (OWNER, &self.owner)]).await?;
        Ok(images
            .iter()
            .filter(|image| self.is_ours(image))
            .map(|image| text(image, "id").to_owned())
            .collect())
    }

    /// Deletes an image and waits until it is gone.
    pub(super) async fn delete_image(&self, image: &Value) -> Result<Removal, CloudError> {
        let (id, name) = (text(image, "id"), text(image, "name"));
        let tried = format!("deleting image {name} ({id})");
        if image.get("protected").and_then(Value::as_bool) == Some(true) {
            return Ok(Removal::Held(format!("image {name} ({id}) is protected")));
        }
        let deadline = Instant::now() + GOING;
        match self.session.call(&Call::delete(Service::Image, format!("images/{id}"))).await {
            Ok(_) => {}
            Err(error) if error.is(404) || error.is(410) => return Ok(Removal::Gone),
            Err(ApiError::Refused { status: 409, message, .. }) => {
                return Ok(Removal::Held(format!("image {name} ({id}) is in use: {message}")));
            }
            Err(error) => return Err(error.when(&tried)),
        }
        loop {
            let call = Call::get(Service::Image, format!("images/{id}")).timeouts(RequestTimeouts::SHORT);
            match self.session.call(&call).await {
                Err(error) if error.is(404) => return Ok(Removal::Gone),
                Ok(image) if ["deleted", "pending_delete"].contains(&text(&image, "status")) => {
                    return Ok(Removal::Gone);
                }
                _ if Instant::now() >= deadline => {
                    let message = format!("{tried}: not gone after {} s", GOING.as_secs());
                    return Err(CloudError::new(Trouble::Timeout, message));
                }
                _ => sleep(ASK_AGAIN).await,
            }
        }
    }
}

/// The size of the disk in the file, which must stand on its own.
async fn virtual_size(new: &NewImage) -> Result<u64, CloudError> {
    let (file, format) = (new.file.clone(), new.format);
    let read =
        tokio::task::spawn_blocking(move || crate::cloud::disk_file::virtual_size(&file, format)).await;
    let read = read.map_err(|error| fault(format!("reading {}: {error}", new.file.display())))?;
    read.map_err(|refusal| {
        CloudError::new(Trouble::Corrupt, format!("image {} {refusal}", new.file.display()))
    })
}

/// What Glance is told of a new image. The schedule's own properties come last: they win.
fn description(id: &str, new: &NewImage, virtual_size: u64, now: DateTime<Utc>) -> Value {
    let mut properties: BTreeMap<&str, Value> = BTreeMap::from([
        ("architecture", json!(new.arch.machine())),
        ("os_type", json!("linux")),
        ("hw_qemu_guest_agent", json!("yes")),
        (BUILD_DATE, json!(clock::rfc3339_seconds(now))),
    ]);
    let firmware = new.firmware.map(Firmware::properties).unwrap_or_default();
    properties.extend(firmware.iter().map(|(name, value)| (*name, json!(value))));
    properties.extend(new.properties.iter().map(|(name, value)| (name.as_str(), json!(value))));
    properties.extend([
        (ITSELF, json!(id)),
        ("id", json!(id)),
        ("name", json!(new.name)),
        ("disk_format", json!(new.format.as_str())),
        ("container_format", json!("bare")),
        ("visibility", json!("private")),
        ("os_hidden", json!(true)),
        ("min_disk", json!(virtual_size.div_ceil(1 << 30))),
        (
            "min_ram",
            json!(new.properties.get("min_ram").and_then(|mib| mib.parse::<u32>().ok()).unwrap_or(0)),
        ),
    ]);
    Value::Object(properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

/// The SHA-512 of an image, in lower case; empty where nobody knows it. Glance's administrator chooses which hash it keeps.
pub(super) fn sha512_of(image: &Value) -> String {
    let has_it = text(image, "os_hash_algo") == "sha512";
    text(image, if has_it { "os_hash_value" } else { SHA512 }).to_ascii_lowercase()
}

/// What notes the SHA-512 of a verified image in Glance, where that would not know it.
pub(super) fn noting_sha512(image: &Image, there: &Value) -> Option<Value> {
    let lacks_it = text(there, "os_hash_algo") != "sha512";
    lacks_it.then(|| json!({"op": "add", "path": format!("/{SHA512}"), "value": image.sha512}))
}

/// What came out against what went in.
pub(super) fn compare(image: &Value, sums: &Sums) -> Result<(), CloudError> {
    let id = text(image, "id");
    let corrupt = |what: &str, theirs: &str, ours: &str| {
        let message =
            format!("image {id} is not what was sent: its {what} is {theirs} in the cloud, {ours} here");
        Err(CloudError::new(Trouble::Corrupt, message))
    };
    match image.get("size").and_then(Value::as_u64) {
        Some(size) if size != sums.size => {
            return corrupt("size", &size.to_string(), &sums.size.to_string());
        }
        _ => {}
    }
    let hash = text(image, "os_hash_value");
    if text(image, "os_hash_algo") == "sha512" && !hash.eq_ignore_ascii_case(&sums.sha512) {
        return corrupt("sha512", hash, &sums.sha512);
    }
    Ok(())
}

fn fault(message: String) -> CloudError {
    CloudError::new(Trouble::Fault, message)
}

#[cfg(test)]
#[path = "images_tests.rs"]
mod tests;
