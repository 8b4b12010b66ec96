//! Reading a log's file piece by piece, with the numbers of its lines.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// Most that is read at once, in bytes: a line may have no end.
pub(super) const CHUNK: u64 = 64 * 1024;

/// Reads a file line by line; one that is too long comes in pieces.
pub(super) struct Reader {
    file: BufReader<io::Take<File>>,
    /// How far it has read.
    pub(super) offset: u64,
    /// How many lines have ended before.
    pub(super) ended: usize,
    /// It is at the beginning of a line.
    begins: bool,
    /// What it has read last.
    pub(super) bytes: Vec<u8>,
}

/// A line, or a piece of one.
pub(super) struct Piece {
    /// Of the line, from 1.
    pub(super) number: usize,
    /// Where it begins, in bytes.
    pub(super) offset: u64,
    /// It is the beginning of its line.
    pub(super) begins: bool,
    /// It is the end of its line.
    pub(super) ends: bool,
}

impl Reader {
    /// Of its first so many bytes.
    pub(super) fn open(path: &Path, length: u64) -> io::Result<Self> {
        let file = BufReader::new(File::open(path)?.take(length));
        Ok(Self { file, offset: 0, ended: 0, begins: true, bytes: Vec::new() })
    }

    /// The next line or piece, which is then in `bytes`.
    pub(super) fn read_piece(&mut self) -> io::Result<Option<Piece>> {
        self.bytes.clear();
        let read = self.file.by_ref().take(CHUNK).read_until(b'\n', &mut self.bytes)?;
        if read == 0 {
            return Ok(None);
        }
        let ends = self.bytes.last() == Some(&b'\n');
        let piece = Piece { number: self.ended + 1, offset: self.offset, begins: self.begins, ends };
        self.offset += read as u64;
        self.ended += usize::from(ends);
        self.begins = ends;
        Ok(Some(piece))
    }

    /// Reads over so many bytes and counts the lines that end in them; gives where the line of this number begins, if
    /// that is there.
    pub(super) fn skip(&mut self, bytes: u64, wanted: usize) -> io::Result<Option<u64>> {
        let mut found = (wanted == 1).then_some(0);
        let until = self.offset + bytes;
        while self.offset < until {
            let read = self.file.fill_buf()?;
            let here = usize::try_from(until - self.offset).unwrap_or(usize::MAX).min(read.len());
            let read = read.get(..here).unwrap_or_default();
            let Some(last) = read.last() else { break };
            let ends = newlines(read);
            // The line begins behind the end of the one before it.
            if let Some(before) = wanted.checked_sub(self.ended + 2).filter(|before| *before < ends) {
                let mut places = read.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
                found = places.nth(before).map(|(place, _)| self.offset + place as u64 + 1);
            }
            self.begins = *last == b'\n';
            self.ended += ends;
            self.offset += here as u64;
            self.file.consume(here);
        }
        Ok(found)
    }
}

/// How long a file is, if it is there.
pub(super) fn length(path: &Path) -> io::Result<Option<u64>> {
    match path.metadata() {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// At most so many bytes of a file.
pub(super) fn bytes(path: &Path, from: u64, most: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// How many lines end in these bytes.
pub(super) fn newlines(bytes: &[u8]) -> usize {
    bytes.iter().map(|byte| usize::from(*byte == b'\n')).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_also_behind_what_is_not_looked_at() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "one\n\nthree\nfour\nfi").unwrap();
        for (skipped, wanted, begins) in [
            (0, 1, Some(0)),
            (4, 2, Some(4)),
            (9, 3, Some(5)),
            (5, 4, None),
            (19, 5, Some(16)),
            (19, 6, None),
        ] {
            let mut reader = Reader::open(file.path(), u64::MAX).unwrap();
            assert_eq!(reader.skip(skipped, wanted).unwrap(), begins, "{wanted} in {skipped}");
        }
        let mut reader = Reader::open(file.path(), 18).unwrap();
        reader.skip(7, 0).unwrap();
        let mut seen = Vec::new();
        while let Some(Piece { number, offset, begins, ends }) = reader.read_piece().unwrap() {
            seen.push((String::from_utf8(reader.bytes.clone()).unwrap(), number, offset, begins, ends));
        }
        let expected =
            [("ree\n", 3, 7, false, true), ("four\n", 4, 11, true, true), ("fi", 5, 16, true, false)];
        assert_eq!(seen, expected.map(|(text, n, at, begins, ends)| (text.to_owned(), n, at, begins, ends)));
    }
}
