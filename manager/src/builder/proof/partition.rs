//! Where the file systems of a raw disk begin. Pure but for the reads.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::names;

/// Where the whole of a disk begins, and with it the table of its partitions.
pub(super) const TABLE: u64 = 0;
/// Bytes of a sector: DIB makes no others.
const SECTOR: u64 = 512;
/// Most entries of a GPT that are looked at.
const MOST_ENTRIES: u32 = 128;
/// Type of an MBR's entry that stands for a GPT.
const PROTECTIVE: u8 = 0xee;
/// What tells a file system, or what holds some: where it stands, what stands there, and what it is.
const MAGICS: [(u64, &[u8], Kind); 7] = [
    (0x438, &[0x53, 0xef], Kind::Ext),
    (0, b"XFSB", Kind::Xfs),
    (0x1_0040, b"_BHRfS_M", Kind::Other("btrfs")),
    (0x200, b"LABELONE", Kind::Other("LVM")),
    (0, b"LUKS\xba\xbe", Kind::Other("LUKS")),
    (0x400, &[0x10, 0x20, 0xf5, 0xf2], Kind::Other("f2fs")),
    (0, b"hsqs", Kind::Other("squashfs")),
];

/// What a file system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// ext2, ext3 or ext4.
    Ext,
    /// XFS.
    Xfs,
    /// One that is not read.
    Other(&'static str),
}

/// A partition, or the whole of a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Partition {
    /// Its first byte.
    pub(super) start: u64,
    /// Its type, in a GPT, as it stands there.
    pub(super) kind: Option<[u8; 16]>,
    /// Its name as blkid's `PARTUUID`.
    pub(super) uuid: Option<String>,
    /// Its name as blkid's `PARTLABEL`.
    pub(super) label: Option<String>,
}

/// The whole of a disk, first, and its partitions.
pub(super) fn partitions(disk: &File) -> io::Result<Vec<Partition>> {
    let mut partitions = vec![Partition { start: TABLE, ..Partition::default() }];
    let mbr = read::<512>(disk, TABLE)?;
    if bytes::<2>(&mbr, 510) == Some([0x55, 0xaa]) {
        let disk_id = bytes::<4>(&mbr, 440).map_or(0, u32::from_le_bytes);
        for (entry, number) in (446..510).step_by(16).zip(1..) {
            let kind = mbr.get(entry + 4).copied().unwrap_or_default();
            let first = bytes::<4>(&mbr, entry + 8).map_or(0, u32::from_le_bytes);
            match kind {
                0 => {}
                PROTECTIVE => partitions.extend(gpt(disk)?),
                _ => partitions.push(Partition {
                    start: u64::from(first) * SECTOR,
                    uuid: Some(format!("{disk_id:08x}-{number:02x}")),
                    ..Partition::default()
                }),
            }
        }
    }
    Ok(partitions)
}

/// The file systems of a disk, and where each begins: in its partitions, or on the whole of it. Those for the firmware
/// are left out.
pub(super) fn file_systems(disk: &File, partitions: &[Partition]) -> Vec<(u64, Kind)> {
    let starts = partitions.iter().map(|partition| partition.start);
    starts.filter_map(|start| Some((start, kind(disk, start)?))).collect()
}

fn kind(disk: &File, start: u64) -> Option<Kind> {
    let found = MAGICS.iter().find(|(place, magic, _)| {
        let mut there = vec![0; magic.len()];
        // A partition that ends beyond the disk has none of them.
        let read = start.checked_add(*place).map(|at| disk.read_exact_at(&mut there, at));
        read.is_some_and(|read| read.is_ok()) && there == *magic
    });
    found.map(|(_, _, kind)| *kind)
}

/// The partitions of a GPT.
fn gpt(disk: &File) -> io::Result<Vec<Partition>> {
    let header = read::<92>(disk, SECTOR)?;
    if !header.starts_with(b"EFI PART") {
        return Ok(Vec::new());
    }
    let table = bytes::<8>(&header, 72).map_or(0, u64::from_le_bytes);
    let count = bytes::<4>(&header, 80).map_or(0, u32::from_le_bytes).min(MOST_ENTRIES);
    let size = bytes::<4>(&header, 84).map_or(0, u32::from_le_bytes);
    let mut partitions = Vec::new();
    for number in 0..count {
        let place =
            table.checked_mul(SECTOR).and_then(|at| at.checked_add(u64::from(number) * u64::from(size)));
        let Some(place) = place else { break };
        let entry = read::<128>(disk, place)?;
        let kind = bytes::<16>(&entry, 0).unwrap_or_default();
        let first = bytes::<8>(&entry, 32).map_or(0, u64::from_le_bytes);
        if kind != [0; 16]
            && let Some(start) = first.checked_mul(SECTOR)
        {
            let uuid = bytes::<16>(&entry, 16).map(|[a, b, c, d, e, f, g, h, rest @ ..]| {
                // The first three parts are little-endian numbers.
                names::hyphenated(&[&[d, c, b, a, f, e, h, g][..], &rest].concat())
            });
            partitions.push(Partition { start, kind: Some(kind), uuid, label: Some(label(&entry)) });
        }
    }
    Ok(partitions)
}

/// The name in an entry of a GPT: UTF-16.
fn label(entry: &[u8]) -> String {
    let letters = entry.get(56..128).unwrap_or_default().chunks_exact(2);
    let letters = letters.filter_map(|pair| Some(u16::from_le_bytes(pair.try_into().ok()?)));
    let letters: Vec<u16> = letters.take_while(|letter| *letter != 0).collect();
    String::from_utf16_lossy(&letters)
}

fn read<const N: usize>(disk: &File, at: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    disk.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

fn bytes<const N: usize>(of: &[u8], at: usize) -> Option<[u8; N]> {
    of.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn disk(size: u64) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(size).unwrap();
        file
    }

    fn found(disk: &File) -> Vec<(u64, Kind)> {
        file_systems(disk, &partitions(disk).unwrap())
    }

    fn put_superblock(disk: &File, at: u64) {
        disk.write_all_at(&[0x53, 0xef], at + 0x438).unwrap();
    }

    #[test]
    fn partitions_of_both_kinds_and_a_bare_file_system_are_found() {
        let bare = disk(1 << 20);
        put_superblock(&bare, 0);
        assert_eq!(found(&bare), [(0, Kind::Ext)]);

        let mbr = disk(4 << 20);
        mbr.write_all_at(&[0x83, 0, 0, 0, 0, 8, 0, 0], 446 + 16 + 4).unwrap();
        mbr.write_all_at(&[0x55, 0xaa], 510).unwrap();
        assert_eq!(found(&mbr), []);
        mbr.write_all_at(&[0x0d, 0x0c, 0x0b, 0x0a], 440).unwrap();
        assert_eq!(partitions(&mbr).unwrap().pop().unwrap().uuid.as_deref(), Some("0a0b0c0d-02"));
        put_superblock(&mbr, 2048 * 512);
        assert_eq!(found(&mbr), [(2048 * 512, Kind::Ext)]);

        let gpt = disk(4 << 20);
        gpt.write_all_at(&[PROTECTIVE], 446 + 4).unwrap();
        gpt.write_all_at(&[0x55, 0xaa], 510).unwrap();
        gpt.write_all_at(b"EFI PART", 512).unwrap();
        gpt.write_all_at(&2_u64.to_le_bytes(), 512 + 72).unwrap();
        gpt.write_all_at(&[8, 0, 0, 0, 128, 0, 0, 0], 512 + 80).unwrap();
        gpt.write_all_at(&[1], 1024 + 3 * 128).unwrap();
        gpt.write_all_at(&4096_u64.to_le_bytes(), 1024 + 3 * 128 + 32).unwrap();
        gpt.write_all_at(&[1, 2, 3, 4, 5, 6, 7, 8, 9], 1024 + 3 * 128 + 16).unwrap();
        gpt.write_all_at(b"E\0S\0P\0", 1024 + 3 * 128 + 56).unwrap();
        put_superblock(&gpt, 4096 * 512);
        assert_eq!(found(&gpt), [(4096 * 512, Kind::Ext)]);
        let of_gpt = partitions(&gpt).unwrap().pop().unwrap();
        assert_eq!(of_gpt.uuid.as_deref(), Some("04030201-0605-0807-0900-000000000000"));
        assert_eq!(of_gpt.label.as_deref(), Some("ESP"));
    }

    #[test]
    fn file_systems_are_told_apart() {
        for (place, magic, kind) in MAGICS {
            let disk = disk(1 << 20);
            disk.write_all_at(magic, place).unwrap();
            assert_eq!(found(&disk), [(0, kind)]);
        }
    }

    #[test]
    fn what_is_no_disk_has_none() {
        let mut short = tempfile::tempfile().unwrap();
        short.write_all(b"x").unwrap();
        assert!(partitions(&short).is_err());
        // A GPT that points beyond everything.
        let wild = disk(1 << 20);
        wild.write_all_at(&[PROTECTIVE], 446 + 4).unwrap();
        wild.write_all_at(&[0x55, 0xaa], 510).unwrap();
        wild.write_all_at(b"EFI PART", 512).unwrap();
        wild.write_all_at(&[0xff; 20], 512 + 72).unwrap();
        assert_eq!(found(&wild), []);
    }
}
