use std::collections::BTreeMap;

use super::super::inspection::tests::Tree;
use super::super::partition::Partition;
use super::*;

/// Of a disk with one file system, `root`.
fn names() -> Names {
    let disk = tempfile::tempfile().unwrap();
    disk.set_len(1 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&disk, &[0x53, 0xef], 0x438).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&disk, b"root", 0x478).unwrap();
    Names::read(&disk, &[Partition::default()]).unwrap()
}

fn mount(point: &str, source: &str, optional: bool) -> MissingMount {
    MissingMount { point: point.to_owned(), source: source.to_owned(), optional }
}

#[test]
fn mounts_of_what_is_not_there_are_found() {
    let fstab = "# LABEL=old /old ext4 defaults 0 2\n\
                 LABEL=root / ext4 defaults 0 1\n\
                 LABEL=data /data ext4 defaults 0 2\n\
                 UUID=0f3d2b1a-9e8d-4c7b-8a69-5f4e3d2c1b0a /more xfs rw,nofail 0 2\n\
                 LABEL=late /late ext4 noauto 0 2\n\
                 tmpfs /tmp tmpfs defaults 0 0\n\
                 /dev/vdb /scratch ext4 nofail 0 2\n\
                 LABEL=short\n";
    let more = "UUID=0f3d2b1a-9e8d-4c7b-8a69-5f4e3d2c1b0a";
    assert_eq!(
        missing_mounts(fstab, &names()),
        [mount("/data", "LABEL=data", false), mount("/more", more, true)]
    );
}

const GRUB: &str = "set root='hd0,gpt3'\n\
    menuentry 'Debian' {\n\
    \tlinux\t/boot/vmlinuz-6.1 root=LABEL=root ro console=ttyS0\n\
    \tinitrd\t/boot/initrd.img-6.1\n\
    }\n";
const KERNEL: (&str, &str) = ("/boot/vmlinuz-6.1", "kernel");
const INITRAMFS: (&str, &str) = ("/boot/initrd.img-6.1", "initramfs");

fn fault_of(files: &[(&'static str, &'static str)]) -> Option<String> {
    fault(&Tree(files.iter().copied().collect::<BTreeMap<_, _>>()), &names())
}

#[test]
fn what_a_menu_names_must_be_there() {
    let menu = ("/boot/grub/grub.cfg", GRUB);
    assert_eq!(fault_of(&[menu, KERNEL, INITRAMFS]), None);
    let kernel = fault_of(&[menu, INITRAMFS]).unwrap();
    assert!(kernel.contains("kernel /boot/vmlinuz-6.1"), "{kernel}");
    let initramfs = fault_of(&[menu, KERNEL]).unwrap();
    assert!(initramfs.contains("initramfs /boot/initrd.img-6.1"), "{initramfs}");
    let other = "linux /boot/vmlinuz-6.1 root=LABEL=other\ninitrd /boot/initrd.img-6.1\n";
    let root = fault_of(&[("/boot/grub/grub.cfg", other), KERNEL, INITRAMFS]).unwrap();
    assert!(root.contains("root file system LABEL=other"), "{root}");
    assert_eq!(fault_of(&[]), None, "no menu, nothing known");
}

#[test]
fn one_entry_that_can_be_started_is_enough() {
    let two = "linux /boot/vmlinuz-5.10 root=LABEL=root\ninitrd /boot/initrd.img-5.10\n\
               linux /boot/vmlinuz-6.1 root=LABEL=root\ninitrd /boot/initrd.img-6.1\n";
    assert_eq!(fault_of(&[("/boot/grub2/grub.cfg", two), KERNEL, INITRAMFS]), None);
    assert!(fault_of(&[("/boot/grub2/grub.cfg", two)]).unwrap().contains("vmlinuz-5.10"));
}

#[test]
fn entries_of_the_boot_loader_specification_are_read() {
    let entry = "title EL\nversion 5.14\nlinux /vmlinuz-6.1\ninitrd /initrd.img-6.1 $tuned_initrd\n\
                 options root=LABEL=other ro $tuned_params\n";
    let file = ("/boot/loader/entries/el.conf", entry);
    let root = fault_of(&[file, KERNEL, INITRAMFS]).unwrap();
    assert!(root.contains("LABEL=other"), "{root}");
    assert!(fault_of(&[file, INITRAMFS]).unwrap().contains("kernel /vmlinuz-6.1"));
}

#[test]
fn variables_are_left_alone() {
    let menu = "linux $kernel root=LABEL=other\nlinux (hd0)/vmlinuz root=LABEL=other\n";
    assert_eq!(fault_of(&[("/boot/grub/grub.cfg", menu)]), None);
    let variable = "linux /boot/vmlinuz-6.1 root=$root\ninitrd /boot/initrd.img-6.1\n";
    assert_eq!(fault_of(&[("/boot/grub/grub.cfg", variable), KERNEL, INITRAMFS]), None);
}
