//! Handing a public name to an image that was published before, and revoking one.
//!
//! As in publishing, each step may be the last one before a crash, and doing all of them again ends in the same place:
//! the current image gets its dated name; a link to the other one is renamed over the public name; the record is
//! written. A file keeps its date, so that one that two names share is dated the same under both.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use super::images::{self, Record, Store};
use super::io_error;
use super::publish::{PublishedName, date, same};
use crate::cloud::{CloudError, HandedOver, Image, NamedImage, Trouble};
use crate::schedules::Format;

/// A published file with its record.
struct Found {
    file: PathBuf,
    format: Format,
    record_file: PathBuf,
    record: Record,
}

/// The images of a name: the current one, then the dated ones, the newest first. One without a record is left out, and
/// so is the dated name of the current one.
fn found(public: &PublishedName<'_>) -> Result<Vec<Found>, CloudError> {
    let mut names = vec![public.name.to_owned()];
    let mut dated = Vec::new();
    for format in Format::ALL {
        dated.extend(public.dated(format.as_str())?);
    }
    dated.sort();
    dated.dedup();
    names.extend(dated.into_iter().rev());
    let mut all: Vec<Found> = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let record_file = public.record_file(name);
        for format in Format::ALL {
            let file = public.file(name, format);
            let Ok(metadata) = file.metadata() else { continue };
            // The record of the public name may be its last image's: it must have this one's date.
            let record = if place == 0 { public.record_of(&file) } else { images::read_record(&record_file) };
            let second = all.iter().any(|one| one.file.metadata().is_ok_and(|there| same(&there, &metadata)));
            if let Some(record) = record.filter(|_| !second) {
                all.push(Found { file, format, record_file: record_file.clone(), record });
            }
        }
    }
    Ok(all)
}

/// The images that are there under a name.
pub(super) fn named(store: &Store, name: &str) -> Result<Vec<NamedImage>, CloudError> {
    let public = PublishedName::new(store, name, "")?;
    let named = |one: Found| NamedImage {
        sha512: one.record.sha512,
        location: one.file.display().to_string(),
        unusable: None,
    };
    Ok(found(&public)?.into_iter().map(named).collect())
}

/// The file of an image that is published under its name, as the current one or an older one.
pub(super) fn published_file(store: &Store, image: &Image) -> Result<Option<(PathBuf, Format)>, CloudError> {
    let all = found(&PublishedName::new(store, &image.name, "")?)?;
    let one = all.into_iter().find(|one| one.record.sha512 == image.sha512);
    Ok(one.map(|one| (one.file, one.format)))
}

/// The published file that is to have `name`, with what the file system says of it. Changes nothing.
fn source(store: &Store, image: &Image, from: &str, name: &str) -> Result<(Found, Metadata), CloudError> {
    let tried = || format!("giving {name} to the image that was published as {from}");
    // A name that cannot be published.
    PublishedName::new(store, name, "")?;
    let source = found(&PublishedName::new(store, from, "")?)?
        .into_iter()
        .find(|one| one.record.sha512 == image.sha512);
    let source =
        source.ok_or_else(|| CloudError::new(Trouble::Fault, format!("{}: it no longer exists", tried())))?;
    let metadata =
        source.file.metadata().map_err(|error| io_error("cannot examine", &source.file, &error))?;
    if metadata.len() != source.record.size_bytes {
        return Err(images::corrupt(format!("{} no longer has its recorded size", source.file.display())));
    }
    Ok((source, metadata))
}

/// Whether an image that was published as `from` can be given `name`.
pub(super) fn check(store: &Store, image: &Image, from: &str, name: &str) -> Result<(), CloudError> {
    source(store, image, from, name).map(drop)
}

/// Gives `name` to an image that was published as `from`.
pub(super) fn hand_over(
    store: &Store,
    image: &Image,
    from: &str,
    name: &str,
) -> Result<HandedOver, CloudError> {
    let (source, metadata) = source(store, image, from, name)?;
    let mut public = PublishedName::new(store, name, "")?;
    public.format = source.format;
    let current = public.current();
    let has_it = |path: &Path| path.metadata().is_ok_and(|there| same(&there, &metadata));
    if !has_it(&current) {
        for format in Format::ALL {
            public.keep(format)?;
        }
        let part = images::part(&current);
        images::remove_if_there(&part)?;
        fs::hard_link(&source.file, &part)
            .and_then(|()| fs::rename(&part, &current))
            .map_err(|error| io_error("cannot publish as", &current, &error))?;
        images::sync_directory(&public.directory)?;
    }
    let record = Record { published_at: Some(date(&metadata)), ..source.record };
    images::write_record(&public.record_file(name), &record)?;
    public.leave_other_formats()?;
    Ok(HandedOver { location: current.display().to_string(), only_name: false })
}

/// Marks an image in its record.
pub(super) fn revoke(store: &Store, image: &Image, name: &str, why: &str) -> Result<(), CloudError> {
    let public = PublishedName::new(store, name, "")?;
    for one in found(&public)?.into_iter().filter(|one| one.record.sha512 == image.sha512) {
        let record = Record { revoked: Some(why.to_owned()), ..one.record };
        images::write_record(&one.record_file, &record)?;
    }
    images::sync_directory(&public.directory)
}
