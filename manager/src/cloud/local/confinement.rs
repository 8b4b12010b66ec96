//! The user that QEMU runs as, and what it is started through.
//!
//! ```text
//! nsenter    into the network of the server (`network.rs`)
//! unshare    mounts, processes and IPC of its own
//! launch.sh  as root: opens the server's files, waits for QEMU's end
//! setpriv    the user, no capabilities, no new ones
//! QEMU       with the files as descriptors
//! ```
//!
//! A QEMU that its guest has taken over has the descriptors of its own server, a directory for its sockets, and its
//! network; it knows no other process, and what lies in the state directory has no path for it.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use nix::unistd::User;

use super::firmware;
use super::programs::Programs;
use super::qemu::{CONFIG_DRIVE, DISK};
use crate::cloud::{CloudError, Trouble};
use crate::schedules::Arch;

/// The user that QEMU and its network run as.
pub(super) const USER: &str = "image-manager-qemu";
/// What makes the user.
pub(super) const MAKE_USER: &str =
    "useradd --system --user-group --no-create-home --shell /usr/sbin/nologin image-manager-qemu";
/// Starts QEMU with the server's files open.
const LAUNCH: &str = include_str!("launch.sh");

/// Ids of the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) user: u32,
    pub(super) group: u32,
}

impl Account {
    /// Looks the user up. Fails when there is none; [`MAKE_USER`] makes it.
    pub(super) fn find() -> Result<Self, CloudError> {
        let refuse = |message: String| Err(CloudError::new(Trouble::Configuration, message));
        match User::from_name(USER) {
            Ok(Some(found)) if !found.uid.is_root() => {
                Ok(Self { user: found.uid.as_raw(), group: found.gid.as_raw() })
            }
            Ok(Some(_)) => refuse(format!("the user {USER} is root: QEMU needs a user without privileges")),
            Ok(None) => refuse(format!("there is no user {USER} for QEMU to run as")),
            Err(error) => refuse(format!("cannot look up the user {USER}: {error}")),
        }
    }

    /// Arguments of `setpriv` that make a command this user, for good. `also` is a group that it is in besides.
    pub(super) fn setpriv(self, also: Option<u32>) -> Vec<OsString> {
        let groups = also.map_or_else(|| "--clear-groups".to_owned(), |group| format!("--groups={group}"));
        let user = [format!("--reuid={}", self.user), format!("--regid={}", self.group), groups];
        user.into_iter()
            .map(OsString::from)
            .chain(["--no-new-privs", "--inh-caps=-all"].map(OsString::from))
            .collect()
    }
}

/// A QEMU to be started.
pub(super) struct Launch<'a> {
    pub(super) programs: &'a Programs,
    pub(super) account: Account,
    /// A group that opens the device of the acceleration.
    pub(super) group: Option<u32>,
    /// A process in the network of the server.
    pub(super) network: i32,
    /// What QEMU is to see as `/etc/resolv.conf`.
    pub(super) resolver: Option<&'a Path>,
    /// The server's directory.
    pub(super) home: &'a Path,
    /// The image that the disk begins with.
    pub(super) image: &'a Path,
    pub(super) console: &'a Path,
    /// The processors that it is to have.
    pub(super) arch: Arch,
    /// Whether it has variables of a firmware.
    pub(super) variables: bool,
    /// QEMU's arguments.
    pub(super) arguments: Vec<OsString>,
}

impl Launch<'_> {
    /// The program and its arguments. Fails when a program is missing.
    pub(super) fn command_line(self) -> Result<Vec<OsString>, CloudError> {
        let [nsenter, unshare, setpriv] = ["nsenter", "unshare", "setpriv"].map(Programs::of_the_host);
        let mut line: Vec<OsString> =
            vec![nsenter?.into(), format!("--net=/proc/{}/ns/net", self.network).into()];
        line.extend([unshare?.into(), "--mount".into(), "--pid".into(), "--ipc".into()]);
        line.extend(["/bin/sh", "-c", LAUNCH, "launch.sh"].map(OsString::from));
        line.extend([self.image.into(), self.home.join(DISK).into(), self.home.join(CONFIG_DRIVE).into()]);
        line.extend([self.console.into(), self.resolver.map_or(OsStr::new(""), Path::as_os_str).into()]);
        let variables = self.variables.then(|| firmware::variables(self.home).into_os_string());
        line.push(variables.unwrap_or_default());
        line.push(setpriv?.into());
        line.extend(self.account.setpriv(self.group));
        // With the shell that waits for it goes QEMU, which nobody else could tell the end of.
        line.extend(
            ["--ambient-caps=-all", "--bounding-set=-all", "--pdeathsig=KILL", "--"].map(OsString::from),
        );
        line.push(self.programs.qemu(self.arch)?.into());
        line.extend(self.arguments);
        Ok(line)
    }
}
