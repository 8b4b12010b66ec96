//! Which agent goes into an image: the one that runs on the image's processors.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::programs::is_executable;
use crate::reason::Reason;
use crate::schedules::Arch;

/// Bytes of an ELF header up to the machine.
const HEADER: usize = 20;
/// Numbers of machines in ELF headers.
const X86_64: u16 = 62;
const AARCH64: u16 = 183;

/// There is no agent for an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAgent {
    /// There is no such file.
    #[error("no agent binary at {} for the image, which is for {}", .0.display(), .1)]
    Missing(PathBuf, Arch),
    /// The one that there is would not run in the image.
    #[error(
        "the agent {} is for {theirs}, and the image for {image}; there is no {}",
        .file.display(), beside(.file, *.image).display()
    )]
    OfAnotherMachine {
        /// The agent.
        file: PathBuf,
        /// What its header says.
        theirs: String,
        /// What the image is for.
        image: Arch,
    },
}

impl NoAgent {
    /// The reason of a build that ends by it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Missing(..) => Reason::AgentMissing,
            Self::OfAnotherMachine { .. } => Reason::AgentOfAnotherMachine,
        }
    }

    /// What makes it.
    pub fn mend(&self) -> &'static str {
        match self {
            Self::Missing(_, arch) | Self::OfAnotherMachine { image: arch, .. } => make(*arch),
        }
    }
}

/// The agent for images of an architecture: the one that was named when it is for that, else the one with the
/// architecture in its name that lies beside it, `image-manager-agent-aarch64`.
///
/// # Errors
/// When there is none, or only one that would not run in the image.
pub fn agent_for(named: &Path, arch: Arch) -> Result<PathBuf, NoAgent> {
    let other = beside(named, arch);
    for file in [named, other.as_path()] {
        if is_executable(file) && machine(file).is_none_or(|machine| machine == arch.machine()) {
            return Ok(file.to_owned());
        }
    }
    // A file that is there tells more than one that is not.
    let there = [other, named.to_owned()].into_iter().find(|file| is_executable(file));
    match there.and_then(|file| Some((machine(&file)?, file))) {
        Some((theirs, file)) => Err(NoAgent::OfAnotherMachine { file, theirs, image: arch }),
        None => Err(NoAgent::Missing(named.to_owned(), arch)),
    }
}

fn beside(named: &Path, arch: Arch) -> PathBuf {
    named.with_file_name(format!("image-manager-agent-{}", arch.machine()))
}

fn make(arch: Arch) -> &'static str {
    match arch {
        _ if arch == Arch::HOST => "make agent",
        Arch::Amd64 => "make agent ARCH=x86_64",
        Arch::Arm64 => "make agent ARCH=aarch64",
    }
}

/// The machine that a program is for, by its ELF header; `None` for what is no ELF file, such as a script.
fn machine(file: &Path) -> Option<String> {
    let mut header = Vec::with_capacity(HEADER);
    File::open(file).ok()?.take(HEADER as u64).read_to_end(&mut header).ok()?;
    let is_elf = header.get(..4) == Some(b"\x7fELF");
    // Little-endian, as all machines here are.
    let (Some(low), Some(high), true) = (header.get(18), header.get(19), is_elf) else { return None };
    Some(match u16::from_le_bytes([*low, *high]) {
        X86_64 => Arch::Amd64.machine().to_owned(),
        AARCH64 => Arch::Arm64.machine().to_owned(),
        other => format!("the architecture with the ELF number {other}"),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// The first bytes of a static program as gcc for that machine makes it.
    fn program(file: &Path, machine: u8) {
        let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0".to_vec();
        bytes.extend([machine, 0, 1, 0, 0, 0]);
        fs::write(file, bytes).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn an_image_gets_an_agent_of_its_own_machine_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let named = at("image-manager-agent");
        assert_eq!(agent_for(&named, Arch::Amd64).unwrap_err().reason(), Reason::AgentMissing);
        program(&named, 62);
        assert_eq!(agent_for(&named, Arch::Amd64).unwrap(), named);
        let refused = agent_for(&named, Arch::Arm64).unwrap_err();
        assert_eq!(refused.reason(), Reason::AgentOfAnotherMachine);
        let said = refused.to_string();
        for piece in ["is for x86_64, and the image for arm64", "there is no", "image-manager-agent-aarch64"]
        {
            assert!(said.contains(piece), "{said}");
        }
        program(&at("image-manager-agent-aarch64"), 183);
        assert_eq!(agent_for(&named, Arch::Arm64).unwrap(), at("image-manager-agent-aarch64"));
        program(&at("image-manager-agent-aarch64"), 243);
        assert!(agent_for(&named, Arch::Arm64).unwrap_err().to_string().contains("ELF number 243"));
    }

    #[test]
    fn the_agent_that_is_named_may_be_of_any_machine_and_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let named = folder.path().join("mine");
        program(&named, 183);
        assert_eq!(agent_for(&named, Arch::Arm64).unwrap(), named);
        assert!(agent_for(&named, Arch::Amd64).is_err());
        fs::write(&named, "#!/bin/sh\n").unwrap();
        assert_eq!(agent_for(&named, Arch::Arm64).unwrap(), named, "a script says nothing");
    }

    #[test]
    fn this_very_program_is_of_this_host() {
        let own = std::env::current_exe().unwrap();
        assert_eq!(machine(&own).as_deref(), Some(Arch::HOST.machine()));
    }
}
