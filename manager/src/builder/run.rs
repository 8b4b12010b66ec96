//! One build, from its order to its image.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::command::Layout;
use super::contained::Contained;
use super::log_reader::LogReader;
use super::masking::Masks;
use super::output::{BuildLog, Lines, LogError, Tail};
use super::room::Watch;
use super::{Artifact, BuilderError, Event, Order, bases, command, containers, inputs, proxies};
use crate::reason::Reason;

mod ending;

/// What bounds a build besides its timeout.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How long it may say nothing.
    pub silence: Duration,
    /// How long DIB may take to clean up when it is asked to stop, before it is killed. Its own clean-up can
    /// take 33 seconds.
    pub grace: Duration,
    /// The most that is written to the log.
    pub log_bytes: u64,
    /// The free space below which a build ends. DIB does not notice a disk that fills while it copies the
    /// image: it reports success, and the files in the image are garbage.
    pub free_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            silence: Duration::from_mins(15),
            grace: Duration::from_secs(45),
            log_bytes: 256 << 20,
            free_bytes: 256 << 20,
        }
    }
}

/// How often the disk is looked at, and progress is told while nothing is said.
const TICK: Duration = Duration::from_millis(250);
/// How often DIB is asked again to stop: the first time may come before it can hear.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How long the kernel may take to end what was killed, and the output to come to its end when the build has.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// The least growth of progress that is told.
const STEP: f64 = 0.002;

/// Has disk-image-builder make an image.
///
/// `events` is called from within and must not block. When the returned future is dropped everything that it
/// started is killed. The scratch directory stays, after success with the image in it: it is [`super::clean`]
/// that takes it away, after an error too.
pub async fn run(
    order: &Order,
    cancel: CancellationToken,
    events: &(dyn Fn(Event) + Send + Sync),
) -> Result<Artifact, BuilderError> {
    run_within(order, &Limits::default(), cancel, events).await
}

/// The same as [`run`], within other limits.
pub async fn run_within(
    order: &Order,
    limits: &Limits,
    cancel: CancellationToken,
    events: &(dyn Fn(Event) + Send + Sync),
) -> Result<Artifact, BuilderError> {
    if cancel.is_cancelled() {
        return Err(BuilderError::new(Reason::Cancelled, "cancelled before it began".to_owned()));
    }
    command::check(order).await?;
    let layout = prepare(order)?;
    let log = BuildLog::open(&order.log, limits.log_bytes).await.map_err(|error| {
        BuilderError::new(
            Reason::BuildLog,
            format!("cannot write the build log {}: {error}", order.log.display()),
        )
    })?;
    let (contained, output) = Contained::start(order, &layout).map_err(|error| {
        BuilderError::new(Reason::DibFailed, format!("cannot start unshare (util-linux): {error}"))
    })?;

    let mut build = Build::new(order, limits, &layout, log, events);
    let ended = build.follow(contained, output, &cancel).await;
    let artifact = build.judge(ended, &layout, &cancel).await?;
    bases::keep(&order.bases, &layout, &order.build_id).await;
    build.tell_progress();
    Ok(artifact)
}

/// Makes the scratch directory. It must not be there: what lies in it would be another attempt's.
fn prepare(order: &Order) -> Result<Layout, BuilderError> {
    let failed = |path: &Path, error: &std::io::Error| {
        BuilderError::new(
            Reason::DibFailed,
            format!("cannot make the build's directory {}: {error}", path.display()),
        )
    };
    let absolute = std::path::absolute(&order.scratch).map_err(|error| failed(&order.scratch, &error))?;
    if let Some(parent) = absolute.parent() {
        std::fs::create_dir_all(parent).map_err(|error| failed(parent, &error))?;
    }
    let layout = Layout::of(&absolute);
    for directory in [&layout.root, &layout.temporary, &layout.home, &layout.output, &layout.containers] {
        let made = std::fs::DirBuilder::new().mode(0o700).create(directory);
        made.map_err(|error| failed(directory, &error))?;
    }
    if !order.inputs.files.is_empty() {
        inputs::write(&order.inputs.files, &layout.inputs).map_err(|error| failed(&layout.inputs, &error))?;
    }
    containers::prepare(&layout).map_err(|error| failed(&layout.containers, &error))?;
    bases::prepare(&order.bases, &layout).map_err(|error| failed(&order.bases, &error))?;
    std::fs::create_dir_all(&order.cache).map_err(|error| failed(&order.cache, &error))?;
    Ok(layout)
}

/// Why a build is ended from outside.
#[derive(Debug)]
enum Cause {
    Cancelled,
    Timeout,
    Silence,
    Log(LogError),
    Full(u64),
}

/// How far the end of a build has come.
#[derive(Debug)]
enum Stop {
    /// Nobody has asked for it.
    No,
    /// DIB was asked; killed when that time comes.
    Asked { kill_at: Instant, ask_at: Instant },
    /// Killed; given up when that time comes.
    Killed { give_up_at: Instant },
}

/// How it ended.
struct Ended {
    cause: Option<Cause>,
    /// None: it could not be waited for.
    status: Option<ExitStatus>,
    /// After so long.
    after: Duration,
}

/// A build while it runs.
struct Build<'a> {
    order: &'a Order,
    limits: &'a Limits,
    events: &'a (dyn Fn(Event) + Send + Sync),
    started: Instant,
    heard: Instant,
    layout: &'a Layout,
    room: Watch,
    log: BuildLog,
    lines: Lines,
    tail: Tail,
    reader: LogReader,
    shown: (f64, String),
    told_expanded: bool,
    cause: Option<Cause>,
    stop: Stop,
}

impl<'a> Build<'a> {
    fn new(
        order: &'a Order,
        limits: &'a Limits,
        layout: &'a Layout,
        log: BuildLog,
        events: &'a (dyn Fn(Event) + Send + Sync),
    ) -> Self {
        let now = Instant::now();
        let masks = Masks::with_whole(&order.inputs.secrets, &proxies::secrets(&order.environment));
        Self {
            order,
            limits,
            events,
            started: now,
            heard: now,
            layout,
            room: Watch::start(&layout.root),
            log,
            lines: Lines::masked(masks),
            tail: Tail::default(),
            reader: LogReader::new(&order.phase_weights).with_elements_path(&order.elements_path),
            shown: (-1.0, String::new()),
            told_expanded: false,
            cause: None,
            stop: Stop::No,
        }
    }

    /// Reads the output to its end and waits for the end of the process: whichever comes last.
    async fn follow(
        &mut self,
        mut contained: Contained,
        mut output: pipe::Receiver,
        cancel: &CancellationToken,
    ) -> Ended {
        let mut buffer = vec![0; 64 * 1024];
        let mut open = true;
        let mut status = None;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // When it has exited the output ends too, unless somebody outside holds the pipe.
        let mut last_words = None;
        while open || status.is_none() {
            let deadline = self.next_deadline(last_words);
            tokio::select! {
                read = output.read(&mut buffer), if open => match read {
                    Ok(0) | Err(_) => open = false,
                    Ok(length) => self.heard(buffer.get(..length).unwrap_or_default(), &contained).await,
                },
                exit = contained.wait(), if status.is_none() => {
                    status = Some(exit.ok());
                    last_words = Some(Instant::now() + LAST_WORDS);
                }
                () = cancel.cancelled(), if self.cause.is_none() => self.end(Cause::Cancelled, &contained),
                _ = ticks.tick() => self.tick(&contained),
                () = sleep_until(deadline) => {
                    if self.deadline_passed(&contained, last_words) {
                        break;
                    }
                }
            }
        }
        if let Some(rest) = self.lines.finish() {
            self.take(vec![rest], &contained).await;
        }
        Ended { cause: self.cause.take(), status: status.flatten(), after: self.started.elapsed() }
    }

    fn next_deadline(&self, last_words: Option<Instant>) -> Instant {
        let own = match self.stop {
            Stop::No => (self.started + self.order.timeout).min(self.heard + self.limits.silence),
            Stop::Asked { kill_at, ask_at } => kill_at.min(ask_at),
            Stop::Killed { give_up_at } => give_up_at,
        };
        last_words.map_or(own, |last| last.min(own))
    }

    /// Does what is due; says whether to wait no longer.
    fn deadline_passed(&mut self, contained: &Contained, last_words: Option<Instant>) -> bool {
        let now = Instant::now();
        if last_words.is_some_and(|last| now >= last) {
            return true;
        }
        match self.stop {
            Stop::No if now >= self.started + self.order.timeout => self.end(Cause::Timeout, contained),
            Stop::No if now >= self.heard + self.limits.silence => self.end(Cause::Silence, contained),
            Stop::Asked { kill_at, .. } if now >= kill_at => {
                contained.kill();
                self.stop = Stop::Killed { give_up_at: now + LAST_WORDS };
            }
            Stop::Asked { kill_at, ask_at } if now >= ask_at => {
                contained.ask_to_stop();
                self.stop = Stop::Asked { kill_at, ask_at: now + ASK_AGAIN };
            }
            Stop::No | Stop::Asked { .. } => {}
            Stop::Killed { give_up_at } => return now >= give_up_at,
        }
        false
    }

    /// Begins to end the build, for the first cause that asks for it.
    fn end(&mut self, cause: Cause, contained: &Contained) {
        if self.cause.is_some() {
            return;
        }
        tracing::info!(build = %self.order.build_id, ?cause, "stopping disk-image-builder");
        self.cause = Some(cause);
        contained.ask_to_stop();
        let now = Instant::now();
        self.stop = Stop::Asked { kill_at: now + self.limits.grace, ask_at: now + ASK_AGAIN };
    }

    async fn heard(&mut self, piece: &[u8], contained: &Contained) {
        self.heard = Instant::now();
        let lines = self.lines.push(piece);
        self.take(lines, contained).await;
    }

    async fn take(&mut self, lines: Vec<String>, contained: &Contained) {
        if let Err(error) = self.log.append(&lines).await {
            self.end(Cause::Log(error), contained);
        }
        let now = self.started.elapsed();
        for line in lines {
            self.reader.line(now, &line);
            self.tail.push(&line);
            if !self.told_expanded
                && let Some(expanded) = self.reader.expanded()
            {
                self.told_expanded = true;
                (self.events)(Event::Expanded(expanded.clone()));
            }
            (self.events)(Event::Line(line));
            // What ends the build with success is told when the image has been looked at.
            if !self.reader.succeeded() {
                self.tell_progress();
            }
        }
    }

    fn tick(&mut self, contained: &Contained) {
        match self.room.look(&self.layout.root) {
            Some(free) if free < self.limits.free_bytes => self.end(Cause::Full(free), contained),
            _ => {}
        }
        if !self.reader.succeeded() {
            self.tell_progress();
        }
    }

    fn tell_progress(&mut self) {
        let progress = self.reader.progress(self.started.elapsed());
        let doing = self.reader.doing();
        let (shown, text) = &self.shown;
        if progress - shown >= STEP || *text != doing || (progress >= 1.0 && *shown < 1.0) {
            self.shown = (progress, doing.clone());
            (self.events)(Event::Progress(progress, doing));
        }
    }
}
