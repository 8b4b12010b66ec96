//! The guest's files against rpm's database.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use super::content::{Checksum, FileState};
use super::rpm::{Database, DatabaseLocation, Header, Next, Outcome, Tree, Trouble, locations, outcome};
use super::{Observation, file_state, is_missing};
use crate::guest::Guest;

/// Looks at all files of the packages in the guest's rpm database; `otherwise` is why there is no other to look into.
pub(super) fn look(guest: &Guest, stop: &AtomicBool, otherwise: &str) -> Observation {
    let mut nothing = format!("{otherwise}; there is no rpm database");
    for place in locations().filter(|place| guest.has(&place.path)) {
        let seen = of_database(guest, stop, &place);
        // One without a package was left when another kind took its place.
        if seen.packages == 0 && seen.damaged == 0 && seen.complete {
            nothing = format!("{otherwise}; {} has no packages", place.path);
            continue;
        }
        return seen;
    }
    Observation { nothing: Some(nothing), ..Observation::default() }
}

fn of_database(guest: &Guest, stop: &AtomicBool, place: &DatabaseLocation) -> Observation {
    let mut seen = Observation::default();
    let files = Files { guest, stop };
    let looked = Database::open(&guest.path(&place.path), place.format).and_then(|database| {
        let mut stopped = false;
        database.each(|blob| {
            stopped = !package(&files, blob, &place.path, &mut seen);
            if stopped { Next::Stop } else { Next::Package }
        })?;
        Ok(!stopped)
    });
    match looked {
        Ok(complete) => seen.complete = complete,
        Err(error) => {
            seen.damaged(&place.path, &format!("the rpm database cannot be read: {error}"));
        }
    }
    seen
}

/// False when the time is up.
fn package(files: &Files<'_>, blob: &[u8], database: &str, seen: &mut Observation) -> bool {
    if files.stop.load(Ordering::Relaxed) {
        return false;
    }
    let header = Header::parse(blob);
    let read = header.and_then(|header| Ok((header.package(), header.files()?)));
    let (package, list) = match read {
        Ok(read) => read,
        Err(what) => return seen.damaged(database, &format!("a package's header {what}")),
    };
    for file in list {
        // Nothing is read of links and of files that are not there, so that the time is looked at here too.
        if files.stop.load(Ordering::Relaxed) {
            return false;
        }
        match outcome(files, &file) {
            Outcome::Same => seen.same += 1,
            Outcome::Changed => seen.changed(&file.path, "changed"),
            Outcome::Edited => seen.edited += 1,
            Outcome::Missing => seen.missing(&file.path),
            Outcome::LeftOut => {}
            Outcome::Damaged(what) => {
                seen.damaged(&file.path, &what);
            }
            Outcome::Stopped => return false,
        }
    }
    seen.packages += u64::from(package.is_some());
    true
}

/// The files of the guest.
struct Files<'a> {
    guest: &'a Guest,
    stop: &'a AtomicBool,
}

impl Tree for Files<'_> {
    fn file_state(&self, path: &str, expected: &Checksum) -> Result<FileState, Trouble> {
        file_state(self.guest, path, expected, self.stop)
            .map_err(|error| trouble(&error))?
            .ok_or(Trouble::Stopped)
    }

    fn link(&self, path: &str) -> Result<Vec<u8>, Trouble> {
        let target = fs::read_link(self.guest.path(path)).map_err(|error| trouble(&error))?;
        Ok(target.as_os_str().as_bytes().to_vec())
    }
}

fn trouble(error: &io::Error) -> Trouble {
    match error.kind() {
        _ if is_missing(error) => Trouble::Missing,
        // The latter says that there is something which is no link.
        io::ErrorKind::IsADirectory | io::ErrorKind::InvalidInput => Trouble::OtherKind,
        _ if error.raw_os_error() == Some(nix::libc::ELOOP) => Trouble::OtherKind,
        _ => Trouble::Unreadable(error.to_string()),
    }
}
