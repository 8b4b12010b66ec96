//! What is there that carries our mark, whether or not a ledger knows of it.

use serde_json::Value;

use super::OpenStackCloud;
use super::answers::text;
use super::images::{BUILD, OWNER, PUBLISHED};
use super::servers::build_of;
use crate::cloud::{CloudError, Resource, ResourceKind};

/// How the names of all that we make begin.
const PREFIX: &str = "image-manager-";

impl OpenStackCloud {
    /// Servers, ports, volumes, key pairs, security groups and images that this installation made and did not publish, in the
    /// order in which they can be removed. Key pairs carry no owner: whoever asks must tell by the build in
    /// their name whether they are ours.
    pub(super) async fn carrying_our_mark(&self) -> Result<Vec<Resource>, CloudError> {
        let mut found = Vec::new();
        // Groups before servers: the port of a server that comes meanwhile is in none of them.
        let groups = self.security_groups().await?;
        let servers = self.servers_like(PREFIX).await?;
        for server in &servers {
            found.push(resource(ResourceKind::Server, server, build_with(server)));
        }
        for (port, group) in self.orphaned_ports(&groups, &servers).await? {
            let name = text(group, "name").to_owned();
            found.push(Resource { name, ..resource(ResourceKind::Port, &port, build_in(group)) });
        }
        for volume in self.volumes().await? {
            let build = volume.pointer(&format!("/metadata/{BUILD}")).and_then(Value::as_str);
            found.push(resource(ResourceKind::Volume, &volume, build.unwrap_or_default()));
        }
        for name in self.key_pairs_like(PREFIX).await? {
            let build_id = build_named(&name).to_owned();
            found.push(Resource {
                kind: ResourceKind::KeyPair,
                external_id: Some(name.clone()),
                name,
                build_id,
            });
        }
        for group in &groups {
            found.push(resource(ResourceKind::SecurityGroup, group, build_in(group)));
        }
        for image in self.images_with(&[(OWNER, &self.owner)]).await? {
            if self.is_ours(&image) && text(&image, PUBLISHED).is_empty() {
                found.push(resource(ResourceKind::Image, &image, text(&image, BUILD)));
            }
        }
        Ok(found)
    }
}

/// The build in a name that begins as ours do. That of a build with several targets ends in the target's.
fn build_named(name: &str) -> &str {
    let rest = name.strip_prefix(PREFIX).unwrap_or_default();
    match rest.split_at_checked(uuid::fmt::Hyphenated::LENGTH) {
        Some((build, target)) if target.starts_with('-') && uuid::Uuid::parse_str(build).is_ok() => build,
        _ => rest,
    }
}

/// The build that a server belongs to. The metadata is for the agent: in a verification and a control boot it has the id in
/// the image, which is another's. It counts only where the name has no build.
fn build_with(server: &Value) -> &str {
    let named = build_named(text(server, "name"));
    if uuid::Uuid::parse_str(named).is_ok() { named } else { build_of(server) }
}

/// The build in a group's description.
fn build_in(group: &Value) -> &str {
    text(group, "description").rsplit_once("build=").map_or("", |(_, build)| build)
}

fn resource(kind: ResourceKind, json: &Value, build: &str) -> Resource {
    Resource {
        kind,
        name: text(json, "name").to_owned(),
        external_id: Some(text(json, "id").to_owned()),
        build_id: build.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cloud::Cloud as _;
    use crate::cloud::openstack::stage::{self, Stage};

    #[tokio::test]
    async fn a_server_belongs_to_the_build_in_its_name_whatever_image_it_booted() {
        let build = "0199aaaa-0000-7000-8000-000000000001";
        let (before, control) = ("0199aaaa-0000-7000-8000-000000000000", format!("control-{build}"));
        let server = |name: &str, known: &str| {
            json!({"id": name, "name": format!("image-manager-{name}"),
                "metadata": {"image_manager_owner": "me", "image_manager_build": known}})
        };
        let listed = [
            server(build, before),
            server(&format!("{build}-small"), before),
            server(&format!("{build}--again"), before),
            server(&format!("{build}--control-small"), &control),
            server("web", "b"),
        ];
        let stage = Stage::with(move |request| {
            if request.starts_with("GET /servers/detail") {
                stage::json(&json!({"servers": listed}))
            } else {
                stage::nothing()
            }
        })
        .await;
        let found = stage.cloud().inventory().await.unwrap();
        let builds: Vec<_> = found.iter().map(|server| server.build_id.as_str()).collect();
        assert_eq!(builds, [build, build, build, build, "b"], "{found:?}");
    }

    #[test]
    fn a_name_tells_its_build_with_and_without_a_target() {
        let build = "0199aaaa-0000-7000-8000-000000000001";
        assert_eq!(build_named(&format!("image-manager-{build}")), build);
        assert_eq!(build_named(&format!("image-manager-{build}-small-2")), build);
        for others in ["ops", "and-what-is-as-long-as-a-build-and-more", "0199aaaa"] {
            assert_eq!(build_named(&format!("image-manager-{others}")), others);
        }
    }
}
