//! Taking away the logs of old builds. Their rows in the history stay.
//!
//! A build's directory goes as a whole: its logs and its list of packages. The list of packages of one whose image is
//! published stays for as long as the image does. Only directories that are named by a
//! build of the history that has ended are touched.

use std::path::{Path, PathBuf};
use std::time::Duration;

use image_manager_proto::v1;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Manager, files, state};
use crate::history::{History, HistoryError};

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
pub fn start_retention(manager: Manager, retention: Retention, stop: CancellationToken) {
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
            let now = chrono::Utc::now().timestamp_millis();
            match take_away(manager.history(), &manager.settings().state, retention, now).await {
                Ok(Taken { builds: 0, .. }) => {}
                Ok(taken) => {
                    tracing::info!(
                        builds = taken.builds,
                        bytes = taken.bytes,
                        "took the logs of old builds away"
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
        // What an image consists of is known for as long as the image is there; its definition and checks are in the history.
        let keep = history.is_published(&build.to_string()).await?.then_some(files::MANIFEST);
        let emptied = tokio::task::spawn_blocking(move || empty(&path, keep).map_err(|error| (path, error)));
        match emptied.await.map_err(|_| HistoryError::Closed)? {
            Ok(0) if keep.is_some() => {}
            Ok(_) => {
                rest = rest.saturating_sub(bytes);
                taken = Taken { builds: taken.builds + 1, bytes: taken.bytes + bytes };
            }
            Err((path, error)) => {
                tracing::warn!("cannot take old logs away: {}: {error}", path.display());
            }
        }
    }
    Ok(taken)
}

/// Takes away what a build's directory has, all but the file `keep`, and without one the directory too. Returns how many
/// entries went.
fn empty(directory: &Path, keep: Option<&str>) -> std::io::Result<usize> {
    let entries: Vec<_> = std::fs::read_dir(directory)?.collect::<Result<_, _>>()?;
    if keep.is_none() {
        std::fs::remove_dir_all(directory)?;
        return Ok(entries.len());
    }
    let mut gone = 0;
    for entry in entries.iter().filter(|entry| keep.is_none_or(|keep| entry.file_name() != keep)) {
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
        gone += 1;
    }
    Ok(gone)
}

/// The builds' directories, oldest first. What is not named like a build is not among them.
fn kept(directory: &PathBuf) -> Vec<Kept> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut kept: Vec<Kept> = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| {
            let build = entry.file_name().to_str().and_then(|name| Uuid::parse_str(name).ok())?;
            let there = std::fs::read_dir(entry.path()).into_iter().flatten().flatten();
            let bytes = there.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len()).sum();
            Some(Kept { build, bytes })
        })
        .collect();
    kept.sort_unstable_by_key(|kept| kept.build);
    kept
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
    async fn a_published_image_keeps_its_list_of_packages() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path();
        let (history, ids) = builds(state, 3).await;
        let image = v1::Image { name: "web".to_owned(), sha512: "ab".to_owned(), ..v1::Image::default() };
        history.record_published(&ids[0], "local", image, "").await.unwrap();
        let manifest = files::directory(state, &ids[0]).join(files::MANIFEST);
        std::fs::write(&manifest, "[]").unwrap();
        let none = Retention { age: None, room: Some(0) };
        let now = chrono::Utc::now().timestamp_millis();
        assert_eq!(take_away(&history, state, none, now).await.unwrap().builds, 2);
        assert!(manifest.exists() && !manifest.with_file_name(files::BUILD_LOG).exists());
        assert_eq!(take_away(&history, state, none, now).await.unwrap().builds, 0, "it is said once");
        assert_eq!(there(state, &ids), [true, false, true]);
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
