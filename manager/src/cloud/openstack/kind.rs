//! What is true of every OpenStack before it is opened.

use std::sync::Arc;

use super::OpenStackCloud;
use crate::cloud::{Cloud, CloudError, CloudKind, Foreign, Opening, Required, ResourceKind};
use crate::finding::Finding;

/// Any cloud of clouds.yaml.
pub(in crate::cloud) static KIND: CloudKind = CloudKind {
    word: "OpenStack",
    on_this_host: false,
    sizes_servers: false,
    keeps_disks: false,
    firmware_in_image: true,
    no_secure_boot_on_arm: "Nova has secure boot for x86-64 only: write \"uefi\"",
    foreign: &[Foreign {
        table: "server",
        keys: &["memory", "disk", "cpus"],
        help: "on OpenStack the flavor determines the server's size: `flavor = \"m1.small\"`",
    }],
    required: &[Required {
        table: "server",
        key: "flavor",
        help: "name a flavor of the cloud: `server = { flavor = \"m1.small\" }`",
    }],
    unprovable: &[
        "that security groups, firewalls and routes let servers reach the gateway's port",
        "that servers get an address, and answers from the metadata service when they have no config drive",
        "that the hypervisors can read the image's compression (zstd needs QEMU 5.1)",
        "that a host has room for the flavor: the quota says only what may be requested",
    ],
    covers,
    needs: |_| Vec::new(),
    remark: || None,
    configured: |name| Some(configured(name)),
    open,
};

fn covers(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Scratch => "nothing: no cloud has scratch directories",
        ResourceKind::Image => "the image with its data and properties",
        ResourceKind::Server => "the server with its disk, config drive, ports and addresses",
        ResourceKind::SecurityGroup => "the group with its rules",
        ResourceKind::KeyPair => "the key pair and its private key here",
        ResourceKind::Volume => "the volume with its data",
        ResourceKind::Port => "the port with its addresses",
    }
}

fn configured(name: &str) -> Finding {
    match OpenStackCloud::open(name, "") {
        Ok(cloud) => {
            let note = cloud.note().map(|note| format!("; {note}")).unwrap_or_default();
            Finding::good(format!("cloud {name} is configured{note}"))
        }
        Err(error) => {
            let mend =
                format!("describe it in clouds.yaml; then `image-manager doctor --cloud {name}` tries it");
            Finding::bad(format!("cloud {name}"), error.to_string(), mend)
        }
    }
}

fn open(name: &str, with: &Opening<'_>) -> Result<Arc<dyn Cloud>, CloudError> {
    Ok(Arc::new(OpenStackCloud::open(name, with.owner)?))
}
