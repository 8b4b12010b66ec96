//! Stand-ins for kpartx and dmsetup on hosts without device-mapper, and for mount and umount on hosts whose kernel has
//! no vfat; and the program by which a build does not wait for the disk. They travel in this program, so that an installation is one file.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The programs that are stood in for, with the scripts that do it; and what runs DIB without fsync.
const SCRIPTS: [(&str, &str); 5] = [
    ("kpartx", include_str!("stand-ins/kpartx")),
    ("dmsetup", include_str!("stand-ins/dmsetup")),
    ("mount", include_str!("stand-ins/mount")),
    ("umount", include_str!("stand-ins/umount")),
    ("without-fsync", include_str!("stand-ins/without-fsync")),
];

/// Builds that begin at the same time write one after the other. A state directory has one manager, so nobody else
/// writes there.
static WRITING: Mutex<()> = Mutex::new(());

/// Writes the stand-ins into a directory `stand-ins` of the state directory; returns it.
///
/// # Errors
/// When the directory cannot be written.
pub fn install_stand_ins(state: &Path) -> io::Result<PathBuf> {
    let _one_at_a_time = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = state.join("stand-ins");
    std::fs::create_dir_all(&directory)?;
    for (name, script) in SCRIPTS {
        let path = directory.join(name);
        // Replaced in one step: a build that runs them now keeps what it has opened.
        let partial = directory.join(format!("{name}.partial"));
        std::fs::write(&partial, script)?;
        std::fs::set_permissions(&partial, std::fs::Permissions::from_mode(0o755))?;
        std::fs::rename(&partial, &path)?;
    }
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_that_begin_together_do_not_disturb_each_other() {
        let state = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|_| drop(install_stand_ins(state.path()).unwrap())));
            }
        });
        for (name, script) in SCRIPTS {
            assert_eq!(std::fs::read_to_string(state.path().join("stand-ins").join(name)).unwrap(), script);
        }
    }
}
