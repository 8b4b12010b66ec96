//! File systems beside the root that the schedule wants mounted: those of a second volume, which cloud-init or fstab mount.

use std::time::Duration;

use image_manager_proto::v1::CheckOutcome;
use serde_json::{Value as Json, json};

use super::{Device, FileSystem, Probe, not_grown, probe};
use crate::checks::descriptor::Rule;
use crate::guest::Guest;
use crate::text::{self, bytes};

pub(super) static PLACE: Rule = Rule {
    what: "where a file system is mounted",
    help: "an absolute path, as in \"/srv\"; the root is always examined",
    holds: |path| {
        path.len() > 1
            && path.len() <= 1024
            && path.starts_with('/')
            && !path.ends_with('/')
            && !path.contains(|c: char| c.is_control() || c == '\\')
    },
};

/// What is mounted at a place.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mounted {
    /// An absolute path.
    pub place: String,
    /// The file system. None: nothing is mounted there, or `error` says why it could not be examined.
    pub file_system: Option<FileSystem>,
    /// Its device, where the kernel tells of one.
    pub device: Option<Device>,
    /// What came of writing to it.
    pub probe: Option<Probe>,
    /// Why it could not be examined.
    pub error: String,
}

impl Mounted {
    pub(super) fn look(guest: &Guest, place: &str) -> Self {
        let mut seen = Self { place: place.to_owned(), ..Self::default() };
        match FileSystem::at(guest, place) {
            Ok(Some(found)) => {
                seen.device = Device::of(guest, &found);
                seen.probe = (!found.read_only).then(|| probe::run(guest, place));
                seen.file_system = Some(found);
            }
            Ok(None) => {}
            Err(error) => seen.error = error,
        }
        seen
    }

    /// What is wrong with it, or why that is unknown; `waited` is how long it was waited for.
    pub(super) fn fault(&self, waited: Duration) -> Option<(CheckOutcome, String)> {
        let place = &self.place;
        if !self.error.is_empty() {
            // As of the root: what cannot be looked at says nothing about the image.
            let why = format!("the file system at {place} cannot be examined: {}", self.error);
            return Some((CheckOutcome::Inconclusive, why));
        }
        self.failure(&text::seconds(waited)).map(|why| (CheckOutcome::Fail, why))
    }

    fn failure(&self, waited: &str) -> Option<String> {
        let place = &self.place;
        let Some(found) = &self.file_system else {
            return Some(format!("nothing is mounted at {place} after {waited}"));
        };
        if found.read_only {
            return Some(format!("the file system at {place} is read-only after {waited}"));
        }
        if let Some(Probe::Failed(why)) = &self.probe {
            return Some(format!("the file system at {place} cannot be written to: {why}"));
        }
        let device = self.device.as_ref()?;
        let what = not_grown(found, device)?;
        let (size, disk) = (bytes(found.total_bytes), bytes(device.disk_bytes));
        Some(format!("the file system at {place} is {size} on a {disk} disk: it did not grow ({what})"))
    }

    pub(super) fn as_json(&self) -> Json {
        json!({
            "place": self.place,
            "file_system": self.file_system.as_ref().map(FileSystem::as_json),
            "device": self.device.as_ref().map(|device| &device.name),
            "error": self.error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn data() -> Mounted {
        Mounted {
            place: "/srv".to_owned(),
            file_system: Some(FileSystem {
                source: "/dev/vdb".to_owned(),
                kind: "ext4".to_owned(),
                total_bytes: 10 * GIB,
                ..FileSystem::default()
            }),
            device: Some(Device {
                name: "vdb".to_owned(),
                bytes: 10 * GIB,
                disk: "vdb".to_owned(),
                disk_bytes: 10 * GIB,
                end: 10 * GIB,
                ..Device::default()
            }),
            probe: Some(Probe::Written(Duration::from_millis(3))),
            error: String::new(),
        }
    }

    #[test]
    fn what_is_wrong_with_a_volume_is_told_with_its_place() {
        let failure = |mounted: Mounted| match mounted.fault(Duration::from_mins(1)) {
            Some((CheckOutcome::Fail, why)) => why,
            other => format!("no failure: {other:?}"),
        };
        assert_eq!(data().fault(Duration::ZERO), None);
        let none = Mounted { file_system: None, device: None, probe: None, ..data() };
        assert_eq!(failure(none), "nothing is mounted at /srv after 60.0 s");
        let mut small = data();
        small.file_system.as_mut().unwrap().total_bytes = 2 * GIB;
        assert_eq!(
            failure(small),
            "the file system at /srv is 2.0 GiB on a 10.0 GiB disk: it did not grow (its device vdb is 10.0 GiB)"
        );
        let mut locked = data();
        locked.file_system.as_mut().unwrap().read_only = true;
        assert_eq!(failure(locked), "the file system at /srv is read-only after 60.0 s");
        let failed = Mounted { probe: Some(Probe::Failed("No space left on device".to_owned())), ..data() };
        assert!(failure(failed).ends_with("cannot be written to: No space left on device"));
        // Of a share on a network the kernel knows no device.
        assert_eq!(Mounted { device: None, ..data() }.fault(Duration::ZERO), None);
    }

    #[test]
    fn a_place_is_a_whole_path_other_than_the_root() {
        for good in ["/srv", "/mnt/a b"] {
            assert!((PLACE.holds)(good), "{good}");
        }
        for bad in ["/", "", "srv", "/srv/", "/a\nb"] {
            assert!(!(PLACE.holds)(bad), "{bad}");
        }
    }
}
