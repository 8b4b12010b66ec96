//! What the pages look like after some months with two hundred schedules: written into the tables directly, as the manager
//! would leave it, for nobody waits for months of builds. Names have 63 letters, builds have ended in every way, and some
//! were tried on several targets.

use std::fs;
use std::path::Path;

use image_manager::history::History;
use rusqlite::{Connection, Transaction, params};
use serde_json::json;

use super::Place;
use super::made_up::{id_of, mixed};

/// Schedules, the ones below among them.
const SCHEDULES: u64 = 200;
/// The schedule whose builds have all their parts.
pub(crate) const FULL: &str = "debian-12-arm64-with-all-that-a-schedule-can-say-of-itself-0063";
/// The schedule that is tried on several targets.
pub(crate) const SEVERAL: &str = "ubuntu-24-04-on-several-targets";
/// The one in the pictures of the documents; its newest build failed.
pub(crate) const PICTURED: &str = "fedora-41-amd64";
/// One whose builds are there, but that is not in the file any more.
pub(crate) const GONE: &str = "fedora-40-not-in-the-file-any-more";
/// One that was never built.
pub(crate) const NEVER: &str = "rocky-9-never-built";

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const STAGES: [(&str, u64); 6] = [
    ("building", 410_000),
    ("uploading", 12_500),
    ("booting", 41_000),
    ("verifying", 16_000),
    ("publishing", 1400),
    ("cleaning_up", 2900),
];
const CHECKS: [(&str, &str); 4] = [
    ("disk", r#"{"free_bytes":325058560,"free_inodes":201020,"root":"/dev/vda1","size_bytes":4294967296}"#),
    (
        "dns",
        r#"{"names":{"a-name-server-with-a-rather-long-name.internal.example":["10.0.2.2"]},"servers":["10.0.2.3"]}"#,
    ),
    (
        "internet",
        r#"{"targets":[{"ms":41,"status":200,"url":"https://mirror.example/a/path/that/is/long/and/has/no/place/to/break"}]}"#,
    ),
    ("cloud_init", r#"{"datasource":"ConfigDrive","errors":[],"status":"done","version":"25.1.4"}"#),
];

/// How a build ended: state, verdict, reason, stage, message.
type End = (&'static str, Option<&'static str>, Option<[&'static str; 3]>);
/// Where a build was tried, by target and cloud, and how that ended.
type Tried = ((String, &'static str), End);
const PASSED: End = ("succeeded", Some("passed"), None);
const FAILED: End = (
    "failed",
    Some("failed"),
    Some([
        "check_failed",
        "verifying",
        "the required check disk failed: 310 MiB of 500 MiB are free on /dev/vda1",
    ]),
);
const NOT_BUILT: End = (
    "failed",
    Some("failed"),
    Some([
        "dib_hook_failed",
        "building",
        "install.d/50-packages of the element debian-minimal ended with exit code 100",
    ]),
);
const SILENT: End =
    ("errored", Some("errored"), Some(["agent_silent", "booting", "no agent attached within 5m"]));
const CANCELLED: End = ("cancelled", None, Some(["cancelled", "building", "cancelled on request"]));
const SKIPPED: End = ("skipped", None, None);

/// The ids of the builds that the pages are about.
pub(crate) struct Ids {
    /// One for each way to end, with all parts: word and id.
    pub(crate) ended: Vec<(&'static str, String)>,
    /// The one of several targets.
    pub(crate) several: String,
}

/// The file with all schedules; the first two are built by the stand-in, and take long.
pub(crate) fn schedules() -> String {
    let busy = ["alma-9-is-being-built-now", "centos-9-waits-in-the-queue"].map(|name| {
        let slow = "image.environment = { TINY_BUILD_SECONDS = \"900\" }\ntimeouts.build = \"1h\"\ntimeouts.total = \"2h\"";
        super::harness::tiny_schedule(name, slow)
    });
    let rest = (0..SCHEDULES - 2).map(|number| {
        let zone = if number % 3 == 0 { "timezone = \"Europe/Berlin\"\n" } else { "" };
        let cron = if number % 11 == 5 { String::new() } else { format!("cron = \"{} {} {} 1 *\"\n", number % 60, number % 24, number % 28 + 1) };
        let targets = if name(number) == SEVERAL {
            targets().iter().map(|(target, cloud)| format!("[[schedule.{SEVERAL}.targets]]\nname = \"{target}\"\ncloud = \"{cloud}\"\n")).collect::<Vec<_>>().concat()
        } else {
            String::new()
        };
        format!(
            "[schedule.{}]\n{cron}{zone}image.elements = [\"{}-minimal\", \"vm\", \"agent-install\"]\npublish.name = \"{}\"\n{targets}",
            name(number),
            distribution(number),
            name(number)
        )
    });
    busy.into_iter().chain(rest).collect()
}

fn distribution(number: u64) -> &'static str {
    ["debian", "ubuntu", "fedora", "rocky", "opensuse"][usize::try_from(number % 5).unwrap()]
}

fn name(number: u64) -> String {
    match number {
        0 => FULL.to_owned(),
        1 => SEVERAL.to_owned(),
        2 => PICTURED.to_owned(),
        3 => NEVER.to_owned(),
        _ if number.is_multiple_of(4) => {
            let name = format!(
                "{}-with-as-many-letters-as-a-label-of-dns-can-have-and-no-more-00-{number:03}",
                distribution(number)
            );
            name[..59].to_owned() + &format!("-{number:03}")
        }
        _ => format!(
            "{}-{}-{number:03}",
            distribution(number),
            ["amd64", "arm64"][usize::try_from(number % 2).unwrap()]
        ),
    }
}

/// Where the builds of `SEVERAL` are tried: target and cloud.
fn targets() -> [(String, &'static str); 3] {
    [
        ("small".to_owned(), "local"),
        ("tight-flavor".to_owned(), "local"),
        ("region-".to_owned() + &"x".repeat(50), "local"),
    ]
}

/// Writes the history of all schedules, and the logs of those builds that pages show.
pub(crate) fn write(place: &Place) -> Ids {
    let state = place.state();
    fs::create_dir_all(&state).unwrap();
    let database = state.join("image-manager.db");
    drop(History::open(&database).unwrap());
    let mut connection = Connection::open(&database).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    let (ended, pictured, several) = fill(&mut connection);
    connection.close().unwrap();
    let history = History::open(&database).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(history.refresh_day_sums()).unwrap();
    for id in ended.iter().map(|(_, id)| id).chain([&pictured]) {
        logs(&state.join("builds").join(id), "");
    }
    logs(&state.join("builds").join(&several), "");
    for (target, _) in targets() {
        logs(&image_manager::lifecycle::files::of_trial(&state, &several, &target, false), &target);
    }
    Ids { ended, several }
}

/// Writes all builds; returns the ended ones, the one that is pictured, and the one of several targets.
fn fill(connection: &mut Connection) -> (Vec<(&'static str, String)>, String, String) {
    let transaction = connection.transaction().unwrap();
    let now = u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap();
    let mut writer = Writer { transaction, count: 0 };
    for number in 0..SCHEDULES - 2 {
        many(&mut writer, number, now);
    }
    writer.build(GONE, now - 9 * DAY, PASSED, &[]);
    let older = writer.build(FULL, now - 20 * HOUR, PASSED, &[]);
    let ended = [
        ("succeeded", PASSED),
        ("check-failed", FAILED),
        ("build-failed", NOT_BUILT),
        ("errored", SILENT),
        ("cancelled", CANCELLED),
        ("skipped", SKIPPED),
    ];
    let ended: Vec<_> = (0..)
        .zip(ended)
        .map(|(place, (word, end))| (word, writer.build(FULL, now - (7 - place) * 2 * HOUR, end, &[])))
        .collect();
    let pictured = writer.build(PICTURED, now - 5 * HOUR, FAILED, &[]);
    writer.publications(now, [&ended[0].1, &older]);
    let ends = targets().into_iter().zip([PASSED, FAILED, SILENT]).collect::<Vec<_>>();
    let several = writer.build(SEVERAL, now - 2 * HOUR, FAILED, &ends);
    writer.transaction.commit().unwrap();
    (ended, pictured, several)
}

/// The builds before the newest ones of a schedule.
fn many(writer: &mut Writer<'_>, number: u64, now: u64) {
    let name = name(number);
    if name == NEVER {
        return;
    }
    let builds = if name == FULL || name == PICTURED { 84 } else { 20 };
    for age in (1..=builds).rev() {
        let bad = age == 1 && number % 9 == 7;
        let end = match (bad, mixed(number * 1000 + age) % 40) {
            (true, _) if number.is_multiple_of(2) => FAILED,
            (true, _) | (_, 0 | 1) => SILENT,
            (_, 2) => NOT_BUILT,
            (_, 3) => CANCELLED,
            _ => PASSED,
        };
        writer.build(&name, now - age * DAY - (number % 24) * HOUR, end, &[]);
    }
    if number % 23 == 6 {
        let paused = "INSERT INTO schedule_state (schedule, cron, since, paused, pause_reason, paused_at, failures, paused_by)
            VALUES (?1, '', 0, 1, 'paused on request', ?2, 0, 'token a-token-of-the-night-shift')";
        writer.transaction.execute(paused, params![name, stored(now - 3 * DAY)]).unwrap();
    }
}

struct Writer<'a> {
    transaction: Transaction<'a>,
    count: u64,
}

impl Writer<'_> {
    /// A build that ended, with its trials; returns its id. Without `targets` it has one, which ended as the build did.
    fn build(&mut self, schedule: &str, created: u64, end: End, targets: &[Tried]) -> String {
        self.count += 1;
        let id = id_of(created, mixed(self.count));
        let (state, verdict, failure) = end;
        let mut at = created + 400;
        let mut times = Vec::new();
        for (place, (stage, typical)) in (0..).zip(STAGES) {
            let took = typical * (80 + mixed(self.count * 7 + place) % 50) / 100;
            times.push((stage, at, at + took));
            at += took;
            if failure.is_some_and(|[_, failed, _]| failed == stage) || end == SKIPPED {
                break;
            }
        }
        let [reason, stage, message] = failure.map_or([None; 3], |failure| failure.map(Some));
        let evidence = reason.map(|_| EVIDENCE);
        self.transaction.execute(
            "INSERT INTO build (id, schedule, cloud, state, verdict, trigger, created_at, started_at, finished_at,
                failure_reason, failure_stage, failure_message, failure_evidence, requested_by)
             VALUES (?1, ?2, 'local', ?3, ?4, 'cron', ?5, ?6, ?7, ?8, ?9, ?10, ?11, 'manager')",
            params![id, schedule, state, verdict, stored(created), stored(created + 400), stored(at), reason, stage, message, evidence],
        ).unwrap();
        let whole: [Tried; 1] = [(("local".to_owned(), "local"), end)];
        let mut position = 0;
        for (trial, ((target, cloud), end)) in
            (0_i64..).zip(if targets.is_empty() { &whole[..] } else { targets })
        {
            self.trial(&id, trial, (target.as_str(), *cloud), *end, at);
            for (stage, began, ended) in
                times.iter().filter(|(stage, _, _)| trial == 0 || !["building", "publishing"].contains(stage))
            {
                let of_trial = !["building", "publishing"].contains(stage);
                let failed = end.2.is_some_and(|[_, failed, _]| failed == *stage);
                let word = if failed { "failed" } else { "done" };
                let detail = if *stage == "building" { "412 packages, 191 MiB" } else { "" };
                self.transaction.execute(
                    "INSERT INTO stage (build_id, position, name, state, started_at, finished_at, detail, trial)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                    params![id, position, stage, word, stored(*began), stored(*ended), detail, of_trial.then_some(trial)],
                ).unwrap();
                position += 1;
            }
        }
        id
    }

    fn trial(
        &self,
        id: &str,
        trial: i64,
        (target, cloud): (&str, &str),
        (state, verdict, failure): End,
        at: u64,
    ) {
        let [reason, stage, message] = failure.map_or([None; 3], |failure| failure.map(Some));
        let made = failure.is_none_or(|[_, stage, _]| stage != "building") && state != "skipped";
        let attached = made && reason != Some("agent_silent");
        let state = if made { state } else { "skipped" };
        let size = 190_000_000 + mixed(at) % 9_000_000;
        self.transaction.execute(
            "INSERT INTO trial (build_id, position, target, cloud, state, verdict, failure_reason, failure_stage, failure_message,
                failure_evidence, image_id, image_name, image_sha512, image_size, image_virtual_size, server_id, server_name,
                server_flavor, agent_version, agent_boot_id, agent_attached_at, removal_complete)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, 4294967296, ?11, ?12, '1 GiB, 1 CPU, 4 GiB',
                '0.1.0', ?11, ?15, ?16)",
            params![
                id, trial, target, cloud, state, verdict, reason, stage, message, reason.map(|_| EVIDENCE),
                made.then(|| format!("{:016x}", mixed(at))), made.then(|| format!("image-manager-{id}")),
                made.then(|| format!("{:0128x}", mixed(at))), made.then_some(stored(size)),
                attached.then_some(stored(at - 20_000)), attached.then_some(1),
            ],
        ).unwrap();
        for (place, (check, observed)) in (0_i64..).zip(CHECKS.iter().filter(|_| attached)) {
            let outcome = if place == 0 && reason == Some("check_failed") { "fail" } else { "pass" };
            self.transaction.execute(
                "INSERT INTO check_result (build_id, position, name, outcome, required, duration_ms, summary, observations, trial)
                 VALUES (?1, ?2, ?3, ?4, ?5, 1234, '310 MiB of 500 MiB are free on /dev/vda1', ?6, ?7)",
                params![id, trial * 10 + place, check, outcome, i64::from(place != 2), observed, trial],
            ).unwrap();
        }
    }

    /// Images with names: current, older, revoked. The first two are those of these builds.
    fn publications(&self, now: u64, ids: [&str; 2]) {
        let states = ["current", "previous", "revoked", "removed"];
        for (number, state) in (0_u64..).zip(states.iter().cycle().take(24)) {
            let name = name(number / 4);
            let place = usize::try_from(number).unwrap();
            let build =
                ids.get(place).map_or_else(|| id_of(now - number * DAY, number), |id| (*id).to_owned());
            let (at, by, why) = if *state == "revoked" {
                (
                    Some(stored(now - DAY)),
                    "token night-shift",
                    "CVE-2026-12345 in the package openssl of this image",
                )
            } else {
                (None, "", "")
            };
            self.transaction.execute(
                "INSERT INTO publication (name, cloud, schedule, build_id, image_id, location, sha512, size_bytes, kind,
                    published_at, published_by, state, revoked_at, revoked_by, revoked_reason)
                 VALUES (?1, 'local', ?1, ?2, ?2, ?3, ?4, 200278016, 'published', ?5, 'manager', ?6, ?7, ?8, ?9)",
                params![
                    name, build, format!("/var/lib/image-manager/images/published/{name}.qcow2"), format!("{:0128x}", mixed(number)),
                    stored(now - number * DAY), state, at, by, why,
                ],
            ).unwrap();
        }
    }
}

/// What stands behind a failure.
const EVIDENCE: &str = "[   12.345678] systemd[1]: Reached target multi-user.target - Multi-User System.\n\
    E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing? https://mirror.example/debian/pool/main/l/linux-signed-amd64/linux-image-6.1.0-28-cloud-amd64_6.1.119-1_amd64.deb\n\
    disk: fail\nfree_bytes: 325058560";

fn logs(directory: &Path, target: &str) {
    fs::create_dir_all(directory).unwrap();
    let phases = ["root", "extra-data", "pre-install", "install"];
    let build = (0..200)
        .map(|n| {
            let at = format!("2026-11-25 03:{:02}:{:02}.345 |", n / 60, n % 60);
            let begins = phases.get(n / 50).filter(|_| n % 50 == 10);
            let begins =
                begins.map(|phase| format!("{at} dib-run-parts Running /tmp/hooks/{phase}.d/10-hook\n"));
            begins.unwrap_or_default() + &format!("{at} Setting up package-{n}:amd64 (257.7-{n}) ...\n")
        })
        .collect::<Vec<_>>()
        .concat();
    fs::write(
        directory.join("build.log"),
        build + "2026-11-25 03:04:00.345 | E: Unable to locate package nginxx\n",
    )
    .unwrap();
    // More than a page shows of a log, so that lines are missing in its first sections.
    let kernel =
        (0..900).map(|n| format!("[    0.{n:06}] {target} usbcore: registered new interface driver {n}\n"));
    let units = (0..120).map(|n| {
        format!("[{:5}.123456] {target} systemd[1]: Started unit-{n}.service - A unit with a name.\n", n + 1)
    });
    let console = "SeaBIOS (version 1.16.3)\n".to_owned()
        + &kernel.chain(units).collect::<Vec<_>>().concat()
        + "server login: \n";
    fs::write(directory.join("console.log"), console).unwrap();
    let said = ["attached", "report", "check_result", "removal", "goodbye"].map(|event| {
        json!({"event": event, "name": "disk", "time": "2026-11-25T03:00:07.100+00:00"}).to_string() + "\n"
    });
    fs::write(directory.join("agent.jsonl"), said.concat()).unwrap();
    let packages: Vec<_> = (0..60).map(|n| json!({"package": format!("package-{n}"), "arch": "amd64", "version": format!("1.{n}-1"), "status": "ii "})).collect();
    fs::write(directory.join("manifest.json"), json!({"packages": packages}).to_string()).unwrap();
}

/// As SQLite keeps it.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap()
}
