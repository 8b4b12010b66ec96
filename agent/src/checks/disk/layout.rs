//! A file system, and the device and disk under it.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use nix::sys::statvfs::{FsFlags, statvfs};
use serde_json::{Value as Json, json};

use crate::guest::Guest;
use crate::text;

/// sysfs counts in these, whatever the device's own are.
const SECTOR: u64 = 512;
/// Most devices that lie upon one another.
const DEEPEST: usize = 8;

/// A mounted file system: the root, or one that the schedule names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FileSystem {
    /// Its device as the mount names it, for example `/dev/vda1`.
    pub source: String,
    /// Its device's `major:minor`.
    pub numbers: String,
    /// For example `ext4`.
    pub kind: String,
    /// Options of the mount and of the file system.
    pub options: String,
    /// Whether it can only be read.
    pub read_only: bool,
    /// Size, less what the file system keeps for itself.
    pub total_bytes: u64,
    /// What a program that is not root's may still use.
    pub free_bytes: u64,
    /// All inodes. 0: the file system does not count them.
    pub inodes: u64,
    /// Free inodes.
    pub free_inodes: u64,
}

impl FileSystem {
    /// The one that is mounted at `place`, an absolute path. `Ok(None)`: nothing is.
    pub(super) fn at(guest: &Guest, place: &str) -> Result<Option<Self>, String> {
        let mounts = guest.read("/proc/self/mountinfo").map_err(|error| format!("mountinfo: {error}"))?;
        let Some(mut found) = Self::parse(&mounts, place) else { return Ok(None) };
        let sizes = statvfs(&guest.path(place)).map_err(|error| format!("statvfs: {error}"))?;
        found.read_only |= sizes.flags().contains(FsFlags::ST_RDONLY);
        found.total_bytes = sizes.blocks().saturating_mul(sizes.fragment_size());
        found.free_bytes = sizes.blocks_available().saturating_mul(sizes.fragment_size());
        found.inodes = sizes.files();
        found.free_inodes = sizes.files_available();
        Ok(Some(found))
    }

    /// Finds the last mount at `place` in mountinfo, which writes a blank as `\040`:
    /// `ID PARENT MAJOR:MINOR ROOT MOUNTPOINT OPTIONS [TAGS...] - TYPE SOURCE SUPEROPTIONS`.
    pub(super) fn parse(mountinfo: &str, place: &str) -> Option<Self> {
        let asked = place.replace(' ', "\\040");
        mountinfo.lines().rev().find_map(|line| {
            let (mount, system) = line.split_once(" - ")?;
            let mut mount = mount.split(' ').skip(2);
            let (numbers, _, at, options) = (mount.next()?, mount.next()?, mount.next()?, mount.next()?);
            let mut system = system.split(' ');
            let (kind, source, more) = (system.next()?, system.next()?, system.next().unwrap_or_default());
            (at == asked).then(|| Self {
                source: text::one_line(source),
                numbers: numbers.to_owned(),
                kind: text::one_line(kind),
                options: text::one_line(&format!("{options},{more}")),
                read_only: [options, more].iter().any(|all| all.split(',').any(|one| one == "ro")),
                ..Self::default()
            })
        })
    }

    pub(super) fn as_json(&self) -> Json {
        json!({
            "source": self.source,
            "file_system": self.kind,
            "options": self.options,
            "read_only": self.read_only,
            "total_bytes": self.total_bytes,
            "free_bytes": self.free_bytes,
            "inodes": self.inodes,
            "free_inodes": self.free_inodes,
        })
    }
}

/// The device under a file system, what it lies upon, and its disk.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Device {
    /// The kernel's name, for example `vda1`.
    pub name: String,
    /// Size of the device.
    pub bytes: u64,
    /// What it lies upon (LVM, LUKS), the topmost first; the last one is a partition of the disk, or the disk.
    pub below: Vec<Layer>,
    /// The one of these that lies upon several devices, so that nothing is known further down.
    pub upon_several: Option<String>,
    /// The kernel's name of the whole disk, for example `vda`; the same when it has no partitions.
    pub disk: String,
    /// Size of the disk.
    pub disk_bytes: u64,
    /// Where its own partition ends; the disk's size when it has none.
    pub end: u64,
    /// The first partition that stands behind its own.
    pub behind: Option<String>,
    /// How much of the device the file system covers, what it keeps for itself included. `None`: a file
    /// system whose header is not known here.
    pub file_system_bytes: Option<u64>,
}

/// A device that others lie upon.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layer {
    /// The kernel's name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Size of all that lies upon it: not of the root's device alone, for a volume group may hold others.
    pub taken: u64,
}

impl Device {
    pub(super) fn of(guest: &Guest, root: &FileSystem) -> Option<Self> {
        let folder = folder_of(guest, root)?;
        let (stack, is_the_end) = stack(&folder);
        let lowest = stack.last()?.clone();
        let is_partition = lowest.join("partition").exists();
        let disk = if is_partition { lowest.parent()?.to_owned() } else { lowest.clone() };
        let disk_bytes = size(&disk)?;
        let end = if is_partition { end(&lowest)? } else { disk_bytes };
        let below = stack.windows(2).filter_map(|pair| match pair {
            [above, below] => {
                Some(Layer { name: name(below), bytes: size(below)?, taken: taken(below).or(size(above))? })
            }
            _ => None,
        });
        let name_of_device = name(&folder);
        Some(Self {
            file_system_bytes: ext_bytes(&guest.path("/dev").join(name_of_device.replace('!', "/"))),
            name: name_of_device,
            bytes: size(&folder)?,
            below: below.collect(),
            upon_several: (!is_the_end).then(|| name(&lowest)),
            disk: name(&disk),
            disk_bytes,
            end,
            behind: is_partition.then(|| first_behind(&disk, end)).flatten(),
        })
    }

    /// The name of what lies on the disk itself: the partition.
    pub(super) fn partition(&self) -> &str {
        self.below.last().map_or(&self.name, |layer| &layer.name)
    }
}

/// Size of an ext2, ext3 or ext4 file system by its superblock (kernel documentation, "ext4 Data Structures
/// and Algorithms"). statvfs does not tell: it leaves out the inode tables, which can be a tenth of it.
fn ext_bytes(device: &Path) -> Option<u64> {
    const PLACE: u64 = 1024;
    const MAGIC: u16 = 0xEF53;
    const WITH_64_BITS: u32 = 0x80;
    let mut file = fs::File::open(device).ok()?;
    file.seek(SeekFrom::Start(PLACE)).ok()?;
    let mut block = [0_u8; 1024];
    file.read_exact(&mut block).ok()?;
    let long = |at: usize| Some(u32::from_le_bytes(block.get(at..at + 4)?.try_into().ok()?));
    let magic = u16::from_le_bytes(block.get(0x38..0x3A)?.try_into().ok()?);
    if magic != MAGIC {
        return None;
    }
    let high = if long(0x60)? & WITH_64_BITS == 0 { 0 } else { long(0x150)? };
    let blocks = u64::from(high) << 32 | u64::from(long(0x4)?);
    1024_u64.checked_shl(long(0x18)?)?.checked_mul(blocks)
}

/// The device's folder in sysfs. Btrfs has numbers of its own, so then by the name.
fn folder_of(guest: &Guest, root: &FileSystem) -> Option<PathBuf> {
    let by_number = fs::canonicalize(guest.path(format!("/sys/dev/block/{}", root.numbers)));
    by_number.ok().or_else(|| {
        let device = fs::canonicalize(guest.path(root.source.strip_prefix("/dev/").map(|_| &root.source)?));
        let name = device.ok()?.file_name()?.to_string_lossy().replace('/', "!");
        fs::canonicalize(guest.path(format!("/sys/class/block/{name}"))).ok()
    })
}

/// Down through LVM, LUKS and the like while there is only one device below. False: there are several.
fn stack(folder: &Path) -> (Vec<PathBuf>, bool) {
    let mut stack = vec![folder.to_owned()];
    while let Some(here) = stack.last() {
        let below = linked(here, "slaves");
        match below.as_slice() {
            [] => break,
            [only] if stack.len() < DEEPEST => stack.push(only.clone()),
            _ => return (stack, false),
        }
    }
    (stack, true)
}

/// The devices that a device names in `slaves` (below it) or `holders` (upon it).
fn linked(device: &Path, which: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(device.join(which)).into_iter().flatten().flatten();
    entries.filter_map(|entry| fs::canonicalize(entry.path()).ok()).collect()
}

/// Size of all that lies upon a device. `None`: it does not say.
fn taken(device: &Path) -> Option<u64> {
    let sizes =
        linked(device, "holders").iter().filter_map(|holder| size(holder)).reduce(u64::saturating_add);
    sizes.filter(|bytes| *bytes > 0)
}

/// The partition that begins next at or behind this place.
fn first_behind(disk: &Path, place: u64) -> Option<String> {
    let entries = fs::read_dir(disk).ok()?.flatten().map(|entry| entry.path());
    let partitions = entries.filter(|path| path.join("partition").exists());
    let starts = partitions.filter_map(|path| Some((start(&path)?, path)));
    starts.filter(|(start, _)| *start >= place).min().map(|(_, path)| name(&path))
}

fn start(partition: &Path) -> Option<u64> {
    number(partition, "start")?.checked_mul(SECTOR)
}

fn size(device: &Path) -> Option<u64> {
    number(device, "size")?.checked_mul(SECTOR)
}

fn end(partition: &Path) -> Option<u64> {
    start(partition)?.checked_add(size(partition)?)
}

fn number(folder: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
}

fn name(folder: &Path) -> String {
    folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
