//! The packaged files of an image against the image's own package database.

use super::inspection::Inspection;
use std::io;
use std::path::Path;

use image_manager_agent::checks::packages::database::{
    self, DIRECTORY, DIVERSIONS, Diversions, EXTENSION, expected,
};
use image_manager_agent::checks::packages::rpm::{Kind, Outcome, Package, PackagedFile, Trouble, outcome};

use super::volume::{Files, Volume, text};
use super::{Proof, installed};
use crate::unchanged::Kept;

/// Most packages and files that are looked at; a desktop has 3,000 and 300,000.
const MOST_PACKAGES: usize = 20_000;
const MOST_FILES: u64 = 2_000_000;
/// Largest text of the database that is read.
const LARGEST_TEXT: usize = 32 << 20;
/// Names that are kept of each kind.
const NAMES: usize = 20;
/// So many hundredths of the files may an image's elements have changed; more is no element's doing.
const MOST_CHANGED: u64 = 5;
/// And so many in any case.
const IN_ANY_CASE: u64 = 25;

/// What came of the look at all packaged files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// They hold what their packages say.
    pub same: u64,
    /// They hold something else: an element changed them.
    pub changed: u64,
    /// They are configuration by their package's word, and were edited.
    pub edited: u64,
    /// They are not there, and are no documentation.
    pub missing: u64,
    /// Documentation and translations that the image goes without.
    pub left_out: u64,
    /// They hold nothing but zeros, or cannot be read.
    pub damaged: u64,
    /// Some of the changed and missing, and some of the damaged.
    pub names: Vec<String>,
}

impl Counts {
    /// All that were looked for.
    pub fn total(&self) -> u64 {
        self.same + self.changed + self.edited + self.missing + self.left_out + self.damaged
    }

    /// More is wrong than elements do.
    pub(super) fn is_damaged(&self) -> bool {
        let there = self.same + self.changed + self.edited;
        self.damaged > 0
            || self.changed > IN_ANY_CASE && self.changed * 100 > there * MOST_CHANGED
            || database::are_too_many_missing(there, self.missing)
    }

    /// Notes what became of a file. False when nobody wants to know any more.
    pub(super) fn take(&mut self, outcome: &Outcome, path: &str) -> bool {
        match outcome {
            Outcome::Stopped => return false,
            _ if self.total() >= MOST_FILES => {}
            Outcome::Same => self.same += 1,
            Outcome::Edited => self.edited += 1,
            Outcome::LeftOut => self.left_out += 1,
            Outcome::Changed => {
                self.changed += 1;
                self.note("changed", path);
            }
            Outcome::Missing => {
                self.missing += 1;
                self.note("missing", path);
            }
            Outcome::Damaged(what) => self.damaged(what, path),
        }
        true
    }

    pub(super) fn damaged(&mut self, what: &str, path: &str) {
        self.damaged += 1;
        self.note(what, path);
    }

    fn note(&mut self, what: &str, path: &str) {
        if self.names.len() < NAMES {
            self.names.push(format!("{what}: /{}", path.trim_start_matches('/')));
        }
    }
}

/// What is known of a finished image by the database of its packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::builder) struct Verified {
    /// What the look at their files came to.
    pub(in crate::builder) proof: Proof,
    /// The packages, where the database lists them: rpm's.
    pub(in crate::builder) packages: Vec<Package>,
    /// What its mirrors can be asked with later, or why it is not known.
    pub(in crate::builder) kept: Result<Kept, String>,
    /// What of its build is in it, or why that is not known.
    pub(in crate::builder) inspection: Result<Inspection, String>,
}

impl Verified {
    pub(super) fn of(proof: Proof) -> Self {
        let nothing = "nothing was examined".to_owned();
        // Why there is no proof is why there is nothing else.
        let why = match &proof {
            Proof::NotPossible(why) => why.clone(),
            Proof::Looked(_) => nothing.clone(),
        };
        Self { proof, packages: Vec::new(), kept: Err(nothing), inspection: Err(why) }
    }
}

/// Looks at the packaged files of a file system. `None`: there is neither dpkg nor rpm in it. `beside` is the raw image:
/// beside it there is room for copies.
pub(super) fn verify(files: &Files<'_>, beside: &Path) -> io::Result<Option<Verified>> {
    let dpkg = of_dpkg(files)?;
    if let Some(Proof::Looked(counts)) = dpkg {
        return Ok(Some(Verified::of(Proof::Looked(counts))));
    }
    // Of a distribution by dpkg this is the tool without a package, so dpkg comes first.
    let Some(look) = installed::verify(files, beside)? else {
        return Ok(dpkg.map(Verified::of));
    };
    let proof = match dpkg {
        _ if look.counts.total() > 0 => Proof::Looked(look.counts),
        Some(why) => why,
        None => Proof::NotPossible("its rpm database has no files".to_owned()),
    };
    Ok(Some(Verified { packages: look.packages, ..Verified::of(proof) }))
}

/// `None`: there is no dpkg in it.
fn of_dpkg(files: &Files<'_>) -> io::Result<Option<Proof>> {
    let volume = files.volume;
    let packages = match packages(volume) {
        Ok(packages) => packages,
        Err(Trouble::Missing) => return Ok(None),
        Err(error) => return Ok(Some(damage(DIRECTORY, &error))),
    };
    let diversions = match text(volume, DIVERSIONS, LARGEST_TEXT) {
        Ok(text) => Diversions::parse(&text),
        Err(Trouble::Missing) => Diversions::default(),
        Err(error) => return Ok(Some(damage(DIVERSIONS, &error))),
    };
    let mut counts = Counts::default();
    let lists = packages.len();
    for package in packages {
        if files.is_stopped() || !one_package(files, &package, &diversions, &mut counts) {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    if counts.total() > 0 {
        return Ok(Some(Proof::Looked(counts)));
    }
    if lists == 0 {
        return Ok(Some(Proof::NotPossible("its package database has no checksums".to_owned())));
    }
    // Some packages have no files; that none has any is what a full disk leaves.
    Ok(Some(Proof::damaged(format!("all {lists} lists of checksums in {DIRECTORY} are empty"))))
}

fn damage(what: &str, error: &Trouble) -> Proof {
    Proof::damaged(format!("{what} cannot be read: {}", words(error)))
}

pub(super) fn words(trouble: &Trouble) -> &str {
    match trouble {
        Trouble::Unreadable(why) => why,
        Trouble::Missing => "not found",
        Trouble::OtherKind => "it is of the wrong kind",
        Trouble::Stopped => "stopped",
    }
}

fn packages(volume: &dyn Volume) -> Result<Vec<String>, Trouble> {
    let names = volume.names(DIRECTORY)?;
    let packages = names.iter().filter_map(|name| name.strip_suffix(EXTENSION)).take(MOST_PACKAGES);
    let mut packages: Vec<String> = packages.map(str::to_owned).collect();
    packages.sort();
    Ok(packages)
}

/// False when nobody wants to know any more.
fn one_package(files: &Files<'_>, package: &str, diversions: &Diversions, counts: &mut Counts) -> bool {
    let file = format!("{DIRECTORY}/{package}{EXTENSION}");
    let text = match text(files.volume, &file, LARGEST_TEXT) {
        Ok(text) => text,
        Err(error) => {
            counts.damaged(words(&error), &file);
            return true;
        }
    };
    // A package with a list of no files has an empty one; zeros are what a full disk leaves.
    if text.contains('\0') {
        counts.damaged("blank", &file);
        return true;
    }
    let package = package.split(':').next().unwrap_or(package);
    for one in expected(&text) {
        let path = diversions.place(package, one.path);
        let file = PackagedFile {
            path: path.to_owned(),
            kind: Kind::Content(one.md5),
            // dpkg keeps the checksums of configuration elsewhere.
            configuration: false,
            may_be_missing: database::is_left_out(path),
        };
        if !counts.take(&outcome(files, &file), path) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(same: u64, changed: u64, damaged: u64) -> Counts {
        Counts { same, changed, damaged, ..Counts::default() }
    }

    #[test]
    fn elements_may_change_a_few_files_and_no_disk_may_lose_one() {
        assert!(!counts(10_000, 0, 0).is_damaged());
        assert!(!counts(10_000, 400, 0).is_damaged());
        assert!(!counts(100, 20, 0).is_damaged());
        assert!(counts(10_000, 600, 0).is_damaged());
        assert!(counts(10_000, 0, 1).is_damaged());
        assert!(!Counts { missing: 5_000, left_out: 5_000, ..counts(10_000, 3, 0) }.is_damaged());
        assert!(Counts { missing: 15_000, ..counts(10_000, 3, 0) }.is_damaged());
    }

    #[test]
    fn the_end_of_the_time_ends_a_look_at_too_many_files() {
        assert!(counts(MOST_FILES, 0, 0).take(&Outcome::Same, "x"));
        assert!(!counts(MOST_FILES, 0, 0).take(&Outcome::Stopped, "x"));
    }
}
