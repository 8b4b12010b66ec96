//! Copying a published image in Glance, so that the copy can have a further name: an image has one name there.
//!
//! Glance copies images between its stores only, never into another image. So the data goes through the manager: it is read
//! from the one image and sent into the other in the same breath, takes no room here, and is hashed on the way. The copy is
//! described as any new image is, private and hidden under a name of the build's, and is as visible as the other one only once
//! it has been compared.

use serde_json::{Map, Value, json};

use super::OpenStackCloud;
use super::answers::text;
use super::images::{ITSELF, PUBLISHED, REVOKED, SHA512, compare, noting_sha512, sha512_of};
use super::upload::Content;
use crate::cloud::{CloudError, Image, Ledger, ProgressSink, ResourceKind, Trouble};

/// What Glance says of an image itself, and what is each image's own.
const OWN: [&str; 26] = [
    "checksum",
    "created_at",
    "deleted",
    "deleted_at",
    "direct_url",
    "file",
    "id",
    "locations",
    "name",
    "os_hash_algo",
    "os_hash_value",
    "os_hidden",
    "owner",
    "protected",
    "schema",
    "self",
    "size",
    "status",
    "stores",
    "updated_at",
    "virtual_size",
    "visibility",
    ITSELF,
    PUBLISHED,
    REVOKED,
    SHA512,
];
/// Beginnings of properties that only Glance sets, and of those that are noted anew once the data is there.
const OWN_PREFIXES: [&str; 2] = ["os_glance_", "owner_specified.openstack."];

impl OpenStackCloud {
    /// Makes a copy of an image, under this name.
    pub(super) async fn copy_image(
        &self,
        source: &Image,
        name: &str,
        ledger: &dyn Ledger,
        progress: ProgressSink<'_>,
    ) -> Result<Image, CloudError> {
        let tried = format!("copying image {}", source.id);
        let there = self.as_verified(source, &tried).await?;
        let size = there.get("size").and_then(Value::as_u64);
        let size = size.ok_or_else(|| CloudError::new(Trouble::Fault, format!("{tried}: it has no data")))?;
        let entry = ledger.intend(ResourceKind::Image, name).await?;
        // Ours, so that a repeated request makes no second image.
        let id = uuid::Uuid::now_v7().to_string();
        self.describe(&id, description(&there, &id, name), (ledger, entry)).await?;
        ledger.created(entry, &id).await?;
        let sums = self.fill(&id, Content::Image { id: &source.id, size }, progress).await?;
        if !sums.sha512.eq_ignore_ascii_case(&source.sha512) {
            let message = format!(
                "{tried}: its data has the sha512 {}, and not that of the image that was verified, {}",
                sums.sha512, source.sha512
            );
            return Err(CloudError::new(Trouble::Corrupt, message));
        }
        progress(1.0, "waiting until the cloud has it");
        let copy = self.wait_until_active(&id).await?;
        compare(&copy, &sums)?;
        if let Some(note) = noting_sha512(source, &copy) {
            self.patch_image(&id, json!([note])).await.map_err(|error| error.when(&tried))?;
        }
        self.note_sums(&id, name, &sums).await;
        self.share(&there, &copy).await?;
        Ok(Image { id, name: name.to_owned(), ..source.clone() })
    }

    /// Whether the image with this id is a whole copy of another one. If so, it is as visible as that from here on.
    pub(super) async fn whole_copy(&self, source: &Image, id: &str) -> Result<bool, CloudError> {
        let copy = self.image(id).await.map_err(|error| error.when(&format!("asking for image {id}")))?;
        let whole = |copy: &Value| {
            self.is_ours(copy)
                && text(copy, "status") == "active"
                && sha512_of(copy).eq_ignore_ascii_case(&source.sha512)
        };
        let Some(copy) = copy.filter(whole) else { return Ok(false) };
        let there = self.as_verified(source, &format!("copying image {}", source.id)).await?;
        self.share(&there, &copy).await?;
        Ok(true)
    }

    /// A published image, which must be there, and the one that was verified.
    pub(super) async fn as_verified(&self, image: &Image, tried: &str) -> Result<Value, CloudError> {
        let there = self.image(&image.id).await.map_err(|error| error.when(tried))?;
        let there = there
            .filter(|there| self.is_ours(there))
            .ok_or_else(|| CloudError::new(Trouble::Fault, format!("{tried}: it no longer exists")))?;
        let hash = text(&there, "os_hash_value");
        if text(&there, "os_hash_algo") == "sha512" && !hash.eq_ignore_ascii_case(&image.sha512) {
            let message = format!("{tried}: it is not the one that was verified");
            return Err(CloudError::new(Trouble::Corrupt, message));
        }
        Ok(there)
    }

    /// Makes a copy as visible as the image that it is of.
    async fn share(&self, source: &Value, copy: &Value) -> Result<(), CloudError> {
        let visibility = text(source, "visibility");
        if visibility.is_empty() || text(copy, "visibility") == visibility {
            return Ok(());
        }
        let id = text(copy, "id");
        let patch = json!([{"op": "replace", "path": "/visibility", "value": visibility}]);
        let tried = format!("making image {id} as visible as image {}", text(source, "id"));
        self.patch_image(id, patch).await.map_err(|error| error.when(&tried))
    }
}

/// What Glance is told of the copy: all that it says of the image, but for what is each image's own.
fn description(source: &Value, id: &str, name: &str) -> Value {
    let own = |key: &str| OWN.contains(&key) || OWN_PREFIXES.iter().any(|prefix| key.starts_with(prefix));
    let said = source.as_object().into_iter().flatten();
    let copied = said.filter(|(key, value)| !own(key) && !value.is_null() && !value.is_object());
    let mut description: Map<String, Value> =
        copied.map(|(key, value)| (key.clone(), value.clone())).collect();
    for (key, value) in [
        ("id", json!(id)),
        (ITSELF, json!(id)),
        ("name", json!(name)),
        ("visibility", json!("private")),
        ("os_hidden", json!(true)),
    ] {
        description.insert(key.to_owned(), value);
    }
    Value::Object(description)
}

#[cfg(test)]
#[path = "copying_tests.rs"]
mod tests;
