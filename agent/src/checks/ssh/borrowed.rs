//! A key of the check's own in users' `authorized_keys`, for the moment in which it logs in.
//!
//! The real file is what is under test: its owner, its mode, and that sshd reads it at all. So the key goes into it and
//! not beside it, as a line at its end, and the file is cut back to what it was. First a note of the file and the line
//! is written to the disk: when the agent is killed or the power fails meanwhile, its removal, or the next login, goes
//! by the note. A line that others have written behind it in the meantime stays.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::SystemTime;

use crate::guest::Guest;
use crate::text;

/// The folder that the agent's removal takes, and the note in it.
const FOLDER: &str = "/var/lib/image-manager";
const NOTE: &str = "/var/lib/image-manager/logins";
/// Its name.
pub(crate) const NOTE_NAME: &str = "logins";
/// Largest file that a key is put into.
const LARGEST: u64 = 1 << 20;

/// The files that hold the key. They are given back when this goes.
pub(super) struct Borrowed {
    guest: Guest,
    files: Vec<(String, Option<SystemTime>)>,
}

impl Borrowed {
    /// Puts a line into each of the files that can have it; those that cannot come back with the reason.
    pub(super) fn put(guest: &Guest, line: &str, files: &[String]) -> (Self, Vec<(String, String)>) {
        let mut borrowed = Self { guest: guest.clone(), files: Vec::new() };
        let mut refused = Vec::new();
        // What an agent that was killed has left.
        give_back(guest);
        if let Err(error) = write_note(guest, line, files) {
            let why = format!("{NOTE} cannot be written: {error}");
            return (borrowed, files.iter().map(|file| (file.clone(), why.clone())).collect());
        }
        for file in files {
            match append(&guest.path(file), line) {
                Ok(modified) => borrowed.files.push((file.clone(), modified)),
                Err(error) => refused.push((file.clone(), error.to_string())),
            }
        }
        (borrowed, refused)
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        for (file, given_back) in give_back(&self.guest) {
            if let Err(error) = given_back {
                tracing::warn!("the login's key is still in {}: {error}", text::one_line(&file));
            }
        }
        for (file, modified) in &self.files {
            let Some(modified) = modified else { continue };
            let _ = open(&self.guest.path(file)).and_then(|file| file.set_modified(*modified));
        }
    }
}

/// Takes the line of the note out of each of its files; the note goes with the last one. Empty: there is no note.
pub(crate) fn give_back(guest: &Guest) -> Vec<(String, io::Result<()>)> {
    let Ok(note) = guest.read(NOTE) else { return Vec::new() };
    let mut lines = note.lines();
    let line = lines.next().unwrap_or_default();
    let mut fates = Vec::new();
    for file in lines {
        let fate = match take_out(&guest.path(file), line) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            fate => fate,
        };
        fates.push((file.to_owned(), fate));
    }
    if fates.iter().all(|(_, fate)| fate.is_ok()) {
        let _ = fs::remove_file(guest.path(NOTE));
        // Where the manager is at home it is not empty.
        let _ = fs::remove_dir(guest.path(FOLDER));
    }
    fates
}

/// Whether a line of `authorized_keys` is the check's own, at the moment.
pub(in crate::checks) fn is_ours(guest: &Guest, line: &str) -> bool {
    guest.read(NOTE).is_ok_and(|note| note.lines().next() == Some(line.trim()))
}

fn write_note(guest: &Guest, line: &str, files: &[String]) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(guest.path(FOLDER))?;
    let mut note = OpenOptions::new();
    let mut note = note.write(true).create(true).truncate(true).mode(0o600).open(guest.path(NOTE))?;
    for line in std::iter::once(line).chain(files.iter().map(String::as_str)) {
        note.write_all(line.as_bytes())?;
        note.write_all(b"\n")?;
    }
    note.sync_all()
}

/// Of the path itself, and not of what a link points to: the folder is a user's.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK);
    let file = options.open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.len() > LARGEST {
        return Err(io::Error::other("not a file of keys"));
    }
    Ok(file)
}

fn append(path: &Path, line: &str) -> io::Result<Option<SystemTime>> {
    let mut file = open(path)?;
    let modified = file.metadata()?.modified().ok();
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    file.write_all(added(&text, line).as_bytes())?;
    Ok(modified)
}

/// What is written behind a text to give it one more line. Where the text does not end with the end of a line the new
/// one begins with a blank, which sshd skips: so what was added can be told from what was there.
fn added(text: &[u8], line: &str) -> String {
    let start = if text.is_empty() || text.ends_with(b"\n") { "" } else { "\n " };
    format!("{start}{line}\n")
}

fn take_out(path: &Path, line: &str) -> io::Result<()> {
    let mut file = open(path)?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let (with_start, alone) = (format!("\n {line}\n"), format!("{line}\n"));
    let found = position(&text, with_start.as_bytes()).map(|at| (at, with_start.len()));
    let Some((at, length)) = found.or_else(|| Some((position(&text, alone.as_bytes())?, alone.len()))) else {
        return Ok(());
    };
    let behind = text.get(at + length..).unwrap_or_default();
    // The end of the line before it is only to be kept where another follows.
    let kept = if length == with_start.len() && !behind.is_empty() { at + 1 } else { at };
    if !behind.is_empty() {
        file.seek(SeekFrom::Start(u64::try_from(kept).unwrap_or(LARGEST)))?;
        file.write_all(behind)?;
    }
    file.set_len(u64::try_from(kept + behind.len()).unwrap_or(LARGEST))?;
    file.sync_all()
}

fn position(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "ssh-ed25519 AAAAlogin image-manager-check";
    const FILE: &str = "/home/debian/.ssh/authorized_keys";

    fn guest(text: &str) -> (tempfile::TempDir, Guest) {
        let root = tempfile::tempdir().unwrap();
        let guest = Guest::below(root.path());
        fs::create_dir_all(guest.path("/home/debian/.ssh")).unwrap();
        fs::write(guest.path(FILE), text).unwrap();
        (root, guest)
    }

    #[test]
    fn files_are_as_they_were() {
        for text in ["", "ssh-rsa AAAA me\n", "ssh-rsa AAAA me", "ssh-rsa AAAA me\n\n", "a\n\nb", "\n"] {
            let (_root, guest) = guest(text);
            let long_ago = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
            File::open(guest.path(FILE)).unwrap().set_modified(long_ago).unwrap();
            let (borrowed, refused) = Borrowed::put(&guest, LINE, &[FILE.to_owned()]);
            assert_eq!(refused, []);
            let held = guest.read(FILE).unwrap();
            assert!(held.starts_with(text) && held.lines().any(|line| is_ours(&guest, line)), "{held:?}");
            drop(borrowed);
            assert_eq!(guest.read(FILE).unwrap(), text);
            assert_eq!(fs::metadata(guest.path(FILE)).unwrap().modified().unwrap(), long_ago);
            assert!(!guest.has(FOLDER) && !is_ours(&guest, LINE));
        }
    }

    #[test]
    fn an_agent_that_was_killed_is_cleaned_up_after() {
        for text in ["ssh-rsa AAAA me\n", "ssh-rsa AAAA me"] {
            let (_root, guest) = guest(text);
            std::mem::forget(Borrowed::put(&guest, LINE, &[FILE.to_owned()]));
            let mut file = OpenOptions::new().append(true).open(guest.path(FILE)).unwrap();
            file.write_all(b"ssh-rsa AAAB you\n").unwrap();
            let fates = give_back(&guest);
            assert!(matches!(fates.as_slice(), [(file, Ok(()))] if file == FILE), "{fates:?}");
            assert_eq!(guest.read(FILE).unwrap(), "ssh-rsa AAAA me\nssh-rsa AAAB you\n");
            assert!(give_back(&guest).is_empty());
        }
    }

    #[test]
    fn a_link_is_not_followed() {
        let (_root, guest) = guest("");
        let elsewhere = guest.path("/elsewhere");
        fs::write(&elsewhere, "x").unwrap();
        fs::remove_file(guest.path(FILE)).unwrap();
        std::os::unix::fs::symlink(&elsewhere, guest.path(FILE)).unwrap();
        let (borrowed, refused) = Borrowed::put(&guest, LINE, &[FILE.to_owned()]);
        assert_eq!(refused.len(), 1);
        drop(borrowed);
        assert_eq!(fs::read_to_string(elsewhere).unwrap(), "x");
    }
}
