//! What is kept of a finished image, so that its mirrors can be asked later whether a build would make another one.

use image_manager_agent::checks::packages::rpm::{self, Trouble};

use super::inspection::Inspection;
use super::packages::words;
use super::volume::{Next, Volume};
use crate::unchanged::{Family, Kept, KeptFile, MOST_FILES, Package, keyrings_named};

/// dpkg's list of packages; a desktop's has some megabytes.
const STATUS: &str = "/var/lib/dpkg/status";
const LARGEST_LIST: usize = 16 << 20;
/// Largest other file.
const LARGEST: usize = 1 << 20;

/// Single files of apt's, and directories of which the plain files count.
const OF_DPKG: [&str; 5] = [
    "/var/lib/dpkg/arch",
    "/var/lib/apt/extended_states",
    "/etc/apt/sources.list",
    "/etc/apt/preferences",
    "/etc/apt/apt.conf",
];
const DIRECTORIES_OF_DPKG: [&str; 4] =
    ["/etc/apt/sources.list.d", "/etc/apt/preferences.d", "/etc/apt/apt.conf.d", "/etc/apt/trusted.gpg.d"];
/// The same of dnf's.
const OF_RPM: [&str; 6] = [
    "/etc/dnf/dnf.conf",
    "/etc/dnf/versionlock.toml",
    "/etc/yum.conf",
    "/etc/os-release",
    "/usr/lib/os-release",
    "/usr/lib/sysimage/libdnf5/modules.toml",
];
const DIRECTORIES_OF_RPM: [&str; 13] = [
    "/etc/distro.repos.d",
    "/etc/dnf/libdnf5.conf.d",
    "/etc/dnf/modules.d",
    "/etc/dnf/repos.override.d",
    "/etc/dnf/vars",
    "/etc/pki/rpm-gpg",
    "/etc/yum.repos.d",
    "/etc/yum/repos.d",
    "/etc/yum/vars",
    "/usr/share/dnf5/libdnf.conf.d",
    "/usr/share/dnf5/repos.d",
    "/usr/share/dnf5/repos.override.d",
    "/usr/share/dnf5/vars.d",
];
/// Whoever has passwords in these asks with them. They are not kept.
const PASSWORDS: [&str; 2] = ["/etc/apt/auth.conf", "/etc/apt/auth.conf.d"];

/// Takes it out of an image; `packages` are those that its rpm database lists.
///
/// # Errors
/// Why it is not kept: such an image is always built anew.
pub(super) fn take(volume: &dyn Volume, packages: &[rpm::Package]) -> Result<Kept, String> {
    let mut files = Files { volume, found: Vec::new() };
    files.add(STATUS, LARGEST_LIST)?;
    let is_dpkg = packages.is_empty();
    let (family, single, directories) = if is_dpkg {
        (Family::Dpkg, &OF_DPKG[..], &DIRECTORIES_OF_DPKG[..])
    } else {
        files.found.clear();
        (Family::Rpm, &OF_RPM[..], &DIRECTORIES_OF_RPM[..])
    };
    if is_dpkg && files.found.is_empty() {
        return Err("it has no package list".to_owned());
    }
    for path in PASSWORDS {
        let is_file = volume.read(path, &mut |_| Next::Stop).is_ok();
        if is_file || volume.names(path).is_ok_and(|names| names.iter().any(|name| !is_dots(name))) {
            return Err(format!("{path} has passwords, which are not kept"));
        }
    }
    for path in single {
        files.add(path, LARGEST)?;
    }
    for directory in directories {
        files.add_directory(directory)?;
    }
    files.refuse_passwords()?;
    let packages = packages.iter().map(|package| Package {
        name: package.name.clone(),
        version: package.version.clone(),
        arch: package.arch.clone(),
    });
    let kept = Kept::new(family, files.found.clone(), packages.collect())?;
    if !is_dpkg {
        return Ok(kept);
    }
    for path in keyrings_named(&kept) {
        if kept.file(&path).is_none() {
            files.add(&path, LARGEST)?;
        }
    }
    Kept::new(family, files.found, Vec::new())
}

/// The same, unless a secret of the build is in it: then nothing is kept.
///
/// # Errors
/// Which file has one.
pub(super) fn without_secrets(kept: Kept, seen: &Inspection) -> Result<Kept, String> {
    match seen.secrets.iter().find(|leak| kept.file(&leak.path).is_some()) {
        Some(leak) => Err(format!("{} has the build's secret {}, which is not kept", leak.path, leak.secret)),
        None => Ok(kept),
    }
}

struct Files<'a> {
    volume: &'a dyn Volume,
    found: Vec<KeptFile>,
}

impl Files<'_> {
    /// Adds a plain file; one that is not there adds nothing.
    fn add(&mut self, path: &str, most: usize) -> Result<(), String> {
        let mut content = Vec::new();
        let read = self.volume.read(path, &mut |piece| {
            content.extend_from_slice(piece);
            if content.len() > most { Next::Stop } else { Next::Piece }
        });
        match read {
            Ok(()) if content.len() > most => Err(format!("{path} is too large to be kept")),
            Ok(()) if self.found.len() >= MOST_FILES => Err(format!("there are over {MOST_FILES} files")),
            Ok(()) => {
                self.found.push(KeptFile { path: path.to_owned(), content });
                Ok(())
            }
            Err(Trouble::Missing | Trouble::OtherKind) => Ok(()),
            Err(trouble) => Err(format!("{path} cannot be read: {}", words(&trouble))),
        }
    }

    fn add_directory(&mut self, directory: &str) -> Result<(), String> {
        let mut names = match self.volume.names(directory) {
            Ok(names) => names,
            Err(Trouble::Missing | Trouble::OtherKind) => return Ok(()),
            Err(trouble) => return Err(format!("{directory} cannot be read: {}", words(&trouble))),
        };
        names.sort_unstable();
        // apt reads nothing that is hidden, and `.` and `..` are among the names.
        let names = names.into_iter().filter(|name| !name.starts_with('.') && !name.contains('/'));
        names.map(|name| format!("{directory}/{name}")).try_for_each(|path| self.add(&path, LARGEST))
    }

    /// What has a password in it is not kept at all: without it nothing could be asked.
    fn refuse_passwords(&self) -> Result<(), String> {
        for file in self.found.iter().filter(|file| !file.path.starts_with("/var/")) {
            let text = String::from_utf8_lossy(&file.content).to_lowercase();
            let in_an_address = text
                .split("://")
                .skip(1)
                .filter_map(|rest| rest.split(|one: char| one.is_whitespace() || "/\"'".contains(one)).next())
                .any(|server| server.contains('@'));
            let named = text.lines().any(|line| {
                let name = line.split('=').next().unwrap_or_default().trim();
                ["username", "password", "proxy_username", "proxy_password", "sslclientkey"].contains(&name)
            });
            if in_an_address || named {
                return Err(format!("{} has a password, which is not kept", file.path));
            }
        }
        Ok(())
    }
}

fn is_dots(name: &str) -> bool {
    [".", ".."].contains(&name)
}
