//! Nova: asking for servers, watching them, removing them.

use std::time::Duration;

use base64::Engine as _;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::OpenStackCloud;
use super::answers::{ApiError, listed, text};
use super::by_name::{ids_named, remove_each};
use super::flavors_and_networks::{Flavor, Network};
use super::images::{BUILD, OWNER};
use super::services::{Microversion, Service};
use super::session::{Call, RequestTimeouts};
use crate::cloud::{
    CloudError, EntryId, Ledger, NewServer, Removal, Resource, ResourceKind, Server, ServerStatus, Shutdown,
    Trouble, incidents,
};
use crate::schedules::SshKey;

/// What Nova takes of user_data, encoded.
const LONGEST_USER_DATA: usize = 65_535;
/// How long a server may take to go. The caller gives a removal three minutes.
pub(super) const GOING: Duration = Duration::from_secs(150);
/// How long a server may take to stop; Nova ends it by force after a minute.
const STOPPING: Duration = Duration::from_mins(3);
/// Nova's `shutdown_timeout`, less what it takes to tell of a server's end: one that is off sooner went by itself.
const BY_FORCE: Duration = Duration::from_secs(55);
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(2);

impl OpenStackCloud {
    /// Asks for a server, with a security group and key pair of its own where the schedule wants that.
    pub(super) async fn boot_server(
        &self,
        new: &NewServer,
        ledger: &dyn Ledger,
    ) -> Result<Server, CloudError> {
        let user_data = encoded_user_data(new.spec.user_data.as_deref())?;
        let flavor = self.flavor(new.spec.flavor.as_deref()).await?;
        let network = self.network(new.spec.network.as_deref()).await?;
        let groups = if network.filters() && new.spec.security_groups.is_empty() {
            vec![self.make_security_group(&new.name, &new.build_id, ledger).await?]
        } else {
            new.spec.security_groups.clone()
        };
        let key = match &new.spec.ssh_key {
            None => None,
            Some(SshKey::Named(name)) => Some(name.clone()),
            Some(SshKey::Made) => Some(self.make_key_pair(new, None, ledger).await?),
            Some(SshKey::Public(key)) => Some(self.make_key_pair(new, Some(key), ledger).await?),
        };
        let volume = if new.spec.boot_from_volume {
            Some(self.make_volume(new, &flavor, ledger).await?)
        } else {
            None
        };
        let version =
            self.session.microversion().await.map_err(|error| error.when("asking for Nova's version"))?;
        let further = ServerParts {
            networks: network.request(version),
            groups: &groups,
            key: key.as_deref(),
            user_data: user_data.as_deref(),
            volume: volume.as_deref(),
        };
        let body = request(new, &flavor, further);
        let entry = ledger.intend(ResourceKind::Server, &new.name).await?;
        let id = self.create(new, body, (ledger, entry)).await?;
        ledger.created(entry, &id).await?;
        Ok(Server {
            id,
            name: new.name.clone(),
            flavor: flavor.to_string(),
            console_log: new.console_log.clone(),
        })
    }

    async fn create(
        &self,
        new: &NewServer,
        body: Value,
        row: (&dyn Ledger, EntryId),
    ) -> Result<String, CloudError> {
        let call = Call::post(Service::Compute, "servers", body);
        self.make_once(&call, ("server", &new.name), || self.servers_named(&new.name), row).await
    }

    /// Ids of servers of ours with a name.
    async fn servers_named(&self, name: &str) -> Result<Vec<String>, CloudError> {
        Ok(ids_named(&self.servers_like(name).await?, name))
    }

    /// Servers of ours whose names begin like this.
    pub(super) async fn servers_like(&self, name: &str) -> Result<Vec<Value>, CloudError> {
        // Nova takes the name for a regular expression; ours have nothing special in them.
        let call = Call::get(Service::Compute, "servers/detail")
            .query("name", format!("^{name}"))
            .query("limit", "1000");
        let mut servers =
            self.session.list_all(&call, "servers").await.map_err(|error| error.when("listing servers"))?;
        servers.retain(|server| {
            server.pointer(&format!("/metadata/{OWNER}")).and_then(Value::as_str) == Some(&self.owner)
        });
        Ok(servers)
    }

    /// A server of our project that was made from an image, for people. Of other projects' servers Nova tells us nothing.
    pub(super) async fn server_of_image(&self, image: &str) -> Result<Option<String>, CloudError> {
        let tried = || format!("asking for servers of image {image}");
        let call = Call::get(Service::Compute, "servers").query("image", image).query("limit", "1");
        let answer = self.session.call(&call).await.map_err(|error| error.when(&tried()))?;
        let servers = listed(&answer, "servers").map_err(|error| error.when(&tried()))?;
        Ok(servers.first().map(|server| format!("{} ({})", text(server, "name"), text(server, "id"))))
    }

    /// What Nova says about a server now.
    pub(super) async fn ask_status(
        &self,
        id: &str,
        timeouts: RequestTimeouts,
    ) -> Result<ServerStatus, CloudError> {
        let call = Call::get(Service::Compute, format!("servers/{id}")).timeouts(timeouts);
        match self.session.call(&call).await {
            Ok(answer) => Ok(status_of(answer.get("server").unwrap_or(&Value::Null))),
            Err(error) if error.is(404) => Ok(ServerStatus::Missing),
            Err(error) => Err(error.when(&format!("asking for server {id}"))),
        }
    }

    /// Shuts a server down; Nova does it by force when the guest does not.
    pub(super) async fn stop_server(&self, id: &str) -> Result<Shutdown, CloudError> {
        if let ServerStatus::Stopped(why) = self.ask_status(id, RequestTimeouts::LONG).await? {
            let how = format!("it was off before the button was pressed: {why}");
            return Ok(Shutdown::Otherwise { how, by_guest: true });
        }
        let began = Instant::now();
        let tried = format!("stopping server {id}");
        let call = Call::post(Service::Compute, format!("servers/{id}/action"), json!({"os-stop": null}));
        match self.session.call(&call.repeatable()).await {
            // 409: it is stopped, or about to be.
            Err(error) if !error.is(409) => return Err(error.when(&tried)),
            _ => {}
        }
        let deadline = Instant::now() + STOPPING;
        loop {
            match self.ask_status(id, RequestTimeouts::LONG).await? {
                ServerStatus::Stopped(_) if began.elapsed() < BY_FORCE => {
                    return Ok(Shutdown::InOrder);
                }
                ServerStatus::Stopped(_) | ServerStatus::Missing => return Ok(Shutdown::Unknown),
                ServerStatus::Error(why) => {
                    return Err(CloudError::new(Trouble::Fault, format!("{tried}: {why}")));
                }
                _ if Instant::now() >= deadline => {
                    let message = format!("{tried}: it is still running after {} s", STOPPING.as_secs());
                    return Err(CloudError::new(Trouble::Timeout, message));
                }
                _ => sleep(ASK_AGAIN).await,
            }
        }
    }

    /// Removes the server that a row of the ledger names, and waits until it and its ports are gone.
    pub(super) async fn remove_server(&self, resource: &Resource) -> Result<Removal, CloudError> {
        let delete = |id: String| async move { self.delete_server(&id).await };
        remove_each(resource, || self.servers_named(&resource.name), delete).await
    }

    async fn delete_server(&self, id: &str) -> Result<Removal, CloudError> {
        let tried = format!("deleting server {id}");
        let deadline = Instant::now() + GOING;
        match self.session.call(&Call::delete(Service::Compute, format!("servers/{id}"))).await {
            Ok(_) => {}
            Err(error) if error.is(404) => {}
            Err(ApiError::Refused { status: 409, message, .. }) => {
                return Ok(Removal::Held(format!("server {id}: {message}")));
            }
            Err(error) => return Err(error.when(&tried)),
        }
        loop {
            match self.look_at_going(id).await? {
                DeletionState::Gone => break,
                DeletionState::OnItsWay => {}
                DeletionState::Forgotten => self.delete_again(id).await?,
            }
            if Instant::now() >= deadline {
                let message = format!("{tried}: not gone after {} s", GOING.as_secs());
                return Err(CloudError::new(Trouble::Timeout, message));
            }
            sleep(ASK_AGAIN).await;
        }
        self.forget_server(id);
        self.remove_ports_of(id).await?;
        Ok(Removal::Gone)
    }

    /// How far a server is that was told to go. Nova still has one that is DELETED, for as long as it takes on a
    /// busy host, and keeps one that is SOFT_DELETED for its owner to change their mind.
    async fn look_at_going(&self, id: &str) -> Result<DeletionState, CloudError> {
        let answer = match self.session.call(&Call::get(Service::Compute, format!("servers/{id}"))).await {
            Ok(answer) => answer,
            Err(error) if error.is(404) => return Ok(DeletionState::Gone),
            Err(error) => return Err(error.when(&format!("asking for server {id}"))),
        };
        let status = answer.pointer("/server/status").and_then(Value::as_str);
        match (status, answer.pointer("/server/OS-EXT-STS:task_state")) {
            (Some("SOFT_DELETED"), _) => {
                let body = json!({"forceDelete": null});
                let call = Call::post(Service::Compute, format!("servers/{id}/action"), body).repeatable();
                self.take_as_going(&call, &format!("deleting server {id}, which Nova keeps for a while"))
                    .await?;
                Ok(DeletionState::OnItsWay)
            }
            (Some("DELETED"), _) | (_, None) => Ok(DeletionState::OnItsWay),
            // Nova accepts a deletion before it does it, and takes its task back when it cannot: when the token
            // has been revoked meanwhile, say, with which it asks Neutron.
            (_, Some(Value::Null)) => Ok(DeletionState::Forgotten),
            (_, Some(_)) => Ok(DeletionState::OnItsWay),
        }
    }

    async fn delete_again(&self, id: &str) -> Result<(), CloudError> {
        incidents::note(&format!("server {id}: Nova gave up deleting it; asked again"));
        let call = Call::delete(Service::Compute, format!("servers/{id}"));
        self.take_as_going(&call, &format!("deleting server {id} again")).await
    }

    /// Asks that a server goes that was told to go before: it may be about to, or gone.
    async fn take_as_going(&self, call: &Call, tried: &str) -> Result<(), CloudError> {
        match self.session.call(call).await {
            Ok(_) => Ok(()),
            Err(error) if error.is(404) || error.is(409) => Ok(()),
            Err(error) => Err(error.when(tried)),
        }
    }
}

/// How far a server is that was told to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DeletionState {
    /// Nova does not know it any more.
    Gone,
    OnItsWay,
    /// It is there, and nobody deletes it.
    Forgotten,
}

/// What was made or found for a server's sake.
#[derive(Debug, Default)]
struct ServerParts<'a> {
    networks: Option<Value>,
    groups: &'a [String],
    key: Option<&'a str>,
    user_data: Option<&'a str>,
    volume: Option<&'a str>,
}

/// The body of the request for a server.
fn request(new: &NewServer, flavor: &Flavor, further: ServerParts<'_>) -> Value {
    let ServerParts { networks, groups, key, user_data, volume } = further;
    let groups: Vec<_> = groups.iter().map(|group| json!({"name": group})).collect();
    let always = [
        ("name", json!(new.name)),
        ("flavorRef", json!(flavor.id)),
        ("metadata", json!(new.metadata)),
        ("config_drive", json!(new.spec.config_drive)),
    ];
    let disks = volume.map(|id| {
        json!([{"boot_index": 0, "uuid": id, "source_type": "volume", "destination_type": "volume",
            "delete_on_termination": true}])
    });
    let optional = [
        ("imageRef", volume.is_none().then(|| json!(new.image.id))),
        ("block_device_mapping_v2", disks),
        ("networks", networks),
        ("security_groups", (!groups.is_empty()).then(|| json!(groups))),
        ("key_name", key.map(|key| json!(key))),
        ("user_data", user_data.map(|data| json!(data))),
        ("availability_zone", new.spec.availability_zone.as_ref().map(|zone| json!(zone))),
    ];
    let optional = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let server: Map<_, _> =
        always.into_iter().chain(optional).map(|(name, value)| (name.to_owned(), value)).collect();
    json!({"server": server})
}

/// user_data as Nova takes it.
pub(super) fn encoded_user_data(user_data: Option<&str>) -> Result<Option<String>, CloudError> {
    let Some(user_data) = user_data else { return Ok(None) };
    let encoded = base64::engine::general_purpose::STANDARD.encode(user_data);
    if encoded.len() <= LONGEST_USER_DATA {
        return Ok(Some(encoded));
    }
    let message = format!(
        "server.user_data has {} bytes once encoded, but Nova accepts {LONGEST_USER_DATA}: fetch the rest from the \
         server",
        encoded.len()
    );
    Err(CloudError::new(Trouble::Configuration, message))
}

/// A server's status in our words.
fn status_of(server: &Value) -> ServerStatus {
    match text(server, "status") {
        "BUILD" | "" => ServerStatus::Building,
        "ERROR" => ServerStatus::Error(fault_of(server)),
        "DELETED" | "SOFT_DELETED" => ServerStatus::Missing,
        "SHUTOFF" => ServerStatus::Stopped("Nova reports that it is shut off".to_owned()),
        // None of these a guest can do to its server.
        word @ ("PAUSED" | "SUSPENDED" | "SHELVED" | "SHELVED_OFFLOADED") => {
            ServerStatus::Error(format!("somebody has {} it", word.to_lowercase().replace('_', " and ")))
        }
        // ACTIVE, and what is done to a server that runs: REBOOT, MIGRATING, PASSWORD, UNKNOWN, ...
        _ => ServerStatus::Active,
    }
}

fn fault_of(server: &Value) -> String {
    let fault = server.get("fault").unwrap_or(&Value::Null);
    let words = [text(fault, "message"), text(fault, "details")];
    let code =
        fault.get("code").and_then(Value::as_u64).map(|code| format!(" (code {code})")).unwrap_or_default();
    match words {
        ["", _] => format!("Nova gives no reason{code}"),
        [message, ""] => format!("{message}{code}"),
        [message, details] => format!("{message}{code}: {details}"),
    }
}

/// The build in a server's metadata, which the caller gives: of the image that it booted.
pub(super) fn build_of(server: &Value) -> &str {
    server.pointer(&format!("/metadata/{BUILD}")).and_then(Value::as_str).unwrap_or_default()
}

impl Network {
    /// What the request says about networks.
    fn request(&self, version: Option<Microversion>) -> Option<Value> {
        match self {
            Self::One { id, .. } => Some(json!([{"uuid": id}])),
            // Before "auto" was known, Nova chose by itself when nothing was said.
            Self::Auto => {
                version.filter(|version| *version >= Microversion::AUTO_NETWORK).map(|_| json!("auto"))
            }
        }
    }
}

#[cfg(test)]
#[path = "servers_tests.rs"]
mod tests;
