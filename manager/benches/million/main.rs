//! How fast the program answers over a history of a million builds: the verbs that read or ask, every RPC that does not
//! build, every page; how much memory and processor time the manager takes when nobody asks; and how long it takes to bring
//! a history of long ago to the present schema. `make bench` runs it.
//!
//! `BENCH_BUILDS` makes a smaller history, `BENCH_RUNS` says how often each thing is done. `BENCH_BASELINE` is the path of
//! another `image-manager`: it does the same, in turn with this one, and both are told. It must know the publications of
//! images (schema 16).
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
mod pages;
mod program;
mod rpcs;
mod serving;
mod table;
mod verbs;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use generate::SCHEDULES;
use program::Program;
use serving::{Idle, Serving};
use table::{Table, tell};

/// A history of long ago must be of the present schema within this time.
const MIGRATION: Duration = Duration::from_mins(1);
/// The resident memory of a manager that has answered and has nothing to do must stay below this.
const MEMORY: u64 = 20 << 20;
/// So much of a processor it may take.
const PROCESSOR: f64 = 0.001;
/// Pauses and resumptions, of each: more than 240 orders of one caller within a minute are refused.
const ORDERS: usize = 100;

fn main() -> ExitCode {
    let number =
        |name: &str, otherwise: u64| std::env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap());
    let (builds, runs) = (number("BENCH_BUILDS", 1_000_000), number("BENCH_RUNS", 100));
    let runs = usize::try_from(runs).unwrap();
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-history");
    let now = Program::new(PathBuf::from(env!("CARGO_BIN_EXE_image-manager")), place.join("now"));
    let before = std::env::var_os("BENCH_BASELINE")
        .map(|path| Program::new(PathBuf::from(path).canonicalize().unwrap(), place.join("before")));
    let mut table = Table::default();
    let old = place.join(format!("schema-{}.db", generate::SCHEMA));
    let began = Instant::now();
    generate::history(&old, builds);
    let size = old.metadata().unwrap().len() >> 20;
    println!(
        "{builds} builds of {SCHEDULES} schedules over {} days, {size} MiB (made or found in {:.0} s)",
        generate::DAYS,
        began.elapsed().as_secs_f64()
    );
    println!("load {}", std::fs::read_to_string("/proc/loadavg").unwrap().trim());
    migrate(&mut table, &now, before.as_ref(), &old);

    let ids = now.ids(200);
    for program in [Some(&now), before.as_ref()].into_iter().flatten() {
        generate::files(&program.state(), &ids);
    }
    let of_before = before.as_ref().map(|program| verbs::reading(program, &ids));
    table.measure_all(verbs::reading(&now, &ids), of_before, runs);
    serve(&mut table, (&now, before.as_ref()), &ids, runs);
    println!("load {}", std::fs::read_to_string("/proc/loadavg").unwrap().trim());
    for what in table.exceeded() {
        println!("over its limit: {what}");
    }
    if table.exceeded().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Both histories from the same old one.
fn migrate(table: &mut Table, now: &Program, before: Option<&Program>, old: &Path) {
    let took = now.migrate(old).as_secs_f64();
    let beside = before.map(|before| {
        let earlier = before.migrate_by_serving(old, &now.database()).as_secs_f64();
        format!("  before, until it serves: {earlier:.1} s, now {:.2} of it", took / earlier)
    });
    table.line(
        &format!("a history of schema {} is opened", generate::SCHEMA),
        &format!("{took:7.1} s"),
        took / MIGRATION.as_secs_f64(),
        &beside.unwrap_or_default(),
    );
}

/// What managers that serve answer, and what they take when nobody asks.
fn serve(table: &mut Table, (now, before): (&Program, Option<&Program>), ids: &[String], runs: usize) {
    let serving = Serving::start(now);
    let earlier = before.map(Serving::start);
    let earlier = earlier.as_ref();
    table.measure_all(verbs::asking(now), before.map(verbs::asking), runs);
    table.measure_all(rpcs::reading(&serving, ids), earlier.map(|it| rpcs::reading(it, ids)), runs * 2);
    table.measure_all(rpcs::orders(&serving), earlier.map(rpcs::orders), runs.min(ORDERS));
    table.measure_all(pages::all(&serving, ids), earlier.map(|it| pages::all(it, ids)), runs);
    // Both at once: they do not disturb each other.
    let (idle, beside) = Idle::of(&serving, earlier);
    let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
    let told = beside.as_ref().map(|other| {
        let ratio = idle.resident as f64 / other.resident as f64;
        format!("  before: {:.1} MiB, now {ratio:.2} of it", mib(other.resident))
    });
    let figure = format!("{:7.1} MiB", mib(idle.resident));
    let ratio = idle.resident as f64 / MEMORY as f64;
    table.line("idle manager: resident memory", &figure, ratio, &told.unwrap_or_default());
    tell("    of that its own, not a file's", &format!("{:7.1} MiB", mib(idle.anonymous)));
    tell("    most that it has had", &format!("{:7.1} MiB", mib(idle.peak)));
    let told = beside.as_ref().map(|other| format!("  before: {:.3} %", other.processor * 100.0));
    let figure = format!("{:7.3} %", idle.processor * 100.0);
    table.line(
        "idle manager: of a processor",
        &figure,
        idle.processor / PROCESSOR,
        &told.unwrap_or_default(),
    );
}
