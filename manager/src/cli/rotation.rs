//! A log file that begins anew when it is full, and keeps a few of its predecessors.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// A file is full at this many bytes.
const FULL: u64 = 16 << 20;
/// Predecessors that stay: `FILE.1` is the newest.
const KEPT: u32 = 4;

/// The file that is written to.
#[derive(Debug)]
pub(crate) struct RotatingFile {
    path: PathBuf,
    file: File,
    size: u64,
    full: u64,
}

impl RotatingFile {
    /// Opens the file to append to it; makes it when it is not there.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::open_with(path, FULL)
    }

    fn open_with(path: &Path, full: u64) -> io::Result<Self> {
        // Absolute: rotating must find the directory again.
        let path = std::path::absolute(path)?;
        let file = open(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size, full })
    }

    /// Writes a whole line; lines are never parted by a rotation.
    pub(crate) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if self.size > 0 && self.size.saturating_add(length) > self.full {
            self.rotate()?;
        }
        self.file.write_all(line)?;
        self.size = self.size.saturating_add(length);
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..KEPT).rev() {
            rename(&numbered(&self.path, number), &numbered(&self.path, number + 1))?;
        }
        rename(&self.path, &numbered(&self.path, 1))?;
        self.file = open(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

/// Readable by the manager's user only: build output may show what is nobody's business.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    name.into()
}

/// What is not there need not be moved.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_files_stay_up_to_a_bound_and_lines_whole() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("manager.log");
        let mut log = RotatingFile::open_with(&path, 30).unwrap();
        for number in 0..20 {
            log.append(format!("line {number:04}\n").as_bytes()).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(place.path().join(name)).unwrap();
        // Three lines of ten bytes fill a file.
        assert_eq!(read("manager.log"), "line 0018\nline 0019\n");
        assert_eq!(read("manager.log.1"), "line 0015\nline 0016\nline 0017\n");
        assert_eq!(read("manager.log.4"), "line 0006\nline 0007\nline 0008\n");
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 5);
    }

    #[test]
    fn a_log_goes_on_where_an_earlier_program_ended() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("manager.log");
        RotatingFile::open_with(&path, 30).unwrap().append(b"first\n").unwrap();
        let mut log = RotatingFile::open_with(&path, 30).unwrap();
        log.append(b"a line that is longer than a whole file\n").unwrap();
        log.append(b"last\n").unwrap();
        assert_eq!(std::fs::read_to_string(place.path().join("manager.log.2")).unwrap(), "first\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "last\n");
    }
}
