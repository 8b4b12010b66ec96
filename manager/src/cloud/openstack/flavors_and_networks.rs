//! Where a server goes: flavors, networks, and whether there is room. Flavors and networks are looked up by the crate
//! `openstack` (see `lookups`), a flavor's sizes in JSON: the crate would ask for its extra specs too, which many
//! clouds keep from their users.

use std::borrow::Borrow;
use std::fmt;

use openstack::compute::FlavorSummary;
use osauth::ErrorKind;
use serde_json::Value;

use super::OpenStackCloud;
use super::answers::{ApiError, listed, text};
use super::lookups::whole;
use super::servers::encoded_user_data;
use super::services::Service;
use super::session::Call;
use crate::cloud::{CloudError, Trouble};
use crate::schedules::{ServerSpec, SshKey};

/// The word for a network that Nova chooses.
const AUTO: &str = "auto";
/// Flavors and networks that an error names.
const NAMED: usize = 20;

/// A size of servers.
#[derive(Debug, Clone)]
pub(super) struct Flavor {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) memory_mib: u64,
    pub(super) cpus: u64,
    /// 0: as large as the image.
    pub(super) disk_gib: u64,
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, memory_mib, cpus, disk_gib, .. } = self;
        let cpus = image_manager_proto::counted(*cpus, "CPU");
        write!(f, "{name} ({memory_mib} MiB memory, {cpus}, {disk_gib} GiB disk)")
    }
}

/// Where a server is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Network {
    /// Nova chooses: the project's only one, or one that it makes.
    Auto,
    /// This one; without port security its ports take no security groups.
    One { id: String, filters: bool },
}

impl Network {
    /// Whether servers there have security groups.
    pub(super) fn filters(&self) -> bool {
        matches!(self, Self::Auto | Self::One { filters: true, .. })
    }
}

impl OpenStackCloud {
    /// The flavor with this id, or else the only one with this name.
    pub(super) async fn flavor(&self, wanted: Option<&str>) -> Result<Flavor, CloudError> {
        let Some(wanted) = wanted else {
            let flavors = self.flavors().await;
            let there = there(flavors.as_deref().map(|all| names(all.iter().map(|one| one.name().as_str()))));
            let message = format!("cloud {}: the schedule names no server.flavor; {there}", self.name);
            return Err(CloudError::new(Trouble::Configuration, message));
        };
        let tried = format!("looking for flavor {wanted:?}");
        let flavors = self.flavors().await.map_err(|error| error.when(&tried))?;
        let listed = self.listed_flavor(wanted, &flavors)?;
        // A flavor that is not on the list may be there for those who know its id.
        let id = match listed {
            Some(id) => Some(id),
            None => Some(wanted).filter(|id| may_be_id(id)),
        };
        if let Some(id) = id {
            let call = Call::get(Service::Compute, format!("flavors/{id}"));
            match self.session.call(&call).await {
                Ok(answer) => {
                    return flavor_of(answer.get("flavor").unwrap_or(&Value::Null)).ok_or_else(|| {
                        let message =
                            format!("{tried}: the answer has no flavor with id, ram, vcpus and disk");
                        CloudError::new(Trouble::Configuration, message)
                    });
                }
                Err(ApiError::Refused { status: 400 | 404, .. }) if listed.is_none() => {}
                Err(error) => return Err(error.when(&tried)),
            }
        }
        let there = there(Ok::<_, &ApiError>(names(flavors.iter().map(|one| one.name().as_str()))));
        let message = format!("cloud {} has no flavor {wanted:?} for this project; {there}", self.name);
        Err(CloudError::new(Trouble::Configuration, message))
    }

    /// The id of the flavor that is meant. Which of several with one name, is the user's to say.
    fn listed_flavor<'a>(
        &self,
        wanted: &str,
        flavors: &'a [FlavorSummary],
    ) -> Result<Option<&'a str>, CloudError> {
        if let Some(found) = flavors.iter().find(|one| one.id() == wanted) {
            return Ok(Some(found.id()));
        }
        let named = flavors.iter().filter(|one| one.name() == wanted).map(|one| one.id().as_str());
        match named.collect::<Vec<_>>().as_slice() {
            [] => Ok(None),
            [id] => Ok(Some(id)),
            several => Err(self.ambiguous("flavor", wanted, several)),
        }
    }

    async fn flavors(&self) -> Result<Vec<FlavorSummary>, ApiError> {
        let question = |cloud: openstack::Cloud| whole(cloud.find_flavors().into_stream(), |one| one.id());
        self.session.ask(Service::Compute, question).await
    }

    /// The error for a name that several things have.
    pub(super) fn ambiguous(&self, kind: &str, wanted: &str, ids: &[&str]) -> CloudError {
        let message = format!(
            "cloud {} has {} {kind}s named {wanted:?}, with the ids {}: put the id of the right one in the schedule",
            self.name,
            ids.len(),
            names(ids.iter().copied())
        );
        CloudError::new(Trouble::Configuration, message)
    }

    /// The network with this id, or else the only one with this name.
    pub(super) async fn network(&self, wanted: Option<&str>) -> Result<Network, CloudError> {
        let Some(wanted) = wanted.filter(|name| *name != AUTO) else { return Ok(Network::Auto) };
        let question = |cloud: openstack::Cloud| async move {
            match cloud.get_network(wanted).await {
                Err(error) if error.kind() == ErrorKind::TooManyItems => {
                    let named = cloud.find_networks().with_name(wanted).into_stream();
                    Ok(Err(whole(named, |one| one.id()).await?))
                }
                found => found.map(Ok),
            }
        };
        match self.session.ask(Service::Network, question).await {
            Ok(Ok(found)) => Ok(Network::One {
                id: found.id().clone(),
                filters: found.port_security_enabled().unwrap_or(true),
            }),
            Ok(Err(several)) => {
                let ids: Vec<_> = several.iter().map(|one| one.id().as_str()).collect();
                Err(self.ambiguous("network", wanted, &ids))
            }
            Err(error) if error.is(404) => {
                let there = there(self.network_names().await);
                let message =
                    format!("cloud {} has no network {wanted:?} for this project; {there}", self.name);
                Err(CloudError::new(Trouble::Configuration, message))
            }
            Err(error) => Err(error.when(&format!("looking for network {wanted:?}"))),
        }
    }

    async fn network_names(&self) -> Result<String, ApiError> {
        let call =
            Call::get(Service::Network, "networks").query("fields", "name").query("limit", NAMED.to_string());
        let page = self.session.call(&call).await?;
        Ok(names(listed(&page, "networks")?.iter().map(|one| text(one, "name"))))
    }

    /// Everything that can be proved before a build starts, without making anything.
    pub(super) async fn prove(&self, server: &ServerSpec) -> Result<(), CloudError> {
        self.session.project().await?;
        encoded_user_data(server.user_data.as_deref())?;
        let flavor = self.flavor(server.flavor.as_deref()).await?;
        self.network(server.network.as_deref()).await?;
        for group in &server.security_groups {
            self.prove_security_group(group).await?;
        }
        if let Some(SshKey::Named(name)) = &server.ssh_key {
            self.prove_key_pair(name).await?;
        }
        self.prove_images().await?;
        if server.boot_from_volume {
            self.prove_volumes().await?;
            self.prove_volume_room(flavor.disk_gib.max(1)).await?;
        }
        self.prove_room(&flavor).await
    }

    /// That the image service is there and lets us in.
    pub(super) async fn prove_images(&self) -> Result<(), CloudError> {
        let call = Call::get(Service::Image, "images").query("limit", "1");
        self.session.call(&call).await.map(drop).map_err(|error| error.when("listing images"))
    }

    /// That the quota has room for one server of this flavor.
    pub(super) async fn prove_room(&self, flavor: &Flavor) -> Result<(), CloudError> {
        let limits = match self.session.call(&Call::get(Service::Compute, "limits")).await {
            Ok(limits) => limits,
            // Not everybody is told; Nova says it when the server is asked for.
            Err(ApiError::Refused { status: 403 | 404, .. }) => return Ok(()),
            Err(error) => return Err(error.when("asking for the quota")),
        };
        room_for(flavor, &limits)
    }
}

fn names<'a>(all: impl Iterator<Item = &'a str>) -> String {
    all.take(NAMED).collect::<Vec<_>>().join(", ")
}

/// What there is instead of what was looked for, for an error; one in asking is no second error.
fn there<E: Borrow<ApiError>>(names: Result<String, E>) -> String {
    match names {
        Ok(names) if names.is_empty() => "there are none".to_owned(),
        Ok(names) => format!("there are: {names}"),
        Err(error) => format!("the available ones cannot be listed: {}", error.borrow().briefly()),
    }
}

/// Whether Nova takes this as a flavor's id; with anything else the path would be another.
fn may_be_id(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_ .".contains(c);
    text.chars().all(allowed) && !text.trim_matches('.').is_empty()
}

fn flavor_of(flavor: &Value) -> Option<Flavor> {
    let number = |key: &str| flavor.get(key).and_then(Value::as_u64);
    Some(Flavor {
        id: flavor.get("id")?.as_str()?.to_owned(),
        name: flavor.get("name")?.as_str()?.to_owned(),
        memory_mib: number("ram")?,
        cpus: number("vcpus")?,
        disk_gib: number("disk")?,
    })
}

fn room_for(flavor: &Flavor, limits: &Value) -> Result<(), CloudError> {
    let number = |key: &str| limits.pointer(&format!("/limits/absolute/{key}")).and_then(Value::as_i64);
    for (what, most, used, needed) in [
        ("instances", "maxTotalInstances", "totalInstancesUsed", 1),
        ("cores", "maxTotalCores", "totalCoresUsed", flavor.cpus),
        ("MiB of memory", "maxTotalRAMSize", "totalRAMUsed", flavor.memory_mib),
    ] {
        let (Some(most), Some(used)) = (number(most), number(used)) else { continue };
        let needed = i64::try_from(needed).unwrap_or(i64::MAX);
        // A negative limit is none.
        if most >= 0 && used.saturating_add(needed) > most {
            let message = format!(
                "the quota has no room for a server: {used} of {most} {what} are in use, and {needed} more are needed"
            );
            return Err(CloudError::new(Trouble::NoRoom, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quotas_are_read() {
        let flavor = Flavor { id: "f".into(), name: "f".into(), memory_mib: 512, cpus: 2, disk_gib: 1 };
        let limits = |instances: i64, ram: i64| {
            json!({"limits": {"absolute": {"maxTotalInstances": instances, "totalInstancesUsed": 1,
                "maxTotalCores": -1, "totalCoresUsed": 90, "maxTotalRAMSize": ram, "totalRAMUsed": 512}}})
        };
        assert!(room_for(&flavor, &limits(2, 1024)).is_ok());
        assert!(room_for(&flavor, &limits(2, -1)).is_ok());
        assert!(room_for(&flavor, &json!({})).is_ok());
        for (limits, what) in [(limits(1, 1024), "instances"), (limits(2, 1023), "memory")] {
            let error = room_for(&flavor, &limits).unwrap_err();
            assert_eq!(error.trouble, Trouble::NoRoom);
            assert!(error.message.contains(what), "{error}");
        }
    }
}
