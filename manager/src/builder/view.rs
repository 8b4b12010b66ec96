//! What a build sees of this host's files.
//!
//! A hook runs as root. What it has no business with is covered in its mount namespace before DIB starts: the state
//! directory, home directories, credentials, other builds. What it needs is bound back to where it was: its own scratch
//! directory and the cache to write to, elements, agent and DIB to read only. `contain.sh` does the mounting.
//!
//! This keeps what an element does by mistake, or looks for, away from the manager's secrets. It is no wall against
//! a hook that is out to get around it: root may unmount, and DIB needs the host's loop devices and with them /dev.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead as _, Read as _};
use std::path::{Path, PathBuf};

use super::Order;
use super::command::Layout;

/// Places where hosts keep what is nobody's business but their own: home directories, OpenStack's credentials, the
/// manager's settings, what a cloud told this host, sessions, credentials of services, the system bus.
const HIDDEN: [&str; 10] = [
    "/home",
    "/root",
    "/etc/image-manager",
    "/etc/openstack",
    "/run/credentials",
    "/run/dbus",
    "/run/secrets",
    "/run/systemd/private",
    "/run/user",
    "/var/lib/cloud",
];
/// Where the host's own SSH keys are.
const SSH: &str = "/etc/ssh";
/// Most links that are followed from a program to its interpreter.
const LINKS: usize = 8;
/// Most bytes of a script's first line.
const FIRST_LINE: u64 = 4096;
/// A directory with fewer parts than these, `/` included, is the system's.
const SYSTEM_DEPTH: usize = 3;

/// What is done about a path; the words that `contain.sh` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PathRule {
    Hide,
    Read,
    Write,
}

impl PathRule {
    fn word(self) -> &'static str {
        match self {
            Self::Hide => "hide",
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// Paths with what is done about them. In this order a directory comes before what lies in it.
#[derive(Debug, Default)]
struct View(BTreeMap<PathBuf, PathRule>);

/// The arguments of `contain.sh` before `--`: pairs of a word and a path.
pub(super) fn arguments(order: &Order, layout: &Layout) -> io::Result<Vec<OsString>> {
    let mut view = View::default();
    let fixed = HIDDEN.iter().map(PathBuf::from);
    let own_home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| !is_system(home));
    let named = std::env::var_os("OS_CLIENT_CONFIG_FILE").map(PathBuf::from);
    let here = ["clouds.yaml", "clouds-public.yaml", "secure.yaml"].map(PathBuf::from);
    for path in fixed.chain(own_home).chain(named).chain(here).chain(host_keys()) {
        view.hide(&path)?;
    }
    let secrets = order.inputs.secrets.iter().map(|secret| &secret.source);
    for path in order.private.iter().chain(secrets) {
        view.hide(path)?;
    }
    let stand_ins = order.environment.get(super::STAND_INS).map(PathBuf::from);
    for path in order.elements_path.iter().chain([&order.agent]).chain(&stand_ins) {
        view.keep(path, PathRule::Read)?;
    }
    let program = std::path::absolute(&order.program)?;
    view.keep(&program, PathRule::Read)?;
    let run = interpreters(&program).into_iter().chain([program.clone()]);
    let places: Vec<PathBuf> = run.filter_map(|program| view.installation(&program)).collect();
    for place in &places {
        view.keep(place, PathRule::Read)?;
    }
    view.keep(&order.bases, PathRule::Read)?;
    view.keep(&order.cache, PathRule::Write)?;
    view.keep(&layout.root, PathRule::Write)?;
    let pairs = view.0.into_iter().flat_map(|(path, rule)| [OsString::from(rule.word()), path.into()]);
    Ok(pairs.collect())
}

impl View {
    fn hide(&mut self, path: &Path) -> io::Result<()> {
        let real = std::path::absolute(path)?.canonicalize().ok();
        if let Some(real) = real.filter(|real| real.parent().is_some()) {
            self.0.insert(real, PathRule::Hide);
        }
        Ok(())
    }

    /// Under its own name and under the one that it is called by, which may lead over a link that is hidden.
    fn keep(&mut self, path: &Path, rule: PathRule) -> io::Result<()> {
        let named = std::path::absolute(path)?;
        if let Ok(real) = named.canonicalize() {
            if named != real {
                self.0.insert(named, rule);
            }
            self.0.insert(real, rule);
        }
        Ok(())
    }

    /// The directory that a program was installed to: `/opt/dib` for `/opt/dib/bin/disk-image-create`. Nothing where
    /// that is a part of the system, which is seen anyway.
    fn installation(&self, program: &Path) -> Option<PathBuf> {
        let bin = program.parent()?;
        let whole = bin.parent()?;
        // As a whole it would bring back what is hidden.
        let holds_hidden =
            self.0.iter().any(|(path, rule)| *rule == PathRule::Hide && path.starts_with(whole));
        let place = if holds_hidden { bin } else { whole };
        (!is_system(place)).then(|| place.to_owned())
    }
}

/// `/usr`, `/opt`, `/`, but for the home directory of root.
fn is_system(path: &Path) -> bool {
    path.components().count() < SYSTEM_DEPTH
}

/// The private keys of this host's SSH server.
fn host_keys() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(SSH) else { return Vec::new() };
    let is_key = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with("ssh_host_") && name.ends_with("_key")
    };
    entries.flatten().map(|entry| entry.path()).filter(is_key).collect()
}

/// What a script is run by, and what that is a link to, step by step: the Python of a virtual environment may lie
/// in somebody's home directory.
fn interpreters(program: &Path) -> Vec<PathBuf> {
    let mut line = Vec::new();
    let read = fs::File::open(program)
        .map(|file| io::BufReader::new(file.take(FIRST_LINE)).read_until(b'\n', &mut line));
    let text = String::from_utf8_lossy(&line);
    let named = text.strip_prefix("#!").and_then(|line| line.split_whitespace().next());
    let (Ok(Ok(_)), Some(named)) = (read, named) else { return Vec::new() };
    let mut found = vec![PathBuf::from(named)];
    while let (Some(last), true) = (found.last(), found.len() < LINKS) {
        let Some(directory) = last.parent() else { break };
        let Ok(target) = fs::read_link(last) else { break };
        let next = directory.join(target);
        found.push(next);
    }
    // The last step, through links among the directories too.
    found.extend(found.last().and_then(|last| last.canonicalize().ok()));
    found.retain(|path| path.is_absolute());
    found
}
