//! Stand-ins for kpartx and dmsetup on hosts without device-mapper. They travel in this program, so that
//! an installation is one file.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The programs that are stood in for, with the scripts that do it.
const SCRIPTS: [(&str, &str); 2] =
    [("kpartx", include_str!("stand-ins/kpartx")), ("dmsetup", include_str!("stand-ins/dmsetup"))];

/// Writes the stand-ins into a directory `stand-ins` of the state directory; returns it.
///
/// # Errors
/// When the directory cannot be written.
pub fn install_stand_ins(state: &Path) -> io::Result<PathBuf> {
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
