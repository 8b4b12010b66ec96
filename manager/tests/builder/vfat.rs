//! An EFI system partition is written by disk-image-builder's own calls, whether or not the kernel has vfat.

use crate::bench::Bench;
use crate::left_out::left_out;

/// What `block-device-efi` has disk-image-builder do, with a loop device that has no partitions.
const SCRIPT: &str = r#"
set -e
truncate -s 34M "$TMP_DIR/esp.raw"
sudo mkfs -t vfat -n ESP "$TMP_DIR/esp.raw" >/dev/null
device=$(sudo losetup --find --show "$TMP_DIR/esp.raw")
trap 'losetup -d "$device"' EXIT
mkdir -p "$TMP_DIR/mnt/boot/efi" "$TMP_DIR/plain"
sudo mount "$device" "$TMP_DIR/mnt/boot/efi"
mkdir -p "$TMP_DIR/mnt/boot/efi/EFI/BOOT"
echo program >"$TMP_DIR/mnt/boot/efi/EFI/BOOT/BOOTX64.EFI"
echo gone >"$TMP_DIR/mnt/boot/efi/EFI/BOOT/a long name that goes again.txt"
echo "source $(findmnt --noheadings --output SOURCE --mountpoint "$TMP_DIR/mnt/boot/efi")"
echo "device $device"
sudo umount "$TMP_DIR/mnt/boot/efi"
# Once more: what is there is read, what was removed goes.
sudo mount "$device" "$TMP_DIR/mnt/boot/efi"
cat "$TMP_DIR/mnt/boot/efi/EFI/BOOT/BOOTX64.EFI"
rm "$TMP_DIR"/mnt/boot/efi/EFI/BOOT/a*
echo more >"$TMP_DIR/mnt/boot/efi/EFI/BOOT/grub.cfg"
sudo umount "$TMP_DIR/mnt/boot/efi"
! mountpoint -q "$TMP_DIR/mnt/boot/efi"
echo "files: $(MTOOLS_SKIP_CHECK=1 mdir -b -/ -i "$device" ::/ 2>/dev/null | tr '\n' ' ')"
MTOOLS_SKIP_CHECK=1 mtype -i "$device" ::/EFI/BOOT/BOOTX64.EFI 2>/dev/null
fsck.vfat -n "$TMP_DIR/esp.raw" && echo sound
# Everything else is mounted as ever.
sudo mount -t tmpfs mine "$TMP_DIR/plain" && touch "$TMP_DIR/plain/x" && sudo umount "$TMP_DIR/plain"
[ ! -e "$TMP_DIR/plain/x" ] && echo plain
! sudo umount "$TMP_DIR/plain" 2>/dev/null
image
echo 'Build completed successfully'
"#;

#[tokio::test]
async fn the_efi_system_partition_has_what_was_written_to_it() {
    if ["mcopy", "mkfs.vfat", "sudo"].iter().any(|program| image_manager::programs::find(program).is_none()) {
        return left_out("files in the EFI system partition of a build: no mtools, dosfstools or sudo");
    }
    let Some(mut bench) = Bench::new("vfat", SCRIPT) else { return };
    let state = bench.directory.path().canonicalize().unwrap();
    let stand_ins = image_manager::builder::install_stand_ins(&state).unwrap();
    let name = image_manager::builder::STAND_INS.to_owned();
    bench.order.environment.insert(name, stand_ins.display().to_string());
    let ended = bench.run_to_end().await;
    let log = bench.log();
    assert!(ended.is_ok(), "{ended:?}\n{log}");
    let after = |word: &str| {
        let line = log.lines().find_map(|line| line.split_once(word)).map(|(_, rest)| rest.trim().to_owned());
        line.unwrap_or_else(|| panic!("no {word:?} in {log}"))
    };
    assert_eq!(after("| source "), after("| device "), "GRUB finds the partition behind the directory");
    let files = after("| files: ");
    assert!(files.contains("::/EFI/BOOT/BOOTX64.EFI") && files.contains("grub.cfg"), "{files}");
    assert!(!files.contains("long name"), "{files}");
    for word in ["| program", "| sound", "| plain"] {
        after(word);
    }
    bench.clean().await;
}
