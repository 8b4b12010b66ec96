//! The content of a packaged file against its checksum. Pure.

use std::fmt;

use md5::{Digest as _, Md5};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512};

/// What a disk gives where nothing was ever written.
const BLOCK: usize = 4096;

/// How a checksum is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Md5,
    Ring(&'static ring::digest::Algorithm),
}

/// A checksum.
#[derive(Clone, PartialEq, Eq)]
pub struct Checksum {
    algorithm: Algorithm,
    bytes: Vec<u8>,
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&image_manager_proto::hex(&self.bytes))
    }
}

impl Checksum {
    /// An MD5, as dpkg has them.
    pub fn md5(digits: &[u8]) -> Option<Self> {
        Self::of(Algorithm::Md5, 16, digits)
    }

    /// A checksum of a kind that has this number in OpenPGP, by which rpm knows them.
    pub fn parse(algorithm: u32, digits: &[u8]) -> Option<Self> {
        let algorithm = match algorithm {
            1 => return Self::md5(digits),
            2 => &SHA1_FOR_LEGACY_USE_ONLY,
            8 => &SHA256,
            9 => &SHA384,
            10 => &SHA512,
            _ => return None,
        };
        Self::of(Algorithm::Ring(algorithm), algorithm.output_len(), digits)
    }

    fn of(algorithm: Algorithm, length: usize, digits: &[u8]) -> Option<Self> {
        let (pairs, rest) = digits.as_chunks::<2>();
        if pairs.len() != length || !rest.is_empty() {
            return None;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let bytes: Option<Vec<u8>> =
            pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
        Some(Self { algorithm, bytes: bytes? })
    }
}

/// What became of a packaged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    /// It holds what its package says.
    Same,
    /// It holds something else.
    Changed,
    /// It holds nothing but zeros: it was never written to the disk.
    Blank,
}

/// What makes the checksum.
enum Hasher {
    Md5(Md5),
    Ring(Context),
}

/// Takes in the content of a file, piece by piece.
pub struct Content<'a> {
    hasher: Hasher,
    expected: &'a Checksum,
    length: u64,
    written: bool,
}

impl<'a> Content<'a> {
    /// Nothing yet of what should have this checksum.
    pub fn expecting(expected: &'a Checksum) -> Self {
        let hasher = match expected.algorithm {
            Algorithm::Md5 => Hasher::Md5(Md5::new()),
            Algorithm::Ring(algorithm) => Hasher::Ring(Context::new(algorithm)),
        };
        Self { hasher, expected, length: 0, written: false }
    }

    /// The next piece.
    pub fn push(&mut self, piece: &[u8]) {
        match &mut self.hasher {
            Hasher::Md5(md5) => md5.update(piece),
            Hasher::Ring(context) => context.update(piece),
        }
        self.length = self.length.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        // In blocks, so that the first byte that is not zero ends the look quickly.
        self.written = self.written || piece.chunks(BLOCK).any(|block| block.iter().any(|byte| *byte != 0));
    }

    /// What it means.
    pub fn file_state(self) -> FileState {
        let same = match self.hasher {
            Hasher::Md5(md5) => md5.finalize().as_slice() == self.expected.bytes,
            Hasher::Ring(context) => context.finish().as_ref() == self.expected.bytes,
        };
        match (same, self.length > 0 && !self.written) {
            (true, _) => FileState::Same,
            (false, true) => FileState::Blank,
            (false, false) => FileState::Changed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_state(pieces: &[&[u8]], expected: &Checksum) -> FileState {
        let mut content = Content::expecting(expected);
        for piece in pieces {
            content.push(piece);
        }
        content.file_state()
    }

    #[test]
    fn content_is_the_same_changed_or_blank() {
        let abc = Checksum::md5(b"900150983cd24fb0d6963f7d28e17f72").unwrap();
        assert_eq!(file_state(&[b"a", b"bc"], &abc), FileState::Same);
        assert_eq!(file_state(&[b"abd"], &abc), FileState::Changed);
        assert_eq!(file_state(&[b"\0\0\0"], &abc), FileState::Blank);
        assert_eq!(file_state(&[&[0; 9000], b"\0\x01"], &abc), FileState::Changed);
        // Somebody emptied it; it was not lost on the way.
        assert_eq!(file_state(&[], &abc), FileState::Changed);
        assert_eq!(
            file_state(&[], &Checksum::md5(b"d41d8cd98f00b204e9800998ecf8427e").unwrap()),
            FileState::Same
        );
    }

    #[test]
    fn checksums_are_of_the_kinds_that_rpm_makes() {
        let sha256 = b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(file_state(&[b"abc"], &Checksum::parse(8, sha256).unwrap()), FileState::Same);
        let sha1 = b"a9993e364706816aba3e25717850c26c9cd0d89d";
        assert_eq!(file_state(&[b"abc"], &Checksum::parse(2, sha1).unwrap()), FileState::Same);
        assert_eq!(Checksum::parse(1, b"900150983cd24fb0d6963f7d28e17f72").unwrap().bytes.len(), 16);
        assert_eq!(Checksum::parse(8, sha1), None, "too short");
        assert_eq!(Checksum::parse(99, sha256), None);
        assert_eq!(Checksum::parse(2, b"g9993e364706816aba3e25717850c26c9cd0d89d"), None);
    }
}
