//! Where the file systems of a raw disk begin. Pure but for the reads.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

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

/// The file systems of a disk, and where each begins: in its partitions, or on the whole of it. Those for the firmware
/// are left out.
pub(super) fn file_systems(disk: &File) -> io::Result<Vec<(u64, Kind)>> {
    let mut starts = vec![0];
    let mbr = read::<512>(disk, 0)?;
    if bytes::<2>(&mbr, 510) == Some([0x55, 0xaa]) {
        for entry in (446..510).step_by(16) {
            let kind = mbr.get(entry + 4).copied().unwrap_or_default();
            let first = bytes::<4>(&mbr, entry + 8).map_or(0, u32::from_le_bytes);
            match kind {
                0 => {}
                PROTECTIVE => starts.extend(gpt(disk)?),
                _ => starts.push(u64::from(first) * SECTOR),
            }
        }
    }
    Ok(starts.into_iter().filter_map(|start| Some((start, kind(disk, start)?))).collect())
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

/// First bytes of the partitions of a GPT.
fn gpt(disk: &File) -> io::Result<Vec<u64>> {
    let header = read::<92>(disk, SECTOR)?;
    if !header.starts_with(b"EFI PART") {
        return Ok(Vec::new());
    }
    let table = bytes::<8>(&header, 72).map_or(0, u64::from_le_bytes);
    let count = bytes::<4>(&header, 80).map_or(0, u32::from_le_bytes).min(MOST_ENTRIES);
    let size = bytes::<4>(&header, 84).map_or(0, u32::from_le_bytes);
    let mut starts = Vec::new();
    for number in 0..count {
        let place =
            table.checked_mul(SECTOR).and_then(|at| at.checked_add(u64::from(number) * u64::from(size)));
        let Some(place) = place else { break };
        let entry = read::<48>(disk, place)?;
        let used = entry.iter().take(16).any(|byte| *byte != 0);
        let first = bytes::<8>(&entry, 32).map_or(0, u64::from_le_bytes);
        if used && let Some(start) = first.checked_mul(SECTOR) {
            starts.push(start);
        }
    }
    Ok(starts)
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

    fn put_superblock(disk: &File, at: u64) {
        disk.write_all_at(&[0x53, 0xef], at + 0x438).unwrap();
    }

    #[test]
    fn partitions_of_both_kinds_and_a_bare_file_system_are_found() {
        let bare = disk(1 << 20);
        put_superblock(&bare, 0);
        assert_eq!(file_systems(&bare).unwrap(), [(0, Kind::Ext)]);

        let mbr = disk(4 << 20);
        mbr.write_all_at(&[0x83, 0, 0, 0, 0, 8, 0, 0], 446 + 16 + 4).unwrap();
        mbr.write_all_at(&[0x55, 0xaa], 510).unwrap();
        assert_eq!(file_systems(&mbr).unwrap(), []);
        put_superblock(&mbr, 2048 * 512);
        assert_eq!(file_systems(&mbr).unwrap(), [(2048 * 512, Kind::Ext)]);

        let gpt = disk(4 << 20);
        gpt.write_all_at(&[PROTECTIVE], 446 + 4).unwrap();
        gpt.write_all_at(&[0x55, 0xaa], 510).unwrap();
        gpt.write_all_at(b"EFI PART", 512).unwrap();
        gpt.write_all_at(&2_u64.to_le_bytes(), 512 + 72).unwrap();
        gpt.write_all_at(&[8, 0, 0, 0, 128, 0, 0, 0], 512 + 80).unwrap();
        gpt.write_all_at(&[1], 1024 + 3 * 128).unwrap();
        gpt.write_all_at(&4096_u64.to_le_bytes(), 1024 + 3 * 128 + 32).unwrap();
        put_superblock(&gpt, 4096 * 512);
        assert_eq!(file_systems(&gpt).unwrap(), [(4096 * 512, Kind::Ext)]);
    }

    #[test]
    fn file_systems_are_told_apart() {
        for (place, magic, kind) in MAGICS {
            let disk = disk(1 << 20);
            disk.write_all_at(magic, place).unwrap();
            assert_eq!(file_systems(&disk).unwrap(), [(0, kind)]);
        }
    }

    #[test]
    fn what_is_no_disk_has_none() {
        let mut short = tempfile::tempfile().unwrap();
        short.write_all(b"x").unwrap();
        assert!(file_systems(&short).is_err());
        // A GPT that points beyond everything.
        let wild = disk(1 << 20);
        wild.write_all_at(&[PROTECTIVE], 446 + 4).unwrap();
        wild.write_all_at(&[0x55, 0xaa], 510).unwrap();
        wild.write_all_at(b"EFI PART", 512).unwrap();
        wild.write_all_at(&[0xff; 20], 512 + 72).unwrap();
        assert_eq!(file_systems(&wild).unwrap(), []);
    }
}
