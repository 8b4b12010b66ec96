//! By which names `fstab` and the kernel's command line can name the file systems of a disk: UUIDs, labels, and those of
//! partitions. Pure but for the reads.
//!
//! Where each kind of file system keeps them: blkid(8)'s superblocks, the same as udev's `/dev/disk/by-*` are made of.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use image_manager_proto::hex;

use super::partition::{Partition, TABLE};

/// Partition types that hold no file system: GRUB's, which it boots a GPT's disk with by BIOS, as it stands on a disk.
const BIOS_BOOT: [u8; 16] = *b"Hah!IdontNeedEFI";
/// Bytes at the start of a partition that tell its names.
const LENGTH: usize = 4096;

/// The names of a disk's file systems.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// As in `UUID=1234-ABCD`, with the key.
    all: Vec<String>,
    /// There is something on the disk of whose names nothing is known.
    partial: bool,
}

impl Names {
    /// Reads them.
    pub(super) fn read(disk: &File, partitions: &[Partition]) -> io::Result<Self> {
        let mut names = Self::default();
        for partition in partitions {
            let mut block = vec![0; LENGTH];
            let read = match disk.read_at(&mut block, partition.start) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
                Err(error) => return Err(error),
            };
            block.truncate(read);
            names.add(partition, &block);
        }
        Ok(names)
    }

    fn add(&mut self, partition: &Partition, block: &[u8]) {
        let known = of_file_system(block);
        // The disk's own first bytes are those of its table.
        let is_table = partition.start == TABLE;
        if known.is_none() && !is_table && partition.kind != Some(BIOS_BOOT) {
            self.partial = true;
        }
        let (uuid, label) = known.unwrap_or_default();
        let pairs = [
            ("UUID", uuid),
            ("LABEL", label),
            ("PARTUUID", partition.uuid.clone()),
            ("PARTLABEL", partition.label.clone()),
        ];
        let given = pairs.into_iter().filter_map(|(key, name)| Some(format!("{key}={}", name?)));
        self.all.extend(given.filter(|name| !name.ends_with('=')));
    }

    /// Whether what `source` names, as in `fstab` or behind `root=`, is known not to be on the disk.
    pub(super) fn lack(&self, source: &str) -> bool {
        let Some((key, name)) = named_by(source) else { return false };
        let is_there = self.all.iter().filter_map(|known| known.split_once('=')).any(|(of, known)| {
            let is_same =
                if key.ends_with("UUID") { known.eq_ignore_ascii_case(name) } else { known == name };
            of == key && is_same
        });
        !self.partial && !is_there
    }
}

/// The key and the name in `UUID="..."`, `/dev/disk/by-label/...` and the like. `None` for one that has escapes, or is no
/// such name.
fn named_by(source: &str) -> Option<(&'static str, &str)> {
    const KEYS: [(&str, &str, &str); 4] = [
        ("UUID", "UUID=", "/dev/disk/by-uuid/"),
        ("LABEL", "LABEL=", "/dev/disk/by-label/"),
        ("PARTUUID", "PARTUUID=", "/dev/disk/by-partuuid/"),
        ("PARTLABEL", "PARTLABEL=", "/dev/disk/by-partlabel/"),
    ];
    let found = KEYS.iter().find_map(|(key, tag, path)| {
        let name = source.strip_prefix(tag).or_else(|| source.strip_prefix(path))?;
        Some((*key, name.trim_matches('"')))
    });
    found.filter(|(_, name)| !name.is_empty() && !name.contains(['\\', '$', '{', '/']))
}

/// UUID and label of a file system by its first bytes; `None` for a kind whose names are not known here.
fn of_file_system(block: &[u8]) -> Option<(Option<String>, Option<String>)> {
    let has = |at: usize, magic: &[u8]| block.get(at..).is_some_and(|rest| rest.starts_with(magic));
    let uuid = |at: usize| block.get(at..at + 16).map(hyphenated);
    let label = |at: usize, length: usize| block.get(at..at + length).map(text);
    if has(0x438, &[0x53, 0xef]) {
        Some((uuid(0x468), label(0x478, 16)))
    } else if has(0, b"XFSB") {
        Some((uuid(32), label(108, 12)))
    } else if has(0xff6, b"SWAPSPACE2") {
        Some((uuid(0x40c), label(0x41c, 16)))
    } else if has(0x52, b"FAT32") {
        Some((serial(block, 0x43), label(0x47, 11)))
    } else if has(0x36, b"FAT1") {
        Some((serial(block, 0x27), label(0x2b, 11)))
    } else {
        None
    }
}

/// The volume id of a FAT, as blkid writes it: `1A2B-3C4D`.
fn serial(block: &[u8], at: usize) -> Option<String> {
    let [a, b, c, d] = block.get(at..at + 4)?.try_into().ok()?;
    Some(format!("{d:02X}{c:02X}-{b:02X}{a:02X}"))
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).trim_end().to_owned()
}

/// Sixteen bytes in the order in which they stand.
pub(super) fn hyphenated(bytes: &[u8]) -> String {
    let hex = hex(bytes);
    let parts =
        [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| hex.get(range).unwrap_or_default().to_owned());
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "00112233-4455-6677-8899-aabbccddeeff";

    fn bytes() -> Vec<u8> {
        (0..16_u8).map(|digit| digit * 0x11).collect()
    }

    fn block(pieces: &[(usize, &[u8])]) -> Vec<u8> {
        let mut block = vec![0; LENGTH];
        for (at, piece) in pieces {
            block[*at..at + piece.len()].copy_from_slice(piece);
        }
        block
    }

    fn names(start: u64, kind: Option<[u8; 16]>, block: &[u8]) -> Names {
        let partition =
            Partition { start, kind, uuid: Some("0a0b-01".to_owned()), label: Some("ESP".to_owned()) };
        let mut names = Names::default();
        names.add(&partition, block);
        names
    }

    #[test]
    fn each_kind_tells_its_names() {
        for (block, uuid, label) in [
            (block(&[(0x438, &[0x53, 0xef]), (0x468, &bytes()), (0x478, b"root")]), UUID, "root"),
            (block(&[(0, b"XFSB"), (32, &bytes()), (108, b"data")]), UUID, "data"),
            (block(&[(0xff6, b"SWAPSPACE2"), (0x40c, &bytes()), (0x41c, b"swap")]), UUID, "swap"),
            (
                block(&[(0x52, b"FAT32   "), (0x43, &[1, 2, 3, 4]), (0x47, b"BOOT       ")]),
                "0403-0201",
                "BOOT",
            ),
            (
                block(&[(0x36, b"FAT16   "), (0x27, &[1, 2, 3, 4]), (0x2b, b"BOOT       ")]),
                "0403-0201",
                "BOOT",
            ),
        ] {
            let names = names(1 << 20, None, &block);
            for there in [
                format!("UUID={}", uuid.to_uppercase()),
                format!("UUID=\"{uuid}\""),
                format!("/dev/disk/by-uuid/{uuid}"),
                format!("LABEL={label}"),
                "PARTUUID=0A0B-01".to_owned(),
                "PARTLABEL=ESP".to_owned(),
            ] {
                assert!(!names.lack(&there), "{there} of {names:?}");
            }
            for missing in ["UUID=ffffffff-4455-6677-8899-aabbccddeeff", "LABEL=other", "PARTUUID=0a0b-02"] {
                assert!(names.lack(missing), "{missing} of {names:?}");
            }
            for no_name in ["/dev/vda1", "tmpfs", "LABEL=a\\040b", "UUID=$uuid", "host:/export", "LABEL="] {
                assert!(!names.lack(no_name), "{no_name}");
            }
        }
    }

    /// Nobody knows what is in it.
    #[test]
    fn where_something_is_not_known_nothing_is_known_to_be_missing() {
        assert!(!names(1 << 20, None, &block(&[(0, b"LUKS\xba\xbe")])).lack("LABEL=other"));
        assert!(names(1 << 20, Some(BIOS_BOOT), &block(&[])).lack("LABEL=other"), "GRUB's has no names");
        assert!(names(TABLE, None, &block(&[])).lack("LABEL=other"), "a partition table has none");
    }

    #[test]
    fn a_partition_behind_the_end_has_no_names() {
        let disk = tempfile::tempfile().unwrap();
        disk.set_len(4096).unwrap();
        let behind = Partition { start: 1 << 20, ..Partition::default() };
        let names = Names::read(&disk, &[behind]).unwrap();
        assert_eq!(names, Names { all: Vec::new(), partial: true });
    }
}
