//! A history of many builds, written into the tables directly: as the program's writer would leave it, without
//! waiting for a million builds.

use std::path::Path;
use std::time::{Duration, Instant};

use image_manager::history::History;
use image_manager::stage::Stage;
use rusqlite::{Connection, Transaction, params};

use super::made_up::{id_of, mixed};

/// How many schedules share the builds.
pub(crate) const SCHEDULES: u64 = 20;
/// Over this many days.
pub(crate) const DAYS: u64 = 3 * 365;
/// Packages in an image.
const PACKAGES: u64 = 400;
/// Builds in one transaction.
const BATCH: u64 = 50_000;

const STAGES: [(&str, u64); 6] = [
    ("building", 74_000),
    ("uploading", 2_500),
    ("booting", 25_000),
    ("verifying", 6_000),
    ("publishing", 400),
    ("cleaning_up", 900),
];
const CHECKS: [(&str, &str); 4] = [
    ("disk", r#"{"free_bytes":1288490188,"free_inodes":201020,"root":"/dev/vda1","size_bytes":4294967296}"#),
    ("dns", r#"{"names":{"manager.internal":["10.0.2.2"]},"servers":["10.0.2.3"],"ms":12.5}"#),
    ("internet", r#"{"targets":[{"ms":41,"status":200,"url":"http://mirror.example/"}]}"#),
    ("cloud_init", r#"{"datasource":"ConfigDrive","errors":[],"status":"done","version":"25.1.4"}"#),
];

pub(crate) fn schedule(number: u64) -> String {
    format!("schedule-{:02}", number % SCHEDULES)
}

/// Makes the history, unless an earlier run has left it.
pub(crate) fn history(database: &Path, builds: u64) {
    let done = database.with_extension(format!("{builds}.done"));
    // One of yesterday has no builds of today any more.
    let day = Duration::from_hours(24);
    let age = done.metadata().ok().and_then(|file| file.modified().ok()?.elapsed().ok());
    if age.is_some_and(|age| age < day) {
        // Brings an older one up to date too.
        drop(History::open(database).unwrap());
        return;
    }
    for suffix in ["", "-wal", "-shm"] {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        // Not there is as good.
        let _ = std::fs::remove_file(name);
    }
    drop(History::open(database).unwrap());
    let mut connection = Connection::open(database).unwrap();
    // The writer of the history above may take a moment to close the file.
    let began = Instant::now();
    let quick = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -400000;";
    while let Err(error) = connection.execute_batch(quick) {
        assert!(began.elapsed() < Duration::from_secs(30), "{error}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
    let now = u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap();
    let span = DAYS * 86_400_000;
    for first in (0..builds).step_by(usize::try_from(BATCH).unwrap()) {
        let transaction = connection.transaction().unwrap();
        for number in first..(first + BATCH).min(builds) {
            // Each has ended before the next of its schedule began.
            insert(&transaction, number, now - span + number * span / builds - 200_000);
        }
        transaction.commit().unwrap();
    }
    connection.execute_batch("PRAGMA journal_mode = WAL;").unwrap();
    drop(connection);
    let history = History::open(database).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(history.refresh_day_sums()).unwrap();
    std::fs::write(done, "").unwrap();
}

/// The files of some builds: a log and a list of packages as long as a Debian's.
pub(crate) fn files(state: &Path, ids: &[String]) {
    for (number, id) in (0_u64..).zip(ids) {
        let directory = state.join("builds").join(id);
        std::fs::create_dir_all(&directory).unwrap();
        let log = "2026-11-25 03:00:12.345 | Setting up libsystemd0:amd64 (257.7-1) ...\n".repeat(4000);
        std::fs::write(directory.join("build.log"), log).unwrap();
        let packages: Vec<_> = (0..PACKAGES)
            .map(|package| {
                let version = 1 + u64::from(mixed(number ^ package).is_multiple_of(20));
                serde_json::json!({
                    "package": format!("package-{package}"),
                    "arch": "amd64",
                    "version": format!("1.{version}-1"),
                    "status": "ii ",
                })
            })
            .collect();
        let manifest = serde_json::json!({ "packages": packages });
        std::fs::write(directory.join("manifest.json"), manifest.to_string()).unwrap();
    }
}

/// As SQLite keeps it.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap()
}

fn insert(tx: &Transaction<'_>, number: u64, created: u64) {
    let random = mixed(number);
    let (state, verdict, reason) = match random % 100 {
        0..4 => ("failed", Some("failed"), Some("check_failed")),
        4..9 => ("errored", Some("errored"), Some("agent_silent")),
        9 => ("cancelled", None, Some("cancelled")),
        _ => ("succeeded", Some("passed"), None),
    };
    let id = id_of(created, random);
    let mut times = Vec::new();
    let mut at = created + 40;
    for (place, (name, typical)) in (0_u64..).zip(STAGES) {
        let took = typical * (70 + mixed(random ^ place) % 80) / 100;
        times.push((name, at, at + took));
        at += took;
    }
    let attached = times[2].2;
    let size = 204_000_000 + number * 10 + random % 4_000_000;
    let evidence =
        reason.map(|_| "last lines of the console:\n[   12.3] systemd[1]: Reached target\n".repeat(20));
    let failed_in = reason.map(|_| "verifying");
    let message = reason
        .map(|reason| format!("{reason}: a sentence for people that says what happened and what to do"));
    tx.prepare_cached(
        "INSERT INTO build (id, schedule, cloud, state, verdict, trigger, created_at, started_at, finished_at,
            failure_reason, failure_stage, failure_message, failure_evidence)
         VALUES (?1, ?2, 'local', ?3, ?4, 'cron', ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )
    .unwrap()
    .execute(params![
        id,
        schedule(number),
        state,
        verdict,
        stored(created),
        stored(created + 40),
        stored(at),
        reason,
        failed_in,
        message,
        evidence,
    ])
    .unwrap();
    tx.prepare_cached(
        "INSERT INTO trial (build_id, position, target, cloud, state, verdict, image_id, image_name, image_sha512,
            image_size, image_virtual_size, server_id, server_name, server_flavor, agent_version, agent_boot_id,
            agent_attached_at, removal_complete, failure_reason, failure_stage, failure_message, failure_evidence)
         VALUES (?1, 0, 'local', 'local', ?2, ?3, ?4, ?5, ?6, ?7, 4294967296, ?4, ?5, '1 GiB, 1 CPU, 4 GiB', '0.1.0',
            ?4, ?8, 1, ?9, ?10, ?11, ?12)",
    )
    .unwrap()
    .execute(params![
        id,
        state,
        verdict,
        format!("{random:016x}"),
        format!("image-manager-{id}"),
        format!("{random:0128x}"),
        stored(size),
        stored(attached),
        reason,
        failed_in,
        message,
        evidence,
    ])
    .unwrap();
    insert_parts(tx, &id, &times, reason.is_none());
}

fn insert_parts(tx: &Transaction<'_>, id: &str, times: &[(&str, u64, u64)], passed: bool) {
    let mut stages = tx
        .prepare_cached(
            "INSERT INTO stage (build_id, position, name, state, started_at, finished_at, detail, trial)
             VALUES (?1, ?2, ?3, 'done', ?4, ?5, 'one line for people about how it went', ?6)",
        )
        .unwrap();
    for (position, (name, began, ended)) in (0_i64..).zip(times) {
        let trial = Stage::parse(name).filter(|stage| stage.is_of_trial_alone()).map(|_| 0);
        stages.execute(params![id, position, name, stored(*began), stored(*ended), trial]).unwrap();
    }
    let mut checks = tx
        .prepare_cached(
            "INSERT INTO check_result (build_id, position, name, outcome, required, duration_ms, summary, observations)
             VALUES (?1, ?2, ?3, ?4, 1, 1234, 'one line for people', ?5)",
        )
        .unwrap();
    for (position, (name, observed)) in (0_i64..).zip(CHECKS) {
        let outcome = if passed || position > 0 { "pass" } else { "fail" };
        checks.execute(params![id, position, name, outcome, observed]).unwrap();
    }
    let mut resources = tx
        .prepare_cached(
            "INSERT INTO resource (build_id, cloud, kind, name, external_id, state, created_at, updated_at)
             VALUES (?1, 'local', ?2, ?3, ?3, 'gone', ?4, ?4)",
        )
        .unwrap();
    for kind in ["scratch", "image", "server"] {
        resources.execute(params![id, kind, format!("image-manager-{id}"), stored(times[0].1)]).unwrap();
    }
    let mut paths = tx
        .prepare_cached(
            "INSERT INTO removed_path (build_id, position, path, fate) VALUES (?1, ?2, ?3, 'removed')",
        )
        .unwrap();
    for (position, path) in (0_i64..).zip(["/usr/local/sbin/image-manager-agent", "/etc/image-manager"]) {
        paths.execute(params![id, position, path]).unwrap();
    }
}
