//! How disk-image-builder fails, case by case: each has a reason of its own that names element and script.
//!
//! With the real disk-image-create where it fails within seconds, a script that does the same to the same tools
//! elsewhere; `real_debian` has what takes minutes.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use image_manager::builder::{BuilderError, Proof};
use image_manager::reason::Reason;
use nix::mount::{MntFlags, umount2};

use super::bench::{Bench, mount_tmpfs};

/// Where `setup/install` puts it.
pub(crate) const DIB: &str = "/opt/image-manager/dib/bin/disk-image-create";

/// A build by the real disk-image-create, with an element `quick` that is an operating system of one empty
/// directory.
pub(crate) fn real(name: &str, elements: &[&str]) -> Option<Bench> {
    let mut bench = Bench::new(name, "")?;
    assert!(Path::new(DIB).exists(), "{DIB} is missing: setup/install build");
    bench.order.program = PathBuf::from(DIB);
    bench.order.elements = elements.iter().map(|name| (*name).to_owned()).collect();
    bench.order.elements_path = vec![bench.directory.path().join("elements")];
    bench.order.environment = BTreeMap::from(
        [("DIB_RELEASE", "bookworm")].map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    element(&bench, "quick", "element-provides", "operating-system\n");
    element(
        &bench,
        "quick",
        "root.d/10-quick",
        "#!/bin/bash\nmkdir -p \"$TARGET_ROOT\"/{bin,etc,proc,sys,dev,tmp}\n",
    );
    element(&bench, "quick", "environment.d/10-quick.bash", "export DISTRO_NAME=debian\n");
    Some(bench)
}

/// Gives an element a file.
pub(crate) fn element(bench: &Bench, name: &str, file: &str, text: &str) {
    let path = bench.directory.path().join("elements").join(name).join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

pub(crate) async fn fails(bench: &Bench) -> BuilderError {
    let error = bench.run_to_end().await.unwrap_err();
    bench.clean().await;
    error
}

#[tokio::test]
async fn elements_that_are_not_there_or_do_not_go_together() {
    let Some(bench) = real("unknown", &["quick", "no-such-element"]) else { return };
    let error = fails(&bench).await;
    assert_eq!(error.reason, Reason::DibElementUnknown, "{error:?}");
    assert!(error.message.contains("there is no element no-such-element"), "{error}");

    let Some(bench) = real("no-system", &["vm"]) else { return };
    let error = fails(&bench).await;
    assert_eq!(error.reason, Reason::DibOsMissing, "{error:?}");
    assert!(error.message.contains("no element provides an operating system"), "{error}");

    let Some(bench) = real("two-systems", &["quick", "debian-minimal"]) else { return };
    let error = fails(&bench).await;
    assert_eq!(error.reason, Reason::DibElementConflict, "{error:?}");
    assert!(error.message.contains("operating-system"), "{error}");
}

#[tokio::test]
async fn a_hook_that_fails_is_named_with_its_element_and_exit_code() {
    for (phase, code) in [("root", 7), ("extra-data", 32)] {
        let Some(bench) = real(&format!("hook-{phase}"), &["quick", "broken"]) else { return };
        let hook = format!("#!/bin/bash\necho 'cannot go on: no widgets' >&2\nexit {code}\n");
        element(&bench, "broken", &format!("{phase}.d/50-broken"), &hook);
        let error = fails(&bench).await;
        assert_eq!(error.reason, Reason::DibHookFailed, "{error:?}");
        assert_eq!(
            error.message,
            format!("element broken: {phase}.d/50-broken failed with exit code {code}")
        );
        assert!(error.evidence.contains("no widgets"), "{}", error.evidence);
    }
}

#[tokio::test]
async fn a_mirror_that_is_down_is_the_hosts_fault() {
    let Some(mut bench) = real("mirror", &["debian-minimal"]) else { return };
    for name in ["DIB_DISTRIBUTION_MIRROR", "DIB_DEBIAN_SECURITY_MIRROR"] {
        // Nobody listens there, and the kernel says so at once.
        bench.order.environment.insert(name.to_owned(), "http://127.0.0.1:9/debian".to_owned());
    }
    let error = fails(&bench).await;
    assert_eq!(error.reason, Reason::MirrorUnreachable, "{error:?}");
    assert!(error.message.contains("element debootstrap, root.d/08-debootstrap"), "{error}");
    assert!(!error.evidence.is_empty());
}

#[tokio::test]
async fn an_output_format_that_qemu_img_does_not_know() {
    let script =
        r#"qemu-img create -q -f raw "$out.raw" 1M; qemu-img convert -O qcow3 "$out.raw" "$out.qcow3""#;
    let Some(bench) = Bench::new("format", script) else { return };
    let error = fails(&bench).await;
    assert_eq!(error.reason, Reason::DibFormatUnknown, "{error:?}");
    assert!(error.message.contains("qcow3"), "{error}");
}

#[tokio::test]
async fn the_real_kpartx_on_a_host_without_device_mapper() {
    // Where there is device-mapper it says nothing; then what it says elsewhere is repeated.
    let script = r#"
truncate -s 8M "$TMP_DIR/disk"; device=$(losetup --show -f "$TMP_DIR/disk")
echo "New block device [$device]"
if grep -q device-mapper /proc/misc; then
    echo "/dev/mapper/control: open failed: No such file or directory"; code=1
else
    kpartx -avs "$device"; code=$?
fi
losetup -d "$device"; exit $code"#;
    let Some(bench) = Bench::new("kpartx", script) else { return };
    let error = fails(&bench).await;
    assert_eq!(error.reason, Reason::DeviceMapperMissing, "{error:?}");
    assert!(error.reason.hint().contains("dm_mod"), "{error}");
}

/// Builds on a small disk of its own.
async fn on_a_small_disk(name: &str, script: &str, free_bytes: u64) -> Option<Result<Proof, BuilderError>> {
    let mut bench = Bench::new(name, script)?;
    bench.limits.free_bytes = free_bytes;
    let disk = bench.scratch().parent().unwrap().to_owned();
    mount_tmpfs(&disk, "size=96m");
    let built = bench.run_to_end().await.map(|artifact| artifact.proof);
    bench.clean().await;
    umount2(&disk, MntFlags::empty()).unwrap();
    Some(built)
}

#[tokio::test]
async fn a_work_directory_that_is_full_with_an_error() {
    let script = r#"
echo "Copying hooks /srv/elements/big/install.d/50-big"
echo "dib-run-parts Running /tmp/in_target.d/install.d/50-big"
dd if=/dev/zero of="$TMP_DIR/built" bs=1M count=200; exit 2"#;
    let Some(built) = on_a_small_disk("full-error", script, 0).await else { return };
    let error = built.unwrap_err();
    assert_eq!(error.reason, Reason::ScratchFull, "{error:?}");
    assert!(error.message.contains("(element big, install.d/50-big)"), "{error}");
}

/// It has next to no room, though not so little that the build is ended, and what DIB runs crashes.
#[tokio::test]
async fn a_crash_on_a_work_directory_that_is_nearly_full() {
    let script = r#"dd if=/dev/zero of="$TMP_DIR/built" bs=1M count=80 status=none; kill -SEGV $$"#;
    let Some(built) = on_a_small_disk("full-crash", script, 12 << 20).await else { return };
    let error = built.unwrap_err();
    assert_eq!(error.reason, Reason::ScratchFull, "{error:?}");
    assert!(error.message.contains("was free there"), "{error}");
}

/// What DIB does while it copies the image: files through a loop device into a file that lies on a disk with
/// $ROOM MiB for it. The kernel takes them all, and what it cannot write later is lost without a word.
const COPY: &str = r#"
set -e
raw=$TMP_DIR/marked-$IMAGE_MANAGER_BUILD.raw
truncate -s 160M "$raw"; mke2fs -q -t ext4 "$raw"
device=$(losetup --show -f "$raw"); echo "New block device [$device]"
mkdir "$TMP_DIR/mnt"; mount "$device" "$TMP_DIR/mnt"; cd "$TMP_DIR/mnt"
mkdir -p var/lib/dpkg/info usr/bin; sync -f .
head -c $(((90 - ROOM) << 20)) /dev/zero >"$TMP_DIR/ballast"
content() { yes "file $1" | head -c 1M || true; }
for n in {1..40}; do content $n | md5sum | sed "s|-|usr/bin/$n|"; done >var/lib/dpkg/info/forty.md5sums
sync -f .
for n in {1..40}; do content $n >usr/bin/$n; done
cd /; sync -f "$TMP_DIR/mnt" || true; sleep 1
umount "$TMP_DIR/mnt"; losetup -d "$device"; rm "$TMP_DIR/ballast"
qemu-img convert -c -O qcow2 "$raw" "$out.qcow2"; rm "$raw"
echo "Build completed successfully""#;

#[tokio::test]
async fn a_work_directory_that_fills_during_the_copy_of_the_image_though_dib_says_success() {
    let copy = |room: u32| COPY.replace("ROOM", &room.to_string());
    // With room enough all files are what they should be.
    let Some(built) = on_a_small_disk("copy-whole", &copy(80), 1).await else { return };
    let Proof::Looked(counts) = built.unwrap() else { panic!("not looked at") };
    assert_eq!((counts.same, counts.changed, counts.damaged), (40, 0, 0), "{counts:?}");

    // The room is watched.
    let built = on_a_small_disk("copy-watched", &copy(20), 4 << 20).await.unwrap();
    let error = built.unwrap_err();
    assert_eq!(error.reason, Reason::ScratchFull, "{error:?}");

    // A watch that has not seen it does not help the image.
    let built = on_a_small_disk("copy-unwatched", &copy(20), 0).await.unwrap();
    let error = built.unwrap_err();
    assert_eq!(error.reason, Reason::ImageDamaged, "{error:?}");
    // What is lost is up to the kernel: contents, entries of directories, or it says that it could not write.
    assert!(!error.evidence.is_empty(), "{error:?}");
}
