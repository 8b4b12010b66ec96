use std::fs;
use std::os::unix::fs::symlink;

use super::*;

const GIB: u64 = 1 << 30;

fn seen(total: u64, partition: u64, used_end: u64, disk: u64) -> Observation {
    Observation {
        root: Some(Root {
            source: "/dev/vda1".to_owned(),
            kind: "ext4".to_owned(),
            total_bytes: total,
            free_bytes: total / 2,
            inodes: 1000,
            free_inodes: 500,
            ..Root::default()
        }),
        device: Some(Device {
            name: "vda1".to_owned(),
            bytes: partition,
            disk: "vda".to_owned(),
            disk_bytes: disk,
            used_end,
            file_system_bytes: None,
        }),
        probe: Some(Probe::Written(Duration::from_millis(17))),
        ..Observation::default()
    }
}

fn grown() -> Observation {
    seen(4 * GIB - 150 * MIB, 4 * GIB - MIB, 4 * GIB - 64, 4 * GIB)
}

fn judged(settings: &DiskCheck, seen: &Observation) -> (CheckOutcome, String) {
    let judgement = judge(settings, seen);
    (judgement.outcome, judgement.summary)
}

#[test]
fn a_grown_root_passes() {
    let (outcome, summary) = judged(&DiskCheck::default(), &grown());
    assert_eq!(outcome, CheckOutcome::Pass);
    assert_eq!(summary, "1.9 GiB of 3.9 GiB free on ext4, 1 MiB written in 17 ms");
    // Small disks with a gap at their start, and disks without partitions.
    let tiny = seen(90 * MIB, 96 * MIB, 128 * MIB, 128 * MIB);
    assert_eq!(judged(&DiskCheck::default(), &tiny).0, CheckOutcome::Pass);
    let boot_first = seen(9 * GIB, 9 * GIB + 400 * MIB, 10 * GIB, 10 * GIB);
    assert_eq!(judged(&DiskCheck::default(), &boot_first).0, CheckOutcome::Pass);
}

/// As a Debian of disk-image-builder has it: a sixteenth of the device is inode tables.
#[test]
fn a_file_system_with_many_inodes_has_grown() {
    let mut debian = seen(3_953_864_704, 4_293_901_824, 4_294_950_400, 4 * GIB);
    assert_eq!(judged(&DiskCheck::default(), &debian).0, CheckOutcome::Fail, "by statvfs alone it had not");
    let covers = |bytes: u64| move |device: &mut Device| device.file_system_bytes = Some(bytes);
    debian.device.as_mut().map(covers(4_293_898_240));
    assert_eq!(judged(&DiskCheck::default(), &debian).0, CheckOutcome::Pass);
    debian.device.as_mut().map(covers(1_206_517_760));
    assert_eq!(judged(&DiskCheck::default(), &debian).0, CheckOutcome::Fail);
}

#[test]
fn the_superblock_tells_the_size() {
    let folder = tempfile::tempdir().unwrap();
    let guest = Guest::below(folder.path());
    sysfs(&guest);
    fs::create_dir_all(guest.path("/dev")).unwrap();
    let device = guest.path("/dev/vda1");
    fs::write(&device, vec![0; 4096]).unwrap();
    let size = || {
        let root = Root { numbers: "254:1".to_owned(), ..Root::default() };
        Device::of(&guest, &root).unwrap().file_system_bytes
    };
    assert_eq!(size(), None, "no file system");
    let made = std::process::Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&device).arg("20m").status();
    assert!(made.unwrap().success());
    assert_eq!(size(), Some(20 * MIB));
}

#[test]
fn a_partition_that_did_not_grow_fails() {
    let (outcome, summary) = judged(&DiskCheck::default(), &seen(922 * MIB, 1000 * MIB, 1001 * MIB, 4 * GIB));
    assert_eq!(outcome, CheckOutcome::Fail);
    assert_eq!(
        summary,
        "root file system is 922.0 MiB on a 4.0 GiB disk: it did not grow (3.0 GiB of the disk are in no partition)"
    );
    let tiny = seen(28 * MIB, 32 * MIB, 64 * MIB, 128 * MIB);
    assert_eq!(judged(&DiskCheck::default(), &tiny).0, CheckOutcome::Fail);
}

#[test]
fn a_file_system_that_did_not_grow_fails() {
    let (outcome, summary) = judged(&DiskCheck::default(), &seen(922 * MIB, 4 * GIB - MIB, 4 * GIB, 4 * GIB));
    assert_eq!(outcome, CheckOutcome::Fail);
    assert!(summary.ends_with("(its device vda1 has 4.0 GiB)"), "{summary}");
}

#[test]
fn the_manager_s_size_counts() {
    let settings = DiskCheck { disk_size_bytes: 4 * GIB, ..DiskCheck::default() };
    assert_eq!(judged(&settings, &grown()).0, CheckOutcome::Pass);
    let (outcome, summary) = judged(&settings, &seen(GIB, GIB, GIB, GIB));
    assert_eq!(outcome, CheckOutcome::Inconclusive);
    assert_eq!(summary, "the server's disk has 1.0 GiB, not 4.0 GiB");
    let unknown = |total| Observation { device: None, ..seen(total, 0, 0, 0) };
    assert_eq!(judged(&settings, &unknown(GIB)).0, CheckOutcome::Fail);
    assert_eq!(judged(&settings, &unknown(4 * GIB - 200 * MIB)).0, CheckOutcome::Pass);
    assert_eq!(judged(&DiskCheck::default(), &unknown(GIB)).0, CheckOutcome::Pass);
}

#[test]
fn room_and_inodes_are_wanted() {
    let settings = DiskCheck { min_free_bytes: 3 * GIB, ..DiskCheck::default() };
    let (outcome, summary) = judged(&settings, &grown());
    assert_eq!(outcome, CheckOutcome::Fail);
    assert_eq!(summary, "root file system has 1.9 GiB free, less than the 3.0 GiB wanted");
    let settings = DiskCheck { min_free_inodes: 501, ..DiskCheck::default() };
    assert!(judged(&settings, &grown()).1.contains("500 inodes free"));
    let mut btrfs = grown();
    btrfs.root.as_mut().unwrap().inodes = 0;
    btrfs.root.as_mut().unwrap().free_inodes = 0;
    assert_eq!(judged(&settings, &btrfs).0, CheckOutcome::Pass);
}

#[test]
fn what_cannot_be_written_fails() {
    let mut seen = grown();
    seen.probe = Some(Probe::Failed("No space left on device".to_owned()));
    assert!(judged(&DiskCheck::default(), &seen).1.ends_with("cannot be written: No space left on device"));
    seen.root.as_mut().unwrap().read_only = true;
    assert_eq!(judged(&DiskCheck::default(), &seen).0, CheckOutcome::Fail);
    assert_eq!(judged(&DiskCheck::default(), &Observation::default()).0, CheckOutcome::Inconclusive);
}

#[test]
fn the_last_root_mount_counts() {
    let mounts = "1 1 0:2 / / rw - rootfs rootfs rw\n\
        25 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro\n\
        26 25 0:5 / /dev rw - devtmpfs udev rw\n";
    let root = Root::parse(mounts).unwrap();
    assert_eq!(
        (root.source.as_str(), root.numbers.as_str(), root.kind.as_str()),
        ("/dev/vda1", "254:1", "ext4")
    );
    assert!(!root.read_only);
    assert!(Root::parse("25 1 254:1 / / ro,relatime - ext4 /dev/vda1 rw").unwrap().read_only);
    assert!(Root::parse("nonsense").is_none());
}

/// A made-up sysfs: `vda` of 8192 sectors with `vda1` at 2048, and an LVM volume upon `vda1`.
fn sysfs(guest: &Guest) {
    let disk = guest.path("/sys/devices/pci/block/vda");
    for (folder, size) in [(disk.clone(), "8192"), (disk.join("vda1"), "4096")] {
        fs::create_dir_all(folder.join("slaves")).unwrap();
        fs::write(folder.join("size"), size).unwrap();
    }
    fs::write(disk.join("vda1/start"), "2048\n").unwrap();
    fs::write(disk.join("vda1/partition"), "1\n").unwrap();
    let volume = guest.path("/sys/devices/virtual/block/dm-0");
    fs::create_dir_all(volume.join("slaves")).unwrap();
    fs::write(volume.join("size"), "4000").unwrap();
    symlink(disk.join("vda1"), volume.join("slaves/vda1")).unwrap();
    fs::create_dir_all(guest.path("/sys/dev/block")).unwrap();
    for (numbers, to) in [("254:0", disk.clone()), ("254:1", disk.join("vda1")), ("253:0", volume)] {
        symlink(to, guest.path("/sys/dev/block").join(numbers)).unwrap();
    }
}

#[test]
fn the_disk_is_found_under_the_device() {
    let folder = tempfile::tempdir().unwrap();
    let guest = Guest::below(folder.path());
    sysfs(&guest);
    let of = |numbers: &str| {
        Device::of(&guest, &Root { numbers: numbers.to_owned(), ..Root::default() }).map(|device| {
            (device.name, device.bytes / 512, device.disk, device.disk_bytes / 512, device.used_end / 512)
        })
    };
    let vda = || "vda".to_owned();
    assert_eq!(of("254:1"), Some(("vda1".to_owned(), 4096, vda(), 8192, 6144)));
    assert_eq!(of("254:0").map(|found| found.2), Some(vda()));
    assert_eq!(of("253:0"), Some(("dm-0".to_owned(), 4000, vda(), 8192, 6144)));
    assert_eq!(of("0:44"), None);
}

#[test]
fn growing_is_waited_for_as_long_as_cloud_init_is_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let guest = Guest::below(folder.path());
    let run = guest.path("/run/cloud-init");
    fs::create_dir_all(&run).unwrap();
    let started = Instant::now();
    let deadline = started + Duration::from_mins(10);
    let last = |ended: Option<Instant>| last_look(&guest, started, ended, deadline) - started;
    assert_eq!(last(None), PATIENCE, "nobody is about to grow it");
    fs::write(run.join("enabled"), "").unwrap();
    assert_eq!(last(None), Duration::from_mins(10), "a slow machine is no bad image");
    fs::write(run.join("result.json"), "{}").unwrap();
    assert_eq!(last(Some(started + Duration::from_mins(3))), Duration::from_mins(3) + AFTER_CLOUD_INIT);
    fs::remove_file(run.join("result.json")).unwrap();
    fs::write(run.join("disabled"), "").unwrap();
    assert_eq!(last(None), PATIENCE);
}

#[tokio::test]
async fn this_machine_has_a_disk() {
    let settings = DiskCheck::default();
    let seen = observe(&settings, &Guest::default(), Instant::now() + Duration::from_secs(2)).await;
    assert!(seen.root.is_some() && seen.others.get("memory").is_some(), "{seen:?}");
}
