//! The stages of a boot, by the lines of the serial console. Pure.
//!
//! What the lines look like is taken from the programs that print them: SeaBIOS, OVMF and GRUB; Linux (`init/main.c`);
//! initramfs-tools (`init`) and dracut; systemd (`src/core/main.c`); cloud-init (`cmd/main.py`).

use std::time::Duration;

use crate::checks::console::{asks_for_a_login, kernel_time};

/// What firmware and boot loaders begin with, or the first of a line that only they print.
const FIRMWARE: [&str; 7] =
    ["SeaBIOS (", "iPXE (", "BdsDxe: ", "UEFI firmware", "GRUB loading", "Welcome to GRUB", "EFI stub: "];
/// What says that the system goes down.
const SHUTDOWN: [&str; 9] = [
    "Stopped target multi-user",
    "Stopped target Multi-User",
    "Reached target shutdown.target",
    "Reached target Shutdown",
    "Reached target System Shutdown",
    "systemd-shutdown[",
    "The system is going down",
    "reboot: Power down",
    "reboot: Restarting system",
];
/// What systemd, or another init, prints of itself and of units.
const INIT: [&str; 5] = ["[  OK  ]", "[FAILED]", "[DEPEND]", "INIT: version ", "OpenRC "];
/// After so long a kernel that begins its time at 0 is another one.
const A_WHILE: Duration = Duration::from_secs(1);

/// A stage of a boot, in the usual order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum BootStage {
    Firmware,
    Kernel,
    Initramfs,
    Userspace,
    /// cloud-init's four.
    InitLocal,
    Init,
    ModulesConfig,
    ModulesFinal,
    Login,
    Shutdown,
}

impl BootStage {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Firmware => "firmware and boot loader",
            Self::Kernel => "kernel",
            Self::Initramfs => "initramfs",
            Self::Userspace => "userspace",
            Self::InitLocal => "cloud-init init-local",
            Self::Init => "cloud-init init",
            Self::ModulesConfig => "cloud-init modules-config",
            Self::ModulesFinal => "cloud-init modules-final",
            Self::Login => "login prompt",
            Self::Shutdown => "shutdown",
        }
    }

    /// These come in no fixed order: a login prompt may appear before cloud-init's last stage.
    fn is_of_a_running_system(self) -> bool {
        (Self::InitLocal..=Self::Login).contains(&self)
    }
}

/// What a line means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing begins.
    None,
    /// A stage may have begun; a later line tells.
    Perhaps,
    /// This stage begins with this line.
    Here(BootStage),
    /// This stage began with the last line that was [`Step::Perhaps`].
    There(BootStage),
}

/// How far a server has started.
#[derive(Debug, Default)]
pub(super) struct Boot {
    stage: Option<BootStage>,
    /// Stages of the running system that have begun.
    begun: Vec<BootStage>,
    /// The kernel's time, as it was last told.
    time: Duration,
    /// systemd has begun, and not said yet whether that is in the initramfs.
    undecided: bool,
    /// Boots before this one.
    before: usize,
}

impl Boot {
    /// Boots before the present one.
    pub(super) fn before(&self) -> usize {
        self.before
    }

    /// Takes in the next line.
    pub(super) fn line(&mut self, text: &str) -> Step {
        let text = text.trim();
        let time = kernel_time(text);
        if self.is_over(text, time) {
            *self = Self { before: self.before + 1, ..Self::default() };
        }
        self.time = time.unwrap_or(self.time);
        if self.stage <= Some(BootStage::Initramfs)
            && let Some(step) = self.of_systemd(text)
        {
            return step;
        }
        match self.stage_of(text, time) {
            Some(next) if self.may_begin(next) => self.enter(next),
            // What cannot be told apart in front of everything is the firmware's.
            None if self.stage.is_none() && !text.is_empty() => self.enter(BootStage::Firmware),
            _ => Step::None,
        }
    }

    /// Whether with this line another boot begins.
    fn is_over(&self, text: &str, time: Option<Duration>) -> bool {
        self.stage >= Some(BootStage::Kernel)
            && (is_firmware(text) || time == Some(Duration::ZERO) && self.time > A_WHILE)
    }

    fn enter(&mut self, next: BootStage) -> Step {
        self.stage = Some(next);
        self.undecided = false;
        if next.is_of_a_running_system() {
            self.begun.push(next);
        }
        Step::Here(next)
    }

    fn may_begin(&self, next: BootStage) -> bool {
        match self.stage {
            Some(BootStage::Shutdown) => false,
            Some(_) if next.is_of_a_running_system() => !self.begun.contains(&next),
            now => Some(next) > now,
        }
    }

    /// systemd tells after its first line whether it is that of the initramfs.
    fn of_systemd(&mut self, text: &str) -> Option<Step> {
        if text.contains("systemd ") && text.contains(" running in system mode") {
            self.undecided = true;
            return Some(Step::Perhaps);
        }
        if !self.undecided {
            return None;
        }
        let next = if text.contains("Running in init") || text.contains("(Initramfs)!") {
            BootStage::Initramfs
        } else if text.contains("]: Detected ") {
            return Some(Step::None);
        } else if is_of_init(text) || text.starts_with("Welcome to ") {
            BootStage::Userspace
        } else {
            return None;
        };
        self.undecided = false;
        if Some(next) <= self.stage {
            return Some(Step::None);
        }
        self.enter(next);
        Some(Step::There(next))
    }

    /// The stage that a line is of, as far as that can be seen of the line.
    fn stage_of(&self, text: &str, time: Option<Duration>) -> Option<BootStage> {
        let stage = self.stage;
        if is_firmware(text) {
            return Some(BootStage::Firmware);
        }
        if let Some(stage) = of_cloud_init(text) {
            return Some(stage);
        }
        if asks_for_a_login(text) {
            return Some(BootStage::Login);
        }
        if stage >= Some(BootStage::Userspace) {
            return SHUTDOWN.iter().any(|sign| text.contains(sign)).then_some(BootStage::Shutdown);
        }
        if text.contains("Run /init as init process") {
            return Some(BootStage::Initramfs);
        }
        if text.starts_with("Welcome to ") && text.ends_with('!') {
            let initramfs = text.ends_with("(Initramfs)!");
            return Some(if initramfs { BootStage::Initramfs } else { BootStage::Userspace });
        }
        if text.contains("] Run ") && text.ends_with(" as init process") || text.contains(": Switching root")
        {
            return Some(BootStage::Userspace);
        }
        if stage == Some(BootStage::Initramfs) {
            return None;
        }
        if text.starts_with("Loading, please wait...") || text.starts_with("Begin: ") {
            return Some(BootStage::Initramfs);
        }
        // A kernel that is told to be quiet says nothing of its own.
        if is_of_init(text) {
            return Some(BootStage::Userspace);
        }
        (time.is_some() || text.starts_with("Linux version ")).then_some(BootStage::Kernel)
    }
}

fn is_firmware(text: &str) -> bool {
    FIRMWARE.iter().any(|sign| text.starts_with(sign))
}

fn is_of_init(text: &str) -> bool {
    text.contains("systemd[1]: ") || INIT.iter().any(|sign| text.starts_with(sign))
}

/// `Cloud-init v. 22.4.2 running 'modules:config' at Mon, 23 Nov 2026 08:19:24 +0000. Up 9.13 seconds.`
fn of_cloud_init(text: &str) -> Option<BootStage> {
    let (_, said) = text.split_once("Cloud-init v. ")?;
    let (_, running) = said.split_once(" running '")?;
    match running.split_once('\'')?.0 {
        "init-local" => Some(BootStage::InitLocal),
        "init" => Some(BootStage::Init),
        "modules:config" => Some(BootStage::ModulesConfig),
        "modules:final" => Some(BootStage::ModulesFinal),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line's number, from 1, and the name of each stage that begins with it; later boots are counted.
    fn begun(console: &str) -> Vec<(usize, String)> {
        let (mut boot, mut perhaps, mut begun) = (Boot::default(), 0, Vec::new());
        for (number, line) in (1..).zip(console.lines()) {
            let (at, stage) = match boot.line(line) {
                Step::None => continue,
                Step::Perhaps => {
                    perhaps = number;
                    continue;
                }
                Step::Here(stage) => (number, stage),
                Step::There(stage) => (perhaps, stage),
            };
            begun.push((at, format!("{}{}", stage.name(), "'".repeat(boot.before()))));
        }
        begun
    }

    fn named(expected: &[(usize, &str)]) -> Vec<(usize, String)> {
        expected.iter().map(|(number, name)| (*number, (*name).to_owned())).collect()
    }

    /// Debian, with initramfs-tools.
    const DEBIAN: &str = "SeaBIOS (version 1.16.2-debian-1.16.2-1)
Booting from Hard Disk...
GRUB loading.
Welcome to GRUB!
[    0.000000] Linux version 6.1.0-30-cloud-amd64 (debian-kernel@lists.debian.org)
[    0.000000] Command line: BOOT_IMAGE=/boot/vmlinuz root=LABEL=x console=ttyS0
[    1.912345] Run /init as init process
Loading, please wait...
Begin: Running /scripts/init-bottom ... done.
[    2.987654] systemd[1]: Inserted module 'autofs4'
[    3.000001] systemd[1]: systemd 252.36-1~deb12u1 running in system mode (+PAM +AUDIT)
[    3.000002] systemd[1]: Detected virtualization kvm.
[    3.000003] random: crng init done

Welcome to Debian GNU/Linux 12 (bookworm)!

[    3.100000] systemd[1]: Hostname set to <server>.
[  OK  ] Started systemd-journald.service - Journal Service.
[    5.540000] cloud-init[391]: Cloud-init v. 22.4.2 running 'init-local' at Mon, 23 Nov 2026. Up 5.54 seconds.
[    7.540000] cloud-init[420]: Cloud-init v. 22.4.2 running 'init' at Mon, 23 Nov 2026. Up 7.54 seconds.
[    9.130000] cloud-init[450]: Cloud-init v. 22.4.2 running 'modules:config' at Mon, 23 Nov 2026. Up 9.13 seconds.

Debian GNU/Linux 12 server ttyS0

server login: [   10.900000] cloud-init[457]: Cloud-init v. 22.4.2 finished at Mon, 23 Nov 2026
[   11.000000] cloud-init[460]: Cloud-init v. 22.4.2 running 'modules:final' at Mon, 23 Nov 2026. Up 11.00 seconds.
[  OK  ] Stopped target multi-user.target - Multi-User System.
[  OK  ] Reached target shutdown.target - System Shutdown.
[   60.000000] reboot: Restarting system
";

    #[test]
    fn a_boot_of_debian_is_told_apart() {
        let expected = [
            (1, "firmware and boot loader"),
            (5, "kernel"),
            (7, "initramfs"),
            (11, "userspace"),
            (19, "cloud-init init-local"),
            (20, "cloud-init init"),
            (21, "cloud-init modules-config"),
            (25, "login prompt"),
            (26, "cloud-init modules-final"),
            (27, "shutdown"),
        ];
        assert_eq!(begun(DEBIAN), named(&expected));
    }

    #[test]
    fn another_boot_begins_with_its_firmware_or_its_kernel() {
        let second = format!("{DEBIAN}SeaBIOS (version 1.16.2)\n[    0.000000] Linux version 6.1.0\n");
        let begun_again = begun(&second);
        assert_eq!(begun_again[10..], named(&[(30, "firmware and boot loader'"), (31, "kernel'")]));
        let quiet = "[    0.000000] Booting Linux on physical CPU 0x0\n[    0.000000] Linux version 6.1.0\n\
                     [    2.000000] reboot: machine restart\n[    0.000000] Linux version 6.1.0\n";
        assert_eq!(begun(quiet), named(&[(1, "kernel"), (4, "kernel'")]));
    }

    #[test]
    fn systemd_in_the_initramfs_is_not_taken_for_the_systems_own() {
        let dracut = "BdsDxe: loading Boot0001 \"UEFI Misc Device\"
[    0.000000] Linux version 5.14.0-503.el9.x86_64
[    1.500000] systemd[1]: systemd 252-46.el9 running in system mode (+PAM)
[    1.500001] systemd[1]: Detected architecture x86-64.
[    1.500002] systemd[1]: Running in initrd.
Welcome to CentOS Stream 9 dracut-057-80.git20250411.el9 (Initramfs)!
[  OK  ] Reached target Initrd Root Device.
[    4.000000] systemd[1]: Switching root.
[    4.500000] systemd[1]: systemd 252-46.el9 running in system mode (+PAM)
Welcome to CentOS Stream 9!
";
        let expected = [(1, "firmware and boot loader"), (2, "kernel"), (3, "initramfs"), (8, "userspace")];
        assert_eq!(begun(dracut), named(&expected));
    }

    #[test]
    fn quiet_kernels_and_other_inits_have_a_userspace_too() {
        let quiet = "GRUB loading.\n[  OK  ] Started a.service.\nserver login: \n";
        let expected = [(1, "firmware and boot loader"), (2, "userspace"), (3, "login prompt")];
        assert_eq!(begun(quiet), named(&expected));
        let busybox = "[    0.000000] Linux version 6.1.0\n[    0.600000] Run /sbin/init as init process\ntiny: booted\n";
        assert_eq!(begun(busybox), named(&[(1, "kernel"), (2, "userspace")]));
        assert_eq!(begun("\nwhat is this\n"), named(&[(2, "firmware and boot loader")]));
    }
}
