//! The command line of a server's QEMU.
//!
//! Files of the server are named relative to its directory, where QEMU runs: so no path is too long for a
//! socket, and no comma in one ends an option. Only the pid file has its whole path: by it and by `-name`
//! a later manager process knows the process as its own.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::Path;

/// The files in a server's directory.
pub(super) const DISK: &str = "disk.qcow2";
pub(super) const CONFIG_DRIVE: &str = "config.iso";
pub(super) const ORDERS: &str = "qmp.sock";
pub(super) const EVENTS: &str = "events.sock";
pub(super) const PID_FILE: &str = "qemu.pid";
pub(super) const LOG: &str = "qemu.log";

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
    /// KVM where the processor says that it can and the device opens. The device alone proves nothing: on a
    /// host without `vmx` or `svm` it may open, and every guest hangs.
    pub(super) fn of_this_host() -> Self {
        let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let opens = || OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
        if has_virtualization(&cpus) && opens() { Self::Kvm } else { Self::Tcg }
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
    /// Where the serial console is written, absolute.
    pub(super) console: &'a str,
    pub(super) acceleration: Acceleration,
    /// False where QEMU was built without seccomp.
    pub(super) sandbox: bool,
}

impl Machine<'_> {
    /// QEMU's arguments.
    pub(super) fn arguments(&self) -> Vec<OsString> {
        let mut line = Line::default();
        line.option("-name", self.name);
        line.option("-uuid", self.uuid);
        line.option("-pidfile", self.directory.join(PID_FILE));
        if self.sandbox {
            line.option("-sandbox", SANDBOX);
        }
        for word in ["-nodefaults", "-no-user-config", "-no-reboot"] {
            line.word(word);
        }
        line.option("-display", "none");
        // Without graphics the firmware writes to the serial port, too: evidence when nothing boots.
        line.option("-machine", "q35,graphics=off");
        match self.acceleration {
            Acceleration::Kvm => line.option("-accel", "kvm").option("-cpu", "host"),
            // `max` costs nothing that can be measured against Nehalem, and distributions that are built
            // for x86-64-v3 start; `qemu64` is what once panicked.
            Acceleration::Tcg => line.option("-accel", "tcg,thread=multi").option("-cpu", "max"),
        };
        line.option("-smp", self.cpus.to_string());
        line.option("-m", format!("{}M", self.memory.div_ceil(1 << 20)));
        // `unsafe`: the disk is thrown away with the server, so what the guest flushes need not reach the
        // host's disk; an orderly end of QEMU still writes everything to the file.
        line.option("-drive", format!("if=none,id=disk,file={DISK},format=qcow2,cache=unsafe,discard=unmap"));
        line.option("-device", "virtio-blk-pci,drive=disk,bootindex=0");
        line.option("-drive", format!("if=none,id=config,file={CONFIG_DRIVE},format=raw,readonly=on"));
        line.option("-device", "virtio-blk-pci,drive=config");
        // IPv6 off: the config drive promises IPv4 only, and a guest that believes in both waits for it.
        line.option("-netdev", "user,id=net0,restrict=off,ipv6=off");
        line.option("-device", format!("virtio-net-pci,netdev=net0,mac={},romfile=", self.mac));
        line.option("-device", "virtio-rng-pci");
        line.option("-device", "pvpanic-pci");
        line.option("-chardev", format!("file,id=console,path={}", self.console.replace(',', ",,")));
        line.option("-serial", "chardev:console");
        line.option("-chardev", "socket,id=agent,path=qga.sock,server=on,wait=off");
        line.option("-device", "virtio-serial-pci");
        line.option("-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0");
        for socket in [ORDERS, EVENTS] {
            line.option("-qmp", format!("unix:{socket},server=on,wait=off"));
        }
        line.0
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

    #[test]
    fn the_flag_must_be_a_word_of_its_own() {
        assert!(has_virtualization("model name : x\nflags\t\t: fpu vmx sse\n"));
        assert!(has_virtualization("flags : svm"));
        assert!(!has_virtualization("flags : fpu svm_lock avmx\nmodel name : svm"));
    }

    #[test]
    fn a_comma_in_the_console_path_does_not_end_the_option() {
        let machine = Machine {
            name: "image-manager-1",
            uuid: "u",
            mac: "m",
            memory: (1 << 30) + 1,
            cpus: 2,
            directory: Path::new("/s,t/servers/image-manager-1"),
            console: "/s,t/console.log",
            acceleration: Acceleration::Tcg,
            sandbox: true,
        };
        let line = machine.arguments().join(&OsString::from(" ")).into_string().unwrap();
        assert!(line.contains("path=/s,,t/console.log"), "{line}");
        assert!(line.contains("-pidfile /s,t/servers/image-manager-1/qemu.pid"));
        assert!(line.contains("-name image-manager-1 ") && line.contains("-m 1025M"));
        assert!(line.contains("-sandbox") && line.contains("-no-reboot"));
    }

    #[test]
    fn the_hardware_address_has_the_vendor_part_of_openstack() {
        let id = uuid::Uuid::from_u128(0x0001_0203);
        assert_eq!(mac(id), "fa:16:3e:01:02:03");
    }
}
