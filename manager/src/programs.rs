//! Finding programs on this host.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Where root's own programs are: they are not on everybody's PATH.
const SYSTEM: [&str; 2] = ["/usr/sbin", "/sbin"];

/// Where a program is that is called by its name: on PATH, else among root's own.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    std::env::split_paths(&path)
        .chain(SYSTEM.map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| is_executable(file))
}

/// Whether a path is an executable file.
pub fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_by_name_and_directories_are_none() {
        assert!(find("sh").unwrap().ends_with("sh"));
        assert_eq!(find("no-such-program-here"), None);
        assert!(!is_executable(Path::new("/usr")));
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(!is_executable(file.path()), "nobody may execute it");
    }
}
