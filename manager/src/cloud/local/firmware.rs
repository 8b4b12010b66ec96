//! The firmware of servers, and the QEMU that runs each architecture: where Debian's packages have them.
//!
//! UEFI is two parts of flash memory. The code is one file for all servers, which nobody writes. The variables, with the
//! keys of secure boot in them, are a copy for each server, since the guest writes them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::io_error;
use super::programs::{Needed, needed};
use crate::cloud::{CloudError, Trouble};
use crate::finding::Finding;
use crate::schedules::{Arch, Firmware, ServerSpec};

/// What starts a guest, besides the BIOS that QEMU brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Uefi {
    /// The program.
    pub(super) code: &'static str,
    /// What a server's variables begin as.
    variables: &'static str,
    /// Whether the code keeps the variables from the guest's kernel, as secure boot needs.
    pub(super) protected: bool,
    /// The Debian package that has both.
    pub(super) package: &'static str,
}

const OVMF: Uefi = Uefi {
    code: "/usr/share/OVMF/OVMF_CODE_4M.fd",
    variables: "/usr/share/OVMF/OVMF_VARS_4M.fd",
    protected: false,
    package: "ovmf",
};
/// With Microsoft's keys, which distributions' first loaders are signed by.
const OVMF_SECURE: Uefi = Uefi {
    code: "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
    variables: "/usr/share/OVMF/OVMF_VARS_4M.ms.fd",
    protected: true,
    package: "ovmf",
};
const AAVMF: Uefi = Uefi {
    code: "/usr/share/AAVMF/AAVMF_CODE.fd",
    variables: "/usr/share/AAVMF/AAVMF_VARS.fd",
    protected: false,
    package: "qemu-efi-aarch64",
};

impl Uefi {
    /// The files of a firmware; `None` where QEMU's own BIOS does it.
    pub(super) fn of(arch: Arch, firmware: Firmware) -> Option<Self> {
        match (arch, firmware) {
            (Arch::Amd64, Firmware::Bios) => None,
            (Arch::Amd64, Firmware::Uefi) => Some(OVMF),
            (Arch::Amd64, Firmware::UefiSecure) => Some(OVMF_SECURE),
            (Arch::Arm64, _) => Some(AAVMF),
        }
    }

    /// The first of its files that is not there.
    pub(super) fn missing(self) -> Option<&'static str> {
        [self.code, self.variables].into_iter().find(|file| !Path::new(file).is_file())
    }

    /// Makes a server's variables.
    pub(super) fn furnish(self, file: &Path) -> Result<(), CloudError> {
        if let Some(missing) = self.missing() {
            let install = Finding::install(self.package);
            let message = format!("the firmware {missing} is not installed; on Debian: {install}");
            return Err(CloudError::new(Trouble::Configuration, message));
        }
        fs::copy(self.variables, file)
            .and_then(|_| fs::set_permissions(file, Permissions::from_mode(0o600)))
            .map_err(|error| io_error("cannot write", file, &error))
    }
}

/// The QEMU that runs an architecture.
pub(super) const fn qemu(arch: Arch) -> Needed {
    match arch {
        Arch::Amd64 => needed("qemu-system-x86_64", "boots images on the local cloud", "qemu-system-x86"),
        Arch::Arm64 => {
            needed("qemu-system-aarch64", "boots images for arm64 on the local cloud", "qemu-system-arm")
        }
    }
}

/// A machine that the local cloud is to have: what decides which programs and files it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MachineKind {
    /// Its processors.
    pub(super) arch: Arch,
    /// What starts it.
    pub(super) firmware: Firmware,
}

impl MachineKind {
    /// The one that a server asks for.
    pub(super) fn of(server: &ServerSpec) -> Self {
        Self { arch: server.arch, firmware: server.firmware() }
    }

    /// What schedules that say nothing of it have.
    pub(super) fn usual() -> Self {
        Self { arch: Arch::HOST, firmware: Arch::HOST.usual_firmware() }
    }

    /// The files of its firmware, when it has any.
    pub(super) fn uefi(self) -> Option<Uefi> {
        Uefi::of(self.arch, self.firmware)
    }
}

/// Where the variables of a server with UEFI are, in its directory.
pub(super) fn variables(home: &Path) -> PathBuf {
    home.join("firmware-variables.fd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_x86_server_with_a_bios_needs_no_files() {
        assert_eq!(Uefi::of(Arch::Amd64, Firmware::Bios), None);
        assert!(Uefi::of(Arch::Amd64, Firmware::UefiSecure).unwrap().protected);
        assert!(!Uefi::of(Arch::Amd64, Firmware::Uefi).unwrap().protected);
        assert_eq!(Uefi::of(Arch::Arm64, Firmware::Uefi).unwrap().package, "qemu-efi-aarch64");
    }

    #[test]
    fn firmware_that_is_not_there_names_its_package() {
        let nowhere = Uefi { code: "/nowhere/code.fd", variables: "/nowhere/variables.fd", ..OVMF };
        let error = nowhere.furnish(Path::new("/nowhere/else")).unwrap_err();
        assert_eq!(error.trouble, Trouble::Configuration);
        assert!(error.message.contains("/nowhere/code.fd") && error.message.ends_with(" ovmf"), "{error}");
    }
}
