//! Servers: each a directory `servers/<name>/` and a QEMU that runs in it.
//!
//! ```text
//! server.json   what it is; written before anything else
//! config.iso    config drive; holds a token, as the directory is for its owner only
//! disk.qcow2    overlay on the image
//! firmware-variables.fd   with UEFI: what its guest tells the firmware
//! qemu.log      what QEMU says
//! network.log   what its network says
//! sockets/      qmp.sock events.sock qga.sock: the only place that QEMU's user may write in
//! ```
//!
//! QEMU is meant to outlive a manager that dies: the next one finds it by its command line.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;

use super::busy::Busy;
use super::config_drive::{self, Instance};
use super::confinement::Account;
use super::firmware::{self, MachineKind};
use super::guard::{self, Ending};
use super::programs::Programs;
use super::qemu;
use super::qmp::Qmp;
use super::sandbox::lacks_sandbox;
use super::starting::Start;
use super::{blocking, io_error, server_key};
use crate::cloud::{CloudError, NewServer, ServerStatus, Trouble};
use crate::schedules::Format;

/// What QEMU may take until it answers; an emulating host may be busy.
const START: Duration = Duration::from_mins(1);
/// Until a QEMU that starts is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// Bytes of QEMU's messages that become evidence.
const EVIDENCE: u64 = 16 << 10;
const RECORD: &str = "server.json";
/// The key of a server's metadata under which its agent finds whom to dial.
const ENDPOINT: &str = "image_manager_endpoint";

/// What is known of a server, in its directory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) build_id: String,
    pub(super) owner: String,
    /// Name of the image that it boots from.
    pub(super) image: String,
}

/// A QEMU that this process started.
struct Started {
    ending: watch::Receiver<Option<Ending>>,
    may_reboot: Arc<AtomicBool>,
    /// Killed because it did not shut down.
    by_force: bool,
}

/// The directory of servers, and the processes that were started here.
pub(super) struct Servers {
    pub(super) directory: PathBuf,
    pub(super) programs: Programs,
    started: Mutex<BTreeMap<String, Started>>,
    /// Servers whose directory a thread makes.
    pub(super) furnishing: Busy,
    /// False once this host's QEMU was found to have no seccomp.
    sandbox: AtomicBool,
}

impl Servers {
    /// Makes the directory where it is missing.
    pub(super) fn open(state: &Path, programs: Programs) -> Result<Self, CloudError> {
        let directory = state.join("servers");
        fs::create_dir_all(&directory).map_err(|error| io_error("cannot make", &directory, &error))?;
        Ok(Self {
            directory,
            programs,
            started: Mutex::default(),
            furnishing: Busy::default(),
            sandbox: AtomicBool::new(true),
        })
    }

    /// The directory of a server; the name must have been checked.
    pub(super) fn home(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// What the directory of a server says of it.
    pub(super) fn record(&self, name: &str) -> Option<Record> {
        serde_json::from_slice(&fs::read(self.home(name).join(RECORD)).ok()?).ok()
    }

    /// Names that begin with `prefix` of the servers that have a directory.
    pub(super) fn names(&self, prefix: &str) -> Result<Vec<String>, CloudError> {
        let entries = fs::read_dir(&self.directory)
            .map_err(|error| io_error("cannot list", &self.directory, &error))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.filter(|name| name.starts_with(prefix)).collect())
    }

    /// A server that boots from this image.
    pub(super) fn that_boots(&self, image: &str) -> Result<Option<String>, CloudError> {
        let boots = |name: &String| self.record(name).is_some_and(|record| record.image == image);
        Ok(self.names("")?.into_iter().find(boots))
    }

    /// Makes the directory with disk and config drive, and starts QEMU. Returns once that answers.
    pub(super) async fn boot(
        &self,
        new: &NewServer,
        image: (&Path, Format),
        owner: &str,
    ) -> Result<Uuid, CloudError> {
        let id = Uuid::now_v7();
        let record = Record {
            id: id.to_string(),
            name: new.name.clone(),
            build_id: new.build_id.clone(),
            owner: owner.to_owned(),
            image: new.image.name.clone(),
        };
        let public_key = server_key::new_public_line()?;
        let drive = config_drive::image(&Instance {
            uuid: &record.id,
            name: &new.name,
            mac: &qemu::mac(id),
            metadata: &new.metadata,
            public_key: &public_key,
            user_data: new.spec.user_data.as_deref(),
        })?;
        let home = self.home(&new.name);
        let held = self.furnishing.hold(&new.name).await;
        let uefi = MachineKind::of(&new.spec).uefi();
        blocking({
            let (home, console) = (home.clone(), new.console_log.clone());
            move || {
                let _held = held;
                furnish(&home, &record, &drive, &console)?;
                uefi.map_or(Ok(()), |uefi| uefi.furnish(&firmware::variables(&home)))
            }
        })
        .await?;
        let disk = home.join(qemu::DISK);
        self.programs.overlay(image, &disk, new.spec.disk).await?;
        fs::set_permissions(&disk, fs::Permissions::from_mode(0o600))
            .map_err(|error| io_error("cannot close", &disk, &error))?;
        self.start(new, id, image).await?;
        Ok(id)
    }

    async fn start(&self, new: &NewServer, id: Uuid, image: (&Path, Format)) -> Result<(), CloudError> {
        let sandbox = self.sandbox.load(Ordering::Relaxed);
        let start = |sandbox| Start {
            programs: self.programs.clone(),
            home: self.home(&new.name),
            name: new.name.clone(),
            id,
            endpoint: new.metadata.get(ENDPOINT).and_then(|endpoint| endpoint.parse().ok()),
            spec: new.spec.clone(),
            image: (image.0.to_owned(), image.1),
            console: new.console_log.clone(),
            sandbox,
        };
        let Err(failure) = self.try_start(start(sandbox)).await else { return Ok(()) };
        if !sandbox || !lacks_sandbox(&failure.evidence) {
            return Err(failure);
        }
        self.try_start(start(false)).await?;
        // Only now it is known that nothing else was wrong.
        tracing::warn!(server = new.name, "this QEMU has no seccomp; servers run without its sandbox");
        self.sandbox.store(false, Ordering::Relaxed);
        Ok(())
    }

    async fn try_start(&self, start: Start) -> Result<(), CloudError> {
        let (name, home) = (start.name.clone(), start.home.clone());
        let child = start.run().await?;
        // From here to the next line nothing waits: no process is unknown when this future is dropped.
        let (mut ending, may_reboot) = guard::watch_over(child, start);
        let started = Started { ending: ending.clone(), may_reboot, by_force: false };
        self.with_started(|all| all.insert(name.clone(), started));
        let sockets = home.join(qemu::SOCKETS);
        let evidence = || guard::tail(&home.join(qemu::LOG), EVIDENCE).unwrap_or_default();
        tokio::select! {
            ended = ending.wait_for(Option::is_some) => {
                let text = ended.ok().and_then(|ending| ending.clone()).map(|ending| ending.text);
                let (text, evidence) = (text.unwrap_or_default(), evidence());
                let message = format!("QEMU did not start server {name}: {text}: {}", evidence.trim());
                Err(CloudError::new(Trouble::Fault, message).with_evidence(evidence))
            }
            answer = tokio::time::timeout(START, answers(&sockets)) => answer.map_err(|_| {
                let message = format!("QEMU of server {name} did not answer within {} s", START.as_secs());
                CloudError::new(Trouble::Timeout, message).with_evidence(evidence())
            }),
        }
    }

    /// Lets the server start again once, when its guest reboots, or no longer. False: another process started it.
    pub(super) fn let_reboot(&self, name: &str, may: bool) -> bool {
        self.with_started(|all| {
            let started = all.get(name);
            started.inspect(|started| started.may_reboot.store(may, Ordering::Relaxed)).is_some()
        })
    }

    /// What a server does now, as far as this process or the host knows.
    pub(super) async fn status(&self, name: &str, console: &Path) -> Result<ServerStatus, CloudError> {
        let home = self.home(name);
        if !home.is_dir() {
            return Ok(ServerStatus::Missing);
        }
        if guard::is_too_long(console) {
            let limit = super::in_mib(guard::LONGEST_CONSOLE);
            let text = format!("its serial console wrote more than {limit}: the server was stopped");
            return Ok(ServerStatus::Error(text));
        }
        let known = self.with_started(|all| {
            all.get(name).map(|started| (started.ending.borrow().clone(), started.by_force))
        });
        Ok(match known {
            Some((None, _)) => ServerStatus::Active,
            Some((Some(_), true)) => {
                ServerStatus::Stopped("it did not shut down in time and was forced off".into())
            }
            Some((Some(ending), false)) if ending.fault => {
                let messages = guard::tail(&home.join(qemu::LOG), EVIDENCE).unwrap_or_default();
                ServerStatus::Error(format!("{}: {}", ending.text, messages.trim()))
            }
            Some((Some(ending), false)) => ServerStatus::Stopped(ending.text),
            None if self.process(name).await?.is_some() => ServerStatus::Active,
            None => ServerStatus::Stopped("its QEMU is no longer running".into()),
        })
    }

    /// How a process that was started here has ended; `None`: it runs, or another manager started it.
    pub(super) fn ending(&self, name: &str) -> Option<guard::Ending> {
        self.with_started(|all| all.get(name).and_then(|started| started.ending.borrow().clone()))
    }

    /// Notes that a server was killed because it did not shut down.
    pub(super) fn note_force(&self, name: &str) {
        self.with_started(|all| {
            if let Some(started) = all.get_mut(name) {
                started.by_force = true;
            }
        });
    }

    /// Waits until the end of a process that was started here is known; at most the given time.
    pub(super) async fn settle(&self, name: &str, patience: Duration) {
        let ending = self.with_started(|all| all.get(name).map(|started| started.ending.clone()));
        if let Some(mut ending) = ending {
            // What the wait is for is in the channel; nothing else is to be learnt here.
            let _ = tokio::time::timeout(patience, ending.wait_for(Option::is_some)).await;
        }
    }

    /// Forgets a server that has been removed.
    pub(super) fn forget(&self, name: &str) {
        self.with_started(|all| all.remove(name));
    }

    fn with_started<T>(&self, use_it: impl FnOnce(&mut BTreeMap<String, Started>) -> T) -> T {
        use_it(&mut self.started.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Makes what is in a server's directory before its disk.
fn furnish(home: &Path, record: &Record, drive: &[u8], console: &Path) -> Result<(), CloudError> {
    let account = Account::find()?;
    let sockets = home.join(qemu::SOCKETS);
    for directory in [home, &sockets] {
        DirBuilder::new()
            .mode(0o700)
            .create(directory)
            .map_err(|error| io_error("cannot make", directory, &error))?;
    }
    chown(&sockets, Some(account.user), Some(account.group))
        .map_err(|error| io_error("cannot give to QEMU's user", &sockets, &error))?;
    let text = serde_json::to_vec_pretty(record).unwrap_or_default();
    for (name, bytes) in [(RECORD, text.as_slice()), (qemu::CONFIG_DRIVE, drive)] {
        let file = home.join(name);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file)
            .and_then(|mut open| open.write_all(bytes))
            .map_err(|error| io_error("cannot write", &file, &error))?;
    }
    if let Some(parent) = console.parent() {
        fs::create_dir_all(parent).map_err(|error| io_error("cannot make", parent, &error))?;
    }
    // An earlier server's goes: QEMU appends, for a reboot ends one and starts the next.
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(console)
        .map(drop)
        .map_err(|error| io_error("cannot write", console, &error))
}

/// Waits until QEMU takes orders.
async fn answers(sockets: &Path) {
    loop {
        if let Ok(mut qmp) = Qmp::connect(sockets, qemu::ORDERS).await
            && qmp.order("query-status").await.is_ok()
        {
            return;
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Refuses a disk that the image does not fit on.
pub(super) fn check_disk(disk: u64, image: u64) -> Result<(), CloudError> {
    if disk >= image {
        return Ok(());
    }
    Err(CloudError::new(
        Trouble::Configuration,
        format!(
            "the server's disk of {} is smaller than the image's {}: set server.disk to at least that",
            super::in_mib(disk),
            super::in_mib(image)
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_disk_is_refused_with_both_sizes() {
        let error = check_disk(1 << 30, (2 << 30) + 1).unwrap_err();
        assert!(error.message.contains("1024 MiB") && error.message.contains("2049 MiB"), "{error}");
        assert!(check_disk(5, 5).is_ok());
    }
}
