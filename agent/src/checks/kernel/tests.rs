use std::fs;
use std::time::Duration;

use super::*;
use crate::checks::program::plant;

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// A Debian 12 of disk-image-builder.
fn good() -> Observation {
    Observation {
        running: "6.1.0-31-cloud-amd64".to_owned(),
        installed: texts(&["6.1.0-30-cloud-amd64", "6.1.0-31-cloud-amd64"]),
        consoles: texts(&["tty0", "ttyS0"]),
        command_line: "BOOT_IMAGE=/boot/vmlinuz root=LABEL=img-rootfs ro console=tty0 console=ttyS0,115200"
            .to_owned(),
        ..Observation::default()
    }
}

fn failure(settings: &Settings, seen: &Observation) -> String {
    let judgement = judge(settings, seen);
    assert_eq!(judgement.outcome, CheckOutcome::Fail, "{}", judgement.summary);
    judgement.summary
}

fn passes(settings: &Settings, seen: &Observation) {
    let judgement = judge(settings, seen);
    assert_eq!(judgement.outcome, CheckOutcome::Pass, "{}", judgement.summary);
}

#[test]
fn a_good_kernel_passes() {
    let judgement = judge(&Settings::default(), &good());
    assert_eq!(judgement.outcome, CheckOutcome::Pass);
    assert_eq!(
        judgement.summary,
        "kernel 6.1.0-31-cloud-amd64, the newest installed, runs without faults and writes to tty0, ttyS0"
    );
}

#[test]
fn the_newest_must_run() {
    for (running, installed) in [
        ("6.1.0-31-cloud-amd64", "6.1.0-999-cloud-amd64"),
        ("6.1.0-9-amd64", "6.1.0-31-amd64"),
        ("6.8.0-49-generic", "6.8.0-50-generic"),
        ("5.14.0-503.11.1.el9_5.x86_64", "5.14.0-503.15.1.el9_5.x86_64"),
        ("6.12.9+deb13-cloud-amd64", "6.12.57+deb13-cloud-amd64"),
    ] {
        let seen =
            Observation { running: running.to_owned(), installed: texts(&[running, installed]), ..good() };
        let said = failure(&Settings::default(), &seen);
        assert_eq!(said, format!("kernel {running} is running, but the newer {installed} is installed"));
        let newest = Observation { running: installed.to_owned(), ..seen };
        passes(&Settings::default(), &newest);
    }
    // Another flavour of the same version is not newer, and one that was brought along is its own.
    let flavours = texts(&["6.1.0-31-amd64", "6.1.0-31-cloud-amd64", "6.1.0-31-rt-amd64"]);
    passes(&Settings::default(), &Observation { installed: flavours, ..good() });
    passes(&Settings::default(), &Observation { installed: Vec::new(), ..good() });
}

#[test]
fn the_console_must_be_there() {
    let without = Observation { consoles: texts(&["tty0"]), command_line: "quiet".to_owned(), ..good() };
    let said = failure(&Settings::default(), &without);
    assert_eq!(
        said,
        "the kernel does not write to a serial console; its consoles: tty0; its command line: quiet"
    );
    let with = |console: &str| Settings { console: console.to_owned(), ..Settings::default() };
    passes(&with("none"), &without);
    passes(&with("ttyS0"), &good());
    assert!(
        failure(&with("ttyS1"), &good())
            .starts_with("the kernel does not write to ttyS1; its consoles: tty0, ttyS0")
    );
}

#[test]
fn taints_are_told_in_words() {
    assert_eq!(letters(4096), "O");
    assert_eq!(letters((1 << 9) | (1 << 13)), "WE");
    assert_eq!(letters(1 << 14), "L");
    let tainted = Observation { taints: "O".to_owned(), ..good() };
    assert_eq!(failure(&Settings::default(), &tainted), "the kernel is tainted: O (an out-of-tree module)");
    passes(&Settings { allowed_taint: "EO".to_owned(), ..Settings::default() }, &tainted);
    // A processor that stood still, and old firmware.
    passes(&Settings::default(), &Observation { taints: "LI".to_owned(), ..good() });
}

#[test]
fn faults_and_missing_modules_are_told() {
    let faults = texts(&["BUG: kernel NULL pointer dereference, address: 0000000000000000"]);
    assert!(failure(&Settings::default(), &Observation { faults, ..good() }).contains("NULL pointer"));
    let missing = texts(&[
        "overlay: modprobe: FATAL: Module overlay not found in directory /lib/modules/6.1.0-31-cloud-amd64",
    ]);
    assert!(
        failure(&Settings::default(), &Observation { missing, ..good() })
            .starts_with("the kernel module overlay: ")
    );
}

#[tokio::test]
async fn a_guest_is_looked_at() {
    let root = tempfile::tempdir().unwrap();
    let guest = Guest::below(root.path());
    for folder in [
        "/proc/sys/kernel",
        "/sys/class/tty/console",
        "/boot",
        "/lib/modules/6.1.0-31-amd64",
        "/sys/module/virtio_net",
        "/dev",
    ] {
        fs::create_dir_all(guest.path(folder)).unwrap();
    }
    for (file, text) in [
        ("/proc/sys/kernel/osrelease", "6.1.0-30-amd64\n"),
        ("/proc/sys/kernel/tainted", "4096\n"),
        ("/proc/cmdline", "root=/dev/vda1 console=ttyS0\n"),
        ("/sys/class/tty/console/active", "tty0 ttyS0\n"),
        ("/boot/vmlinuz-6.1.0-30-amd64", ""),
        ("/boot/vmlinuz-0-rescue-abc", ""),
        ("/boot/initrd.img-6.1.0-99-amd64", ""),
        ("/lib/modules/6.1.0-31-amd64/vmlinuz", ""),
        ("/dev/kmsg", "6,1,0,-;Linux version\n"),
    ] {
        fs::write(guest.path(file), text).unwrap();
    }
    plant(
        &guest,
        "modprobe",
        "[ \"$2\" = nbd ] || { echo \"modprobe: FATAL: Module $2 not found\" >&2; exit 1; }",
    );
    let modules = texts(&["virtio-net", "nbd", "overlay"]);
    let settings = Settings { modules, ..Settings::default() };
    let seen = observe(&settings, &guest, Instant::now() + Duration::from_mins(1)).await;
    assert_eq!(seen.installed, ["6.1.0-30-amd64", "6.1.0-31-amd64"]);
    assert_eq!((seen.taints.as_str(), seen.consoles), ("O", texts(&["tty0", "ttyS0"])));
    assert_eq!(seen.missing, ["overlay: modprobe: FATAL: Module overlay not found"]);
}
