//! Neutron's ports: what a server may leave behind. Nova makes them and takes them away with the server; where
//! it does not, we do.

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::OpenStackCloud;
use super::answers::{list, listed, text};
use super::servers::{ASK_AGAIN, GOING};
use super::services::Service;
use super::session::Call;
use crate::cloud::{CloudError, Removal, Trouble};

impl OpenStackCloud {
    /// Waits until no port of a server is left, and takes away those that Nova has forgotten.
    pub(super) async fn remove_ports_of(&self, server: &str) -> Result<(), CloudError> {
        let tried = format!("looking for ports of server {server}");
        let deadline = Instant::now() + GOING;
        loop {
            let call = Call::get(Service::Network, "ports").query("device_id", server);
            let page = self.session.call(&call).await.map_err(|error| error.when(&tried))?;
            // A service that ignores the filter must not cost anybody else a port.
            let ports = listed(&page, "ports").map_err(|error| error.when(&tried))?;
            let ports: Vec<_> = ports.iter().filter(|port| text(port, "device_id") == server).collect();
            if ports.is_empty() {
                return Ok(());
            }
            for port in &ports {
                self.delete_port(text(port, "id")).await?;
            }
            if Instant::now() >= deadline {
                let message = format!("{tried}: {} not gone after {} s", ports.len(), GOING.as_secs());
                return Err(CloudError::new(Trouble::Timeout, message));
            }
            sleep(ASK_AGAIN).await;
        }
    }

    /// Ports that servers have left behind in a security group of ours, with the group: Nova's mark says that
    /// they were a server's, the group that the server was ours.
    pub(super) async fn orphaned_ports<'a>(
        &self,
        groups: &'a [Value],
        servers: &[Value],
    ) -> Result<Vec<(Value, &'a Value)>, CloudError> {
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        let project = self.session.project().await?;
        let call = Call::get(Service::Network, "ports").query("project_id", project);
        let mut ports =
            self.session.list_all(&call, "ports").await.map_err(|error| error.when("listing ports"))?;
        let alive = |port: &Value| servers.iter().any(|server| text(server, "id") == text(port, "device_id"));
        ports.retain(|port| text(port, "device_owner").starts_with("compute:") && !alive(port));
        let grouped = ports.into_iter().filter_map(|port| {
            let group = group_of(&port, groups)?;
            Some((port, group))
        });
        Ok(grouped.collect())
    }

    /// Removes a port that [`Self::orphaned_ports`] has found.
    pub(super) async fn remove_port(&self, id: &str) -> Result<Removal, CloudError> {
        let groups = self.security_groups().await?;
        let found = self.session.call(&Call::get(Service::Network, format!("ports/{id}"))).await;
        let port = match found {
            Ok(answer) => answer.get("port").cloned().unwrap_or_default(),
            Err(error) if error.is(404) => return Ok(Removal::Gone),
            Err(error) => return Err(error.when(&format!("asking for port {id}"))),
        };
        if group_of(&port, &groups).is_none() {
            return Ok(Removal::Held(format!("port {id} is in none of this installation's security groups")));
        }
        self.delete_port(id).await?;
        Ok(Removal::Gone)
    }

    async fn delete_port(&self, id: &str) -> Result<(), CloudError> {
        match self.session.call(&Call::delete(Service::Network, format!("ports/{id}"))).await {
            Err(error) if !error.is(404) => Err(error.when(&format!("deleting port {id}"))),
            _ => Ok(()),
        }
    }
}

/// The group among these that a port is in.
fn group_of<'a>(port: &Value, groups: &'a [Value]) -> Option<&'a Value> {
    let has = |group: &&Value| list(port, "security_groups").iter().any(|id| id == text(group, "id"));
    groups.iter().find(has)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cloud::openstack::stage::{self, Stage};
    use crate::cloud::{Cloud as _, ResourceKind};

    /// Ports "ours" and "theirs"; a server that was ours is gone. Nova has no servers, Glance no images.
    async fn neutron(mut forgets_after: u32) -> Stage {
        let port = |id: &str, group: &str, owner: &str| json!({"id": id, "device_id": "s", "device_owner": owner, "security_groups": [group]});
        Stage::with(move |request| {
            let (method, target) = request.split_once(' ').unwrap();
            let ports = [
                port("ours", "g", "compute:nova"),
                port("somebodys", "other", "compute:nova"),
                port("router", "g", "network:router_interface"),
            ];
            match (method, target.split('?').next().unwrap()) {
                ("GET", "/v2.0/ports") if target.contains("device_id=s") => {
                    forgets_after = forgets_after.saturating_sub(1);
                    let left = if forgets_after == 0 { &[] } else { &ports[..1] };
                    stage::json(&json!({"ports": left}))
                }
                ("GET", "/v2.0/ports") => stage::json(&json!({"ports": ports})),
                ("GET", "/v2.0/ports/ours") => stage::json(&json!({"port": ports[0]})),
                ("GET", "/v2.0/ports/somebodys") => stage::json(&json!({"port": ports[1]})),
                ("GET", "/v2.0/security-groups") => stage::json(&json!({"security_groups": [
                    {"id": "g", "name": "image-manager-b", "description": "image-manager owner=me build=b"},
                    {"id": "other", "name": "image-manager-b", "description": "image-manager owner=you build=b"}]})),
                ("GET", "/servers/detail") => stage::json(&json!({"servers": []})),
                ("GET", "/volumes/detail") => stage::json(&json!({"volumes": []})),
                ("GET", "/os-keypairs") => stage::json(&json!({"keypairs": []})),
                ("GET", "/v2/images") => stage::json(&json!({"images": []})),
                ("GET", "/") => stage::json(&json!({})),
                ("DELETE", "/v2.0/ports/ours") => "HTTP/1.1 204 Gone\r\n\r\n".to_owned(),
                other => panic!("{other:?}"),
            }
        })
        .await
    }

    fn deletions(stage: &Stage) -> usize {
        stage.requests().iter().filter(|request| request.starts_with("DELETE")).count()
    }

    #[tokio::test]
    async fn a_servers_ports_are_waited_for() {
        let stage = neutron(3).await;
        stage.cloud().remove_ports_of("s").await.unwrap();
        assert_eq!(deletions(&stage), 2, "{:?}", stage.requests());
    }

    #[tokio::test]
    async fn only_ports_of_our_own_groups_are_swept() {
        let stage = neutron(0).await;
        let cloud = stage.cloud();
        let found = cloud.inventory().await.unwrap();
        let ports: Vec<_> = found.iter().filter(|resource| resource.kind == ResourceKind::Port).collect();
        let [port] = ports.as_slice() else { panic!("{found:?}") };
        assert_eq!((port.external_id.as_deref(), port.build_id.as_str()), (Some("ours"), "b"));
        assert_eq!(cloud.remove(port).await.unwrap(), Removal::Gone);
        assert!(matches!(cloud.remove_port("somebodys").await.unwrap(), Removal::Held(_)));
        assert_eq!(deletions(&stage), 1);
    }
}
