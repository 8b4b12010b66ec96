//! Do the packaged files hold what their packages say?
//!
//! Against dpkg's own checksums, with the files as the running server reads them: what was lost when the image
//! was written, uploaded or copied to the server's disk shows here.

pub mod database;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use image_manager_proto::v1::{CheckOutcome, PackagesCheck};
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use self::database::{Content, DIRECTORY, DIVERSIONS, Diversions, EXTENSION, Fate};
use super::Judgement;
use crate::guest::Guest;

/// Most packages that are looked at.
const MOST_PACKAGES: usize = 20_000;
/// Largest text of the database that is read.
const LARGEST_TEXT: u64 = 16 << 20;
/// Names that are told of each kind.
const NAMES: usize = 20;
/// Bytes read at a time.
const PIECE: usize = 64 * 1024;

/// What was seen of the packaged files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// Packages with a list of checksums.
    pub packages: u64,
    /// Files that hold what their packages say.
    pub same: u64,
    /// Files that hold something else, or are of another kind.
    pub changed: u64,
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
        Ok(_) => return Observation { nothing: Some(format!("{DIRECTORY} has no checksums")), ..seen },
        Err(error) => return Observation { nothing: Some(format!("{DIRECTORY}: {error}")), ..seen },
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
        match fate(guest, path, one.md5, stop) {
            Ok(None) => return false,
            Ok(Some(Fate::Same)) => seen.same += 1,
            Ok(Some(Fate::Changed)) => seen.changed(path, "changed"),
            Ok(Some(Fate::Blank)) => {
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
fn fate(guest: &Guest, path: &str, md5: [u8; 16], stop: &AtomicBool) -> io::Result<Option<Fate>> {
    // What is no plain file by now (a FIFO, a device) would never end.
    let place = guest.path(path);
    if !fs::metadata(&place)?.is_file() {
        return Ok(Some(Fate::Changed));
    }
    let mut file = File::open(place)?;
    let mut content = Content::default();
    let mut buffer = vec![0; PIECE];
    loop {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(Some(content.fate(md5)));
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
pub fn judge(settings: &PackagesCheck, seen: &Observation) -> Judgement {
    let observations = json!({
        "packages": seen.packages,
        "same": seen.same,
        "changed": seen.changed,
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
        let text = format!("{} packaged files are damaged, {}", seen.damaged, first(&seen.damaged_names));
        (CheckOutcome::Fail, text)
    } else if seen.changed > u64::from(settings.max_changed) {
        let text = format!(
            "{} packaged files differ from their packages, {} at most are expected: {}",
            seen.changed,
            settings.max_changed,
            first(&seen.changed_names)
        );
        (CheckOutcome::Fail, text)
    } else if seen.complete && database::are_too_many_missing(seen.same + seen.changed, seen.missing) {
        // Only of a whole look: of half a one the packages that an element emptied may be the first.
        let text = format!(
            "{} of {} packaged files are missing, more than half of them: {}",
            seen.missing,
            seen.same + seen.changed + seen.missing,
            first(&seen.missing_names)
        );
        (CheckOutcome::Fail, text)
    } else if !seen.complete {
        let text = format!("only {} packaged files could be looked at in time, and they are well", seen.same);
        (CheckOutcome::Inconclusive, text)
    } else {
        let text = format!(
            "{} files of {} packages verified, {} changed, {} missing",
            seen.same, seen.packages, seen.changed, seen.missing
        );
        (CheckOutcome::Pass, text)
    };
    Judgement::new(outcome, summary, &observations)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn judged(seen: &Observation, max_changed: u32) -> (CheckOutcome, String) {
        let judgement = judge(&PackagesCheck { max_changed }, seen);
        (judgement.outcome, judgement.summary)
    }

    fn good() -> Observation {
        Observation { packages: 2, same: 10, complete: true, ..Observation::default() }
    }

    #[test]
    fn damage_fails_and_change_has_a_limit() {
        assert_eq!(judged(&good(), 0).0, CheckOutcome::Pass);
        let changed = Observation { changed: 3, changed_names: vec!["/a: changed".to_owned()], ..good() };
        assert_eq!(judged(&changed, 3).0, CheckOutcome::Pass);
        let (outcome, summary) = judged(&changed, 2);
        assert_eq!(outcome, CheckOutcome::Fail);
        assert!(summary.contains("3 packaged files differ") && summary.ends_with("/a: changed"), "{summary}");
        let damaged = Observation { damaged: 1, damaged_names: vec!["/b: blank".to_owned()], ..good() };
        assert_eq!(judged(&damaged, 9).0, CheckOutcome::Fail);
        assert!(judged(&damaged, 9).1.contains("/b: blank"));
    }

    #[test]
    fn elements_take_some_files_away_and_not_most() {
        let missing = |missing| Observation {
            missing,
            same: 10_000,
            missing_names: vec!["/usr/bin/gone: missing".to_owned()],
            ..good()
        };
        assert_eq!(judged(&missing(9_000), 0).0, CheckOutcome::Pass);
        let (outcome, summary) = judged(&missing(15_000), 0);
        assert_eq!(outcome, CheckOutcome::Fail);
        assert_eq!(
            summary,
            "15000 of 25000 packaged files are missing, more than half of them: /usr/bin/gone: missing"
        );
        let half = Observation { complete: false, ..missing(15_000) };
        assert_eq!(judged(&half, 0).0, CheckOutcome::Inconclusive);
        // Of a handful, as a tiny image has, it says nothing.
        assert_eq!(judged(&Observation { missing: 25, ..good() }, 0).0, CheckOutcome::Pass);
    }

    #[test]
    fn half_a_look_says_nothing_unless_it_found_something() {
        assert_eq!(judged(&Observation { complete: false, ..good() }, 0).0, CheckOutcome::Inconclusive);
        let found = Observation { complete: false, damaged: 1, ..good() };
        assert_eq!(judged(&found, 0).0, CheckOutcome::Fail);
        let none = Observation { nothing: Some("x".to_owned()), ..Observation::default() };
        assert_eq!(judged(&none, 0).0, CheckOutcome::Skipped);
    }

    fn guest(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Guest) {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let place = root.path().join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, content).unwrap();
        }
        let guest = Guest::below(root.path());
        (root, guest)
    }

    /// MD5 of "abc".
    const ABC: &str = "900150983cd24fb0d6963f7d28e17f72";

    #[tokio::test]
    async fn a_guests_files_are_looked_at() {
        let sums = format!(
            "{ABC}  usr/bin/good\n{ABC}  usr/bin/blank\n{ABC}  usr/bin/changed\n{ABC}  usr/bin/gone\n\
             {ABC}  usr/share/doc/x/README\n{ABC}  usr/lib\n{ABC}  usr/bin/good/below\n"
        );
        let (_root, guest) = guest(&[
            ("var/lib/dpkg/info/one:amd64.md5sums", sums.as_bytes()),
            ("var/lib/dpkg/info/blank.md5sums", &[0; 100]),
            ("var/lib/dpkg/info/one:amd64.list", b"/usr\n"),
            ("usr/bin/good", b"abc"),
            ("usr/bin/blank", b"\0\0\0"),
            ("usr/bin/changed", b"abd"),
            ("usr/lib/x", b""),
        ]);
        let seen = observe(&guest, Instant::now() + Duration::from_mins(1)).await;
        assert_eq!((seen.packages, seen.same, seen.changed, seen.missing, seen.damaged), (2, 1, 2, 2, 2));
        assert!(seen.complete && seen.nothing.is_none());
        assert_eq!(seen.damaged_names, ["/var/lib/dpkg/info/blank.md5sums: blank", "/usr/bin/blank: blank"]);
    }

    #[tokio::test]
    async fn the_time_may_be_up_and_there_may_be_nothing() {
        let (_root, full) = guest(&[
            ("var/lib/dpkg/info/one.md5sums", format!("{ABC}  usr/bin/good\n").as_bytes()),
            ("usr/bin/good", b"abc"),
        ]);
        let stopped = look(&full, &AtomicBool::new(true));
        assert!(!stopped.complete && stopped.same == 0, "{stopped:?}");
        let (_root, lost) = guest(&[("var/lib/dpkg/info/one.md5sums", b"")]);
        assert_eq!(observe(&lost, Instant::now() + Duration::from_mins(1)).await.damaged, 1);
        let (_root, empty) = guest(&[("etc/os-release", b"ID=other\n")]);
        let seen = observe(&empty, Instant::now() + Duration::from_mins(1)).await;
        assert!(seen.nothing.is_some_and(|why| why.contains("/var/lib/dpkg/info")));
    }
}
