//! How fast the program answers over a history of a million builds: every verb that reads, every RPC, every
//! page, and how much memory the manager takes. `make bench` runs it; `BENCH_BUILDS` makes a smaller history.
//!
//! Each line is a figure and its ratio to its limit. It fails when a figure is over its limit.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement: a surprise ends it"
)]

mod generate;
mod made_up;
mod serving;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use generate::SCHEDULES;
use made_up::mixed;
use serving::Serving;

/// Within this time 99 of 100 answers must come.
const LIMIT: Duration = Duration::from_millis(100);
/// The manager's memory must stay below this.
const MEMORY: u64 = 100 << 20;

/// The measurements so far.
pub(crate) struct Table {
    exceeded: bool,
    most: usize,
}

impl Table {
    /// Measures something that is done again and again.
    pub(crate) fn measure(&mut self, what: &str, runs: usize, mut run: impl FnMut(usize)) {
        run(0);
        let mut times: Vec<Duration> = (0..runs)
            .map(|index| {
                let began = Instant::now();
                run(index);
                began.elapsed()
            })
            .collect();
        times.sort_unstable();
        let at = |percent: usize| times[(runs * percent).div_ceil(100) - 1].as_secs_f64() * 1000.0;
        self.line(
            what,
            &format!("p50 {:7.1} ms  p99 {:7.1} ms", at(50), at(99)),
            at(99) / (LIMIT.as_secs_f64() * 1000.0),
        );
    }

    /// A figure and its ratio to its limit.
    pub(crate) fn line(&mut self, what: &str, figure: &str, ratio: f64) {
        let mark = if ratio > 1.0 { "  OVER" } else { "" };
        println!("{what:<52} {figure:>34}  {ratio:6.3} of the limit{mark}");
        self.exceeded |= ratio > 1.0;
        self.most += 1;
    }
}

fn main() -> ExitCode {
    let builds: u64 = std::env::var("BENCH_BUILDS").ok().map_or(1_000_000, |count| count.parse().unwrap());
    let runs: usize = std::env::var("BENCH_RUNS").ok().map_or(100, |count| count.parse().unwrap());
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-history");
    let state = directory.join("state");
    std::fs::create_dir_all(&state).unwrap();
    let database = state.join("image-manager.db");
    let began = Instant::now();
    generate::history(&database, builds);
    let size = std::fs::metadata(&database).unwrap().len();
    println!(
        "{builds} builds of {SCHEDULES} schedules over {} days, {} MiB (made or found in {:.0} s)",
        generate::DAYS,
        size >> 20,
        began.elapsed().as_secs_f64()
    );
    println!("load {}", std::fs::read_to_string("/proc/loadavg").unwrap().trim());
    let schedules = (0..SCHEDULES).fold(String::new(), |text, number| {
        text + &format!("[schedule.{}]\nimage.elements = [\"x\"]\n", generate::schedule(number))
    });
    std::fs::write(directory.join("schedules.toml"), schedules).unwrap();

    let ids = ids(&database, 200);
    generate::files(&state, &ids);
    let mut table = Table { exceeded: false, most: 0 };
    commands(&mut table, &directory, &ids, runs);
    let serving = Serving::start(&directory);
    serving.rpcs(&mut table, &ids, runs * 2);
    serving.pages(&mut table, &ids, runs);
    let memory = serving.peak_memory();
    let figure = format!("peak {:7.1} MiB", memory as f64 / 1_048_576.0);
    table.line("memory of the manager", &figure, memory as f64 / MEMORY as f64);
    drop(serving);
    println!("load {}", std::fs::read_to_string("/proc/loadavg").unwrap().trim());
    if table.exceeded { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The program in the history's directory.
pub(crate) fn program(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_image-manager"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("IMAGE_MANAGER_")) {
        command.env_remove(name);
    }
    command.args(arguments).current_dir(directory).stdin(Stdio::null());
    command
}

/// The verbs that read, from the process's start to its end.
fn commands(table: &mut Table, directory: &Path, ids: &[String], runs: usize) {
    let fixed: [&[&str]; 15] = [
        &["--version"],
        &["--help"],
        &["completions", "bash"],
        &["check"],
        &["history"],
        &["history", "--schedule", "schedule-07"],
        &["history", "--state", "failed"],
        &["history", "--schedule", "schedule-07", "--state", "failed", "--format", "json"],
        &["history", "--since", "1h"],
        &["history", "--limit", "500", "--format", "csv"],
        &["show", "latest"],
        &["report"],
        &["report", "--schedule", "schedule-07", "--since", "365d"],
        &["report", "--since", "2000d"],
        &["report", "--since", "2000d", "--format", "html"],
    ];
    for arguments in fixed {
        table.measure(&format!("image-manager {}", arguments.join(" ")), runs, |_| run(directory, arguments));
    }
    table.measure("image-manager show BUILD --format json", runs, |index| {
        run(directory, &["show", &ids[index % ids.len()], "--format", "json"]);
    });
    table.measure("image-manager logs BUILD", runs, |index| {
        run(directory, &["logs", &ids[index % ids.len()]]);
    });
    table.measure("image-manager compare A B", runs, |index| {
        run(directory, &["compare", &ids[index % ids.len()], &ids[(index * 7 + 1) % ids.len()]]);
    });
}

fn run(directory: &Path, arguments: &[&str]) {
    let status = program(directory, arguments).stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{arguments:?}");
}

/// Ids of builds all over the history.
fn ids(database: &PathBuf, count: u64) -> Vec<String> {
    let connection = rusqlite::Connection::open(database).unwrap();
    let most: i64 = connection.query_row("SELECT max(rowid) FROM build", [], |row| row.get(0)).unwrap();
    let id = |number| {
        let row = i64::try_from(mixed(number) % most.unsigned_abs()).unwrap() + 1;
        connection.query_row("SELECT id FROM build WHERE rowid = ?1", [row], |row| row.get(0)).unwrap()
    };
    (0..count).map(id).collect()
}
