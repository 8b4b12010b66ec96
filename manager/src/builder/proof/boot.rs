//! Whether what a boot needs is in the image: what the boot loader's menu names, and what `fstab` mounts.
//!
//! Only what is known is told: a menu with variables, a file system whose names nothing is known of, or a menu on another
//! file system than the root's is left alone. Of menus, those of GRUB and of the Boot Loader Specification are read.

use std::path::Path;

use image_manager_agent::checks::packages::rpm::Trouble;
use serde::{Deserialize, Serialize};

use super::names::Names;
use super::volume::{self, Next, Volume};

/// Most lines of fstab, and entries of a menu, that are looked at.
const MOST: usize = 64;
/// Of a file no more than this is read.
const LARGEST_TEXT: usize = 1 << 20;
const MENUS: [&str; 2] = ["/boot/grub/grub.cfg", "/boot/grub2/grub.cfg"];
/// Entries by the Boot Loader Specification, a file each.
const ENTRIES: &str = "/boot/loader/entries";

/// A mount of something that is not in the image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MissingMount {
    /// Where it would be mounted.
    pub point: String,
    /// What `fstab` names.
    pub source: String,
    /// The boot goes on without it (`nofail`), once it has been waited for.
    pub optional: bool,
}

/// What a menu starts, as far as it says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Entry {
    kernel: String,
    initramfs: Vec<String>,
    root: Option<String>,
}

/// Mounts of `fstab` from file systems that the image does not have. Those that are not mounted at boot are left out.
pub(super) fn missing_mounts(fstab: &str, names: &Names) -> Vec<MissingMount> {
    let lines = fstab.lines().map(str::trim).filter(|line| !line.starts_with('#')).take(MOST);
    let mounts = lines.filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (source, point, _, options) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let has = |option: &str| options.split(',').any(|one| one == option);
        (names.lack(source) && !has("noauto")).then(|| MissingMount {
            point: point.to_owned(),
            source: source.to_owned(),
            optional: has("nofail"),
        })
    });
    mounts.collect()
}

/// Why no entry of the boot loader's menu can start the image. `None`: one can, or it is not known.
pub(super) fn fault(volume: &dyn Volume, names: &Names) -> Option<String> {
    let entries = entries(volume);
    let mut faults = entries.iter().map(|entry| entry.fault(volume, names)).collect::<Option<Vec<_>>>()?;
    (!faults.is_empty()).then(|| faults.swap_remove(0))
}

impl Entry {
    fn fault(&self, volume: &dyn Volume, names: &Names) -> Option<String> {
        let is_missing =
            |path: &&String| !is_there(volume, path) && !is_there(volume, &format!("/boot{path}"));
        if is_missing(&&self.kernel) {
            return Some(format!("the kernel {}, which is not there", self.kernel));
        }
        if let Some(initramfs) = self.initramfs.iter().find(is_missing) {
            return Some(format!("the initramfs {initramfs}, which is not there"));
        }
        let root = self.root.as_ref().filter(|root| names.lack(root))?;
        Some(format!("the root file system {root}, but the image has no such file system"))
    }
}

/// All entries of which kernel and initramfs are known.
fn entries(volume: &dyn Volume) -> Vec<Entry> {
    let mut entries = Vec::new();
    for menu in MENUS {
        entries.extend(of_menu(&text(volume, menu)));
    }
    let files = volume.names(ENTRIES).unwrap_or_default();
    for name in files.iter().filter(|name| Path::new(name).extension() == Some("conf".as_ref())).take(MOST) {
        entries.extend(of_file(&text(volume, &format!("{ENTRIES}/{name}"))));
    }
    entries.truncate(MOST);
    entries
}

/// Of a `grub.cfg`.
fn of_menu(menu: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in menu.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("linux" | "linux16" | "linuxefi") => {
                entries.push(Entry::of(words.next().unwrap_or_default(), words));
            }
            Some("initrd" | "initrd16" | "initrdefi") => {
                if let Some(entry) = entries.last_mut() {
                    entry.initramfs.extend(words.map(str::to_owned));
                }
            }
            _ => {}
        }
    }
    entries.retain(Entry::is_plain);
    entries
}

/// Of a file by the Boot Loader Specification.
fn of_file(file: &str) -> Option<Entry> {
    let values = |key: &str| {
        let lines = file.lines().filter_map(|line| line.trim().split_once(char::is_whitespace));
        lines.filter(|(name, _)| *name == key).map(|(_, value)| value.trim()).collect::<Vec<_>>()
    };
    let mut entry = Entry::of(values("linux").first()?, values("options").join(" ").split_whitespace());
    // What stands behind is a variable of GRUB, as in `initrd /initramfs-6.12.img $tuned_initrd`.
    let initramfs =
        values("initrd").into_iter().flat_map(str::split_whitespace).filter(|word| !word.starts_with('$'));
    entry.initramfs = initramfs.map(str::to_owned).collect();
    Some(entry).filter(Entry::is_plain)
}

impl Entry {
    fn of<'a>(kernel: &str, arguments: impl Iterator<Item = &'a str>) -> Self {
        // The last one counts.
        let root = arguments.filter_map(|argument| argument.strip_prefix("root=")).last();
        Self { kernel: kernel.to_owned(), initramfs: Vec::new(), root: root.map(str::to_owned) }
    }

    /// Its files are named without variables and devices of GRUB.
    fn is_plain(&self) -> bool {
        let mut files = self.initramfs.iter().chain([&self.kernel]);
        files.all(|file| file.starts_with('/') && !file.contains('$'))
    }
}

fn text(volume: &dyn Volume, path: &str) -> String {
    volume::text(volume, path, LARGEST_TEXT).unwrap_or_default()
}

fn is_there(volume: &dyn Volume, path: &str) -> bool {
    !matches!(volume.read(path, &mut |_| Next::Stop), Err(Trouble::Missing))
}

#[cfg(test)]
mod tests;
