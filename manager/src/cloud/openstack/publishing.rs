//! Giving a verified image its public name in Glance.
//!
//! One request gives the new image the name, makes it visible and marks it as published; only then does the
//! one that had the name lose it. Between the two both have it, and at no moment has none. Each step finds
//! out for itself what is left to do, so doing all of them again ends in the same place.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::OpenStackCloud;
use super::answers::{ApiError, text};
use super::images::{BUILD, BUILD_DATE, OWNER, PUBLISHED, REVOKED};
use super::services::Service;
use super::session::Call;
use crate::clock;
use crate::cloud::{CloudError, Held, Image, Older, Pruned, Publication, Published, Removal, Trouble};

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
        self.give_name(&image.id, publication, &there).await.map_err(|error| error.when(&tried))?;
        // The image has its name from here on, and nothing makes that untrue.
        let settled = self.settle(&image.id, &publication.name).await;
        let own_image = settled.is_ok();
        let mut held = settled.unwrap_or_else(|error| vec![error.message]);
        let pruned = self.prune_older(publication).await;
        // The image is published; old ones that stay are no reason to say it is not.
        let Pruned { removed, held: kept_back } = pruned.unwrap_or_else(|error| {
            held.push(error.message);
            Pruned::default()
        });
        held.extend(kept_back.into_iter().map(|held| held.why));
        Ok(Published { name: publication.name.clone(), location: image.id.clone(), removed, held, own_image })
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
    /// shares it with a newer one, has been followed: then the newest keeps it.
    pub(super) async fn settle_again(&self, image: &Value) -> Result<(), CloudError> {
        let _alone = self.publishing.lock().await;
        let (id, name) = (text(image, "id"), text(image, PUBLISHED));
        let mut named = self.images_with(&[("name", name), (PUBLISHED, name)]).await?;
        named.retain(|image| self.is_ours(image));
        if !named.iter().any(|image| text(image, "id") == id) {
            return Ok(());
        }
        let newest =
            named.iter().max_by(|a, b| date_of(a).cmp(date_of(b))).map_or(id, |image| text(image, "id"));
        self.settle(newest, name).await.map(drop)
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

    /// Removes the images without the name that had it, and that neither `keep` nor `keep_for` keeps.
    async fn prune_older(&self, publication: &Publication) -> Result<Pruned, CloudError> {
        let filters = [(PUBLISHED, publication.name.as_str()), (OWNER, self.owner.as_str())];
        let mut older = self.images_with(&filters).await?;
        older.retain(|image| self.is_ours(image) && text(image, "name") != publication.name);
        let hashes: Vec<String> =
            older.iter().map(|image| text(image, "os_hash_value").to_ascii_lowercase()).collect();
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
mod tests {
    use super::*;
    use crate::cloud::openstack::stage::{self, Stage};
    use crate::cloud::{Cloud as _, Resource, ResourceKind};

    fn image(id: &str, name: &str, date: &str, published: bool) -> Value {
        let mut image = json!({"id": id, "name": name, "owner": "p", "image_manager_owner": "me", "status": "active",
            "image_build_date": format!("{date}T00:00:00Z"), "os_hidden": true, "visibility": "private", "os_hash_algo": "sha512",
            "os_hash_value": "ab"});
        if published {
            image["image_manager_published"] = json!("pub");
        }
        image
    }

    /// The new image "n", the current one "c", older ones, and what users made of them; PATCH and DELETE change
    /// nothing.
    async fn glance() -> Stage {
        glance_with(&[], None).await
    }

    /// The same, where some of the older ones were revoked, and a server was made from one of them.
    async fn glance_with(revoked: &'static [&'static str], in_use: Option<&'static str>) -> Stage {
        Stage::with(move |request| {
            let (method, target) = request.split_once(' ').unwrap();
            let mut snapshot = image("snapshot", "my backup", "2026-10-01", true);
            snapshot["base_image_ref"] = json!("o1");
            let mut of_volume = image("of-volume", "my volume", "2026-10-02", true);
            of_volume["image_manager_image"] = json!("o1");
            let mut all = [
                image("c", "pub", "2026-11-03", true),
                image("o2", "pub (2026-11-02)", "2026-11-02", true),
                image("o1", "pub (2026-11-01)", "2026-11-01", true),
                snapshot,
                of_volume,
            ];
            for image in all.iter_mut().filter(|image| revoked.contains(&text(image, "id"))) {
                image["image_manager_revoked"] = json!("leaked key");
            }
            match (method, target.split('?').next().unwrap()) {
                ("GET", "/v2/images") if target.contains("os_hidden=true") => {
                    stage::json(&json!({"images": all}))
                }
                ("GET", "/v2/images") => stage::json(&json!({"images": []})),
                ("GET", "/servers") => {
                    let used = in_use.filter(|id| target == format!("/servers?image={id}&limit=1"));
                    let server = used.map(|_| json!({"id": "s", "name": "web-1"}));
                    stage::json(&json!({"servers": Vec::from_iter(server)}))
                }
                ("GET", "/v2/images/n") => stage::json(&image("n", "image-manager-b", "2026-11-04", false)),
                ("GET", "/v2/images/c") => stage::json(&all[0]),
                ("GET", "/v2/images/o1") => stage::json(&all[2]),
                ("DELETE", "/v2/images/o1" | "/v2/images/o2") => {
                    "HTTP/1.1 409 In use\r\ncontent-length: 0\r\n\r\n".to_owned()
                }
                ("GET", "/") | ("PATCH", _) => stage::json(&json!({})),
                other => panic!("{other:?}"),
            }
        })
        .await
    }

    fn new_image() -> (Image, Publication) {
        let image = Image {
            id: "n".into(),
            name: "image-manager-b".into(),
            sha512: "AB".into(),
            size_bytes: 1,
            virtual_size_bytes: 1,
        };
        (
            image,
            Publication {
                name: "pub".into(),
                keep: 1,
                keep_for: None,
                visibility: "shared".into(),
                last: None,
            },
        )
    }

    fn changes(stage: &Stage) -> Vec<String> {
        stage.requests().into_iter().filter(|request| !request.starts_with("GET")).collect()
    }

    #[tokio::test]
    async fn the_new_image_has_the_name_before_the_old_one_loses_it() {
        let stage = glance().await;
        let (new, publication) = new_image();
        let published = stage.cloud().publish(&new, &publication).await.unwrap();
        assert_eq!(changes(&stage), ["PATCH /v2/images/n", "PATCH /v2/images/c", "DELETE /v2/images/o1"]);
        assert_eq!(published.location, "n");
        assert!(published.own_image && published.removed.is_empty());
        assert!(published.held[0].contains("o1"), "what is in use is held: {:?}", published.held);
        let other = Image { sha512: "cd".into(), ..new };
        assert_eq!(stage.cloud().publish(&other, &publication).await.unwrap_err().trouble, Trouble::Corrupt);
    }

    #[tokio::test]
    async fn an_older_image_stays_while_it_is_young_enough() {
        let stage = glance().await;
        let (new, publication) = new_image();
        let century = Some(std::time::Duration::from_hours(100 * 366 * 24));
        let young = Publication { keep: 0, keep_for: century, ..publication };
        let published = stage.cloud().publish(&new, &young).await.unwrap();
        assert_eq!(changes(&stage), ["PATCH /v2/images/n", "PATCH /v2/images/c"]);
        assert_eq!(published.held, Vec::<String>::new());
        let old = Publication { keep_for: Some(std::time::Duration::from_secs(1)), ..young };
        let published = stage.cloud().publish(&new, &old).await.unwrap();
        assert_eq!(published.held.len(), 2, "what cannot be removed is told: {:?}", published.held);
    }

    #[tokio::test]
    async fn an_image_that_a_server_was_made_from_stays_and_is_told() {
        let stage = glance_with(&[], Some("o1")).await;
        let (_, publication) = new_image();
        let pruned = stage.cloud().prune(&publication).await.unwrap();
        assert!(changes(&stage).is_empty(), "Glance is not asked to delete it: {:?}", changes(&stage));
        let [held] = &pruned.held[..] else { panic!("{pruned:?}") };
        assert_eq!(held.why, "image pub (2026-11-01) (o1) is in use by server web-1 (s)");
        // Where Nova does not say, nothing goes either.
        let silent = Stage::with(|request| match request.split('?').next().unwrap() {
            "GET /v2/images" if request.contains("os_hidden=true") => {
                let all = [
                    image("c", "pub", "2026-11-03", true),
                    image("o1", "pub (2026-11-01)", "2026-11-01", true),
                ];
                stage::json(&json!({"images": all}))
            }
            "GET /v2/images" => stage::json(&json!({"images": []})),
            "GET /" => stage::json(&json!({})),
            _ => "HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n".to_owned(),
        })
        .await;
        let pruned = silent.cloud().prune(&Publication { keep: 0, ..publication }).await.unwrap();
        assert!(changes(&silent).is_empty(), "{:?}", changes(&silent));
        assert!(pruned.held[0].why.contains("asking for servers"), "{pruned:?}");
    }

    #[tokio::test]
    async fn a_revoked_image_takes_no_good_ones_place() {
        let stage = glance_with(&["o2"], None).await;
        let (_, publication) = new_image();
        assert_eq!(stage.cloud().prune(&publication).await.unwrap(), Pruned::default());
        assert!(changes(&stage).is_empty(), "{:?}", changes(&stage));
        let none = Publication { keep: 0, ..publication };
        stage.cloud().prune(&none).await.unwrap();
        assert_eq!(changes(&stage), ["DELETE /v2/images/o2", "DELETE /v2/images/o1"]);
    }

    #[tokio::test]
    async fn older_images_go_without_a_build_and_never_those_of_a_name_that_no_image_has() {
        let stage = glance().await;
        let (_, publication) = new_image();
        let pruned = stage.cloud().prune(&publication).await.unwrap();
        assert_eq!(changes(&stage), ["DELETE /v2/images/o1"]);
        assert_eq!((pruned.held.len(), pruned.held[0].sha512.as_str()), (1, "ab"), "{pruned:?}");
        let lost = Publication { name: "lost".into(), keep: 0, ..publication };
        assert_eq!(stage.cloud().prune(&lost).await.unwrap(), Pruned::default());
        assert_eq!(changes(&stage).len(), 1);
    }

    #[test]
    fn an_image_is_as_old_as_its_build() {
        let mut one = image("o", "pub (1)", "2026-11-02", true);
        assert_eq!(
            built(&one).map(clock::rfc3339_seconds).unwrap(),
            "2026-11-02T00:00:00Z",
            "nobody knows the build"
        );
        one["image_manager_build"] = json!("019a4188-8e00-7000-8000-000000000000");
        assert_eq!(built(&one), clock::began("019a4188-8e00-7000-8000-000000000000"));
        assert!(built(&one) < built(&image("o", "pub (1)", "2026-11-02", true)));
    }

    #[tokio::test]
    async fn an_image_that_has_its_name_is_published_whatever_comes_then() {
        let stage = Stage::with(|request| match request.split('?').next().unwrap() {
            "GET /v2/images/n" => stage::json(&image("n", "image-manager-b", "2026-11-04", false)),
            "PATCH /v2/images/n" => stage::json(&json!({})),
            _ => "HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n".to_owned(),
        })
        .await;
        let (new, publication) = new_image();
        let published = stage.cloud().publish(&new, &publication).await.unwrap();
        assert!(published.held[0].contains("listing images"), "{:?}", published.held);
        assert!(!published.own_image, "its row stays open, so that the reconciler settles the name");
    }

    #[tokio::test]
    async fn an_image_that_was_followed_takes_the_name_from_nobody() {
        let stage = glance().await;
        let resource = Resource {
            kind: ResourceKind::Image,
            name: "image-manager-a".into(),
            external_id: Some("o1".into()),
            build_id: "a".into(),
        };
        assert_eq!(stage.cloud().remove(&resource).await.unwrap(), Removal::Gone);
        assert!(changes(&stage).is_empty(), "{:?}", changes(&stage));
    }

    #[tokio::test]
    async fn a_published_image_is_not_removed_by_a_build_that_could_not_say_so() {
        let stage = glance().await;
        let resource = Resource {
            kind: ResourceKind::Image,
            name: "image-manager-b".into(),
            external_id: Some("c".into()),
            build_id: "b".into(),
        };
        assert_eq!(stage.cloud().remove(&resource).await.unwrap(), Removal::Gone);
        assert!(changes(&stage).is_empty());
    }
}
