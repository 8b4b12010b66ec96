use std::fs;
use std::os::unix::fs::symlink;

use super::*;

const GIB: u64 = 1 << 30;

fn seen(total: u64, partition: u64, end: u64, disk: u64) -> Observation {
    Observation {
        root: Some(FileSystem {
            source: "/dev/vda1".to_owned(),
            kind: "ext4".to_owned(),
            total_bytes: total,
            free_bytes: total / 2,
            inodes: 1000,
            free_inodes: 500,
            ..FileSystem::default()
        }),
        device: Some(Device {
            name: "vda1".to_owned(),
            bytes: partition,
            disk: "vda".to_owned(),
            disk_bytes: disk,
            end,
            ..Device::default()
        }),
        probe: Some(Probe::Written(Duration::from_millis(17))),
        ..Observation::default()
    }
}

fn grown() -> Observation {
    seen(4 * GIB - 150 * MIB, 4 * GIB - MIB, 4 * GIB - 64, 4 * GIB)
}

fn judged(settings: &Settings, seen: &Observation) -> (CheckOutcome, String) {
    let judgement = judge(settings, seen);
    (judgement.outcome, judgement.summary)
}

#[test]
fn a_grown_root_passes() {
    let (outcome, summary) = judged(&Settings::default(), &grown());
    assert_eq!(outcome, CheckOutcome::Pass);
    assert_eq!(summary, "1.9 GiB of 3.9 GiB free on ext4, 1 MiB written in 17 ms");
    // Small disks with a gap at their start, and disks without partitions.
    let tiny = seen(90 * MIB, 96 * MIB, 128 * MIB, 128 * MIB);
    assert_eq!(judged(&Settings::default(), &tiny).0, CheckOutcome::Pass);
    let boot_first = seen(9 * GIB, 9 * GIB + 400 * MIB, 10 * GIB, 10 * GIB);
    assert_eq!(judged(&Settings::default(), &boot_first).0, CheckOutcome::Pass);
}

/// As a Debian of disk-image-builder has it: a sixteenth of the device is inode tables.
#[test]
fn a_file_system_with_many_inodes_has_grown() {
    let mut debian = seen(3_953_864_704, 4_293_901_824, 4_294_950_400, 4 * GIB);
    assert_eq!(judged(&Settings::default(), &debian).0, CheckOutcome::Fail, "by statvfs alone it had not");
    let covers = |bytes: u64| move |device: &mut Device| device.file_system_bytes = Some(bytes);
    debian.device.as_mut().map(covers(4_293_898_240));
    assert_eq!(judged(&Settings::default(), &debian).0, CheckOutcome::Pass);
    debian.device.as_mut().map(covers(1_206_517_760));
    assert_eq!(judged(&Settings::default(), &debian).0, CheckOutcome::Fail);
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
        let root = FileSystem { numbers: "254:1".to_owned(), ..FileSystem::default() };
        Device::of(&guest, &root).unwrap().file_system_bytes
    };
    assert_eq!(size(), None, "no file system");
    let made = std::process::Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&device).arg("20m").status();
    assert!(made.unwrap().success());
    assert_eq!(size(), Some(20 * MIB));
}

#[test]
fn a_partition_that_did_not_grow_fails() {
    let (outcome, summary) = judged(&Settings::default(), &seen(922 * MIB, 1000 * MIB, 1001 * MIB, 4 * GIB));
    assert_eq!(outcome, CheckOutcome::Fail);
    assert_eq!(
        summary,
        "root file system is 922.0 MiB on a 4.0 GiB disk: it did not grow (3.0 GiB of the disk is in no partition)"
    );
    let tiny = seen(28 * MIB, 32 * MIB, 64 * MIB, 128 * MIB);
    assert_eq!(judged(&Settings::default(), &tiny).0, CheckOutcome::Fail);
}

#[test]
fn a_file_system_that_did_not_grow_fails() {
    let (outcome, summary) = judged(&Settings::default(), &seen(922 * MIB, 4 * GIB - MIB, 4 * GIB, 4 * GIB));
    assert_eq!(outcome, CheckOutcome::Fail);
    assert!(summary.ends_with("(its device vda1 is 4.0 GiB)"), "{summary}");
}

#[test]
fn the_manager_s_size_counts() {
    let settings = Settings { disk_size: 4 * GIB, ..Settings::default() };
    assert_eq!(judged(&settings, &grown()).0, CheckOutcome::Pass);
    let (outcome, summary) = judged(&settings, &seen(GIB, GIB, GIB, GIB));
    assert_eq!(outcome, CheckOutcome::Inconclusive);
    assert_eq!(summary, "the server's disk is 1.0 GiB, not 4.0 GiB");
    let unknown = |total| Observation { device: None, ..seen(total, 0, 0, 0) };
    assert_eq!(judged(&settings, &unknown(GIB)).0, CheckOutcome::Fail);
    assert_eq!(judged(&settings, &unknown(4 * GIB - 200 * MIB)).0, CheckOutcome::Pass);
    let (outcome, summary) = judged(&Settings::default(), &unknown(GIB));
    assert_eq!(outcome, CheckOutcome::Inconclusive, "nobody knows the disk's size");
    assert_eq!(
        summary,
        "whether the root file system has grown is unknown: /dev/vda1 is not a disk that the kernel lists"
    );
    let mut full = unknown(GIB);
    full.root.as_mut().unwrap().free_bytes = 0;
    let settings = Settings { min_free: 1, ..Settings::default() };
    assert_eq!(judged(&settings, &full).0, CheckOutcome::Fail, "what is known counts");
    let larger = seen(4 * GIB, 4 * GIB, 4 * GIB, 8 * GIB);
    let settings = Settings { disk_size: 4 * GIB, ..Settings::default() };
    assert_eq!(judged(&settings, &larger).0, CheckOutcome::Fail, "the disk is larger than was asked for");
}

/// Root on an LV of a group that has a whole partition.
fn on_lvm(volume: u64, taken: u64) -> Observation {
    let mut seen = seen(volume - 100 * MIB, volume, 10 * GIB, 10 * GIB);
    let device = seen.device.as_mut().unwrap();
    device.name = "dm-0".to_owned();
    device.below = vec![Layer { name: "vda3".to_owned(), bytes: 9 * GIB, taken }];
    seen
}

#[test]
fn a_volume_that_did_not_grow_in_its_partition_fails() {
    let judged = |seen: &Observation| judged(&Settings::default(), seen);
    let (outcome, summary) = judged(&on_lvm(2 * GIB, 2 * GIB));
    assert_eq!(outcome, CheckOutcome::Fail);
    assert_eq!(
        summary,
        "root file system is 1.9 GiB on a 10.0 GiB disk: it did not grow (7.0 GiB of vda3 is in no volume)"
    );
    assert_eq!(judged(&on_lvm(9 * GIB - 5 * MIB, 9 * GIB - 5 * MIB)).0, CheckOutcome::Pass);
    assert_eq!(judged(&on_lvm(5 * GIB, 9 * GIB - 5 * MIB)).0, CheckOutcome::Pass, "beside other volumes");
    // Not even the partition, which is said first.
    let mut seen = on_lvm(2 * GIB, 2 * GIB);
    seen.device.as_mut().unwrap().end = 4 * GIB;
    assert!(judged(&seen).1.ends_with("(6.0 GiB of the disk is in no partition)"));
}

#[test]
fn a_partition_behind_the_root_keeps_it_from_growing() {
    let mut seen = seen(2 * GIB - 50 * MIB, 2 * GIB, 2 * GIB + MIB, 10 * GIB);
    seen.device.as_mut().unwrap().behind = Some("vda2".to_owned());
    let (outcome, summary) = judged(&Settings::default(), &seen);
    assert_eq!(outcome, CheckOutcome::Fail);
    assert!(summary.ends_with("(vda1 ends 8.0 GiB before the end of the disk, and vda2 follows it)"));
}

#[test]
fn what_lies_upon_several_devices_cannot_be_told() {
    let mut seen = grown();
    seen.device.as_mut().unwrap().upon_several = Some("md0".to_owned());
    let (outcome, summary) = judged(&Settings::default(), &seen);
    assert_eq!(outcome, CheckOutcome::Inconclusive);
    assert!(summary.ends_with("its device md0 spans several others"), "{summary}");
}

#[test]
fn room_and_inodes_are_wanted() {
    let settings = Settings { min_free: 3 * GIB, ..Settings::default() };
    let (outcome, summary) = judged(&settings, &grown());
    assert_eq!(outcome, CheckOutcome::Fail);
    assert_eq!(summary, "root file system has 1.9 GiB free, less than the 3.0 GiB required");
    let settings = Settings { min_free_inodes: 501, ..Settings::default() };
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
    assert!(judged(&Settings::default(), &seen).1.ends_with("cannot be written to: No space left on device"));
    seen.root.as_mut().unwrap().read_only = true;
    assert_eq!(judged(&Settings::default(), &seen).0, CheckOutcome::Fail);
    assert_eq!(judged(&Settings::default(), &Observation::default()).0, CheckOutcome::Inconclusive);
}

#[test]
fn a_mount_that_cannot_be_examined_says_nothing_about_the_image() {
    let blind =
        Mounted { place: "/srv".to_owned(), error: "statvfs: ESTALE".to_owned(), ..Mounted::default() };
    let seen = Observation { mounts: vec![blind.clone()], ..grown() };
    let (outcome, summary) = judged(&Settings::default(), &seen);
    assert_eq!(outcome, CheckOutcome::Inconclusive);
    assert_eq!(summary, "the file system at /srv cannot be examined: statvfs: ESTALE");
    // One that is not mounted fails all the same.
    let absent = Mounted { place: "/data".to_owned(), ..Mounted::default() };
    let seen = Observation { mounts: vec![blind, absent], ..grown() };
    let (outcome, summary) = judged(&Settings::default(), &seen);
    assert_eq!(outcome, CheckOutcome::Fail);
    assert!(summary.starts_with("nothing is mounted at /data"), "{summary}");
}

#[test]
fn the_last_root_mount_counts() {
    let mounts = "1 1 0:2 / / rw - rootfs rootfs rw\n\
        25 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro\n\
        26 25 0:5 / /dev rw - devtmpfs udev rw\n";
    let root = FileSystem::parse(mounts, "/").unwrap();
    assert_eq!(
        (root.source.as_str(), root.numbers.as_str(), root.kind.as_str()),
        ("/dev/vda1", "254:1", "ext4")
    );
    assert!(!root.read_only);
    assert!(FileSystem::parse("25 1 254:1 / / ro,relatime - ext4 /dev/vda1 rw", "/").unwrap().read_only);
    assert!(FileSystem::parse("nonsense", "/").is_none());
}

/// A device in a made-up sysfs, sizes in sectors.
fn block(guest: &Guest, path: &str, numbers: &str, size: u64) -> std::path::PathBuf {
    let folder = guest.path("/sys/devices").join(path);
    for inner in ["slaves", "holders"] {
        fs::create_dir_all(folder.join(inner)).unwrap();
    }
    fs::write(folder.join("size"), format!("{size}\n")).unwrap();
    fs::create_dir_all(guest.path("/sys/dev/block")).unwrap();
    symlink(&folder, guest.path("/sys/dev/block").join(numbers)).unwrap();
    folder
}

fn partition(guest: &Guest, number: u64, start: u64, size: u64) -> std::path::PathBuf {
    let folder = block(guest, &format!("pci/block/vda/vda{number}"), &format!("254:{number}"), size);
    fs::write(folder.join("start"), format!("{start}\n")).unwrap();
    fs::write(folder.join("partition"), format!("{number}\n")).unwrap();
    folder
}

fn lay(upper: &std::path::Path, lower: &std::path::Path) {
    symlink(lower, upper.join("slaves").join(lower.file_name().unwrap())).unwrap();
    symlink(upper, lower.join("holders").join(upper.file_name().unwrap())).unwrap();
}

/// `vda` of 8192 sectors with `vda1` from 2048 to 6144, and an LVM volume upon that.
fn sysfs(guest: &Guest) {
    block(guest, "pci/block/vda", "254:0", 8192);
    let partition = partition(guest, 1, 2048, 4096);
    lay(&block(guest, "virtual/block/dm-0", "253:0", 4000), &partition);
}

fn device(guest: &Guest, numbers: &str) -> Option<Device> {
    Device::of(guest, &FileSystem { numbers: numbers.to_owned(), ..FileSystem::default() })
}

#[test]
fn the_disk_is_found_under_the_device() {
    let folder = tempfile::tempdir().unwrap();
    let guest = Guest::below(folder.path());
    sysfs(&guest);
    let of = |numbers: &str| {
        device(&guest, numbers).map(|device| {
            (device.name, device.bytes / 512, device.disk, device.disk_bytes / 512, device.end / 512)
        })
    };
    let vda = || "vda".to_owned();
    assert_eq!(of("254:1"), Some(("vda1".to_owned(), 4096, vda(), 8192, 6144)));
    assert_eq!(of("254:0").map(|found| (found.2, found.4)), Some((vda(), 8192)));
    assert_eq!(of("253:0"), Some(("dm-0".to_owned(), 4000, vda(), 8192, 6144)));
    assert_eq!(of("0:44"), None);
}

#[test]
fn the_stack_is_walked_down_to_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let guest = Guest::below(folder.path());
    sysfs(&guest);
    let dm_0 = guest.path("/sys/devices/virtual/block/dm-0");
    // LUKS upon the volume, and another volume beside it.
    lay(&block(&guest, "virtual/block/dm-1", "253:1", 3900), &dm_0);
    let partition_1 = guest.path("/sys/devices/pci/block/vda/vda1");
    lay(&block(&guest, "virtual/block/dm-2", "253:2", 50), &partition_1);
    let crypt = device(&guest, "253:1").unwrap();
    let layer = |name: &str, bytes: u64, taken: u64| Layer {
        name: name.to_owned(),
        bytes: bytes * 512,
        taken: taken * 512,
    };
    assert_eq!(crypt.below, [layer("dm-0", 4000, 3900), layer("vda1", 4096, 4050)]);
    assert_eq!(crypt.partition(), "vda1");
    assert_eq!((crypt.upon_several, crypt.behind), (None, None));
    assert_eq!(device(&guest, "254:1").unwrap().below, []);

    // A boot partition before the root's is nothing to it; of those behind it the first is told.
    partition(&guest, 15, 64, 1000);
    assert_eq!(device(&guest, "254:1").unwrap().behind, None);
    partition(&guest, 3, 7000, 100);
    partition(&guest, 2, 6144, 800);
    assert_eq!(device(&guest, "253:1").unwrap().behind.as_deref(), Some("vda2"));

    // A volume over two partitions.
    lay(&dm_0, &guest.path("/sys/devices/pci/block/vda/vda2"));
    let wide = device(&guest, "253:1").unwrap();
    assert_eq!((wide.upon_several.as_deref(), wide.below.len()), (Some("dm-0"), 1));
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

#[test]
fn a_root_that_cloud_init_is_yet_to_grow_is_no_bad_image() {
    let folder = tempfile::tempdir().unwrap();
    let guest = Guest::below(folder.path());
    let run = guest.path("/run/cloud-init");
    fs::create_dir_all(&run).unwrap();
    let status = |init: &str| {
        let text = format!(
            r#"{{"v1": {{"stage": "init", "init": {init}, "modules-final": {{"finished": null}}}}}}"#
        );
        fs::write(run.join("status.json"), text).unwrap();
    };
    assert!(!cloud_init::is_yet_to_grow(&guest), "nobody is about to grow it");
    fs::write(run.join("enabled"), "").unwrap();
    assert!(cloud_init::is_yet_to_grow(&guest));
    status(r#"{"start": 1.0, "finished": null}"#);
    assert!(cloud_init::is_yet_to_grow(&guest));
    status(r#"{"start": 1.0, "finished": 2.0}"#);
    assert!(!cloud_init::is_yet_to_grow(&guest), "it had its chance");

    let mut small = seen(GIB, GIB, GIB, 4 * GIB);
    assert_eq!(judged(&Settings::default(), &small).0, CheckOutcome::Fail);
    small.unsettled = true;
    let (outcome, summary) = judged(&Settings::default(), &small);
    assert_eq!(outcome, CheckOutcome::Inconclusive);
    assert!(summary.contains("did not grow") && summary.contains("checks.disk"), "{summary}");
    let mut full = grown();
    full.unsettled = true;
    assert_eq!(judged(&Settings { min_free: 4 * GIB, ..Settings::default() }, &full).0, CheckOutcome::Fail);
}

#[tokio::test]
async fn this_machine_has_a_disk() {
    let settings = Settings::default();
    let seen = observe(&settings, &Guest::default(), Instant::now() + Duration::from_secs(2)).await;
    assert!(seen.root.is_some() && seen.others.get("memory").is_some(), "{seen:?}");
}
