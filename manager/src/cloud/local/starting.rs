//! Starting a server's QEMU: the first time, and once more when its guest reboots and may.
//!
//! A reboot ends QEMU (`-no-reboot`), and another one is started on the same disk, config drive, firmware variables and
//! console. QEMU's own reset would be less work, and crashes: QEMU 7.2 without KVM ended by a segmentation fault in about
//! one reset of seven.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::PipeWriter;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Child;
use uuid::Uuid;

use super::confinement::{Account, Launch};
use super::firmware::MachineKind;
use super::network::{Network, Plan};
use super::programs::{Programs, clean_command};
use super::qemu::{self, Acceleration, Machine};
use super::{blocking, io_error};
use crate::cloud::CloudError;
use crate::schedules::{Format, ServerSpec};

/// What a server's QEMU is started with.
pub(super) struct Start {
    pub(super) programs: Programs,
    /// The server's directory, which has its disk.
    pub(super) home: PathBuf,
    pub(super) name: String,
    pub(super) id: Uuid,
    /// What its agent dials.
    pub(super) endpoint: Option<SocketAddr>,
    pub(super) spec: ServerSpec,
    /// The image that its disk begins with.
    pub(super) image: (PathBuf, Format),
    pub(super) console: PathBuf,
    /// False where QEMU was built without seccomp.
    pub(super) sandbox: bool,
}

impl Start {
    /// Makes a network for the server and starts QEMU in it; returns what ends when QEMU does.
    pub(super) async fn run(&self) -> Result<Child, CloudError> {
        let account = Account::find()?;
        let endpoint = self.endpoint;
        let plan = blocking(move || Ok(Plan::of_this_host(endpoint))).await?;
        let network = Network::start(account, &self.name, &self.home, &plan).await?;
        let acceleration = Acceleration::of_this_host(self.spec.arch);
        let uefi = MachineKind::of(&self.spec).uefi();
        let (image, format) = &self.image;
        let machine = Machine {
            name: &self.name,
            uuid: &self.id.to_string(),
            mac: &qemu::mac(self.id),
            memory: self.spec.memory,
            cpus: self.spec.cpus,
            directory: &self.home,
            acceleration,
            arch: self.spec.arch,
            uefi,
            format: *format,
            sandbox: self.sandbox,
        };
        let launch = Launch {
            programs: &self.programs,
            account,
            group: acceleration.group(),
            network: network.holder,
            resolver: network.resolver.as_deref(),
            home: &self.home,
            image,
            console: &self.console,
            arch: self.spec.arch,
            variables: uefi.is_some(),
            arguments: machine.arguments(),
        };
        spawn(launch.command_line()?, &self.home, network.end)
    }
}

/// Starts what ends with QEMU. Its standard input is the end of the network's pipe, which it holds until then.
fn spawn(line: Vec<OsString>, home: &Path, end: PipeWriter) -> Result<Child, CloudError> {
    let mut words = line.into_iter();
    let program = PathBuf::from(words.next().unwrap_or_default());
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(home.join(qemu::LOG))
        .and_then(|file| {
            clean_command(&program)
                .args(words)
                .current_dir(home.join(qemu::SOCKETS))
                .stdin(Stdio::from(end))
                .stdout(file.try_clone()?)
                .stderr(file)
                .process_group(0)
                .spawn()
        })
        .map_err(|error| io_error("cannot start", &program, &error))
}
