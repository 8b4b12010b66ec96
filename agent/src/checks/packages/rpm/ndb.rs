//! rpm's own database `Packages.db`, as openSUSE has it: pages of slots, each of which says where a header lies.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::{Error, MOST_HEADER, MOST_PACKAGES, Next};

/// Size of a page of slots, of a slot, and of the blocks by which slots count.
const PAGE: u64 = 4096;
const SLOT: u64 = 16;
const BLOCK: u64 = 16;
/// Bytes around a header: the first say whose it is and how long, the last have its sum. Between the header and them
/// there are as many zeros as make whole blocks.
const HEAD: usize = 16;
const TAIL: usize = 12;
const AROUND: u64 = 28;
/// Adler-32: the modulus, and so many bytes can be added up before a sum of 32 bits is full.
const MODULUS: u32 = 65_521;
const WITHOUT_MODULUS: usize = 5552;
/// The file's own header takes the place of the first slots.
const FIRST_SLOT: u64 = 32;
/// Most pages of slots that are read: each has room for 256 packages.
const MOST_PAGES: u32 = 4096;

/// Hands on the header of each package.
pub(super) fn each(file: &File, mut take: impl FnMut(&[u8]) -> Next) -> Result<(), Error> {
    let [magic, version, _, pages] = numbers(file, 0)?;
    if magic != u32::from_le_bytes(*b"RpmP") || version != 0 {
        return Err(Error::Damaged("it does not begin like an ndb"));
    }
    if pages == 0 || pages > MOST_PAGES {
        return Err(Error::Damaged("it has an impossible number of pages"));
    }
    let mut found = 0;
    for place in (FIRST_SLOT..u64::from(pages) * PAGE).step_by(usize::try_from(SLOT).unwrap_or(16)) {
        let [magic, package, block, blocks] = numbers(file, place)?;
        if magic != u32::from_le_bytes(*b"Slot") {
            return Err(Error::Damaged("a slot does not begin like a slot"));
        }
        // A free one.
        if package == 0 {
            continue;
        }
        let blob = blob(file, package, u64::from(block) * BLOCK, u64::from(blocks) * BLOCK)?;
        found += 1;
        if take(&blob) == Next::Stop || found >= MOST_PACKAGES {
            break;
        }
    }
    Ok(())
}

fn blob(file: &File, package: u32, place: u64, room: u64) -> Result<Vec<u8>, Error> {
    let [magic, owner, _, said] = numbers(file, place)?;
    let length = usize::try_from(said).unwrap_or(usize::MAX);
    if magic != u32::from_le_bytes(*b"BlbS") || owner != package {
        return Err(Error::Damaged("a package's place holds something else"));
    }
    let whole = u64::from(said).saturating_add(AROUND).next_multiple_of(BLOCK);
    if length > MOST_HEADER || whole != room {
        return Err(Error::Damaged("a package's header has an impossible length"));
    }
    let mut bytes = vec![0; usize::try_from(whole).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, place)?;
    let tail = bytes.split_off(bytes.len().saturating_sub(TAIL));
    // By nothing else does a blank page within a header show: pages have no links here, as they have in other kinds.
    if tail != [sum(&bytes).to_le_bytes(), said.to_le_bytes(), *b"BlbE"].concat() {
        return Err(Error::Damaged("a package's header is not what was written"));
    }
    bytes.truncate(HEAD + length);
    bytes.drain(..HEAD);
    Ok(bytes)
}

/// Adler-32.
fn sum(bytes: &[u8]) -> u32 {
    let (mut low, mut high): (u32, u32) = (1, 0);
    for piece in bytes.chunks(WITHOUT_MODULUS) {
        for byte in piece {
            low += u32::from(*byte);
            high += low;
        }
        low %= MODULUS;
        high %= MODULUS;
    }
    high << 16 | low
}

fn numbers(file: &File, at: u64) -> Result<[u32; 4], Error> {
    let mut bytes = [0; 16];
    file.read_exact_at(&mut bytes, at)?;
    let (numbers, _) = bytes.as_chunks::<4>();
    let mut four = [0; 4];
    for (number, bytes) in four.iter_mut().zip(numbers) {
        *number = u32::from_le_bytes(*bytes);
    }
    Ok(four)
}
