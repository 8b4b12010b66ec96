//! What kind of machine an image is made for, and what kind of file it is.

/// The processors that an image is made for, by the words of disk-image-builder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    /// x86-64.
    Amd64,
    /// 64-bit Arm.
    Arm64,
}

impl Arch {
    /// Each way to write one. The first of an architecture is disk-image-builder's own.
    pub(super) const WORDS: [(&'static str, Self); 4] =
        [("amd64", Self::Amd64), ("arm64", Self::Arm64), ("x86_64", Self::Amd64), ("aarch64", Self::Arm64)];

    /// All of them.
    pub const ALL: [Self; 2] = [Self::Amd64, Self::Arm64];

    /// That of this program, and so of the host that it runs on.
    pub const HOST: Self = if cfg!(target_arch = "aarch64") { Self::Arm64 } else { Self::Amd64 };

    /// By any of its names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(name, _)| *name == word).map(|(_, arch)| *arch)
    }

    /// What disk-image-builder and Debian call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// What the kernel, QEMU and Glance call it.
    pub fn machine(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// The firmware that its machines have when nothing else is asked for.
    pub fn usual_firmware(self) -> Firmware {
        match self {
            Self::Amd64 => Firmware::Bios,
            Self::Arm64 => Firmware::Uefi,
        }
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What starts an image on its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Firmware {
    /// The old one of PCs: reads the disk's first sector.
    Bios,
    /// Reads a boot loader from the EFI system partition.
    Uefi,
    /// The same, and starts nothing but what Microsoft's keys have signed.
    UefiSecure,
}

impl Firmware {
    /// The words of schedules.toml.
    pub(super) const WORDS: [(&'static str, Self); 3] =
        [("bios", Self::Bios), ("uefi", Self::Uefi), ("uefi-secure", Self::UefiSecure)];

    /// Its word in schedules.toml.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::Uefi => "uefi",
            Self::UefiSecure => "uefi-secure",
        }
    }

    /// The properties by which Nova gives a server this firmware.
    pub fn properties(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Bios => &[("hw_firmware_type", "bios")],
            Self::Uefi => &[("hw_firmware_type", "uefi")],
            Self::UefiSecure => {
                &[("hw_firmware_type", "uefi"), ("os_secure_boot", "required"), ("hw_machine_type", "q35")]
            }
        }
    }
}

/// The kind of file that an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Format {
    /// QEMU's own: only what is written takes room.
    #[default]
    Qcow2,
    /// The disk as it is, with holes.
    Raw,
}

impl Format {
    /// All of them, with their words.
    pub(super) const WORDS: [(&'static str, Self); 2] = [("qcow2", Self::Qcow2), ("raw", Self::Raw)];

    /// All of them.
    pub const ALL: [Self; 2] = [Self::Qcow2, Self::Raw];

    /// Its word in schedules.toml, for QEMU, for Glance, and at the end of a file's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Raw => "raw",
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
