//! rpm's database `Packages` of before 2020, as RHEL 8 has it: a hash of Berkeley DB, whose values are read one after
//! the other. A value that has no room in a page lies in a chain of pages of its own.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::{Error, MOST_HEADER, MOST_PACKAGES, Next};

/// What a hash begins with, at byte 12 of its first page.
const MAGIC: u32 = 0x0006_1561;
/// Bytes before a page's entries.
const HEAD: usize = 26;
/// Kinds of pages.
const HASH_UNSORTED: u8 = 2;
const OVERFLOW: u8 = 7;
const HASH: u8 = 13;
/// Kinds of entries: within the page, or in a chain of others.
const INSIDE: u8 = 1;
const CHAIN: u8 = 3;

const PIECES: Error = Error::Damaged("a package's header is in pieces that do not fit together");

/// Hands on the header of each package.
pub(super) fn each(file: &File, mut take: impl FnMut(&[u8]) -> Next) -> Result<(), Error> {
    let database = Database::open(file)?;
    let mut found: u32 = 0;
    for number in 1..=database.last {
        let page = database.page(number)?;
        if !matches!(page.kind(), HASH | HASH_UNSORTED) {
            continue;
        }
        // A key and a value by turns.
        for at in (1..page.entries()).step_by(2) {
            // The key 0 has the number of the next package, and no header.
            if page.inside(at - 1).is_some_and(|key| key.iter().all(|byte| *byte == 0)) {
                continue;
            }
            let value = match page.entry(at) {
                Some([INSIDE, ..]) => page.inside(at).map(<[u8]>::to_vec),
                Some(entry @ [CHAIN, ..]) => Some(database.chain(entry)?),
                _ => None,
            };
            let value = value.ok_or(Error::Damaged("a page has an impossible entry"))?;
            found += 1;
            if take(&value) == Next::Stop || found >= MOST_PACKAGES {
                return Ok(());
            }
        }
    }
    // Pages that were never used are blank, so that those that were lost cannot be told from them. That most of what
    // the first page counts is gone can.
    if found < database.count / 2 {
        return Err(Error::Damaged("most of the packages that it counts are missing"));
    }
    Ok(())
}

struct Database<'a> {
    file: &'a File,
    big_endian: bool,
    page_size: usize,
    last: u32,
    /// Packages, by its own word.
    count: u32,
}

impl<'a> Database<'a> {
    fn open(file: &'a File) -> Result<Self, Error> {
        let mut first = [0; 96];
        file.read_exact_at(&mut first, 0)?;
        let magic = bytes::<4>(&first, 12).unwrap_or_default();
        let big_endian = match (u32::from_le_bytes(magic), u32::from_be_bytes(magic)) {
            (MAGIC, _) => false,
            (_, MAGIC) => true,
            _ => return Err(Error::Damaged("it does not begin like a Berkeley DB hash")),
        };
        let of = |at| long(&first, at, big_endian);
        let (page_size, last) = (usize::try_from(of(20)).unwrap_or(usize::MAX), of(32));
        if !page_size.is_power_of_two() || !(512..=65_536).contains(&page_size) {
            return Err(Error::Damaged("it has an impossible page size"));
        }
        Ok(Self { file, big_endian, page_size, last, count: of(88) })
    }

    fn page(&self, number: u32) -> Result<Page, Error> {
        let mut bytes = vec![0; self.page_size];
        let place = u64::from(number) * u64::try_from(self.page_size).unwrap_or(u64::MAX);
        self.file.read_exact_at(&mut bytes, place)?;
        Ok(Page { bytes, big_endian: self.big_endian })
    }

    /// A value that lies in pages of its own.
    fn chain(&self, entry: &[u8]) -> Result<Vec<u8>, Error> {
        let (mut next, length) = (long(entry, 4, self.big_endian), long(entry, 8, self.big_endian));
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > MOST_HEADER {
            return Err(Error::Damaged("a package's header has an impossible length"));
        }
        let mut value = Vec::new();
        // All pages of a chain but the last are full. One that leads back to itself would be read for ever.
        for _ in 0..=length / (self.page_size - HEAD) {
            if value.len() >= length {
                break;
            }
            let page = self.page(next)?;
            let used = page.used();
            let piece = page.bytes.get(HEAD..HEAD.saturating_add(used)).filter(|piece| !piece.is_empty());
            let piece = piece.filter(|_| page.kind() == OVERFLOW);
            value.extend(piece.ok_or(PIECES)?);
            next = page.next();
        }
        if value.len() < length {
            return Err(PIECES);
        }
        value.truncate(length);
        Ok(value)
    }
}

struct Page {
    bytes: Vec<u8>,
    big_endian: bool,
}

impl Page {
    fn kind(&self) -> u8 {
        self.bytes.get(25).copied().unwrap_or_default()
    }

    fn next(&self) -> u32 {
        long(&self.bytes, 16, self.big_endian)
    }

    fn entries(&self) -> usize {
        self.short(20)
    }

    /// Bytes of a value in a page of a chain.
    fn used(&self) -> usize {
        self.short(22)
    }

    /// An entry and what follows it; its first byte is its kind.
    fn entry(&self, at: usize) -> Option<&[u8]> {
        self.bytes.get(self.start(at)..)
    }

    /// What is in an entry that lies within the page. The entries lie from the end of the page forwards.
    fn inside(&self, at: usize) -> Option<&[u8]> {
        let end = if at == 0 { self.bytes.len() } else { self.start(at - 1) };
        match self.bytes.get(self.start(at)..end)? {
            [INSIDE, data @ ..] => Some(data),
            _ => None,
        }
    }

    fn start(&self, at: usize) -> usize {
        self.short(HEAD.saturating_add(at.saturating_mul(2)))
    }

    fn short(&self, at: usize) -> usize {
        let bytes = bytes::<2>(&self.bytes, at).unwrap_or_default();
        usize::from(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }
}

fn long(of: &[u8], at: usize, big_endian: bool) -> u32 {
    let bytes = bytes::<4>(of, at).unwrap_or_default();
    if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

fn bytes<const N: usize>(of: &[u8], at: usize) -> Option<[u8; N]> {
    of.get(at..at.checked_add(N)?)?.try_into().ok()
}
