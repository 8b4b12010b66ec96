//! What can be proved about a cloud without making anything there, each thing by itself.

use std::net::SocketAddr;

use serde_json::{Map, Value};

use super::OpenStackCloud;
use super::answers::ApiError;
use super::flavors_and_networks::{Flavor, Network};
use super::images::OWNER;
use super::services::Service;
use super::session::{Call, RequestTimeouts};
use crate::cloud::{Cloud as _, CloudError, Proof, Trouble};
use crate::schedules::{Publish, ServerSpec, SshKey};

impl OpenStackCloud {
    /// Credentials and services, and the address that servers would dial.
    pub(super) async fn prove_access(&self, gateway: SocketAddr) -> Vec<Proof> {
        let project = self.session.project().await;
        let stop = project.is_err();
        let source = format!("credentials from {}", self.source());
        let mut proofs = vec![Proof::new(source, project.map(|id| format!("give access to project {id}")))];
        if stop {
            return proofs;
        }
        let images = self.prove_images().await.map(|()| "lists images".to_owned());
        proofs.push(Proof::new("image service", images));
        proofs.push(Proof::new("room for an image", self.room_for_image().await));
        let compute =
            self.session.microversion().await.map_err(|error| error.when("asking for its versions"));
        let compute = compute.map(|version| match version {
            Some(version) => format!("speaks microversion {}", version.number()),
            None => "has no microversions".to_owned(),
        });
        proofs.push(Proof::new("compute service", compute));
        let call = Call::get(Service::Network, "networks").query("limit", "1").query("fields", "id");
        let network = self.session.call(&call).await.map_err(|error| error.when("listing networks"));
        proofs.push(Proof::new("network service", network.map(|_| "lists networks".to_owned())));
        proofs.push(Proof::new("address that servers dial", self.agent_endpoint(gateway).await));
        proofs
    }

    /// That Keystone lets us in, and that each service that every build needs answers, by one small question to each.
    pub(super) async fn ask_each_service(&self) -> Result<(), CloudError> {
        let small = |service, path| Call::get(service, path).query("limit", "1");
        for (tried, call) in [
            ("listing images", small(Service::Image, "images")),
            ("listing flavors", small(Service::Compute, "flavors")),
            ("listing networks", small(Service::Network, "networks").query("fields", "id")),
        ] {
            let answer = self.session.call(&call.timeouts(RequestTimeouts::BRIEF)).await;
            answer.map_err(|error| error.when(tried))?;
        }
        Ok(())
    }

    /// What one schedule wants of the cloud.
    pub(super) async fn prove_schedule(&self, server: &ServerSpec, publish: Option<&Publish>) -> Vec<Proof> {
        let flavor = self.flavor(server.flavor.as_deref()).await;
        let flavor_disk = flavor.as_ref().ok().map(|flavor| flavor.disk_gib.max(1));
        let mut proofs = Vec::new();
        if let Ok(flavor) = &flavor {
            let room = self.prove_room(flavor).await.map(|()| "one more server fits the quota".to_owned());
            proofs.push(Proof::new("room for a server", room));
            if let Some(publish) = publish {
                proofs.push(Proof::new("disk of the flavor", self.disk_fits(flavor, &publish.name).await));
            }
        }
        proofs.insert(0, Proof::new("flavor", flavor.map(|flavor| flavor.to_string())));
        let network = self.network(server.network.as_deref()).await.map(|network| match network {
            Network::Auto => "Nova chooses it".to_owned(),
            Network::One { id, filters: true } => id,
            Network::One { id, filters: false } => {
                format!("{id}, without port security: no security groups there")
            }
        });
        proofs.push(Proof::new("network", network));
        if server.boot_from_volume {
            let found = self.prove_volumes().await;
            let room = match (&found, &flavor_disk) {
                (Ok(()), Some(gib)) => self.prove_volume_room(*gib).await,
                _ => found,
            };
            proofs.push(Proof::new(
                "block storage",
                room.map(|()| "one more volume fits the quota".to_owned()),
            ));
        }
        if let Some(SshKey::Named(name)) = &server.ssh_key {
            let found = self.prove_key_pair(name).await.map(|()| "exists".to_owned());
            proofs.push(Proof::new(format!("key pair {name}"), found));
        }
        for group in &server.security_groups {
            let found = self.prove_security_group(group).await.map(|()| "exists".to_owned());
            proofs.push(Proof::new(format!("security group {group}"), found));
        }
        proofs
    }

    /// Whether the image that has the public name now would fit.
    async fn disk_fits(&self, flavor: &Flavor, name: &str) -> Result<String, CloudError> {
        let images = self.images_with(&[("name", name), (OWNER, &self.owner)]).await?;
        let least = images.iter().filter_map(|image| image.get("min_disk")?.as_u64()).max();
        match least {
            None => Ok(format!("nothing is published as {name} yet to compare it with")),
            Some(least) if flavor.disk_gib == 0 || flavor.disk_gib >= least => {
                Ok(format!("{} GiB, {name} needs {least} GiB", flavor.disk_gib))
            }
            Some(least) => {
                let message =
                    format!("{} has {} GiB, but {name} needs {least} GiB", flavor.name, flavor.disk_gib);
                Err(CloudError::new(Trouble::Configuration, message))
            }
        }
    }

    async fn room_for_image(&self) -> Result<String, CloudError> {
        match self.session.call(&Call::get(Service::Image, "info/usage")).await {
            Ok(usage) => image_room(&usage),
            // Older than Xena, or without quotas.
            Err(ApiError::Refused { status: 403 | 404, .. }) => Ok("this Glance reports no quota".to_owned()),
            Err(error) => Err(error.when("asking for the image quota")),
        }
    }
}

fn image_room(answer: &Value) -> Result<String, CloudError> {
    let number =
        |what: &str, key: &str| answer.pointer(&format!("/usage/{what}/{key}")).and_then(Value::as_i64);
    for what in ["image_count_total", "image_size_total", "image_count_uploading"] {
        let (Some(limit), Some(used)) = (number(what, "limit"), number(what, "usage")) else { continue };
        if limit >= 0 && used >= limit {
            let message = format!("the quota {what} is used up: {used} of {limit}");
            return Err(CloudError::new(Trouble::NoRoom, message));
        }
    }
    if answer.get("usage").and_then(Value::as_object).is_none_or(Map::is_empty) {
        return Ok("this Glance has no quota".to_owned());
    }
    Ok("the quota has room".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cloud::openstack::stage::{Stage, json as answer};

    #[tokio::test]
    async fn a_cloud_answers_when_each_of_its_services_does() {
        let stage = Stage::with(|_| answer(&json!({}))).await;
        stage.cloud().answers().await.unwrap();
        let requests = stage.requests();
        for service in ["images?limit=1", "flavors?limit=1", "networks?limit=1&fields=id"] {
            assert!(requests.iter().any(|request| request.ends_with(service)), "{requests:?}");
        }
        // What is refused is not asked again, so that this is over at once.
        let refusal = "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
        for service in ["images", "flavors", "networks"] {
            let answering = move |line: &str| {
                if line.contains(service) { refusal.to_owned() } else { answer(&json!({})) }
            };
            let stage = Stage::with(answering).await;
            let error = stage.cloud().answers().await.unwrap_err();
            assert!(error.message.starts_with(&format!("listing {service}: ")), "{error}");
        }
    }

    #[test]
    fn image_quotas_are_read() {
        let of = |limit: i64, usage: i64| json!({"usage": {"image_count_total": {"limit": limit, "usage": usage}}});
        assert_eq!(image_room(&of(10, 3)).unwrap(), "the quota has room");
        assert_eq!(image_room(&of(-1, 3)).unwrap(), "the quota has room");
        assert_eq!(image_room(&json!({"usage": {}})).unwrap(), "this Glance has no quota");
        assert_eq!(image_room(&of(3, 3)).unwrap_err().trouble, Trouble::NoRoom);
    }
}
