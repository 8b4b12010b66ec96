//! What is true of the cloud on this host before it is opened.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::firmware::MachineKind;
use super::needs::needs;
use super::{LocalCloud, LocalSettings};
use crate::cloud::{Cloud, CloudError, CloudKind, Foreign, Opening, ResourceKind, Trouble};
use crate::finding::Finding;
use crate::schedules::ServerSpec;

/// Its name in schedules: the cloud that needs no clouds.yaml.
pub(in crate::cloud) const NAME: &str = "local";

/// QEMU on this host.
pub(in crate::cloud) static KIND: CloudKind = CloudKind {
    word: NAME,
    on_this_host: true,
    sizes_servers: true,
    keeps_disks: true,
    firmware_in_image: false,
    no_secure_boot_on_arm: "there is no firmware with Microsoft's keys for 64-bit Arm here: write \"uefi\"",
    foreign: &[
        Foreign {
            table: "server",
            keys: &[
                "flavor",
                "network",
                "security_groups",
                "availability_zone",
                "config_drive",
                "boot_from_volume",
            ],
            help: "on `local` the server is described by `memory`, `disk` and `cpus`; for another cloud, name it with \
                   `cloud`",
        },
        Foreign {
            table: "server",
            keys: &["ssh_key"],
            help: "`local` has no key pairs: `ssh_authorized_keys` in `image` puts a public key into the image, and \
                   `user_data` in `server` gives one to this server alone",
        },
        Foreign {
            table: "publish",
            keys: &["visibility"],
            help: "an image of `local` is a file: the directory decides who may read it",
        },
    ],
    required: &[],
    unprovable: &[],
    covers,
    needs: needs_of,
    remark: || Some(remark()),
    configured: |_| None,
    open,
};

fn covers(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Image => "the image file and its record",
        ResourceKind::Server => {
            "QEMU and its network's processes, overlay disk, config drive, sockets, and what is written for --keep-disk"
        }
        ResourceKind::Scratch
        | ResourceKind::SecurityGroup
        | ResourceKind::KeyPair
        | ResourceKind::Volume
        | ResourceKind::Port => "nothing: the local cloud has none",
    }
}

fn needs_of(servers: &[&ServerSpec]) -> Vec<Finding> {
    let mut machines: BTreeSet<MachineKind> = servers.iter().map(|server| MachineKind::of(server)).collect();
    if machines.is_empty() {
        machines.insert(MachineKind::usual());
    }
    needs(&machines.into_iter().collect::<Vec<_>>())
}

/// What a boot takes here.
fn remark() -> String {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let hardware = flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm");
    if hardware && Path::new("/dev/kvm").exists() {
        "the local cloud boots with KVM".to_owned()
    } else {
        "no usable KVM: the local cloud emulates, and a boot takes a minute or two".to_owned()
    }
}

/// The state directory is the manager's: only it makes one, with the rights that it wants.
fn open(_name: &str, with: &Opening<'_>) -> Result<Arc<dyn Cloud>, CloudError> {
    if !with.state.is_dir() {
        let message = format!("there is no state directory {}", with.state.display());
        return Err(CloudError::new(Trouble::Configuration, message));
    }
    Ok(Arc::new(LocalCloud::new(LocalSettings::new(with.state, with.owner))?))
}
