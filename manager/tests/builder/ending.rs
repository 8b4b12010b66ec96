//! Builds that are ended before they are through: cancelled, too slow, too large, dropped, their manager killed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use image_manager::builder::{clean, leftovers};
use image_manager::reason::Reason;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::bench::{Bench, mount_tmpfs, processes};

#[tokio::test]
async fn when_cancelled_dib_cleans_up_itself() {
    let script = "trap 'echo cleaning; sleep 0.5; echo cleaned' EXIT; set -e; echo ready; sleep 100";
    let Some(bench) = Bench::new("soft", script) else { return };
    let start = Instant::now();
    let error = bench.run_until("ready").await;
    assert_eq!(error.reason, Reason::Cancelled);
    assert!(bench.log().contains("cleaned"), "{}", bench.log());
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(processes(&bench.order.build_id), Vec::<PathBuf>::new());
    bench.clean().await;
}

#[tokio::test]
async fn what_ignores_the_request_is_killed() {
    let script = "trap '' TERM INT HUP; setsid sleep 321 & echo ready; while :; do sleep 321; done";
    let Some(mut bench) = Bench::new("hard", script) else { return };
    bench.limits.grace = Duration::from_secs(1);
    let start = Instant::now();
    let error = bench.run_until("ready").await;
    assert_eq!(error.reason, Reason::Cancelled);
    assert!(start.elapsed() < Duration::from_secs(8));
    bench.clean().await;
}

#[tokio::test]
async fn what_takes_too_long_or_says_nothing_or_too_much_is_ended() {
    let Some(mut bench) = Bench::new("timeout", "while :; do echo working; sleep 0.1; done") else { return };
    bench.order.timeout = Duration::from_secs(4);
    let error = bench.run_to_end().await.unwrap_err();
    assert_eq!(error.reason, Reason::BuildTimeout);
    assert!(error.message.contains("longer than 4s"), "{error}");
    assert!(error.evidence.contains("working"), "{}", error.evidence);
    bench.clean().await;

    let Some(mut bench) = Bench::new("silence", "echo once; sleep 100") else { return };
    bench.limits.silence = Duration::from_secs(4);
    let error = bench.run_to_end().await.unwrap_err();
    assert_eq!(error.reason, Reason::BuildTimeout);
    assert!(error.message.contains("printed nothing for 4s"), "{error}");
    bench.clean().await;

    let Some(mut bench) = Bench::new("flood", "exec yes") else { return };
    bench.limits.log_bytes = 100_000;
    let error = bench.run_to_end().await.unwrap_err();
    assert_eq!(error.reason, Reason::BuildLog);
    assert!(error.message.contains("97.6 KiB"), "{error}");
    assert!(bench.log().len() <= 100_000);
    bench.clean().await;
}

#[tokio::test]
async fn a_disk_that_fills_ends_the_build_whatever_dib_says() {
    let script = r#"head --bytes=56M /dev/zero >"$TMP_DIR/image0.raw"; sleep 1; rm "$TMP_DIR/image0.raw"
image; echo "Build completed successfully""#;
    let Some(mut bench) = Bench::new("full", script) else { return };
    let disk = bench.scratch().parent().unwrap().to_owned();
    mount_tmpfs(&disk, "size=64m");
    bench.limits.free_bytes = 16 << 20;
    let error = bench.run_to_end().await.unwrap_err();
    bench.clean().await;
    umount2(&disk, MntFlags::empty()).unwrap();
    assert_eq!(error.reason, Reason::ScratchFull);
    assert!(error.message.contains("below 16.0 MiB"), "{error}");
}

#[tokio::test]
async fn devices_and_mounts_are_taken_away_when_the_build_is_killed() {
    let script = r#"
set -e
file=$TMP_DIR/marked-$IMAGE_MANAGER_BUILD.raw
truncate -s 32M "$file"
printf 'label: dos\n2048,,L\n' | sfdisk -q "$file"
device=$(losetup --show -f "$file")
partx --update "$device"
mkdir -p /dev/mapper "$TMP_DIR/mnt" "$TMP_DIR/built/dev"
ln -sfn "${device}p1" "/dev/mapper/${device#/dev/}p1"
mkfs.ext4 -q "${device}p1"
mount "${device}p1" "$TMP_DIR/mnt"
mount --bind /dev "$TMP_DIR/built/dev"
mount -t tmpfs tmpfs "$TMP_DIR/mnt/lost+found"
(cd "$TMP_DIR/mnt" && exec sleep 321) &
rm "$file"
echo "device=$device end"; trap '' TERM; sleep 321; sleep 321"#;
    // Once with the scratch directory on the root's file system, once on one of its own, where the kernel
    // calls the file otherwise when the namespace is gone.
    for own_disk in [false, true] {
        let Some(mut bench) = Bench::new(&format!("devices-{own_disk}"), script) else { return };
        let disk = bench.scratch().parent().unwrap().to_owned();
        if own_disk {
            mount_tmpfs(&disk, "size=64m");
        }
        bench.limits.grace = Duration::from_millis(300);
        let error = bench.run_until(" end\n").await;
        assert_eq!(error.reason, Reason::Cancelled);
        let log = bench.log();
        let device = log.split("device=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        let name = device.trim_start_matches("/dev/");
        assert!(Path::new("/sys/block").join(name).join("loop").exists());
        let found = leftovers(&disk).unwrap();
        assert_eq!(found.scratches, [bench.scratch()]);
        assert!(found.loops.iter().any(|(node, _)| *node == Path::new(&device)), "{found:?}");

        bench.clean().await;
        assert!(!Path::new("/sys/block").join(name).join(format!("{name}p1")).exists());
        assert!(std::fs::symlink_metadata(format!("/dev/mapper/{name}p1")).is_err());
        assert!(Path::new("/dev/null").exists());
        if own_disk {
            umount2(&disk, MntFlags::empty()).unwrap();
        }
    }
}

#[tokio::test]
async fn mounts_of_the_host_in_the_scratch_directory_are_taken_away_with_care() {
    let Some(bench) = Bench::new("mounts", "mkdir -p \"$TMP_DIR/a b/bound\"; image") else { return };
    bench.run_to_end().await.unwrap();
    let outside = bench.directory.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("kept"), "kept").unwrap();
    mount_tmpfs(&bench.scratch().join("tmp/a b"), "size=1m");
    let bound = bench.scratch().join("tmp/a b/bound");
    std::fs::create_dir(&bound).unwrap();
    mount(Some(&outside), &bound, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    let busy = std::fs::File::create(bound.join("busy")).unwrap();

    let report = clean(bench.scratch(), &bench.order.build_id).await.unwrap();
    assert_eq!(report.unmounted, [bound.clone(), bound.parent().unwrap().to_owned()]);
    bench.assert_nothing_left();
    assert_eq!(std::fs::read_to_string(outside.join("kept")).unwrap(), "kept");
    drop(busy);
}

#[tokio::test]
async fn a_dropped_build_is_killed() {
    let script = "trap '' TERM; (trap '' TERM; setsid sleep 321) & echo ready; sleep 321";
    let Some(bench) = Bench::new("dropped", script) else { return };
    tokio::select! {
        _ = bench.run_to_end() => unreachable!(),
        () = bench.wait_for("ready") => {}
    }
    let start = Instant::now();
    while !processes(&bench.order.build_id).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(5), "still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bench.clean().await;
}

#[tokio::test]
async fn two_builds_do_not_disturb_each_other() {
    let script = r#"
file=$TMP_DIR/marked-$IMAGE_MANAGER_BUILD.raw
truncate -s 8M "$file"; device=$(losetup --show -f "$file")
echo "started $IMAGE_MANAGER_BUILD"; sleep 2; losetup -d "$device"; echo "through"; image"#;
    let (Some(one), Some(two)) = (Bench::new("first", script), Bench::new("second", script)) else { return };
    let cleaned = async {
        one.run_until("started").await;
        one.clean().await;
    };
    let ((), kept) = tokio::join!(cleaned, two.run_to_end());
    assert!(kept.unwrap().file.is_file());
    assert!(two.log().contains("through"));
    two.clean().await;
}

#[tokio::test]
async fn what_a_killed_manager_left_is_found_by_the_next() {
    let script = r#"
file=$TMP_DIR/marked-$IMAGE_MANAGER_BUILD.raw
truncate -s 8M "$file"; losetup -f "$file"; mkdir "$TMP_DIR/t"; mount -t tmpfs tmpfs "$TMP_DIR/t"
trap '' TERM PIPE; echo ready; while :; do sleep 321; done"#;
    let Some(bench) = Bench::new("crash", script) else { return };
    let mut manager = bench.another_manager();
    bench.wait_for("ready").await;
    manager.kill().await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let found = leftovers(bench.scratch().parent().unwrap()).unwrap();
    let ours = found.processes.iter().filter(|process| process.build_id == bench.order.build_id).count();
    assert_eq!((ours, found.loops.len(), found.scratches.len()), (2, 1, 1), "{found:?}");
    bench.clean().await;
}

#[tokio::test]
async fn at_whatever_instant_the_manager_is_killed_nothing_stays() {
    let script = r#"
file=$TMP_DIR/marked-$IMAGE_MANAGER_BUILD.raw
truncate -s 8M "$file"; losetup -f "$file"; trap '' TERM PIPE; sleep 321"#;
    for milliseconds in (0..=400).step_by(25) {
        let Some(bench) = Bench::new(&format!("instant-{milliseconds}"), script) else { return };
        let mut manager = bench.another_manager();
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        manager.kill().await.unwrap();
        clean(bench.scratch(), &bench.order.build_id).await.unwrap();
        bench.assert_nothing_left();
        tokio::time::sleep(Duration::from_millis(100)).await;
        bench.assert_nothing_left();
    }
}

#[tokio::test]
#[ignore = "part of another test, which runs it as a process of its own"]
async fn a_manager_that_is_going_to_be_killed() {
    let (Ok(directory), Ok(build_id)) =
        (std::env::var("BUILDER_TEST_BENCH"), std::env::var("BUILDER_TEST_BUILD"))
    else {
        return;
    };
    let Some(mut bench) = Bench::new("unused", "") else { return };
    let at = |part: &str| Path::new(&directory).join(part);
    bench.order.program = at("bin/disk-image-create");
    bench.order.scratch = at("work").join(&build_id);
    bench.order.build_id = build_id;
    bench.order.cache = at("cache");
    bench.order.log = at("build.log");
    let _ = bench.run_to_end().await;
}
