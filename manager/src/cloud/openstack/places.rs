//! Where a server goes: flavors, networks, and whether there is room. Asked through the crate `openstack`,
//! whose typed lookups are sound here.

use std::fmt;

use serde_json::Value;
use tokio_stream::StreamExt as _;

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
        let question = |cloud: openstack::Cloud| async move { cloud.get_flavor(wanted).await };
        match self.session.ask(question).await {
            Ok(found) => Ok(Flavor {
                id: found.id().clone(),
                name: found.name().clone(),
                memory_mib: found.ram_size(),
                cpus: u64::from(found.vcpu_count()),
                disk_gib: found.root_size(),
            }),
            Err(error) if error.is(404) => {
                let there = self.flavor_names().await;
                let message =
                    format!("cloud {} has no flavor {wanted:?} for us; there are: {there}", self.name);
                Err(CloudError::new(Trouble::Configuration, message))
            }
            Err(error) => Err(error.when(&format!("looking for flavor {wanted:?}"))),
        }
    }

    /// For errors; one in asking is no second error.
    async fn flavor_names(&self) -> String {
        let question = |cloud: openstack::Cloud| async move {
            cloud.find_flavors().with_limit(NAMED).into_stream().collect::<Result<Vec<_>, _>>().await
        };
        let flavors = self.session.ask(question).await.unwrap_or_default();
        flavors.iter().map(|flavor| flavor.name().as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The network with this name or id.
    pub(super) async fn network(&self, wanted: Option<&str>) -> Result<Network, CloudError> {
        let Some(wanted) = wanted.filter(|name| *name != AUTO) else { return Ok(Network::Auto) };
        let question = |cloud: openstack::Cloud| async move { cloud.get_network(wanted).await };
        match self.session.ask(question).await {
            Ok(found) => Ok(Network::One {
                id: found.id().clone(),
                filters: found.port_security_enabled().unwrap_or(true),
            }),
            Err(error) if error.is(404) => {
                let there = self.network_names().await;
                let message =
                    format!("cloud {} has no network {wanted:?} for us; there are: {there}", self.name);
                Err(CloudError::new(Trouble::Configuration, message))
            }
            Err(error) => Err(error.when(&format!("looking for network {wanted:?}"))),
        }
    }

    async fn network_names(&self) -> String {
        let call =
            Call::get(Service::Network, "networks").query("fields", "name").query("limit", NAMED.to_string());
        let page = self.session.call(&call).await.unwrap_or_default();
        list(&page, "networks").iter().map(|network| text(network, "name")).collect::<Vec<_>>().join(", ")
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
