//! Where podman and buildah keep what they make for a build: in its scratch directory.
//!
//! DIB's element `containerfile` names its images and containers `dib-tmp-*` with a random number, so that what a killed
//! build leaves in the host's storage could be told from nobody else's. Here storage, state and copies are the build's
//! own: they are gone when the scratch directory is, for which the ledger has a row before DIB starts. `contain.sh`
//! covers the host's places with these, for what calls podman without this environment (`sudo podman`).
//!
//! No container gets a control group, which would outlive its namespace: `RUN` runs by chroot (DIB is contained already),
//! and the container that is only made to be exported is run by crun, which can do without.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, statfs};

use super::command::Layout;

/// The directory's name, for `contain.sh`.
const PLACE: &str = "IMAGE_MANAGER_CONTAINERS";
/// What lies in it, each a directory.
const INSIDE: [&str; 5] = ["storage", "run", "state", "copies", "volumes"];

/// podman's usual ones, less what the systemd unit does not have.
const CAPABILITIES: &str = "\"CHOWN\", \"DAC_OVERRIDE\", \"FOWNER\", \"FSETID\", \"KILL\", \"SETFCAP\", \"SETGID\", \"SETPCAP\", \
                            \"SETUID\", \"SYS_CHROOT\"";

/// Makes the directory with the two files of settings.
pub(super) fn prepare(layout: &Layout) -> io::Result<()> {
    let place = &layout.containers;
    for name in INSIDE {
        std::fs::create_dir_all(place.join(name))?;
    }
    std::fs::write(place.join("storage.conf"), storage(place))?;
    std::fs::write(place.join("containers.conf"), containers(place))
}

/// Variables that a schedule may not change.
pub(super) fn environment(layout: &Layout) -> [(OsString, OsString); 6] {
    let place = &layout.containers;
    let set = |name: &str, value: OsString| (OsString::from(name), value);
    [
        set(PLACE, place.into()),
        set("CONTAINERS_STORAGE_CONF", place.join("storage.conf").into()),
        set("CONTAINERS_CONF", place.join("containers.conf").into()),
        set("BUILDAH_ISOLATION", "chroot".into()),
        // DIB is root already, and sudo would take these variables away.
        set("DIB_CONTAINERFILE_RUNTIME_ROOT", "0".into()),
        set("DIB_CONTAINERFILE_PODMAN_ROOT", "0".into()),
    ]
}

fn storage(place: &Path) -> String {
    // An overlay does not lie on another.
    let on_overlay = statfs(place).is_ok_and(|found| found.filesystem_type() == OVERLAYFS_SUPER_MAGIC);
    let driver = if on_overlay { "vfs" } else { "overlay" };
    let at = |name: &str| quoted(&place.join(name));
    format!("[storage]\ndriver = \"{driver}\"\ngraphroot = {}\nrunroot = {}\n", at("storage"), at("run"))
}

fn containers(place: &Path) -> String {
    let at = |name: &str| quoted(&place.join(name));
    format!(
        "[containers]\ncgroups = \"disabled\"\nlog_driver = \"k8s-file\"\ndefault_sysctls = []\n\
         default_capabilities = [{CAPABILITIES}]\n\n\
         [engine]\nruntime = \"crun\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n\
         tmp_dir = {}\nstatic_dir = {}\nvolume_path = {}\nimage_copy_tmp_dir = {}\n",
        at("state"),
        at("state"),
        at("volumes"),
        at("copies"),
    )
}

/// A path as a string of TOML.
fn quoted(path: &Path) -> String {
    toml::Value::from(path.to_string_lossy().into_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_kept_lies_in_the_scratch_directory() {
        let directory = tempfile::tempdir().unwrap();
        let scratch = directory.path().join("of \"mine\"");
        let layout = Layout::of(&scratch);
        prepare(&layout).unwrap();
        for (name, keys) in [
            ("storage.conf", &["graphroot", "runroot"][..]),
            ("containers.conf", &["tmp_dir", "static_dir", "volume_path", "image_copy_tmp_dir"]),
        ] {
            let text = std::fs::read_to_string(layout.containers.join(name)).unwrap();
            let table: toml::Table = text.parse().unwrap();
            let section = if name == "storage.conf" { "storage" } else { "engine" };
            for key in keys {
                let path = Path::new(table[section][key].as_str().unwrap());
                assert!(path.starts_with(&scratch) && path.is_dir(), "{key}: {text}");
            }
        }
    }
}
