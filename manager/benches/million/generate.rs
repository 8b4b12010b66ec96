//! A history of many builds as a version of long ago would have left it, written into the tables directly, without
//! waiting for a million builds.
//!
//! Its schema is that of the oldest histories that are still opened (`tests/pipeline/histories`), so that each program
//! that is measured brings it to its own schema first, as it would an old installation's.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Transaction, params};

use super::made_up::{id_of, mixed};

/// How many schedules share the builds.
pub(crate) const SCHEDULES: u64 = 200;
/// Over this many days.
pub(crate) const DAYS: u64 = 3 * 365;
/// Packages in an image.
const PACKAGES: u64 = 400;
/// Builds in one transaction.
const BATCH: u64 = 50_000;

/// The schema, migration by migration.
const MIGRATIONS: [&str; 13] = [
    include_str!("../../src/history/migrations/0001_builds.sql"),
    include_str!("../../src/history/migrations/0002_retries.sql"),
    include_str!("../../src/history/migrations/0003_day_sums.sql"),
    include_str!("../../src/history/migrations/0004_trails.sql"),
    include_str!("../../src/history/migrations/0005_outbox.sql"),
    include_str!("../../src/history/migrations/0006_room.sql"),
    include_str!("../../src/history/migrations/0007_week_sums.sql"),
    include_str!("../../src/history/migrations/0008_unseen.sql"),
    include_str!("../../src/history/migrations/0009_claims.sql"),
    include_str!("../../src/history/migrations/0010_definition.sql"),
    include_str!("../../src/history/migrations/0011_operators.sql"),
    include_str!("../../src/history/migrations/0012_definition_parts.sql"),
    include_str!("../../src/history/migrations/0013_warnings.sql"),
];
/// Its version.
pub(crate) const SCHEMA: usize = MIGRATIONS.len();

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

/// The name of a schedule.
pub(crate) fn schedule(number: u64) -> String {
    format!("schedule-{:03}", number % SCHEDULES)
}

/// The public name of its images.
pub(crate) fn public_name(number: u64) -> String {
    format!("image-{:03}", number % SCHEDULES)
}

/// Makes the history, unless an earlier run has left it.
pub(crate) fn history(database: &Path, builds: u64) {
    let done = database.with_extension(format!("{builds}.done"));
    // One of yesterday has no builds of today any more.
    let day = Duration::from_hours(24);
    let age = done.metadata().ok().and_then(|file| file.modified().ok()?.elapsed().ok());
    if age.is_some_and(|age| age < day) && database.exists() {
        return;
    }
    remove(database);
    let mut connection = Connection::open(database).unwrap();
    let quick = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -400000;";
    connection.execute_batch(quick).unwrap();
    for migration in MIGRATIONS {
        connection.execute_batch(migration).unwrap();
    }
    connection.pragma_update(None, "user_version", i64::try_from(SCHEMA).unwrap()).unwrap();
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
    drop(connection);
    std::fs::write(done, "").unwrap();
}

/// Removes a database with what SQLite keeps beside it.
pub(crate) fn remove(database: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        // Not there is as good.
        let _ = std::fs::remove_file(name);
    }
}

/// After the migration: of each name all but the newest images are gone, as `publish.keep` has it.
pub(crate) fn prune(database: &Path) {
    let connection = Connection::open(database).unwrap();
    // Whoever has brought it to its schema may take a moment to close it.
    connection.busy_timeout(Duration::from_secs(30)).unwrap();
    connection.execute_batch("PRAGMA synchronous = OFF;").unwrap();
    let gone = "UPDATE publication SET state = 'removed', location = '' WHERE state = 'previous' AND id NOT IN (
        SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY name, cloud ORDER BY build_id DESC) AS place
            FROM publication) WHERE place <= 3)";
    connection.execute(gone, []).unwrap();
}

/// Gives one history the sums of days and weeks of another one of the same builds: another program may not be asked for
/// them.
pub(crate) fn copy_sums(from: &Path, to: &Path) {
    let connection = Connection::open(to).unwrap();
    connection.busy_timeout(Duration::from_secs(30)).unwrap();
    connection.execute("ATTACH ?1 AS other", [from.to_str().unwrap()]).unwrap();
    for (table, column) in [("day_sum", "day"), ("week_sum", "week")] {
        let columns = format!(
            "schedule, {column}, builds, passed, failed, errored, cancelled, flaky, first_failed_at, last_failed_at,
             last_passed_at, distributions, format"
        );
        let copy = format!(
            "DELETE FROM main.{table}; INSERT INTO main.{table} ({columns}) SELECT {columns} FROM other.{table};"
        );
        connection.execute_batch(&copy).unwrap();
    }
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

/// What is made up of a build.
struct Made {
    id: String,
    schedule: String,
    passed: bool,
    /// Beginning and end of each stage.
    times: Vec<(&'static str, u64, u64)>,
    /// What the image is called.
    image: String,
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
    let passed = reason.is_none();
    // The name of the build's own until it is published.
    let image = if passed { public_name(number) } else { format!("image-manager-{id}") };
    let made = Made { schedule: schedule(number), passed, times, image, id };
    let attached = made.times[2].2;
    let size = 204_000_000 + number * 10 + random % 4_000_000;
    let evidence =
        reason.map(|_| "last lines of the console:\n[   12.3] systemd[1]: Reached target\n".repeat(20));
    let failed_in = reason.map(|_| "verifying");
    let message = reason
        .map(|reason| format!("{reason}: a sentence for people that says what happened and what to do"));
    tx.prepare_cached(
        "INSERT INTO build (id, schedule, cloud, state, verdict, trigger, created_at, started_at, finished_at,
            image_id, image_name, image_sha512, image_size, image_virtual_size, server_id, server_name, server_flavor,
            agent_version, agent_boot_id, agent_attached_at, removal_complete,
            failure_reason, failure_stage, failure_message, failure_evidence, requested_by)
         VALUES (?1, ?2, 'local', ?3, ?4, 'cron', ?5, ?6, ?7, ?8, ?9, ?10, ?11, 4294967296, ?8, ?12,
            '1 GiB, 1 CPU, 4 GiB', '0.1.0', ?8, ?13, 1, ?14, ?15, ?16, ?17, 'cron')",
    )
    .unwrap()
    .execute(params![
        made.id,
        made.schedule,
        state,
        verdict,
        stored(created),
        stored(created + 40),
        stored(at),
        format!("{random:016x}"),
        made.image,
        format!("{random:0128x}"),
        stored(size),
        format!("image-manager-{}", made.id),
        stored(attached),
        reason,
        failed_in,
        message,
        evidence,
    ])
    .unwrap();
    insert_parts(tx, &made);
    insert_audit(tx, &made, created, at);
}

fn insert_parts(tx: &Transaction<'_>, made: &Made) {
    let Made { id, passed, times, .. } = made;
    let mut stages = tx
        .prepare_cached(
            "INSERT INTO stage (build_id, position, name, state, started_at, finished_at, detail)
             VALUES (?1, ?2, ?3, 'done', ?4, ?5, 'one line for people about how it went')",
        )
        .unwrap();
    for (position, (name, began, ended)) in (0_i64..).zip(times) {
        stages.execute(params![id, position, name, stored(*began), stored(*ended)]).unwrap();
    }
    let mut checks = tx
        .prepare_cached(
            "INSERT INTO check_result (build_id, position, name, outcome, required, duration_ms, summary, observations)
             VALUES (?1, ?2, ?3, ?4, 1, 1234, 'one line for people', ?5)",
        )
        .unwrap();
    for (position, (name, observed)) in (0_i64..).zip(CHECKS) {
        let outcome = if *passed || position > 0 { "pass" } else { "fail" };
        checks.execute(params![id, position, name, outcome, observed]).unwrap();
    }
    let mut resources = tx
        .prepare_cached(
            "INSERT INTO resource (build_id, cloud, kind, name, external_id, state, created_at, updated_at)
             VALUES (?1, 'local', ?2, ?3, ?3, ?4, ?5, ?5)",
        )
        .unwrap();
    for kind in ["scratch", "image", "server"] {
        let state = if kind == "image" && *passed { "published" } else { "gone" };
        let name = format!("image-manager-{id}");
        resources.execute(params![id, kind, name, state, stored(times[0].1)]).unwrap();
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

/// What the audit trail has of it: that it was asked for, and that its image was given out.
fn insert_audit(tx: &Transaction<'_>, made: &Made, created: u64, ended: u64) {
    let mut rows = tx
        .prepare_cached(
            "INSERT INTO audit (at, principal, action, subject, build_id, detail) VALUES (?1, 'cron', ?2, ?3, ?4, ?5)",
        )
        .unwrap();
    let triggered = params![stored(created), "build.triggered", made.schedule, made.id, "cron"];
    rows.execute(triggered).unwrap();
    if made.passed {
        let published = params![stored(ended), "build.published", made.schedule, made.id, made.image];
        rows.execute(published).unwrap();
    }
}
