//! Giving a verified image its public name in Glance.
//!
//! One request gives the new image the name, makes it visible and marks it as published; only then does the
//! one that had the name lose it. Between the two both have it, and at no moment has none. Each step finds
//! out for itself what is left to do, so doing all of them again ends in the same place.

use serde_json::{Value, json};

use super::OpenStackCloud;
use super::answers::{ApiError, text};
use super::images::{BUILD_DATE, OWNER, PUBLISHED};
use super::services::Service;
use super::session::Call;
use crate::cloud::{CloudError, Image, Publication, Published, Removal, Trouble};

impl OpenStackCloud {
    pub(super) async fn publish_image(
        &self,
        image: &Image,
        publication: &Publication,
    ) -> Result<Published, CloudError> {
        let _alone = self.publishing.lock().await;
        let tried = format!("publishing image {} as {}", image.id, publication.name);
        let there =
            self.image(&image.id).await.map_err(|error| error.when(&tried))?.ok_or_else(|| {
                CloudError::new(Trouble::Fault, format!("{tried}: it is not there any more"))
            })?;
        let hash = text(&there, "os_hash_value");
        if text(&there, "os_hash_algo") == "sha512" && !hash.eq_ignore_ascii_case(&image.sha512) {
            return Err(CloudError::new(
                Trouble::Corrupt,
                format!("{tried}: it is not the one that was verified"),
            ));
        }
        self.give_name(&image.id, publication, &there).await.map_err(|error| error.when(&tried))?;
        let mut held = self.settle(&image.id, &publication.name).await?;
        let (removed, kept_back) = self.prune(&image.id, publication).await?;
        held.extend(kept_back);
        Ok(Published {
            name: publication.name.clone(),
            location: image.id.clone(),
            removed,
            held,
            own_image: true,
        })
    }

    async fn give_name(&self, id: &str, publication: &Publication, there: &Value) -> Result<(), ApiError> {
        let mut patch = vec![
            json!({"op": "replace", "path": "/name", "value": publication.name}),
            json!({"op": "add", "path": format!("/{PUBLISHED}"), "value": publication.name}),
        ];
        if there.get("os_hidden").and_then(Value::as_bool) == Some(true) {
            patch.push(json!({"op": "replace", "path": "/os_hidden", "value": false}));
        }
        if text(there, "visibility") != publication.visibility {
            patch.push(json!({"op": "replace", "path": "/visibility", "value": publication.visibility}));
        }
        self.patch_image(id, Value::Array(patch)).await
    }

    async fn patch_image(&self, id: &str, patch: Value) -> Result<(), ApiError> {
        // Setting values twice sets the same values.
        let call = Call::patch(Service::Image, format!("images/{id}"), patch).repeatable();
        self.session.call(&call).await.map(drop)
    }

    /// Takes the name from every other image of ours that has it. Says which it cannot take it from.
    pub(super) async fn settle(&self, current: &str, name: &str) -> Result<Vec<String>, CloudError> {
        let mut held = Vec::new();
        for image in self.images_with(&[("name", name)]).await? {
            let id = text(&image, "id");
            if id == current {
                continue;
            }
            if text(&image, OWNER) != self.owner {
                held.push(format!("{name} ({id}): has the name too, and was not made by this image-manager"));
                continue;
            }
            let dated = format!("{name} ({})", date_of(&image));
            let mut patch = vec![json!({"op": "replace", "path": "/name", "value": dated})];
            if image.get("os_hidden").is_some() {
                patch.push(json!({"op": "replace", "path": "/os_hidden", "value": true}));
            }
            match self.patch_image(id, Value::Array(patch)).await {
                Ok(()) => {}
                // Deleted meanwhile: it has the name no more.
                Err(error) if error.is(404) => {}
                Err(error) => held.push(error.when(&format!("renaming {name} ({id}) to {dated}")).message),
            }
        }
        Ok(held)
    }

    /// Removes what is older than the `keep` newest before the current one.
    async fn prune(
        &self,
        current: &str,
        publication: &Publication,
    ) -> Result<(Vec<String>, Vec<String>), CloudError> {
        let filters = [(PUBLISHED, publication.name.as_str()), (OWNER, self.owner.as_str())];
        let mut older = self.images_with(&filters).await?;
        older.retain(|image| text(image, "id") != current && text(image, "name") != publication.name);
        older.sort_by_key(|image| std::cmp::Reverse(date_of(image).to_owned()));
        let (mut removed, mut held) = (Vec::new(), Vec::new());
        for image in older.iter().skip(usize::try_from(publication.keep).unwrap_or(usize::MAX)) {
            match self.delete_image(image).await {
                Ok(Removal::Gone) => removed.push(text(image, "name").to_owned()),
                Ok(Removal::Held(why)) => held.push(why),
                // The image is published; an old one that stays is no reason to say it is not.
                Err(error) => held.push(error.message),
            }
        }
        Ok((removed, held))
    }
}

/// When an image was built, or, where somebody took that away, made.
fn date_of(image: &Value) -> &str {
    match text(image, BUILD_DATE) {
        "" => text(image, "created_at"),
        date => date,
    }
}
