//! Putting a manager together from the command line, for the verbs that build.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Trouble;
use super::arguments::HostArguments;
use super::host::settings;
use crate::cloud::{Cloud, CloudKind, Opening, Trouble as CloudTrouble};
use crate::gateway::{Certificate, Gateway, ServeError, serve as serve_gateway};
use crate::history::{History, HistoryError};
use crate::lifecycle::{Manager, Parts};
use crate::schedules::{Schedule, Schedules};
use crate::trust;
use crate::unchanged::remove_left;

/// The agents' port.
pub(crate) const GATEWAY_PORT: u16 = 50051;

/// Who uses a state directory; the content of `manager.json` in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Holder {
    /// Process id.
    pub(crate) pid: u32,
    /// Where it takes operators; `None` for one that works in the foreground.
    pub(crate) operator: Option<SocketAddr>,
    /// Whether it takes the token of `--api-token-file`.
    #[serde(default)]
    pub(crate) api_token_file: bool,
}

impl Holder {
    /// Whether it is still there: one that was killed has taken nothing back, and its process id may be another program's.
    pub(crate) fn is_alive(&self) -> bool {
        let program = |process: &str| fs::read(Path::new("/proc").join(process).join("comm")).ok();
        program(&self.pid.to_string()).is_some_and(|name| Some(name) == program("self"))
    }
}

/// The lock of a state directory: one manager at a time.
pub(crate) struct StateLock {
    directory: PathBuf,
    _lock: Flock<fs::File>,
}

impl StateLock {
    /// Takes the lock; `None` when another manager has it.
    pub(crate) fn take(directory: &Path) -> Result<Option<Self>, Trouble> {
        let failed = |error: std::io::Error| {
            let why = if directory.is_file() { "it is a file".to_owned() } else { error.to_string() };
            Trouble::usage(format!(
                "--state {}: {why}; name a directory that can be made or written",
                directory.display()
            ))
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        // Absolute: programs that we start have other working directories.
        let directory = directory.canonicalize().map_err(failed)?;
        trust::check(&directory, false).map_err(Trouble::usage)?;
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join("lock"))
            .map_err(failed)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => {
                // A killed predecessor's word must not send anybody to a dead port. Not there is as good.
                let _ = fs::remove_file(holder_file(&directory));
                Ok(Some(Self { directory, _lock: lock }))
            }
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(Trouble::errored(format!("cannot lock {}: {errno}", directory.display()))),
        }
    }

    /// The state directory, absolute.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Says who has the lock.
    pub(crate) fn sign(&self, operator: Option<SocketAddr>, api_token_file: bool) -> Result<(), Trouble> {
        let holder = Holder { pid: std::process::id(), operator, api_token_file };
        let text = serde_json::to_string(&holder).map_err(Trouble::errored)?;
        let path = holder_file(&self.directory);
        let partial = path.with_extension("partial");
        fs::write(&partial, text)
            .and_then(|()| fs::rename(&partial, &path))
            .map_err(|error| Trouble::errored(format!("{}: {error}", path.display())))
    }
}

impl Drop for StateLock {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = fs::remove_file(holder_file(&self.directory));
    }
}

fn holder_file(directory: &Path) -> PathBuf {
    directory.join("manager.json")
}

/// Who has the lock of a state directory.
pub(crate) fn holder(directory: &Path) -> Option<Holder> {
    serde_json::from_str(&fs::read_to_string(holder_file(directory)).ok()?).ok()
}

/// Takes from others what they may read of the manager's own.
pub(super) fn close_to_readers(state: &Path) -> Result<(), Trouble> {
    let inside =
        ["image-manager.db", "image-manager.db-wal", "tls", "tls/key.pem", "builds", "cache", "scratch"];
    for path in inside.iter().map(|name| state.join(name)).chain([state.to_owned()]) {
        match trust::close_to_readers(&path) {
            Ok(true) => tracing::warn!("{} was readable by others; it no longer is", path.display()),
            Ok(false) => {}
            Err(error) => return Err(Trouble::errored(format!("{}: {error}", path.display()))),
        }
    }
    Ok(())
}

/// Refuses a state directory in which nothing was built.
pub(super) fn there_is_history(directory: &Path) -> Result<PathBuf, Trouble> {
    let path = directory.join("image-manager.db");
    if !path.exists() {
        return Err(Trouble::usage(format!(
            "there is no history in {}: name the state directory with --state, or build something first with \
             `image-manager run SCHEDULE`",
            directory.display()
        )));
    }
    Ok(path)
}

/// Opens the history of a state directory that must be there.
pub(crate) fn open_history(directory: &Path) -> Result<History, Trouble> {
    let path = there_is_history(directory)?;
    History::open_to_read(&path).map_err(Trouble::errored)
}

/// Refuses the name of a schedule that the history does not know.
pub(super) async fn expect_schedule(history: &History, schedule: Option<&str>) -> Result<(), Trouble> {
    let Some(schedule) = schedule else { return Ok(()) };
    history.expect_schedule(schedule).await.map_err(|error| match error {
        HistoryError::NoBuild(_) => Trouble::usage(error),
        other => Trouble::errored(other),
    })
}

/// A manager that is put together, with its gateway open.
pub(crate) struct Instance {
    pub(crate) manager: Manager,
    /// Ends the gateway, and whatever else listens to it.
    pub(crate) stop: CancellationToken,
    pub(crate) gateway_address: SocketAddr,
    /// The gateway's task; it ends only when it fails or is stopped.
    pub(crate) gateway: tokio::task::JoinHandle<Result<(), ServeError>>,
}

/// What a manager is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Builds {
    /// It serves, with at most so many builds at once.
    Served(usize),
    /// One build in the foreground.
    OneInForeground,
}

/// Where the gateway should listen.
pub(crate) fn gateway_address(schedules: &Schedules) -> SocketAddr {
    let all_local = schedules.schedules.iter().all(Schedule::is_on_this_host);
    let ip = if all_local { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    SocketAddr::new(IpAddr::V4(ip), GATEWAY_PORT)
}

impl Instance {
    /// Opens everything that a manager needs, after [`super::host::load_definition`] has looked at what decides what root
    /// runs. `listener` has the agents' port. Nothing is built yet. The clouds of the schedules in `needed` must be configured;
    /// others may be missing.
    pub(crate) async fn open(
        host: &HostArguments,
        lock: &StateLock,
        schedules: Schedules,
        needed: &(dyn Fn(&Schedule) -> bool + Sync),
        listener: TcpListener,
        builds: Builds,
    ) -> Result<Self, Trouble> {
        let (concurrent_builds, serves) = match builds {
            Builds::Served(concurrent) => (concurrent, true),
            Builds::OneInForeground => (1, false),
        };
        let settings = settings(host, &lock.directory, concurrent_builds);
        close_to_readers(&lock.directory)?;
        let gateway_address = listener.local_addr().map_err(Trouble::errored)?;
        let (database, asking) = (settings.database(), settings.asking());
        // Looks the file through, which takes seconds for a large one.
        let history = tokio::task::spawn_blocking(move || {
            // Who has the lock asks nobody yet.
            remove_left(&asking);
            History::open(&database)
        });
        let history = history.await;
        let history = history.map_err(Trouble::errored)?.map_err(Trouble::errored)?;
        let owner = history.owner().await.map_err(Trouble::errored)?;
        let certificate = Certificate::load_or_make(&lock.directory.join("tls")).map_err(Trouble::errored)?;
        let gateway = Gateway::new(settings.gateway);
        let stop = CancellationToken::new();
        let opening = Opening { state: &lock.directory, owner: &owner };
        // Every manager has it: a build that began before may need it, whatever the schedules say now.
        let local = (CloudKind::of(CloudKind::DEFAULT).open)(CloudKind::DEFAULT, &opening);
        let mut clouds = Clouds::from([(CloudKind::DEFAULT.to_owned(), local.map_err(Trouble::errored)?)]);
        clouds.extend(self::clouds(&schedules, needed, &opening, &clouds)?);
        if settings.agent_endpoint.is_none() {
            prove_reach(&schedules, needed, &clouds, gateway_address).await?;
        }
        let manager = Manager::new(Parts {
            settings,
            history,
            owner,
            gateway: gateway.clone(),
            gateway_address,
            fingerprint: certificate.fingerprint.clone(),
            clouds,
            schedules,
            serves,
        });
        let ended = stop.clone();
        let gateway =
            tokio::spawn(async move { serve_gateway(gateway, listener, &certificate, ended).await });
        Ok(Self { manager, stop, gateway_address, gateway })
    }
}

pub(crate) type Clouds = BTreeMap<String, Arc<dyn Cloud>>;

/// The clouds of the schedules that are not among the `known` ones. None of them is asked anything
/// before a build needs it.
pub(crate) fn clouds(
    schedules: &Schedules,
    needed: &(dyn Fn(&Schedule) -> bool + Sync),
    opening: &Opening<'_>,
    known: &Clouds,
) -> Result<Clouds, Trouble> {
    let mut clouds = Clouds::new();
    for (schedule, name) in targets(schedules) {
        if clouds.contains_key(name) || known.contains_key(name) {
            continue;
        }
        match (CloudKind::of(name).open)(name, opening) {
            Ok(cloud) => drop(clouds.insert(name.to_owned(), cloud)),
            Err(error) if needed(schedule) => {
                return Err(Trouble::usage(format!("schedule {:?}: {error}", schedule.name)));
            }
            Err(error) => tracing::warn!("schedule {:?} cannot be built: {error}", schedule.name),
        }
    }
    Ok(clouds)
}

/// The cloud of each target, with its schedule.
fn targets(schedules: &Schedules) -> impl Iterator<Item = (&Schedule, &str)> {
    schedules
        .schedules
        .iter()
        .flat_map(|schedule| schedule.targets.iter().map(move |target| (schedule, target.cloud.as_str())))
}

/// That servers will have an address to dial, before anything is built for them.
pub(crate) async fn prove_reach(
    schedules: &Schedules,
    needed: &(dyn Fn(&Schedule) -> bool + Sync),
    clouds: &Clouds,
    gateway: SocketAddr,
) -> Result<(), Trouble> {
    for (schedule, name) in one_of_each_cloud(schedules, needed) {
        let Some(cloud) = clouds.get(name) else { continue };
        match cloud.agent_endpoint(gateway).await {
            Err(error) if error.trouble == CloudTrouble::Configuration => {
                return Err(Trouble::usage(format!("schedule {:?}: {error}", schedule.name)));
            }
            // A name that does not resolve now may do so when a server is booted.
            Err(error) => tracing::warn!("schedule {:?}: {error}", schedule.name),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Each cloud elsewhere, with a schedule of it: what is asked of a cloud may take it seconds to answer.
fn one_of_each_cloud<'a>(
    schedules: &'a Schedules,
    needed: &(dyn Fn(&Schedule) -> bool + Sync),
) -> Vec<(&'a Schedule, &'a str)> {
    let mut seen = BTreeSet::new();
    let far = targets(schedules).filter(|(_, cloud)| !CloudKind::of(cloud).on_this_host);
    far.filter(|(schedule, cloud)| needed(schedule) && seen.insert(*cloud)).collect()
}

/// Binds a port; a taken one is named with its flag.
pub(crate) async fn listen(address: SocketAddr, flag: &str) -> Result<TcpListener, Trouble> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                format!("; another program uses it (`ss -ltnp 'sport = :{}'` shows which)", address.port())
            }
            _ => String::new(),
        };
        Trouble::usage(format!("cannot listen on {flag} {address}: {error}{hint}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedules;

    #[test]
    fn a_holder_is_alive_while_its_process_id_is_that_of_this_program() {
        let is_alive = |pid: u32| Holder { pid, operator: None, api_token_file: true }.is_alive();
        assert!(is_alive(std::process::id()));
        // cargo, or whatever else runs the tests.
        assert!(!is_alive(std::os::unix::process::parent_id()), "another program has the process id");
        // Above the largest that Linux gives.
        assert!(!is_alive(u32::MAX), "no process has it");
    }

    #[test]
    fn a_cloud_of_many_schedules_is_asked_once() {
        let schedule = |name: &str, cloud: &str| {
            format!(
                "[schedule.{name}]\nimage.elements = [\"e\"]\ncloud = \"{cloud}\"\nserver.flavor = \"m\"\n"
            )
        };
        let text = [("a", "one"), ("b", "one"), ("c", "two"), ("d", "one"), ("e", "two"), ("f", "one")];
        let text: String = text.iter().map(|(name, cloud)| schedule(name, cloud)).collect();
        let schedules = schedules::parse(Path::new("schedules.toml"), &text).unwrap();
        let asked = |needed: &(dyn Fn(&Schedule) -> bool + Sync)| -> Vec<String> {
            one_of_each_cloud(&schedules, needed).iter().map(|(schedule, _)| schedule.name.clone()).collect()
        };
        assert_eq!(asked(&|_| true), ["a", "c"]);
        assert_eq!(asked(&|schedule| schedule.name.as_str() > "a"), ["b", "c"]);
    }
}
