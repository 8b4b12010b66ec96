//! Giving a verified image its public name in Glance.
//!
//! One request gives the new image the name, makes it visible and marks it as published; only then does the
//! one that had the name lose it. Between the two both have it, and at no moment has none. Each step finds
//! out for itself what is left to do, so doing all of them again ends in the same place.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::OpenStackCloud;
use super::answers::{ApiError, text};
use super::images::{BUILD, BUILD_DATE, OWNER, PUBLISHED, REVOKED, noting_sha512, sha512_of};
use super::services::Service;
use super::session::Call;
use crate::clock;
use crate::cloud::{CloudError, Held, Image, Older, Pruned, Publication, Published, Removal, Trouble};

/// How long removing older images may hold up a publication.
const PRUNING: Duration = Duration::from_mins(1);

impl OpenStackCloud {
    pub(super) async fn publish_image(
        &self,
        image: &Image,
        publication: &Publication,
    ) -> Result<Published, CloudError> {
        let _alone = self.publishing.lock().await;
        let tried = format!("publishing image {} as {}", image.id, publication.name);
        let there = self
            .image(&image.id)
            .await
            .map_err(|error| error.when(&tried))?
            .ok_or_else(|| CloudError::new(Trouble::Fault, format!("{tried}: it no longer exists")))?;
        let hash = text(&there, "os_hash_value");
        if text(&there, "os_hash_algo") == "sha512" && !hash.eq_ignore_ascii_case(&image.sha512) {
            return Err(CloudError::new(
                Trouble::Corrupt,
                format!("{tried}: it is not the one that was verified"),
            ));
        }
        self.give_name(image, publication, &there).await.map_err(|error| error.when(&tried))?;
        // The image has its name from here on, and nothing makes that untrue.
        let settled = self.settle(&image.id, &publication.name).await;
        let own_image = settled.is_ok();
        let mut held = settled.unwrap_or_else(|error| vec![error.message]);
        let pruned = self.prune_within(PRUNING, publication).await;
        // The image is published; old ones that stay are no reason to say it is not.
        let Pruned { removed, held: kept_back } = pruned.unwrap_or_else(|error| {
            held.push(error.message);
            Pruned::default()
        });
        held.extend(kept_back.into_iter().map(|held| held.why));
        Ok(Published { name: publication.name.clone(), location: image.id.clone(), removed, held, own_image })
    }

    async fn give_name(
        &self,
        image: &Image,
        publication: &Publication,
        there: &Value,
    ) -> Result<(), ApiError> {
        let mut patch = vec![
            json!({"op": "replace", "path": "/name", "value": publication.name}),
            json!({"op": "add", "path": format!("/{PUBLISHED}"), "value": publication.name}),
        ];
        patch.extend(noting_sha512(image, there));
        if there.get("os_hidden").and_then(Value::as_bool) == Some(true) {
            patch.push(json!({"op": "replace", "path": "/os_hidden", "value": false}));
        }
        if text(there, "visibility") != publication.visibility {
            patch.push(json!({"op": "replace", "path": "/visibility", "value": publication.visibility}));
        }
        self.patch_image(&image.id, Value::Array(patch)).await
    }

    pub(super) async fn patch_image(&self, id: &str, patch: Value) -> Result<(), ApiError> {
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
            if !self.is_ours(&image) {
                held.push(format!("{name} ({id}): has the name too, but was not made by this image-manager"));
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

    /// Goes on with a publication that was cut off once its image had the name. An image that has lost the name, or
    /// shares it with one that is `current` by the history, has been followed: then that one keeps it. Where none of them is,
    /// the newest does: only the clock of whoever uploaded them says which one that is.
    pub(super) async fn settle_again(&self, image: &Value, current: &[String]) -> Result<(), CloudError> {
        let _alone = self.publishing.lock().await;
        let (id, name) = (text(image, "id"), text(image, PUBLISHED));
        let mut named = self.images_with(&[("name", name), (PUBLISHED, name)]).await?;
        named.retain(|image| self.is_ours(image));
        if !named.iter().any(|image| text(image, "id") == id) {
            return Ok(());
        }
        let known =
            named.iter().map(|image| text(image, "id")).find(|id| current.iter().any(|one| one == id));
        let newest =
            || named.iter().max_by(|a, b| date_of(a).cmp(date_of(b))).map_or(id, |image| text(image, "id"));
        self.settle(known.unwrap_or_else(newest), name).await.map(drop)
    }

    /// Removes the older images of a name; nothing where none of ours has it: they are all that is left of it then.
    pub(super) async fn prune_name(&self, publication: &Publication) -> Result<Pruned, CloudError> {
        let _alone = self.publishing.lock().await;
        let name = publication.name.as_str();
        let named = self.images_with(&[("name", name), (PUBLISHED, name)]).await?;
        if named.iter().any(|image| self.is_ours(image)) {
            self.prune_older(publication).await
        } else {
            Ok(Pruned::default())
        }
    }

    /// As [`Self::prune_older`], but all of it within a time: each image may take minutes. What is left is tried again
    /// when it is looked for older images the next time.
    async fn prune_within(&self, limit: Duration, publication: &Publication) -> Result<Pruned, CloudError> {
        let name = &publication.name;
        let late = |_| {
            Err(CloudError::new(Trouble::Timeout, format!("older images of {name}: the cloud took too long")))
        };
        timeout(limit, self.prune_older(publication)).await.unwrap_or_else(late)
    }

    /// Removes the images without the name that had it, and that neither `keep` nor `keep_for` keeps.
    async fn prune_older(&self, publication: &Publication) -> Result<Pruned, CloudError> {
        let filters = [(PUBLISHED, publication.name.as_str()), (OWNER, self.owner.as_str())];
        let mut older = self.images_with(&filters).await?;
        older.retain(|image| self.is_ours(image) && text(image, "name") != publication.name);
        let hashes: Vec<String> = older.iter().map(sha512_of).collect();
        let known = older.iter().zip(&hashes).map(|(image, sha512)| Older {
            sha512,
            built: built(image),
            revoked: !text(image, REVOKED).is_empty(),
        });
        let goes = publication.no_longer_kept(&known.collect::<Vec<_>>(), clock::now());
        let mut pruned = Pruned::default();
        let gone = older.iter().zip(&hashes).enumerate().filter(|(place, _)| goes.contains(place));
        for (_, (image, sha512)) in gone {
            let why = match self.remove_older(image).await {
                Ok(Removal::Gone | Removal::Unseen) => {
                    pruned.removed.push(text(image, "name").to_owned());
                    continue;
                }
                Ok(Removal::Held(why)) => why,
                Err(error) => error.message,
            };
            pruned.held.push(Held { sha512: sha512.clone(), why });
        }
        Ok(pruned)
    }

    /// Deletes an older image, unless a server of the project was made from it: Glance knows of servers only where its store
    /// does (a clone in Ceph), and deletes a plain file that Nova needs again for a rebuild or on another host.
    async fn remove_older(&self, image: &Value) -> Result<Removal, CloudError> {
        let (id, name) = (text(image, "id"), text(image, "name"));
        match self.server_of_image(id).await? {
            Some(server) => Ok(Removal::Held(format!("image {name} ({id}) is in use by server {server}"))),
            None => self.delete_image(image).await,
        }
    }
}

/// When the build of an image began; where somebody took away which one that was, when it was uploaded.
fn built(image: &Value) -> Option<DateTime<Utc>> {
    let uploaded = || DateTime::parse_from_rfc3339(date_of(image)).ok().map(|date| date.to_utc());
    clock::began(text(image, BUILD)).or_else(uploaded)
}

/// When an image was uploaded, or, where somebody took that away, made.
fn date_of(image: &Value) -> &str {
    match text(image, BUILD_DATE) {
        "" => text(image, "created_at"),
        date => date,
    }
}

#[cfg(test)]
#[path = "publishing_tests.rs"]
mod tests;
