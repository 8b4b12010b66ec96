//! The command line of a server's QEMU.
//!
//! The server's files are open when QEMU starts (`launch.sh`), so its user need not reach them. It runs in the
//! directory of its sockets: no path is too long for one. Only a directory for firmware, which is not there, has its
//! whole path: by it and by `-name` a later manager process knows the process as its own.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::firmware::Uefi;
use crate::schedules::{Arch, Format};

/// The files in a server's directory.
pub(super) const DISK: &str = "disk.qcow2";
pub(super) const CONFIG_DRIVE: &str = "config.iso";
pub(super) const LOG: &str = "qemu.log";
/// The directory of the sockets, and the only one that QEMU's user may write in.
pub(super) const SOCKETS: &str = "sockets";
pub(super) const ORDERS: &str = "qmp.sock";
pub(super) const EVENTS: &str = "events.sock";
pub(super) const GUEST_AGENT: &str = "qga.sock";
/// Where QEMU looks for firmware before it looks where it has it. There is none.
const FIRMWARE: &str = "firmware";

/// The descriptors that [`DESCRIPTORS`] go by inside QEMU.
const IMAGE_FILE: &str = "/dev/fdset/1";
const DISK_FILE: &str = "/dev/fdset/2";
const CONFIG_FILE: &str = "/dev/fdset/3";
const CONSOLE_FILE: &str = "/dev/fdset/4";
const VARIABLES_FILE: &str = "/dev/fdset/5";
/// The files that `launch.sh` opens. QEMU opens a disk to read only before it opens it to write.
const DESCRIPTORS: [&str; 5] = ["fd=3,set=1", "fd=4,set=2", "fd=5,set=2", "fd=6,set=3", "fd=7,set=4"];
/// And for a server with UEFI.
const DESCRIPTORS_OF_UEFI: [&str; 2] = ["fd=8,set=5", "fd=9,set=5"];

/// The device of KVM.
const DEVICE: &str = "/dev/kvm";
/// What a QEMU may not do after it has started, as libvirt sets it.
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// Who executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acceleration {
    /// The processor.
    Kvm,
    /// QEMU's translator.
    Tcg,
}

impl Acceleration {
    /// KVM where the processor says that it can and the device opens, also for QEMU's user. The device alone proves
    /// nothing: on a host without `vmx` or `svm` it may open, and every guest hangs.
    pub(super) fn of_this_host(guest: Arch) -> Self {
        if guest != Arch::HOST {
            return Self::Tcg;
        }
        let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let opens = || OpenOptions::new().read(true).write(true).open(DEVICE).is_ok();
        let for_others = || std::fs::metadata(DEVICE).is_ok_and(|device| access(device.mode()).is_some());
        if has_virtualization(&cpus) && opens() && for_others() { Self::Kvm } else { Self::Tcg }
    }

    /// The group that QEMU's user must be in to use it.
    pub(super) fn group(self) -> Option<u32> {
        let device = std::fs::metadata(DEVICE).ok().filter(|_| self == Self::Kvm)?;
        (access(device.mode())? == Access::Group).then(|| device.gid())
    }
}

/// Who besides root may read and write a device.
#[derive(Debug, PartialEq, Eq)]
enum Access {
    Everybody,
    Group,
}

fn access(mode: u32) -> Option<Access> {
    match (mode & 0o006, mode & 0o060) {
        (0o006, _) => Some(Access::Everybody),
        (_, 0o060) => Some(Access::Group),
        _ => None,
    }
}

fn has_virtualization(cpuinfo: &str) -> bool {
    cpuinfo
        .lines()
        .filter(|line| line.starts_with("flags"))
        .any(|line| line.split_ascii_whitespace().any(|flag| flag == "vmx" || flag == "svm"))
}

/// What a server is made of.
pub(super) struct Machine<'a> {
    pub(super) name: &'a str,
    pub(super) uuid: &'a str,
    pub(super) mac: &'a str,
    /// Bytes.
    pub(super) memory: u64,
    pub(super) cpus: u32,
    /// Its directory, absolute.
    pub(super) directory: &'a Path,
    pub(super) acceleration: Acceleration,
    pub(super) arch: Arch,
    /// `None`: the BIOS that QEMU has.
    pub(super) uefi: Option<Uefi>,
    /// The format of the image that the disk begins with.
    pub(super) format: Format,
    /// False where QEMU was built without seccomp.
    pub(super) sandbox: bool,
}

impl Machine<'_> {
    /// QEMU's arguments.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let mut line = Line::default();
        line.option("-name", self.name);
        line.option("-uuid", self.uuid);
        line.option("-L", self.directory.join(FIRMWARE));
        for descriptor in DESCRIPTORS {
            line.option("-add-fd", descriptor);
        }
        if self.sandbox {
            line.option("-sandbox", SANDBOX);
        }
        for word in ["-nodefaults", "-no-user-config", "-no-reboot"] {
            line.word(word);
        }
        line.option("-display", "none");
        self.processors(&mut line);
        self.firmware(&mut line);
        line.option("-smp", self.cpus.to_string());
        line.option("-m", format!("{}M", self.memory.div_ceil(1 << 20)));
        // `unsafe`: the disk is thrown away with the server, so what the guest flushes need not reach the
        // host's disk; an orderly end of QEMU still writes everything to the file.
        line.option(
            "-drive",
            format!(
                "if=none,id=disk,file={DISK_FILE},format=qcow2,cache=unsafe,discard=unmap,\
                 backing.driver={},backing.file.driver=file,backing.file.filename={IMAGE_FILE}",
                self.format
            ),
        );
        line.option("-device", "virtio-blk-pci,drive=disk,bootindex=0");
        line.option("-drive", format!("if=none,id=config,file={CONFIG_FILE},format=raw,readonly=on"));
        line.option("-device", "virtio-blk-pci,drive=config");
        // IPv6 off: the config drive promises IPv4 only, and a guest that believes in both waits for it.
        line.option("-netdev", "user,id=net0,restrict=off,ipv6=off");
        line.option("-device", format!("virtio-net-pci,netdev=net0,mac={},romfile=", self.mac));
        line.option("-device", "virtio-rng-pci");
        line.option("-device", "pvpanic-pci");
        line.option("-chardev", format!("file,id=console,path={CONSOLE_FILE}"));
        line.option("-serial", "chardev:console");
        line.option("-chardev", format!("socket,id=agent,path={GUEST_AGENT},server=on,wait=off"));
        line.option("-device", "virtio-serial-pci");
        line.option("-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0");
        for socket in [ORDERS, EVENTS] {
            line.option("-qmp", format!("unix:{socket},server=on,wait=off"));
        }
        line.0
    }

    fn processors(&self, line: &mut Line) {
        let protected = self.uefi.is_some_and(|uefi| uefi.protected);
        let machine = match (self.arch, protected) {
            // Without graphics the firmware writes to the serial port, too: evidence when nothing boots.
            (Arch::Amd64, false) => "q35,graphics=off",
            // What only the firmware may write is kept in memory of the system management mode.
            (Arch::Amd64, true) => "q35,graphics=off,smm=on",
            (Arch::Arm64, _) => "virt",
        };
        line.option("-machine", machine);
        match (self.acceleration, self.arch) {
            (Acceleration::Kvm, _) => line.option("-accel", "kvm").option("-cpu", "host"),
            // `max` costs nothing that can be measured against Nehalem, and distributions that are built
            // for x86-64-v3 start; `qemu64` is what once panicked.
            (Acceleration::Tcg, Arch::Amd64) => {
                line.option("-accel", "tcg,thread=multi").option("-cpu", "max")
            }
            // The least that distributions are built for; `max` signs pointers, which is slow to emulate.
            (Acceleration::Tcg, Arch::Arm64) => {
                line.option("-accel", "tcg,thread=multi").option("-cpu", "cortex-a57")
            }
        };
    }

    /// Flash memory with UEFI: its code, and the server's own variables.
    fn firmware(&self, line: &mut Line) {
        let Some(uefi) = self.uefi else { return };
        for descriptor in DESCRIPTORS_OF_UEFI {
            line.option("-add-fd", descriptor);
        }
        if uefi.protected {
            line.option("-global", "driver=cfi.pflash01,property=secure,value=on");
            // The code would have to keep its secrets over a suspend.
            line.option("-global", "ICH9-LPC.disable_s3=1");
        }
        line.option("-drive", format!("if=pflash,unit=0,format=raw,readonly=on,file={}", uefi.code));
        line.option("-drive", format!("if=pflash,unit=1,format=raw,file={VARIABLES_FILE}"));
    }
}

#[derive(Default)]
struct Line(Vec<OsString>);

impl Line {
    fn word(&mut self, word: impl Into<OsString>) -> &mut Self {
        self.0.push(word.into());
        self
    }

    fn option(&mut self, option: &str, value: impl Into<OsString>) -> &mut Self {
        self.word(option).word(value)
    }
}

/// A hardware address as Nova gives them, from the last three bytes of the server's id.
pub(super) fn mac(id: uuid::Uuid) -> String {
    let [.., a, b, c] = id.into_bytes();
    format!("fa:16:3e:{a:02x}:{b:02x}:{c:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedules::Firmware;

    #[test]
    fn the_flag_must_be_a_word_of_its_own() {
        assert!(has_virtualization("model name : x\nflags\t\t: fpu vmx sse\n"));
        assert!(has_virtualization("flags : svm"));
        assert!(!has_virtualization("flags : fpu svm_lock avmx\nmodel name : svm"));
    }

    #[test]
    fn the_device_must_be_open_to_a_user_without_rights() {
        assert_eq!(access(0o20666), Some(Access::Everybody));
        assert_eq!(access(0o20660), Some(Access::Group));
        assert_eq!(access(0o20640), None);
        assert_eq!(access(0o20600), None);
        assert_eq!(Acceleration::Tcg.group(), None);
    }

    #[test]
    fn a_comma_in_a_path_ends_no_option() {
        let machine = Machine {
            name: "image-manager-1",
            uuid: "u",
            mac: "m",
            memory: (1 << 30) + 1,
            cpus: 2,
            directory: Path::new("/s,t/servers/image-manager-1"),
            acceleration: Acceleration::Tcg,
            arch: Arch::Amd64,
            uefi: None,
            format: Format::Qcow2,
            sandbox: true,
        };
        let line = machine.arguments().join(&OsString::from(" ")).into_string().unwrap();
        assert!(!line.contains("pflash") && line.contains("backing.driver=qcow2"), "{line}");
        let secure = Uefi::of(Arch::Amd64, Firmware::UefiSecure);
        let secure = Machine { uefi: secure, format: Format::Raw, ..machine }.arguments();
        let secure = secure.join(&OsString::from(" ")).into_string().unwrap();
        for piece in [
            "smm=on",
            "property=secure,value=on",
            "secboot.fd",
            "file=/dev/fdset/5",
            "fd=8,set=5",
            "backing.driver=raw",
        ] {
            assert!(secure.contains(piece), "{piece}: {secure}");
        }
        assert!(line.contains(" -L /s,t/servers/image-manager-1/firmware "), "{line}");
        assert_eq!(line.matches("/s,t").count(), 1, "{line}");
        assert!(line.contains("-name image-manager-1 ") && line.contains("-m 1025M"));
        assert!(line.contains("-sandbox") && line.contains("-no-reboot"));
    }

    #[test]
    fn the_hardware_address_has_the_vendor_part_of_openstack() {
        let id = uuid::Uuid::from_u128(0x0001_0203);
        assert_eq!(mac(id), "fa:16:3e:01:02:03");
    }
}
