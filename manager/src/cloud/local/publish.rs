//! Giving a verified image its public name.
//!
//! `images/published/<name>.qcow2` is always a whole, verified image, and each step below may be the last one
//! before a crash; doing all of them again then ends in the same place:
//!
//! A raw image ends in `.raw` wherever `.qcow2` stands here; a name whose images were of the other format before
//! has its last one of those among the dated ones (step 4).
//!
//! 1. the current image gets a second name `<name>.<date>.qcow2`, a hard link;
//! 2. the new image's file gets a hard link `<name>.qcow2.part`, which is renamed over `<name>.qcow2`;
//! 3. the record `<name>.json` is written anew;
//! 4. the oldest dated images go, all but those that `keep` or `keep_for` keeps.
//!
//! The date in a name is when the image was published: its file's modification time, which step 2 sets to the time of publishing: so
//! file and date cannot part. Whether an image is published already is seen by the file being the same one.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, NaiveDateTime, SubsecRound, TimeDelta, Utc};

use super::images::{self, Record, Store};
use super::{check_name, io_error};
use crate::clock;
use crate::cloud::{CloudError, Held, Image, Older, Pruned, Publication, Published, Trouble};
use crate::schedules::Format;

/// `20261123T084700Z`, as the dated names have it.
const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// Publishes an image. `now` is what it is dated with, unless the current image is younger.
pub(super) fn publish(
    store: &Store,
    image: &Image,
    publication: &Publication,
    now: DateTime<Utc>,
) -> Result<Published, CloudError> {
    let public = PublishedName::new(store, &publication.name, &image.name)?;
    if !public.holds(image) {
        for format in Format::ALL {
            public.keep(format)?;
        }
        public.put(image, now)?;
    }
    public.describe(image)?;
    public.leave_other_formats()?;
    let Pruned { removed, held } = public.prune(publication, now)?;
    let held = held.into_iter().map(|held| held.why).collect();
    let location = public.current().display().to_string();
    Ok(Published { name: publication.name.clone(), location, removed, held, own_image: false })
}

/// Step 4 by itself. Nothing goes where no image has the name: the older ones are all that is left of it then.
pub(super) fn prune(
    store: &Store,
    publication: &Publication,
    now: DateTime<Utc>,
) -> Result<Pruned, CloudError> {
    let public = PublishedName::new(store, &publication.name, "")?;
    if public.current().is_file() { public.prune(publication, now) } else { Ok(Pruned::default()) }
}

/// The images under one public name.
pub(super) struct PublishedName<'a> {
    store: &'a Store,
    pub(super) directory: PathBuf,
    pub(super) name: &'a str,
    /// That of the image that is to be the current one.
    pub(super) format: Format,
}

impl<'a> PublishedName<'a> {
    /// That of a name, for a build's image, which tells its format while it is in the store.
    pub(super) fn new(store: &'a Store, name: &'a str, image: &str) -> Result<Self, CloudError> {
        check_name(name)?;
        if name.rsplit_once('.').is_some_and(|(_, end)| parse_stamp(end).is_some()) {
            let message = format!("{name} cannot be published: it looks like an older image of another name");
            return Err(CloudError::new(Trouble::Configuration, message));
        }
        let mut public = Self { store, directory: store.published(), name, format: Format::Qcow2 };
        public.format = match store.found(image) {
            (file, format) if file.is_file() => format,
            // It has left the store: what is published of it has its format.
            _ => {
                let there = Format::ALL.into_iter().find(|format| public.file(name, *format).is_file());
                there.unwrap_or_default()
            }
        };
        Ok(public)
    }

    pub(super) fn file(&self, name: &str, format: Format) -> PathBuf {
        self.directory.join(format!("{name}.{format}"))
    }

    pub(super) fn record_file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }

    pub(super) fn current(&self) -> PathBuf {
        self.file(self.name, self.format)
    }

    /// Whether the current image is this one. When it has left the store, the record of the current file says.
    fn holds(&self, image: &Image) -> bool {
        let Ok(current) = self.current().metadata() else { return false };
        match self.store.found(&image.name).0.metadata() {
            Ok(stored) => same(&stored, &current),
            Err(_) => self.record_of_current().is_some_and(|record| record.sha512 == image.sha512),
        }
    }

    /// The record of the current file: the one that has its date.
    fn record_of_current(&self) -> Option<Record> {
        self.record_of(&self.current())
    }

    pub(super) fn record_of(&self, current: &Path) -> Option<Record> {
        let date = date(&current.metadata().ok()?);
        images::read_record(&self.record_file(self.name)).filter(|record| record.published_at == Some(date))
    }

    /// Step 1. Does nothing when the current image of this format has its dated name, or when there is none.
    pub(super) fn keep(&self, format: Format) -> Result<(), CloudError> {
        let current = self.file(self.name, format);
        let metadata = match current.metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(io_error("cannot examine", &current, &error)),
        };
        let mut date = date(&metadata);
        let dated = loop {
            let dated = dated_name(self.name, date);
            let file = self.file(&dated, format);
            match fs::hard_link(&current, &file) {
                Ok(()) => break dated,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if file.metadata().is_ok_and(|there| same(&there, &metadata)) {
                        break dated;
                    }
                    // Another image of that second, by a clock that was set or a file that was put here.
                    date += TimeDelta::seconds(1);
                }
                Err(error) => return Err(io_error("cannot link", &file, &error)),
            }
        };
        if let Some(record) = self.record_of(&current) {
            images::write_record(&self.record_file(&dated), &record)?;
        }
        images::sync_directory(&self.directory)
    }

    /// Step 2.
    fn put(&self, image: &Image, now: DateTime<Utc>) -> Result<(), CloudError> {
        let (stored, current) = (self.store.found(&image.name).0, self.current());
        let file = File::open(&stored).map_err(|error| io_error("cannot publish", &stored, &error))?;
        let metadata = file.metadata().map_err(|error| io_error("cannot publish", &stored, &error))?;
        let recorded = self.store.record(&image.name).map(|record| record.sha512);
        if metadata.len() != image.size_bytes || recorded.as_ref().is_some_and(|sha| *sha != image.sha512) {
            let message = format!("image {} is not the one that was uploaded", stored.display());
            return Err(images::corrupt(message));
        }
        // Later than the current one even when the clock was set back: dates are the order of publishing.
        let currents = Format::ALL.map(|format| self.file(self.name, format).metadata().ok());
        let latest = currents.into_iter().flatten().map(|metadata| date(&metadata)).max();
        let after = latest.map(|date| date + TimeDelta::seconds(1));
        let published_at = after.map_or(now, |after| after.max(now)).trunc_subsecs(0);
        let part = images::part(&current);
        let put = || {
            file.set_modified(SystemTime::from(published_at))?;
            file.sync_all()?;
            match fs::remove_file(&part) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            fs::hard_link(&stored, &part)?;
            fs::rename(&part, &current)
        };
        put().map_err(|error| io_error("cannot publish as", &current, &error))?;
        images::sync_directory(&self.directory)
    }

    /// Step 3.
    fn describe(&self, image: &Image) -> Result<(), CloudError> {
        let current = self.current();
        let metadata = current.metadata().map_err(|error| io_error("cannot examine", &current, &error))?;
        if self.record_of_current().is_some_and(|record| record.sha512 == image.sha512) {
            return Ok(());
        }
        let Some(mut record) = self.store.record(&image.name) else { return Ok(()) };
        record.published_at = Some(date(&metadata));
        images::write_record(&self.record_file(self.name), &record)?;
        images::sync_directory(&self.directory)
    }

    /// Step 4, first half: a current image of another format has its dated name only from here on.
    pub(super) fn leave_other_formats(&self) -> Result<(), CloudError> {
        for format in Format::ALL.into_iter().filter(|format| *format != self.format) {
            self.keep(format)?;
            images::remove_if_there(&self.file(self.name, format))?;
        }
        images::sync_directory(&self.directory)
    }

    /// Step 4.
    fn prune(&self, publication: &Publication, now: DateTime<Utc>) -> Result<Pruned, CloudError> {
        let current = self.current().metadata().ok();
        let mut images: Vec<Dated> = Vec::new();
        for format in Format::ALL {
            let dated = self.dated(format.as_str())?.into_iter();
            images.extend(dated.map(|name| self.older(name, format)));
        }
        images.sort_by(|a, b| (a.built, &a.name).cmp(&(b.built, &b.name)));
        let mut records = self.dated("json")?;
        let mut pruned = Pruned::default();
        // A dated name of the current image: a crash came between steps 1 and 2.
        images.retain(|Dated { name, format, .. }| {
            let file = self.file(name, *format);
            let second = matches!((&current, file.metadata()), (Some(a), Ok(b)) if same(a, &b));
            !(second && fs::remove_file(&file).is_ok())
        });
        let goes = publication.no_longer_kept(&images.iter().map(Dated::as_older).collect::<Vec<_>>(), now);
        let mut place = 0..;
        let goes = |_: &mut Dated| place.next().is_some_and(|place| goes.contains(&place));
        for Dated { name, format, sha512, .. } in images.extract_if(.., goes) {
            match fs::remove_file(self.file(&name, format)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    pruned.held.push(Held { sha512, why: format!("{name}: {error}") });
                    records.retain(|record| *record != name);
                }
                _ => pruned.removed.push(name),
            }
        }
        records.retain(|name| !images.iter().any(|image| image.name == *name));
        for name in records {
            images::remove_if_there(&self.record_file(&name))?;
        }
        images::sync_directory(&self.directory)?;
        Ok(pruned)
    }

    /// When it was built its record says; of one without a record it is known when it was published.
    fn older(&self, name: String, format: Format) -> Dated {
        let record = images::read_record(&self.record_file(&name));
        let published = || {
            let stamp = name.strip_prefix(self.name)?.strip_prefix('.')?;
            parse_stamp(stamp).map(|date| date.and_utc())
        };
        let built = record.as_ref().and_then(|record| clock::began(&record.build_id)).or_else(published);
        let revoked = record.as_ref().is_some_and(|record| record.revoked.is_some());
        let sha512 = record.map(|record| record.sha512).unwrap_or_default();
        Dated { built, name, format, sha512, revoked }
    }

    /// Dated names with this extension, the oldest first.
    pub(super) fn dated(&self, extension: &str) -> Result<Vec<String>, CloudError> {
        let entries = fs::read_dir(&self.directory)
            .map_err(|error| io_error("cannot list", &self.directory, &error))?;
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| {
                let file = entry.file_name().into_string().ok()?;
                let (name, end) = file.rsplit_once('.')?;
                let stamp = name.strip_prefix(self.name)?.strip_prefix('.')?;
                (end == extension && parse_stamp(stamp).is_some()).then(|| name.to_owned())
            })
            .collect();
        names.sort();
        Ok(names)
    }
}

/// An image that had the name.
struct Dated {
    /// When the build began that made it.
    built: Option<DateTime<Utc>>,
    name: String,
    format: Format,
    sha512: String,
    revoked: bool,
}

impl Dated {
    fn as_older(&self) -> Older<'_> {
        Older { sha512: &self.sha512, built: self.built, revoked: self.revoked }
    }
}

pub(super) fn same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// When a file was published, in whole seconds.
pub(super) fn date(metadata: &Metadata) -> DateTime<Utc> {
    DateTime::from_timestamp(metadata.mtime(), 0).unwrap_or_default()
}

fn dated_name(name: &str, date: DateTime<Utc>) -> String {
    format!("{name}.{}", date.format(STAMP))
}

fn parse_stamp(stamp: &str) -> Option<NaiveDateTime> {
    let date = NaiveDateTime::parse_from_str(stamp, STAMP).ok()?;
    // The parser takes shorter numbers, too.
    (date.format(STAMP).to_string() == stamp).then_some(date)
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
