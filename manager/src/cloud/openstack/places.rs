//! Where a server goes: flavors, networks, and whether there is room. Asked in JSON at the catalog's addresses: the
//! lookups of the crate `openstack` go, with the token, wherever a version document's links point.

use std::fmt;

use serde_json::Value;

use super::OpenStackCloud;
use super::answers::{ApiError, list, text};
use super::servers::encoded_user_data;
use super::services::Service;
use super::session::Call;
use crate::cloud::{CloudError, Trouble};
use crate::schedules::ServerSpec;

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
        write!(f, "{name} ({memory_mib} MiB memory, {cpus} CPUs, {disk_gib} GiB disk)")
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
    /// The flavor with this name or id.
    pub(super) async fn flavor(&self, wanted: Option<&str>) -> Result<Flavor, CloudError> {
        let Some(wanted) = wanted else {
            let message = format!(
                "cloud {}: the schedule names no server.flavor; there are: {}",
                self.name,
                self.flavor_names().await
            );
            return Err(CloudError::new(Trouble::Configuration, message));
        };
        let tried = format!("looking for flavor {wanted:?}");
        let call = Call::get(Service::Compute, "flavors");
        let flavors = self.session.list_all(&call, "flavors").await.map_err(|error| error.when(&tried))?;
        let Some(found) = self.one_of("flavor", wanted, &flavors)? else {
            let there = names(&flavors);
            let message = format!("cloud {} has no flavor {wanted:?} for us; there are: {there}", self.name);
            return Err(CloudError::new(Trouble::Configuration, message));
        };
        // By its id alone: its extra specs, which many clouds keep from their users, are not needed.
        let call = Call::get(Service::Compute, format!("flavors/{}", text(found, "id")));
        let answer = self.session.call(&call).await.map_err(|error| error.when(&tried))?;
        flavor_of(answer.get("flavor").unwrap_or(&Value::Null)).ok_or_else(|| {
            let message = format!("{tried}: the answer has no flavor with id, ram, vcpus and disk");
            CloudError::new(Trouble::Configuration, message)
        })
    }

    /// The only entry with this id, or else with this name. Which of several is meant is the user's to say.
    fn one_of<'a>(
        &self,
        kind: &str,
        wanted: &str,
        all: &'a [Value],
    ) -> Result<Option<&'a Value>, CloudError> {
        if let Some(found) = all.iter().find(|one| text(one, "id") == wanted) {
            return Ok(Some(found));
        }
        match all.iter().filter(|one| text(one, "name") == wanted).collect::<Vec<_>>().as_slice() {
            [] => Ok(None),
            [found] => Ok(Some(found)),
            several => Err(self.ambiguous(kind, wanted, several)),
        }
    }

    /// The error for a name that several things have.
    pub(super) fn ambiguous(&self, kind: &str, wanted: &str, several: &[&Value]) -> CloudError {
        let ids: Vec<_> = several.iter().take(NAMED).map(|one| text(one, "id")).collect();
        let message = format!(
            "cloud {} has {} {kind}s named {wanted:?}, with the ids {}: put the id of the right one in the schedule",
            self.name,
            several.len(),
            ids.join(", ")
        );
        CloudError::new(Trouble::Configuration, message)
    }

    /// For errors; one in asking is no second error.
    async fn flavor_names(&self) -> String {
        let call = Call::get(Service::Compute, "flavors").query("limit", NAMED.to_string());
        names(list(&self.session.call(&call).await.unwrap_or_default(), "flavors"))
    }

    /// The network with this name or id.
    pub(super) async fn network(&self, wanted: Option<&str>) -> Result<Network, CloudError> {
        let Some(wanted) = wanted.filter(|name| *name != AUTO) else { return Ok(Network::Auto) };
        let tried = format!("looking for network {wanted:?}");
        for key in ["id", "name"] {
            let call = Call::get(Service::Network, "networks").query(key, wanted);
            let networks = self.session.list_all(&call, "networks").await;
            let networks = networks.map_err(|error| error.when(&tried))?;
            if let Some(found) = self.one_of("network", wanted, &networks)? {
                let filters = found.get("port_security_enabled").and_then(Value::as_bool).unwrap_or(true);
                return Ok(Network::One { id: text(found, "id").to_owned(), filters });
            }
        }
        let there = self.network_names().await;
        let message = format!("cloud {} has no network {wanted:?} for us; there are: {there}", self.name);
        Err(CloudError::new(Trouble::Configuration, message))
    }

    async fn network_names(&self) -> String {
        let call =
            Call::get(Service::Network, "networks").query("fields", "name").query("limit", NAMED.to_string());
        let page = self.session.call(&call).await.unwrap_or_default();
        names(list(&page, "networks"))
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

fn names(all: &[Value]) -> String {
    all.iter().take(NAMED).map(|one| text(one, "name")).collect::<Vec<_>>().join(", ")
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
                "the quota has no room for a server: {used} of {most} {what} are in use, {needed} more are needed"
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
