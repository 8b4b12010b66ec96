//! Is there room for a build, and was there, when it is done?
//!
//! What a schedule's last builds took is what the next one will take, and some more. Builds that are under way
//! will still take what they have not taken yet.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::HumanBytes;

use super::failure::Failure;
use super::settings::Settings;
use crate::builder::free_bytes;
use crate::history::{History, RoomTaken};
use crate::reason::Reason;
use crate::schedules::Schedule;

/// The next build may take so many hundredths of what the largest of the last ones took.
const MORE: u64 = 125;
/// And this on top, below which a build would be ended.
const RESERVE: u64 = 512 << 20;
/// The least that is wanted for an image of which nothing is known.
const FIRST_IMAGE: u64 = 1 << 30;
/// An image of under so many hundredths of the last good one is suspicious.
const SMALL: u64 = 60;
/// When so little was free at one time, a suspicious image is a damaged one.
const LOW: u64 = 512 << 20;
/// Most files of a scratch directory that are counted.
const MOST_FILES: usize = 1_000_000;

/// What a build is going to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Estimate {
    scratch: u64,
    image: u64,
    known: bool,
}

impl Estimate {
    /// From the last builds of the schedule; `minimum` is for the scratch directory of one that has none.
    fn of(past: &[RoomTaken], minimum: u64) -> Self {
        let most = |of: fn(&RoomTaken) -> u64| past.iter().map(of).max();
        let more = |bytes: u64| (bytes / 100).saturating_mul(MORE).saturating_add(RESERVE);
        match (most(|taken| taken.scratch), most(|taken| taken.image)) {
            (Some(scratch), Some(image)) => Self { scratch: more(scratch), image: more(image), known: true },
            _ => Self { scratch: minimum, image: FIRST_IMAGE, known: false },
        }
    }
}

/// The builds under way by their scratch directories, with what each is expected to take; `None`: no more than it has.
#[derive(Debug, Default)]
struct Reservations(Mutex<HashMap<PathBuf, Option<u64>>>);

/// A build under way, with its expected room; given back when this is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    all: Arc<Reservations>,
    scratch: PathBuf,
}

/// There is too little room.
#[derive(Debug)]
pub(super) struct Lack {
    pub(super) failure: Failure,
    /// Whether other builds are under way, which may give some back.
    pub(super) others: bool,
}

/// How much would be needed, and whether others are under way.
type Missing = (u64, bool);

impl Reservation {
    /// The build has taken what it takes. What is left of that is in what is free.
    pub(super) fn settle(&self) {
        self.all.lock().insert(self.scratch.clone(), None);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.all.lock().remove(&self.scratch);
    }
}

impl Reservations {
    /// Takes the room when what is free suffices for it and for what the others have not taken yet; else says
    /// how much would be needed.
    fn take(
        self: &Arc<Self>,
        scratch: &Path,
        need: u64,
        free: u64,
        used: &HashMap<PathBuf, u64>,
    ) -> Result<Reservation, Missing> {
        let mut all = self.lock();
        let rest = |(path, expected): (&PathBuf, &Option<u64>)| {
            expected.unwrap_or_default().saturating_sub(used.get(path).copied().unwrap_or_default())
        };
        let others: u64 = all.iter().map(rest).sum();
        let needed = need.saturating_add(others);
        if free < needed {
            return Err((needed, !all.is_empty()));
        }
        all.insert(scratch.to_owned(), Some(need));
        drop(all);
        Ok(self.reservation(scratch))
    }

    fn reservation(self: &Arc<Self>, scratch: &Path) -> Reservation {
        Reservation { all: Arc::clone(self), scratch: scratch.to_owned() }
    }

    /// The directories that are not as large yet as they will be.
    fn growing(&self) -> Vec<PathBuf> {
        let all = self.lock();
        all.iter().filter(|(_, expected)| expected.is_some()).map(|(path, _)| path.clone()).collect()
    }

    /// Whether there is another one than this.
    fn others(&self, scratch: &Path) -> bool {
        self.lock().keys().any(|path| path != scratch)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Option<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The room on the disks where builds work.
pub(super) struct Room {
    settings: Arc<Settings>,
    history: History,
    reservations: Arc<Reservations>,
}

impl Room {
    pub(super) fn new(settings: Arc<Settings>, history: History) -> Self {
        Self { settings, history, reservations: Arc::default() }
    }

    /// Lets a build begin when there is room for it, in the scratch directory and where the cloud keeps images on
    /// this host.
    pub(super) async fn admit(
        &self,
        schedule: &Schedule,
        scratch: &Path,
        images: Option<PathBuf>,
    ) -> Result<Result<Reservation, Lack>, Failure> {
        let estimate = Estimate::of(&self.history.room_taken(&schedule.name).await?, self.settings.room);
        let reservations = Arc::clone(&self.reservations);
        let (root, mine, name) = (self.settings.scratch.clone(), scratch.to_owned(), schedule.name.clone());
        let asked = tokio::task::spawn_blocking(move || {
            let lack = |path: &Path, free, needed, others| Lack {
                failure: too_little(path, free, needed, &name, estimate.known),
                others,
            };
            let used =
                reservations.growing().into_iter().map(|path| (path.clone(), disk_use(&path))).collect();
            let free = self::free(&root)?;
            let reservation = match reservations.take(&mine, estimate.scratch, free, &used) {
                Ok(reservation) => reservation,
                Err((needed, others)) => return Ok(Err(lack(&root, free, needed, others))),
            };
            // On one file system an image is renamed: it lies in the scratch directory already.
            if let Some(images) = images.filter(|images| device(images) != device(&root)) {
                let free = self::free(&images)?;
                if free < estimate.image {
                    return Ok(Err(lack(&images, free, estimate.image, reservations.others(&mine))));
                }
            }
            Ok(Ok(reservation))
        });
        asked
            .await
            .map_err(|error| Failure::new(Reason::State, format!("cannot examine the disks: {error}")))?
    }

    /// Of a build that takes no more than it has by now: an earlier manager began it, or it makes no image.
    pub(super) fn taken_already(&self, scratch: PathBuf) -> Reservation {
        let reservation = Reservation { all: Arc::clone(&self.reservations), scratch };
        reservation.settle();
        reservation
    }

    /// Whether another build is under way than the one with this directory.
    pub(super) fn has_others(&self, scratch: &Path) -> bool {
        self.reservations.others(scratch)
    }
}

fn free(path: &Path) -> Result<u64, Failure> {
    free_bytes(path).map_err(|error| {
        Failure::new(
            Reason::ScratchFull,
            format!("cannot find out how much free space {} has: {error}", path.display()),
        )
    })
}

fn too_little(path: &Path, free: u64, needed: u64, schedule: &str, known: bool) -> Failure {
    let why = if known {
        format!("judging by the last builds of {schedule}")
    } else {
        format!("a default, as nothing is known of {schedule}")
    };
    Failure::new(
        Reason::ScratchFull,
        format!(
            "{} has {} free, but {} is needed ({why}; builds under way count too)",
            path.display(),
            HumanBytes(free),
            HumanBytes(needed)
        ),
    )
}

fn device(path: &Path) -> Option<u64> {
    path.metadata().ok().map(|metadata| metadata.dev())
}

/// Bytes on the disk of all files below a directory, on its file system. What cannot be read counts for nothing:
/// a build is at work there.
fn disk_use(directory: &Path) -> u64 {
    let Some(device) = device(directory) else { return 0 };
    let (mut bytes, mut files) = (0_u64, 0);
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        let Ok(entries) = std::fs::read_dir(directory) else { continue };
        for entry in entries.flatten() {
            files += 1;
            if files > MOST_FILES {
                return bytes;
            }
            let Ok(metadata) = entry.metadata() else { continue };
            bytes = bytes.saturating_add(metadata.blocks().saturating_mul(512));
            if metadata.is_dir() && metadata.dev() == device {
                waiting.push(entry.path());
            }
        }
    }
    bytes
}

/// Compares the size of an image with that of the schedule's last good one. `lowest` is what was free at least
/// while it was built. What people should know, or an error when the room was low as well.
pub(super) fn compare_size(
    size: u64,
    last_good: Option<u64>,
    lowest: u64,
) -> Result<Option<String>, Failure> {
    let Some(last) = last_good.filter(|last| size < last / 100 * SMALL) else { return Ok(None) };
    let text =
        format!("the image is only {}, but the last good one was {}", HumanBytes(size), HumanBytes(last));
    if lowest < LOW {
        let low = HumanBytes(lowest);
        return Err(Failure::new(
            Reason::ScratchFull,
            format!("{text}; at one time only {low} was free where it was built"),
        ));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_largest_of_the_last_builds_counts_and_some_more() {
        let past =
            [RoomTaken { scratch: GIB, image: 100 << 20 }, RoomTaken { scratch: 2 * GIB, image: 50 << 20 }];
        let estimate = Estimate::of(&past, 9 * GIB);
        assert!(estimate.known);
        assert!((2 * GIB + GIB / 2 + RESERVE).abs_diff(estimate.scratch) < 1000, "{estimate:?}");
        assert!(((125 << 20) + RESERVE).abs_diff(estimate.image) < 1000, "{estimate:?}");
        assert_eq!(
            Estimate::of(&[], 4 * GIB),
            Estimate { scratch: 4 * GIB, image: FIRST_IMAGE, known: false }
        );
    }

    #[test]
    fn what_others_have_not_taken_yet_is_theirs() {
        let all = Arc::new(Reservations::default());
        let used = |bytes: u64| HashMap::from([(PathBuf::from("a"), bytes)]);
        let first = all.take(Path::new("a"), 3 * GIB, 4 * GIB, &HashMap::new()).unwrap();
        assert_eq!(all.take(Path::new("b"), 2 * GIB, 4 * GIB, &used(0)).unwrap_err(), (5 * GIB, true));
        // The first has taken 2 GiB of what was free.
        let second = all.take(Path::new("b"), GIB, 2 * GIB, &used(2 * GIB)).unwrap();
        drop((first, second));
        assert!(all.growing().is_empty());
        all.take(Path::new("b"), 2 * GIB, 2 * GIB, &HashMap::new()).unwrap();
    }

    #[test]
    fn an_artifact_that_waits_for_its_cloud_takes_no_more_and_can_be_waited_for() {
        let all = Arc::new(Reservations::default());
        let first = all.take(Path::new("a"), 3 * GIB, 4 * GIB, &HashMap::new()).unwrap();
        first.settle();
        assert!(all.growing().is_empty() && all.others(Path::new("b")) && !all.others(Path::new("a")));
        // What it has made is in what is free.
        let second = all.take(Path::new("b"), 2 * GIB, 2 * GIB, &HashMap::new()).unwrap();
        drop(second);
        let none = HashMap::new();
        assert_eq!(all.take(Path::new("b"), 2 * GIB, GIB, &none).unwrap_err(), (2 * GIB, true));
        drop(first);
        assert_eq!(all.take(Path::new("b"), 2 * GIB, GIB, &none).unwrap_err(), (2 * GIB, false));
    }

    #[test]
    fn what_lies_in_a_directory_is_counted() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("a")).unwrap();
        std::fs::write(directory.path().join("a/b"), vec![1; 1 << 20]).unwrap();
        let sparse = std::fs::File::create(directory.path().join("sparse")).unwrap();
        sparse.set_len(1 << 40).unwrap();
        let used = disk_use(directory.path());
        assert!(((1 << 20)..(2 << 20)).contains(&used), "{used}");
        assert_eq!(disk_use(Path::new("/does/not/exist")), 0);
    }

    #[test]
    fn a_much_smaller_image_is_told_and_with_low_room_refused() {
        let good = Some(190 << 20);
        assert_eq!(compare_size(180 << 20, good, u64::MAX).unwrap(), None);
        assert_eq!(compare_size(1, None, 0).unwrap(), None);
        let warning = compare_size(62 << 20, good, GIB).unwrap().unwrap();
        assert!(warning.contains("only 62.00 MiB, but the last good one was 190.00 MiB"), "{warning}");
        assert_eq!(compare_size(62 << 20, good, 100 << 20).unwrap_err().reason, Reason::ScratchFull);
    }
}
