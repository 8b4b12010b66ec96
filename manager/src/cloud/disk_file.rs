//! What the file of a disk says of itself, read before any program of QEMU's opens it.
//!
//! An image out of a build must stand on its own: a backing file or an external data file would make QEMU,
//! which runs with our rights, read another file of this host into a guest or a published image. A raw file says
//! nothing: it is the disk, whatever stands in it, and is only ever opened as such.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::schedules::Format;

/// Bytes of a sector. QEMU makes a raw disk whole sectors.
const SECTOR: u64 = 512;
/// Bytes of the header that are the same in version 3 and, up to byte 72, in version 2.
const HEADER: usize = 104;
/// The incompatible feature bits.
const CORRUPT: u64 = 1 << 1;
const EXTERNAL_DATA: u64 = 1 << 2;

/// Why a file is not taken for an image.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// It is something else, or cut off.
    #[error("is not a qcow2 image")]
    NotQcow2,
    /// A raw file that no disk is.
    #[error("is not a raw disk: it has {0} bytes, which is not a whole number of sectors")]
    NoSectors(u64),
    /// It needs another file.
    #[error("has a {0}: an image must be self-contained")]
    NotAlone(&'static str),
    /// QEMU has marked it.
    #[error("is marked as corrupt")]
    Corrupt,
}

/// The bytes of the disk that a server would see of the image.
pub(super) fn virtual_size(file: &Path, format: Format) -> Result<u64, Refusal> {
    match format {
        Format::Qcow2 => virtual_size_of_qcow2(file),
        Format::Raw => match File::open(file)?.metadata()?.len() {
            bytes if bytes > 0 && bytes % SECTOR == 0 => Ok(bytes),
            bytes => Err(Refusal::NoSectors(bytes)),
        },
    }
}

fn virtual_size_of_qcow2(file: &Path) -> Result<u64, Refusal> {
    let mut header = Vec::with_capacity(HEADER);
    File::open(file)?.take(HEADER as u64).read_to_end(&mut header)?;
    parse(&header)
}

/// Refuses a server's disk whose data is in another file. Its QEMU could write that into the header, once the guest has
/// taken it over; a backing file in there does not count, since whoever reads the disk is told which one it has.
pub(super) fn refuse_data_file(file: &Path) -> Result<(), Refusal> {
    let mut header = Vec::with_capacity(HEADER);
    File::open(file)?.take(HEADER as u64).read_to_end(&mut header)?;
    features(&header).map(drop)
}

fn parse(header: &[u8]) -> Result<u64, Refusal> {
    let features = features(header)?;
    if number::<8>(header, 8)? != 0 {
        return Err(Refusal::NotAlone("backing file"));
    }
    if features & CORRUPT != 0 {
        return Err(Refusal::Corrupt);
    }
    number::<8>(header, 24)
}

/// The incompatible features, without external data.
fn features(header: &[u8]) -> Result<u64, Refusal> {
    let version = number::<4>(header, 4)?;
    if header.get(..4) != Some(b"QFI\xfb") || !(2..=3).contains(&version) {
        return Err(Refusal::NotQcow2);
    }
    let features = if version == 3 { number::<8>(header, 72)? } else { 0 };
    if features & EXTERNAL_DATA != 0 {
        return Err(Refusal::NotAlone("data file"));
    }
    Ok(features)
}

/// A big-endian number of `N` bytes.
fn number<const N: usize>(header: &[u8], offset: usize) -> Result<u64, Refusal> {
    let bytes = header.get(offset..offset + N).ok_or(Refusal::NotQcow2)?;
    Ok(bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version: u8, backing: u8, features: u8) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[..4].copy_from_slice(b"QFI\xfb");
        bytes[7] = version;
        bytes[15] = backing;
        bytes[30] = 4;
        bytes[79] = features;
        bytes
    }

    #[test]
    fn the_virtual_size_is_read_of_both_versions() {
        assert_eq!(parse(&header(3, 0, 0)).unwrap(), 1024);
        assert_eq!(parse(&header(2, 0, 4)).unwrap(), 1024, "version 2 has no feature bits");
    }

    #[test]
    fn a_raw_file_is_the_disk_whatever_stands_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("disk.raw");
        let mut sneaky = header(3, 1, 4);
        sneaky.resize(1024, 0);
        std::fs::write(&file, &sneaky).unwrap();
        assert_eq!(virtual_size(&file, Format::Raw).unwrap(), 1024);
        assert!(virtual_size(&file, Format::Qcow2).is_err());
        for bytes in [0, 1000] {
            std::fs::write(&file, vec![0; bytes]).unwrap();
            assert!(matches!(virtual_size(&file, Format::Raw), Err(Refusal::NoSectors(_))));
        }
    }

    #[test]
    fn a_disk_may_begin_with_an_image_but_have_its_data_nowhere_else() {
        assert!(features(&header(3, 1, 0)).is_ok());
        assert!(matches!(features(&header(3, 1, 4)), Err(Refusal::NotAlone("data file"))));
    }

    #[test]
    fn what_needs_another_file_or_is_none_is_refused() {
        assert!(matches!(parse(&header(3, 1, 0)), Err(Refusal::NotAlone("backing file"))));
        assert!(matches!(parse(&header(3, 0, 4)), Err(Refusal::NotAlone("data file"))));
        assert!(matches!(parse(&header(3, 0, 2)), Err(Refusal::Corrupt)));
        assert!(matches!(parse(&header(9, 0, 0)), Err(Refusal::NotQcow2)));
        assert!(matches!(parse(b"#!/bin/sh"), Err(Refusal::NotQcow2)));
        assert!(matches!(parse(&header(3, 0, 0)[..20]), Err(Refusal::NotQcow2)));
    }
}
