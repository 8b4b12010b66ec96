//! Handing a public name to an image in Glance that was published before, and revoking one.
//!
//! As in publishing: one request gives the name, and only then does another image lose it.

use serde_json::{Value, json};

use super::OpenStackCloud;
use super::answers::text;
use super::images::{PUBLISHED, REVOKED, noting_sha512, sha512_of};
use crate::cloud::{CloudError, Handing, Image, NamedImage, Trouble};

/// Longest value of a property, in characters.
const VALUE: usize = 255;

impl OpenStackCloud {
    /// The images that are there under a name.
    pub(super) async fn named_images(&self, name: &str) -> Result<Vec<NamedImage>, CloudError> {
        let images = self.images_with(&[(PUBLISHED, name)]).await?;
        let ours = images.iter().filter(|image| self.is_ours(image));
        let named = |image: &Value| NamedImage {
            sha512: sha512_of(image),
            location: text(image, "id").to_owned(),
            unusable: Some(text(image, "status")).filter(|status| *status != "active").map(str::to_owned),
        };
        Ok(ours.map(named).collect())
    }

    /// The image that was published as `from`, and how it can be given `name`: an image has one name, and `from` is not to be
    /// left without one. Changes nothing.
    pub(super) async fn may_be_named(
        &self,
        image: &Image,
        from: &str,
        name: &str,
    ) -> Result<(Value, Handing), CloudError> {
        let there = self.as_verified(image, &giving(image, name)).await?;
        let handing =
            if from != name && text(&there, "name") == from { Handing::Copy } else { Handing::Itself };
        Ok((there, handing))
    }

    /// Gives `name` to an image that was published as `from`. Returns its id.
    pub(super) async fn hand_name_over(
        &self,
        image: &Image,
        from: &str,
        name: &str,
    ) -> Result<String, CloudError> {
        let _alone = self.publishing.lock().await;
        let (there, handing) = self.may_be_named(image, from, name).await?;
        if handing == Handing::Copy {
            let message = format!(
                "{}: an image has one name in this cloud, and this one is {from} by now: promote it again, and a copy of \
                 it is {name}",
                giving(image, name)
            );
            return Err(CloudError::new(Trouble::Configuration, message));
        }
        let mut patch = vec![
            json!({"op": "replace", "path": "/name", "value": name}),
            json!({"op": "add", "path": format!("/{PUBLISHED}"), "value": name}),
        ];
        patch.extend(noting_sha512(image, &there));
        if there.get("os_hidden").and_then(Value::as_bool) == Some(true) {
            patch.push(json!({"op": "replace", "path": "/os_hidden", "value": false}));
        }
        self.patch_image(&image.id, Value::Array(patch))
            .await
            .map_err(|error| error.when(&giving(image, name)))?;
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

/// What is tried, for people.
fn giving(image: &Image, name: &str) -> String {
    format!("giving {name} to image {}", image.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::Cloud as _;
    use crate::cloud::openstack::stage::{self, Stage};

    #[tokio::test]
    async fn what_cannot_have_the_name_is_known_before_anything_is_changed() {
        let there = json!({"id": "c", "name": "web", "owner": "p", "image_manager_owner": "me", "status": "active",
            "image_manager_published": "web", "os_hash_algo": "sha512", "os_hash_value": "ab"});
        let stage = Stage::with(move |request| match request {
            "GET /v2/images/c" => stage::json(&there),
            "GET /v2/images/gone" => "HTTP/1.1 404 Gone\r\ncontent-length: 0\r\n\r\n".to_owned(),
            other => panic!("{other:?}"),
        })
        .await;
        let image = |id: &str, sha512: &str| Image {
            id: id.into(),
            name: "web".into(),
            sha512: sha512.into(),
            size_bytes: 1,
            virtual_size_bytes: 1,
        };
        let (cloud, current) = (stage.cloud(), image("c", "ab"));
        assert_eq!(cloud.check_hand_over(&current, "web", "web").await.unwrap(), Handing::Itself);
        assert_eq!(cloud.check_hand_over(&current, "other", "stable").await.unwrap(), Handing::Itself);
        let handing = cloud.check_hand_over(&current, "web", "stable").await.unwrap();
        assert_eq!(handing, Handing::Copy, "web would be left without an image");
        let error = cloud.hand_over(&current, "web", "stable").await.unwrap_err();
        assert_eq!(error.trouble, Trouble::Configuration);
        assert!(error.message.contains("promote it again, and a copy of it is stable"), "{error}");
        for (image, trouble) in [(image("gone", "ab"), Trouble::Fault), (image("c", "cd"), Trouble::Corrupt)]
        {
            assert_eq!(cloud.check_hand_over(&image, "web", "stable").await.unwrap_err().trouble, trouble);
        }
        assert!(stage.requests().iter().all(|request| request.starts_with("GET ")), "{:?}", stage.requests());
    }
}
