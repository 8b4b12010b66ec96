//! What the local cloud needs of this host, in one place: for `doctor`, and before a build is started.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;

use super::confinement::{Account, MAKE_USER, USER};
use super::firmware::{self, MachineKind};
use super::network::Plan;
use super::programs::{self, Programs, clean_command};
use crate::cloud::{CloudError, Trouble};
use crate::finding::Finding;
use crate::schedules::Arch;

/// Seconds that `pasta` may take to make a network and end it.
const TRIAL: &str = "20";
/// The exit code of `timeout` when they are over.
const LATE: i32 = 124;

/// Everything that the local cloud needs of this host, with the programs on `PATH`: the programs, QEMU's user, and that
/// a network can be made for a server, which is tried; and what these machines need. Takes a tenth of a second, and 20 s
/// at the very most.
pub(super) fn needs(machines: &[MachineKind]) -> Vec<Finding> {
    found(&Programs { qemu: None, qemu_img: None }, machines)
}

/// The first thing that is missing, as a refusal that names what mends it.
pub(super) fn require(programs: &Programs, machine: MachineKind) -> Result<(), CloudError> {
    let first = found(programs, &[machine]).into_iter().find_map(|need| Some((need.what, need.trouble?)));
    first.map_or(Ok(()), |(what, trouble)| {
        let message = format!("{what}: {}; to fix it: {}", trouble.wrong, trouble.mend);
        Err(CloudError::new(Trouble::Configuration, message))
    })
}

fn found(programs: &Programs, machines: &[MachineKind]) -> Vec<Finding> {
    let architectures: BTreeSet<Arch> = machines.iter().map(|machine| machine.arch).collect();
    let mut needs: Vec<Finding> =
        architectures.into_iter().map(|arch| program(programs, &firmware::qemu(arch))).collect();
    needs.extend(programs::NEEDED.iter().map(|needed| program(programs, needed)));
    let mut images: Vec<Finding> = machines.iter().filter_map(|machine| uefi(*machine)).collect();
    images.dedup();
    needs.extend(images);
    let account = Account::find();
    needs.push(match &account {
        Ok(account) => Finding::good(format!("user {USER} (id {}), which QEMU runs as", account.user)),
        Err(error) => Finding::bad("QEMU's user", error.message.clone(), MAKE_USER),
    });
    // Without what it is made with there is nothing to be tried.
    if let (Ok(account), true) = (account, needs.iter().all(|need| need.trouble.is_none())) {
        needs.push(network(account));
    }
    needs
}

fn program(programs: &Programs, needed: &programs::Needed) -> Finding {
    let package = Finding::install(needed.package);
    match programs.find(needed.name) {
        Ok(path) => Finding::good(format!("{} ({})", needed.name, path.display())),
        Err(_) => Finding::bad(needed.name, format!("not found; it {}", needed.purpose), package),
    }
}

/// The firmware of a machine, where it is not QEMU's own.
fn uefi(machine: MachineKind) -> Option<Finding> {
    let uefi = machine.uefi()?;
    let what = format!("firmware \"{}\" for {} ({})", machine.firmware.as_str(), machine.arch, uefi.code);
    Some(match uefi.missing() {
        Some(missing) => Finding::bad(what, format!("there is no {missing}"), Finding::install(uefi.package)),
        None => Finding::good(what),
    })
}

/// Whether this host lets QEMU's user have a network of its own.
fn network(account: Account) -> Finding {
    const WHAT: &str = "a network of its own for each server";
    match try_network(account) {
        Ok(()) => Finding::good(WHAT.to_owned()),
        Err(said) => Finding::bad(
            WHAT,
            format!("pasta cannot make one: {said}"),
            "an IPv4 default route (ip route), and user namespaces (sysctl kernel.unprivileged_userns_clone=1 \
             user.max_user_namespaces=10000)",
        ),
    }
}

fn try_network(account: Account) -> Result<(), String> {
    let plan = Plan::of_this_host(None);
    let found =
        || Ok((Programs::of_the_host("setpriv")?, Programs::of_the_host("pasta")?, plan.holder(&[])?));
    let (setpriv, pasta, holder) = found().map_err(|error: CloudError| error.message)?;
    let deadline = ["--kill-after=2", TRIAL].map(OsString::from);
    let tried = clean_command(Path::new("timeout"))
        .into_std()
        .args(deadline)
        .arg(setpriv)
        .args(account.setpriv(None))
        .arg("--")
        .arg(pasta)
        .args(plan.arguments())
        .arg("--")
        .args(holder)
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    match tried.status.code() {
        Some(0) => Ok(()),
        Some(LATE) => Err(format!("it did not finish within {TRIAL} s")),
        _ => Err(super::network::said(tried.stderr.as_slice())),
    }
}
