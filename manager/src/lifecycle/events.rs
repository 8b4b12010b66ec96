//! What happens to builds, told to whoever watches. Watchers only read; a slow one loses events, not the
//! build its pace.

use image_manager_proto::v1::{self, build_event};
use tokio::sync::broadcast;

use crate::clock;

/// Events that a slow watcher may lag behind before it loses some.
const BACKLOG: usize = 4096;
/// Longest log line that is told, in bytes.
const LINE_LIMIT: usize = 4096;

/// An event and the build it happened to.
#[derive(Debug, Clone)]
pub struct Told {
    /// The build's id.
    pub build_id: String,
    /// What happened.
    pub event: v1::BuildEvent,
}

/// Tells events; cheap to clone.
#[derive(Debug, Clone)]
pub struct Bus {
    sender: broadcast::Sender<Told>,
}

impl Default for Bus {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(BACKLOG) }
    }
}

impl Bus {
    /// Hears all events from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Told> {
        self.sender.subscribe()
    }

    /// Tells what happened to a build.
    pub fn tell(&self, build_id: &str, kind: build_event::Kind) {
        self.tell_of(build_id, "", kind);
    }

    /// Tells that a check has ended; `target` is empty where the build has one trial.
    pub fn check(&self, build_id: &str, target: &str, check: v1::Check) {
        self.tell_of(build_id, target, build_event::Kind::Check(check));
    }

    fn tell_of(&self, build_id: &str, target: &str, kind: build_event::Kind) {
        let time = Some(clock::timestamp_of(clock::now()));
        let event = v1::BuildEvent { time, target: target.to_owned(), kind: Some(kind) };
        // No watcher is no error.
        let _ = self.sender.send(Told { build_id: build_id.to_owned(), event });
    }

    /// Tells a line of a log; `target` is empty where the build has one trial.
    pub fn log(&self, build_id: &str, target: &str, source: v1::LogSource, line: &str) {
        let mut end = line.len().min(LINE_LIMIT);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        let line = line.get(..end).unwrap_or_default().to_owned();
        let target = target.to_owned();
        self.tell(build_id, build_event::Kind::Log(v1::LogLine { source: source.into(), line, target }));
    }

    /// Tells how far a stage has come.
    pub fn progress(&self, build_id: &str, target: &str, stage: &str, fraction: f64, detail: &str) {
        self.tell(
            build_id,
            build_event::Kind::Progress(v1::Progress {
                stage: stage.to_owned(),
                fraction,
                detail: detail.to_owned(),
                target: target.to_owned(),
            }),
        );
    }
}
