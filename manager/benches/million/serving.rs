//! A manager that serves, and what it takes when nobody asks.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use image_manager_proto::v1::image_manager_client::ImageManagerClient;
use tokio::runtime::Runtime;
use tonic::transport::Channel;

use super::program::Program;

/// How long a manager may take until it serves: it brings its history to its schema first.
const START: Duration = Duration::from_mins(10);
/// After the last answer it comes to rest, for example the threads that answered end.
const SETTLE: Duration = Duration::from_secs(30);
/// Two minutes after its start it looks once for images that are gone. In a sample nearly all are, which takes seconds.
const FIRST_LOOK: Duration = Duration::from_secs(150);
/// So long it is watched. The kernel tells processor time in hundredths of a second.
const WATCH: Duration = Duration::from_mins(1);
/// Ticks of processor time in a second, on Linux for programs (`getconf CLK_TCK`).
const TICKS: f64 = 100.0;

/// A manager; it is ended when dropped.
pub(crate) struct Serving {
    child: Child,
    operator: String,
    runtime: Runtime,
    began: Instant,
    took: Duration,
}

impl Serving {
    /// Starts it and waits until it serves.
    pub(crate) fn start(program: &Program) -> Self {
        let log = fs::File::create(program.directory().join("serve.log")).unwrap();
        // The sample's logs are old: they must not be taken away under the measurement.
        let keep = ["--keep-logs", "forever"];
        let arguments =
            [&["serve", "--operator", "127.0.0.1:0", "--gateway", "127.0.0.1:0"], &keep[..]].concat();
        let began = Instant::now();
        let mut child = program.command(&arguments).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let shown = program.directory().join("serve.log");
        let operator = loop {
            let text = fs::read_to_string(program.state().join("manager.json")).unwrap_or_default();
            let holder: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
            if holder["pid"] == u64::from(child.id())
                && let Some(operator) = holder["operator"].as_str()
            {
                break operator.to_owned();
            }
            assert!(child.try_wait().unwrap().is_none(), "it ended: see {}", shown.display());
            assert!(began.elapsed() < START, "see {}", shown.display());
            std::thread::park_timeout(Duration::from_millis(20));
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { child, operator, runtime, began, took: began.elapsed() }
    }

    /// How long it took until it served.
    pub(crate) fn started_within(&self) -> Duration {
        self.took
    }

    /// `ip:port` of the operator port.
    pub(crate) fn operator(&self) -> &str {
        &self.operator
    }

    /// Runs what is asked of it.
    pub(crate) fn block_on<F: Future>(&self, asked: F) -> F::Output {
        self.runtime.block_on(asked)
    }

    /// A connection to it.
    pub(crate) fn client(&self) -> ImageManagerClient<Channel> {
        let address = format!("http://{}", self.operator);
        self.block_on(ImageManagerClient::connect(address)).unwrap()
    }

    /// What `/proc/PID/status` says, in bytes.
    fn memory(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Processor time up to now, in ticks: the fields `utime` and `stime` of `/proc/PID/stat` (proc_pid_stat(5)), which are
    /// the twelfth and thirteenth after the name.
    fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Ended already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a manager takes that has answered and has nothing to do.
pub(crate) struct Idle {
    /// Resident memory (VmRSS), in bytes: its own, and what of its program is in memory. The system's cache of the history's
    /// file is not part of it, SQLite's own caches are.
    pub(crate) resident: u64,
    /// Of that its own (RssAnon).
    pub(crate) anonymous: u64,
    /// The most that it has had (VmHWM).
    pub(crate) peak: u64,
    /// Part of one processor.
    pub(crate) processor: f64,
}

impl Idle {
    /// Of one manager and, where there is one, of another.
    pub(crate) fn of(now: &Serving, before: Option<&Serving>) -> (Self, Option<Self>) {
        pause(SETTLE.max(FIRST_LOOK.saturating_sub(now.began.elapsed())));
        let (from, earlier) = (now.ticks(), before.map(Serving::ticks));
        let began = Instant::now();
        pause(WATCH);
        let seconds = began.elapsed().as_secs_f64();
        let read = |serving: &Serving, from: u64| Self {
            resident: serving.memory("VmRSS"),
            anonymous: serving.memory("RssAnon"),
            peak: serving.memory("VmHWM"),
            processor: (serving.ticks() - from) as f64 / TICKS / seconds,
        };
        (read(now, from), before.zip(earlier).map(|(serving, from)| read(serving, from)))
    }
}

fn pause(length: Duration) {
    let until = Instant::now() + length;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}
