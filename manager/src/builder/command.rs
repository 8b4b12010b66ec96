//! The command line and the environment of a build.

use std::ffi::{OsStr, OsString};
use std::io::PipeWriter;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::{BuilderError, Order, bases, containers, inputs, proxies, view};
use crate::reason::Reason;

/// The first process in the build's namespaces.
const CONTAIN: &str = include_str!("contain.sh");
/// The name by which that process is known: it precedes the marker in the command line.
pub(super) const CONTAIN_NAME: &str = "contain.sh";
/// What the marker in the command line begins with; the build's id follows.
pub(super) const MARKER: &str = "image-manager-build=";

/// Where DIB's tools are looked for, after DIB's own directory.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where things are in a scratch directory.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// The scratch directory itself.
    pub(super) root: PathBuf,
    /// DIB works here.
    pub(super) temporary: PathBuf,
    /// The home of everything that runs.
    pub(super) home: PathBuf,
    /// What DIB makes goes here.
    pub(super) output: PathBuf,
    /// The files that the build is given.
    pub(super) inputs: PathBuf,
    /// What the bootstrap made, and from what.
    pub(super) base: PathBuf,
    /// podman and buildah keep theirs here.
    pub(super) containers: PathBuf,
}

impl Layout {
    /// Of this scratch directory.
    pub(super) fn of(scratch: &Path) -> Self {
        Self {
            root: scratch.to_owned(),
            temporary: scratch.join(temporary(scratch)),
            home: scratch.join("home"),
            output: scratch.join("out"),
            inputs: scratch.join("inputs"),
            base: scratch.join("base"),
            containers: scratch.join("containers"),
        }
    }

    /// What DIB is told to call its output; it appends the format and `.d`.
    pub(super) fn image(&self) -> PathBuf {
        self.output.join("image")
    }
}

/// The name of DIB's working directory in a scratch directory. With the random end of the build's id in it, since the
/// kernel names the file behind a loop device from there on, once the namespace of the build is gone.
pub(super) fn temporary(scratch: &Path) -> String {
    let name = scratch.file_name().unwrap_or_default().to_string_lossy();
    let end = name.char_indices().nth_back(11).map_or(0, |(start, _)| start);
    format!("tmp-{}", name.get(end..).unwrap_or_default())
}

/// Refuses what DIB, which passes them through a shell unquoted, would not take as plain names, and a DIB
/// that is not there.
pub(super) async fn check(order: &Order) -> Result<(), BuilderError> {
    let plain = |name: &str, also: &str| {
        name.starts_with(|first: char| first.is_ascii_alphanumeric())
            && name.chars().all(|one| one.is_ascii_alphanumeric() || also.contains(one))
    };
    if let Some(element) = order.elements.iter().find(|name| !plain(name, "._-")) {
        return Err(BuilderError::new(
            Reason::DibElementUnknown,
            format!("{element:?} is not the name of an element"),
        ));
    }
    if let Some(package) = order.packages.iter().find(|name| !plain(name, "._+:~=-")) {
        return Err(BuilderError::new(
            Reason::DibPackageMissing,
            format!("{package:?} is not the name of a package"),
        ));
    }
    if !plain(&order.build_id, "._-") {
        return Err(BuilderError::new(Reason::DibFailed, format!("{:?} is not a build id", order.build_id)));
    }
    match tokio::fs::metadata(&order.program).await {
        Ok(file) if file.is_file() && file.permissions().mode() & 0o111 != 0 => Ok(()),
        _ => Err(BuilderError::new(Reason::DibMissing, missing_program(&order.program))),
    }
}

/// How to get disk-image-builder to where it should be.
fn missing_program(program: &Path) -> String {
    // Two levels above `bin/disk-image-create`, unless that is the root of everything.
    let home = program.ancestors().nth(2).filter(|home| home.is_absolute() && home.parent().is_some());
    let home = home.unwrap_or(Path::new("/opt/image-manager/dib")).display();
    format!(
        "disk-image-builder is not installed: {} cannot be executed. Install it with `setup/install build` (of the \
         package: `/usr/share/image-manager/setup/install build`), or with: python3 -m venv {home} && \
         {home}/bin/pip install diskimage-builder setuptools; or name it with --dib",
        program.display()
    )
}

/// The whole command: DIB in namespaces of its own, with its output going to `output`.
pub(super) fn command(order: &Order, layout: &Layout, output: PipeWriter) -> std::io::Result<Command> {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "--pid", "--ipc", "--uts", "--fork", "--mount-proc"])
        .args(["--kill-child=KILL", "bash", "-c", CONTAIN, CONTAIN_NAME])
        .arg(format!("{MARKER}{}", order.build_id))
        .args(view::arguments(order, layout)?)
        .arg("--")
        .arg(std::path::absolute(&order.program)?)
        .args(arguments(order, layout))
        .env_clear()
        .envs(environment(order, layout)?)
        .current_dir(&layout.root)
        .stdin(if order.inputs.secrets.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0)
        .kill_on_drop(true);
    Ok(command)
}

/// A program that is not disk-image-builder, with its own standard output and error: in a process namespace that is marked
/// with the name of the scratch directory that it works in, so that [`super::clean`] of that directory ends it.
pub(crate) fn marked(name: &str, program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--kill-child=KILL", "bash", "-c", "shift; exec \"$@\"", CONTAIN_NAME])
        .arg(format!("{MARKER}{name}"))
        .arg(program)
        .env_clear()
        .env("PATH", SYSTEM_PATH)
        .envs(proxies::PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .process_group(0)
        .kill_on_drop(true);
    command
}

fn arguments(order: &Order, layout: &Layout) -> Vec<OsString> {
    // -n: without the element "base", which brings what no cloud image needs; a schedule may name it.
    let mut arguments: Vec<OsString> = ["-n", "-t", order.format.as_str(), "-o"].map(OsString::from).to_vec();
    arguments.push(layout.image().into());
    if !order.qemu_img_options.is_empty() {
        arguments.extend(["--qemu-img-options".into(), order.qemu_img_options.clone().into()]);
    }
    if !order.packages.is_empty() {
        arguments.extend(["-p".into(), order.packages.join(",").into()]);
    }
    arguments.push("--".into());
    arguments.extend(order.elements.iter().map(OsString::from));
    arguments
}

fn environment(order: &Order, layout: &Layout) -> std::io::Result<Vec<(OsString, OsString)>> {
    let program = std::path::absolute(&order.program)?;
    let mut path = program.parent().map(OsString::from).unwrap_or_default();
    path.push(":");
    path.push(SYSTEM_PATH);
    let mut elements = OsString::new();
    for directory in &order.elements_path {
        if !elements.is_empty() {
            elements.push(":");
        }
        elements.push(std::path::absolute(directory)?);
    }
    let cache = std::path::absolute(&order.cache)?;

    // Later ones win: first what a schedule may change, then the schedule, then what it may not.
    let set = |name: &str, value: &OsStr| (OsString::from(name), value.to_owned());
    let mut variables: Vec<_> =
        proxies::PASSED_ON.iter().filter_map(|name| Some((name.into(), std::env::var_os(name)?))).collect();
    variables.push(set("LANG", "C.UTF-8".as_ref()));
    variables.push(set("DIB_DEBUG_TRACE", "0".as_ref()));
    // Without the archive's key debootstrap would only warn, and take whatever a mirror gives it.
    variables.push(set("DIB_DEBOOTSTRAP_EXTRA_ARGS", "--force-check-gpg".as_ref()));
    variables.extend(order.environment.iter().map(|(name, value)| (name.into(), value.into())));
    variables.extend([
        // A schedule that sets it has it agree.
        set("ARCH", order.arch.as_str().as_ref()),
        set("PATH", &path),
        set("HOME", layout.home.as_os_str()),
        set("TMP_DIR", layout.temporary.as_os_str()),
        set("TMPDIR", layout.temporary.as_os_str()),
        // Beside the cache that they guard: every build has a home of its own.
        set("DIB_LOCKFILES", cache.join("locks").as_os_str()),
        set("DIB_IMAGE_CACHE", cache.as_os_str()),
        set("DIB_NO_TMPFS", "1".as_ref()),
        set("DIB_QUIET", "0".as_ref()),
        set("DIB_NO_TIMESTAMP", "0".as_ref()),
        set("OVERWRITE_OLD_IMAGE", "1".as_ref()),
        set("IMAGE_MANAGER_AGENT", std::path::absolute(&order.agent)?.as_os_str()),
        set("IMAGE_MANAGER_BUILD", order.build_id.as_ref()),
        set("IMAGE_MANAGER_FINGERPRINT", order.fingerprint.as_ref()),
    ]);
    if !order.inputs.files.is_empty() {
        variables.push(set(inputs::INPUTS, layout.inputs.as_os_str()));
    }
    if !order.inputs.secrets.is_empty() {
        variables.push(set(inputs::SECRETS, inputs::SECRETS_DIRECTORY.as_ref()));
    }
    variables.extend(bases::environment(&std::path::absolute(&order.bases)?, layout));
    variables.extend(containers::environment(layout));
    if !elements.is_empty() {
        variables.push(set("ELEMENTS_PATH", &elements));
    }
    Ok(variables)
}
