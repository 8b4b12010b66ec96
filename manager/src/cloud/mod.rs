//! Where images are kept and servers run.
//!
//! [`Cloud`] is what a build needs of a cloud; [`local`] is the embedded one (QEMU on this host), [`openstack`]
//! any of clouds.yaml; [`CloudKind`] is what is true of all clouds of a kind, and opens them. A cloud knows nothing of builds and their stages: it is handed names, files and metadata. Whatever it makes it
//! first writes down through [`Ledger`], so that it is found and removed even when the answer is lost.
//!
//! A new kind of cloud is a directory here with a type that is a [`Cloud`] and a `KIND` that describes it, and
//! is named twice in `kind`: in `CloudKind::ALL` and `CloudKind::of`. A new kind of thing that a cloud makes is
//! a [`ResourceKind`].

mod console;
mod disk_file;
mod error;
mod guest_agent;
pub mod incidents;
mod keeping;
mod kind;
pub mod local;
pub mod openstack;
mod proof;
mod publication;
mod resource;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;

pub(crate) use self::console::CUT;
pub use self::console::Console;
pub use self::error::{CloudError, Trouble};
pub use self::guest_agent::GuestAgent;
pub use self::keeping::Older;
pub use self::kind::{CloudKind, Foreign, Open, Opening, Required};
pub use self::proof::Proof;
pub use self::publication::{HandedOver, Handing, Held, NamedImage, Pruned, Publication, Published};
pub use self::resource::ResourceKind;

use crate::schedules::{Arch, Firmware, Format, Publish, ServerSpec};

/// What [`Cloud::save_disk`] may take: all of the disk is written anew.
pub const SAVE_DISK: Duration = Duration::from_mins(15);

/// A row of the ledger, as a cloud needs it in order to remove what the row names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// What it is.
    pub kind: ResourceKind,
    /// The name that it was asked for by; carries the build's id.
    pub name: String,
    /// The cloud's id of it, when the answer was seen.
    pub external_id: Option<String>,
    /// The build it belongs to.
    pub build_id: String,
}

/// Handle of a ledger row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EntryId(pub i64);

/// The write-ahead ledger as a cloud sees it. An error means that the row is not committed: make nothing.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Commits that something is about to be asked for, before the request leaves.
    async fn intend(&self, kind: ResourceKind, name: &str) -> Result<EntryId, CloudError>;
    /// Commits the id under which it now exists.
    async fn created(&self, entry: EntryId, external_id: &str) -> Result<(), CloudError>;
    /// Commits that nothing came of the request, and nothing will.
    async fn refused(&self, entry: EntryId) -> Result<(), CloudError>;
}

/// An image file to be brought into the cloud.
#[derive(Debug, Clone)]
pub struct NewImage {
    /// The build it belongs to.
    pub build_id: String,
    /// Its name until it is published: `image-manager-<build id>`.
    pub name: String,
    /// The file; it stays as it is.
    pub file: PathBuf,
    /// The kind of file that it is.
    pub format: Format,
    /// The processors that it is for.
    pub arch: Arch,
    /// The firmware that it is tested with, and that its servers are to have; `None`: the cloud's usual one.
    pub firmware: Option<Firmware>,
    /// Properties (`image_manager_owner`, `image_manager_build`, `os_distro`, ...).
    pub properties: BTreeMap<String, String>,
}

/// An image in the cloud.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The cloud's id of it.
    pub id: String,
    /// Its name in the cloud.
    pub name: String,
    /// SHA-512 of the file, lower-case hexadecimal.
    pub sha512: String,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// Bytes of the disk that a server sees.
    pub virtual_size_bytes: u64,
}

/// A server to be booted.
#[derive(Clone)]
pub struct NewServer {
    /// The build it belongs to.
    pub build_id: String,
    /// Its name: `image-manager-<build id>`.
    pub name: String,
    /// What it boots.
    pub image: Image,
    /// Memory, disk, flavor and so on.
    pub spec: ServerSpec,
    /// Instance metadata: the contract's `image_manager_*` keys. Holds the agent's token.
    pub metadata: BTreeMap<String, String>,
    /// Where the serial console goes as far as the cloud has it live (see [`Cloud::save_console`]).
    pub console_log: PathBuf,
    /// Where the private half of an ephemeral key pair goes. Whoever removes the key pair removes it first.
    pub private_key: PathBuf,
}

impl fmt::Debug for NewServer {
    /// Leaves out the metadata, which holds a token, and user_data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewServer")
            .field("name", &self.name)
            .field("image", &self.image)
            .finish_non_exhaustive()
    }
}

/// A server that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The cloud's id of it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Flavor for people: its name, or memory, CPUs and disk.
    pub flavor: String,
    /// Where the serial console goes.
    pub console_log: PathBuf,
}

/// What a server does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerStatus {
    /// Not running yet.
    Building,
    /// Runs.
    Active,
    /// Has stopped by itself or because we asked; the text says what is known (exit code, guest panic).
    Stopped(String),
    /// The cloud could not run it; the text is the cloud's fault message.
    Error(String),
    /// There is no such server.
    Missing,
}

/// How a server that was told to stop has stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shutdown {
    /// By itself, as the power button asks.
    InOrder,
    /// In another way, and not by force.
    Otherwise {
        /// How, for people.
        how: String,
        /// The guest brought it about, not the host.
        by_guest: bool,
    },
    /// By force, after a grace period.
    Forced,
    /// The cloud does not say which of them it was.
    Unknown,
}

/// What came of a removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// It is not there any more, or never was.
    Gone,
    /// It was asked for, nobody saw its id, and nothing has its name so far: a request that is still under way in the
    /// cloud may make it yet.
    Unseen,
    /// It cannot be removed for now; the text says why.
    Held(String),
}

/// Receives how far an operation has come: 0 to 1, and what is being done.
pub type ProgressSink<'a> = &'a (dyn Fn(f64, &str) + Send + Sync);

/// What a build needs of a cloud. Every method has deadlines of its own on each request; the caller adds
/// the stage's. Dropping the future of a method must be safe: what it may have made is in the ledger.
#[async_trait]
pub trait Cloud: Send + Sync {
    /// Its name in schedules: `local`, or the name in clouds.yaml.
    fn name(&self) -> &str;

    /// `ip:port` under which its servers reach the gateway that listens at `gateway`.
    async fn agent_endpoint(&self, gateway: SocketAddr) -> Result<String, CloudError>;

    /// What kind of cloud it is.
    fn kind(&self) -> &'static CloudKind;

    /// What in its settings does not count, for people.
    fn note(&self) -> Option<&str> {
        None
    }

    /// The directory of this host where it keeps images, when it does.
    fn image_directory(&self) -> Option<PathBuf> {
        None
    }

    /// Cheap proofs before a build is started: credentials, programs, room.
    async fn preflight(&self, server: &ServerSpec) -> Result<(), CloudError>;

    /// Asks each of its services something small with our credentials, to know whether it answers. Nothing is asked of
    /// this host.
    async fn answers(&self) -> Result<(), CloudError> {
        Ok(())
    }

    /// Brings an image file in, private, verified by its hash.
    async fn upload(
        &self,
        image: &NewImage,
        ledger: &dyn Ledger,
        progress: ProgressSink<'_>,
    ) -> Result<Image, CloudError>;

    /// Asks for a server; returns as soon as the cloud has taken the request.
    async fn boot(&self, server: &NewServer, ledger: &dyn Ledger) -> Result<Server, CloudError>;

    /// What the server does now.
    async fn server_status(&self, server: &Server) -> Result<ServerStatus, CloudError>;

    /// Why whoever calls from `peer` cannot be the server. `None`: it can be, or the cloud cannot tell.
    async fn stranger(&self, _server: &Server, _peer: IpAddr) -> Result<Option<String>, CloudError> {
        Ok(None)
    }

    /// Brings `server.console_log` up to date, as far as the cloud gives the console. Where it is live already this does
    /// nothing.
    async fn save_console(&self, server: &Server) -> Result<Console, CloudError>;

    /// From here on the server may start again by itself: a reboot is no end of it.
    async fn allow_reboot(&self, server: &Server) -> Result<(), CloudError>;

    /// Shuts the server down in order (ACPI) and waits until it has stopped; by force after a grace period.
    async fn stop(&self, server: &Server) -> Result<Shutdown, CloudError>;

    /// Writes the stopped server's disk to `to` as one file of its own, of the image's format, for a look inside, within [`SAVE_DISK`].
    /// Dropped or failed it leaves no part of it there.
    async fn save_disk(&self, server: &Server, to: &Path) -> Result<(), CloudError>;

    /// Asks the running server's guest agent once whether it is there, by the hypervisor's channel.
    async fn guest_agent(&self, _server: &Server) -> Result<GuestAgent, CloudError> {
        Ok(GuestAgent::NotAsked)
    }

    /// Gives a verified image its public name. At no moment is the name without a verified image.
    async fn publish(&self, image: &Image, publication: &Publication) -> Result<Published, CloudError>;

    /// Removes the older images of a name that the publication keeps no more; nothing where no image has the name. Doing it
    /// again ends in the same place.
    async fn prune(&self, publication: &Publication) -> Result<Pruned, CloudError>;

    /// The images that it has under a public name, the revoked ones too.
    async fn named(&self, name: &str) -> Result<Vec<NamedImage>, CloudError>;

    /// How [`Cloud::hand_over`] can be done as things are: whether with the image itself, or with a copy of it. Changes
    /// nothing. The errors are those that it would have.
    async fn check_hand_over(&self, image: &Image, from: &str, name: &str) -> Result<Handing, CloudError>;

    /// Makes a copy of a published image under a name that carries the build's id: with the same data and properties, complete,
    /// but hidden and without a public name. Only where [`Handing::Copy`] is answered.
    async fn copy(
        &self,
        image: &Image,
        _name: &str,
        _ledger: &dyn Ledger,
        _progress: ProgressSink<'_>,
    ) -> Result<Image, CloudError> {
        let message = format!("image {} has several names where it is: none is copied there", image.id);
        Err(CloudError::new(Trouble::Configuration, message))
    }

    /// Whether what has this id is such a copy of an image, and complete.
    async fn is_whole_copy(&self, _image: &Image, _id: &str) -> Result<bool, CloudError> {
        Ok(false)
    }

    /// Gives a public name to an image that was published before under the name `from`, which may be the same one, or to a
    /// copy of one, whose `from` is the name itself: it has the name before another one loses it. Doing it again ends in the
    /// same place; with [`Trouble::Configuration`], [`Trouble::Fault`] or [`Trouble::Corrupt`] nothing was done.
    async fn hand_over(&self, image: &Image, from: &str, name: &str) -> Result<HandedOver, CloudError>;

    /// Marks an image that was published under a name as revoked, and hides it where that is possible. One that is not
    /// there any more is as good.
    async fn revoke(&self, image: &Image, name: &str, why: &str) -> Result<(), CloudError>;

    /// Removes what a ledger row names, found by id, else by name; idempotent; returns once it is gone, or at once where
    /// nothing was found.
    async fn remove(&self, resource: &Resource) -> Result<Removal, CloudError>;

    /// The same by whoever knows the ids of the images that have public names there now (`current`): an image that turns out
    /// to be published is not removed, and of several that share its name such a one keeps it.
    async fn remove_beside(&self, resource: &Resource, _current: &[String]) -> Result<Removal, CloudError> {
        self.remove(resource).await
    }

    /// All that this installation made there and did not publish, whether or not a ledger knows of it, in the order in which
    /// it can be removed. Key pairs carry no owner: whoever asks must tell by the build in their name whether they are ours.
    async fn inventory(&self) -> Result<Vec<Resource>, CloudError>;

    /// What can be proved about it without making anything, for `doctor`. The first proof is whether it lets us in at all:
    /// without it nothing else is asked. One of them begins with "address" and has what servers dial.
    async fn diagnose(&self, gateway: SocketAddr) -> Vec<Proof>;

    /// What can be proved about one server that a schedule wants there, and the name that its image is to get.
    async fn diagnose_server(&self, server: &ServerSpec, publish: Option<&Publish>) -> Vec<Proof>;
}

/// Whether an address is one of this host: only those can be bound. Sends nothing. Where the host binds any address
/// (`net.ipv4.ip_nonlocal_bind`, as load balancers have it) that proves nothing, and none counts as its own.
pub(crate) fn is_own_address(address: IpAddr) -> bool {
    let binds = |address: IpAddr| UdpSocket::bind((address, 0)).is_ok();
    // Addresses for documentation (RFC 5737 and 3849), which no host has.
    let nobodys = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    };
    binds(address) && !binds(nobodys)
}
