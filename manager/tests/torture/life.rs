//! Days of scheduled builds in minutes, with kills, faults and a file that changes.
//!
//! The manager is the real one, with a clock that goes faster (`IMAGE_MANAGER_TEST_CLOCK`). Neither
//! disk-image-builder nor QEMU could make hundreds of builds in that time: `testbed/stand-ins` stand in for them. The
//! agent, the gateway, the containment of builds, the history and the local cloud are the real ones.
//!
//! `IMAGE_MANAGER_TEST_LIFE` says how many seconds it shall last (`make life`).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::process::{Child, Command};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, TimeDelta, Utc};
use nix::unistd::User;
use rusqlite::{Connection, OpenFlags};

use super::harness::{self, Place, repository, wait_for};
use super::points::Random;
use super::reloads::Reloads;

/// Seconds that it lasts in the suite; a day is as long.
const LASTS: u64 = 100;
const DAY: u64 = 86_400;
/// The schedules: name, minutes between two fire times.
const SCHEDULES: [(&str, u32); 6] =
    [("often", 20), ("half", 30), ("hour", 60), ("two", 120), ("six", 360), ("faulty", 60)];
/// One build in so many fails in disk-image-builder, of the schedule `faulty`.
const BUILD_FAULTS: u32 = 4;
/// One server in so many fails, of all of them.
const SERVER_FAULTS: u32 = 12;
/// A manager that has warmed up may grow by so many KiB until the end: caches and connections, nothing that a build
/// leaves behind. A build's log alone would be more over hundreds of builds.
const GROWTH: u64 = 24 << 10;
/// How often the file changes when there are no kills.
const CHANGES: Duration = Duration::from_secs(4);
/// What comes due is seen at the next beat, and a build is queued one after the other, by real time.
const LATE: Duration = Duration::from_secs(6);

/// The time that the managers live in.
struct Clock {
    start: u64,
    speed: u64,
}

impl Clock {
    fn at(&self, real: SystemTime) -> DateTime<Utc> {
        let real = real.duration_since(UNIX_EPOCH).unwrap();
        let passed =
            real.saturating_sub(Duration::from_secs(self.start)) * u32::try_from(self.speed).unwrap();
        let passed = TimeDelta::from_std(passed).unwrap();
        DateTime::from_timestamp(i64::try_from(self.start).unwrap(), 0).unwrap() + passed
    }

    fn now(&self) -> DateTime<Utc> {
        self.at(SystemTime::now())
    }

    fn stretched(&self, real: Duration) -> TimeDelta {
        TimeDelta::from_std(real * u32::try_from(self.speed).unwrap()).unwrap()
    }
}

/// A build as the history has it.
struct Build {
    schedule: String,
    state: String,
    verdict: String,
    reason: String,
    trigger: String,
    created: DateTime<Utc>,
    finished: Option<DateTime<Utc>>,
}

#[test]
fn a_day_of_schedules_with_kills_and_faults() {
    let lasts = std::env::var("IMAGE_MANAGER_TEST_LIFE").map_or(LASTS, |text| text.parse().unwrap());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let clock = Clock { start: now, speed: DAY / LASTS };
    let place = Place::new(&schedules());
    let programs = stand_ins(&place);
    let mut random = Random::new();
    let mut reloads = Reloads::of(schedules());

    // With kills: each manager lives for some seconds, and for some seconds there is none.
    let mut manager = serve(&place, &programs, &clock);
    wait_until_it_serves(&place, &mut manager);
    let (began, born) = (Instant::now(), clock.now());
    let mut downs = Vec::new();
    while began.elapsed() < Duration::from_secs(lasts * 6 / 10) {
        pause(Duration::from_millis(2000 + random.milliseconds(4500)));
        reloads.change(&place, &manager);
        pause(Duration::from_millis(2000 + random.milliseconds(4500)));
        reloads.mend(&place);
        assert!(manager.try_wait().unwrap().is_none(), "it ended by itself:\n{}", place.serve_log());
        let down = clock.now();
        kill(manager);
        for _ in 0..random.below(3) {
            // One that is killed while it starts.
            pause(Duration::from_millis(random.milliseconds(1500)));
            let starting = serve(&place, &programs, &clock);
            pause(Duration::from_millis(random.milliseconds(1500)));
            kill(starting);
        }
        manager = serve(&place, &programs, &clock);
        wait_until_it_serves(&place, &mut manager);
        downs.push((down, clock.now()));
    }
    // Without: what it needs of memory once it has warmed up it must not need more of later.
    let (warm, last) = (Duration::from_secs(lasts / 8), Duration::from_secs(lasts * 4 / 10));
    let lives = Instant::now();
    pause(warm);
    let memory = resident(&manager);
    while lives.elapsed() < last {
        reloads.change(&place, &manager);
        pause(CHANGES.min(last.saturating_sub(lives.elapsed())));
    }
    let later = resident(&manager);
    let end = clock.now();
    fs::write(programs.join("faults"), "0").unwrap();
    assert!(Command::new("kill").arg(manager.id().to_string()).status().unwrap().success());
    let status = wait_for("the manager to end", Duration::from_mins(5), || manager.try_wait().unwrap());
    assert!(status.success(), "{status}\n{}", place.serve_log());
    let told = place.serve_log();
    go_on_with_what_waits(&place, &programs, &clock);

    Reloads::assert_told(&told);
    let builds = builds(&place);
    eprintln!("{}", summary(&builds, downs.len(), memory, later));
    let mut wrong = place.leaks();
    wrong.extend(disagreements(&builds, &clock, &downs, (born, end)));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(later <= memory + GROWTH, "{memory} KiB after it had warmed up, {later} KiB at the end");
    assert!(builds.iter().any(|build| build.reason == "interrupted"), "no kill hit a build");
    // The faults that are planned have other reasons: this one is a fault of the manager's.
    assert!(builds.iter().all(|build| build.reason != "state"), "a build could not use the state directory");
    assert!(builds.len() > usize::try_from(lasts / 4).unwrap(), "only {} builds", builds.len());
}

/// What of the history cannot be, a line each.
fn disagreements(
    builds: &[Build],
    clock: &Clock,
    downs: &[(DateTime<Utc>, DateTime<Utc>)],
    span: (DateTime<Utc>, DateTime<Utc>),
) -> Vec<String> {
    let mut wrong = Vec::new();
    // What waits in the queue when a manager ends waits on for the next one.
    for build in builds.iter().filter(|build| build.state != "queued") {
        if build.finished.is_none() {
            wrong.push(format!("unfinished: {}", build.state));
        }
        if build.verdict.is_empty() {
            wrong.push(format!("no verdict: {}", build.state));
        }
    }
    for (schedule, minutes) in SCHEDULES {
        let of_it: Vec<&Build> = builds.iter().filter(|build| build.schedule == schedule).collect();
        let times = Times { clock, downs, fires: fires(minutes, span) };
        let found = times.doubled(&of_it).into_iter().chain(times.missed(&of_it));
        wrong.extend(found.map(|text| format!("{schedule}: {text}")));
    }
    wrong
}

fn schedules() -> String {
    let of = |(name, minutes): &(&str, u32)| {
        let cron = if *minutes < 60 {
            format!("*/{minutes} * * * *")
        } else {
            format!("0 */{} * * *", minutes / 60)
        };
        let faults = if *name == "faulty" { BUILD_FAULTS } else { 0 };
        format!(
            "[schedule.{name}]\ncron = \"{cron}\"\nchecks = {{}}\ncontrol = false\nretry = 1\nretry_backoff = \"5m\"\npause_after = 0\n\
             publish = {{ name = \"{name}\", keep = 1 }}\n\
             image = {{ elements = [\"tiny\"], environment = {{ TINY_FAULTS = \"{faults}\" }} }}\n\
             server = {{ memory = \"128 MiB\", disk = \"256 MiB\" }}\n\
             timeouts = {{ build = \"1m\", upload = \"1m\", boot = \"20s\", verify = \"30s\", total = \"3m\" }}\n"
        )
    };
    SCHEDULES.iter().map(of).collect()
}

/// A directory with what stands in for the slow programs; it comes first on PATH. QEMU's user can reach it: the
/// place lets through who knows a name in it, and what is of the manager in there is closed by itself.
fn stand_ins(place: &Place) -> std::path::PathBuf {
    let programs = place.path().join("programs");
    fs::create_dir(&programs).unwrap();
    for (directory, mode) in [(place.path(), 0o711), (programs.as_path(), 0o755)] {
        fs::set_permissions(directory, fs::Permissions::from_mode(mode)).unwrap();
    }
    symlink(repository().join("testbed/stand-ins/disk-image-create"), programs.join("disk-image-create"))
        .unwrap();
    // No link: a checkout may lie where only its owner can go.
    let qemu = "qemu-system-x86_64";
    fs::copy(repository().join("testbed/stand-ins").join(qemu), programs.join(qemu)).unwrap();
    let agent = programs.join("agent");
    fs::copy(harness::agent(), &agent).unwrap();
    let user = User::from_name("image-manager-qemu").unwrap().unwrap();
    chown(&agent, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    fs::write(programs.join("faults"), SERVER_FAULTS.to_string()).unwrap();
    programs
}

/// Starts a manager; does not wait until it serves.
fn serve(place: &Place, programs: &std::path::Path, clock: &Clock) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(place.path().join("serve.log")).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    place
        .command(&[
            "serve",
            "--operator",
            "127.0.0.1:0",
            "--gateway",
            "127.0.0.1:0",
            "--concurrent-builds",
            "3",
        ])
        .env("PATH", path)
        .env("IMAGE_MANAGER_DIB", programs.join("disk-image-create"))
        .env("IMAGE_MANAGER_TEST_CLOCK", format!("{}x{}", clock.start, clock.speed))
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// A manager that is told to stop leaves what waits to the next one: here to one for which nothing comes due.
fn go_on_with_what_waits(place: &Place, programs: &std::path::Path, clock: &Clock) {
    let schedules = schedules();
    let on_demand = schedules.lines().filter(|line| !line.starts_with("cron = "));
    fs::write(place.path().join("schedules.toml"), on_demand.collect::<Vec<_>>().join("\n")).unwrap();
    let mut manager = serve(place, programs, clock);
    wait_until_it_serves(place, &mut manager);
    wait_for("what waited", Duration::from_mins(5), || {
        builds(place).iter().all(|build| build.finished.is_some()).then_some(())
    });
    assert!(Command::new("kill").arg(manager.id().to_string()).status().unwrap().success());
    let status = wait_for("the last manager to end", Duration::from_mins(5), || manager.try_wait().unwrap());
    assert!(status.success(), "{status}\n{}", place.serve_log());
}

fn wait_until_it_serves(place: &Place, manager: &mut Child) {
    let file = place.state().join("manager.json");
    wait_for("the manager to serve", Duration::from_mins(2), || {
        assert!(manager.try_wait().unwrap().is_none(), "it ended:\n{}", place.serve_log());
        let holder: serde_json::Value = serde_json::from_str(&fs::read_to_string(&file).ok()?).ok()?;
        (holder["pid"] == u64::from(manager.id())).then_some(())
    });
}

fn kill(mut manager: Child) {
    manager.kill().unwrap();
    manager.wait().unwrap();
}

fn pause(length: Duration) {
    #[expect(clippy::disallowed_methods, reason = "time goes by: that is the test")]
    std::thread::sleep(length);
}

/// KiB of memory that a process has.
fn resident(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn builds(place: &Place) -> Vec<Build> {
    let path = place.state().join("image-manager.db");
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut rows = connection
        .prepare(
            "SELECT schedule, state, coalesce(verdict, ''), coalesce(failure_reason, ''), trigger, created_at,
             finished_at FROM build ORDER BY created_at",
        )
        .unwrap();
    let time = |ms: i64| DateTime::from_timestamp_millis(ms).unwrap();
    rows.query_map([], |row| {
        Ok(Build {
            schedule: row.get(0)?,
            state: row.get(1)?,
            verdict: row.get(2)?,
            reason: row.get(3)?,
            trigger: row.get(4)?,
            created: time(row.get(5)?),
            finished: row.get::<_, Option<i64>>(6)?.map(time),
        })
    })
    .unwrap()
    .collect::<Result<_, _>>()
    .unwrap()
}

fn summary(builds: &[Build], kills: usize, memory: u64, later: u64) -> String {
    let mut ends = BTreeMap::<String, usize>::new();
    for build in builds {
        *ends.entry(format!("{} {}", build.state, build.reason).trim().to_owned()).or_default() += 1;
    }
    format!(
        "life: {} builds, {kills} kills, {memory} KiB warm, {later} KiB at the end, {ends:?}",
        builds.len()
    )
}

/// The fire times of `*/minutes` between two instants.
fn fires(minutes: u32, (start, end): (DateTime<Utc>, DateTime<Utc>)) -> Vec<DateTime<Utc>> {
    let step = i64::from(minutes) * 60;
    let first = (start.timestamp() / step + 1) * step;
    (first..end.timestamp())
        .step_by(usize::try_from(step).unwrap())
        .map(|at| DateTime::from_timestamp(at, 0).unwrap())
        .collect()
}

/// What the history of one schedule must agree with.
struct Times<'a> {
    clock: &'a Clock,
    /// When no manager was there.
    downs: &'a [(DateTime<Utc>, DateTime<Utc>)],
    fires: Vec<DateTime<Utc>>,
}

impl Times<'_> {
    /// Builds without a fire time of their own: between two of them there must be one.
    fn doubled(&self, builds: &[&Build]) -> Vec<String> {
        // A build is created somewhat later than the beat that it belongs to.
        let slack = self.clock.stretched(Duration::from_secs(1));
        let builds: Vec<_> = builds.iter().filter(|build| build.trigger == "cron").collect();
        let own = |pair: &[&&Build]| {
            self.fires.iter().any(|fire| *fire > pair[0].created - slack && *fire <= pair[1].created)
        };
        let twice = builds.windows(2).filter(|pair| !own(pair));
        twice.map(|pair| format!("{} runs again at {}", pair[0].created, pair[1].created)).collect()
    }

    /// Fire times that were dropped though the policy has a build for them: one that comes while the build before it
    /// is not at its end has none, and those of a time without a manager have one together, at the next start.
    fn missed(&self, builds: &[&Build]) -> Vec<String> {
        let slack = self.clock.stretched(LATE);
        let end = self.fires.last().copied().unwrap_or_default();
        let has_one = |fire: &DateTime<Utc>| {
            let mut limit = *fire + slack;
            for (down, up) in self.downs {
                if *down < limit && *fire < *up {
                    limit = limit.max(*up + slack);
                }
            }
            let busy =
                |build: &&&Build| build.created <= *fire && build.finished.is_none_or(|end| end >= *fire);
            limit > end
                || builds.iter().any(|build| build.created >= *fire && build.created <= limit)
                || builds.iter().any(|build| busy(&build))
        };
        self.fires
            .iter()
            .filter(|fire| !has_one(fire))
            .map(|fire| format!("nothing ran for {fire}"))
            .collect()
    }
}
