//! Kept bases: what bootstraps have made, for the next builds that would bootstrap from the same.
//!
//! The element `cloud-guest` says what a bootstrap is made from (its key), unpacks a base that is kept under that key, or
//! packs a new one into the build's scratch directory. Builds see the kept ones to read only. After a build whose image was
//! proven a new one is taken over from here: under a name with its checksum, which is given in one step and compared at every
//! use. A crash leaves at most a part, which goes with a later build, or a base whose checksum says that it is not whole.
//!
//! Nothing of it is needed: whatever fails here costs the next build its bootstrap, and is logged.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use image_manager_proto::hex;
use sha2::{Digest as _, Sha256};

use super::command::Layout;
use super::free_bytes;

/// Most bases that are kept: of each distribution, release and architecture there is one of today's mirrors.
const MOST: usize = 6;
/// Most bytes that they may have together.
const MOST_BYTES: u64 = 2 << 30;
/// Most bytes of one.
const LARGEST: u64 = 1 << 30;
/// Free space below which none is kept.
const ROOM: u64 = 1 << 30;
/// A part that is older belongs to nobody.
const PART_AGE: Duration = Duration::from_hours(1);
/// What the name of a base ends in.
const END: &str = ".tar.zst";
/// What the name of a part ends in.
const PART: &str = ".part";
/// Bytes that are read at a time.
const CHUNK: usize = 1 << 20;
/// Most bytes that a hook's word has.
const WORD: u64 = 256;

/// Variables that tell the hooks where the kept bases are, and where they put their own.
pub(super) fn environment(bases: &Path, layout: &Layout) -> [(OsString, OsString); 2] {
    [("IMAGE_MANAGER_BASES".into(), bases.into()), ("IMAGE_MANAGER_BASE".into(), layout.base.clone().into())]
}

/// Makes the directories.
pub(super) fn prepare(bases: &Path, layout: &Layout) -> io::Result<()> {
    fs::create_dir_all(bases)?;
    fs::create_dir(&layout.base)
}

/// Takes over the base that a build has made; notes that it has used one.
pub(super) async fn keep(bases: &Path, layout: &Layout, build: &str) {
    let (bases, made, owner) = (bases.to_owned(), layout.base.clone(), build.to_owned());
    let kept = tokio::task::spawn_blocking(move || take_over(&bases, &made, &owner)).await;
    match kept.unwrap_or_else(|error| Err(io::Error::other(error))) {
        Ok(Some(name)) => tracing::info!(build, "kept the base {name}"),
        Ok(None) => {}
        Err(error) => tracing::warn!(build, "cannot keep the base: {error}"),
    }
}

/// Returns the name of a new base.
fn take_over(bases: &Path, made: &Path, build: &str) -> io::Result<Option<String>> {
    remove_old_parts(bases)?;
    if let Some(used) = word(&made.join("used"))? {
        let is_base = parse(&used).is_some();
        if is_base && let Ok(file) = File::open(bases.join(&used)) {
            file.set_modified(SystemTime::now())?;
        }
        return Ok(None);
    }
    let Some(key) = word(&made.join("key"))?.filter(|key| is_digest(key)) else { return Ok(None) };
    let packed = made.join("made.tar.zst");
    // Not through a link: a hook could lead elsewhere by one.
    let Ok(found) = fs::symlink_metadata(&packed) else { return Ok(None) };
    if !found.is_file() || found.len() == 0 || found.len() > LARGEST {
        return Err(io::Error::other(format!("{} is not a file of a plausible size", packed.display())));
    }
    if free_bytes(bases)? < ROOM.saturating_add(found.len()) {
        return Err(io::Error::other("there is too little space for it"));
    }
    let part = bases.join(format!("{key}.{build}{PART}"));
    let result = copy(&packed, &part).and_then(|sum| {
        let name = format!("{key}.{sum}{END}");
        fs::rename(&part, bases.join(&name))?;
        File::open(bases)?.sync_all()?;
        Ok(name)
    });
    let name = result.inspect_err(|_| {
        // What cannot be removed now goes when it is old.
        let _ = fs::remove_file(&part);
    })?;
    prune(bases, &name)?;
    Ok(Some(name))
}

/// Copies a file to the disk; returns the SHA-256 of what was written, lower-case hexadecimal.
fn copy(from: &Path, to: &Path) -> io::Result<String> {
    let (mut source, mut target) = (File::open(from)?, File::create_new(to)?);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = source.read(&mut buffer)?;
        let read = buffer.get(..count).unwrap_or_default();
        if read.is_empty() {
            target.sync_all()?;
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(read);
        target.write_all(read)?;
    }
}

/// Removes others of the new one's key, and of the rest those that were used longest ago while they are too many.
fn prune(bases: &Path, newest: &str) -> io::Result<()> {
    let key = parse(newest).map(|(key, _)| key);
    let mut kept = Vec::new();
    for entry in fs::read_dir(bases)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((other, _)) = parse(&name) else { continue };
        let metadata = entry.metadata()?;
        if name != newest && Some(other) == key {
            remove(&entry.path())?;
        } else {
            // The new one is never among those that go.
            let used = if name == newest { None } else { Some(metadata.modified()?) };
            kept.push((used, metadata.len(), entry.path()));
        }
    }
    kept.sort_by(|one, other| match (one.0, other.0) {
        (None, _) => std::cmp::Ordering::Less,
        (_, None) => std::cmp::Ordering::Greater,
        (Some(one), Some(other)) => other.cmp(&one),
    });
    let mut bytes = 0_u64;
    for (index, (_, length, path)) in kept.iter().enumerate() {
        bytes = bytes.saturating_add(*length);
        if index >= MOST || (index > 0 && bytes > MOST_BYTES) {
            remove(path)?;
        }
    }
    Ok(())
}

/// What a manager that was killed has left.
fn remove_old_parts(bases: &Path) -> io::Result<()> {
    for entry in fs::read_dir(bases)? {
        let entry = entry?;
        let is_part = entry.file_name().to_string_lossy().ends_with(PART);
        let age =
            entry.metadata().and_then(|found| found.modified()).map(|at| at.elapsed().unwrap_or_default());
        if is_part && age.is_ok_and(|age| age > PART_AGE) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Another build may have removed it meanwhile.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The line that a hook has left in a file of the build's own; none when there is no such file.
fn word(file: &Path) -> io::Result<Option<String>> {
    if !fs::symlink_metadata(file).is_ok_and(|found| found.is_file()) {
        return Ok(None);
    }
    let mut text = String::new();
    File::open(file)?.take(WORD).read_to_string(&mut text)?;
    Ok(Some(text.trim_end().to_owned()))
}

/// Key and checksum in the name of a base.
fn parse(name: &str) -> Option<(&str, &str)> {
    let (key, sum) = name.strip_suffix(END)?.split_once('.')?;
    (is_digest(key) && is_digest(sum)).then_some((key, sum))
}

/// Whether it is a SHA-256 as it is written here.
fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A directory of kept bases and one of a build.
    struct Here(tempfile::TempDir);

    impl Here {
        fn new() -> Self {
            let here = Self(tempfile::tempdir().unwrap());
            fs::create_dir(here.bases()).unwrap();
            here
        }

        fn bases(&self) -> PathBuf {
            self.0.path().join("bases")
        }

        /// A build that has made a base of this key.
        fn build(&self, key: &str, content: &str) -> io::Result<Option<String>> {
            let made = self.0.path().join("made");
            let _ = fs::remove_dir_all(&made);
            fs::create_dir(&made).unwrap();
            fs::write(made.join("key"), format!("{key}\n")).unwrap();
            fs::write(made.join("made.tar.zst"), content).unwrap();
            take_over(&self.bases(), &made, "a-build")
        }

        fn names(&self) -> Vec<String> {
            let mut names: Vec<String> = fs::read_dir(self.bases())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }

        fn age(&self, name: &str, hours: u64) {
            let file = File::options().write(true).open(self.bases().join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_hours(hours)).unwrap();
        }
    }

    fn key(number: usize) -> String {
        format!("{number:064x}")
    }

    #[test]
    fn a_base_has_its_key_and_its_checksum_in_its_name() {
        let here = Here::new();
        let name = here.build(&key(1), "one").unwrap().unwrap();
        let sum = hex(&Sha256::digest(b"one"));
        assert_eq!(name, format!("{}.{sum}.tar.zst", key(1)));
        assert_eq!(here.names(), [name.as_str()]);
        // One of the same key takes its place, a damaged one too.
        fs::write(here.bases().join(&name), "damaged").unwrap();
        let again = here.build(&key(1), "another").unwrap().unwrap();
        assert_eq!(here.names(), [again.as_str()]);
        fs::write(here.bases().join(&again), "damaged").unwrap();
        assert_eq!(here.build(&key(1), "another").unwrap(), Some(again.clone()));
        assert_eq!(fs::read_to_string(here.bases().join(again)).unwrap(), "another");
    }

    #[test]
    fn there_are_never_too_many_and_the_one_that_was_used_last_stays() {
        let here = Here::new();
        let first = here.build(&key(0), "0").unwrap().unwrap();
        for number in 1..MOST {
            let name = here.build(&key(number), &number.to_string()).unwrap().unwrap();
            here.age(&name, 10 + u64::try_from(number).unwrap());
        }
        here.age(&first, 100);
        // A build that uses it.
        let made = self::Here::new();
        fs::write(made.bases().join("used"), format!("{first}\n")).unwrap();
        assert_eq!(take_over(&here.bases(), &made.bases(), "b").unwrap(), None);
        here.build(&key(99), "99").unwrap().unwrap();
        let names = here.names();
        assert_eq!(names.len(), MOST);
        assert!(names.contains(&first), "{names:?}");
        assert!(!names.iter().any(|name| name.starts_with(&key(MOST - 1))), "the oldest is gone: {names:?}");
    }

    #[test]
    fn halves_do_not_stay() {
        let here = Here::new();
        let (old, young) = (format!("{}.x.part", key(1)), format!("{}.y.part", key(2)));
        for name in [&old, &young] {
            fs::write(here.bases().join(name), "half").unwrap();
        }
        here.age(&old, 2);
        let name = here.build(&key(3), "three").unwrap().unwrap();
        let mut left = vec![young, name];
        left.sort();
        assert_eq!(here.names(), left);
    }

    #[test]
    fn what_a_hook_leaves_leads_nowhere_else() {
        let here = Here::new();
        assert_eq!(here.build("../../etc/passwd", "x").unwrap(), None);
        let made = self::Here::new();
        fs::write(made.bases().join("key"), key(1)).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", made.bases().join("made.tar.zst")).unwrap();
        take_over(&here.bases(), &made.bases(), "b").unwrap_err();
        fs::remove_file(made.bases().join("made.tar.zst")).unwrap();
        assert_eq!(take_over(&here.bases(), &made.bases(), "b").unwrap(), None, "none was made");
        fs::write(made.bases().join("used"), "../made").unwrap();
        assert_eq!(take_over(&here.bases(), &made.bases(), "b").unwrap(), None);
        assert!(here.names().is_empty());
    }
}
