//! Cinder: the volume that a server boots from, where the schedule wants one.
//!
//! We make it and hand it to Nova, rather than have Nova make it of the image: one that Nova makes carries
//! neither our name nor our mark, and is lost to us when the server fails before it is attached. Nova takes it
//! away with the server (`delete_on_termination`); the ledger has it all the same, and it is looked for.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::OpenStackCloud;
use super::answers::{ApiError, text};
use super::by_name::{ids_named, remove_each};
use super::flavors_and_networks::Flavor;
use super::images::{BUILD, OWNER};
use super::servers::{ASK_AGAIN, GOING};
use super::services::Service;
use super::session::Call;
use crate::cloud::{CloudError, EntryId, Ledger, NewServer, Removal, Resource, ResourceKind, Trouble};

/// How long filling a volume with the image may take; the caller's boot timeout is mostly shorter.
const FILLING: Duration = Duration::from_mins(30);

impl OpenStackCloud {
    /// Makes a volume of the image and waits until it can be booted; returns its id.
    pub(super) async fn make_volume(
        &self,
        new: &NewServer,
        flavor: &Flavor,
        ledger: &dyn Ledger,
    ) -> Result<String, CloudError> {
        self.prove_volumes().await?;
        let size = new.image.virtual_size_bytes.div_ceil(1 << 30).max(flavor.disk_gib).max(1);
        let body = json!({"volume": {"name": new.name, "size": size, "imageRef": new.image.id,
            "availability_zone": new.spec.availability_zone,
            "metadata": {OWNER: self.owner, BUILD: new.build_id}}});
        let entry = ledger.intend(ResourceKind::Volume, &new.name).await?;
        let id = self.create_volume(&new.name, body, (ledger, entry)).await?;
        ledger.created(entry, &id).await?;
        self.wait_until_filled(&id).await?;
        Ok(id)
    }

    async fn create_volume(
        &self,
        name: &str,
        body: Value,
        row: (&dyn Ledger, EntryId),
    ) -> Result<String, CloudError> {
        let call = Call::post(Service::Volume, "volumes", body);
        self.make_once(&call, ("volume", name), || self.volumes_named(name), row).await
    }

    async fn wait_until_filled(&self, id: &str) -> Result<(), CloudError> {
        let deadline = Instant::now() + FILLING;
        loop {
            let volume = self.volume(id).await?.unwrap_or_default();
            let status = text(&volume, "status");
            let message = match status {
                "available" => return Ok(()),
                "creating" | "downloading" if Instant::now() < deadline => {
                    sleep(ASK_AGAIN).await;
                    continue;
                }
                "creating" | "downloading" => {
                    let message = format!("volume {id} is still {status} after {} s", FILLING.as_secs());
                    return Err(CloudError::new(Trouble::Timeout, message));
                }
                "" => format!("volume {id} disappeared while it was being filled"),
                _ => format!("the cloud could not make volume {id} from the image: it is {status}"),
            };
            return Err(CloudError::new(Trouble::Fault, message));
        }
    }

    async fn volume(&self, id: &str) -> Result<Option<Value>, CloudError> {
        match self.session.call(&Call::get(Service::Volume, format!("volumes/{id}"))).await {
            Ok(answer) => Ok(answer.get("volume").cloned()),
            Err(error) if error.is(404) => Ok(None),
            Err(error) => Err(error.when(&format!("asking for volume {id}"))),
        }
    }

    /// Ids of volumes of ours with a name.
    async fn volumes_named(&self, name: &str) -> Result<Vec<String>, CloudError> {
        Ok(ids_named(&self.volumes().await?, name))
    }

    /// Volumes of ours; none where the cloud has no block storage.
    pub(super) async fn volumes(&self) -> Result<Vec<Value>, CloudError> {
        let tried = "listing volumes";
        if !self.session.offers(Service::Volume).await.map_err(|error| error.when(tried))? {
            return Ok(Vec::new());
        }
        let call = Call::get(Service::Volume, "volumes/detail").query("limit", "1000");
        let mut volumes = self.session.list_all(&call, "volumes").await.map_err(|error| error.when(tried))?;
        volumes.retain(|volume| {
            volume.pointer(&format!("/metadata/{OWNER}")).and_then(Value::as_str) == Some(&self.owner)
        });
        Ok(volumes)
    }

    /// Removes the volume that a row of the ledger names, and waits until it is gone.
    pub(super) async fn remove_volume(&self, resource: &Resource) -> Result<Removal, CloudError> {
        let delete = |id: String| async move { self.delete_volume(&id).await };
        remove_each(resource, || self.volumes_named(&resource.name), delete).await
    }

    async fn delete_volume(&self, id: &str) -> Result<Removal, CloudError> {
        let deadline = Instant::now() + GOING;
        loop {
            let Some(volume) = self.volume(id).await? else { return Ok(Removal::Gone) };
            let status = text(&volume, "status").to_owned();
            if Instant::now() >= deadline {
                return Ok(Removal::Held(format!("volume {id} is {status} after {} s", GOING.as_secs())));
            }
            // Nova lets go of it, or takes it away, a moment after its server has gone.
            if !["deleting", "in-use", "detaching", "attaching", "reserved"].contains(&status.as_str()) {
                match self.session.call(&Call::delete(Service::Volume, format!("volumes/{id}"))).await {
                    Ok(_) => {}
                    Err(error) if error.is(400) || error.is(404) || error.is(409) => {}
                    Err(error) => return Err(error.when(&format!("deleting volume {id}"))),
                }
            }
            sleep(ASK_AGAIN).await;
        }
    }

    /// That the cloud has block storage at all.
    pub(super) async fn prove_volumes(&self) -> Result<(), CloudError> {
        let tried = "looking for the block storage service";
        if self.session.offers(Service::Volume).await.map_err(|error| error.when(tried))? {
            return Ok(());
        }
        let message = format!(
            "cloud {} has no block storage service (Cinder) in its catalog, which server.boot_from_volume needs: \
             remove that from the schedule",
            self.name
        );
        Err(CloudError::new(Trouble::Configuration, message))
    }

    /// That the quota has room for one volume more of so many GiB.
    pub(super) async fn prove_volume_room(&self, gib: u64) -> Result<(), CloudError> {
        let limits = match self.session.call(&Call::get(Service::Volume, "limits")).await {
            Ok(limits) => limits,
            Err(ApiError::Refused { status: 403 | 404, .. }) => return Ok(()),
            Err(error) => return Err(error.when("asking for the volume quota")),
        };
        volume_room(gib, &limits)
    }
}

fn volume_room(gib: u64, limits: &Value) -> Result<(), CloudError> {
    let number = |key: &str| limits.pointer(&format!("/limits/absolute/{key}")).and_then(Value::as_i64);
    for (what, most, used, needed) in [
        ("volumes", "maxTotalVolumes", "totalVolumesUsed", 1),
        ("GiB of volumes", "maxTotalVolumeGigabytes", "totalGigabytesUsed", gib),
    ] {
        let (Some(most), Some(used)) = (number(most), number(used)) else { continue };
        if most >= 0 && used.saturating_add(i64::try_from(needed).unwrap_or(i64::MAX)) > most {
            let message = format!(
                "the quota has no room for a volume: {used} of {most} {what} are in use, and {needed} more are needed"
            );
            return Err(CloudError::new(Trouble::NoRoom, message));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "volumes_tests.rs"]
mod tests;
