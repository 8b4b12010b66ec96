//! The config drive: a small disk with the label `config-2`, as Nova and the local cloud make it.
//!
//! The agent starts so early that udev's `/dev/disk/by-label` may not be there yet, so the labels are
//! read from the devices themselves. The drive is mounted by a thread of its own in a mount namespace of
//! its own: nobody else sees the mount, and it goes with the thread whatever happens. Only that thread
//! is in the namespace, so the rest of the agent sees every later change of the guest's mounts, such as
//! the root file system's becoming writable.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Answer;
use crate::guest::Guest;
use crate::text;

const LABEL: &str = "config-2";
/// Largest file that is read.
const LARGEST: u64 = 1 << 20;
const MOUNT_POINT: &str = "/run/image-manager/drive";
/// For one look at all devices. A device that hangs is left alone with its thread.
const PATIENCE: Duration = Duration::from_secs(20);

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Looks at all block devices once, and reads this file of the drive.
pub(super) async fn look(guest: &Guest, file: &'static str) -> Answer {
    let guest = guest.clone();
    let (send, receive) = oneshot::channel();
    let thread = std::thread::Builder::new().name("config-drive".to_owned());
    let started = thread.spawn(move || drop(send.send(look_now(&guest, file))));
    if let Err(error) = started {
        return Answer::None(format!("cannot be searched for: {error}"));
    }
    match timeout(PATIENCE, receive).await {
        Ok(Ok(answer)) => answer,
        _ => Answer::None("a device does not answer".to_owned()),
    }
}

fn look_now(guest: &Guest, file: &str) -> Answer {
    // Two checks may look at the same time: when one takes away the folder, the other's mount on it would go as well.
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(device) = devices(guest).into_iter().find(|device| is_config_drive(device)) else {
        return Answer::None("none".to_owned());
    };
    match read(guest, &device, file) {
        Ok(text) => Answer::MetaData(text),
        Err(error) => Answer::None(text::one_line(&format!("{}: {error}", device.display()))),
    }
}

/// The nodes of all block devices that may be a config drive.
fn devices(guest: &Guest) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(guest.path("/sys/class/block")) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
        .into_iter()
        // Never the drive, and slow or endless to read: RAM disks, loop devices, floppies.
        .filter(|name| !["ram", "zram", "loop", "fd", "nbd", "md"].iter().any(|no| name.starts_with(no)))
        .filter(|name| {
            let size = guest.read(format!("/sys/class/block/{name}/size"));
            size.is_ok_and(|size| size.trim() != "0")
        })
        // The kernel writes "!" for the "/" in a device's name.
        .map(|name| guest.path(format!("/dev/{}", name.replace('!', "/"))))
        .collect()
}

fn is_config_drive(device: &Path) -> bool {
    let Ok(file) = File::open(device) else { return false };
    label(&file).is_some_and(|label| label.eq_ignore_ascii_case(LABEL))
}

/// The label of an ISO 9660 or FAT file system.
fn label(file: &File) -> Option<String> {
    let mut descriptor = [0; 72];
    if file.read_exact_at(&mut descriptor, 32768).is_ok()
        && descriptor.starts_with(b"\x01CD001")
        && let Some(label) = descriptor.get(40..72)
    {
        return Some(trimmed(label));
    }
    let mut boot = [0; 512];
    file.read_exact_at(&mut boot, 0).ok()?;
    if boot.get(510..512) != Some(&[0x55, 0xaa]) {
        return None;
    }
    // FAT12 and FAT16, then FAT32: where the extended boot signature, the label and the type are.
    for (signature, at, kind) in [(38, 43, 54), (66, 71, 82)] {
        if boot.get(signature) == Some(&0x29) && boot.get(kind..kind + 3) == Some(b"FAT") {
            return boot.get(at..at + 11).map(trimmed);
        }
    }
    None
}

fn trimmed(label: &[u8]) -> String {
    String::from_utf8_lossy(label).trim_end_matches([' ', '\0']).to_owned()
}

fn read(guest: &Guest, device: &Path, file: &str) -> io::Result<String> {
    use std::io::Read as _;
    // Without a namespace (no permission) the mount would be seen by all for a moment. It still works.
    if unshare(CloneFlags::CLONE_NEWNS).is_ok() {
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    }
    let folder = guest.path(MOUNT_POINT);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let mut mounted = Err(Errno::EINVAL);
    for kind in ["iso9660", "vfat"] {
        mounted = mount(Some(device), &folder, Some(kind), flags, None::<&str>);
        if mounted.is_ok() {
            break;
        }
    }
    mounted?;
    let mut text = Vec::new();
    let read = File::open(folder.join(file)).and_then(|file| file.take(LARGEST).read_to_end(&mut text));
    umount2(&folder, MntFlags::MNT_DETACH)?;
    // An empty folder; the removal takes what is left.
    let _ = fs::remove_dir(&folder);
    read.map(|_| String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn iso(label: &str) -> Vec<u8> {
        let mut image = vec![0; 32768 + 2048];
        image[32768..32774].copy_from_slice(b"\x01CD001");
        image[32808..32840].fill(b' ');
        image[32808..32808 + label.len()].copy_from_slice(label.as_bytes());
        image
    }

    fn fat(label: &str, wide: bool) -> Vec<u8> {
        let mut image = vec![0; 512];
        let (signature, at, kind) = if wide { (66, 71, 82) } else { (38, 43, 54) };
        image[signature] = 0x29;
        image[at..at + 11].fill(b' ');
        image[at..at + label.len()].copy_from_slice(label.as_bytes());
        image[kind..kind + 5].copy_from_slice(if wide { b"FAT32" } else { b"FAT16" });
        image[510..].copy_from_slice(&[0x55, 0xaa]);
        image
    }

    fn label_of(image: &[u8]) -> Option<String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(image).unwrap();
        label(&file)
    }

    #[test]
    fn labels_are_read() {
        assert_eq!(label_of(&iso("config-2")).as_deref(), Some("config-2"));
        assert_eq!(label_of(&iso("cidata")).as_deref(), Some("cidata"));
        assert_eq!(label_of(&fat("config-2", false)).as_deref(), Some("config-2"));
        assert_eq!(label_of(&fat("CONFIG-2", true)).as_deref(), Some("CONFIG-2"));
        assert_eq!(label_of(&vec![0; 40_000]), None);
        assert_eq!(label_of(b"short"), None);
    }

    #[test]
    fn the_drive_is_found_among_the_devices() {
        let root = tempfile::tempdir().unwrap();
        let guest = Guest::below(root.path());
        fs::create_dir_all(guest.path("/dev")).unwrap();
        for (name, size, content) in [
            ("loop0", "100", iso("config-2")),
            ("sr0", "0", iso("config-2")),
            ("vda", "100", fat("boot", false)),
            ("vdb", "70", iso("CONFIG-2")),
        ] {
            fs::create_dir_all(guest.path(format!("/sys/class/block/{name}"))).unwrap();
            fs::write(guest.path(format!("/sys/class/block/{name}/size")), format!("{size}\n")).unwrap();
            fs::write(guest.path(format!("/dev/{name}")), content).unwrap();
        }
        let found: Vec<_> = devices(&guest).into_iter().filter(|device| is_config_drive(device)).collect();
        assert_eq!(found, [guest.path("/dev/vdb")]);
    }
}
