//! The embedded cloud: QEMU on this host, images in the state directory.
//!
//! ```text
//! <state>/images/<name>.qcow2             an image until it is published, with <name>.json
//! <state>/images/published/<name>.qcow2   what users take, with older ones as <name>.<date>.qcow2; .raw for raw ones
//! <state>/servers/<name>/                 a server
//! ```
//!
//! QEMU runs as a user of its own in a network of its own: `confinement` has what it is started through, `network` what
//! its guest reaches.
//!
//! A server always has a config drive, whatever its schedule says: there is no metadata service here.
//!
//! Nothing of it is known only to this process: what a manager that was killed left behind is found by
//! name, in these directories and among the host's processes.

mod busy;
mod config_drive;
mod confinement;
mod diagnosis;
mod firmware;
mod guard;
mod guest_agent;
mod handing;
mod images;
mod inventory;
mod iso9660;
mod kind;
mod needs;
mod network;
mod processes;
mod programs;
mod publish;
mod qemu;
mod qmp;
mod removal;
mod room;
mod sandbox;
mod save;
mod server_key;
mod servers;
mod starting;
mod storing;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use tokio::sync::Mutex;

pub(in crate::cloud) use self::kind::{KIND, NAME};

use self::busy::Busy;
use self::firmware::MachineKind;
use self::images::Store;
use self::programs::Programs;
use self::servers::Servers;
use super::{
    Cloud, CloudError, CloudKind, Console, GuestAgent, HandedOver, Handing, Image, Ledger, NamedImage,
    NewImage, NewServer, ProgressSink, Proof, Pruned, Publication, Published, Removal, Resource,
    ResourceKind, Server, ServerStatus, Shutdown, Trouble, disk_file,
};
use crate::clock;
use crate::schedules::{Publish, ServerSpec};

/// How names of images and servers begin that no ledger row need be known for.
const PREFIX: &str = "image-manager-";
/// Where a guest in QEMU's user network reaches the gateway on this host.
const HOST_SEEN_BY_GUESTS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// Bytes of memory that QEMU takes besides the guest's; under emulation it keeps translated code there.
const QEMU_MEMORY: u64 = 256 << 20;

/// Where the local cloud is and what it may do.
#[derive(Debug, Clone)]
pub struct LocalSettings {
    /// The manager's state directory.
    pub state_dir: PathBuf,
    /// `qemu-system-x86_64`; `None`: the one on `PATH`.
    pub qemu: Option<PathBuf>,
    /// `qemu-img`; `None`: the one on `PATH`.
    pub qemu_img: Option<PathBuf>,
    /// This installation's id; written to the records beside images and servers.
    pub owner: String,
    /// How long a guest may take to shut down in order. 60 seconds by default.
    pub shutdown_grace: Duration,
    /// Free bytes that the state directory's file system must have before a build starts: room for the image
    /// and for what a server writes. 4 GiB by default.
    pub min_free: u64,
}

impl LocalSettings {
    /// The defaults.
    pub fn new(state_dir: impl Into<PathBuf>, owner: impl Into<String>) -> Self {
        Self {
            state_dir: state_dir.into(),
            qemu: None,
            qemu_img: None,
            owner: owner.into(),
            shutdown_grace: Duration::from_mins(1),
            min_free: 4 << 30,
        }
    }
}

/// The cloud on this host.
pub struct LocalCloud {
    settings: LocalSettings,
    store: Store,
    servers: Servers,
    programs: Programs,
    /// Images that a thread works on.
    storing: Busy,
    /// One publication at a time.
    publishing: Mutex<()>,
}

impl fmt::Debug for LocalCloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalCloud").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl LocalCloud {
    /// Makes `images/`, `images/published/` and `servers/` in the state directory where they are missing.
    /// Fails when that cannot be done, or when the directory's path is not UTF-8. Starts nothing, and does
    /// not look for QEMU: [`Cloud::preflight`] does.
    pub fn new(settings: LocalSettings) -> Result<Self, CloudError> {
        let state = &settings.state_dir;
        std::fs::create_dir_all(state).map_err(|error| io_error("cannot make", state, &error))?;
        // Processes are known by this path: it must be the same whichever way it was written.
        let state = state.canonicalize().map_err(|error| io_error("cannot resolve", state, &error))?;
        if state.to_str().is_none() {
            let message = format!("the state directory's path {} is not UTF-8", state.display());
            return Err(CloudError::new(Trouble::Configuration, message));
        }
        let programs = Programs { qemu: settings.qemu.clone(), qemu_img: settings.qemu_img.clone() };
        Ok(Self {
            store: Store::open(&state)?,
            servers: Servers::open(&state, programs.clone())?,
            settings: LocalSettings { state_dir: state, ..settings },
            programs,
            storing: Busy::default(),
            publishing: Mutex::new(()),
        })
    }
}

#[async_trait]
impl Cloud for LocalCloud {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn agent_endpoint(&self, gateway: SocketAddr) -> Result<String, CloudError> {
        let host = match gateway.ip() {
            ip if ip.is_unspecified() || ip == IpAddr::V4(Ipv4Addr::LOCALHOST) => HOST_SEEN_BY_GUESTS,
            IpAddr::V4(ip) if !ip.is_loopback() => ip,
            ip => {
                let message = format!("servers cannot reach a gateway on {ip}: use 127.0.0.1 or 0.0.0.0");
                return Err(CloudError::new(Trouble::Configuration, message));
            }
        };
        Ok(SocketAddr::from((host, gateway.port())).to_string())
    }

    fn kind(&self) -> &'static CloudKind {
        &KIND
    }

    fn image_directory(&self) -> Option<PathBuf> {
        Some(self.store.directory().to_owned())
    }

    async fn preflight(&self, server: &ServerSpec) -> Result<(), CloudError> {
        let programs = self.programs.clone();
        let (state, least) = (self.settings.state_dir.clone(), self.settings.min_free);
        let memory = server.memory.saturating_add(QEMU_MEMORY);
        let machine = MachineKind::of(server);
        blocking(move || {
            needs::require(&programs, machine)?;
            room::require(&state, least, memory)
        })
        .await
    }

    async fn upload(
        &self,
        image: &NewImage,
        ledger: &dyn Ledger,
        progress: ProgressSink<'_>,
    ) -> Result<Image, CloudError> {
        self.store_artifact(image, ledger, progress).await
    }

    async fn boot(&self, server: &NewServer, ledger: &dyn Ledger) -> Result<Server, CloudError> {
        check_name(&server.name)?;
        check_name(&server.image.name)?;
        let (image, format) = match self.store.found(&server.image.name) {
            found if found.0.is_file() => found,
            missing => {
                let (store, image) = (self.store.clone(), server.image.clone());
                blocking(move || handing::published_file(&store, &image)).await?.unwrap_or(missing)
            }
        };
        let disk = match server.image.virtual_size_bytes {
            // Not known any more.
            0 => disk_file::virtual_size(&image, format).unwrap_or_default(),
            known => known,
        };
        servers::check_disk(server.spec.disk, disk)?;
        if !image.is_file() {
            let message = format!("image {} is not in the store", image.display());
            return Err(CloudError::new(Trouble::Fault, message));
        }
        let home = self.servers.home(&server.name);
        if home.exists() {
            let message = format!("server {} already exists; remove it first", server.name);
            return Err(CloudError::new(Trouble::Fault, message));
        }
        let console_log = std::path::absolute(&server.console_log)
            .map_err(|error| io_error("cannot resolve", &server.console_log, &error))?;
        let server = NewServer { console_log, ..server.clone() };
        let entry = ledger.intend(ResourceKind::Server, &server.name).await?;
        let id = self.servers.boot(&server, (&image, format), &self.settings.owner).await?.to_string();
        ledger.created(entry, &id).await?;
        let spec = &server.spec;
        let (memory, disk) = (in_mib(spec.memory), in_mib(spec.disk));
        let cpus = image_manager_proto::counted(spec.cpus, "CPU");
        let flavor = format!("{memory} memory, {cpus}, {disk} disk");
        Ok(Server { id, name: server.name, flavor, console_log: server.console_log })
    }

    async fn server_status(&self, server: &Server) -> Result<ServerStatus, CloudError> {
        check_name(&server.name)?;
        self.servers.status(&server.name, &server.console_log).await
    }

    async fn save_console(&self, _server: &Server) -> Result<Console, CloudError> {
        // QEMU writes it as it comes.
        Ok(Console::Given)
    }

    async fn allow_reboot(&self, server: &Server) -> Result<(), CloudError> {
        check_name(&server.name)?;
        self.servers.allow_reboot(&server.name).await
    }

    async fn stop(&self, server: &Server) -> Result<Shutdown, CloudError> {
        check_name(&server.name)?;
        self.servers.stop(&server.name, &server.console_log, self.settings.shutdown_grace).await
    }

    async fn save_disk(&self, server: &Server, to: &Path) -> Result<(), CloudError> {
        check_name(&server.name)?;
        if self.servers.process(&server.name).await?.is_some() {
            let message = format!("server {} is running; stop it before its disk is saved", server.name);
            return Err(CloudError::new(Trouble::Unavailable, message));
        }
        let Some(record) = self.servers.record(&server.name) else {
            let message = format!("server {} no longer has a record of its image", server.name);
            return Err(CloudError::new(Trouble::Fault, message));
        };
        let (home, (image, format)) = (self.servers.home(&server.name), self.store.found(&record.image));
        save::disk(&self.programs, &home, (&image, format), to).await
    }

    async fn guest_agent(&self, server: &Server) -> Result<GuestAgent, CloudError> {
        check_name(&server.name)?;
        Ok(guest_agent::ask(&self.servers.home(&server.name).join(qemu::SOCKETS)).await)
    }

    async fn publish(&self, image: &Image, publication: &Publication) -> Result<Published, CloudError> {
        check_name(&image.name)?;
        let _alone = self.publishing.lock().await;
        let (store, image, publication) = (self.store.clone(), image.clone(), publication.clone());
        blocking(move || publish::publish(&store, &image, &publication, Utc::now())).await
    }

    async fn prune(&self, publication: &Publication) -> Result<Pruned, CloudError> {
        let _alone = self.publishing.lock().await;
        let (store, publication) = (self.store.clone(), publication.clone());
        blocking(move || publish::prune(&store, &publication, clock::now())).await
    }

    async fn named(&self, name: &str) -> Result<Vec<NamedImage>, CloudError> {
        let (store, name) = (self.store.clone(), name.to_owned());
        blocking(move || handing::named(&store, &name)).await
    }

    async fn check_hand_over(&self, image: &Image, from: &str, name: &str) -> Result<Handing, CloudError> {
        let (store, image) = (self.store.clone(), image.clone());
        let (from, name) = (from.to_owned(), name.to_owned());
        blocking(move || handing::check(&store, &image, &from, &name)).await.map(|()| Handing::Itself)
    }

    async fn hand_over(&self, image: &Image, from: &str, name: &str) -> Result<HandedOver, CloudError> {
        let _alone = self.publishing.lock().await;
        let (store, image) = (self.store.clone(), image.clone());
        let (from, name) = (from.to_owned(), name.to_owned());
        blocking(move || handing::hand_over(&store, &image, &from, &name)).await
    }

    async fn revoke(&self, image: &Image, name: &str, why: &str) -> Result<(), CloudError> {
        let _alone = self.publishing.lock().await;
        let (store, image) = (self.store.clone(), image.clone());
        let (name, why) = (name.to_owned(), why.to_owned());
        blocking(move || handing::revoke(&store, &image, &name, &why)).await
    }

    async fn remove(&self, resource: &Resource) -> Result<Removal, CloudError> {
        check_name(&resource.name)?;
        match resource.kind {
            ResourceKind::Server => self.servers.remove(&resource.name).await,
            ResourceKind::Image => {
                self.storing.settle(&resource.name).await;
                if let Some(server) = self.servers.that_boots(&resource.name)? {
                    return Ok(Removal::Held(format!("server {server} boots from it")));
                }
                let (store, name) = (self.store.clone(), resource.name.clone());
                blocking(move || store.remove(&name)).await?;
                Ok(Removal::Gone)
            }
            kind @ (ResourceKind::Scratch
            | ResourceKind::SecurityGroup
            | ResourceKind::KeyPair
            | ResourceKind::Volume
            | ResourceKind::Port) => {
                let message = format!("{} is a {kind}: the local cloud has none of those", resource.name);
                Err(CloudError::new(Trouble::Configuration, message))
            }
        }
    }

    async fn inventory(&self) -> Result<Vec<Resource>, CloudError> {
        self.unpublished().await
    }

    async fn diagnose(&self, gateway: SocketAddr) -> Vec<Proof> {
        self.prove_host(gateway).await
    }

    async fn diagnose_server(&self, server: &ServerSpec, _publish: Option<&Publish>) -> Vec<Proof> {
        self.prove_server(server).await
    }
}

/// Refuses a name that is not one plain file name: letters, digits, `.`, `-`, `_`, at most 128 characters,
/// not starting with a dot or `-`.
fn check_name(name: &str) -> Result<(), CloudError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if !name.is_empty() && name.len() <= 128 && !name.starts_with(['.', '-']) && name.chars().all(legal) {
        return Ok(());
    }
    Err(CloudError::new(Trouble::Configuration, format!("{name:?} cannot be the name of an image or server")))
}

/// Bytes for people, rounded up.
fn in_mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// An error of the file system, by what was tried on what.
fn io_error(tried: &str, path: &Path, error: &io::Error) -> CloudError {
    let trouble = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Trouble::NoRoom,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Trouble::Configuration,
        _ => Trouble::Fault,
    };
    CloudError::new(trouble, format!("{tried} {}: {error}", path.display()))
}

fn thread_lost(error: &tokio::task::JoinError) -> CloudError {
    CloudError::new(Trouble::Fault, format!("work on files was aborted: {error}"))
}

/// Does work on files where it keeps no task waiting.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CloudError> + Send + 'static,
) -> Result<T, CloudError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(thread_lost(&error)))
}
