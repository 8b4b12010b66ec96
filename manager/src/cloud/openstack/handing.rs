//! Handing a public name to an image in Glance that was published before, and revoking one.
//!
//! As in publishing: one request gives the name, and only then does another image lose it.

use serde_json::{Value, json};

use super::OpenStackCloud;
use super::answers::text;
use super::images::PUBLISHED;
use crate::cloud::{CloudError, Image, NamedImage, Trouble};

/// Why an image is not to be used.
const REVOKED: &str = "image_manager_revoked";
/// Longest value of a property, in characters.
const VALUE: usize = 255;

impl OpenStackCloud {
    /// The images that are there under a name.
    pub(super) async fn named_images(&self, name: &str) -> Result<Vec<NamedImage>, CloudError> {
        let images = self.images_with(&[(PUBLISHED, name)]).await?;
        let ours = images.iter().filter(|image| self.is_ours(image));
        let named = |image: &Value| NamedImage {
            sha512: text(image, "os_hash_value").to_ascii_lowercase(),
            location: text(image, "id").to_owned(),
            unusable: Some(text(image, "status")).filter(|status| *status != "active").map(str::to_owned),
        };
        Ok(ours.map(named).collect())
    }

    /// Gives `name` to an image that was published as `from`. Returns its id.
    pub(super) async fn hand_name_over(
        &self,
        image: &Image,
        from: &str,
        name: &str,
    ) -> Result<String, CloudError> {
        let _alone = self.publishing.lock().await;
        let tried = format!("giving {name} to image {}", image.id);
        let there = self.image(&image.id).await.map_err(|error| error.when(&tried))?;
        let there = there
            .filter(|there| self.is_ours(there))
            .ok_or_else(|| CloudError::new(Trouble::Fault, format!("{tried}: it no longer exists")))?;
        let hash = text(&there, "os_hash_value");
        if text(&there, "os_hash_algo") == "sha512" && !hash.eq_ignore_ascii_case(&image.sha512) {
            let message = format!("{tried}: it is not the one that was verified");
            return Err(CloudError::new(Trouble::Corrupt, message));
        }
        if from != name && text(&there, "name") == from {
            let message = format!(
                "{tried}: an image has one name in this cloud, so {from} would be left without an image. Promote it \
                 once a newer image is {from}, which a build of its schedule makes, or promote an older one of \
                 `image-manager images {from}`"
            );
            return Err(CloudError::new(Trouble::Configuration, message));
        }
        let mut patch = vec![
            json!({"op": "replace", "path": "/name", "value": name}),
            json!({"op": "add", "path": format!("/{PUBLISHED}"), "value": name}),
        ];
        if there.get("os_hidden").and_then(Value::as_bool) == Some(true) {
            patch.push(json!({"op": "replace", "path": "/os_hidden", "value": false}));
        }
        self.patch_image(&image.id, Value::Array(patch)).await.map_err(|error| error.when(&tried))?;
        // It has the name from here on: what goes wrong now is tried again.
        let settled = self.settle(&image.id, name).await;
        let held = settled.map_err(|error| CloudError { trouble: Trouble::Unavailable, ..error })?;
        for held in held {
            tracing::warn!(cloud = self.name, "{held}");
        }
        Ok(image.id.clone())
    }

    /// Marks an image, and hides it from lists.
    pub(super) async fn revoke_image(&self, image: &Image, why: &str) -> Result<(), CloudError> {
        let tried = format!("revoking image {}", image.id);
        let there = self.image(&image.id).await.map_err(|error| error.when(&tried))?;
        let Some(there) = there.filter(|there| self.is_ours(there)) else { return Ok(()) };
        let why: String = why.chars().filter(|character| !character.is_control()).take(VALUE).collect();
        let mut patch = vec![json!({"op": "add", "path": format!("/{REVOKED}"), "value": why})];
        if there.get("os_hidden").is_some() {
            patch.push(json!({"op": "replace", "path": "/os_hidden", "value": true}));
        }
        match self.patch_image(&image.id, Value::Array(patch)).await {
            Err(error) if !error.is(404) => Err(error.when(&tried)),
            _ => Ok(()),
        }
    }
}
