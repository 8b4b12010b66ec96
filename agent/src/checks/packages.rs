//! Do the packaged files hold what their packages say?
//!
//! Against dpkg's own checksums and rpm's, with the files as the running server reads them: what was lost when the
//! image was written, uploaded or copied to the server's disk shows here.

pub mod content;
pub mod database;
mod installed;
pub mod rpm;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use image_manager_proto::counted;
use image_manager_proto::v1::CheckOutcome;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use self::content::{Checksum, Content, FileState};
use self::database::{DIRECTORY, DIVERSIONS, Diversions, EXTENSION};
use super::descriptor::{BadSettings, Check, Examination, Key, Observer, Set, ValueType};
use super::package_manager::PACKAGES;
use super::{Judgement, LONG_TIMEOUT};
use crate::guest::Guest;

/// Most packages that are looked at.
const MOST_PACKAGES: usize = 20_000;
/// Largest text of the database that is read.
const LARGEST_TEXT: u64 = 16 << 20;
/// Names that are told of each kind.
const NAMES: usize = 20;
/// Bytes read at a time.
const PIECE: usize = 64 * 1024;

/// The check.
pub static CHECK: Check = Check {
    kind: "packages",
    proves: "packaged files match dpkg's or rpm's checksums, and most of them are present",
    details: "Edited configuration and documentation do not count. A file that holds nothing but zeros, or cannot be \
              read, always fails the check. So does an image in which more than half of the files (and more than 25) \
              are missing.",
    set: Set::Thorough,
    observer: Observer::Agent,
    timeout: LONG_TIMEOUT,
    cost: "the server reads its whole disk",
    repeatable: false,
    keys: &[Key {
        name: "max_changed",
        value: ValueType::Number { smallest: 0, largest: 0xffff_ffff },
        default: "25",
        help: "how many packaged files may differ, because elements may change some",
    }],
    examine: Some(|asked| Box::pin(examine(asked))),
};

/// Its keys.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// So many packaged files may differ from their package's checksum: an image's elements may change some on purpose.
    pub max_changed: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_changed: 25 }
    }
}

async fn examine(asked: Examination) -> Result<Judgement, BadSettings> {
    Ok(judge(&asked.settings()?, &observe(&asked.guest, asked.deadline).await))
}

/// What was seen of the packaged files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// Packages with a list of checksums, or in rpm's database.
    pub packages: u64,
    /// Files that hold what their packages say.
    pub same: u64,
    /// Files that hold something else, or are of another kind.
    pub changed: u64,
    /// Files that are configuration by their package's word, and were edited.
    pub edited: u64,
    /// Files that are not there, documentation aside.
    pub missing: u64,
    /// Files that hold nothing but zeros, or cannot be read.
    pub damaged: u64,
    /// Some of the changed files.
    pub changed_names: Vec<String>,
    /// Some of the missing ones.
    pub missing_names: Vec<String>,
    /// Some of the damaged ones, with what is wrong.
    pub damaged_names: Vec<String>,
    /// Every file was looked at before the time was up.
    pub complete: bool,
    /// Why there is nothing to compare with.
    pub nothing: Option<String>,
}

/// Looks at all packaged files of the guest, until the deadline.
pub async fn observe(guest: &Guest, deadline: Instant) -> Observation {
    let stop = Arc::new(AtomicBool::new(false));
    // What is being installed has files that come and go.
    let Ok(_still) = timeout_at(deadline, PACKAGES.read()).await else { return Observation::default() };
    let (guest, asked) = (guest.clone(), Arc::clone(&stop));
    let mut look = tokio::task::spawn_blocking(move || look(&guest, &asked));
    let looked = if let Ok(looked) = timeout_at(deadline, &mut look).await {
        looked
    } else {
        // It looks between two pieces of a file, so this does not take long.
        stop.store(true, Ordering::Relaxed);
        look.await
    };
    looked.unwrap_or_else(|error| Observation { nothing: Some(error.to_string()), ..Observation::default() })
}

fn look(guest: &Guest, stop: &AtomicBool) -> Observation {
    let mut seen = Observation::default();
    let names = match packages(guest) {
        Ok(names) if !names.is_empty() => names,
        Ok(_) => return installed::look(guest, stop, &format!("{DIRECTORY} has no checksums")),
        Err(error) => return installed::look(guest, stop, &format!("{DIRECTORY}: {error}")),
    };
    let diversions = read(guest, DIVERSIONS).map(|text| Diversions::parse(&text)).unwrap_or_default();
    for name in names {
        if !one_package(guest, &name, &diversions, stop, &mut seen) {
            return seen;
        }
        seen.packages += 1;
    }
    // Some packages have no files; that none has any is what is left of a database that was lost.
    if seen.same + seen.changed + seen.missing + seen.damaged == 0 {
        seen.damaged(DIRECTORY, "all lists of checksums are empty");
    }
    seen.complete = true;
    seen
}

fn packages(guest: &Guest) -> io::Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(guest.path(DIRECTORY))?
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(EXTENSION)?.to_owned()))
        .take(MOST_PACKAGES)
        .collect();
    names.sort();
    Ok(names)
}

/// False when the time is up.
fn one_package(
    guest: &Guest,
    name: &str,
    diversions: &Diversions,
    stop: &AtomicBool,
    seen: &mut Observation,
) -> bool {
    let list = format!("{DIRECTORY}/{name}{EXTENSION}");
    let text = match read(guest, &list) {
        Ok(text) if !text.contains('\0') => text,
        Ok(_) => return seen.damaged(&list, "blank"),
        Err(error) => return seen.damaged(&list, &error.to_string()),
    };
    let package = name.split(':').next().unwrap_or(name);
    for one in database::expected(&text) {
        let path = diversions.place(package, one.path);
        match file_state(guest, path, &one.md5, stop) {
            Ok(None) => return false,
            Ok(Some(FileState::Same)) => seen.same += 1,
            Ok(Some(FileState::Changed)) => seen.changed(path, "changed"),
            Ok(Some(FileState::Blank)) => {
                seen.damaged(path, "blank");
            }
            Err(error) if is_missing(&error) => {
                if !database::is_left_out(path) {
                    seen.missing(path);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => seen.changed(path, "a directory"),
            Err(error) => {
                seen.damaged(path, &error.to_string());
            }
        }
    }
    true
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

impl Observation {
    /// Notes a file that is damaged. True: go on.
    fn damaged(&mut self, path: &str, what: &str) -> bool {
        self.damaged += 1;
        note(&mut self.damaged_names, path, what);
        true
    }

    fn changed(&mut self, path: &str, what: &str) {
        self.changed += 1;
        note(&mut self.changed_names, path, what);
    }

    fn missing(&mut self, path: &str) {
        self.missing += 1;
        note(&mut self.missing_names, path, "missing");
    }
}

fn note(names: &mut Vec<String>, path: &str, what: &str) {
    if names.len() < NAMES {
        names.push(format!("/{}: {what}", path.trim_start_matches('/')));
    }
}

/// `None`: the time is up.
fn file_state(
    guest: &Guest,
    path: &str,
    expected: &Checksum,
    stop: &AtomicBool,
) -> io::Result<Option<FileState>> {
    // What is no plain file by now (a FIFO, a device) would never end.
    let place = guest.path(path);
    if !fs::metadata(&place)?.is_file() {
        return Ok(Some(FileState::Changed));
    }
    let mut file = File::open(place)?;
    let mut content = Content::expecting(expected);
    let mut buffer = vec![0; PIECE];
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(Some(content.file_state()));
        }
        content.push(buffer.get(..count).unwrap_or_default());
    }
}

fn read(guest: &Guest, path: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(guest.path(path))?.take(LARGEST_TEXT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What the observation means.
pub fn judge(settings: &Settings, seen: &Observation) -> Judgement {
    let observations = json!({
        "packages": seen.packages,
        "same": seen.same,
        "changed": seen.changed,
        "edited": seen.edited,
        "missing": seen.missing,
        "damaged": seen.damaged,
        "changed_files": seen.changed_names,
        "missing_files": seen.missing_names,
        "damaged_files": seen.damaged_names,
        "complete": seen.complete,
    });
    let first = |names: &[String]| names.first().cloned().unwrap_or_default();
    let (outcome, summary) = if let Some(why) = &seen.nothing {
        (CheckOutcome::Skipped, format!("nothing to compare packaged files with: {why}"))
    } else if seen.damaged > 0 {
        let damaged = counted(seen.damaged, "damaged packaged file");
        let text = format!("{damaged}: {}", first(&seen.damaged_names));
        (CheckOutcome::Fail, text)
    } else if seen.changed > u64::from(settings.max_changed) {
        let text = format!(
            "{}, at most {} expected: {}",
            counted(seen.changed, "changed packaged file"),
            settings.max_changed,
            first(&seen.changed_names)
        );
        (CheckOutcome::Fail, text)
    } else if seen.complete && database::are_too_many_missing(seen.same + seen.changed, seen.missing) {
        // Only of a whole look: of half a one the packages that an element emptied may be the first.
        let text = format!(
            "{} of {} packaged files are missing, more than half: {}",
            seen.missing,
            seen.same + seen.changed + seen.missing,
            first(&seen.missing_names)
        );
        (CheckOutcome::Fail, text)
    } else if !seen.complete {
        let examined = counted(seen.same, "packaged file");
        let text = format!("only {examined} could be examined in time, without finding damage");
        (CheckOutcome::Inconclusive, text)
    } else {
        let text = format!(
            "{} of {} verified, {} changed, {} missing{}",
            counted(seen.same, "file"),
            counted(seen.packages, "package"),
            seen.changed,
            seen.missing,
            if seen.edited > 0 {
                format!(", {}", counted(seen.edited, "edited configuration file"))
            } else {
                String::new()
            }
        );
        (CheckOutcome::Pass, text)
    };
    Judgement::new(outcome, summary, &observations)
}

#[cfg(test)]
mod tests;
