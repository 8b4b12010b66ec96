//! Taking away the logs of old builds. Their rows in the history stay.
//!
//! A build's directory goes as a whole: its logs and its list of packages. The list of packages of one whose image is
//! published, what was found in the image, and who may log in to it, stay for as long as the image does. Only directories
//! that are named by a build of the history that has ended are touched.

use std::path::{Path, PathBuf};
use std::time::Duration;

use image_manager_proto::v1;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{files, state};
use crate::history::{History, HistoryError};
use crate::unchanged;

/// How often it is looked for old logs.
const LOOK: Duration = Duration::from_hours(1);
/// The first look waits until a start has done what is more urgent.
const FIRST: Duration = Duration::from_mins(2);

/// What is kept of the builds' logs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Logs of builds that ended longer ago are taken away; `None`: of no age.
    pub age: Option<Duration>,
    /// The oldest logs are taken away until the rest has at most so many bytes; `None`: there is room for all.
    pub room: Option<u64>,
}

/// What was taken away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Taken {
    builds: u64,
    bytes: u64,
}

/// Looks for old logs every hour until `stop`.
pub fn start_retention(history: History, state: PathBuf, retention: Retention, stop: CancellationToken) {
    if retention == Retention::default() {
        return;
    }
    tokio::spawn(async move {
        let mut look = interval_at(Instant::now() + FIRST, LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = look.tick() => {}
            }
            // By the clock that the ids have their times from, also where `clock` goes faster.
            let now = chrono::Utc::now().timestamp_millis();
            match take_away(&history, &state, retention, now).await {
                Ok(Taken { builds: 0, .. }) => {}
                Ok(taken) => {
                    tracing::info!(
                        builds = taken.builds,
                        bytes = taken.bytes,
                        "removed the logs of old builds"
                    );
                }
                Err(error) => tracing::warn!("cannot look for old logs: {error}"),
            }
        }
    });
}

/// A build's directory that is there.
#[derive(Debug, Clone, Copy)]
struct Kept {
    build: Uuid,
    bytes: u64,
}

async fn take_away(
    history: &History,
    state: &Path,
    retention: Retention,
    now_ms: i64,
) -> Result<Taken, HistoryError> {
    let directory = state.join(files::BUILDS);
    let kept =
        tokio::task::spawn_blocking(move || kept(&directory)).await.map_err(|_| HistoryError::Closed)?;
    let mut rest: u64 = kept.iter().map(|kept| kept.bytes).sum();
    let mut taken = Taken::default();
    // Oldest first: their ids begin with the time.
    for Kept { build, bytes } in kept {
        let crowded = retention.room.is_some_and(|room| rest > room);
        let aged = |at_ms: i64| {
            let age = Duration::from_millis(u64::try_from(now_ms - at_ms).unwrap_or_default());
            retention.age.is_some_and(|most| age > most)
        };
        if !crowded && !aged(made_at(build)) {
            break;
        }
        let row = match history.build(&build.to_string()).await {
            Ok(row) => row,
            Err(HistoryError::NoBuild(_)) => continue,
            Err(error) => return Err(error),
        };
        let ended = row.finished_at.filter(|_| state::is_end(v1::Build::state(&row)));
        let Some(ended) = ended else { continue };
        if !crowded && !aged(ended.seconds * 1000) {
            continue;
        }
        let path = files::directory(state, &build.to_string());
        let id = build.to_string();
        // The last good build is compared with the next one by the one, what a published image consists of is in the other,
        // and what was found in it and who may log in is asked for when it is verified again, however old its logs are.
        let compared = history.has_packages(&id).await?.then_some(unchanged::FILE);
        let published = history.is_published(&id).await?;
        let [manifest, inspection, accounts] =
            [files::MANIFEST, files::INSPECTION, files::ACCOUNTS].map(|file| published.then_some(file));
        match remove(&path, &[compared, manifest, inspection, accounts]).await {
            Ok(0) => {}
            Ok(left) => {
                let bytes = bytes.min(left);
                rest = rest.saturating_sub(bytes);
                taken = Taken { builds: taken.builds + 1, bytes: taken.bytes + bytes };
            }
            Err(error) => tracing::warn!("cannot remove old logs: {}: {error}", path.display()),
        }
    }
    Ok(taken)
}

/// Takes a build's directory away, but for some files; returns how many bytes the files had that went.
async fn remove(directory: &Path, but: &[Option<&str>]) -> std::io::Result<u64> {
    let mut entries = tokio::fs::read_dir(directory).await?;
    let (mut bytes, mut is_kept) = (0, false);
    while let Some(entry) = entries.next_entry().await? {
        if but.iter().flatten().any(|name| entry.file_name() == *name) {
            is_kept = true;
            continue;
        }
        let metadata = entry.metadata().await?;
        let path = entry.path();
        if metadata.is_dir() {
            let there = path.clone();
            let below = tokio::task::spawn_blocking(move || bytes_below(&there)).await;
            tokio::fs::remove_dir_all(&path).await?;
            bytes += below.unwrap_or_default();
        } else {
            tokio::fs::remove_file(&path).await?;
            bytes += metadata.len();
        }
    }
    if !is_kept {
        tokio::fs::remove_dir(directory).await?;
    }
    Ok(bytes)
}

/// The builds' directories, oldest first. What is not named like a build is not among them.
fn kept(directory: &PathBuf) -> Vec<Kept> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut kept: Vec<Kept> = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| {
            let build = entry.file_name().to_str().and_then(|name| Uuid::parse_str(name).ok())?;
            Some(Kept { build, bytes: bytes_below(&entry.path()) })
        })
        .collect();
    kept.sort_unstable_by_key(|kept| kept.build);
    kept
}

/// Bytes of all files below a directory: each trial of a build that has several has its logs in a directory of its own.
/// Links are not followed, and what cannot be read counts for nothing.
fn bytes_below(directory: &Path) -> u64 {
    let (mut bytes, mut waiting) = (0_u64, vec![directory.to_owned()]);
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => waiting.push(entry.path()),
                Ok(metadata) => bytes = bytes.saturating_add(metadata.len()),
                Err(_) => {}
            }
        }
    }
    bytes
}

/// When an id was made, in milliseconds since the epoch.
fn made_at(build: Uuid) -> i64 {
    let (seconds, nanos) = build.get_timestamp().map(|time| time.to_unix()).unwrap_or_default();
    i64::try_from(seconds).unwrap_or_default() * 1000 + i64::from(nanos / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Ending, NewBuild};
    use image_manager_proto::v1::{BuildState as S, StageState, Trigger};

    const DAY: i64 = 86_400_000;
    const KIB: usize = 1024;

    /// A history with one build a schedule, each with a log of a KiB; the last one has not ended.
    async fn builds(state: &Path, count: usize) -> (History, Vec<String>) {
        let history = History::open(&state.join("image-manager.db")).unwrap();
        let mut ids = Vec::new();
        for number in 0..count {
            let id = Uuid::now_v7().to_string();
            let new = NewBuild {
                requested_by: crate::history::Principal::Manager,
                id: id.clone(),
                schedule: format!("s{number}"),
                trigger: Trigger::Cli,
                stages: (vec!["building"], Vec::new()),
                trials: Vec::new(),
                fired_at: None,
                retry_of: None,
                forced: false,
                verification: None,
            };
            history.create_build(new).await.unwrap();
            let ending = || Ending::new(StageState::Done, "");
            history.advance(&id, S::Queued, S::Building, ending()).await.unwrap();
            if number + 1 < count {
                history.advance(&id, S::Building, S::CleaningUp, ending()).await.unwrap();
                history.advance(&id, S::CleaningUp, S::Succeeded, ending()).await.unwrap();
            }
            let directory = files::directory(state, &id);
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join(files::BUILD_LOG), vec![b'x'; KIB]).unwrap();
            ids.push(id);
        }
        (history, ids)
    }

    fn there(state: &Path, ids: &[String]) -> Vec<bool> {
        ids.iter().map(|id| files::directory(state, id).exists()).collect()
    }

    #[tokio::test]
    async fn what_is_older_goes_and_its_row_stays() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path();
        let (history, ids) = builds(state, 3).await;
        let stranger = files::directory(state, &Uuid::now_v7().to_string());
        std::fs::create_dir_all(&stranger).unwrap();
        let month = Retention { age: Some(Duration::from_hours(30 * 24)), room: None };
        let now = chrono::Utc::now().timestamp_millis();
        assert_eq!(take_away(&history, state, month, now + 29 * DAY).await.unwrap(), Taken::default());
        let taken = take_away(&history, state, month, now + 31 * DAY).await.unwrap();
        assert_eq!(taken, Taken { builds: 2, bytes: 2 * KIB as u64 });
        assert_eq!(there(state, &ids), [false, false, true], "the last one has not ended");
        assert!(stranger.exists(), "no build of the history");
        assert_eq!(history.build(&ids[0]).await.unwrap().state(), S::Succeeded);
    }

    #[tokio::test]
    async fn logs_of_trials_in_directories_of_their_own_count() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path();
        let (history, ids) = builds(state, 3).await;
        for (id, target) in ids.iter().flat_map(|id| ["small", "large"].map(|target| (id, target))) {
            let trial = files::of_trial(state, id, target, false);
            std::fs::create_dir_all(&trial).unwrap();
            std::fs::write(trial.join(files::CONSOLE_LOG), vec![b'x'; 4 * KIB]).unwrap();
        }
        let each = 9 * KIB as u64;
        let now = chrono::Utc::now().timestamp_millis();
        let roomy = Retention { age: None, room: Some(3 * each) };
        assert_eq!(take_away(&history, state, roomy, now).await.unwrap(), Taken::default());
        let tight = Retention { age: None, room: Some(2 * each) };
        let taken = take_away(&history, state, tight, now).await.unwrap();
        assert_eq!(taken, Taken { builds: 1, bytes: each });
        assert_eq!(there(state, &ids), [false, true, true]);
    }

    #[tokio::test]
    async fn a_published_image_keeps_its_list_of_packages_and_what_was_found_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path();
        let (history, ids) = builds(state, 3).await;
        let image = v1::Image { name: "web".to_owned(), sha512: "ab".to_owned(), ..v1::Image::default() };
        history.record_published(&ids[0], "local", image, "").await.unwrap();
        let manifest = files::directory(state, &ids[0]).join(files::MANIFEST);
        std::fs::write(&manifest, "[]").unwrap();
        let inspection = manifest.with_file_name(files::INSPECTION);
        std::fs::write(&inspection, "{}").unwrap();
        let accounts = manifest.with_file_name(files::ACCOUNTS);
        std::fs::write(&accounts, "{}").unwrap();
        let none = Retention { age: None, room: Some(0) };
        let now = chrono::Utc::now().timestamp_millis();
        assert_eq!(take_away(&history, state, none, now).await.unwrap().builds, 2);
        assert!(
            inspection.exists()
                && accounts.exists()
                && manifest.exists()
                && !manifest.with_file_name(files::BUILD_LOG).exists()
        );
        assert_eq!(take_away(&history, state, none, now).await.unwrap().builds, 0, "it is said once");
        assert_eq!(there(state, &ids), [true, false, true]);
    }

    #[tokio::test]
    async fn what_the_next_build_is_compared_with_stays() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path();
        let (history, ids) = builds(state, 2).await;
        let artifact = crate::history::ArtifactRecord {
            fingerprint: None,
            file: state.join("image"),
            sha512: String::new(),
            schedule_digest: String::new(),
            packages_sha256: Some(String::new()),
        };
        history.record_artifact(&ids[0], artifact).await.unwrap();
        let file = files::directory(state, &ids[0]).join(unchanged::FILE);
        std::fs::write(&file, "packages").unwrap();
        let none = Retention { age: None, room: Some(0) };
        for builds in [1, 0] {
            assert_eq!(take_away(&history, state, none, 0).await.unwrap().builds, builds);
            assert!(file.exists() && !file.with_file_name(files::BUILD_LOG).exists());
        }
        history.packages_dropped(&ids[0]).await.unwrap();
        assert_eq!(take_away(&history, state, none, 0).await.unwrap().builds, 1);
        assert_eq!(there(state, &ids), [false, true]);
    }

    #[tokio::test]
    async fn the_oldest_make_room() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path();
        let (history, ids) = builds(state, 4).await;
        let now = chrono::Utc::now().timestamp_millis();
        let roomy = Retention { age: None, room: Some(4 * KIB as u64) };
        assert_eq!(take_away(&history, state, roomy, now).await.unwrap(), Taken::default());
        let tight = Retention { age: None, room: Some(2 * KIB as u64 + 1) };
        assert_eq!(take_away(&history, state, tight, now).await.unwrap().builds, 2);
        assert_eq!(there(state, &ids), [false, false, true, true]);
        let none = Retention { age: None, room: Some(0) };
        assert_eq!(take_away(&history, state, none, now).await.unwrap().builds, 1);
        assert_eq!(there(state, &ids), [false, false, false, true], "the last one has not ended");
    }
}
