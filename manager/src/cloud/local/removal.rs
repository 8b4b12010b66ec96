//! Ending servers and removing them, whoever started them.

use std::cmp::Reverse;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use super::guard::{self, Ending};
use super::network;
use super::processes::{self, Process};
use super::qemu::{ORDERS, SOCKETS};
use super::qmp::Qmp;
use super::servers::Servers;
use super::{blocking, io_error, save};
use crate::cloud::{CloudError, Removal, Shutdown, Trouble};

/// Until the power button is pressed again: a guest that still boots does not hear it.
const PRESS_AGAIN: Duration = Duration::from_secs(10);
/// What QEMU may take to end in order.
const ORDERLY: Duration = Duration::from_secs(10);
/// What a killed process may take to go.
const KILLED: Duration = Duration::from_secs(10);
/// What the end of a process may take to be known here.
const KNOWN: Duration = Duration::from_secs(3);
/// How often something that comes up again while it is removed is removed.
const ROUNDS: u32 = 3;

impl Servers {
    /// The QEMU of a server: has exactly this name, and its command line leads into the server's directory. So do
    /// those of what it is started through, which wait for it, and of its network, which has a log there.
    pub(super) async fn process(&self, name: &str) -> Result<Option<Process>, CloudError> {
        let (home, name) = (self.home(name), Some(name.to_owned()));
        blocking(move || {
            let log = home.join(network::LOG);
            let ours =
                |process: &Process| process.name() == name && process.mentions(&home) && !process.names(&log);
            Ok(processes::all().into_iter().filter(ours).max_by_key(Process::age))
        })
        .await
    }

    /// All processes of a server, also a `qemu-img` at work on its disk. QEMU comes first: with it go the others.
    async fn processes(&self, name: &str) -> Result<Vec<Process>, CloudError> {
        let (home, name) = (self.home(name), Some(name.to_owned()));
        let qemu_img = self.programs.qemu_img().ok();
        blocking(move || {
            let ours = |process: &Process| {
                let by = |tool: &Option<PathBuf>| tool.as_ref().is_some_and(|path| process.is(path));
                process.mentions(&home) && (process.name() == name || by(&qemu_img))
            };
            let mut ours: Vec<Process> = processes::all().into_iter().filter(ours).collect();
            ours.sort_by_key(|process| Reverse(process.age()));
            Ok(ours)
        })
        .await
    }

    /// Names that begin with `prefix` of the servers that have a process.
    pub(super) async fn running_names(&self, prefix: &'static str) -> Result<Vec<String>, CloudError> {
        let directory = self.directory.clone();
        blocking(move || {
            let named =
                |process: Process| process.name().filter(|name| process.mentions(&directory.join(name)));
            let names = processes::all().into_iter().filter_map(named);
            Ok(names.filter(|name| name.starts_with(prefix)).collect())
        })
        .await
    }

    /// Presses the power button until the guest is off, and ends QEMU when `grace` is over.
    pub(super) async fn stop(
        &self,
        name: &str,
        console: &Path,
        grace: Duration,
    ) -> Result<Shutdown, CloudError> {
        self.let_reboot(name, false);
        let Some(process) = self.process(name).await? else { return Ok(self.ended_before(name)) };
        let home = self.home(name);
        let deadline = Instant::now() + grace;
        let mut ended = false;
        while !ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            // A QEMU that does not listen is ended below.
            let _ = order(&home, "system_powerdown").await;
            ended = process.ended_within(left.min(PRESS_AGAIN)).await;
        }
        let forced = !ended;
        if forced {
            self.note_force(name);
            let _ = order(&home, "quit").await;
            ended = process.ended_within(ORDERLY).await || process.end(Signal::SIGKILL, KILLED).await;
        }
        if !ended {
            let message = format!("QEMU of server {name} (process {}) does not exit", process.pid());
            return Err(CloudError::new(Trouble::Timeout, message));
        }
        self.settle(name, KNOWN).await;
        for process in self.processes(name).await? {
            // Its network, and the shell that waited for it: a removal finds what is left of them.
            process.ended_within(KNOWN).await;
        }
        Ok(if forced { Shutdown::Forced } else { self.how_it_ended(name, console) })
    }

    /// How a server has ended whose power button was pressed.
    fn how_it_ended(&self, name: &str, console: &Path) -> Shutdown {
        match self.ending(name) {
            Some(Ending { in_order: Some(true), .. }) => Shutdown::InOrder,
            Some(Ending { in_order: None, .. }) => Shutdown::Unknown,
            Some(ending) => Shutdown::Otherwise { how: ending.text, by_guest: !ending.fault },
            // Another process has started it: only its console is left to be asked.
            None => match guard::panic_line(console) {
                Some(panic) => Shutdown::Otherwise { how: panic, by_guest: true },
                None => Shutdown::InOrder,
            },
        }
    }

    /// The same of one that was off before.
    fn ended_before(&self, name: &str) -> Shutdown {
        match self.ending(name) {
            Some(ending) => {
                let how = format!("it was off before the button was pressed: {}", ending.text);
                Shutdown::Otherwise { how, by_guest: !ending.fault }
            }
            None => Shutdown::Unknown,
        }
    }

    /// Ends all processes of a server and removes its directory. What is not there is fine.
    pub(super) async fn remove(&self, name: &str) -> Result<Removal, CloudError> {
        let home = self.home(name);
        self.let_reboot(name, false);
        self.furnishing.settle(name).await;
        for _ in 0..ROUNDS {
            for process in self.processes(name).await? {
                let ended =
                    process.end(Signal::SIGTERM, ORDERLY).await || process.end(Signal::SIGKILL, KILLED).await;
                if !ended {
                    let pid = process.pid();
                    return Ok(Removal::Held(format!("process {pid} of server {name} does not exit")));
                }
            }
            let removed = blocking({
                let home = home.clone();
                move || {
                    let beside = save::remove_beside(&home);
                    beside.map_err(|error| io_error("cannot remove the part of a disk of", &home, &error))?;
                    Ok(fs::remove_dir_all(home))
                }
            })
            .await?;
            match removed {
                // Something was put in meanwhile: the next round takes it.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => continue,
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error("cannot remove", &home, &error));
                }
                _ => {}
            }
            // A process may have started between the look and the removal.
            if self.processes(name).await?.is_empty() && !home.exists() {
                self.forget(name);
                return Ok(Removal::Gone);
            }
        }
        Ok(Removal::Held(format!("server {name} keeps starting while it is being removed")))
    }
}

impl Servers {
    /// Without this a reboot is the end of the server, which is how a kernel that panics is seen at once.
    pub(super) async fn allow_reboot(&self, name: &str) -> Result<(), CloudError> {
        if self.let_reboot(name, true) {
            return Ok(());
        }
        // Nobody would start the QEMU of a manager that is gone again: this one resets, and may crash by it.
        let sockets = self.home(name).join(SOCKETS);
        let told = async {
            let arguments = json!({ "reboot": "reset" });
            Qmp::connect(&sockets, ORDERS).await?.order_with("set-action", arguments).await.map(drop)
        };
        let failed = |error: io::Error| {
            let message =
                format!("server {name} cannot be allowed to reboot: QEMU rejects the command: {error}");
            CloudError::new(Trouble::Unavailable, message)
        };
        told.await.map_err(failed)
    }
}

async fn order(home: &Path, command: &str) -> io::Result<()> {
    Qmp::connect(&home.join(SOCKETS), ORDERS).await?.order(command).await.map(drop)
}
