//! The packaged files of an image against its rpm database.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use image_manager_agent::checks::packages::rpm::{
    Database, DatabaseLocation, Format, Header, LOG, Next as NextPackage, Package, Trouble, locations,
    outcome,
};

use super::packages::{Counts, words};
use super::volume::{Files, Next, Volume};

/// Largest database that is copied; one of 3,000 packages has some 200 MB.
const LARGEST: u64 = 2 << 30;

/// What came of the look at the packages of an rpm database.
#[derive(Debug, Default)]
pub(super) struct Look {
    pub(super) counts: Counts,
    pub(super) packages: Vec<Package>,
}

/// A copy of the database, which is removed when it is not needed any more.
struct Copy {
    file: PathBuf,
}

impl Drop for Copy {
    fn drop(&mut self) {
        for ending in ["", LOG, "-shm"] {
            let _ = fs::remove_file(with(&self.file, ending));
        }
    }
}

/// Looks at all packages of the database. `None`: there is none.
///
/// # Errors
/// What was wrong with this host, not with the image.
pub(super) fn verify(files: &Files<'_>, beside: &Path) -> io::Result<Option<Look>> {
    let volume = files.volume;
    let mut empty = None;
    for place in locations() {
        let copy = Copy { file: beside.with_extension("rpmdb") };
        match take(volume, &place.path, &copy.file)? {
            Ok(()) => {}
            Err(Trouble::Missing) => continue,
            Err(error) => return Ok(Some(Look::damaged(&place.path, words(&error)))),
        }
        if place.format == Format::Sqlite {
            let log = format!("{}{LOG}", place.path);
            match take(volume, &log, &with(&copy.file, LOG))? {
                Ok(()) => {}
                Err(Trouble::Missing) => fs::remove_file(with(&copy.file, LOG))?,
                Err(error) => return Ok(Some(Look::damaged(&log, words(&error)))),
            }
        }
        let look = look(files, &place, &copy)?;
        // One without a package was left when another kind took its place.
        if look.packages.is_empty() && look.counts.total() == 0 {
            empty = Some(look);
            continue;
        }
        return Ok(Some(look));
    }
    Ok(empty)
}

fn look(files: &Files<'_>, place: &DatabaseLocation, copy: &Copy) -> io::Result<Look> {
    let mut look = Look::default();
    let mut stopped = false;
    let looked = Database::open_copy(&copy.file, place.format).and_then(|database| {
        database.each(|blob| {
            stopped = files.is_stopped() || !look.package(files, &place.path, blob);
            if stopped { NextPackage::Stop } else { NextPackage::Package }
        })
    });
    if stopped {
        return Err(io::ErrorKind::Interrupted.into());
    }
    match looked {
        Ok(()) => Ok(look),
        // That the copy could not be written to is this host's fault; anything else is what the image holds.
        Err(error) if error.is_for_want_of_room() => Err(io::ErrorKind::StorageFull.into()),
        Err(error) => {
            look.counts.damaged(&format!("the rpm database cannot be read: {error}"), &place.path);
            Ok(look)
        }
    }
}

impl Look {
    fn damaged(place: &str, what: &str) -> Self {
        let mut look = Self::default();
        look.counts.damaged(what, place);
        look
    }

    /// False when nobody wants to know any more.
    fn package(&mut self, files: &Files<'_>, database: &str, blob: &[u8]) -> bool {
        let header = Header::parse(blob);
        let read = header.and_then(|header| Ok((header.package(), header.files()?)));
        let (package, list) = match read {
            Ok(read) => read,
            Err(what) => {
                self.counts.damaged(&format!("a package's header {what}"), database);
                return true;
            }
        };
        self.packages.extend(package);
        list.iter().all(|file| self.counts.take(&outcome(files, file), &file.path))
    }
}

fn with(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Copies a file out of the image. The outer error is this host's.
fn take(volume: &dyn Volume, from: &str, to: &Path) -> io::Result<Result<(), Trouble>> {
    let mut copy = File::create(to)?;
    let mut length: u64 = 0;
    let mut failed = Ok(());
    let read = volume.read(from, &mut |piece| {
        length = length.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if length > LARGEST {
            return Next::Stop;
        }
        failed = copy.write_all(piece);
        if failed.is_err() { Next::Stop } else { Next::Piece }
    });
    failed?;
    if length > LARGEST {
        return Ok(Err(Trouble::Unreadable(format!("it has over {} GiB", LARGEST >> 30))));
    }
    Ok(read)
}
