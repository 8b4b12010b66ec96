//! What the command line and the schedules file say, for the verbs that look at this host: where things are, and what the
//! schedules mean here.

use std::path::{Path, PathBuf};

use super::Trouble;
use super::arguments::HostArguments;
use super::text::Style;
use crate::gateway::GatewaySettings;
use crate::lifecycle::Settings;
use crate::readiness::{Definition, check_what_runs, definition};
use crate::schedules::{self, LoadError, Schedule, Schedules};
use crate::trust;

/// Where disk-image-builder is looked for when it is not on PATH; `setup/install` puts it there.
const DIB_HOME: &str = "/opt/image-manager/dib/bin/disk-image-create";
/// Free bytes below which no build starts.
const ROOM: u64 = 4 << 30;
/// The heartbeat is sent this many times within the silence that counts as death.
const BEATS: u32 = 6;

/// Reads the schedules; their mistakes are printed with carets.
pub(crate) fn load_schedules(path: &Path) -> Result<Schedules, Trouble> {
    trust::check(path, false).map_err(Trouble::usage)?;
    schedules::load(path).map_err(|error| mistakes(&error))
}

/// What the command line says about the host, with defaults found where the program was installed.
pub(crate) fn settings(host: &HostArguments, state: &Path, concurrent_builds: usize) -> Settings {
    let (elements, shipped) = elements_path(&host.elements, &host.schedules.schedules);
    Settings {
        state: state.to_owned(),
        scratch: host.scratch.as_deref().map_or_else(|| state.join("scratch"), absolute),
        dib: host.dib.as_deref().map_or_else(find_dib, absolute),
        elements,
        shipped,
        agent: host.agent.as_deref().map_or_else(find_agent, absolute),
        control_image: find_control_image(),
        private: host.private.iter().map(|path| absolute(path)).collect(),
        concurrent_builds,
        concurrent_trials: usize::from(host.concurrent_trials),
        gateway: GatewaySettings {
            heartbeat_interval: host.heartbeat_timeout / BEATS,
            heartbeat_timeout: host.heartbeat_timeout,
            ..GatewaySettings::default()
        },
        reattach: host.reattach,
        agent_endpoint: host.agent_endpoint.map(|address| address.to_string()),
        room: ROOM,
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// `disk-image-create` on PATH, else where `setup/install` puts it.
fn find_dib() -> PathBuf {
    crate::programs::find("disk-image-create").unwrap_or_else(|| PathBuf::from(DIB_HOME))
}

/// Where elements are looked for, and which of these directories came with this program: first those that the command
/// line names, else what is beside the schedules file, so that a site's own stand before ours; last those that `make
/// install` put beside the program, or those of the checkout that it was built in.
fn elements_path(named: &[PathBuf], schedules: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let beside = absolute(&schedules.parent().unwrap_or_else(|| Path::new("")).join("elements"));
    let installed = above_program(2).map(|prefix| prefix.join("share/image-manager/elements"));
    let checkout = above_program(3).map(|checkout| checkout.join("elements"));
    let shipped: Vec<PathBuf> = [installed, checkout]
        .into_iter()
        .flatten()
        .filter_map(|directory| directory.canonicalize().ok())
        .filter(|directory| directory.join("agent-install").is_dir())
        .collect();
    let own = if named.is_empty() { std::slice::from_ref(&beside) } else { named };
    let own = own.iter().filter(|directory| !named.is_empty() || directory.is_dir());
    let mut all: Vec<PathBuf> = Vec::new();
    // By their real names: what is beside the file may be the checkout's.
    for directory in
        own.map(|path| path.canonicalize().unwrap_or_else(|_| absolute(path))).chain(shipped.clone())
    {
        if !all.contains(&directory) {
            all.push(directory);
        }
    }
    if all.is_empty() {
        all.push(beside);
    }
    (all, shipped)
}

/// The agent: where `make install` puts it, where cargo puts the static one of a checkout, or beside this program.
fn find_agent() -> PathBuf {
    let name = "image-manager-agent";
    let installed = above_program(2).map(|prefix| prefix.join("lib/image-manager").join(name));
    // Before what lies beside a debug build, which is a dynamic agent.
    let directory = format!("{}-unknown-linux-gnu/agent", std::env::consts::ARCH);
    let checkout = above_program(2).map(|target| target.join(directory).join(name));
    let beside = above_program(1).map_or_else(|| PathBuf::from(name), |directory| directory.join(name));
    [installed, checkout].into_iter().flatten().find(|path| path.exists()).unwrap_or(beside)
}

/// What makes control images: where `make install` puts it, or in the checkout that this program was built in.
fn find_control_image() -> Option<PathBuf> {
    let installed = above_program(2).map(|prefix| prefix.join("share/image-manager/control-image/build"));
    let checkout = above_program(3).map(|checkout| checkout.join("testbed/tiny-image/build"));
    [installed, checkout].into_iter().flatten().find(|path| crate::programs::is_executable(path))
}

/// So many levels above this program: its directory, the prefix that it is installed under (or the target directory of
/// a checkout), the checkout.
fn above_program(levels: usize) -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    program.ancestors().nth(levels).map(Path::to_owned)
}

/// A schedules file in which no mistake was found.
pub(crate) struct Loaded {
    pub(crate) schedules: Schedules,
    pub(crate) definition: Definition,
    /// What the command line says about the host.
    pub(crate) settings: Settings,
}

/// Reads the schedules and asks disk-image-builder's resolver about those that are needed: mistakes in either are
/// printed with carets.
pub(crate) fn load_definition(
    host: &HostArguments,
    needed: &(dyn Fn(&Schedule) -> bool + Sync),
) -> Result<Loaded, Trouble> {
    expect_directories(host)?;
    let schedules = load_schedules(&host.schedules.schedules)?;
    let settings = settings(host, &absolute(&host.state.state), 1);
    // Before the resolver, which runs as root what these are.
    check_what_runs(&settings, &schedules).map_err(Trouble::usage)?;
    let definition = definition(&schedules, &settings, needed).into_result(&schedules);
    let definition = definition.map_err(|error| mistakes(&error))?;
    Ok(Loaded { schedules, definition, settings })
}

/// What somebody has named must be there; the scratch directory is made.
fn expect_directories(host: &HostArguments) -> Result<(), Trouble> {
    if let Some(path) = host.elements.iter().find(|path| !path.is_dir()) {
        let why = if path.exists() { "it is not a directory" } else { "there is no such directory" };
        return Err(Trouble::usage(format!(
            "--elements {}: {why}; name one with elements of your own, or leave out --elements and \
             IMAGE_MANAGER_ELEMENTS",
            path.display()
        )));
    }
    expect_scratch(host.scratch.as_deref())
}

/// A scratch directory that is named must be one, or not be there yet.
fn expect_scratch(scratch: Option<&Path>) -> Result<(), Trouble> {
    match scratch.filter(|path| path.exists() && !path.is_dir()) {
        Some(path) => Err(Trouble::usage(format!(
            "--scratch {}: it is not a directory; name one, which is made if it does not exist",
            path.display()
        ))),
        None => Ok(()),
    }
}

fn mistakes(error: &LoadError) -> Trouble {
    Trouble::mistakes(error.render(Style::of_stderr().colours()))
}
