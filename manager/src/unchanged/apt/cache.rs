//! What the mirrors said, kept from one question to the next: apt then asks for what has changed only.
//!
//! Each answer is a directory of its own, put in its place by one rename, with a list of its files and their digests. apt
//! trusts the files that it finds, so only those that are still what they were are given to it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use image_manager_proto::hex;
use sha2::{Digest as _, Sha256};

use super::root::Root;

/// The list of an answer's files, in their directory.
const DIGESTS: &str = "digests.json";
/// Most answers that are kept, files of one, and bytes of a file.
const MOST: usize = 16;
const MOST_FILES: usize = 512;
const LARGEST: u64 = 256 << 20;
/// One that is being written has this in its name; older ones were left by a crash.
const PARTIAL: &str = "partial";
const CRASHED: Duration = Duration::from_hours(1);

/// Digest and time by file name: apt tells by a file's time whether it is asked for again.
type Digests = BTreeMap<String, (String, SystemTime)>;

/// Gives the root what is kept for a key; nothing when there is none, or it is not whole.
pub(super) fn fetch(cache: &Path, key: &str, root: &Root) -> io::Result<()> {
    let place = cache.join(key);
    let Ok(text) = fs::read(place.join(DIGESTS)) else { return Ok(()) };
    let digests: Digests = serde_json::from_slice(&text).unwrap_or_default();
    let mut copied = Vec::new();
    for (name, (digest, time)) in digests.iter().take(MOST_FILES) {
        let to = root.lists().join(name);
        let whole = is_name(name)
            && copy(&place.join(name), &to).is_ok_and(|copied| copied == *digest)
            && File::open(&to).and_then(|file| file.set_modified(*time)).is_ok();
        copied.push(to);
        if !whole {
            tracing::warn!(
                "{} has changed since it was written: asking the mirrors again",
                place.join(name).display()
            );
            for file in copied {
                // Not there is as good.
                let _ = fs::remove_file(file);
            }
            return fs::remove_dir_all(place);
        }
    }
    copied.iter().try_for_each(|file| root.own(file))
}

/// Keeps what the root was told. What cannot be kept is asked for again next time.
pub(super) fn store(cache: &Path, key: &str, root: &Root) {
    if let Err(error) = try_store(cache, key, root) {
        tracing::warn!("cannot store the mirrors' answers in {}: {error}", cache.display());
    }
}

fn try_store(cache: &Path, key: &str, root: &Root) -> io::Result<()> {
    let place = cache.join(key);
    let mut digests = Digests::new();
    for entry in fs::read_dir(root.lists())?.take(MOST_FILES) {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_file() && is_name(&name) {
            let digest = copy(&entry.path(), Path::new("/dev/null"))?;
            digests.insert(name, (digest, entry.metadata()?.modified()?));
        }
    }
    let text = serde_json::to_vec(&digests)?;
    if fs::read(place.join(DIGESTS)).is_ok_and(|kept| kept == text) {
        return Ok(());
    }
    fs::create_dir_all(cache)?;
    make_room(cache)?;
    let partial = tempfile::Builder::new().prefix(PARTIAL).tempdir_in(cache)?;
    for name in digests.keys() {
        copy(&root.lists().join(name), &partial.path().join(name))?;
    }
    fs::write(partial.path().join(DIGESTS), text)?;
    match fs::remove_dir_all(&place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(partial.keep(), place)
}

/// Takes the oldest away until there is room for one more.
fn make_room(cache: &Path) -> io::Result<()> {
    let mut kept: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        let time = entry.metadata()?.modified()?;
        let is_partial = entry.file_name().to_string_lossy().starts_with(PARTIAL);
        if !is_partial || time.elapsed().is_ok_and(|age| age > CRASHED) {
            kept.push((time, entry.path()));
        }
    }
    kept.sort();
    let excess = (kept.len() + 1).saturating_sub(MOST);
    for (_, path) in kept.into_iter().take(excess) {
        fs::remove_dir_all(path)?;
    }
    Ok(())
}

/// A file's name as apt makes it, and nothing that leads elsewhere.
fn is_name(name: &str) -> bool {
    name != DIGESTS && name != "lock" && !name.starts_with('.') && !name.contains('/')
}

/// Copies a plain file; the SHA-256 of what was copied.
fn copy(from: &Path, to: &Path) -> io::Result<String> {
    let file = File::open(from)?;
    if file.metadata()?.len() > LARGEST {
        return Err(io::Error::other(format!("{} is too large", from.display())));
    }
    let mut reader = io::Read::take(file, LARGEST);
    let mut digest = Sha256::new();
    let mut to = File::create(to)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = io::Read::read(&mut reader, &mut buffer)?;
        let piece = buffer.get(..count).unwrap_or_default();
        if piece.is_empty() {
            return Ok(hex(&digest.finalize()));
        }
        digest.update(piece);
        io::Write::write_all(&mut to, piece)?;
    }
}
